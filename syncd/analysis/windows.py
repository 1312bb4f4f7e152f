"""From a lag of the whole files to one of a millisecond or two: windows along the overlap, compared at a finer hop.

Whatever follows from log-mel levels can be compared so. The windows' curves are added up, each in deviations over its
own floor; leaving windows out one group after another says how far the sum's peak can be trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, prepare_curve, trimmed_rms
from syncd.analysis.evidence import Beat, ChannelPair, SampleSource
from syncd.analysis.features import LevelMaker, MelLayout
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

Floats = NDArray[np.float32]

MAX_WINDOWS: Final = 32
"""Spread evenly over what is looked at: a fixed cost."""
FLOOR_REACH_S: Final = 0.8
"""Lags from the reach to this far beyond it are a window's floor."""
LEAST_WINDOWS: Final = 4
"""Windows shrink with the overlap until there are so many of them."""
SHORTEST_WINDOW_S: Final = 1.0
SUPPORT_REACH_S: Final = 0.01
LOPSIDED_WEIGHT: Final = 4.0
"""A reverberant side moved the peak by 18 ms where its upper half was lopsided by 6."""
SMEARED_SHARE: Final = 0.35
"""Of the peak's width beyond a sharp one's: beds through a phase vocoder had 80 ms more and were off by up to 19 ms."""
MOST_BEARING: Final = 40.0
RIVAL_SHARE: Final = 0.8
"""Another top of the sum this high might be the right one: the interval then reaches to it."""
GROUPS: Final = 12
"""For the jackknife: leave one group of windows out, see how far the peak moves."""
_STUDENT: Final = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20)
"""Of 1 to 11 degrees of freedom, 95 %, both sides."""


@dataclass(frozen=True)
class FineCurves:
    """What the windows are compared by."""

    layout: MelLayout
    of_levels: Callable[[Floats], Floats]
    """From levels (dB), shape (n_mels, frames), to curves, shape (bands, frames)."""
    swell_s: float
    window_s: float
    """Less where the overlap is short."""
    reach_s: float
    """How far from the coarse lag the windows are searched."""
    sharp_ms: float
    """How wide the sum's peak is, at half its height, where the bed is the same sound on both sides."""


@dataclass(frozen=True)
class Placed:
    """The windows' common lag."""

    found: FineResult
    half_interval_ms: float
    """Half the 95 % interval, from the scatter alone; `found.blur_ms` is what all windows may share."""
    bearing: float
    """On how many windows the sum rests: their number where all say the same, 1 where one says everything."""


Spans = Sequence[tuple[float, float]]
"""Stretches of the dub, (start_s, end_s)."""


def place_finely(
    pair: ChannelPair,
    lag_s: float,
    curves: FineCurves,
    beat: Beat,
    *,
    rate: float = 1.0,
    spans: Spans = (),
    most_windows: int = MAX_WINDOWS,
) -> Placed | None:
    """Search around the coarse lag, within `spans` if there are any; None where fewer than two windows hold sound.

    None too where the sum is highest at the edge of the reach. `lag_s` and the result's lag are the intercept of
    ``t_master = rate * t_dub + lag``. Two threads. `beat` counts windows, from the calling thread.
    """
    windows = _Windows(pair, lag_s, curves, rate, spans)
    starts = windows.starts(most_windows)
    kept: list[Floats | None] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for done, curve in enumerate(in_order(threads, windows.correlation, starts)):
            beat(done, len(starts))
            kept.append(curve)
    sounding = [curve for curve in kept if curve is not None]
    if len(sounding) < 2:
        return None
    stacked = np.stack(sounding)
    total = stacked.sum(axis=0)
    fps = curves.layout.frames_per_s
    shift_s = _top_s(total, fps)
    if abs(shift_s) >= 0.9 * curves.reach_s:
        return None
    # Beyond so much a window is not surer, only cleaner: a sound against itself has no floor at all.
    at_top = np.minimum(stacked[:, int(np.argmax(total))], MOST_BEARING)
    found = FineResult(
        lag_s=lag_s + shift_s,
        deviations=float(total.max()) / float(np.sqrt(len(sounding))),
        track=windows.track(starts, kept, shift_s),
        blur_ms=float(np.hypot(max(_lopsided_ms(total, fps), _rival_ms(total, fps)), _smeared_ms(total, curves))),
    )
    bearing = float(np.square(at_top.sum()) / max(float(np.square(at_top).sum()), 1e-9))
    return Placed(found, _jackknife_ms(stacked, fps), bearing)


