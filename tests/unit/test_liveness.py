from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import Failure, StagePause
from syncd.errors import ErrorCode
from syncd.supervisor.ladder import Rung, Standing
from syncd.supervisor.liveness import (
    PAUSES_NEEDED,
    UNWATCHED_S,
    CpuLook,
    Health,
    Lookout,
    Patience,
    Pulse,
    Step,
    examine,
    is_computing,
    job_limit_s,
    steps_due,
)
from syncd.supervisor.retry import (
    FILE_CHANGED_DELAY_S,
    MAX_DELAY_S,
    GiveUp,
    Quarantine,
    TryAgain,
    after_failure,
    jittered,
)
from syncd.supervisor.task import Ending


def health(pulse: Pulse, now_s: float) -> Health:
    return examine(pulse, now_s, stall_s=120.0, job_s=7200.0, computes=False)


def test_a_worker_whose_figures_move_is_healthy_however_slow() -> None:
    pulse = Pulse(0.0, 0.0)
    for minute in range(1, 100):
        pulse = pulse.beat("decode", minute, minute * 60.0)
        assert health(pulse, minute * 60.0) is Health.MOVING


def test_repeating_the_same_figures_is_no_sign_of_life() -> None:
    pulse = Pulse(0.0, 0.0).beat("decode", 5, 10.0)
    for second in range(11, 200):
        pulse = pulse.beat("decode", 5, float(second))
    assert health(pulse, 200.0) is Health.STALLED


def test_two_stages_that_both_stand_still_are_no_sign_of_life() -> None:
    pulse = Pulse(0.0, 0.0).beat("decode_master", 5, 10.0).beat("decode_dub", 7, 10.0)
    for second in range(11, 200):
        stage, done = ("decode_master", 5) if second % 2 else ("decode_dub", 7)
        pulse = pulse.beat(stage, done, float(second))
    assert health(pulse, 200.0) is Health.STALLED


def test_silence_is_a_stall_only_beyond_the_threshold() -> None:
    pulse = Pulse(0.0, 0.0).beat("decode", 5, 10.0)
    assert health(pulse, 130.0) is Health.MOVING
    assert health(pulse, 130.1) is Health.STALLED


def test_a_job_that_moves_for_ever_is_overtime() -> None:
    assert health(Pulse(0.0, 7190.0, "decode", {"decode": 9}), 7200.1) is Health.OVERTIME


@pytest.mark.parametrize("code", [ErrorCode.NO_AUDIO, ErrorCode.MEDIA_UNREADABLE, ErrorCode.MEDIA_TRUNCATED])
def test_what_is_the_medias_fault_is_not_tried_again(code: ErrorCode) -> None:
    assert after_failure(Failure(code, "x"), attempts=1, max_attempts=3) == GiveUp()


def test_what_is_the_machinerys_fault_is_tried_again_later_and_later() -> None:
    full = Failure(ErrorCode.DISK_FULL, "x")
    assert after_failure(full, 1, 3) == TryAgain(1.0)
    assert after_failure(full, 2, 3) == TryAgain(5.0)
    assert after_failure(full, 3, 3) == GiveUp()
    assert after_failure(full, 50, 100) == TryAgain(MAX_DELAY_S)
    silent = Failure(ErrorCode.FOLDER_STALLED, "x")
    assert after_failure(silent, 100_000, 3) == TryAgain(MAX_DELAY_S)


def test_after_a_fault_the_ladder_decides_unless_nothing_is_to_be_tried_twice() -> None:
    crash = Failure(ErrorCode.WORKER_CRASHED, "x")
    assert after_failure(crash, 4, 3, Standing(Rung.LAST)) == TryAgain(125.0)
    assert after_failure(crash, 2, 3, Standing(Rung.LAST, quarantine_reason="why")) == Quarantine("why")
    assert after_failure(crash, 1, 1) == GiveUp()


@given(st.floats(0.0, 1.0), st.floats(0.1, 300.0))
def test_jitter_makes_a_delay_longer_by_half_at_most(chance: float, delay_s: float) -> None:
    assert delay_s <= jittered(delay_s, chance) <= 1.5 * delay_s + 1e-9


def test_a_silent_worker_is_looked_at_before_it_is_judged() -> None:
    pulse = Pulse(0.0, 0.0).beat("decode", 5, 10.0)
    assert examine(pulse, 130.1, stall_s=120.0, job_s=7200.0) is Health.SILENT


