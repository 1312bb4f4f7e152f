"""Whether one lag holds over the whole overlap: what the windows say, judged purely."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

FLOOR_MS = 0.0625
"""No interval is narrower than a sample of what is compared: lossy codecs, twice over, shift by nearly as much."""

WEAK_MS = 3.0
"""What a peak that barely stands out may be off by: it can be a neighbour of the right one."""

MAX_FIT_WINDOWS = 300
"""A line through more windows is fitted to their running medians: the cost grows with the square."""


@dataclass(frozen=True)
class Support:
    """How many windows stand behind the common lag."""

    with_sound: int
    agreeing: int

    @property
    def share(self) -> float:
        """Of the windows with sound; 0 where there are none."""
        return self.agreeing / self.with_sound if self.with_sound else 0.0


class Steadiness(StrEnum):
    """What the windows' lags do over time."""

    STEADY = "steady"
    DRIFTS = "drifts"
    """They move along a line: a speed difference."""
    JUMPS = "jumps"
    """Stretches keep lags of their own: material was cut or put in."""


@dataclass(frozen=True)
class TrackJudgement:
    """What the lags do, and how far."""

    steadiness: Steadiness
    ppm: float = 0.0
    """Slope of the line, where they drift."""
    other_lag_s: float | None = None
    """Of the longest stretch that keeps another lag, where they jump."""
    other_from_s: float | None = None
    """Where in the dub that stretch starts."""


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


def judge_track(track: WindowTrack, lag_s: float) -> TrackJudgement:
    """Steady, drifting or jumping."""
    heard = track.heard
    if np.count_nonzero(heard) < 3:
        return TrackJudgement(Steadiness.STEADY)
    line = _line(track.dub_centre_s[heard], track.lag_s[heard])
    if line is not None:
        return TrackJudgement(Steadiness.DRIFTS, ppm=line * 1e6)
    return _jump(track, lag_s) or TrackJudgement(Steadiness.STEADY)


def _line(times_s: NDArray[np.float64], lags_s: NDArray[np.float64]) -> float | None:
    """Slope of a line that the lags keep much better than a constant, if it moves them by more than the tolerated."""
    times_s, lags_s = _thinned(times_s), _thinned(lags_s)
    if times_s.size < 4:
        return None
    first, second = np.triu_indices(times_s.size, k=1)
    apart = times_s[second] - times_s[first]
    far = apart >= 0.2 * (times_s[-1] - times_s[0])
    if not far.any():
        return None
    slope = float(np.median((lags_s[second] - lags_s[first])[far] / apart[far]))
    move_s = abs(slope) * float(times_s[-1] - times_s[0])
    if move_s * 1000.0 <= THRESHOLDS.drift_ms:
        return None
    rest = lags_s - slope * times_s
    from_line = float(np.median(np.abs(rest - np.median(rest))))
    from_constant = float(np.median(np.abs(lags_s - np.median(lags_s))))
    near_line = float(np.mean(np.abs(rest - np.median(rest)) <= max(0.002, 0.1 * move_s)))
    return slope if from_line < 0.4 * from_constant and near_line >= 0.6 else None


def _thinned(values: NDArray[np.float64]) -> NDArray[np.float64]:
    if values.size <= MAX_FIT_WINDOWS:
        return values
    return np.array([np.median(part) for part in np.array_split(values, MAX_FIT_WINDOWS)])


def _jump(track: WindowTrack, lag_s: float) -> TrackJudgement | None:
    """The longest run of windows that agree with each other and not with the common lag, if it is long enough."""
    strays = track.heard & ~agreeing(track, lag_s)
    best: tuple[int, int] = (0, 0)
    start = 0
    for i in range(1, strays.size + 1):
        together = i < strays.size and strays[i] and strays[start] and _same(track.lag_s[start], track.lag_s[i])
        if not together:
            if strays[start] and i - start > best[1] - best[0]:
                best = (start, i)
            start = i
    if best[1] - best[0] < _windows_for_a_cut(track, slice(*best)):
        return None
    return TrackJudgement(
        Steadiness.JUMPS,
        other_lag_s=float(np.median(track.lag_s[best[0] : best[1]])),
        other_from_s=float(track.dub_centre_s[best[0]] - track.window_s / 2),
    )


def _windows_for_a_cut(track: WindowTrack, run: slice) -> int:
    """Fewer where each is far beyond chance; more where they overlap by half and so repeat each other."""
    strong = run.stop > run.start and bool(track.deviations[run].min() >= THRESHOLDS.jump_strong_deviations)
    apart = THRESHOLDS.jump_strong_windows if strong else THRESHOLDS.jump_windows
    step_s = float(np.median(np.diff(track.dub_centre_s))) if track.dub_centre_s.size > 1 else track.window_s
    return apart if step_s > 0.75 * track.window_s else 2 * apart - 1


def _same(lag_s: float, other_lag_s: float) -> bool:
    return abs(lag_s - other_lag_s) <= THRESHOLDS.jump_ms / 1000.0
