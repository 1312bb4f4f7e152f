"""The timeline: from aligned pieces to segments with ends, gaps with names, and how much of either side is covered."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.agreement import FRAME_SAMPLES, HOP_SAMPLES, Agreement, agreement
from syncd.analysis.align import Aligned, Alignment
from syncd.analysis.cuts import (
    LEAST_SHARED_SHARE,
    WEAKEST,
    foreign_stretches,
    is_another_bed,
    outlasts_dialogue,
    place_cut,
    shared_share,
    supported_span,
    usual_agreement,
)
from syncd.analysis.evidence import Beat, ChannelPair, part_of, quietly
from syncd.analysis.steadiness import agreeing, spread_ms
from syncd.analysis.stretch import SR_HZ
from syncd.analysis.survey import Gap
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Coverage, Segment, SegmentKind

REACH_S: Final = 26.0
"""A piece's end is known to a block of the survey; the cut is looked for this much farther."""
FAR_S: Final = 30.0
NEAR_S: Final = 0.5
"""About the place that frames side by side gave, closer ones are looked at."""
WHOLE_HOP_SAMPLES: Final = 1_024
"""For foreign stretches: frames side by side."""
SAME_LAG_S: Final = 0.003
"""Less is no cut: the shortest buffers that get lost hold 5 ms, and a sound that wanders moves by as much."""
LEAST_LACKING_S: Final = 2.0
MOSTLY: Final = 0.5
"""Of a stretch, in which one side has nothing at all."""
LEAST_GAP_S: Final = 0.04
"""A gap or a match shorter than a frame of film is none."""
LEAST_TOLD_S: Final = 0.001
"""Less than this of one side alone is a rounding, and nobody could act on it."""

Match = tuple[float, float, float]
"""From and to (s, stretched clock) of the dub, and its lag (s)."""


@dataclass(frozen=True)
class Stretch:
    """A part of the dub that matches; stretched clock."""

    start_s: float
    end_s: float
    aligned: Aligned
    lacking_s: tuple[tuple[float, float], ...] = ()
    """From and to, where nothing agrees and nothing says that it is foreign: dialogue, or material of another place."""

    @property
    def lag_s(self) -> float:
        """Of its piece."""
        return self.aligned.piece.lag_s

    def agreeing_parts(self) -> tuple[Stretch, ...]:
        """What lies between the parts that lack agreement."""
        ends_s = (self.start_s, *itertools.chain.from_iterable(self.lacking_s), self.end_s)
        parts = zip(ends_s[::2], ends_s[1::2], strict=True)
        return tuple(replace(self, start_s=a, end_s=b, lacking_s=()) for a, b in parts if b - a > LEAST_GAP_S)


class Onsets(Protocol):
    """What the survey's curves say of a stretch."""

    def fits(self, channel: str, rate: float, lag_s: float, start_s: float, end_s: float) -> bool:
        """Whether it lies at a lag (times in s, on the stretched clock)."""

    def along(self, rate: float, lag_s: float, start_s: float, end_s: float) -> tuple[float, NDArray[np.float64]]:
        """How well it agrees at a lag: seconds a frame, and a value a frame."""


def find_stretches(
    alignment: Alignment,
    pairs: Sequence[ChannelPair],
    onsets: Onsets,
    master_s: float,
    dub_s: float,
    beat: Beat = quietly,
) -> tuple[Stretch, ...]:
    """The matching stretches in order of time; lengths of the sides in seconds, the dub's on the stretched clock."""
    pieces = _merged(alignment.pieces)
    if not pieces:
        return ()
    ends = [max(0.0, -pieces[0].piece.lag_s)]
    parts = 2 * len(pieces)
    for i, (first, second) in enumerate(itertools.pairwise(pieces)):
        beat(i, parts)
        ends += _cut(alignment, pairs, onsets, first, second, ends[-1])
    ends.append(min(dub_s, master_s - pieces[-1].piece.lag_s))
    stretches: list[Stretch] = []
    for i, piece in enumerate(pieces):
        start_s, end_s = ends[2 * i], ends[2 * i + 1]
        if end_s > start_s:
            cut = i > 0, i < len(pieces) - 1
            told = part_of(beat, len(pieces) + i, parts)
            stretches += _without_foreign(alignment, pairs, onsets, Stretch(start_s, end_s, piece), cut, told)
    return tuple(stretches)


