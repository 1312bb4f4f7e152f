"""From the methods' answers to one offset: which of them count, and how far they agree."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from syncd.analysis.calibration import together, within_half_a_frame
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Estimate, MethodResult, MethodStatus

WAVES: Final = "correlation"

_Voice = tuple[MethodResult, Estimate]


@dataclass(frozen=True)
class Consensus:
    """What the methods say together."""

    estimate: Estimate | None
    """Of the most precise method that the weightier side trusts; None where no method vouches for an offset."""
    agreement: float | None
    """Share (0 to 1) of the methods that vouch for an offset and lie within half a frame of it; None below two."""
    dissenters: tuple[MethodResult, ...] = ()
    """Methods that vouch for another offset."""
    methods: tuple[str, ...] = ()
    """Those that vouch for this one."""


def find_consensus(results: tuple[MethodResult, ...], pieces_s: tuple[float, ...] = ()) -> Consensus:
    """Group what lies together, take the group with the most trust, in it the narrowest interval.

    `pieces_s`: the offsets of the pieces that were placed; methods that name any of them say the same.
    """
    voices = [(r, r.outcome) for r in results if r.status is MethodStatus.OK and isinstance(r.outcome, Estimate)]
    if not voices:
        return Consensus(None, None)
    groups = [[other for other in voices if _together(estimate, other[1], pieces_s)] for _, estimate in voices]
    group = max(groups, key=lambda members: (_certainty(members), len(members)))
    narrowest = _most_precise(group)
    inside = {id(result) for result, _ in group}
    outside = [(result, estimate) for result, estimate in voices if id(result) not in inside]
    confidence = _certainty(group, outside) * within_half_a_frame(narrowest.uncertainty_ms)
    estimate = Estimate(narrowest.offset_s, confidence, narrowest.uncertainty_ms)
    agreement = len(group) / len(voices) if len(voices) > 1 else None
    dissenters = tuple(result for result, _ in outside)
    return Consensus(estimate, agreement, dissenters, tuple(result.method for result, _ in group))


def _most_precise(group: list[_Voice]) -> Estimate:
    """The narrowest interval that the others do not contradict.

    Waveforms that say when a room's sound starts know it best: a room makes whatever else is compared late. Those that
    stand high are never outvoted; where they barely stand out (a bed that was stretched or moved in pitch), two other
    methods that exclude them and agree with each other weigh more.
    """

    def contradicted(result: MethodResult, estimate: Estimate) -> bool:
        if result.quality_score >= THRESHOLDS.waves_sure_deviations or result.method != WAVES:
            return False
        against = [other for found, other in group if found is not result and not _overlap(estimate, other)]
        return any(_overlap(one, other) for one, other in itertools.combinations(against, 2))

    diffuse = [estimate for result, estimate in group if result.metadata.get("diffuse")]
    trusted = diffuse or [estimate for result, estimate in group if not contradicted(result, estimate)]
    return min(trusted or [estimate for _, estimate in group], key=lambda estimate: estimate.uncertainty_ms)


def _overlap(one: Estimate, other: Estimate) -> bool:
    return abs(one.offset_s - other.offset_s) * 1000.0 <= one.uncertainty_ms + other.uncertainty_ms


def _together(one: Estimate, other: Estimate, pieces_s: tuple[float, ...]) -> bool:
    reach_ms = max(THRESHOLDS.agreement_ms, one.uncertainty_ms + other.uncertainty_ms)
    return abs(one.offset_s - other.offset_s) * 1000.0 <= reach_ms or (
        _names(one, pieces_s) and _names(other, pieces_s)
    )


def _names(estimate: Estimate, pieces_s: tuple[float, ...]) -> bool:
    """Whether it is the offset of a piece."""
    reach_ms = max(THRESHOLDS.agreement_ms, estimate.uncertainty_ms)
    return any(abs(estimate.offset_s - piece_s) * 1000.0 <= reach_ms for piece_s in pieces_s)


def _certainty(members: list[_Voice], dissenters: Sequence[_Voice] = ()) -> float:
    """That the lag is the right one, however precisely it is known."""
    return together((_of_lag(one) for _, one in members), (_of_lag(one) for _, one in dissenters))


def _of_lag(estimate: Estimate) -> float:
    return min(1.0, estimate.confidence / within_half_a_frame(estimate.uncertainty_ms))
