"""What the analysis says of a pair, beside what is true."""

from __future__ import annotations

import contextlib
import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

from syncd.analysis.calibration import share_of, within_half_a_frame
from syncd.analysis.evidence import MID, SIDE, SideEvidence
from syncd.analysis.measure import Answer, measure
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import TOLERANCES, AnalysisSettings, Estimate, MethodStatus, SegmentKind, Verdict
from tests.calibration.pairs import Pair, TruePiece, pair
from tests.material.judging import RIGHT_MS
from tests.material.seeds import Samples
from tests.unit.in_memory import SR_HZ, Deaf, channel_of

METHODS = ("correlation", "mfcc", "onset", "spectral", "chunked", "chroma", "speech")
LOWERED = (
    *("candidate_deviations", "coarse_match_deviations", "coarse_doubt_deviations", "fine_match_deviations"),
    *("mfcc_match_deviations", "onset_match_deviations", "chroma_match_deviations", "mfcc_fine_deviations"),
    *("onset_fine_deviations", "chunk_match_deviations", "chunk_alone_deviations", "chunk_wave_deviations"),
    *("least_bearing_windows", "least_supporting_share", "least_onset_share", "onset_piece_deviations"),
    *("speech_match_deviations", "speech_least_share", "speech_least_lines", "speech_least_spoken_s"),
)
LOWERED_BY = 0.6
KEPT: Final = Path(__file__).parent / "observed.jsonl.gz"
"""What the committed calibration rests on: some two hours of a processor's time."""


class Voice(msgspec.Struct):
    """One method's offset."""

    method: str
    height: float
    share: float
    uncertainty_ms: float
    right_lag: bool
    """Its error lies within twice its interval, or half a frame: what is told of the interval is another matter."""
    together: bool
    """It is among those that agree with the report's offset."""


class Observed(msgspec.Struct):
    """A pair and what was said of it."""

    number: int
    what: str
    verdict: str
    shorter_s: float
    voices: list[Voice]
    given: bool
    error_ms: float | None
    """Of the offset that was given; None where none was, or where there is none to be right about."""
    uncertainty_ms: float
    confidence: float
    overall_confidence: float
    objected: bool
    all_right: bool
    """Verdict and every segment."""


@contextlib.contextmanager
def lowered_thresholds() -> Iterator[None]:
    """So that what is usually refused gives an offset too, and is seen to be wrong."""
    kept = {name: getattr(THRESHOLDS, name) for name in LOWERED}
    try:
        for name, value in kept.items():
            object.__setattr__(THRESHOLDS, name, type(value)(value * LOWERED_BY))
        yield
    finally:
        for name, value in kept.items():
            object.__setattr__(THRESHOLDS, name, value)


def observe(number: int, *, lowered: bool) -> Observed:
    """Measure the pair of that number."""
    drawn = pair(number)
    settings = AnalysisSettings(METHODS, TOLERANCES["ebu-r37"])
    with lowered_thresholds() if lowered else contextlib.nullcontext():
        answer = measure(_side(drawn.master), _side(drawn.dub), settings, Deaf())
    return _judged(number, drawn, answer)


def _side(sound: Samples) -> SideEvidence:
    middle, side = (sound[0] + sound[1]) / 2, (sound[0] - sound[1]) / 2
    return SideEvidence(sound.shape[1] / SR_HZ, {MID: channel_of(middle), SIDE: channel_of(side)})


def _judged(number: int, drawn: Pair, answer: Answer) -> Observed:
    decision = answer.decision
    ours = {id(result) for result in answer.consensus.dissenters}
    voices = [
        Voice(
            result.method,
            result.quality_score,
            share_of(result.metadata),
            result.outcome.uncertainty_ms,
            bool(_error_ms(drawn.pieces, result.outcome) <= max(RIGHT_MS, 2.0 * result.outcome.uncertainty_ms)),
            together=id(result) not in ours,
        )
        for result in answer.method_results
        if result.status is MethodStatus.OK and isinstance(result.outcome, Estimate)
    ]
    given = decision.consensus
    return Observed(
        number,
        drawn.what,
        decision.verdict.value,
        min(drawn.master.shape[1], drawn.dub.shape[1]) / SR_HZ,
        voices,
        given is not None,
        _error_ms(drawn.pieces, given) if given is not None else None,
        given.uncertainty_ms if given is not None else 0.0,
        given.confidence if given is not None else 0.0,
        decision.confidence,
        bool(decision.warnings),
        _all_right(drawn, answer),
    )


def _error_ms(pieces: tuple[TruePiece, ...], estimate: Estimate) -> float:
    """Of the nearest true offset; beyond all bounds where there is none (JSON knows no infinity)."""
    return float(min((1000.0 * abs(piece.offset_s - estimate.offset_s) for piece in pieces), default=1e9))


def _all_right(drawn: Pair, answer: Answer) -> bool:
    """Verdict and segments, each within half a frame or the interval that is told."""
    decision = answer.decision
    if decision.consensus is None:
        return decision.verdict is Verdict.INCONCLUSIVE or drawn.what in {"unrelated", "title", "dialogue"}
    found = [s for s in decision.timeline if s.kind is SegmentKind.MATCH and s.offset_s is not None]
    reach_ms = max(RIGHT_MS, 2.0 * decision.consensus.uncertainty_ms)
    placed = [any(1000.0 * abs((s.offset_s or 0.0) - p.offset_s) <= reach_ms for s in found) for p in drawn.pieces]
    edited = decision.verdict is Verdict.EDITED
    return bool(placed) and all(placed) and len(found) == len(placed) and edited == (len(placed) > 1)


def lag_certainty(observed: Observed) -> float:
    """What the report's confidence says of the lag, its interval put aside."""
    return min(1.0, observed.confidence / within_half_a_frame(observed.uncertainty_ms))


class Twice(msgspec.Struct):
    """One pair, with thresholds lowered and as they are."""

    lowered: Observed
    usual: Observed


def both(number: int) -> Twice:
    """Measure the pair twice."""
    return Twice(observe(number, lowered=True), observe(number, lowered=False))


def keep_for_good(seen: Sequence[Twice]) -> None:
    """Write what the committed calibration rests on; the same observations make the same bytes."""
    lines = b"".join(msgspec.json.encode(one) + b"\n" for one in seen)
    KEPT.write_bytes(gzip.compress(lines, mtime=0))


def kept_for_good() -> list[Twice]:
    """What the committed calibration rests on."""
    decode = msgspec.json.Decoder(Twice).decode
    return [decode(line) for line in gzip.decompress(KEPT.read_bytes()).splitlines()]
