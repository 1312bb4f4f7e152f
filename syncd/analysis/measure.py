"""The façade: two sides' evidence in, one answer out.

Survey (speed and pieces, to a frame), each method that was asked for, the pieces' ends, the methods' consensus, what
speaks against it, the verdict. Later methods only join the registry.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol, TypeVar

from syncd.analysis.align import Aligned, Alignment, align_onsets, align_waves
from syncd.analysis.calibration import CALIBRATION
from syncd.analysis.consensus import Consensus, find_consensus
from syncd.analysis.correlate import CoarsePeak, CoarseResult
from syncd.analysis.evidence import Beat, ChannelPair, SideEvidence, crossed_channels, shared_channels
from syncd.analysis.methods import Evidence, Method, MethodAnswer, SegmentHint, registry
from syncd.analysis.methods.speech import Speech, place_dialogue
from syncd.analysis.phat import fine_search
from syncd.analysis.pitch import pitch_shift_semitones, semitones_of_rate
from syncd.analysis.rate import name_of_rate
from syncd.analysis.solve import Solution, solve
from syncd.analysis.speech import Lines
from syncd.analysis.steadiness import is_match, support_of
from syncd.analysis.stretch import SR_HZ
from syncd.analysis.survey import LagProfile, Piece, Survey, Surveyor
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.timeline import coverage_of, explaining_as_much, longest, segments_of, uncertainty_ms
from syncd.analysis.verdict import Decision, Findings, Heard, Placed, covers_too_little, decide
from syncd.clock import monotonic_s
from syncd.domain import (
    AnalysisSettings,
    Candidate,
    Estimate,
    Inconclusive,
    MethodResult,
    MethodStatus,
    Rate,
    Segment,
    SegmentKind,
)

_T = TypeVar("_T")

STRETCH_MS: Final = 5.0
"""What a time stretcher moves the whole by, beside what its blocks scatter: its own delay, which nothing signals."""
APART_SEMITONES: Final = 0.1
"""A pitch that lies farther from where the speed puts it was stretched or moved."""
SPEECH: Final = Speech.name
MOST_TRIED: Final = 5
"""Lags of a weak survey that are looked at closely, a channel."""


class Watcher(Protocol):
    """Told how far the work is; either call may raise to end it."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        """`done` of `total` units of `stage`."""

    def method_done(self, result: MethodResult) -> None:
        """One method's answer, as soon as it is there."""


class EndsAnalysis(Exception):
    """What a watcher raises to end the analysis; no method may swallow it."""


@dataclass(frozen=True)
class Traces:
    """What the answer was read from, kept so that it can be drawn."""

    alignment: Alignment | None
    """What was placed: its windows."""
    profile: LagProfile | None
    """How every lag of the whole programme stands, by the channel with the most evidence."""
    lines: tuple[Lines, Lines] | None
    """The dialogue of master and dub; None where nothing listened for it."""


@dataclass(frozen=True)
class Answer:
    """Everything the analysis says about a pair."""

    decision: Decision
    consensus: Consensus
    method_results: tuple[MethodResult, ...]
    channels_used: str
    stage_seconds: dict[str, float]
    traces: Traces


