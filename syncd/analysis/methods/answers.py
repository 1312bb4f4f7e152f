"""What the methods share that compare whole files first and windows then: from a peak to an answer, or a reason."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from syncd.analysis.calibration import confidence_of
from syncd.analysis.correlate import CoarseResult
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.windows import MAX_WINDOWS, FineCurves, Placed, place_finely
from syncd.domain import Estimate, Inconclusive, Metadata

FLOOR_MS: Final = 1.0
"""Rooms and mixes move onsets by as much, in all windows alike."""

Search = Callable[[ChannelPair, Beat], CoarseResult]
"""Of one channel, over all lags."""


@dataclass(frozen=True)
class Manner:
    """How such a method goes about it."""

    method: str
    """Its name."""
    noun: str
    """What is compared, plural: «cepstra»."""
    search: Search
    bands: int
    """Steps of the search, for the progress."""
    match_deviations: float
    """What the whole files must reach."""
    fine: FineCurves
    fine_deviations: float
    """What the windows must reach together."""


def place(evidence: Evidence, pairs: tuple[ChannelPair, ...], manner: Manner, beat: Beat) -> MethodAnswer:
    """The answer of the first channel that bears one; of none does, that of the best."""
    best: MethodAnswer | None = None
    for pair in pairs:
        answer = _on_channel(evidence, pair, manner, beat)
        if isinstance(answer.outcome, Estimate):
            return answer
        if best is None or answer.quality_score > best.quality_score:
            best = answer
    return best or MethodAnswer(Inconclusive(("there is nothing that both sides have",)), 0.0)


def strongest_first(evidence: Evidence) -> tuple[ChannelPair, ...]:
    """The channels in the order of their coarse search."""
    known = tuple(evidence.pair(result.channel) for result in evidence.coarse)
    return known or evidence.pairs


def _on_channel(evidence: Evidence, pair: ChannelPair, manner: Manner, beat: Beat) -> MethodAnswer:
    coarse = manner.search(pair, lambda done, total: beat(done, total + MAX_WINDOWS))
    height = coarse.best_deviations
    if not coarse.peaks:
        return _refused(f"there are no {manner.noun} that both sides have", 0.0, pair)
    if height < manner.match_deviations:
        reason = (
            f"the best of {coarse.lags} lags of the {manner.noun} stands {height:.1f} deviations over chance, "
            f"{manner.match_deviations:g} are needed"
        )
        return _refused(reason, height, pair)
    lag_s = coarse.peaks[0].lag_s
    placed = place_finely(
        pair,
        lag_s,
        manner.fine,
        lambda done, total: beat(manner.bands + done, manner.bands + total),
        rate=evidence.rate,
        spans=spans_at(evidence, lag_s, manner.fine.reach_s),
    )
    if placed is None:
        hop_ms = 1000.0 / manner.fine.layout.frames_per_s
        return _refused(f"the lag of the whole files is not borne out at {hop_ms:g} ms a frame", height, pair)
    return _answer(coarse, placed, manner, pair)


def spans_at(evidence: Evidence, lag_s: float, reach_s: float) -> tuple[tuple[float, float], ...]:
    """The pieces of the dub that the survey placed near this lag; none where it placed none there."""
    return tuple(
        (piece.dub_start_s, piece.dub_end_s) for piece in evidence.segments if abs(piece.offset_s - lag_s) <= reach_s
    )


def _answer(coarse: CoarseResult, placed: Placed, manner: Manner, pair: ChannelPair) -> MethodAnswer:
    found = placed.found
    windows = int(np.count_nonzero(found.track.sounding))
    uncertainty_ms = float(np.hypot(max(FLOOR_MS, placed.half_interval_ms), found.blur_ms))
    metadata: Metadata = {
        "lags_compared": coarse.lags,
        "coarse_offset_seconds": coarse.peaks[0].lag_s,
        "windows": int(found.track.lag_s.size),
        "windows_with_sound": windows,
        "windows_bearing": round(placed.bearing, 1),
        "fine_deviations": round(found.deviations, 1),
    }
    least_bearing = max(THRESHOLDS.least_bearing_windows, THRESHOLDS.least_supporting_share * windows)
    least_bearing = min(least_bearing, windows / 2.0)
    reason = None
    if found.deviations < manner.fine_deviations:
        reason = (
            f"near the best lag of the whole files the windows reach {found.deviations:.1f} deviations together, "
            f"{manner.fine_deviations:g} are needed"
        )
    elif placed.bearing < least_bearing:
        reason = f"the best lag rests on about {placed.bearing:.1f} of {windows} windows"
    elif uncertainty_ms > THRESHOLDS.onset_uncertainty_ms:
        reason = f"the windows scatter too much to place the dub (±{uncertainty_ms:.0f} ms)"
    if reason is not None:
        return MethodAnswer(Inconclusive((reason,)), coarse.best_deviations, metadata, channel=pair.name)
    confidence = confidence_of(manner.method, coarse.best_deviations, metadata, uncertainty_ms)
    estimate = Estimate(found.lag_s, confidence, uncertainty_ms)
    return MethodAnswer(estimate, coarse.best_deviations, metadata, channel=pair.name)


def _refused(reason: str, height: float, pair: ChannelPair) -> MethodAnswer:
    return MethodAnswer(Inconclusive((reason,)), height, channel=pair.name)
