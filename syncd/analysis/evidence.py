"""What the methods look at: the two sides' sounds and curves, channel by channel, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.features import Activity

MID: Final = "mid"
"""All channels folded down to mono; of a stereo file, left plus right, halved."""
SIDE: Final = "side"
"""The left half minus the right half: centred dialogue is not in it."""
NO_CENTRE: Final = "no_centre"
"""All but centre and LFE, folded down to mono: of layouts with a centre, where dialogue is. The centre alone is never
evidence: the rhythm of dialogue is not the programme's."""

Beat = Callable[[int, int], None]
"""Called with (done, total) by the loop that does the work; may raise to end it."""


def quietly(_done: int, _total: int) -> None:
    """A `Beat` for whoever needs none."""


def part_of(beat: Beat, index: int, parts: int) -> Beat:
    """A beat for one of several loops that are a stage together: `index` of `parts` equal ones, from 0."""

    def tell(done: int, total: int) -> None:
        beat(index * total + done, parts * total)

    return tell


class SampleSource(Protocol):
    """A sound at 16 kHz that is read where it is needed."""

    @property
    def samples(self) -> int:
        """Its length."""

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """`count` samples from `start`; zeros before the start and beyond the end. Any thread may call it."""


class BandSource(Protocol):
    """A curve of several bands (levels of `features.COARSE_MEL`, or chroma), read a band at a time."""

    @property
    def frames(self) -> int:
        """Its length."""

    def read_band(self, band: int) -> NDArray[np.float32]:
        """The whole curve of one band, shape (frames,)."""


@dataclass(frozen=True)
class ChannelEvidence:
    """One channel of one side."""

    sound: SampleSource
    levels: BandSource
    """Log-mel levels in dB, `features.COARSE_MEL`."""
    activity: Activity
    chroma: BandSource | None = None
    """The twelve pitch classes, `features.CHROMA`; only of `MID`, and only where the method is asked for."""


@dataclass(frozen=True)
class SideEvidence:
    """One side; `channels` has `MID`, and `SIDE` and `NO_CENTRE` where they exist and are not digital silence."""

    duration_s: float
    channels: Mapping[str, ChannelEvidence]


@dataclass(frozen=True)
class ChannelPair:
    """The same channel of both sides (`NO_CENTRE` against `MID` where only one side has a centre to leave out)."""

    name: str
    master: ChannelEvidence
    dub: ChannelEvidence


def shared_channels(master: SideEvidence, dub: SideEvidence) -> tuple[ChannelPair, ...]:
    """What both sides have, `MID` first."""
    pairs = [
        ChannelPair(name, master.channels[name], dub.channels[name])
        for name in (MID, SIDE)
        if name in master.channels and name in dub.channels
    ]
    if NO_CENTRE in master.channels or NO_CENTRE in dub.channels:
        pairs.append(ChannelPair(NO_CENTRE, _without_centre(master), _without_centre(dub)))
    return tuple(pairs)


def crossed_channels(master: SideEvidence, dub: SideEvidence) -> tuple[ChannelPair, ...]:
    """One side's sum against the other's difference: what is shared where one channel of a side is upside down."""
    if SIDE not in master.channels or SIDE not in dub.channels:
        return ()
    return (
        ChannelPair("mid_against_side", master.channels[MID], dub.channels[SIDE]),
        ChannelPair("side_against_mid", master.channels[SIDE], dub.channels[MID]),
    )


def _without_centre(side: SideEvidence) -> ChannelEvidence:
    return side.channels.get(NO_CENTRE, side.channels[MID])