def measure(master: SideEvidence, dub: SideEvidence, settings: AnalysisSettings, watcher: Watcher) -> Answer:
    """Find where the dub lies. Raises only what `watcher` raises, and what reading the evidence raises."""
    stages = _StageClock()
    pairs = shared_channels(master, dub)
    surveyor = stages.timed("survey", lambda: Surveyor(pairs, _beat(watcher, "curves", "Reading the curves")))
    whole, speeds = (
        _beat(watcher, "survey", "Comparing the whole files"),
        _beat(watcher, "speeds", "Trying other speeds"),
    )
    surveys = stages.timed("survey", lambda: surveyor.survey(whole, speeds))
    crossed = crossed_channels(master, dub)
    evidence = _evidence(pairs, crossed, surveys)
    evidence = stages.timed("onsets", lambda: _with_onsets(evidence, _beat(watcher, "onsets", "Comparing onsets")))
    results: list[MethodResult] = []
    answers: dict[str, MethodAnswer] = {}
    best: Alignment | None = evidence.starts[0] if evidence.starts and evidence.starts[0].is_sure else None
    for name in _in_order(settings.methods):
        result, answer = stages.timed(name, partial(_run_method, name, evidence, watcher))
        results.append(result)
        watcher.method_done(result)
        if answer is None:
            continue
        answers[name] = answer
        if name == "correlation" and isinstance(answer.outcome, Estimate) and answer.alignment is not None:
            best = answer.alignment
            evidence = _known_better(evidence, best)
    heard = crossed if best is not None and best.channel in {pair.name for pair in crossed} else pairs
    solution = stages.timed("timeline", lambda: _solved(surveyor, heard, best, (master, dub), watcher))
    pieces_s = () if solution is None else tuple(stretch.lag_s for stretch in solution.stretches)
    consensus = find_consensus(tuple(results), pieces_s)
    lengths_s = master.duration_s, dub.duration_s
    placed = _placed(solution, consensus, heard, *lengths_s)
    if placed is not None and not placed.by_waves and covers_too_little(coverage_of(placed.timeline, *lengths_s)):
        apart = _by_dialogue_alone(evidence, consensus, answers)
        if apart is not None:
            results = [_with_answer(result, apart) if result.method == SPEECH else result for result in results]
            answers[SPEECH], placed = apart, None
            consensus = find_consensus(tuple(result for result in results if result.method == SPEECH))
    results.sort(key=lambda result: settings.methods.index(result.method))
    rivals = stages.timed("rivals", lambda: _rivals(evidence, solution, watcher))
    again = _beat(watcher, "repetition", "Looking for what repeats")
    findings = Findings(
        consensus=consensus,
        placed=placed,
        rate=_own_rate(consensus, answers) or _known_rate(evidence),
        best_deviations=evidence.survey_deviations,
        lags=evidence.lags_compared,
        candidates=_candidates(surveys),
        rivals=rivals,
        alike_in_part=_alike_in_part(answers.values()),
        repeating=() if consensus.estimate else stages.timed("repetition", lambda: surveyor.repeating(again)),
    )
    sides = _heard("master", master), _heard("dub", dub)
    decision = decide(*sides, findings, settings)
    channel = best.channel if best is not None else (surveys[0].channel if surveys else "mid")
    traces = Traces(
        alignment=solution.alignment if solution is not None else best,
        profile=surveys[0].profile if surveys else None,
        lines=next((answer.lines for answer in answers.values() if answer.lines is not None), None),
    )
    return Answer(decision, consensus, tuple(results), channel, stages.seconds, traces)


def _in_order(methods: tuple[str, ...]) -> list[str]:
    """As the registry has them: `correlation` first, since it knows the speed best."""
    known = list(registry())
    return sorted(methods, key=lambda name: known.index(name) if name in known else len(known))


def _beat(watcher: Watcher, stage: str, text: str) -> Beat:
    def tell(done: int, total: int) -> None:
        watcher.progress(stage, done, total, text)

    return tell


def _evidence(
    pairs: tuple[ChannelPair, ...], crossed: tuple[ChannelPair, ...], surveys: tuple[Survey, ...]
) -> Evidence:
    coarse = tuple(
        CoarseResult(s.channel, tuple(CoarsePeak(lag_s, height) for lag_s, height in s.candidates), s.lags)
        for s in surveys
    )
    front = surveys[0] if surveys else None
    return Evidence(
        pairs=pairs,
        crossed=crossed,
        coarse=coarse,
        starts=tuple(_starts(pairs, crossed, surveys)),
        survey_deviations=front.deviations if front else 0.0,
        lags_compared=front.lags if front else 0,
        rate=front.rate if front else 1.0,
    )


