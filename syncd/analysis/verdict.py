"""The verdict: pure, from what was found to one answer with its reasons.

Order, the first that holds: `inconclusive` (nothing to decide on, or ambiguous), `no_match`, `edited` (pieces differ in
offset, or inner material is missing, inserted or replaced), `drift` (a speed beyond its uncertainty that moves the
sound), `offset` (outside the tolerance), `in_sync`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from syncd.analysis.calibration import CALIBRATION, share_that_holds
from syncd.analysis.consensus import Consensus
from syncd.analysis.features import Activity
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.timeline import coverage_of, is_edited, segments_of
from syncd.analysis.words import clock, early_or_late
from syncd.domain import (
    AnalysisSettings,
    Candidate,
    Coverage,
    Estimate,
    Rate,
    Segment,
    SegmentKind,
    Verdict,
)


@dataclass(frozen=True)
class Heard:
    """One side as far as the verdict cares."""

    name: str
    """«master» or «dub»."""
    duration_s: float
    activity: Activity
    """Of its livelier channel."""


@dataclass(frozen=True)
class Placed:
    """Where the dub lies, as far as stretches of it were placed."""

    estimate: Estimate
    """Of the longest stretch."""
    timeline: tuple[Segment, ...]
    rate: Rate
    by_waves: bool
    support: float
    """Share (0 to 1) of the longest piece's windows that agree with its lag."""


@dataclass(frozen=True)
class Findings:
    """All that was found."""

    consensus: Consensus
    placed: Placed | None = None
    rate: Rate = field(default_factory=Rate)
    """At which the methods were asked: their offsets are intercepts of this speed."""
    best_deviations: float = 0.0
    """Of the survey, over chance."""
    lags: int = 0
    """How many the survey compared."""
    candidates: tuple[Candidate, ...] = ()
    """Lags that stand out without being vouched for."""
    rivals: tuple[Candidate, ...] = ()
    """Offsets that fit about as well, the best one first; empty where only one fits."""
    repeating: tuple[str, ...] = ()
    """The sides that fit themselves elsewhere: asked only where no offset was found."""
    alike_in_part: tuple[int, int] | None = None
    """How many windows of how many have the same waveforms, where these are too few to vouch for an offset."""


@dataclass(frozen=True)
class Decision:
    """What goes into the report."""

    verdict: Verdict
    review: bool
    consensus: Estimate | None
    rate: Rate | None
    confidence: float
    timeline: tuple[Segment, ...]
    coverage: Coverage
    candidates: tuple[Candidate, ...]
    reasons: tuple[str, ...]
    warnings: tuple[str, ...]


def decide(master: Heard, dub: Heard, findings: Findings, settings: AnalysisSettings) -> Decision:
    """Weigh everything once."""
    estimate = findings.consensus.estimate
    # Where nothing begins or ends, what agrees at one lag agrees at others too.
    if estimate is None or nothing_to_hear(master) or nothing_to_hear(dub):
        return _without_offset(master, dub, findings, settings)
    if findings.rivals:
        listed = ", ".join(early_or_late(candidate.offset_s) for candidate in findings.rivals[:4])
        sentence = f"The programme repeats itself: several offsets fit about equally well ({listed})."
        return _undecided(master, dub, (sentence,), findings.rivals)
    placed = findings.placed or _one_piece(master, dub, estimate, findings.rate)
    coverage = coverage_of(placed.timeline, master.duration_s, dub.duration_s)
    if covers_too_little(coverage):
        sentence = (
            f"Only {100.0 * max(coverage.master, coverage.dub):.0f} % of the shorter side fits the other "
            f"({early_or_late(estimate.offset_s)}): the two may share a title sequence rather than a programme."
        )
        return _undecided(master, dub, (sentence,), (Candidate(estimate.offset_s, findings.best_deviations),))
    if (share := shared_of_both(placed.timeline)) < THRESHOLDS.least_shared_of_both:
        sentence = (
            f"Where both sides have something, only {100.0 * share:.0f} % of it is the same "
            f"({early_or_late(estimate.offset_s)}): the two may share a title, credits or cues rather than a programme."
        )
        return _undecided(master, dub, (sentence,), (Candidate(estimate.offset_s, findings.best_deviations),))
    return _with_offset(findings.consensus, placed, coverage, settings)


