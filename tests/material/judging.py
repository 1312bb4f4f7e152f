"""Whether an answer about a case is right: pure functions from a truth and a `Result` to an `Outcome`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from syncd.domain import Result, Segment, SegmentKind, Verdict
from tests.material.recipes import SHORTEST_SEGMENT_S, CaseTruth, TrueSegment

RIGHT_MS: Final = 20.0
"""Half a frame at 25 fps: what a confidence vouches for, and how far an offset may be off before it is a false one."""

BOUNDARY_LIMIT_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Outcome:
    """How near an answer came; None where there is nothing to compare."""

    hold: bool
    why: str
    """What is wrong, in words; empty if it holds."""
    verdict: str
    refused: bool
    """No offset was given."""
    false_offset: bool
    """An offset was given that is more than 20 ms (and the case's limit) off, or where there is none."""
    confidence: float | None
    offset_error_ms: float | None = None
    """Greatest distance between the two lines over the longest true segment (over every segment, with edits)."""
    intercept_error_ms: float | None = None
    rate_error_ppm: float | None = None
    interval_holds: bool | None = None
    """The stated 95 % interval of the offset holds the true one."""
    segments_missing: int = 0
    segments_invented: int = 0
    boundary_error_s: float | None = None
    """Of the worst inner boundary; 0 anywhere in the silence around it."""
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass(frozen=True, slots=True)
class _Line:
    """``t_master = rate * t_dub + offset_s``."""

    rate: float
    offset_s: float

    def distance_ms(self, other: _Line, start_s: float, end_s: float) -> float:
        """Greatest distance over a stretch of the dub's clock (lines differ most at an end)."""
        return max(
            abs((self.rate - other.rate) * at_s + self.offset_s - other.offset_s) * 1000.0 for at_s in (start_s, end_s)
        )


def judge(truth: CaseTruth, result: Result, *, cpu_s: float = 0.0, wall_s: float = 0.0) -> Outcome:
    """Compare; the times are passed on."""
    outcome = _given(truth, result) if result.consensus is not None else _refused(truth, result)
    return replace(outcome, hold=not outcome.why, cpu_s=cpu_s, wall_s=wall_s)


def _refused(truth: CaseTruth, result: Result) -> Outcome:
    why = "" if truth.expects in {"refusal", "ambiguous", "title"} else f"refused: {' '.join(result.reasons)}"
    return Outcome(
        hold=not why,
        why=why,
        verdict=result.verdict.value,
        refused=True,
        false_offset=False,
        confidence=result.overall_confidence,
    )


def _given(truth: CaseTruth, result: Result) -> Outcome:
    found = _found_line(result)
    found_segments = _segments(result, found.rate)
    pairing = _pair_up(truth, found_segments)
    plain = Outcome(
        hold=False,
        why="",
        verdict=result.verdict.value,
        refused=False,
        false_offset=False,
        confidence=result.consensus.confidence if result.consensus is not None else None,
        segments_missing=pairing.missing,
        segments_invented=pairing.invented,
        boundary_error_s=pairing.boundary_error_s,
    )
    if truth.expects == "refusal":
        return replace(plain, false_offset=True, why=f"an offset ({found.offset_s:.3f} s) where there is none")
    if truth.expects == "title":
        return _judged_title(plain, found_segments)
    return _judged_line(truth, result, plain, pairing)


def _judged_title(plain: Outcome, found: list[_Found]) -> Outcome:
    """The shared title alone may be told as what matches, under whatever verdict; everything else is invented."""
    honest = bool(found) and not plain.segments_invented
    return plain if honest else replace(plain, false_offset=True, why="more than the title is said to match")


def _judged_line(truth: CaseTruth, result: Result, plain: Outcome, pairing: _Pairing) -> Outcome:
    found, true = _found_line(result), _Line(truth.rate, truth.offset_s or 0.0)
    longest = max(truth.segments, key=lambda segment: segment.duration_s)
    line_ms = found.distance_ms(true, longest.dub_start_s, longest.dub_end_s)
    edited = truth.expects == "segments"
    offset_ms = pairing.offset_error_ms if edited and pairing.offset_error_ms is not None else line_ms
    intercept_ms = abs(found.offset_s - true.offset_s) * 1000.0
    half_ms = result.consensus.uncertainty_ms if result.consensus is not None else 0.0
    judged = replace(
        plain,
        offset_error_ms=offset_ms,
        intercept_error_ms=intercept_ms,
        rate_error_ppm=abs(found.rate / true.rate - 1.0) * 1e6,
        interval_holds=intercept_ms <= half_ms,
        false_offset=line_ms > max(RIGHT_MS, truth.limit_ms),
    )
    return replace(judged, why="; ".join(_faults(truth, judged, edited=edited)))


def _faults(truth: CaseTruth, judged: Outcome, *, edited: bool) -> list[str]:
    faults: list[str] = []
    if judged.offset_error_ms is not None and judged.offset_error_ms > truth.limit_ms:
        faults.append(f"offset {judged.offset_error_ms:.4g} ms off (limit {truth.limit_ms:g})")
    if judged.rate_error_ppm is not None and judged.rate_error_ppm > truth.rate_limit_ppm:
        faults.append(f"rate {judged.rate_error_ppm:.3g} ppm off (limit {truth.rate_limit_ppm:g})")
    if judged.segments_missing:
        faults.append(f"{judged.segments_missing} segments missing")
    if judged.segments_invented:
        faults.append(f"{judged.segments_invented} segments invented")
    if edited and judged.boundary_error_s is not None and judged.boundary_error_s > BOUNDARY_LIMIT_S:
        faults.append(f"a boundary {judged.boundary_error_s:.3g} s off")
    if edited != (judged.verdict == Verdict.EDITED.value):
        faults.append(f"verdict {judged.verdict}")
    if truth.interval_counts and judged.interval_holds is False:
        faults.append("the stated interval does not hold the truth")
    return faults


# ---------------------------------------------------------------- segments


@dataclass(frozen=True, slots=True)
class _Found:
    """A matching segment as the result states it."""

    dub_start_s: float
    dub_end_s: float
    line: _Line


@dataclass(frozen=True, slots=True)
class _Pairing:
    missing: int
    invented: int
    offset_error_ms: float | None
    boundary_error_s: float | None


def _found_line(result: Result) -> _Line:
    rate = result.rate.ratio if result.rate is not None else 1.0
    return _Line(rate, result.consensus.offset_s if result.consensus is not None else 0.0)


def _segments(result: Result, rate: float) -> list[_Found]:
    return [_found(segment, rate) for segment in result.timeline if segment.kind is SegmentKind.MATCH]


def _found(segment: Segment, rate: float) -> _Found:
    start_s, end_s, master_s = segment.dub_start_s, segment.dub_end_s, segment.master_start_s
    if start_s is None or end_s is None or master_s is None:
        raise ValueError(f"a match without both sides: {segment}")
    offset_s = segment.offset_s if segment.offset_s is not None else master_s - rate * start_s
    return _Found(start_s, end_s, _Line(rate, offset_s))


def _pair_up(truth: CaseTruth, found: list[_Found]) -> _Pairing:
    """Each found segment with the true one that it lies in; what lies in none, or divides one again, is invented."""
    owned: dict[TrueSegment, list[_Found]] = {segment: [] for segment in truth.segments}
    invented, errors_ms = 0, []
    near_ms = max(RIGHT_MS, truth.limit_ms)
    for one in found:
        owner = max(truth.segments, key=lambda segment: _overlap_s(segment, one), default=None)
        overlap_s = 0.0 if owner is None else _overlap_s(owner, one)
        if owner is None or overlap_s < 0.5 * (one.dub_end_s - one.dub_start_s):
            invented += 1
            continue
        start_s, end_s = max(owner.dub_start_s, one.dub_start_s), min(owner.dub_end_s, one.dub_end_s)
        error_ms = one.line.distance_ms(_Line(truth.rate, owner.offset_s), start_s, end_s)
        if error_ms > near_ms:
            invented += 1
            continue
        errors_ms.append(error_ms)
        owned[owner].append(one)
    invented += sum(max(0, len(parts) - 1) for parts in owned.values())
    missing = sum(not _is_found(segment, parts) for segment, parts in owned.items())
    return _Pairing(missing, invented, max(errors_ms, default=None), _boundary_error_s(truth, owned))


def _is_found(segment: TrueSegment, parts: list[_Found]) -> bool:
    """Half of it is covered, or it is too short to be asked for."""
    covered_s = sum(_overlap_s(segment, part) for part in parts)
    return segment.duration_s < SHORTEST_SEGMENT_S or covered_s >= 0.5 * segment.duration_s


def _overlap_s(segment: TrueSegment, one: _Found) -> float:
    return max(0.0, min(segment.dub_end_s, one.dub_end_s) - max(segment.dub_start_s, one.dub_start_s))


def _boundary_error_s(truth: CaseTruth, owned: dict[TrueSegment, list[_Found]]) -> float | None:
    """Of the worst inner end of the segments that were found; None without cuts."""
    errors_s = []
    for segment, parts in owned.items():
        if not parts:
            continue
        for cut in truth.cuts:
            if abs(cut.dub_s - segment.dub_end_s) < 1e-6:
                errors_s.append(_outside_s(max(p.dub_end_s for p in parts), cut.silent_from_s, cut.silent_to_s))
            if abs(cut.dub_s - segment.dub_start_s) < 1e-6:
                errors_s.append(_outside_s(min(p.dub_start_s for p in parts), cut.silent_from_s, cut.silent_to_s))
    return max(errors_s, default=None)


def _outside_s(at_s: float, from_s: float, to_s: float) -> float:
    return max(0.0, from_s - at_s, at_s - to_s)
