"""`spectral`: when the bands of the spectrum rise, over the whole file, then in windows at 2 ms a frame.

Does not need waveforms that agree: a remixed, reverberant or re-recorded bed keeps its onsets.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import CoarseResult, parabola_top, prepare_bands, trimmed_rms
from syncd.analysis.evidence import Beat, ChannelPair, SampleSource
from syncd.analysis.features import FINE_MEL, LevelMaker, flux_of
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.phat import SR_HZ
from syncd.analysis.steadiness import support_of
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack
from syncd.domain import Estimate, Inconclusive, Metadata

Floats = NDArray[np.float32]

MAX_WINDOWS: Final = 32
"""Spread evenly over the overlap: enough for a tenth of a millisecond, and a fixed cost."""
WINDOW_S: Final = 4.0
REACH_S: Final = 0.2
"""How far from the coarse lag a window is searched."""
FLOOR_REACH_S: Final = 0.8
"""Lags from `REACH_S` to here are the window's floor."""
SUPPORT_REACH_S: Final = 0.01
FLOOR_MS: Final = 1.0
"""Half a fine frame: rooms and mixes move onsets by as much, in all windows alike."""
LOPSIDED_WEIGHT: Final = 3.0
"""A reverberant side moved the peak by 18 ms where its upper half was lopsided by 6."""
GROUPS: Final = 12
"""For the jackknife: leave one group of windows out, see how far the peak moves."""


class Spectral:
    """Log-mel flux."""

    name = "spectral"
    text = "Comparing onsets"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which the spectra rise together."""
        coarse = evidence.coarse[0] if evidence.coarse else None
        if coarse is None or not coarse.peaks:
            return MethodAnswer(Inconclusive(("there are no onsets that both sides have",)), 0.0)
        height = coarse.best_deviations
        if height < THRESHOLDS.coarse_match_deviations:
            reason = (
                f"the best of {coarse.lags} lags stands {height:.1f} deviations over chance, "
                f"{THRESHOLDS.coarse_match_deviations:g} are needed"
            )
            return MethodAnswer(Inconclusive((reason,)), height, channel=coarse.channel)
        found, jackknife_ms = _refine(evidence.pair(coarse.channel), coarse.peaks[0].lag_s, beat)
        return _answer(coarse, found, jackknife_ms)


def _answer(coarse: CoarseResult, found: FineResult | None, jackknife_ms: float) -> MethodAnswer:
    height = coarse.best_deviations
    if found is None:
        reason = "the coarse lag is not borne out at 2 ms a frame"
        return MethodAnswer(Inconclusive((reason,)), height, channel=coarse.channel)
    support = support_of(found)
    uncertainty_ms = float(np.hypot(max(FLOOR_MS, jackknife_ms), found.blur_ms))
    metadata: Metadata = {
        "lags_compared": coarse.lags,
        "coarse_offset_seconds": coarse.peaks[0].lag_s,
        "windows": int(found.track.lag_s.size),
        "windows_with_sound": support.with_sound,
        "windows_agreeing": support.agreeing,
    }
    outcome: Estimate | Inconclusive
    if support.share < THRESHOLDS.least_supporting_share:
        reason = f"only {support.agreeing} of {support.with_sound} windows agree with the best lag"
        outcome = Inconclusive((reason,))
    elif uncertainty_ms > THRESHOLDS.onset_uncertainty_ms:
        outcome = Inconclusive((f"the windows scatter too much to place the dub (±{uncertainty_ms:.0f} ms)",))
    else:
        borne = 0.5 + 0.5 * min(1.0, support.share / THRESHOLDS.doubtful_supporting_share)
        outcome = Estimate(found.lag_s, borne * _confidence(coarse), uncertainty_ms)
    return MethodAnswer(outcome, height, metadata, (found,), coarse.channel)


def _refine(pair: ChannelPair, coarse_lag_s: float, beat: Beat) -> tuple[FineResult | None, float]:
    """The windows' common lag and the half interval of its scatter, in ms; None where there is too little sound."""
    lag_samples = round(coarse_lag_s * SR_HZ)
    starts = _window_starts(pair, lag_samples)
    curves: list[Floats | None] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for done, curve in enumerate(
            in_order(threads, lambda start: _window_correlation(pair, start, lag_samples), starts)
        ):
            beat(done, len(starts))
            curves.append(curve)
    sounding = [curve for curve in curves if curve is not None]
    if len(sounding) < 2:
        return None, 0.0
    stacked = np.stack(sounding)
    total = stacked.sum(axis=0)
    common_s = _top_s(total)
    if abs(common_s) >= 0.9 * REACH_S:
        return None, 0.0
    found = FineResult(
        lag_s=lag_samples / SR_HZ + common_s,
        deviations=float(total.max()) / float(np.sqrt(len(sounding))),
        track=_track(starts, curves, lag_samples, common_s),
        blur_ms=_lopsided_ms(total),
    )
    return found, _jackknife_ms(stacked)


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


def _window_starts(pair: ChannelPair, lag_samples: int) -> list[int]:
    window = round(WINDOW_S * SR_HZ)
    first = max(0, -lag_samples)
    last = min(pair.dub.sound.samples, pair.master.sound.samples - lag_samples) - window
    if last < first:
        return [first]
    count = min(MAX_WINDOWS, (last - first) // window + 2)
    return [int(start) for start in np.linspace(first, last, count)]


def _window_correlation(pair: ChannelPair, start: int, lag_samples: int) -> Floats | None:
    """Correlation of one window's fine flux, in deviations, lags from -REACH_S to +REACH_S; None in silence."""
    ours = _fine_flux(pair.master.sound, start + lag_samples)
    theirs = _fine_flux(pair.dub.sound, start)
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


def _fine_flux(sound: SampleSource, start: int) -> Floats:
    levels = LevelMaker(FINE_MEL).feed(sound.read(start, round(WINDOW_S * SR_HZ)))
    return prepare_bands(flux_of(levels), FINE_MEL)


def _confidence(coarse: CoarseResult) -> float:
    """Heuristic until it is calibrated: height over the floor, less where another lag comes near."""
    height = 1.0 - float(np.exp(-(coarse.best_deviations - 5.0) / 5.0))
    second = coarse.peaks[1].deviations if len(coarse.peaks) > 1 else 0.0
    near = second / coarse.best_deviations
    return min(0.97, height * (1.0 if near < 0.6 else max(0.3, 1.0 - 2.0 * (near - 0.6))))
