"""Where a cut lies, and which stretches are foreign, from agreement frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.cuts import (
    bearing_s,
    foreign_stretches,
    is_another_bed,
    outlasts_dialogue,
    place_cut,
    shared_share,
)

Floats = NDArray[Any]
STEP_S = 0.064
"""Frames side by side."""

often = settings(max_examples=60, deadline=None, derandomize=True)


def agreement(frames: int, usual: float, seed: int) -> Floats:
    """Agreement of a shared stretch: its usual value, with the unit noise of single frames."""
    return usual + np.random.default_rng(seed).standard_normal(frames)


def foreign(values: Floats, *, cut_before: bool = False, cut_after: bool = False) -> tuple[tuple[int, int], ...]:
    sounding = np.ones(values.size, dtype=np.bool_)
    return foreign_stretches(values, sounding, STEP_S, STEP_S, cut_before=cut_before, cut_after=cut_after)


def frames(seconds: float) -> int:
    return round(seconds / STEP_S)


@given(frames=st.integers(1, 400), share=st.floats(0.0, 1.0), usual=st.floats(2.0, 15.0), seed=st.integers(0, 999))
@often
def test_a_cut_lies_where_one_lags_agreement_ends_and_the_others_begins(
    frames: int, share: float, usual: float, seed: int
) -> None:
    cut = round(share * frames)
    first, second = agreement(frames, 0.0, seed), agreement(frames, 0.0, seed + 1)
    first[:cut] += usual
    second[cut:] += usual
    assert abs(place_cut(first, second) - cut) <= 2 + 30.0 / usual**2


@given(seed=st.integers(0, 9_999), frames=st.integers(1, 60))
@often
def test_no_other_place_keeps_more_agreement(seed: int, frames: int) -> None:
    first, second = agreement(frames, 0.0, seed), agreement(frames, 0.0, seed + 1)
    kept = [first[:k].sum() + second[k:].sum() for k in range(frames + 1)]
    assert kept[place_cut(first, second)] == pytest.approx(max(kept))


@given(seed=st.integers(0, 9_999), frames=st.integers(1, 60))
@often
def test_a_frame_more_on_one_side_changes_nothing(seed: int, frames: int) -> None:
    first, second = agreement(frames + 1, 0.0, seed), agreement(frames, 0.0, seed + 1)
    assert place_cut(first, second) == place_cut(first[:frames], second)
    assert place_cut(second, first) == place_cut(second, first[:frames])


def test_in_silence_the_cut_lies_in_the_middle() -> None:
    first, second = np.zeros(21), np.zeros(21)
    first[:5], second[16:] = 8.0, 8.0
    assert place_cut(first, second) in {10, 11}


@given(usual=st.floats(9.0, 20.0), at=st.floats(0.1, 0.6), seconds=st.floats(6.0, 40.0), seed=st.integers(0, 999))
@often
def test_a_stretch_without_agreement_is_foreign_to_a_frame_or_two(
    usual: float, at: float, seconds: float, seed: int
) -> None:
    values = agreement(frames(120.0), usual, seed)
    first, last = round(at * values.size), round(at * values.size) + frames(seconds)
    values[first:last] -= usual
    ((begin, end),) = foreign(values)
    assert abs(begin - first) <= 2
    assert abs(end - last) <= 2


@given(usual=st.floats(0.0, 20.0), seed=st.integers(0, 999))
@often
def test_a_shared_stretch_holds_nothing_foreign(usual: float, seed: int) -> None:
    assert foreign(agreement(frames(120.0), usual, seed)) == ()


@given(usual=st.floats(9.0, 20.0), seed=st.integers(0, 999), left=st.floats(0.4, 0.9))
@often
def test_dialogue_over_the_bed_is_not_foreign(usual: float, seed: int, left: float) -> None:
    """It takes half of the agreement for seconds, and more for a moment."""
    values = agreement(frames(120.0), usual, seed)
    spoken = np.random.default_rng(seed).random(30) < 0.5
    values *= np.repeat(np.where(spoken, left, 1.0), values.size // 30 + 1)[: values.size]
    assert foreign(values) == ()


@pytest.mark.parametrize(("usual", "seconds", "is_told"), [(12.0, 0.5, False), (4.0, 10.0, False), (4.0, 30.0, True)])
def test_the_fainter_the_agreement_the_longer_a_stretch_must_be(usual: float, seconds: float, is_told: bool) -> None:
    values = agreement(frames(150.0), usual, 1)
    values[frames(50.0) : frames(50.0 + seconds)] -= usual
    assert bool(foreign(values)) is is_told


def test_beside_a_cut_a_short_stretch_is_enough() -> None:
    values = agreement(frames(60.0), 12.0, 2)
    values[: frames(0.7)] -= 12.0
    assert foreign(values) == ()
    ((begin, end),) = foreign(values, cut_before=True)
    assert (begin, end) == (0, pytest.approx(frames(0.7), abs=1))
    mirrored = values[::-1].copy()
    ((begin, end),) = foreign(mirrored, cut_after=True)
    assert (begin, end) == (pytest.approx(values.size - frames(0.7), abs=1), values.size)


def test_several_foreign_stretches_are_told_in_order_of_time() -> None:
    values = agreement(frames(200.0), 12.0, 3)
    for at_s in (120.0, 30.0):
        values[frames(at_s) : frames(at_s + 8.0)] -= 12.0
    found = foreign(values)
    assert [pytest.approx(begin * STEP_S, abs=0.2) for begin, _ in found] == [30.0, 120.0]


@pytest.mark.parametrize("title_s", [5.0, 12.0, 25.0])
@pytest.mark.parametrize(("before_s", "after_s"), [(28.0, 56.0), (70.0, 300.0)])
def test_all_but_a_title_that_two_programmes_share_is_foreign(title_s: float, before_s: float, after_s: float) -> None:
    parts = [
        agreement(frames(seconds), usual, seed)
        for seed, (seconds, usual) in enumerate(((before_s, 0.0), (title_s, 25.0), (after_s, 0.0)))
    ]
    head, tail = foreign(np.concatenate(parts))
    assert head == (0, pytest.approx(frames(before_s), abs=2))
    assert tail == (pytest.approx(frames(before_s) + frames(title_s), abs=2), sum(part.size for part in parts))


def test_silence_on_both_sides_is_not_foreign() -> None:
    values = agreement(frames(100.0), 12.0, 4)
    quiet = slice(frames(40.0), frames(60.0))
    values[quiet] = 0.0
    sounding = np.ones(values.size, dtype=np.bool_)
    sounding[quiet] = False
    assert foreign_stretches(values, sounding, STEP_S, STEP_S) == ()
    assert foreign_stretches(values, np.zeros_like(sounding), STEP_S, STEP_S) == ()


class TestWhatIsNoBed:
    """Dialogue hides a bed; another bed is heard."""

    def another(
        self,
        seconds: float,
        *,
        heard: bool,
        shared: float = 0.0,
        usual: float = 10.0,
        pauses_db: tuple[float, float] = (0.0, 0.0),
    ) -> bool | None:
        """What a channel without dialogue says of that many seconds after a minute of its usual agreement.

        `pauses_db`: how loud a third of them is, against the rest and the bed, on master and dub.
        """
        values = agreement(frames(60.0 + seconds), usual, 5)
        values[frames(60.0) :] = agreement(values.size - frames(60.0), shared, 6)
        sounding = np.ones(values.size, dtype=np.bool_)
        sounding[frames(60.0) :] = heard
        power = np.ones((2, values.size))
        for side, level_db in enumerate(pauses_db):
            power[side, frames(60.0) :: 3] = 10.0 ** (level_db / 10.0)
        return is_another_bed(values, sounding, power, frames(60.0), values.size, STEP_S)

    def test_a_channel_without_dialogue_that_sounds_and_does_not_agree_is_another_bed(self) -> None:
        assert self.another(10.0, heard=True) is True

    def test_a_line_over_a_bed_that_is_not_heard_is_not(self) -> None:
        assert self.another(10.0, heard=False) is False

    def test_nor_what_lasts_no_longer_than_a_line(self) -> None:
        assert self.another(3.0, heard=True) is False

    def test_nor_what_falls_silent_between_the_words(self) -> None:
        """A voice in a room is in every channel, and so is its room."""
        assert self.another(10.0, heard=True, pauses_db=(-20.0, -18.0)) is False
        assert self.another(10.0, heard=True, pauses_db=(-8.0, -8.0)) is True

    def test_nor_a_bed_that_one_side_alone_has(self) -> None:
        assert self.another(10.0, heard=True, pauses_db=(0.0, -40.0)) is False

    def test_nor_what_agrees_in_that_channel(self) -> None:
        assert self.another(10.0, heard=True, shared=9.0) is False

    def test_a_channel_that_never_agrees_cannot_say(self) -> None:
        assert self.another(10.0, heard=True, usual=0.0) is None

    @pytest.mark.parametrize(
        ("duration_s", "others_s", "bed_is_heard", "outlasts"),
        [
            (15.0, [], False, False),
            (25.0, [], False, True),
            (25.0, [3.0, 8.0], False, False),
            (25.0, [3.0, 5.0], False, True),
            (25.0, [], True, False),
            (31.0, [20.0], False, True),
            (31.0, [20.0], True, True),
        ],
    )
    def test_nobody_speaks_for_half_a_minute_nor_four_times_as_long_as_ever(
        self, duration_s: float, others_s: list[float], bed_is_heard: bool, outlasts: bool
    ) -> None:
        assert outlasts_dialogue(duration_s, others_s, bed_is_heard=bed_is_heard) is outlasts


class TestHowLongSomethingAgrees:
    def test_what_agrees_all_along_bears_as_long_as_it_lasts(self) -> None:
        assert bearing_s(agreement(frames(20.0), 6.0, 7), STEP_S) == pytest.approx(20.0, rel=0.2)

    def test_a_faint_bed_bears_most_of_it(self) -> None:
        assert bearing_s(agreement(frames(60.0), 0.4, 8), STEP_S) > 20.0

    def test_an_effect_that_is_used_twice_bears_a_second_however_long_the_rest(self) -> None:
        values = agreement(frames(86.0), 0.0, 9)
        values[frames(30.0) : frames(31.0)] += 4.0
        assert bearing_s(values, STEP_S) < 2.5

    def test_nothing_bears_nothing(self) -> None:
        assert bearing_s(np.zeros(frames(10.0)), STEP_S) == 0.0

    def test_of_a_programme_whose_effects_alone_are_shared_few_seconds_agree(self) -> None:
        values = agreement(frames(200.0), 0.0, 10)
        for at_s in range(0, 200, 5):
            values[frames(at_s) : frames(at_s + 1)] += 8.0
        everywhere = np.ones(values.size, dtype=np.bool_)
        assert shared_share(values, everywhere, STEP_S, ()) < 0.5
        shared = agreement(frames(200.0), 8.0, 11)
        shared[frames(50.0) : frames(150.0)] -= 8.0
        assert shared_share(shared, everywhere, STEP_S, [(frames(50.0), frames(150.0))]) > 0.9
