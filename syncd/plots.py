"""What a report's page draws: figures made by the worker, in bounded size. They are in no sidecar and no ledger.

Everything here is small on purpose (some 100 kB in all): the page that carries it is one file, read over a network.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Windows:
    """What single windows say of the offset; all three have one entry a window, in order of time."""

    master_s: tuple[float, ...]
    """Where in the master the window's middle lies."""
    ahead_ms: tuple[float, ...]
    """By how much the dub is ahead there (``t_master - t_dub``); negative: it is late."""
    agrees: tuple[bool, ...]
    """Whether the window stands behind the answer."""


@dataclass(frozen=True, slots=True)
class LagCurve:
    """How well the sides fit at each lag, in deviations of chance."""

    first_s: float
    step_s: float
    deviations: tuple[float, ...]
    needed: float
    """What chance does not reach."""


@dataclass(frozen=True, slots=True)
class Look:
    """A few seconds of sound as the eye sees them."""

    peaks: bytes
    """The highest magnitude of each column, 0 to 255."""
    levels: bytes
    """Mel levels, 0 to 255: band after band from the lowest, `Place.columns` each."""
    beats_s: tuple[float, ...] = ()
    """From the start of the excerpt."""


@dataclass(frozen=True, slots=True)
class Place:
    """The same moment of master and dub."""

    label: str
    master_s: float
    """Where the excerpt starts in the master."""
    length_s: float
    columns: int
    """Of the levels."""
    master: Look
    before: Look
    """The dub as it is, started together with the master."""
    after: Look | None
    """The dub where the report puts it; None where it puts it nowhere."""
    likeness_before: float
    """Correlation of the levels with the master's, -1 to 1."""
    likeness_after: float | None


Spans = tuple[tuple[float, float], ...]
"""From and to, in seconds of a side."""


@dataclass(frozen=True, slots=True)
class Plots:
    """Everything that is drawn."""

    channel: str
    """Which channel of the sound is drawn."""
    windows: Windows | None
    """None: nothing was placed."""
    whole: LagCurve | None
    """Over every lag that leaves the sides something in common."""
    close: LagCurve | None
    """Around the answer, waveform against waveform; None where the answer does not rest on waveforms."""
    places: tuple[Place, ...]
    master_speech: Spans | None
    """None: nothing listened for it."""
    dub_speech: Spans | None
