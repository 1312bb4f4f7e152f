"""The fine search by onsets: band-wise flux at 2 ms a frame, in windows along a piece.

It does not need waveforms that agree: a bed that was remixed, drowned in reverberation, re-recorded or stretched
without its pitch keeps its onsets, to a millisecond or two.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, prepare_bands, trimmed_rms
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.features import FINE_MEL, LevelMaker, flux_of
from syncd.analysis.stretch import SR_HZ, Stretched
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

Floats = NDArray[np.float32]

MAX_WINDOWS: Final = 32
"""Spread evenly over the overlap: enough for a tenth of a millisecond, and a fixed cost."""
WINDOW_S: Final = 4.0
REACH_S: Final = 0.2
"""How far from the coarse lag a window is searched."""
FLOOR_REACH_S: Final = 0.8
"""Lags from `REACH_S` to here are the window's floor."""
SUPPORT_REACH_S: Final = 0.01
LOPSIDED_WEIGHT: Final = 3.0
"""A reverberant side moved the peak by 18 ms where its upper half was lopsided by 6."""
FLOOR_MS: Final = 1.0
"""Half a fine frame: rooms and mixes move onsets by as much, in all windows alike."""
GROUPS: Final = 12
"""For the jackknife: leave one group of windows out, see how far the peak moves."""


@dataclass(frozen=True)
class OnsetFinding:
    """What the onsets of one piece say."""

    found: FineResult
    jackknife_ms: float
    """Half the 95 % interval of the common lag, from leaving windows out."""


def onset_uncertainty_ms(onsets: OnsetFinding) -> float:
    """Half the 95 % interval of a piece's lag."""
    return float(np.hypot(max(FLOOR_MS, onsets.jackknife_ms), onsets.found.blur_ms))


def onset_search(
    pair: ChannelPair,
    coarse_lag_s: float,
    beat: Beat,
    *,
    rate: float = 1.0,
    span_s: tuple[float, float] | None = None,
    most_windows: int = MAX_WINDOWS,
) -> OnsetFinding | None:
    """Search around the coarse lag; None where fewer than two windows hold sound, or the peak lies at the edge.

    At a `rate` the dub is stretched to the master's speed first; `span_s` (stretched time) bounds what is looked at.
    Two threads. `beat` counts windows, from the calling thread.
    """
    lag_samples = round(coarse_lag_s * SR_HZ)
    dub = Stretched(pair.dub.sound, rate)
    span = (0, dub.samples) if span_s is None else (round(span_s[0] * SR_HZ), round(span_s[1] * SR_HZ))
    first = max(0, -lag_samples, span[0])
    last = min(dub.samples, pair.master.sound.samples - lag_samples, span[1])
    starts = _window_starts(first, last, most_windows)
    curves: list[Floats | None] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for done, curve in enumerate(
            in_order(threads, lambda start: _window_correlation(pair, dub, start, lag_samples), starts)
        ):
            beat(done, len(starts))
            curves.append(curve)
    sounding = [curve for curve in curves if curve is not None]
    if len(sounding) < 2:
        return None
    stacked = np.stack(sounding)
    total = stacked.sum(axis=0)
    common_s = _top_s(total)
    if abs(common_s) >= 0.9 * REACH_S:
        return None
    found = FineResult(
        lag_s=lag_samples / SR_HZ + common_s,
        deviations=float(total.max()) / float(np.sqrt(len(sounding))),
        track=_track(starts, curves, lag_samples, common_s),
        blur_ms=_lopsided_ms(total),
    )
    return OnsetFinding(found, _jackknife_ms(stacked))


def _track(starts: list[int], curves: list[Floats | None], lag_samples: int, common_s: float) -> WindowTrack:
    silent = np.zeros(2 * round(REACH_S * FINE_MEL.frames_per_s) + 1, dtype=np.float32)
    known = np.stack([silent if curve is None else curve for curve in curves])
    middle = known.shape[1] // 2 + round(common_s * FINE_MEL.frames_per_s)
    near = round(SUPPORT_REACH_S * FINE_MEL.frames_per_s)
    support = known[:, max(0, middle - near) : middle + near + 1].max(axis=1)
    deviations = known.max(axis=1).astype(np.float64)
    return WindowTrack(
        dub_centre_s=np.array(starts) / SR_HZ + WINDOW_S / 2,
        lag_s=np.array([lag_samples / SR_HZ + _top_s(curve) for curve in known]),
        sounding=np.array([curve is not None for curve in curves]),
        deviations=deviations,
        heard=deviations >= THRESHOLDS.onset_heard_deviations,
        supports=support >= THRESHOLDS.onset_support_deviations,
        window_s=WINDOW_S,
    )


def _lopsided_ms(total: Floats) -> float:
    """How far the middle of the peak's upper half lies from its top: reverberation draws onsets out to one side."""
    top = int(np.argmax(total))
    high = total >= 0.5 * total[top]
    left, right = top, top
    while left > 0 and high[left - 1]:
        left -= 1
    while right < total.size - 1 and high[right + 1]:
        right += 1
    return LOPSIDED_WEIGHT * 1000.0 * abs((left + right) / 2 - top) / FINE_MEL.frames_per_s


def _jackknife_ms(stacked: Floats) -> float:
    """Half the 95 % interval of the summed curves' peak."""
    groups = min(GROUPS, stacked.shape[0])
    total = stacked.sum(axis=0)
    tops_s = np.array([_top_s(total - stacked[group::groups].sum(axis=0)) for group in range(groups)])
    variance = (groups - 1) / groups * float(np.sum(np.square(tops_s - tops_s.mean())))
    return 1000.0 * 1.96 * float(np.sqrt(variance))


def _top_s(curve: Floats) -> float:
    top = int(np.argmax(curve))
    shift = 0.0
    if 0 < top < curve.size - 1:
        shift = parabola_top(*(float(v) for v in curve[top - 1 : top + 2]))
    return (top - curve.size // 2 + shift) / FINE_MEL.frames_per_s


def _window_starts(first: int, last: int, most: int) -> list[int]:
    window = round(WINDOW_S * SR_HZ)
    if last - first <= window:
        return [first]
    count = min(most, (last - first - window) // window + 2)
    return [int(start) for start in np.linspace(first, last - window, count)]


def _window_correlation(pair: ChannelPair, dub: Stretched, start: int, lag_samples: int) -> Floats | None:
    """Correlation of one window's fine flux, in deviations, lags from -REACH_S to +REACH_S; None in silence."""
    count = round(WINDOW_S * SR_HZ)
    # The stretched window begins up to a sample late, 0.06 ms: below what onsets can tell.
    ours = _fine_flux(pair.master.sound.read(start + lag_samples, count))
    theirs = _fine_flux(dub.read(start, count)[0])
    n_fft = scipy.fft.next_fast_len(2 * ours.shape[1], real=True)
    cross = scipy.fft.rfft(ours, n_fft) * np.conj(scipy.fft.rfft(theirs, n_fft))
    circular = scipy.fft.irfft(cross.sum(axis=0), n_fft)
    reach = round(REACH_S * FINE_MEL.frames_per_s)
    wide = round(FLOOR_REACH_S * FINE_MEL.frames_per_s)
    floor = trimmed_rms(np.concatenate((circular[-wide:-reach], circular[reach:wide])))
    if floor <= 0.0:
        return None
    near = np.concatenate((circular[-reach:], circular[: reach + 1]))
    return (near / np.float32(floor)).astype(np.float32)


def _fine_flux(samples: Floats) -> Floats:
    flux = flux_of(LevelMaker(FINE_MEL).feed(samples))
    return prepare_bands(flux, FINE_MEL)
