"""When a file counts as completely there: decided on paper, without a disk or a clock."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.watch.settle import Look, SettleTracker

QUIET_S = 5.0
LAPSE_S = 300.0


def tracker() -> SettleTracker:
    return SettleTracker(settle_s=QUIET_S, incomplete_after_s=LAPSE_S)


def test_nothing_is_due_where_nothing_arrives() -> None:
    files = tracker()
    assert files.next_due_s() is None
    assert files.pop_due(1e9) is None
    assert len(files) == 0


def test_a_file_is_due_once_its_quiet_time_is_over_and_not_before() -> None:
    files = tracker()
    assert files.observe("a", b"1", 100.0)
    assert files.next_due_s() == 105.0
    assert files.pop_due(104.9) is None
    assert files.pop_due(105.0) == "a"
    assert files.judge("a", Look.WHOLE, 105.0)


def test_a_file_that_changed_is_quiet_from_then_on() -> None:
    files = tracker()
    files.observe("a", b"1", 100.0)
    assert files.observe("a", b"2", 104.0)
    assert files.pop_due(105.0) is None
    assert files.next_due_s() == 109.0
    assert files.pop_due(109.0) == "a"


def test_a_change_seen_at_the_last_look_starts_the_quiet_time_again() -> None:
    files = tracker()
    files.observe("a", b"1", 100.0)
    assert files.pop_due(105.0) == "a"
    assert files.observe("a", b"2", 105.0)
    assert files.pop_due(109.9) is None
    assert files.pop_due(110.0) == "a"


def test_seeing_the_same_again_does_not_prolong_the_wait() -> None:
    files = tracker()
    files.observe("a", b"1", 100.0)
    assert not files.observe("a", b"1", 104.0)
    assert files.pop_due(105.0) == "a"


def test_a_file_that_somebody_writes_waits_for_ever() -> None:
    files = tracker()
    now_s = 0.0
    files.observe("a", b"1", now_s)
    for _ in range(200):
        now_s = files.next_due_s() or pytest.fail("forgotten")
        if (path := files.pop_due(now_s)) is not None:
            assert not files.judge(path, Look.WRITTEN, now_s)
    assert now_s > 10 * LAPSE_S


def test_the_looks_at_a_written_file_become_rarer_but_never_rarer_than_half_a_minute() -> None:
    files = tracker()
    files.observe("a", b"1", 0.0)
    looks_s: list[float] = []
    while (now_s := files.next_due_s() or 0.0) < 1000.0:
        if files.pop_due(now_s):
            looks_s.append(now_s)
            files.judge("a", Look.WRITTEN, now_s)
    gaps_s = [later - earlier for earlier, later in itertools.pairwise(looks_s)]
    assert gaps_s == sorted(gaps_s)
    assert gaps_s[0] < 5.0
    assert gaps_s[-1] == 30.0


def test_a_hint_cuts_the_wait_of_a_written_file_short() -> None:
    files = tracker()
    files.observe("a", b"1", 0.0)
    assert files.pop_due(100.0) == "a"
    assert not files.judge("a", Look.WRITTEN, 100.0)
    assert files.pop_due(101.0) is None
    assert not files.observe("a", b"1", 101.0)
    assert files.pop_due(101.0) == "a"
    assert files.judge("a", Look.WHOLE, 101.0)


@pytest.mark.parametrize("look", [Look.SHORT, Look.FAULTY])
def test_a_short_or_faulty_file_is_passed_on_after_its_time(look: Look) -> None:
    files = tracker()
    files.observe("a", b"1", 0.0)
    while (now_s := files.next_due_s() or 0.0) < LAPSE_S:
        if files.pop_due(now_s):
            assert not files.judge("a", look, now_s)
    assert now_s == LAPSE_S
    assert files.pop_due(now_s) == "a"
    assert files.judge("a", look, now_s)


def test_a_file_that_may_not_be_read_is_passed_on_at_once() -> None:
    files = tracker()
    files.observe("a", b"1", 0.0)
    assert files.pop_due(QUIET_S) == "a"
    assert files.judge("a", Look.FORBIDDEN, QUIET_S)


def test_a_forgotten_file_never_comes_up() -> None:
    files = tracker()
    files.observe("a", b"1", 0.0)
    assert files.forget("a")
    assert not files.forget("a")
    assert files.pop_due(1e6) is None
    assert files.next_due_s() is None


def test_without_a_quiet_time_a_file_is_due_at_once() -> None:
    files = SettleTracker(settle_s=0.0, incomplete_after_s=0.0)
    files.observe("a", b"1", 7.0)
    assert files.pop_due(7.0) == "a"
    assert files.judge("a", Look.SHORT, 7.0)


@dataclass(frozen=True)
class Story:
    """What becomes of one file: times (whole seconds) at which it changes, and at which somebody sees it."""

    changes_s: list[int]
    hints_s: list[int]


stories = st.lists(
    st.builds(
        Story,
        st.lists(st.integers(0, 60), min_size=1, max_size=8, unique=True).map(sorted),
        st.lists(st.integers(0, 60), max_size=8),
    ),
    min_size=1,
    max_size=5,
)


def stamp_at(story: Story, now_s: float) -> bytes:
    return str(sum(change_s <= now_s for change_s in story.changes_s)).encode()


@given(stories)
def test_whatever_happens_a_file_passes_after_its_quiet_time_and_no_later_than_it_must(told: list[Story]) -> None:
    files = tracker()
    passed_s: dict[str, float] = {}
    hints = sorted({(float(hint_s), str(i)) for i, story in enumerate(told) for hint_s in [*story.hints_s, 61]})
    while hints or len(files):
        due_s = files.next_due_s()
        if hints and (due_s is None or hints[0][0] <= due_s):
            now_s, path = hints.pop(0)
            if path not in passed_s:
                files.observe(path, stamp_at(told[int(path)], now_s), now_s)
            continue
        assert due_s is not None
        due = files.pop_due(due_s)
        if due is None or files.observe(due, stamp_at(told[int(due)], due_s), due_s):
            continue
        assert files.judge(due, Look.WHOLE, due_s)
        files.forget(due)
        passed_s[due] = due_s
    assert len(passed_s) == len(told)
    for i, story in enumerate(told):
        when_s = passed_s[str(i)]
        assert stamp_at(story, when_s) == stamp_at(story, when_s - QUIET_S)
        assert when_s <= 61 + 2 * QUIET_S


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3), st.sampled_from(Look)), max_size=60))
def test_an_arriving_file_always_has_a_next_time(steps: list[tuple[str, int, Look]]) -> None:
    files = tracker()
    now_s = 0.0
    for path, stamp, look in steps:
        now_s += 1.0
        files.observe(path, str(stamp).encode(), now_s)
        due = files.pop_due(now_s)
        if due is not None and files.judge(due, look, now_s):
            files.forget(due)
        due_s = files.next_due_s()
        assert (due_s is not None) or len(files) == 0
        assert due_s is None or due_s <= now_s + 30.0 + QUIET_S