def _starts(
    pairs: tuple[ChannelPair, ...], crossed: tuple[ChannelPair, ...], surveys: tuple[Survey, ...]
) -> list[Alignment]:
    """The best survey's pieces, on its channel and then on the others; without pieces, each lag that stands out."""
    sounds = {pair.name: pair for pair in pairs}
    starts = []
    for front in (s for s in surveys if s.pieces):
        sure = front.deviations >= THRESHOLDS.coarse_match_deviations
        pieces = tuple(Aligned(piece, None, None) for piece in front.pieces)
        others = [pair.name for pair in (*pairs, *crossed) if pair.name != front.channel]
        starts += [Alignment(channel, front.rate, None, pieces, is_sure=sure) for channel in (front.channel, *others)]
    if not starts or not starts[0].is_sure:
        for s in surveys:
            pair = sounds[s.channel]
            master_s, dub_s = (side.sound.samples / 16_000 for side in (pair.master, pair.dub))
            for lag_s, height in s.candidates[:MOST_TRIED]:
                if height >= THRESHOLDS.candidate_deviations and -dub_s * s.rate < lag_s < master_s:
                    piece = Piece(0.0, dub_s * s.rate, lag_s, 0.0, _as_high_elsewhere(s, lag_s, height))
                    starts.append(Alignment(s.channel, s.rate, None, (Aligned(piece, None, None),)))
    return starts


def _as_high_elsewhere(survey: Survey, lag_s: float, height: float) -> tuple[float, ...]:
    """Lags of the whole programme that stand nearly as high."""
    least = THRESHOLDS.ambiguous_ratio * height
    return tuple(other_s for other_s, other in survey.candidates if other_s != lag_s and other >= least)


def _with_onsets(evidence: Evidence, beat: Beat) -> Evidence:
    """The most promising start measured by its onsets: everything after it rests on the speed they give."""
    if not evidence.starts or not evidence.starts[0].is_sure:
        return evidence
    first, *others = evidence.starts
    measured = align_onsets(evidence.pair(first.channel), first, beat)
    others = [
        replace(o, rate=measured.rate, pieces=measured.pieces, by_onsets=True)
        if o.rate == first.rate and o.is_sure
        else o
        for o in others
    ]
    return replace(evidence, starts=(measured, *others), rate=measured.rate, segments=_hints(measured))


def _known_better(evidence: Evidence, best: Alignment) -> Evidence:
    return replace(evidence, starts=(best,), rate=best.rate, segments=_hints(best))


def _hints(alignment: Alignment) -> tuple[SegmentHint, ...]:
    return tuple(
        SegmentHint(one.piece.start_s / alignment.rate, one.piece.end_s / alignment.rate, one.piece.lag_s)
        for one in alignment.pieces
    )


def _own_rate(consensus: Consensus, answers: Mapping[str, MethodAnswer]) -> Rate | None:
    """The speed that a method found by itself, where the offset is that method's alone."""
    return answers[consensus.methods[0]].rate if len(consensus.methods) == 1 else None


def _by_dialogue_alone(
    evidence: Evidence, consensus: Consensus, answers: Mapping[str, MethodAnswer]
) -> MethodAnswer | None:
    """The dialogue placed without what onsets said of the speed: where lines are all that is shared, theirs are lines.

    None where the dialogue does not vouch for the offset, or vouches for none at a speed of its own.
    """
    if SPEECH not in consensus.methods or (lines := answers[SPEECH].lines) is None:
        return None
    freed = replace(evidence, rate=1.0, segments=(), starts=())
    answer = place_dialogue(freed, answers[SPEECH].channel or freed.pairs[0].name, lines)
    return answer if isinstance(answer.outcome, Estimate) else None


def _known_rate(evidence: Evidence) -> Rate:
    """The speed that the methods' offsets belong to, as far as it was measured."""
    if evidence.rate == 1.0:
        return Rate()
    errors_ppm = (start.rate_error_ppm for start in evidence.starts if start.rate == evidence.rate)
    error_ppm = next(errors_ppm, None)
    return Rate(evidence.rate, error_ppm, name_of_rate(evidence.rate, error_ppm or 0.0))