def test_one_that_computes_may_be_silent_four_times_as_long() -> None:
    pulse = Pulse(0.0, 0.0).beat("decode", 5, 10.0)
    for now_s, health in ((130.1, Health.MOVING), (490.0, Health.MOVING), (490.1, Health.STALLED)):
        assert examine(pulse, now_s, stall_s=120.0, job_s=7200.0, computes=True) is health


def test_whether_it_computes_shows_in_its_processor_time() -> None:
    assert is_computing(CpuLook(0.0, 1.0), CpuLook(5.0, 2.0))
    assert not is_computing(CpuLook(0.0, 1.0), CpuLook(5.0, 1.9))


def test_a_pulse_remembers_the_longest_pause_of_each_stage() -> None:
    pulse = Pulse(0.0, 0.0)
    for stage, done, at_s in (("decode", 1, 2.0), ("decode", 2, 5.0), ("decode", 3, 6.0), ("survey", 1, 10.0)):
        pulse = pulse.beat(stage, done, at_s)
    assert pulse.pauses(60.0) == (StagePause("start", 2.0, 60.0), StagePause("decode", 4.0, 60.0))


def test_few_observations_leave_the_floor_as_it_is() -> None:
    patience = Patience([StagePause("decode", 500.0, 60.0)] * (PAUSES_NEEDED - 1))
    assert patience.stall_s("decode", 60.0, 120.0) == 120.0


def test_a_stage_known_to_stand_still_for_long_gets_more_patience_and_longer_media_more_still() -> None:
    patience = Patience([StagePause("decode", 30.0, 60.0)] * PAUSES_NEEDED)
    assert patience.stall_s("decode", 60.0, 120.0) == 240.0
    assert patience.stall_s("decode", 120.0, 120.0) == 480.0
    assert patience.stall_s("survey", 60.0, 120.0) == 120.0


@given(st.lists(st.floats(0.0, 1e4), max_size=60), st.one_of(st.none(), st.floats(0.0, 1e5)), st.floats(1.0, 1e3))
def test_no_experience_makes_patience_shorter_than_the_floor(
    pauses_s: list[float], duration_s: float | None, floor_s: float
) -> None:
    patience = Patience([StagePause("decode", pause_s, 60.0) for pause_s in pauses_s])
    assert patience.stall_s("decode", duration_s, floor_s) >= floor_s


def test_long_media_have_longer_in_proportion() -> None:
    assert job_limit_s(7200.0, None) == job_limit_s(7200.0, 3600.0) == 7200.0
    assert job_limit_s(7200.0, 14_400.0) == 14_400.0


def test_a_worker_is_asked_before_it_is_made_to_end() -> None:
    assert steps_due(0.0, 0) == [Step.DUMP]
    assert steps_due(1.9, 1) == []
    assert steps_due(2.0, 1) == [Step.TERM]
    assert steps_due(60.0, 1) == [Step.TERM, Step.KILL, Step.GIVE_UP]


def test_a_worker_that_takes_others_memory_is_killed_before_another_would_be_asked_to_end() -> None:
    greedy = Ending(Failure(ErrorCode.OUT_OF_MEMORY, "x"), 0.0)
    assert steps_due(0.0, 0, greedy.schedule) == [Step.DUMP]
    assert steps_due(0.5, 1, greedy.schedule) == [Step.KILL]
    assert steps_due(0.5, 1, Ending(Failure(ErrorCode.WORKER_STALLED, "x"), 0.0).schedule) == []


def test_a_file_that_was_being_written_gets_time_to_become_its_next_version() -> None:
    changed = Failure(ErrorCode.FILE_CHANGED, "x")
    assert after_failure(changed, 1, 3) == TryAgain(FILE_CHANGED_DELAY_S)
    assert after_failure(changed, 3, 3) == GiveUp()


def test_what_nobody_watched_is_held_against_nobody() -> None:
    lookout = Lookout()
    assert lookout.missed_s(100.0) == 0.0
    assert lookout.missed_s(100.0 + UNWATCHED_S) == 0.0
    assert lookout.missed_s(200.0 + UNWATCHED_S) == pytest.approx(100.0 - UNWATCHED_S)