def _merged(pieces: Sequence[Aligned]) -> list[Aligned]:
    """Neighbours at one lag are one piece."""
    merged: list[Aligned] = []
    for one in pieces:
        last = merged[-1] if merged else None
        if last is not None and abs(last.piece.lag_s - one.piece.lag_s) <= SAME_LAG_S:
            longer = max(last, one, key=lambda a: a.piece.end_s - a.piece.start_s)
            whole = replace(longer.piece, start_s=last.piece.start_s, end_s=one.piece.end_s)
            merged[-1] = replace(longer, piece=whole)
        else:
            merged.append(one)
    return merged


def _cut(
    alignment: Alignment,
    pairs: Sequence[ChannelPair],
    onsets: Onsets,
    first: Aligned,
    second: Aligned,
    earliest_s: float,
) -> list[float]:
    """Where the first piece ends and the second starts."""
    one, other = first.piece, second.piece
    # Where the second lag is larger, master material is missing: the pieces touch in the dub. Where it is smaller, the
    # dub has as much more, and it lies between them.
    inserted_s = max(0.0, one.lag_s - other.lag_s)
    from_s = max(earliest_s, (one.start_s + one.end_s) / 2, min(one.end_s, other.start_s) - REACH_S)
    to_s = min((other.start_s + other.end_s) / 2, max(one.end_s, other.start_s) + REACH_S) - inserted_s
    to_s = max(to_s, from_s + 2.0)
    if not alignment.by_waves:
        # Waveforms that were made anew agree nowhere, and so say nothing of where they end to agree.
        step_s, ours = onsets.along(alignment.rate, one.lag_s, from_s, to_s)
        theirs = onsets.along(alignment.rate, other.lag_s, from_s + inserted_s, to_s + inserted_s)[1]
        end_s = from_s + place_cut(ours, theirs) * step_s
        return [end_s, end_s + inserted_s]
    for hop_samples in (WHOLE_HOP_SAMPLES, HOP_SAMPLES):
        near, far = (
            agreement(pairs, alignment.rate, lag_s, from_s + late_s, to_s + late_s, hop_samples=hop_samples)
            for lag_s, late_s in ((one.lag_s, 0.0), (other.lag_s, inserted_s))
        )
        kept = place_cut(near.values, far.values)
        end_s = near.first_s + (kept - 0.5) * near.step_s
        from_s, to_s = end_s - NEAR_S, end_s + NEAR_S
    return [end_s, end_s + inserted_s]


def _without_foreign(
    alignment: Alignment,
    pairs: Sequence[ChannelPair],
    onsets: Onsets,
    whole: Stretch,
    cut: tuple[bool, bool],
    beat: Beat,
) -> list[Stretch]:
    """The parts of a stretch between those that share nothing with the master."""
    found = agreement(
        pairs, alignment.rate, whole.lag_s, whole.start_s, whole.end_s, hop_samples=WHOLE_HOP_SAMPLES, beat=beat
    )
    if usual_agreement(found.values[found.sounding], found.step_s) < WEAKEST:
        return [_supported(whole)]
    kept: list[Stretch] = []
    start_s = whole.start_s
    lacking_s: list[tuple[float, float]] = []
    foreign = foreign_stretches(
        found.values, found.sounding, found.step_s, FRAME_SAMPLES / SR_HZ, cut_before=cut[0], cut_after=cut[1]
    )
    for begin, end in foreign:
        from_s, to_s = _edges(found, begin, end, whole)
        # At the ends of a side, and beside a cut, something was done to the sound; nothing is lost by saying so.
        at_end = begin == 0 or end == found.values.size
        in_place = onsets.fits(alignment.channel, alignment.rate, whole.lag_s, from_s, to_s)
        if in_place or not (at_end or _is_foreign(found, (begin, end), foreign)):
            if to_s - from_s >= LEAST_LACKING_S:
                lacking_s.append((from_s, to_s))
            continue
        if from_s - start_s > LEAST_GAP_S:
            kept.append(replace(whole, start_s=start_s, end_s=from_s))
        start_s = to_s
    if whole.end_s - start_s > LEAST_GAP_S:
        kept.append(replace(whole, start_s=start_s))
    return [
        replace(one, lacking_s=tuple(span for span in lacking_s if one.start_s <= span[0] and span[1] <= one.end_s))
        for one in kept
    ]