class _Windows:
    def __init__(self, pair: ChannelPair, lag_s: float, curves: FineCurves, rate: float, spans: Spans) -> None:
        self._pair = pair
        self._lag_s = lag_s
        self._curves = curves
        self._rate = rate
        self._sr_hz = curves.layout.sr_hz
        inside = self._inside(spans)
        longest_s = max((end_s - start_s for start_s, end_s in inside), default=0.0)
        self.window_s = max(SHORTEST_WINDOW_S, min(curves.window_s, longest_s / LEAST_WINDOWS))
        self._spans = [span for span in inside if span[1] - span[0] >= self.window_s]
        self._frames = round(self.window_s * curves.layout.frames_per_s)

    def _inside(self, spans: Spans) -> list[tuple[float, float]]:
        first_s = max(0.0, -self._lag_s)
        dub_s = self._rate * self._pair.dub.sound.samples / self._sr_hz
        last_s = min(dub_s, self._pair.master.sound.samples / self._sr_hz - self._lag_s)
        whole = (0.0, dub_s / self._rate)
        return [(max(first_s, self._rate * a), min(last_s, self._rate * b)) for a, b in spans or (whole,)]

    def starts(self, most: int) -> list[float]:
        """In the dub, on the master's clock (``rate * t_dub``): evenly over the spans."""
        rooms_s = np.array([end_s - start_s - self.window_s for start_s, end_s in self._spans])
        whole_s = sum(end_s - start_s for start_s, end_s in self._spans)
        before_s = np.concatenate(([0.0], np.cumsum(rooms_s)))
        count = min(most, int(whole_s / self.window_s) + 1) if self._spans else 0
        positions_s = np.linspace(0.0, float(before_s[-1]), count)
        which = np.clip(np.searchsorted(before_s, positions_s, side="right") - 1, 0, len(self._spans) - 1)
        return [self._spans[i][0] + float(at - before_s[i]) for i, at in zip(which, positions_s, strict=True)]

    def correlation(self, start_s: float) -> Floats | None:
        """In deviations, lags from -reach to +reach; None in silence."""
        ours = self._of(self._pair.master.sound, start_s + self._lag_s, 1.0)
        theirs = self._of(self._pair.dub.sound, start_s, self._rate)
        n_fft = scipy.fft.next_fast_len(2 * self._frames, real=True)
        cross = scipy.fft.rfft(ours, n_fft) * np.conj(scipy.fft.rfft(theirs, n_fft))
        circular = scipy.fft.irfft(cross.sum(axis=0), n_fft)
        reach = _reach_frames(self._curves)
        wide = reach + round(FLOOR_REACH_S * self._curves.layout.frames_per_s)
        floor = trimmed_rms(np.concatenate((circular[-wide:-reach], circular[reach:wide])))
        if floor <= 0.0:
            return None
        near = np.concatenate((circular[-reach:], circular[: reach + 1]))
        return (near / np.float32(floor)).astype(np.float32)

    def _of(self, sound: SampleSource, start_s: float, rate: float) -> Floats:
        """Curves of a window that starts at `start_s` of the master's clock, stretched to it."""
        layout = self._curves.layout
        hop = layout.hop_samples
        first = round(start_s / rate * self._sr_hz)
        samples = sound.read(first, int(self._frames * hop / rate) + layout.n_fft + hop)
        curves = self._curves.of_levels(LevelMaker(layout).feed(samples))
        # The frames fall where the master's do: not on whole samples, and at another speed not on this sound's frames.
        times = ((start_s * self._sr_hz + np.arange(self._frames) * hop) / rate - first) / hop
        at = np.clip(times, 0.0, curves.shape[1] - 1.0)
        below = np.minimum(at.astype(np.intp), curves.shape[1] - 2)
        part = (at - below).astype(np.float32)
        stretched = curves[:, below] * (1.0 - part) + curves[:, below + 1] * part
        return prepare_curve(stretched, layout.frames_per_s, self._curves.swell_s)

    def track(self, starts: Sequence[float], kept: Sequence[Floats | None], shift_s: float) -> WindowTrack:
        """What each window says by itself."""
        fps = self._curves.layout.frames_per_s
        reach = _reach_frames(self._curves)
        silent = np.zeros(2 * reach + 1, dtype=np.float32)
        known = np.stack([silent if curve is None else curve for curve in kept])
        middle, near = reach + round(shift_s * fps), round(SUPPORT_REACH_S * fps)
        support = known[:, max(0, middle - near) : middle + near + 1].max(axis=1)
        deviations = known.max(axis=1).astype(np.float64)
        return WindowTrack(
            dub_centre_s=(np.asarray(starts) + self.window_s / 2) / self._rate,
            lag_s=np.array([self._lag_s + _top_s(curve, fps) for curve in known]),
            sounding=np.array([curve is not None for curve in kept]),
            deviations=deviations,
            heard=deviations >= THRESHOLDS.onset_heard_deviations,
            supports=support >= THRESHOLDS.onset_support_deviations,
            window_s=self.window_s,
        )


