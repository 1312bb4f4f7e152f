"""The timeline: every moment of either side in one segment, each segment of its kind."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.analysis.align import Aligned, Alignment
from syncd.analysis.evidence import MID
from syncd.analysis.survey import Gap, Piece, Surveyor
from syncd.analysis.timeline import (
    LEAST_GAP_S,
    LEAST_TOLD_S,
    Stretch,
    coverage_of,
    explaining_as_much,
    find_stretches,
    gaps_between,
    is_edited,
    longest,
    segments_of,
)
from syncd.domain import Segment, SegmentKind
from tests.unit.in_memory import SR_HZ, pair_of

KINDS = SegmentKind
often = settings(max_examples=200, deadline=None, derandomize=True)


@dataclass(frozen=True)
class Plan:
    """Stretches with what either side has before each of them, and after the last. Seconds on the master's clock."""

    before: tuple[tuple[float, float], ...]
    """Of master and dub."""
    lengths_s: tuple[float, ...]
    after: tuple[float, float]
    rate: float

    def stretches(self) -> tuple[Stretch, ...]:
        made, master_s, dub_s = [], 0.0, 0.0
        for (only_master_s, only_dub_s), length_s in zip(self.before, self.lengths_s, strict=True):
            master_s, dub_s = master_s + only_master_s, dub_s + only_dub_s
            made.append(stretch(dub_s, dub_s + length_s, master_s - dub_s))
            master_s, dub_s = master_s + length_s, dub_s + length_s
        return tuple(made)

    @property
    def master_s(self) -> float:
        return sum(m for m, _ in self.before) + sum(self.lengths_s) + self.after[0]

    @property
    def dub_s(self) -> float:
        """On its own clock."""
        return (sum(d for _, d in self.before) + sum(self.lengths_s) + self.after[1]) / self.rate

    def segments(self) -> tuple[Segment, ...]:
        matches = [(one.start_s, one.end_s, one.lag_s) for one in self.stretches()]
        return segments_of(matches, self.rate, self.master_s, self.dub_s, 0.9)


def stretch(start_s: float, end_s: float, lag_s: float) -> Stretch:
    return Stretch(start_s, end_s, Aligned(Piece(start_s, end_s, lag_s, 50.0), None, None))


plain_gap_s = st.one_of(st.just(0.0), st.floats(1.1 * LEAST_GAP_S, 300.0))
sliver_s = st.floats(0.0, 1.2 * LEAST_GAP_S)
match = st.tuples(st.floats(0.0, 900.0), st.floats(0.0, 900.0), st.floats(-600.0, 600.0))


@st.composite
def plans(draw: st.DrawFn, gap_s: st.SearchStrategy[float] = plain_gap_s) -> Plan:
    count = draw(st.integers(1, 6))
    return Plan(
        before=tuple(draw(st.tuples(gap_s, gap_s)) for _ in range(count)),
        lengths_s=tuple(draw(st.floats(0.1, 2_000.0)) for _ in range(count)),
        after=draw(st.tuples(gap_s, gap_s)),
        rate=draw(st.sampled_from([1.0, 25 / 24, 0.97, 1.001])),
    )


def spans(segments: tuple[Segment, ...], role: str) -> list[tuple[float, float]]:
    both = [(getattr(s, f"{role}_start_s"), getattr(s, f"{role}_end_s")) for s in segments]
    return [span for span in both if span[0] is not None]


def assert_tiled(segments: tuple[Segment, ...], master_s: float, dub_s: float) -> None:
    """To the last bit: what one segment leaves the next one takes."""
    for role, whole_s in (("master", master_s), ("dub", dub_s)):
        found = spans(segments, role)
        assert (found[0][0], found[-1][1]) == (0.0, whole_s)
        assert all(start_s < end_s for start_s, end_s in found)
        assert all(before[1] == after[0] for before, after in itertools.pairwise(found))


@given(plan=plans(st.one_of(plain_gap_s, sliver_s)))
@often
def test_every_moment_of_either_side_is_in_one_segment(plan: Plan) -> None:
    assert_tiled(plan.segments(), plan.master_s, plan.dub_s)


@given(plan=plans())
@often
def test_the_lag_at_either_end_of_a_match_is_what_the_two_clocks_differ_by_there(plan: Plan) -> None:
    for segment in plan.segments():
        if segment.kind is KINDS.MATCH:
            assert segment.lag_start_ms == pytest.approx(
                1000.0 * (segment.master_start_s - segment.dub_start_s), abs=1000.0 * LEAST_TOLD_S
            )
            assert segment.lag_end_ms == pytest.approx(
                1000.0 * (segment.master_end_s - segment.dub_end_s), abs=1000.0 * LEAST_TOLD_S
            )