def _is_foreign(found: Agreement, stretch: tuple[int, int], all_of_them: Sequence[tuple[int, int]]) -> bool:
    """Whether a stretch that agrees nowhere is another programme's, not dialogue over a bed that is not heard."""
    begin, end = stretch
    if float(np.mean(found.alone[begin:end])) >= MOSTLY:
        return True
    share = shared_share(found.values, found.sounding, found.step_s, all_of_them)
    another = is_another_bed(found.bed_values, found.bed_sounding, found.bed_power, *stretch, found.step_s)
    if another and share >= LEAST_SHARED_SHARE:
        return True
    seconds = [(b - a) * found.step_s for a, b in all_of_them if (a, b) != stretch]
    # Where little is shared anyhow, as much longer may nothing be.
    duration_s = (end - begin) * found.step_s * min(1.0, share / LEAST_SHARED_SHARE)
    return outlasts_dialogue(duration_s, seconds, bed_is_heard=another is not None)


def _supported(whole: Stretch) -> Stretch:
    """Without the ends whose windows do not agree with the lag."""
    one = whole.aligned
    found = one.waves if one.matches else one.onsets and one.onsets.found
    if not found:
        return whole
    track = found.track
    inside = track.sounding & (track.dub_centre_s >= whole.start_s) & (track.dub_centre_s <= whole.end_s)
    if not inside.any():
        return whole
    # Beyond its own blocks the survey found nothing: no farther than a block's uncertainty.
    piece = one.piece
    whole = replace(
        whole,
        start_s=whole.start_s if piece.start_s - whole.start_s < FAR_S else piece.start_s,
        end_s=whole.end_s if whole.end_s - piece.end_s < FAR_S else piece.end_s,
    )
    centres_s = track.dub_centre_s[inside]
    first, end = supported_span(agreeing(track, found.lag_s)[inside])
    half_s = track.window_s / 2
    start_s = whole.start_s if first == 0 else max(whole.start_s, float(centres_s[first]) - half_s)
    end_s = whole.end_s if end == centres_s.size else min(whole.end_s, float(centres_s[end - 1]) + half_s)
    return replace(whole, start_s=start_s, end_s=end_s)


def _edges(found: Agreement, begin: int, end: int, whole: Stretch) -> tuple[float, float]:
    """Seconds; what reaches to the stretch's own ends reaches them exactly."""
    from_s = whole.start_s if begin == 0 else found.first_s + (begin - 0.5) * found.step_s
    to_s = whole.end_s if end == found.values.size else found.first_s + (end - 0.5) * found.step_s
    return from_s, to_s


def uncertainty_ms(one: Aligned) -> float:
    """Half the 95 % interval of a piece's lag."""
    if one.matches and one.waves is not None:
        return spread_ms(one.waves)
    return one.onsets.uncertainty_ms if one.onsets is not None else 100.0


def gaps_between(stretches: Sequence[Stretch], master_s: float, dub_s: float) -> tuple[Gap, ...]:
    """Where both sides have something that lies nowhere for certain: before, between and after (`dub_s` stretched)."""
    gaps = []
    master_at, dub_at = 0.0, 0.0
    for stretch in (part for whole in stretches for part in whole.agreeing_parts()):
        gaps.append(Gap((dub_at, stretch.start_s), (master_at, stretch.start_s + stretch.lag_s)))
        master_at, dub_at = stretch.end_s + stretch.lag_s, stretch.end_s
    gaps.append(Gap((dub_at, dub_s), (master_at, master_s)))
    return tuple(
        gap for gap in gaps if min(gap.dub_s[1] - gap.dub_s[0], gap.master_s[1] - gap.master_s[0]) > LEAST_GAP_S
    )


def segments_of(
    matches: Sequence[Match], rate: float, master_s: float, dub_s: float, confidence: float
) -> tuple[Segment, ...]:
    """The whole of both sides, in order of time; `dub_s` is the dub's own length, not stretched.

    Every moment of either side is in exactly one segment.
    """
    sides_s = master_s, rate * dub_s
    laid = _without_slivers(_laid(matches, *sides_s), *sides_s)
    segments: list[Segment] = []
    master_at, dub_at = 0.0, 0.0
    for i, (start_s, end_s, lag_s) in enumerate(laid):
        master, dub = (start_s + lag_s, end_s + lag_s), (start_s / rate, end_s / rate)
        master, dub = _joined(master, (master_at, master_s)), _joined(dub, (dub_at, dub_s))
        gap = (master_at, master[0]), (dub_at, dub[0])
        segments += _outer(*gap) if i == 0 else _inner(*gap)
        from_ms, to_ms = (1000.0 * (lag_s + (rate - 1.0) * moment_s) for moment_s in dub)
        segments.append(Segment(SegmentKind.MATCH, *master, *dub, lag_s, from_ms, to_ms, confidence))
        master_at, dub_at = master[1], dub[1]
    return (*segments, *_outer((master_at, master_s), (dub_at, dub_s)))