def _reach_frames(curves: FineCurves) -> int:
    return round(curves.reach_s * curves.layout.frames_per_s)


def _lopsided_ms(total: Floats, frames_per_s: float) -> float:
    """How far the middle of the peak's upper half lies from its top: reverberation draws onsets out to one side."""
    left, right = _upper_half(total)
    middle_s = ((left + right) / 2 - total.size // 2) / frames_per_s
    return LOPSIDED_WEIGHT * 1000.0 * abs(middle_s - _top_s(total, frames_per_s))


def _smeared_ms(total: Floats, curves: FineCurves) -> float:
    """Beds that were stretched or moved in pitch begin more softly, sooner or later, than what they were made of."""
    left, right = _upper_half(total)
    width_ms = 1000.0 * (right - left) / curves.layout.frames_per_s
    return SMEARED_SHARE * max(0.0, width_ms - curves.sharp_ms)


def _rival_ms(total: Floats, frames_per_s: float) -> float:
    """How far away the farthest other top lies that is nearly as high."""
    top = int(np.argmax(total))
    left, right = _upper_half(total)
    rivals = np.flatnonzero(total >= RIVAL_SHARE * total[top])
    apart = np.abs(rivals[(rivals < left) | (rivals > right)] - top)
    return 1000.0 * float(apart.max(initial=0)) / frames_per_s


def _upper_half(total: Floats) -> tuple[float, float]:
    """Where, between frames, the curve falls below half its peak on either side."""
    top = int(np.argmax(total))
    half = 0.5 * float(total[top])
    left, right = top, top
    while left > 0 and total[left - 1] >= half:
        left -= 1
    while right < total.size - 1 and total[right + 1] >= half:
        right += 1
    before = (float(total[left]) - half) / float(total[left] - total[left - 1]) if left > 0 else 0.0
    behind = (float(total[right]) - half) / float(total[right] - total[right + 1]) if right < total.size - 1 else 0.0
    return left - before, right + behind


def _jackknife_ms(stacked: Floats, frames_per_s: float) -> float:
    """Half the 95 % interval of the summed curves' peak; neighbours, which may overlap, are left out together."""
    groups = np.array_split(np.arange(stacked.shape[0]), min(GROUPS, stacked.shape[0]))
    total = stacked.sum(axis=0)
    tops_s = np.array([_top_s(total - stacked[group].sum(axis=0), frames_per_s) for group in groups])
    variance = (len(groups) - 1) / len(groups) * float(np.sum(np.square(tops_s - tops_s.mean())))
    return 1000.0 * _STUDENT[len(groups) - 2] * float(np.sqrt(variance))


def _top_s(curve: Floats, frames_per_s: float) -> float:
    top = int(np.argmax(curve))
    shift = 0.0
    if 0 < top < curve.size - 1:
        shift = parabola_top(*(float(v) for v in curve[top - 1 : top + 2]))
    return (top - curve.size // 2 + shift) / frames_per_s
