"""The `ai` stage: a model hears both sides and says whether it agrees with what was decided. It changes no figure.

Whatever breaks here costs the report its `ai_result` and nothing else, but for two things: a card's memory that does
not suffice even for one window is the supervisor's to act on (it tries again with less), and a card that failed ends
the process.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np

from syncd.analysis.embedding_alignment import Agreement, Sides, Stretch, agree, apart_s
from syncd.analysis.embeddings import Embedder, FrameRule, common_scale, cut_windows, embed_side, settle
from syncd.analysis.evidence import Beat, SampleSource, SideEvidence, shared_channels
from syncd.analysis.measure import EndsAnalysis
from syncd.clock import monotonic_s
from syncd.domain import AiResult, Estimate, Rate, Result, Segment, SegmentKind, Verdict
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.units import dub_to_master_s
from syncd.worker.feature_cache import CacheLost
from syncd.worker.model_cache import ModelCache
from syncd.worker.scratch import Scratch
from syncd.worker.scratch_frames import ScratchFrames

STAGE: Final = "ai"
_COMPARING_UNITS: Final = 100
"""Of progress, for what follows the windows."""


class Told(Protocol):
    """Who hears how far the stage is; may raise to end the task."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        """`done` of `total` units of `stage`."""


@dataclass(frozen=True)
class Decided:
    """What the analysis said, as far as a model may confirm it."""

    verdict: Verdict
    rate: Rate | None
    timeline: tuple[Segment, ...]

    def stretches(self) -> tuple[Stretch, ...]:
        """Where the dub was placed, in the master's time."""
        return tuple(
            Stretch(segment.master_start_s, segment.master_end_s, segment.offset_s)
            for segment in self.timeline
            if segment.kind is SegmentKind.MATCH
            and segment.offset_s is not None
            and segment.master_start_s is not None
            and segment.master_end_s is not None
        )


@dataclass(frozen=True)
class Confirmation:
    """What the stage adds to a report."""

    ai: AiResult | None = None
    review: bool = False
    warnings: tuple[str, ...] = ()
    degraded: tuple[str, ...] = ()
    peak_vram_bytes: int = 0
    seconds: float = 0.0

    def added_to(self, result: Result) -> Result:
        """The report with it; nothing that was measured changes."""
        return replace(
            result,
            ai=self.ai,
            review=result.review or self.review,
            warnings=(*result.warnings, *self.warnings),
            stage_seconds={**result.stage_seconds, STAGE: self.seconds},
        )


def sounds_of(master: SideEvidence, dub: SideEvidence, channel: str) -> tuple[SampleSource, SampleSource]:
    """What a model hears: the channel that the answer rests on, where both sides share most; else the sum."""
    pairs = shared_channels(master, dub)
    pair = next((pair for pair in pairs if pair.name == channel), pairs[0])
    return pair.master.sound, pair.dub.sound


def confirm(
    order: AiOrder,
    models: ModelCache,
    sounds: tuple[SampleSource, SampleSource],
    decided: Decided,
    scratch: Scratch,
    told: Told,
) -> Confirmation:
    """Ask the model about master and dub.

    Raises what `told` raises, `CacheLost`, `SyncdError` GPU_OUT_OF_MEMORY, and `gpu.CardFailed`.
    """
    started_s = monotonic_s()
    try:
        said = _confirmed(order, models, sounds, decided, scratch, told)
    except (EndsAnalysis, CacheLost):
        raise
    except SyncdError as error:
        if error.code is ErrorCode.GPU_OUT_OF_MEMORY:
            models.drop()
            raise
        said = Confirmation(warnings=(f"{error.code}: {error}",))
    except Exception as error:  # noqa: BLE001 - whatever breaks in a model must not cost the report
        models.drop()
        reason = f"The model {order.model} broke off ({type(error).__name__}: {_first_line(error)})"
        said = Confirmation(warnings=(f"{reason}; the report stands without it.",))
    return replace(said, seconds=monotonic_s() - started_s)