@given(
    matches=st.lists(match, max_size=6),
    rate=st.sampled_from([1.0, 25 / 24, 0.97]),
    master_s=st.floats(1.0, 900.0),
    dub_s=st.floats(1.0, 900.0),
)
@often
def test_so_it_is_whatever_was_matched(
    matches: list[tuple[float, float, float]], rate: float, master_s: float, dub_s: float
) -> None:
    assert_tiled(segments_of(matches, rate, master_s, dub_s, 0.9), master_s, dub_s)


@given(plan=plans(st.one_of(plain_gap_s, sliver_s)))
@often
def test_no_gap_is_shorter_than_anybody_could_act_on(plan: Plan) -> None:
    for segment in plan.segments():
        if segment.kind is KINDS.REPLACED:
            assert min(_length(segment, "master"), plan.rate * _length(segment, "dub")) > 0.999 * LEAST_GAP_S
        elif segment.kind is not KINDS.MATCH:
            assert max(_length(segment, "master"), _length(segment, "dub")) >= 0.999 * LEAST_TOLD_S


@pytest.mark.parametrize(
    ("matches", "expected"),
    [
        ([(0.0, 29.9996, 0.0004)], [(KINDS.MATCH, (0.0, 30.0), (0.0, 30.0))]),
        (
            [(0.0, 10.0, 0.0), (10.02, 25.0, 5.0)],
            [
                (KINDS.MATCH, (0.0, 10.02), (0.0, 10.02)),
                (KINDS.MISSING, (10.02, 15.02), (None, None)),
                (KINDS.MATCH, (15.02, 30.0), (10.02, 25.0)),
                (KINDS.UNMATCHED, (None, None), (25.0, 30.0)),
            ],
        ),
    ],
    ids=["a head and a tail of less than a millisecond", "a few milliseconds of dub beside missing seconds"],
)
def test_what_is_too_short_to_be_a_gap_belongs_to_the_match_beside_it(
    matches: list[tuple[float, float, float]], expected: list[tuple[SegmentKind, object, object]]
) -> None:
    told = segments_of(matches, 1.0, 30.0, 30.0, 0.9)
    assert [(s.kind, (s.master_start_s, s.master_end_s), (s.dub_start_s, s.dub_end_s)) for s in told] == expected


@given(plan=plans())
@often
def test_every_gap_has_its_kind(plan: Plan) -> None:
    expected: list[SegmentKind] = []
    for i, (only_master_s, only_dub_s) in enumerate((*plan.before, plan.after)):
        outer = i in {0, len(plan.before)}
        if outer:
            expected += [KINDS.UNMATCHED] * ((only_master_s > 0.0) + (only_dub_s > 0.0))
        elif only_master_s and only_dub_s:
            expected.append(KINDS.REPLACED)
        elif only_master_s or only_dub_s:
            expected.append(KINDS.MISSING if only_master_s else KINDS.INSERTED)
        expected += [KINDS.MATCH] * (i < len(plan.before))
    assert [segment.kind for segment in plan.segments()] == expected


def _length(segment: Segment, role: str) -> float:
    return float((getattr(segment, f"{role}_end_s") or 0.0) - (getattr(segment, f"{role}_start_s") or 0.0))


@given(plan=plans())
@often
def test_a_match_keeps_its_offset_from_end_to_end(plan: Plan) -> None:
    matches = [s for s in plan.segments() if s.kind is KINDS.MATCH]
    assert [s.offset_s for s in matches] == [one.lag_s for one in plan.stretches()]
    for match in matches:
        for master_s, dub_s in ((match.master_start_s, match.dub_start_s), (match.master_end_s, match.dub_end_s)):
            assert master_s == pytest.approx(plan.rate * (dub_s or 0.0) + (match.offset_s or 0.0), abs=1e-5)


@given(plan=plans())
@often
def test_coverage_is_the_matching_share_of_each_side(plan: Plan) -> None:
    coverage = coverage_of(plan.segments(), plan.master_s, plan.dub_s)
    assert coverage.master == pytest.approx(sum(plan.lengths_s) / plan.master_s, abs=1e-4)
    assert coverage.dub == pytest.approx(sum(plan.lengths_s) / plan.rate / plan.dub_s, abs=1e-4)


@given(plan=plans())
@often
def test_only_what_differs_inside_is_an_edit(plan: Plan) -> None:
    inside = any(master_s or dub_s for master_s, dub_s in plan.before[1:])
    assert is_edited(plan.segments()) is inside


