"""What the windows say to their common lag: how many stand behind it, whether it is a match, how far they scatter."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

FLOOR_MS = 0.01
"""No interval is narrower: decoders and resamplers agree to about that."""


@dataclass(frozen=True)
class Support:
    """How many windows stand behind the common lag."""

    with_sound: int
    agreeing: int

    @property
    def share(self) -> float:
        """Of the windows with sound; 0 where there are none."""
        return self.agreeing / self.with_sound if self.with_sound else 0.0


def agreeing(track: WindowTrack, lag_s: float) -> NDArray[np.bool_]:
    """Which windows stand behind the common lag: by their own peak, or by a peak there among others."""
    near = np.abs(track.lag_s - lag_s) <= THRESHOLDS.window_agrees_ms / 1000.0
    return (track.heard & near) | track.supports


def support_of(found: FineResult) -> Support:
    """Counted over all windows."""
    return Support(
        with_sound=int(np.count_nonzero(found.track.sounding)),
        agreeing=int(np.count_nonzero(agreeing(found.track, found.lag_s))),
    )


def is_match(found: FineResult, support: Support) -> bool:
    """Whether the common lag is beyond chance and borne by the windows."""
    return (
        found.deviations >= THRESHOLDS.fine_match_deviations
        and support.agreeing >= min(THRESHOLDS.least_supporting_windows, support.with_sound)
        and support.share >= THRESHOLDS.least_supporting_share
    )


def spread_ms(found: FineResult) -> float:
    """Half the 95 % interval of the common lag, from the scatter of the windows that agree with it."""
    track = found.track
    used = track.heard & (np.abs(track.lag_s - found.lag_s) <= THRESHOLDS.window_agrees_ms / 1000.0)
    lags_ms = 1000.0 * track.lag_s[used]
    if lags_ms.size < 3:
        return max(0.1, found.blur_ms)
    deviation_ms = 1.4826 * float(np.median(np.abs(lags_ms - np.median(lags_ms))))
    # The spread of the ends covers a slow movement that stays within the tolerated one.
    ends_ms = abs(float(np.median(lags_ms[: lags_ms.size // 3 + 1]) - np.median(lags_ms[-(lags_ms.size // 3 + 1) :])))
    return max(FLOOR_MS, 1.96 * deviation_ms / float(np.sqrt(lags_ms.size)), 0.75 * ends_ms, found.blur_ms)
