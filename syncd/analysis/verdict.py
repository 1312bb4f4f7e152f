"""The verdict: pure, from what was found to one answer with its reasons.

Order, the first that holds: `inconclusive` (nothing to decide on, ambiguous, or not one offset), `no_match`, `offset`
(outside the tolerance), `in_sync`. `edited` and `drift` come with the methods that measure them; until then what they
would say is a reason of `inconclusive`.
"""

from __future__ import annotations

from dataclasses import dataclass

from syncd.analysis.consensus import Consensus
from syncd.analysis.correlate import CoarseResult
from syncd.analysis.doubts import Doubt, early_or_late
from syncd.analysis.features import Activity
from syncd.analysis.speeds import SpeedHint
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import AnalysisSettings, Candidate, Coverage, Estimate, Segment, SegmentKind, Verdict


@dataclass(frozen=True)
class Heard:
    """One side as far as the verdict cares."""

    name: str
    """«master» or «dub»."""
    duration_s: float
    activity: Activity
    """Of its livelier channel."""


@dataclass(frozen=True)
class Decision:
    """What goes into the report."""

    verdict: Verdict
    review: bool
    consensus: Estimate | None
    confidence: float
    timeline: tuple[Segment, ...]
    coverage: Coverage
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def decide(
    master: Heard,
    dub: Heard,
    coarse: tuple[CoarseResult, ...],
    consensus: Consensus,
    doubts: tuple[Doubt, ...],
    speed: SpeedHint | None,
    settings: AnalysisSettings,
    *,
    repeating: tuple[str, ...] = (),
) -> Decision:
    """Weigh everything once; `repeating` names the sides that fit themselves elsewhere, where no offset was found."""
    grave = tuple(doubt for doubt in doubts if doubt.grave)
    if speed is not None and (consensus.estimate is None or grave):
        return _undecided(master, dub, (_speed_reason(speed),), ())
    if grave:
        candidates = tuple(candidate for doubt in grave for candidate in doubt.candidates)
        return _undecided(master, dub, tuple(doubt.sentence for doubt in grave), candidates)
    if consensus.estimate is None:
        return _without_offset(master, dub, coarse, doubts, repeating)
    return _with_offset(master, dub, consensus, consensus.estimate, doubts, settings)


def nothing_to_hear(side: Heard) -> str | None:
    """Why the side bears no evidence, in a sentence; None where it does."""
    if side.activity.level_db <= THRESHOLDS.silent_level_db:
        return f"The {side.name} is silent."
    if side.activity.modulation_db < THRESHOLDS.steady_modulation_db:
        return f"The {side.name} holds nothing that begins or ends: a tone or a steady noise cannot be placed."
    return None


def timeline_of(master_s: float, dub_s: float, estimate: Estimate) -> tuple[Segment, ...]:
    """One match over the overlap, and what lies beyond the other side before and after it, in order of time."""
    offset_s = estimate.offset_s
    start_s, end_s = max(0.0, offset_s), min(master_s, dub_s + offset_s)
    match = Segment(
        kind=SegmentKind.MATCH,
        master_start_s=start_s,
        master_end_s=end_s,
        dub_start_s=start_s - offset_s,
        dub_end_s=end_s - offset_s,
        offset_s=offset_s,
        lag_start_ms=0.0,
        lag_end_ms=0.0,
        confidence=estimate.confidence,
    )
    return (
        *_beyond(0.0, start_s, on_master=True),
        *_beyond(0.0, start_s - offset_s, on_master=False),
        match,
        *_beyond(end_s, master_s, on_master=True),
        *_beyond(end_s - offset_s, dub_s, on_master=False),
    )


def coverage_of(timeline: tuple[Segment, ...], master_s: float, dub_s: float) -> Coverage:
    """Share of each side in matching segments."""
    matches = [s for s in timeline if s.kind is SegmentKind.MATCH]
    on_master_s = sum((s.master_end_s or 0.0) - (s.master_start_s or 0.0) for s in matches)
    on_dub_s = sum((s.dub_end_s or 0.0) - (s.dub_start_s or 0.0) for s in matches)
    return Coverage(
        master=min(1.0, on_master_s / master_s) if master_s > 0.0 else 0.0,
        dub=min(1.0, on_dub_s / dub_s) if dub_s > 0.0 else 0.0,
    )


def is_in_sync(offset_s: float, settings: AnalysisSettings) -> bool:
    """Whether the tolerance holds; a negative offset is a late dub."""
    limit_ms = settings.tolerance.late_ms if offset_s < 0.0 else settings.tolerance.early_ms
    return abs(offset_s) * 1000.0 <= limit_ms