@given(plan=plans())
@often
def test_gaps_are_what_both_sides_have_and_nothing_matches(plan: Plan) -> None:
    gaps = gaps_between(plan.stretches(), plan.master_s, plan.rate * plan.dub_s)
    lengths = [(gap.master_s[1] - gap.master_s[0], gap.dub_s[1] - gap.dub_s[0]) for gap in gaps]
    expected = [both for both in (*plan.before, plan.after) if min(both) > 0.0]
    assert lengths == [(pytest.approx(m, abs=1e-5), pytest.approx(d, abs=1e-5)) for m, d in expected]


def test_without_a_stretch_both_sides_are_unmatched() -> None:
    assert [s.kind for s in segments_of((), 1.0, 10.0, 12.0, 0.0)] == [KINDS.UNMATCHED, KINDS.UNMATCHED]
    assert gaps_between((), 10.0, 12.0) == (Gap((0.0, 12.0), (0.0, 10.0)),)
    nothing = coverage_of((), 0.0, 0.0)
    assert (nothing.master, nothing.dub) == (0.0, 0.0)


def test_looking_for_foreign_stretches_tells_how_far_it_is_every_minute_or_so() -> None:
    sound = 0.1 * np.random.default_rng(1).standard_normal(240 * SR_HZ)
    told: list[tuple[int, int]] = []
    find_stretches(
        Alignment(MID, 1.0, None, (stretch(0.0, 240.0, 0.0).aligned,)),
        (pair_of(sound, sound),),
        Surveyor((pair_of(sound, sound),)),
        240.0,
        240.0,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(4, 8), (5, 8), (6, 8), (7, 8)]


@pytest.mark.parametrize("missing_s", [12.0, -7.0])
def test_a_cut_in_a_bed_whose_waveforms_were_made_anew_lies_where_its_onsets_part(missing_s: float) -> None:
    """Of such a bed the waveforms agree nowhere: they would put the cut anywhere within half a minute."""
    hits_s = np.cumsum(np.random.default_rng(2).uniform(0.15, 0.6, 400))
    hits_s = hits_s[hits_s < 115.0]
    cut_s = 50.0
    moved_s = np.where(hits_s < cut_s, hits_s, hits_s - missing_s)
    kept = (hits_s < cut_s) | (hits_s >= cut_s + max(0.0, missing_s))
    master, dub = struck(hits_s, 120.0, seed=3), struck(moved_s[kept], 120.0 - missing_s, seed=4)
    pair = pair_of(master, dub)
    pieces = tuple(
        Aligned(Piece(start_s, end_s, lag_s, 50.0), None, None)
        for start_s, end_s, lag_s in ((0.0, 60.0, 0.0), (60.0, 105.0, missing_s))
    )
    alignment = Alignment(MID, 1.0, None, pieces, by_onsets=True)
    first, second = find_stretches(alignment, (pair,), Surveyor((pair,)), 120.0, 120.0 - missing_s)
    assert first.end_s == pytest.approx(cut_s, abs=0.7)
    assert second.start_s - first.end_s == pytest.approx(max(0.0, -missing_s), abs=1e-6)


def struck(hits_s: np.ndarray, length_s: float, *, seed: int) -> np.ndarray:
    """Bursts of noise at those moments, whose waveforms are of this seed alone."""
    rng = np.random.default_rng(seed)
    sound = 1e-4 * rng.standard_normal(round(length_s * SR_HZ))
    decay = np.exp(-np.arange(SR_HZ // 4) / (0.05 * SR_HZ))
    for hit_s in hits_s:
        at = round(hit_s * SR_HZ)
        room = max(0, min(decay.size, sound.size - at))
        sound[at : at + room] += 0.2 * rng.standard_normal(room) * decay[:room]
    return sound


def test_a_rival_explains_as_much_of_the_dub_as_what_it_rivals() -> None:
    """Of a whole dub, 240 s long: a bar later, and where the music comes again 150 s later, and before it began."""
    assert explaining_as_much(stretch(0.0, 240.0, 0.0), [-16.0, -150.0, 150.0], 240.0) == [-16.0]
    excerpt = stretch(0.0, 30.0, 60.0)
    assert explaining_as_much(excerpt, [20.0, 80.0, 205.0, 235.0], 240.0) == [20.0, 80.0, 205.0]


def test_the_longest_stretch_stands_for_the_dub() -> None:
    assert longest((stretch(0.0, 5.0, 1.0), stretch(5.0, 40.0, 2.0), stretch(40.0, 50.0, 3.0))).lag_s == 2.0
