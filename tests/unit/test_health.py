from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.config import WorkersSection
from syncd.devices.card_history import (
    APPLICATION_XIDS,
    CALM_S,
    CONTAINED_XIDS,
    ECC_REST_S,
    FAULT_WINDOW_S,
    FIRST_QUARANTINE_S,
    GRAVE_XIDS,
    LONGEST_QUARANTINE_S,
    STALE_S,
    WELL_S,
    XID_REST_S,
    Cause,
)
from syncd.devices.health import (
    LEAST_ROOM_BYTES,
    Change,
    Health,
    JobHold,
    Standing,
    changes,
    foreign_bytes,
    names_without_card,
)
from syncd.devices.readings import GpuProcess, GpuReading, Heard, Sharing

GIB = 1 << 30
UUID = "GPU-0000aaaa-0000-4000-8000-000000000000"
OTHER = "GPU-1111aaaa-0000-4000-8000-000000000001"
ANY = WorkersSection()


def reading(**fields: Any) -> GpuReading:
    values = {"uuid": UUID, "index": 0, "name": "card", "total_bytes": 11 * GIB, "free_bytes": 11 * GIB, **fields}
    return GpuReading(**values)


def heard(age_s: float = 0.1, **fields: Any) -> Heard:
    return Heard(reading(**fields), age_s)


def stands(
    health: Health, one: Heard, now_s: float = 0.0, workers: WorkersSection = ANY, jobs: tuple[JobHold, ...] = ()
) -> Standing:
    (standing,) = health.standings([one], workers, jobs, now_s)
    return standing


def causes_over_time(health: Health, at_s: list[float], one: Heard) -> list[Cause | None]:
    """The cause at each moment, with a look at the card each time."""
    causes = []
    for now_s in at_s:
        health = health.seen([one], now_s)
        causes.append(stands(health, one, now_s).cause)
    return causes


# --- the driver ------------------------------------------------------------------------------------------------------


def test_a_card_that_answers_and_has_room_is_usable() -> None:
    assert stands(Health().seen([heard()], 0.0), heard()) == Standing(UUID, 0, "card")


def test_a_card_that_does_not_answer_is_out_until_it_answers() -> None:
    out = stands(Health(), heard(age_s=12.4))
    assert (out.cause, out.reason, out.again_at_s) == (Cause.SILENT, "The driver has not answered for 12 s.", None)
    assert stands(Health(), heard(age_s=STALE_S)).is_usable


def test_a_card_that_is_lost_is_taken_out_with_the_drivers_words() -> None:
    out = stands(Health(), heard(trouble="GPU is lost", total_bytes=0, free_bytes=0))
    assert (out.cause, out.reason) == (Cause.TROUBLE, "It cannot be used now: GPU is lost.")


def test_a_card_on_which_nobody_may_compute_is_out() -> None:
    assert stands(Health(), heard(sharing=Sharing.NOBODY)).cause is Cause.FORBIDDEN


# --- the configuration -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("devices", "named"),
    [
        ("auto", True),
        ("cpu", False),
        ((0,), True),
        ((1,), False),
        (("0",), True),
        ((UUID,), True),
        (("GPU-0000",), True),
        (("GPU-",), False),
        ((OTHER,), False),
        ((OTHER, 0), True),
        ((), False),
    ],
)
def test_only_cards_that_are_named_are_used(devices: Any, named: bool) -> None:
    standing = stands(Health(), heard(), workers=WorkersSection(devices=devices))
    assert standing.is_usable == named
    assert named or standing.reason.startswith("workers.devices is ")


def test_a_name_without_a_card_is_told() -> None:
    workers = WorkersSection(devices=(0, 7, "GPU-9999aaaa", "cpu"))
    assert names_without_card(workers, [reading()]) == (
        "workers.devices names 7, and there is no such GPU.",
        "workers.devices names GPU-9999aaaa, and there is no such GPU.",
    )
    assert names_without_card(ANY, []) == ()


# --- others on the card ----------------------------------------------------------------------------------------------