def nothing_to_hear(side: Heard) -> str | None:
    """Why the side bears no evidence, in a sentence; None where it does."""
    if side.activity.level_db <= THRESHOLDS.silent_level_db:
        return f"The {side.name} is silent."
    if side.activity.modulation_db < THRESHOLDS.steady_modulation_db:
        return f"The {side.name} holds nothing that begins or ends: a tone or a steady noise cannot be placed."
    return None


def covers_too_little(coverage: Coverage) -> bool:
    """Whether what was placed is no programme that both sides share, but a title at most."""
    return max(coverage.master, coverage.dub) < THRESHOLDS.least_coverage


def is_in_sync(offset_s: float, settings: AnalysisSettings) -> bool:
    """Whether the tolerance holds; a negative offset is a late dub."""
    limit_ms = settings.tolerance.late_ms if offset_s < 0.0 else settings.tolerance.early_ms
    return abs(offset_s) * 1000.0 <= limit_ms


def is_drift(rate: Rate, timeline: tuple[Segment, ...]) -> bool:
    """Whether the speed differs beyond its uncertainty and moves the sound over the match by more than tolerated."""
    ppm = abs(rate.ratio - 1.0) * 1e6
    matched_s = sum((s.dub_end_s or 0.0) - (s.dub_start_s or 0.0) for s in timeline if s.kind is SegmentKind.MATCH)
    return ppm > (rate.uncertainty_ppm or 0.0) and ppm * matched_s / 1000.0 > THRESHOLDS.drift_ms


def _one_piece(master: Heard, dub: Heard, estimate: Estimate, rate: Rate) -> Placed:
    whole = (0.0, rate.ratio * dub.duration_s, estimate.offset_s)
    timeline = segments_of((whole,), rate.ratio, master.duration_s, dub.duration_s, estimate.confidence)
    return Placed(estimate, timeline, rate, by_waves=False, support=1.0)


def _with_offset(consensus: Consensus, placed: Placed, coverage: Coverage, settings: AnalysisSettings) -> Decision:
    estimate = placed.estimate
    half_s = estimate.uncertainty_ms / 1000.0
    in_sync = is_in_sync(estimate.offset_s, settings)
    crosses = {is_in_sync(estimate.offset_s - half_s, settings), is_in_sync(estimate.offset_s + half_s, settings)} != {
        in_sync
    }
    edited = is_edited(placed.timeline)
    drifts = is_drift(placed.rate, placed.timeline)
    crosses = crosses and not edited and not drifts
    objections = [*_sparse(placed), *_tried(placed.rate), *_ends(placed.timeline)]
    warnings = [
        *objections,
        *_what_it_rests_on(consensus, placed.rate),
        *(
            f"The method {result.method} vouches for another offset: {early_or_late(result.outcome.offset_s)}."
            for result in consensus.dissenters
            if isinstance(result.outcome, Estimate)
        ),
    ]
    if crosses:
        warnings.append("The interval of the offset crosses a limit of the tolerance: look at it by eye and ear.")
    plain = Verdict.IN_SYNC if in_sync else Verdict.OFFSET
    verdict = Verdict.EDITED if edited else Verdict.DRIFT if drifts else plain
    # Half of what both sides have may be another scene; of less it is doubtful whose programme it is.
    shared = min(1.0, 2.0 * shared_of_both(placed.timeline))
    confidence = estimate.confidence * share_that_holds(verdict, placed.support) * shared
    return Decision(
        verdict=verdict,
        review=bool(crosses or consensus.dissenters or objections or confidence < settings.confidence_threshold),
        consensus=estimate,
        rate=placed.rate,
        confidence=confidence,
        timeline=placed.timeline,
        coverage=coverage,
        candidates=(),
        reasons=(),
        warnings=tuple(warnings),
    )


def shared_of_both(timeline: Sequence[Segment]) -> float:
    """Of what both sides have beside each other, the share (0 to 1) that matches.

    A side that is merely longer, at an end or by a cut, has nothing beside it.
    """
    shared_s, foreign_s = 0.0, 0.0
    for matches, run in itertools.groupby(timeline, key=lambda s: s.kind is SegmentKind.MATCH):
        segments = list(run)
        master_s = sum((s.master_end_s or 0.0) - (s.master_start_s or 0.0) for s in segments)
        dub_s = sum((s.dub_end_s or 0.0) - (s.dub_start_s or 0.0) for s in segments)
        if matches:
            shared_s += dub_s
        else:
            foreign_s += min(master_s, dub_s)
    return shared_s / (shared_s + foreign_s) if shared_s > 0.0 else 0.0