def _with_offset(
    master: Heard,
    dub: Heard,
    consensus: Consensus,
    estimate: Estimate,
    doubts: tuple[Doubt, ...],
    settings: AnalysisSettings,
) -> Decision:
    half_s = estimate.uncertainty_ms / 1000.0
    in_sync = is_in_sync(estimate.offset_s, settings)
    crosses = {is_in_sync(estimate.offset_s - half_s, settings), is_in_sync(estimate.offset_s + half_s, settings)} != {
        in_sync
    }
    warnings = [doubt.sentence for doubt in doubts]
    warnings.extend(
        f"The method {result.method} vouches for another offset: {early_or_late(result.outcome.offset_s)}."
        for result in consensus.dissenters
        if isinstance(result.outcome, Estimate)
    )
    if crosses:
        warnings.append("The interval of the offset crosses a limit of the tolerance: look at it by eye and ear.")
    timeline = timeline_of(master.duration_s, dub.duration_s, estimate)
    confidence = estimate.confidence * (0.7 if doubts else 1.0)
    return Decision(
        verdict=Verdict.IN_SYNC if in_sync else Verdict.OFFSET,
        review=bool(crosses or consensus.dissenters or doubts or confidence < settings.confidence_threshold),
        consensus=estimate,
        confidence=confidence,
        timeline=timeline,
        coverage=coverage_of(timeline, master.duration_s, dub.duration_s),
        candidates=(),
        reasons=(),
        warnings=tuple(warnings),
    )


def _without_offset(
    master: Heard,
    dub: Heard,
    coarse: tuple[CoarseResult, ...],
    doubts: tuple[Doubt, ...],
    repeating: tuple[str, ...],
) -> Decision:
    quiet = tuple(reason for side in (master, dub) if (reason := nothing_to_hear(side)))
    if quiet:
        return _undecided(master, dub, quiet, ())
    if repeating:
        reasons = tuple(f"The {name} repeats itself: it fits itself at other places as well." for name in repeating)
        return _undecided(master, dub, reasons, ())
    candidates = tuple(candidate for doubt in doubts for candidate in doubt.candidates)
    best = max((result.best_deviations for result in coarse), default=0.0)
    lags = max((result.lags for result in coarse), default=0)
    shorter_s = min(master.duration_s, dub.duration_s)
    if shorter_s < THRESHOLDS.shortest_for_no_match_s:
        reason = (
            f"The shorter side lasts {shorter_s:.1f} s and fits nowhere; that is too short to say that the two are not "
            "the same programme."
        )
        return _undecided(master, dub, (reason,), candidates)
    if best >= THRESHOLDS.coarse_doubt_deviations or doubts:
        reason = (
            f"One offset stands out ({best:.1f} deviations over chance), but not enough to vouch for it, and too much "
            "to say that the two are not the same programme."
        )
        return _undecided(master, dub, (*(d.sentence for d in doubts), reason), candidates or _peaks_of(coarse))
    reason = (
        f"The two share no music or effects: of {lags} lags none agrees beyond chance (best: {best:.1f} deviations, "
        f"{THRESHOLDS.coarse_match_deviations:g} are needed). They are not the same programme, or the dub is dialogue "
        "alone."
    )
    certainty = 0.95 - 0.4 * float(2.0 ** (-shorter_s / 20.0))
    return _bare(Verdict.NO_MATCH, master, dub, (reason,), (), confidence=certainty, review=certainty < 0.8)


def _undecided(master: Heard, dub: Heard, reasons: tuple[str, ...], candidates: tuple[Candidate, ...]) -> Decision:
    return _bare(Verdict.INCONCLUSIVE, master, dub, reasons, candidates, confidence=0.0, review=True)


def _bare(
    verdict: Verdict,
    master: Heard,
    dub: Heard,
    reasons: tuple[str, ...],
    candidates: tuple[Candidate, ...],
    *,
    confidence: float,
    review: bool,
) -> Decision:
    timeline = (
        *_beyond(0.0, master.duration_s, on_master=True),
        *_beyond(0.0, dub.duration_s, on_master=False),
    )
    return Decision(verdict, review, None, confidence, timeline, Coverage(0.0, 0.0), candidates, reasons, ())


def _peaks_of(coarse: tuple[CoarseResult, ...]) -> tuple[Candidate, ...]:
    if not coarse:
        return ()
    least = THRESHOLDS.candidate_deviations
    return tuple(Candidate(p.lag_s, p.deviations) for p in coarse[0].peaks[:3] if p.deviations >= least)


def _speed_reason(speed: SpeedHint) -> str:
    faster = "faster" if speed.rate > 1.0 else "slower"
    return (
        f"The two do not keep one offset: the dub plays {faster}, at {speed.name} of the master's speed "
        f"({abs(speed.rate - 1.0) * 100.0:.2f} % {faster}). Speed differences are measured from the next version on."
    )


def _beyond(start_s: float, end_s: float, *, on_master: bool) -> tuple[Segment, ...]:
    if end_s - start_s <= 1e-9:
        return ()
    own, none = (start_s, end_s), (None, None)
    master, dub = (own, none) if on_master else (none, own)
    return (Segment(SegmentKind.UNMATCHED, master[0], master[1], dub[0], dub[1]),)