def _laid(matches: Sequence[Match], master_s: float, dub_s: float) -> list[Match]:
    """Within both sides, none before the end of another (`dub_s` stretched)."""
    laid: list[Match] = []
    master_at, dub_at = 0.0, 0.0
    for start_s, end_s, lag_s in matches:
        first_s, last_s = max(start_s, dub_at, master_at - lag_s), min(end_s, dub_s, master_s - lag_s)
        if last_s - first_s > LEAST_GAP_S:
            laid.append((first_s, last_s, lag_s))
            master_at, dub_at = last_s + lag_s, last_s
    return laid


def _without_slivers(laid: Sequence[Match], master_s: float, dub_s: float) -> list[Match]:
    """What either side has too little of to be a gap belongs to the match before it, a head to the first."""
    filled: list[Match] = []
    for i, (start_s, end_s, lag_s) in enumerate(laid):
        head_s = min(start_s, start_s + lag_s)
        first_s = start_s - head_s if i == 0 and head_s <= LEAST_GAP_S else start_s
        next_s, next_lag_s = (laid[i + 1][0], laid[i + 1][2]) if i + 1 < len(laid) else (dub_s, master_s - dub_s)
        left_s = min(next_s - end_s, next_s + next_lag_s - end_s - lag_s)
        filled.append((first_s, end_s + left_s if left_s <= LEAST_GAP_S else end_s, lag_s))
    return filled


def _joined(match: tuple[float, float], room: tuple[float, float]) -> tuple[float, float]:
    """To what is before it and, at the very end, behind it, where nobody could tell that there is a gap."""
    start_s = room[0] if match[0] - room[0] < LEAST_TOLD_S else match[0]
    end_s = room[1] if room[1] - match[1] < LEAST_TOLD_S else match[1]
    return start_s, end_s


def _outer(master: tuple[float, float], dub: tuple[float, float]) -> list[Segment]:
    """Head and tail: each side's for itself."""
    segments = []
    if master[1] > master[0]:
        segments.append(Segment(SegmentKind.UNMATCHED, *master, None, None))
    if dub[1] > dub[0]:
        segments.append(Segment(SegmentKind.UNMATCHED, None, None, *dub))
    return segments


def _inner(master: tuple[float, float], dub: tuple[float, float]) -> list[Segment]:
    """Between two matches."""
    only_master, only_dub = master[1] > master[0], dub[1] > dub[0]
    if only_master and only_dub:
        return [Segment(SegmentKind.REPLACED, *master, *dub)]
    if only_master:
        return [Segment(SegmentKind.MISSING, *master, None, None)]
    if only_dub:
        return [Segment(SegmentKind.INSERTED, None, None, *dub)]
    return []


def coverage_of(timeline: Sequence[Segment], master_s: float, dub_s: float) -> Coverage:
    """Share of each side in matching segments."""
    matches = [s for s in timeline if s.kind is SegmentKind.MATCH]
    on_master_s = sum((s.master_end_s or 0.0) - (s.master_start_s or 0.0) for s in matches)
    on_dub_s = sum((s.dub_end_s or 0.0) - (s.dub_start_s or 0.0) for s in matches)
    return Coverage(
        master=min(1.0, on_master_s / master_s) if master_s > 0.0 else 0.0,
        dub=min(1.0, on_dub_s / dub_s) if dub_s > 0.0 else 0.0,
    )


def is_edited(timeline: Sequence[Segment]) -> bool:
    """Whether inner material is missing, inserted or replaced, or the pieces differ in offset."""
    kinds = {s.kind for s in timeline}
    return bool(kinds & {SegmentKind.MISSING, SegmentKind.INSERTED, SegmentKind.REPLACED}) or (
        len({round(s.offset_s or 0.0, 4) for s in timeline if s.kind is SegmentKind.MATCH}) > 1
    )


def explaining_as_much(stretch: Stretch, lags_s: Sequence[float], master_s: float) -> list[float]:
    """Of other lags (s) those at which about as much of the stretch has something beside it.

    Music that comes again a minute later fits there as well, but leaves a minute of the dub without a master.
    """

    def explained_s(lag_s: float) -> float:
        return min(stretch.end_s, master_s - lag_s) - max(stretch.start_s, -lag_s)

    least_s = THRESHOLDS.ambiguous_ratio * explained_s(stretch.lag_s)
    return [lag_s for lag_s in lags_s if explained_s(lag_s) >= least_s]


def longest(stretches: Sequence[Stretch]) -> Stretch:
    """The stretch whose offset stands for the dub."""
    return max(stretches, key=lambda s: s.end_s - s.start_s)
