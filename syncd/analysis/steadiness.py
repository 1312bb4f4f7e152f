"""How far the windows stand behind a common lag, and how narrowly: judged purely."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

FLOOR_MS = 0.0625
"""No interval is narrower than a sample of what is compared: lossy codecs, twice over, shift by nearly as much."""

WEAK_MS = 3.0
"""What a peak that barely stands out may be off by: it can be a neighbour of the right one."""


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
    # The energy of a room is spread over many peaks, none of them high; that it starts at once is no chance.
    diffuse = found.arrives_s is not None
    return (
        found.deviations >= (THRESHOLDS.diffuse_match_deviations if diffuse else THRESHOLDS.fine_match_deviations)
        and support.agreeing >= min(THRESHOLDS.least_supporting_windows, support.with_sound)
        and support.share >= THRESHOLDS.least_supporting_share
    )


def spread_ms(found: FineResult) -> float:
    """Half the 95 % interval of the common lag, from the scatter of the windows that agree with it."""
    weak_ms = WEAK_MS * max(0.0, 1.0 - found.deviations / THRESHOLDS.waves_sure_deviations)
    return max(weak_ms, _scatter_ms(found))


def _scatter_ms(found: FineResult) -> float:
    track = found.track
    used = track.heard & (np.abs(track.lag_s - found.lag_s) <= THRESHOLDS.window_agrees_ms / 1000.0)
    lags_ms = 1000.0 * track.lag_s[used]
    if lags_ms.size < 3:
        return max(0.1, found.blur_ms)
    rest_ms = lags_ms - np.median(lags_ms)
    deviation_ms = 1.4826 * float(np.median(np.abs(rest_ms)))
    # The spread of the ends covers a slow movement that stays within the tolerated one.
    ends_ms = abs(float(np.median(lags_ms[: lags_ms.size // 3 + 1]) - np.median(lags_ms[-(lags_ms.size // 3 + 1) :])))
    independent = lags_ms.size * _independence(rest_ms)
    return max(FLOOR_MS, 1.96 * deviation_ms / float(np.sqrt(independent)), 0.75 * ends_ms, found.blur_ms)


def _independence(rest_ms: NDArray[np.float64]) -> float:
    """Share of the windows that speak for themselves: neighbours that wander together count as fewer.

    ``(1 - r) / (1 + r)`` with the lag-one correlation r (Bayley and Hammersley, 1946), at least so that one remains.
    """
    power = float(np.dot(rest_ms, rest_ms))
    if power <= 0.0:
        return 1.0
    r = float(np.clip(np.dot(rest_ms[:-1], rest_ms[1:]) / power, 0.0, 0.99))
    return max(1.0 / rest_ms.size, (1.0 - r) / (1.0 + r))
