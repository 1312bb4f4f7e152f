"""How long a job will still take: about right for a job as usual, and never absurd for any."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.cli.jobs import left_text
from syncd.supervisor.estimate import MOST_S, StageSeen, Work, seconds_left, smoothed

HOUR = Work(3600.0, 3500.0, ("correlation", "mfcc", "onset", "spectral", "speech"))
QUICK = Work(3600.0, 3500.0, ("correlation",))


def stage(name: str, began_at_s: float, done: int, total: int, moved_at_s: float) -> StageSeen:
    return StageSeen(name, began_at_s, done, total, moved_at_s)


def left_s(seen: list[StageSeen], work: Work = HOUR, now_s: float | None = None) -> float:
    left = seconds_left(seen, work, max(one.moved_at_s for one in seen) if now_s is None else now_s)
    assert left is not None
    return left


def test_nothing_is_said_while_nothing_is_known() -> None:
    assert seconds_left([], HOUR, 0.0) is None
    begun = [stage("decode_master", 0.0, 0, 3600, 0.0)]
    assert seconds_left(begun, HOUR, 0.0) is None
    for unknown in (Work(None, 10.0, ()), Work(10.0, None, ()), Work(math.nan, 10.0, ()), Work(0.0, 0.0, ())):
        assert seconds_left([stage("decode_master", 0.0, 5, 10, 5.0)], unknown, 5.0) is None


def test_reading_is_judged_by_its_own_pace_and_by_the_slower_side() -> None:
    slow = stage("decode_master", 0.0, 900, 3600, 100.0)
    quick = stage("decode_dub", 0.0, 1750, 3500, 100.0)
    both = left_s([slow, quick])
    assert 300.0 <= both <= 350.0
    assert both == left_s([slow, stage("decode_dub", 0.0, 3500, 3500, 90.0)])
    assert both > left_s([stage("decode_master", 0.0, 3600, 3600, 90.0), quick])


def test_a_master_from_the_cache_is_not_waited_for() -> None:
    dub = stage("decode_dub", 0.0, 1750, 3500, 100.0)
    cached = left_s([stage("fetch_master", 0.0, 10, 200, 0.1), dub])
    assert 100.0 <= cached <= 150.0


def test_more_methods_take_longer() -> None:
    reading = [stage("decode_master", 0.0, 1800, 3600, 5.0), stage("decode_dub", 0.0, 1750, 3500, 5.0)]
    assert left_s(reading, HOUR) > left_s(reading, QUICK) + 20.0


def test_a_machine_that_is_slow_at_the_survey_is_expected_to_stay_so() -> None:
    def after_survey(took_s: float) -> list[StageSeen]:
        return [
            stage("decode_master", 0.0, 3600, 3600, 9.0),
            stage("curves", 10.0, 23, 24, 10.5),
            stage("survey", 11.0, 8, 8, 10.0 + took_s),
            stage("onsets", 10.0 + took_s, 1, 64, 10.0 + took_s),
        ]

    assert left_s(after_survey(30.0)) > 3.0 * left_s(after_survey(2.5))


def test_the_present_stage_goes_over_to_its_own_pace() -> None:
    before = [stage("curves", 0.0, 24, 24, 1.0), stage("survey", 1.0, 8, 8, 2.5)]
    half = [*before, stage("speech", 10.0, 60, 120, 110.0)]
    most = [*before, stage("speech", 10.0, 108, 120, 190.0)]
    assert 50.0 <= left_s(half) <= 100.0
    assert 15.0 <= left_s(most) <= 30.0


def test_trying_other_speeds_counts_while_it_lasts() -> None:
    before = [stage("curves", 0.0, 24, 24, 1.0), stage("survey", 1.0, 4, 8, 2.0)]
    assert seconds_left([*before, stage("speeds", 2.0, 0, 30, 2.0)], HOUR, 2.0) is None
    assert left_s([*before, stage("speeds", 2.0, 10, 30, 62.0)]) >= 120.0


def test_time_that_passes_without_a_word_counts_down() -> None:
    reading = [stage("decode_master", 0.0, 1800, 3600, 50.0), stage("decode_dub", 0.0, 3500, 3500, 40.0)]
    assert left_s(reading, now_s=60.0) == pytest.approx(left_s(reading, now_s=50.0) - 10.0)


figures = st.integers(-5, 10**6)
moments_s = st.floats(0.0, 1e6)
READING_STAGES = ["decode_master", "decode_dub", "fetch_master", "keep_master"]
LATER_STAGES = ["curves", "survey", "speeds", "onsets", "correlation", "mfcc", "speech", "timeline", "pieces", "rivals"]
names = st.sampled_from([*READING_STAGES, *LATER_STAGES, "repetition", "unheard of"])
lengths_s = st.one_of(st.none(), st.floats(allow_nan=True, allow_infinity=True))


@given(
    seen=st.lists(st.builds(StageSeen, names, moments_s, figures, figures, moments_s), max_size=6),
    work=st.builds(Work, lengths_s, lengths_s, st.just(("correlation", "speech", "of a later version"))),
    now_s=moments_s,
    before=st.one_of(st.none(), st.tuples(st.floats(0.0, MOST_S), moments_s)),
)
def test_whatever_is_told_the_estimate_is_none_or_a_time_to_come(
    seen: list[StageSeen], work: Work, now_s: float, before: tuple[float, float] | None
) -> None:
    left = seconds_left(seen, work, now_s)
    if left is not None:
        assert 0.0 <= left <= MOST_S
        assert 0.0 <= smoothed(before, left, now_s) <= MOST_S


def test_what_is_shown_counts_down_and_does_not_jump() -> None:
    assert smoothed(None, 100.0, 0.0) == 100.0
    assert smoothed((100.0, 0.0), 90.0, 10.0) == pytest.approx(90.0)
    a_moment_later = smoothed((100.0, 0.0), 1000.0, 0.1)
    assert 100.0 < a_moment_later < 130.0
    shown = (100.0, 0.0)
    for step in range(1, 60):
        now_s = 0.5 * step
        shown = (smoothed(shown, 1000.0 - now_s, now_s), now_s)
    assert shown[0] == pytest.approx(1000.0 - shown[1], rel=0.01)


@pytest.mark.parametrize(
    ("left", "text"),
    [(0.0, "1 s"), (12.4, "12 s"), (89.0, "89 s"), (91.0, "2 min"), (3540.0, "59 min"), (5520.0, "1 h 32 min")],
)
def test_an_estimate_is_told_as_exactly_as_it_is_known(left: float, text: str) -> None:
    assert left_text(left) == text
