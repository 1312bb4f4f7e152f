"""The façade: two sides' evidence in, one answer out.

Coarse search on every shared channel, each method that was asked for, their consensus, what speaks against it, the
verdict. Later methods only join the registry; later questions (speed, edits) join between consensus and verdict.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from syncd.analysis.consensus import Consensus, find_consensus
from syncd.analysis.correlate import CoarseResult, coarse_search
from syncd.analysis.doubts import Doubt, DoubtKind, find_doubts, moved_end, sparse_match, thin_match
from syncd.analysis.ends import moved_ends
from syncd.analysis.evidence import ChannelPair, SideEvidence, shared_channels
from syncd.analysis.features import COARSE_FLUX
from syncd.analysis.methods import NOT_IN_THIS_VERSION, Evidence, Method, MethodAnswer, registry
from syncd.analysis.speeds import SpeedHint, find_speed
from syncd.analysis.steadiness import support_of
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.verdict import Decision, Heard, decide
from syncd.clock import monotonic_s
from syncd.domain import AnalysisSettings, Estimate, Inconclusive, MethodResult, MethodStatus

_T = TypeVar("_T")

ANALYSIS_VERSION: Final = 1
"""Grows when the same pair may get another answer."""


class Watcher(Protocol):
    """Told how far the work is; either call may raise to end it."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        """`done` of `total` units of `stage`."""

    def method_done(self, result: MethodResult) -> None:
        """One method's answer, as soon as it is there."""


class EndsAnalysis(Exception):
    """What a watcher raises to end the analysis; no method may swallow it."""


@dataclass(frozen=True)
class Answer:
    """Everything the analysis says about a pair."""

    decision: Decision
    consensus: Consensus
    method_results: tuple[MethodResult, ...]
    channels_used: str
    stage_seconds: dict[str, float]


def measure(master: SideEvidence, dub: SideEvidence, settings: AnalysisSettings, watcher: Watcher) -> Answer:
    """Find where the dub lies. Raises only what `watcher` raises, and what reading the evidence raises."""
    stages = _StageClock()
    pairs = shared_channels(master, dub)
    coarse = stages.timed("coarse", lambda: _search(pairs, watcher))
    evidence = Evidence(pairs, coarse)
    results: list[MethodResult] = []
    answers: list[MethodAnswer] = []
    for name in settings.methods:
        result, answer = stages.timed(name, partial(_run_method, name, evidence, watcher))
        results.append(result)
        if answer is not None:
            answers.append(answer)
        watcher.method_done(result)
    consensus = find_consensus(tuple(results))
    channel = _channel_used(answers, coarse)
    doubts = _doubts(answers, coarse)
    if not doubts and _share_sound(answers):
        doubts = _moved_ends(evidence, channel, consensus)
    speed = stages.timed("speeds", lambda: _speed(evidence, consensus, doubts, watcher))
    repeating = () if consensus.estimate else stages.timed("repetition", lambda: _repeating(evidence, watcher))
    sides = _heard("master", master), _heard("dub", dub)
    decision = decide(*sides, coarse, consensus, doubts, speed, settings, repeating=repeating)
    return Answer(decision, consensus, tuple(results), channel, stages.seconds)


def _search(pairs: tuple[ChannelPair, ...], watcher: Watcher) -> tuple[CoarseResult, ...]:
    """All channels; strongest first."""

    def search(first: int, pair: ChannelPair) -> CoarseResult:
        def beat(done: int, total: int) -> None:
            text = "Comparing all lags of the whole files"
            watcher.progress("coarse", first * total + done, len(pairs) * total, text)

        return coarse_search(pair.name, pair.master.flux, pair.dub.flux, COARSE_FLUX, beat)

    found = [search(first, pair) for first, pair in enumerate(pairs)]
    return tuple(sorted(found, key=lambda result: -result.best_deviations))


