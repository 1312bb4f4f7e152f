from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import ErrorCode
from syncd.supervisor.breaker import FIRST_PAUSE_S, JOBS_IN_A_ROW, LONGEST_PAUSE_S, RESTING
from syncd.supervisor.ladder import AI_STAGE, FAULTS, Fault, Rung, given_up, standing

CRASH = ErrorCode.WORKER_CRASHED
STALL = ErrorCode.WORKER_STALLED


def after(*faults: tuple[ErrorCode, str | None]) -> list[Rung]:
    """The rungs of one attempt after another, while each ends in such a fault."""
    met: list[Fault] = []
    rungs = [standing(met).rung]
    for code, stage in faults:
        met.append(Fault(rungs[-1], code, stage))
        rungs.append(standing(met).rung)
    return rungs


def test_a_job_without_faults_is_tried_with_everything() -> None:
    assert standing([]).rung is Rung.FULL
    assert given_up(Rung.FULL, models=True, cache=True) == ()


@pytest.mark.parametrize("fault", [(ErrorCode.GPU_OUT_OF_MEMORY, AI_STAGE), (STALL, AI_STAGE)])
def test_what_the_models_did_costs_one_rung_at_a_time(fault: tuple[ErrorCode, str]) -> None:
    assert after(fault, fault, fault) == [Rung.FULL, Rung.SMALLER_BATCH, Rung.CPU, Rung.LAST]


@pytest.mark.parametrize("fault", [(CRASH, None), (CRASH, AI_STAGE), (STALL, "decode_dub"), (STALL, None)])
def test_any_other_fault_leads_to_the_last_rung_at_once(fault: tuple[ErrorCode, str | None]) -> None:
    assert after(fault) == [Rung.FULL, Rung.LAST]


def test_two_faults_on_the_last_rung_are_the_end() -> None:
    faults = [Fault(Rung.FULL, CRASH, None), Fault(Rung.LAST, CRASH, None)]
    assert standing(faults).quarantine_reason is None
    assert standing([*faults, Fault(Rung.LAST, STALL, None)]).quarantine_reason is not None


@pytest.mark.parametrize(("times", "alone", "ended"), [(4, False, False), (5, True, False), (9, True, False)])
def test_interruptions_are_no_faults_until_there_are_too_many(times: int, alone: bool, ended: bool) -> None:
    found = standing([], times)
    assert (found.is_alone, found.quarantine_reason is not None) == (alone, ended)
    assert found.rung is (Rung.LAST if alone else Rung.FULL)


def test_ten_interruptions_are_the_end() -> None:
    assert standing([], 10).quarantine_reason is not None
    assert standing([], 10).quarantine_code is ErrorCode.INTERRUPTED


@given(
    st.lists(st.tuples(st.sampled_from(sorted(FAULTS)), st.sampled_from([None, AI_STAGE, "decode_dub"])), max_size=12)
)
def test_nobody_climbs_up_and_whoever_goes_on_failing_is_quarantined(
    faults: list[tuple[ErrorCode, str | None]],
) -> None:
    rungs = after(*faults)
    assert rungs == sorted(rungs)
    met = [Fault(rung, code, stage) for rung, (code, stage) in zip(rungs, faults, strict=False)]
    if len(faults) >= 5:
        assert standing(met).quarantine_reason is not None


def test_the_report_says_only_what_the_job_would_have_used() -> None:
    assert given_up(Rung.LAST, models=False, cache=False) == ()
    assert given_up(Rung.LAST, models=True, cache=True) == ("the models", "features from the cache")
    assert given_up(Rung.SMALLER_BATCH, models=True, cache=True) == ("the models' full batch size",)


def test_faults_of_one_job_do_not_stop_the_others() -> None:
    breaker = RESTING
    for at_s in range(20):
        breaker = breaker.faulted(7, CRASH, float(at_s))
    assert not breaker.is_open(20.0)


def test_faults_of_different_jobs_in_a_row_pause_claiming_for_ever_longer() -> None:
    breaker, now_s = RESTING, 0.0
    for job_id in range(JOBS_IN_A_ROW - 1):
        breaker = breaker.faulted(job_id, CRASH, now_s)
    assert not breaker.is_open(now_s)
    pauses_s = []
    for job_id in range(JOBS_IN_A_ROW, JOBS_IN_A_ROW + 8):
        breaker = breaker.faulted(job_id, CRASH, now_s)
        assert breaker.is_open(now_s)
        pauses_s.append(breaker.paused_until_s - now_s)
        now_s = breaker.paused_until_s
        assert breaker.why(now_s) is None
    assert pauses_s[0] == FIRST_PAUSE_S
    assert pauses_s == sorted(pauses_s)
    assert pauses_s[-1] == LONGEST_PAUSE_S
    assert replace(breaker, pauses=5_000).tripped("again", now_s).paused_until_s == now_s + LONGEST_PAUSE_S
