"""The whole analysis on sound with a known truth: what moves an answer, by how much, and what does not.

``t_master = rate * t_dub + offset_s`` is true of every pair here by construction; nothing is read from a file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.fft
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.verdict import Decision
from syncd.domain import Segment, SegmentKind, Verdict
from tests.material.speed import read_at
from tests.unit.in_memory import SR_HZ, answer_to, moved, tune

Floats = NDArray[Any]
PAL = 25.0 * 1001.0 / 24_000.0
MATCH, MISSING, INSERTED = SegmentKind.MATCH, SegmentKind.MISSING, SegmentKind.INSERTED
TURNED = {MISSING: INSERTED, INSERTED: MISSING}

few = settings(
    max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def mixed(seconds: float, language: int, *, bed: int = 70) -> Floats:
    """A bed in stereo that all languages share, and one language's own sounds in the middle of it. Shape (2, n)."""
    middle, left, right = (tune(seconds, bed + k) for k in range(3))
    own = 0.6 * tune(seconds, 900 + language)
    return np.stack((middle + 0.5 * left + own, middle + 0.5 * right + own)).astype(np.float32)


@pytest.fixture(scope="session")
def programme() -> tuple[Floats, Floats]:
    """Master and dub of a minute, in stereo."""
    return mixed(60.0, 1), mixed(60.0, 2)


@pytest.fixture(scope="session")
def minutes() -> tuple[Floats, Floats]:
    """Master and dub of four minutes, in mono: speeds move the sound far enough."""
    bed = tune(240.0, 80)
    own = (np.tile(0.6 * tune(60.0, language), 4) for language in (901, 902))
    master, dub = (bed + one for one in own)
    return master, dub


@pytest.fixture(scope="session")
def foreign() -> Floats:
    """Ten seconds of something else."""
    return mixed(10.0, 5, bed=500)


def decided(master: Floats, dub: Floats) -> Decision:
    return answer_to(master, dub).decision


def offset_s(decision: Decision) -> float:
    assert decision.consensus is not None, (decision.verdict, decision.reasons)
    return decision.consensus.offset_s


def rate_of(decision: Decision) -> float:
    assert decision.rate is not None, (decision.verdict, decision.reasons)
    return decision.rate.ratio


def late(sound: Floats, seconds: float) -> Floats:
    """Exactly later, to any fraction of a sample, behind silence (seconds > 0), or without its first seconds."""
    if seconds < 0.0:
        whole = int(-seconds * SR_HZ) + 1
        return late(sound[:, whole:], seconds + whole / SR_HZ)
    whole = round(seconds * SR_HZ)
    size = scipy.fft.next_fast_len(sound.shape[1] + whole + 2 * SR_HZ, real=True)
    padded = np.zeros((sound.shape[0], size))
    padded[:, SR_HZ + whole : SR_HZ + whole + sound.shape[1]] = sound
    exact = np.stack([moved(one, seconds - whole / SR_HZ) for one in padded])
    return exact[:, SR_HZ : SR_HZ + whole + sound.shape[1]]


def played(sound: Floats, rate: float) -> Floats:
    """`rate` times as fast."""
    stereo = np.atleast_2d(sound)
    return read_at(stereo, rate * np.arange(int(stereo.shape[1] / rate)))


def without(sound: Floats, at_s: float, seconds: float) -> Floats:
    first, last = round(at_s * SR_HZ), round((at_s + seconds) * SR_HZ)
    return np.concatenate((sound[:, :first], sound[:, last:]), axis=1)


def with_foreign(sound: Floats, at_s: float, other: Floats) -> Floats:
    at = round(at_s * SR_HZ)
    return np.concatenate((sound[:, :at], other, sound[:, at:]), axis=1)


def span_s(segment: Segment, kind: SegmentKind) -> tuple[float, float]:
    """Where it lies on the side that has it."""
    ends = (
        (segment.master_start_s, segment.master_end_s) if kind is MISSING else (segment.dub_start_s, segment.dub_end_s)
    )
    assert ends[0] is not None
    assert ends[1] is not None
    return ends[0], ends[1]