def _run_method(name: str, evidence: Evidence, watcher: Watcher) -> tuple[MethodResult, MethodAnswer | None]:
    method = registry().get(name)
    if method is None:
        return MethodResult(name, MethodStatus.SKIPPED, Inconclusive((NOT_IN_THIS_VERSION,)), 0.0, 0.0), None
    started_s = monotonic_s()
    try:
        answer = _answer(method, evidence, watcher)
    except (EndsAnalysis, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever breaks in one method must not cost the others' answers
        reason = f"the method broke: {type(error).__name__}: {error}"
        return MethodResult(name, MethodStatus.FAILED, Inconclusive((reason,)), 0.0, monotonic_s() - started_s), None
    status = MethodStatus.OK if isinstance(answer.outcome, Estimate) else MethodStatus.INCONCLUSIVE
    seconds = monotonic_s() - started_s
    metadata = answer.metadata if answer.channel is None else {**answer.metadata, "channel": answer.channel}
    return MethodResult(name, status, answer.outcome, answer.quality_score, seconds, metadata), answer


def _answer(method: Method, evidence: Evidence, watcher: Watcher) -> MethodAnswer:
    def beat(done: int, total: int) -> None:
        watcher.progress(method.name, done, total, f"{method.text}: window {done + 1} of {total}")

    return method.run(evidence, beat)


def _doubts(answers: list[MethodAnswer], coarse: tuple[CoarseResult, ...]) -> tuple[Doubt, ...]:
    """Of the method that places the dub best; where none does, of the first that has something to say."""
    sure = [answer for answer in answers if isinstance(answer.outcome, Estimate)]
    best = min(sure, key=_uncertainty_ms, default=None)
    if best is not None:
        own = find_doubts(best.findings, coarse)
        if own or _is_borne_by_most(best):
            return own
        elsewhere = (thin_match(a.findings, THRESHOLDS.thin_certain_deviations) for a in answers if a is not best)
        return next((doubts for doubts in elsewhere if doubts), ()) or _sparse(sure)
    told = (find_doubts(answer.findings, coarse) for answer in answers)
    return next((doubts for doubts in told if doubts), ())


def _is_borne_by_most(answer: MethodAnswer) -> bool:
    return bool(answer.findings) and support_of(answer.findings[0]).share >= THRESHOLDS.doubtful_supporting_share


def _sparse(sure: list[MethodAnswer]) -> tuple[Doubt, ...]:
    """Judged by the method that hears the most windows agree."""
    found = [answer.findings[0] for answer in sure if answer.findings]
    return sparse_match(max(found, key=lambda finding: support_of(finding).share)) if found else ()


def _share_sound(answers: list[MethodAnswer]) -> bool:
    """Whether an offset rests on sound that both sides have. Where it is the dialogue's timing alone, a line at an end
    that starts a little early was not moved by anybody."""
    return any(isinstance(answer.outcome, Estimate) and answer.findings for answer in answers)


def _moved_ends(evidence: Evidence, channel: str, consensus: Consensus) -> tuple[Doubt, ...]:
    """What the first and last seconds say against an offset that holds elsewhere."""
    estimate = consensus.estimate
    if estimate is None:
        return ()
    ends = moved_ends(evidence.pair(channel), estimate.offset_s)
    return tuple(moved_end(end, estimate.offset_s) for end in ends)


def _repeating(evidence: Evidence, watcher: Watcher) -> tuple[str, ...]:
    """The sides that fit themselves elsewhere: asked only where no offset was found, to say why."""
    pair = evidence.pairs[0]

    def beat(done: int, total: int) -> None:
        watcher.progress("repetition", done, total, "Looking for repetition")

    names = []
    for name, side in (("master", pair.master), ("dub", pair.dub)):
        peaks = coarse_search(pair.name, side.flux, side.flux, COARSE_FLUX, beat).peaks
        if len(peaks) > 1 and peaks[1].deviations >= THRESHOLDS.repeats_ratio * peaks[0].deviations:
            names.append(name)
    return tuple(names)


def _uncertainty_ms(answer: MethodAnswer) -> float:
    return answer.outcome.uncertainty_ms if isinstance(answer.outcome, Estimate) else float("inf")


def _speed(evidence: Evidence, consensus: Consensus, doubts: tuple[Doubt, ...], watcher: Watcher) -> SpeedHint | None:
    """Looked for only where no single offset holds: it costs as much as six coarse searches."""
    settled = consensus.estimate is not None and not any(doubt.grave for doubt in doubts)
    if settled or any(doubt.kind is DoubtKind.DRIFTS for doubt in doubts):
        return None
    plain = max((result.best_deviations for result in evidence.coarse), default=0.0)

    def beat(done: int, total: int) -> None:
        watcher.progress("speeds", done, total, "Trying the known speed differences")

    hints = [find_speed(pair, plain, beat) for pair in evidence.pairs]
    return max((hint for hint in hints if hint is not None), key=lambda hint: hint.deviations, default=None)


def _heard(name: str, side: SideEvidence) -> Heard:
    liveliest = max(
        (channel.activity for channel in side.channels.values()),
        key=lambda activity: (activity.level_db > THRESHOLDS.silent_level_db, activity.modulation_db),
    )
    return Heard(name, side.duration_s, liveliest)


def _channel_used(answers: list[MethodAnswer], coarse: tuple[CoarseResult, ...]) -> str:
    sure = [a.channel for a in answers if isinstance(a.outcome, Estimate) and a.channel]
    return sure[0] if sure else (coarse[0].channel if coarse else "mid")


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