def test_others_that_leave_too_little_keep_a_card_from_being_used() -> None:
    crowded = heard(free_bytes=GIB // 2, processes=(GpuProcess(99, 10 * GIB + GIB // 2),))
    out = stands(Health(), crowded)
    assert out.cause is Cause.FULL
    assert out.reason == "Others hold 11.3 GB of its 11.8 GB: 0.5 GB is left, 1.1 GB the least of use."
    assert stands(Health(), heard(free_bytes=GIB)).is_usable


def test_what_our_own_jobs_hold_is_no_reason() -> None:
    full = heard(free_bytes=GIB // 2, processes=(GpuProcess(99, 8 * GIB),))
    job = JobHold(UUID, 1, 99, 9 * GIB, 8 * GIB)
    assert stands(Health(), full, jobs=(job,)).is_usable
    assert not stands(Health(), full, jobs=(JobHold(OTHER, 1, 99, 9 * GIB, 8 * GIB),)).is_usable


def test_a_card_too_small_for_its_share_says_so() -> None:
    out = stands(Health(), heard(total_bytes=GIB, free_bytes=GIB))
    assert out.reason == "syncd may use 0.8 GB of its 1.1 GB, and 1.1 GB is the least of use."


def test_a_card_for_one_process_is_out_while_a_stranger_has_it() -> None:
    taken = heard(sharing=Sharing.ONE_PROCESS, processes=(GpuProcess(99, GIB),), free_bytes=10 * GIB)
    assert stands(Health(), taken).cause is Cause.TAKEN
    assert "99" in stands(Health(), taken).reason
    assert stands(Health(), taken, jobs=(JobHold(UUID, 1, 99, GIB, GIB),)).is_usable
    assert stands(Health(), heard(sharing=Sharing.ONE_PROCESS)).is_usable


@given(st.integers(0, 11 * GIB), st.integers(0, 11 * GIB), st.floats(0.01, 1.0))
def test_a_usable_card_always_has_room_and_one_that_is_full_never(free: int, ours: int, fraction: float) -> None:
    one = heard(free_bytes=free)
    job = JobHold(UUID, 1, 7, ours, ours)
    workers = WorkersSection(gpu_memory_fraction=fraction)
    left = min(int(11 * GIB * fraction), 11 * GIB - max(0, 11 * GIB - free - ours))
    assert stands(Health(), one, workers=workers, jobs=(job,)).is_usable == (left >= LEAST_ROOM_BYTES)


def test_a_process_whose_memory_nobody_tells_counts_by_what_is_missing() -> None:
    one = reading(free_bytes=3 * GIB, processes=(GpuProcess(7, None), GpuProcess(8, None)))
    assert foreign_bytes(one, []) == 8 * GIB
    assert foreign_bytes(one, [JobHold(UUID, 1, 7, 2 * GIB, 2 * GIB)]) == 6 * GIB


def test_what_the_driver_tells_of_our_job_counts_before_the_job_says_so() -> None:
    one = reading(free_bytes=3 * GIB, processes=(GpuProcess(7, 8 * GIB),))
    assert foreign_bytes(one, [JobHold(UUID, 1, 7, 9 * GIB, 0)]) == 0


# --- errors that the driver tells of ---------------------------------------------------------------------------------


@pytest.mark.parametrize("xid", sorted(APPLICATION_XIDS | CONTAINED_XIDS))
def test_errors_of_a_job_count_as_nothing_here(xid: int) -> None:
    assert stands(Health().seen([heard(xids=(xid,))], 0.0), heard()).is_usable


@pytest.mark.parametrize("xid", sorted(GRAVE_XIDS))
def test_a_grave_error_keeps_a_card_out_until_it_has_been_well_for_minutes(xid: int) -> None:
    health = Health().seen([heard(xids=(xid,), trouble="GPU is lost")], 0.0)
    assert stands(health, heard(), 0.0).cause is Cause.ERROR
    assert str(xid) in stands(health, heard(), 0.0).reason
    well = [1000.0, 1000.0 + WELL_S - 1.0, 1000.0 + WELL_S]
    assert causes_over_time(health, well, heard()) == [Cause.ERROR, Cause.ERROR, None]


@pytest.mark.parametrize("relapse", [heard(age_s=60.0), heard(trouble="GPU is lost"), heard(xids=(79,))])
def test_a_relapse_starts_the_minutes_anew(relapse: Heard) -> None:
    health = Health().seen([heard(xids=(79,))], 0.0).seen([relapse], WELL_S - 1.0)
    later = [WELL_S, 2 * WELL_S - 2.0, 2 * WELL_S]
    assert causes_over_time(health, later, heard()) == [Cause.ERROR, Cause.ERROR, None]


def test_a_grave_error_says_when_the_card_is_looked_at_again() -> None:
    health = Health().seen([heard(xids=(79,))], 100.0)
    assert stands(health, heard(), 160.0).again_at_s == 100.0 + WELL_S


@given(st.integers(1, 200).filter(lambda xid: xid not in APPLICATION_XIDS | CONTAINED_XIDS | GRAVE_XIDS.keys()))
def test_any_other_error_takes_the_card_out_for_a_while(xid: int) -> None:
    health = Health().seen([heard(xids=(xid,))], 0.0)
    assert causes_over_time(health, [0.0, XID_REST_S - 1.0, XID_REST_S], heard()) == [Cause.ERROR, Cause.ERROR, None]


def test_an_error_told_again_prolongs_the_rest() -> None:
    health = Health().seen([heard(xids=(32,))], 0.0).seen([heard(xids=(32,))], 500.0)
    assert causes_over_time(health, [XID_REST_S, 500.0 + XID_REST_S], heard()) == [Cause.ERROR, None]


# --- memory errors ---------------------------------------------------------------------------------------------------


def test_memory_errors_that_were_there_already_are_no_news() -> None:
    assert causes_over_time(Health(), [0.0, 1.0], heard(ecc_errors=5)) == [None, None]


def test_memory_errors_that_become_more_take_the_card_out_for_a_while() -> None:
    health = Health().seen([heard(ecc_errors=5)], 0.0).seen([heard(ecc_errors=7)], 10.0)
    out = stands(health, heard(), 10.0)
    assert out.cause is Cause.MEMORY_ERRORS
    assert out.reason == "Uncorrected memory errors: 2 more, 7 in all; it rests for 30 min."
    assert out.again_at_s == 10.0 + ECC_REST_S
    assert causes_over_time(health, [9.0 + ECC_REST_S, 10.0 + ECC_REST_S], heard(ecc_errors=7))[1] is None


def test_a_count_that_was_set_back_counts_from_there() -> None:
    health = Health().seen([heard(ecc_errors=5)], 0.0).seen([heard(ecc_errors=0)], 1.0)
    assert stands(health, heard(), 1.0).is_usable
    assert not stands(health.seen([heard(ecc_errors=1)], 2.0), heard(), 2.0).is_usable


def test_a_count_is_not_forgotten_while_the_card_is_lost() -> None:
    lost = heard(trouble="GPU is lost", ecc_errors=5)
    health = Health().seen([heard(ecc_errors=5)], 0.0).seen([lost], 1.0).seen([heard(ecc_errors=6)], 2.0)
    assert stands(health, heard(), 2.0).cause is Cause.MEMORY_ERRORS


# --- faults of jobs --------------------------------------------------------------------------------------------------


def test_one_fault_is_forgiven() -> None:
    assert stands(Health().faulted(UUID, 0.0, "a crash"), heard(), 0.0).is_usable


def test_two_faults_within_minutes_quarantine_the_card() -> None:
    health = Health().faulted(UUID, 0.0, "a crash").faulted(UUID, FAULT_WINDOW_S, "SIGSEGV in the AI stage.")
    out = stands(health, heard(), FAULT_WINDOW_S)
    assert out.cause is Cause.FAULTS
    assert out.reason == (
        "2 jobs failed on it within 10 min, the last with: SIGSEGV in the AI stage; it rests for 10 min."
    )
    assert out.again_at_s == FAULT_WINDOW_S + FIRST_QUARANTINE_S
    assert stands(health, heard(), FAULT_WINDOW_S + FIRST_QUARANTINE_S).is_usable


def test_two_faults_far_apart_do_not() -> None:
    health = Health().faulted(UUID, 0.0, "a crash").faulted(UUID, FAULT_WINDOW_S + 1.0, "a crash")
    assert stands(health, heard(), FAULT_WINDOW_S + 1.0).is_usable


def test_faults_on_two_cards_are_no_cards_fault() -> None:
    health = Health().faulted(UUID, 0.0, "a crash").faulted(OTHER, 1.0, "a crash")
    assert stands(health, heard(), 1.0).is_usable


def quarantine(health: Health, now_s: float) -> tuple[Health, float]:
    """Two faults; the health after them, and how long the card rests."""
    health = health.faulted(UUID, now_s, "a crash").faulted(UUID, now_s, "a crash")
    again_at_s = stands(health, heard(), now_s).again_at_s
    assert again_at_s is not None
    return health, again_at_s - now_s


def test_each_quarantine_is_twice_as_long_as_the_one_before_up_to_two_hours() -> None:
    health, now_s, spans_s = Health(), 0.0, []
    for _ in range(6):
        health, span_s = quarantine(health, now_s)
        spans_s.append(span_s)
        now_s += span_s
    assert spans_s == [600.0, 1200.0, 2400.0, 4800.0, LONGEST_QUARANTINE_S, LONGEST_QUARANTINE_S]


def test_a_calm_day_makes_quarantines_short_again() -> None:
    health, _ = quarantine(Health(), 0.0)
    health, longer_s = quarantine(health, CALM_S)
    _, forgotten_s = quarantine(health, 2 * CALM_S + 1.0)
    assert (longer_s, forgotten_s) == (2 * FIRST_QUARANTINE_S, FIRST_QUARANTINE_S)


def test_jobs_that_were_under_way_prolong_no_quarantine() -> None:
    health, span_s = quarantine(Health(), 0.0)
    for at_s in (1.0, 2.0, 3.0):
        health = health.faulted(UUID, at_s, "a crash")
    assert stands(health, heard(), 3.0).again_at_s == span_s
    assert stands(health, heard(), span_s).is_usable


def test_what_led_to_one_quarantine_does_not_count_towards_the_next() -> None:
    health, span_s = quarantine(Health(), 0.0)
    assert stands(health.faulted(UUID, span_s, "a crash"), heard(), span_s).is_usable


def test_of_several_rests_the_longest_counts() -> None:
    health = Health().seen([heard(ecc_errors=0)], 0.0).seen([heard(ecc_errors=1)], 0.0).seen([heard(xids=(32,))], 1.0)
    assert stands(health, heard(), 1.0).cause is Cause.MEMORY_ERRORS
    assert stands(health, heard(), 1.0).again_at_s == ECC_REST_S


def test_a_card_that_was_gone_is_still_in_quarantine_when_it_comes_back() -> None:
    health, _ = quarantine(Health(), 0.0)
    health = health.seen([], 1.0).seen([heard()], 2.0)
    assert stands(health, heard(), 2.0).cause is Cause.FAULTS


@given(st.lists(st.floats(0.0, 50_000.0), max_size=30))
def test_every_quarantine_ends_within_two_hours_of_the_last_fault(moments_s: list[float]) -> None:
    health = Health()
    for at_s in sorted(moments_s):
        health = health.faulted(UUID, at_s, "a crash")
    assert stands(health, heard(), max(moments_s, default=0.0) + LONGEST_QUARANTINE_S).is_usable


# --- whatever comes --------------------------------------------------------------------------------------------------

LOOKS = st.builds(
    heard,
    age_s=st.floats(0.0, 60.0),
    trouble=st.sampled_from([None, "GPU is lost"]),
    ecc_errors=st.none() | st.integers(0, 3),
    xids=st.lists(st.sampled_from([13, 63, 79, 32]), max_size=2).map(tuple),
    sharing=st.sampled_from(list(Sharing)),
    free_bytes=st.integers(0, 11 * GIB),
)


@given(st.lists(st.tuples(LOOKS, st.floats(0.0, 600.0)), max_size=20))
def test_whatever_happened_a_card_that_stays_well_comes_back(looks: list[tuple[Heard, float]]) -> None:
    health, now_s = Health(), 0.0
    for one, pause_s in looks:
        now_s += pause_s
        health = health.seen([one], now_s)
        standing = stands(health, one, now_s)
        assert standing.is_usable == (standing.reason == "")
        assert standing.again_at_s is None or standing.again_at_s > now_s
    last = looks[-1][0].reading.ecc_errors if looks else None
    for minute in range(120):
        health = health.seen([heard(ecc_errors=last)], now_s + 60.0 * minute)
    assert stands(health, heard(), now_s + 7200.0).is_usable


# --- what is told ----------------------------------------------------------------------------------------------------

WELL = Standing(UUID, 0, "card")
SILENT = Standing(UUID, 0, "card", Cause.SILENT, "The driver has not answered for 6 s.")
SILENT_LATER = Standing(UUID, 0, "card", Cause.SILENT, "The driver has not answered for 7 s.")
LOST = Standing(UUID, 0, "card", Cause.TROUBLE, "It cannot be used now: GPU is lost.")


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ([], [WELL], [(Change.FOUND, WELL)]),
        ([WELL], [WELL], []),
        ([WELL], [SILENT], [(Change.TAKEN_OUT, SILENT)]),
        ([SILENT], [SILENT_LATER], []),
        ([SILENT], [LOST], [(Change.TAKEN_OUT, LOST)]),
        ([LOST], [WELL], [(Change.PUT_BACK, WELL)]),
        ([LOST], [], [(Change.GONE, LOST)]),
    ],
)
def test_a_change_is_told_once(before: list[Standing], after: list[Standing], told: list[Any]) -> None:
    assert changes(before, after) == told


# --- the page for operators ------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "gpus.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("cause", list(Cause))
def test_every_cause_is_documented(cause: Cause) -> None:
    assert f"| `{cause.value}` |" in PAGE


@pytest.mark.parametrize("xids", [GRAVE_XIDS, APPLICATION_XIDS, CONTAINED_XIDS])
def test_the_errors_are_documented(xids: Collection[int]) -> None:
    assert ", ".join(map(str, sorted(xids))) in PAGE