def audible(timeline: tuple[Segment, ...]) -> list[Segment]:
    """Without heads and tails of less than a millisecond: offsets and speeds are only that precise at the ends."""
    return [
        s
        for s in timeline
        if s.kind is not SegmentKind.UNMATCHED
        or (s.master_end_s or 0.0) - (s.master_start_s or 0.0) > 1e-3
        or (s.dub_end_s or 0.0) - (s.dub_start_s or 0.0) > 1e-3
    ]


def assert_edit(
    decision: Decision,
    kind: SegmentKind,
    at_s: tuple[float, float],
    offsets_s: tuple[float, float],
    rate: float = 1.0,
) -> None:
    """Match, one edit of a kind, match: cut points right to a tenth of a second, offsets to a millisecond."""
    assert decision.verdict is Verdict.EDITED, (decision.verdict, decision.reasons)
    inner = [s for s in decision.timeline if s.kind is not SegmentKind.UNMATCHED]
    assert [s.kind for s in inner] == [MATCH, kind, MATCH]
    assert span_s(inner[1], kind) == (pytest.approx(at_s[0], abs=0.1), pytest.approx(at_s[1], abs=0.1))
    assert [inner[0].offset_s, inner[2].offset_s] == [pytest.approx(one_s, abs=1e-3) for one_s in offsets_s]
    assert rate_of(decision) == pytest.approx(rate, rel=2e-6)


@given(delay_s=st.floats(-20.0, 20.0))
@few
def test_a_delay_moves_the_offset_by_exactly_that(programme: tuple[Floats, Floats], delay_s: float) -> None:
    master, dub = programme
    decision = decided(master, late(dub, delay_s))
    assert offset_s(decision) == pytest.approx(-delay_s, abs=1e-5)
    assert rate_of(decision) == pytest.approx(1.0, abs=2e-6)
    assert decision.verdict in {Verdict.OFFSET, Verdict.IN_SYNC}


@pytest.mark.parametrize("change", ["quieter", "louder on one side", "inverted", "noisy", "sides swapped", "mono"])
def test_what_does_not_move_a_dub_does_not_move_its_offset(programme: tuple[Floats, Floats], change: str) -> None:
    master, dub = programme
    heard = late(dub, 0.4321)
    noise = np.random.default_rng(3).standard_normal(heard.shape)
    changed = {
        "quieter": 0.02 * heard,
        "louder on one side": heard * np.array([[1.0], [0.4]]),
        "inverted": -heard,
        "noisy": heard + 0.5 * heard.std() * noise,
        "sides swapped": heard[::-1],
        "mono": heard.mean(axis=0),
    }[change]
    decision = decided(master, changed)
    assert offset_s(decision) == pytest.approx(-0.4321, abs=2e-5)
    assert decision.verdict is Verdict.OFFSET


@pytest.mark.parametrize(
    ("rate", "name"),
    [(PAL, "25/23.976"), (24 / 25, "24/25"), (1.001, "24/23.976"), (0.97, None), (1.00005, None)],
)
def test_a_speed_is_measured_within_two_millionths(
    minutes: tuple[Floats, Floats], rate: float, name: str | None
) -> None:
    master, dub = minutes
    decision = decided(master, played(dub, rate))
    assert rate_of(decision) == pytest.approx(rate, rel=2e-6)
    assert decision.rate is not None
    assert decision.rate.name == name
    assert decision.verdict is Verdict.DRIFT
    assert offset_s(decision) == pytest.approx(0.0, abs=1e-3)
    assert decision.coverage.master > 0.99


@given(at_s=st.floats(20.0, 40.0), seconds=st.floats(0.5, 8.0))
@few
def test_taking_seconds_out_leaves_so_many_missing(
    programme: tuple[Floats, Floats], at_s: float, seconds: float
) -> None:
    master, dub = programme
    decision = decided(master, without(dub, at_s, seconds))
    assert_edit(decision, MISSING, (at_s, at_s + seconds), (0.0, seconds))


@given(at_s=st.floats(20.0, 40.0), seconds=st.floats(1.0, 10.0))
@few
def test_foreign_sound_that_is_put_in_is_inserted(
    programme: tuple[Floats, Floats], foreign: Floats, at_s: float, seconds: float
) -> None:
    master, dub = programme
    other = foreign[:, : round(seconds * SR_HZ)]
    decision = decided(master, with_foreign(dub, at_s, other))
    assert_edit(decision, INSERTED, (at_s, at_s + seconds), (0.0, -seconds))


