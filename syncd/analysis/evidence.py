"""What the methods look at: the two sides' sounds and curves, channel by channel, wherever they are kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.features import Activity

MID: Final = "mid"
"""Left plus right, halved; of a mono file, the file."""
SIDE: Final = "side"
"""Left minus right, halved: centred dialogue is not in it."""

Beat = Callable[[int, int], None]
"""Called with (done, total) by the loop that does the work; may raise to end it."""


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
    """One side; `channels` has `MID`, and `SIDE` where that is not digital silence."""

    duration_s: float
    channels: Mapping[str, ChannelEvidence]


@dataclass(frozen=True)
class ChannelPair:
    """The same channel of both sides."""

    name: str
    master: ChannelEvidence
    dub: ChannelEvidence


def shared_channels(master: SideEvidence, dub: SideEvidence) -> tuple[ChannelPair, ...]:
    """The channels that both sides have, `MID` first."""
    return tuple(
        ChannelPair(name, master.channels[name], dub.channels[name])
        for name in (MID, SIDE)
        if name in master.channels and name in dub.channels
    )