def _what_it_rests_on(consensus: Consensus, rate: Rate) -> list[str]:
    if consensus.methods != ("speech",):
        return []
    sentence = (
        "The offset rests on when people speak, and on nothing else: no music or effects are heard that both share. "
        "A dub's lines may all start a little early or late."
    )
    if rate.ratio == 1.0 and rate.uncertainty_ppm is None:
        sentence += " There are too few of them to tell a change of speed by a thousandth (24/23.976) from none."
    return [sentence]


def _sparse(placed: Placed) -> list[str]:
    """An offset that stands on fewer windows than a person would take on trust."""
    if placed.support >= THRESHOLDS.doubtful_supporting_share:
        return []
    share = f"{100.0 * placed.support:.0f} %"
    return [f"Only {share} of the stretches agree with the offset: the bed may be faint, or only a part of it shared."]


def _tried(rate: Rate) -> list[str]:
    """A speed that was the best of those tried, and that nothing measured more closely."""
    if rate.ratio == 1.0 or rate.uncertainty_ppm is not None:
        return []
    return [f"The speed ({rate.ratio:.5f}) is the best of those tried; nothing shared bears measuring it more closely."]


def _ends(timeline: tuple[Segment, ...]) -> list[str]:
    """Head or tail where both sides have something, and it is not the same."""
    matches = [i for i, s in enumerate(timeline) if s.kind is SegmentKind.MATCH]
    told = []
    for outside in (timeline[: matches[0]], timeline[matches[-1] + 1 :]) if matches else ():
        master = [s for s in outside if s.master_start_s is not None and s.master_end_s is not None]
        dub = [s for s in outside if s.dub_start_s is not None and s.dub_end_s is not None]
        if not master or not dub:
            continue
        dub_s = (dub[-1].dub_end_s or 0.0) - (dub[0].dub_start_s or 0.0)
        master_s = (master[-1].master_end_s or 0.0) - (master[0].master_start_s or 0.0)
        if min(dub_s, master_s) >= THRESHOLDS.least_foreign_end_s:
            told.append(
                f"From {clock(dub[0].dub_start_s or 0.0)} to {clock(dub[-1].dub_end_s or 0.0)} of the dub nothing "
                "can be heard to agree with what the master has there."
            )
    return told


def _without_offset(master: Heard, dub: Heard, findings: Findings, settings: AnalysisSettings) -> Decision:
    quiet = tuple(reason for side in (master, dub) if (reason := nothing_to_hear(side)))
    if quiet:
        return _undecided(master, dub, quiet, ())
    if findings.repeating:
        reasons = tuple(
            f"The {name} repeats itself: it fits itself at other places as well." for name in findings.repeating
        )
        return _undecided(master, dub, reasons, findings.candidates)
    best = findings.best_deviations
    shorter_s = min(master.duration_s, dub.duration_s)
    if shorter_s < THRESHOLDS.shortest_for_no_match_s:
        reason = (
            f"The shorter side lasts {shorter_s:.1f} s and fits nowhere; that is too short to say that the two are not "
            "the same programme."
        )
        return _undecided(master, dub, (reason,), findings.candidates)
    if findings.alike_in_part is not None:
        same, of = findings.alike_in_part
        reason = (
            f"Only {same} of {of} stretches of the two have the same sound: they may share a title, a cue or an "
            "effect; that is too little to be one programme."
        )
        return _undecided(master, dub, (reason,), findings.candidates)
    if best >= THRESHOLDS.coarse_doubt_deviations:
        reason = (
            f"One offset stands out ({best:.1f} deviations over chance), but not enough to vouch for it, and too much "
            "to say that the two are not the same programme."
        )
        return _undecided(master, dub, (reason,), findings.candidates)
    certainty = CALIBRATION.no_match.probability(shorter_s, 1.0)
    reason = (
        f"The two share no music or effects: of {findings.lags} lags none agrees beyond chance (best: {best:.1f} "
        f"deviations, {THRESHOLDS.coarse_match_deviations:g} are needed). They are not the same programme, or the dub "
        "is dialogue alone."
    )
    unsure = certainty < settings.confidence_threshold
    return _bare(Verdict.NO_MATCH, master, dub, (reason,), (), confidence=certainty, review=unsure)


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
    timeline = segments_of((), 1.0, master.duration_s, dub.duration_s, 0.0)
    nothing = Coverage(0.0, 0.0)
    return Decision(verdict, review, None, None, confidence, timeline, nothing, candidates, reasons, ())