def test_foreign_sound_in_place_of_the_programmes_own_is_replaced(
    programme: tuple[Floats, Floats], foreign: Floats
) -> None:
    master, dub = programme
    changed = dub.copy()
    changed[:, 30 * SR_HZ : 40 * SR_HZ] = foreign
    decision = decided(master, changed)
    assert decision.verdict is Verdict.EDITED
    assert [s.kind for s in decision.timeline] == [MATCH, SegmentKind.REPLACED, MATCH]
    assert span_s(decision.timeline[1], INSERTED) == (pytest.approx(30.0, abs=0.1), pytest.approx(40.0, abs=0.1))


class TestAtAnotherSpeed:
    """A dub cut and played as television plays film."""

    def test_what_is_missing_is_told_on_the_masters_clock(self, programme: tuple[Floats, Floats]) -> None:
        master, dub = programme
        decision = decided(master, played(without(dub, 30.0, 6.0), PAL))
        assert_edit(decision, MISSING, (30.0, 36.0), (0.0, 6.0), PAL)

    def test_what_was_put_in_is_told_on_the_dubs_clock(self, programme: tuple[Floats, Floats], foreign: Floats) -> None:
        master, dub = programme
        decision = decided(master, played(with_foreign(dub, 30.0, foreign), PAL))
        at_s = 30.0 / PAL, 40.0 / PAL
        assert_edit(decision, INSERTED, at_s, (0.0, -10.0), PAL)


class TestSwappingTheSides:
    """``t_dub = t_master / rate - offset / rate``."""

    def swapped(self, master: Floats, dub: Floats) -> tuple[Decision, Decision]:
        there, back = decided(master, dub), decided(dub, master)
        assert there.verdict is back.verdict
        assert rate_of(back) == pytest.approx(1.0 / rate_of(there), rel=2e-6)
        assert back.coverage.master == pytest.approx(there.coverage.dub, abs=2e-3)
        assert back.coverage.dub == pytest.approx(there.coverage.master, abs=2e-3)
        return there, back

    @pytest.mark.parametrize("rate", [1.0, PAL])
    def test_offset_and_speed_turn_around(self, programme: tuple[Floats, Floats], rate: float) -> None:
        master, dub = programme
        there, back = self.swapped(master, late(played(dub, rate), 2.5))
        assert offset_s(there) == pytest.approx(-2.5 * rate, abs=1e-4)
        assert offset_s(back) == pytest.approx(-offset_s(there) / rate_of(there), abs=1e-4)

    @pytest.mark.parametrize("rate", [1.0, PAL])
    def test_missing_becomes_inserted_at_the_same_place(self, programme: tuple[Floats, Floats], rate: float) -> None:
        master, dub = programme
        there, back = self.swapped(master, played(without(dub, 30.0, 5.0), rate))
        assert there.verdict is Verdict.EDITED
        ours_all, theirs_all = (audible(decision.timeline) for decision in (there, back))
        assert [s.kind for s in theirs_all] == [TURNED.get(s.kind, s.kind) for s in ours_all]
        for ours, theirs in zip(ours_all, theirs_all, strict=True):
            if ours.offset_s is not None:
                assert theirs.offset_s == pytest.approx(-ours.offset_s / rate, abs=1e-3)
            for one, other in (
                (ours.master_start_s, theirs.dub_start_s),
                (ours.master_end_s, theirs.dub_end_s),
                (ours.dub_start_s, theirs.master_start_s),
                (ours.dub_end_s, theirs.master_end_s),
            ):
                assert other == (None if one is None else pytest.approx(one, abs=0.1))

    def test_unrelated_sides_are_as_unrelated_the_other_way(self, programme: tuple[Floats, Floats]) -> None:
        master, other = programme[0], mixed(60.0, 3, bed=300)
        there, back = decided(master, other), decided(other, master)
        assert there.verdict is back.verdict is Verdict.NO_MATCH
        assert there.consensus is back.consensus is None