def _confirmed(
    order: AiOrder,
    models: ModelCache,
    sounds: tuple[SampleSource, SampleSource],
    decided: Decided,
    scratch: Scratch,
    told: Told,
) -> Confirmation:
    started_s = monotonic_s()
    told.progress(STAGE, 0, 1, f"Loading the model {order.model}")
    embedder, memory = models.take(order)
    memory.reset_peak()
    fallback = models.fallback
    steps = _Steps(told, tuple(len(cut_windows(sound.samples, embedder.rule)) for sound in sounds))
    agreement = _agreement(embedder, sounds, decided, scratch, steps)
    result = AiResult(
        model=order.model,
        checkpoint=embedder.checkpoint,
        outcome=agreement.outcome,
        embedding_similarity=agreement.similarity,
        temporal_consistency=agreement.consistency,
        model_confidence=agreement.model_confidence,
        windows=sum(steps.windows),
        device=embedder.device,
        dtype=embedder.dtype,
        batch=embedder.batch,
        processing_s=monotonic_s() - started_s,
    )
    objection = objection_of(result, decided, embedder.rule)
    degraded: tuple[str, ...] = () if fallback is None else (fallback,)
    if embedder.device != "cpu" and embedder.batch < order.batch:
        degraded += (f"windows went {embedder.batch} at once instead of {order.batch}, for want of memory",)
    return Confirmation(
        ai=result,
        review=objection is not None,
        warnings=() if objection is None else (objection,),
        degraded=degraded,
        peak_vram_bytes=memory.peak_bytes(),
    )


def objection_of(ai: AiResult, decided: Decided, rule: FrameRule) -> str | None:
    """Why a person should look: the model is sure of something that the report does not say. One sentence."""
    if not isinstance(ai.outcome, Estimate):
        return None
    own_s = ai.outcome.offset_s
    stretches = decided.stretches()
    if decided.verdict in {Verdict.NO_MATCH, Verdict.INCONCLUSIVE} or not stretches:
        return (
            f"The model {ai.model} finds both sides alike at an offset of {own_s:.2f} s, though the methods place the "
            "dub nowhere: look at this pair by hand."
        )
    if any(abs(stretch.offset_s - own_s) <= apart_s(rule) for stretch in stretches):
        return None
    return (
        f"The model {ai.model} would place the dub at an offset of {own_s:.2f} s, where this report has no part of it: "
        "look at this pair by hand."
    )


class _Steps:
    """Progress of the whole stage: windows of both sides, then the comparison."""

    def __init__(self, told: Told, windows: tuple[int, ...]) -> None:
        self.windows = windows
        self._told = told
        self._total = sum(windows) + _COMPARING_UNITS

    def side(self, index: int, name: str) -> Beat:
        """Of one side's windows."""
        before = sum(self.windows[:index])

        def tell(done: int, total: int) -> None:
            text = f"{name} embeddings: window {min(done + 1, total)}/{total}"
            self._told.progress(STAGE, before + done, self._total, text)

        return tell

    def comparing(self, first: int, last: int) -> Beat:
        """Of a part of the comparison, in hundredths of it."""

        def tell(done: int, total: int) -> None:
            within = first + (last - first) * done // max(1, total)
            self._told.progress(STAGE, sum(self.windows) + within, self._total, "Comparing embeddings")

        return tell


def _agreement(
    embedder: Embedder,
    sounds: tuple[SampleSource, SampleSource],
    decided: Decided,
    scratch: Scratch,
    steps: _Steps,
) -> Agreement:
    heard = []
    for index, (name, sound) in enumerate(zip(("Master", "Dub"), sounds, strict=True)):
        store = ScratchFrames(scratch.open_file(), embedder.dims)
        heard.append((store, embed_side(sound, embedder, store, steps.side(index, name))))
    scale = common_scale([moments for _, moments in heard])
    settled = []
    for index, (store, moments) in enumerate(heard):
        even = ScratchFrames(scratch.open_file(), embedder.dims, np.float16)
        settle(store, embedder.rule, moments, scale, even, steps.comparing(10 * index, 10 * index + 10))
        settled.append(even)
    rate = 1.0 if decided.rate is None else decided.rate.ratio
    sides = Sides(settled[0], settled[1], embedder.rule, rate)
    return agree(sides, _within(decided.stretches(), rate, sides), steps.comparing(20, _COMPARING_UNITS))


def _within(stretches: tuple[Stretch, ...], rate: float, sides: Sides) -> tuple[Stretch, ...]:
    """The stretches, no farther than the dub reaches."""
    dub_end_s = sides.dub.frames / sides.rule.frames_per_s
    cut = []
    for stretch in stretches:
        start_s = max(stretch.start_s, dub_to_master_s(0.0, rate, stretch.offset_s))
        end_s = min(stretch.end_s, dub_to_master_s(dub_end_s, rate, stretch.offset_s))
        if end_s > start_s:
            cut.append(Stretch(start_s, end_s, stretch.offset_s))
    return tuple(cut)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:200]