def _solved(
    surveyor: Surveyor,
    pairs: tuple[ChannelPair, ...],
    best: Alignment | None,
    sides: tuple[SideEvidence, SideEvidence],
    watcher: Watcher,
) -> Solution | None:
    """The pieces that are borne out, their ends, and what lies between them."""
    if best is None:
        return None
    borne = tuple(one for one in best.pieces if (one.matches if best.by_waves else one.is_borne_out))
    if not borne:
        return None
    beat = _beat(watcher, "pieces", "Placing what lies between")

    def align(start: Alignment) -> Alignment:
        pair = next(pair for pair in pairs if pair.name == start.channel)
        onsets = align_onsets(pair, start, beat, hold_rate=True)
        return align_waves(pair, onsets, beat, hold_rate=True) if best.by_waves else onsets

    lengths_s = sides[0].duration_s, sides[1].duration_s
    told = _beat(watcher, "timeline", "Looking for cuts and inserts")
    return solve(surveyor, pairs, replace(best, pieces=borne), align, lengths_s, told)


def _run_method(name: str, evidence: Evidence, watcher: Watcher) -> tuple[MethodResult, MethodAnswer | None]:
    method = registry()[name]
    started_s = monotonic_s()
    try:
        answer = _answer(method, evidence, watcher)
    except (EndsAnalysis, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever breaks in one method must not cost the others' answers
        reason = f"the method broke: {type(error).__name__}: {error}"
        return MethodResult(name, MethodStatus.FAILED, Inconclusive((reason,)), 0.0, monotonic_s() - started_s), None
    status = MethodStatus.SKIPPED if answer.skipped else MethodStatus.INCONCLUSIVE
    return _with_answer(MethodResult(name, status, answer.outcome, 0.0, monotonic_s() - started_s), answer), answer


def _with_answer(result: MethodResult, answer: MethodAnswer) -> MethodResult:
    status = MethodStatus.OK if isinstance(answer.outcome, Estimate) else result.status
    metadata = answer.metadata if answer.channel is None else {**answer.metadata, "channel": answer.channel}
    return replace(result, status=status, outcome=answer.outcome, quality_score=answer.quality_score, metadata=metadata)


def _answer(method: Method, evidence: Evidence, watcher: Watcher) -> MethodAnswer:
    def beat(done: int, total: int) -> None:
        watcher.progress(method.name, done, total, f"{method.text}: window {min(done + 1, total)} of {total}")

    return method.run(evidence, beat)


def _placed(
    solution: Solution | None,
    consensus: Consensus,
    pairs: tuple[ChannelPair, ...],
    master_s: float,
    dub_s: float,
) -> Placed | None:
    """The solution, if it is what the methods agree on."""
    estimate = consensus.estimate
    if solution is None or estimate is None or not solution.stretches:
        return None
    reach_ms = max(THRESHOLDS.agreement_ms, estimate.uncertainty_ms)
    if all(abs(s.lag_s - estimate.offset_s) * 1000.0 > reach_ms for s in solution.stretches):
        return None
    primary = longest(solution.stretches)
    alignment = solution.alignment
    error_ppm = alignment.rate_error_ppm
    matches = [(s.start_s, s.end_s, s.lag_s) for s in solution.stretches]
    laid = segments_of(matches, alignment.rate, master_s, dub_s, estimate.confidence)
    timeline = tuple(_as_sure_as_its_own(segment, solution) for segment in laid)
    pair = next(pair for pair in pairs if pair.name == alignment.channel)
    # Waveforms that agree once the speed is undone have moved in pitch with it.
    semitones = (
        semitones_of_rate(alignment.rate)
        if alignment.by_waves
        else pitch_shift_semitones(pair, alignment.rate, matches)
    )
    rate = Rate(alignment.rate, error_ppm, name_of_rate(alignment.rate, error_ppm or 0.0), semitones)
    found = primary.aligned.waves if alignment.by_waves else primary.aligned.onsets and primary.aligned.onsets.found
    own = Estimate(primary.lag_s, estimate.confidence, uncertainty_ms(primary.aligned))
    # The methods' offset, where it is more precise, or where it excludes that of the piece.
    apart_ms = abs(own.offset_s - estimate.offset_s) * 1000.0
    better = apart_ms <= reach_ms and (
        estimate.uncertainty_ms < own.uncertainty_ms or apart_ms > own.uncertainty_ms + estimate.uncertainty_ms
    )
    primary_estimate = estimate if better else own
    if (
        not alignment.by_waves
        and semitones is not None
        and abs(semitones - semitones_of_rate(alignment.rate)) > APART_SEMITONES
    ):
        wider_ms = math.hypot(primary_estimate.uncertainty_ms, STRETCH_MS)
        primary_estimate = Estimate(primary_estimate.offset_s, primary_estimate.confidence, wider_ms)
    return Placed(primary_estimate, timeline, rate, alignment.by_waves, support_of(found).share if found else 0.0)


def _as_sure_as_its_own(segment: Segment, solution: Solution) -> Segment:
    """No surer than what the waveforms of the same stretch bear by themselves, where they were compared."""
    if segment.kind is not SegmentKind.MATCH or segment.confidence is None:
        return segment
    waves = next((s.aligned.waves for s in solution.stretches if s.lag_s == segment.offset_s), None)
    if waves is None or not solution.alignment.by_waves:
        return segment
    own = CALIBRATION.methods["correlation"].probability(waves.deviations, support_of(waves).share)
    return replace(segment, confidence=min(segment.confidence, own))


def _alike_in_part(answers: Iterable[MethodAnswer]) -> tuple[int, int] | None:
    """Of waveforms beyond any doubt that too few windows bear."""
    for answer in answers:
        agreeing, of = (answer.metadata.get(key) for key in ("windows_agreeing", "windows_with_sound"))
        sure = answer.quality_score >= THRESHOLDS.waves_sure_deviations and isinstance(answer.outcome, Inconclusive)
        if sure and isinstance(agreeing, int) and isinstance(of, int) and 0 < agreeing < of:
            return agreeing, of
    return None


def _candidates(surveys: tuple[Survey, ...]) -> tuple[Candidate, ...]:
    front = surveys[0].candidates[:3] if surveys else ()
    return tuple(Candidate(lag_s, h) for lag_s, h in front if h >= THRESHOLDS.candidate_deviations)


def _rivals(evidence: Evidence, solution: Solution | None, watcher: Watcher) -> tuple[Candidate, ...]:
    """Other lags at which the longest stretch fits about as well, the best one first."""
    beat = _beat(watcher, "rivals", "Comparing places that repeat")
    beat(0, 1)
    if solution is None or not solution.stretches:
        return ()
    alignment = solution.alignment
    primary = longest(solution.stretches)
    master_s = evidence.pair(alignment.channel).master.sound.samples / SR_HZ
    lags_s = explaining_as_much(primary, primary.aligned.piece.rivals_s, master_s)
    if not lags_s:
        return ()
    own = primary.aligned.waves if alignment.by_waves else None
    if own is None:
        return tuple(Candidate(lag_s, evidence.survey_deviations) for lag_s in (primary.lag_s, *lags_s))
    rivals = []
    for lag_s in lags_s:
        span_s = (primary.start_s, primary.end_s)
        found = fine_search(evidence.pair(alignment.channel), lag_s, beat, rate=alignment.rate, span_s=span_s)
        if found is None or abs(found.lag_s - primary.lag_s) * 1000.0 <= THRESHOLDS.agreement_ms:
            continue
        if is_match(found, support_of(found)) and found.deviations >= THRESHOLDS.ambiguous_ratio * own.deviations:
            rivals.append(Candidate(found.lag_s, found.deviations))
    return (Candidate(primary.lag_s, own.deviations), *rivals) if rivals else ()


def _heard(name: str, side: SideEvidence) -> Heard:
    liveliest = max(
        (channel.activity for channel in side.channels.values()),
        key=lambda activity: (activity.level_db > THRESHOLDS.silent_level_db, activity.modulation_db),
    )
    return Heard(name, side.duration_s, liveliest)


class _StageClock:
    """How long each stage took."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, stage: str, work: Callable[[], _T]) -> _T:
        """What `work` returns."""
        started_s = monotonic_s()
        result = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + monotonic_s() - started_s
        return result
