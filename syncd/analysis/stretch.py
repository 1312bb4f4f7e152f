"""A sound at the master's speed: the dub read through a resampler, window by window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from syncd.analysis.evidence import SampleSource

SR_HZ: Final = 16_000
_MARGIN_SAMPLES: Final = 512
"""Read on either side of a window, so that the resampler's own edges stay outside it."""


@dataclass(frozen=True)
class Stretched:
    """The dub on the stretched clock: ``t_stretched = rate * t_dub``, 16 kHz."""

    sound: SampleSource
    rate: float

    @property
    def samples(self) -> int:
        """Its length on that clock."""
        return int(self.sound.samples * self.rate)

    def read(self, start: int, count: int) -> tuple[NDArray[np.float32], float]:
        """`count` samples from about `start`, and how much later than that the first of them lies (0 to 1.1).

        Zeros before the start and beyond the end of the sound.
        """
        if self.rate == 1.0:
            return self.sound.read(start, count), 0.0
        first = int(np.floor(start / self.rate)) - _MARGIN_SAMPLES
        needed = int(np.ceil(count / self.rate)) + 2 * _MARGIN_SAMPLES + 2
        stretched = soxr.resample(self.sound.read(first, needed), SR_HZ, SR_HZ * self.rate, quality="HQ")
        # Sample n of what came back lies at (first * rate + n): take from the first one at or after `start`.
        origin = first * self.rate
        skip = int(np.ceil(start - origin))
        window = stretched[skip : skip + count]
        if window.size < count:
            window = np.pad(window, (0, count - window.size))
        return window, origin + skip - start
