from __future__ import annotations

import pytest

from syncd.domain import Failure
from syncd.errors import ErrorCode
from syncd.supervisor.liveness import Health, Pulse, examine
from syncd.supervisor.retry import FILE_CHANGED_DELAY_S, MAX_DELAY_S, GiveUp, TryAgain, after_failure


def health(pulse: Pulse, now_s: float) -> Health:
    return examine(pulse, now_s, stall_s=120.0, job_s=7200.0)


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
    crash = Failure(ErrorCode.WORKER_CRASHED, "x")
    assert after_failure(crash, 1, 3) == TryAgain(1.0)
    assert after_failure(crash, 2, 3) == TryAgain(5.0)
    assert after_failure(crash, 3, 3) == GiveUp()
    assert after_failure(crash, 50, 100) == TryAgain(MAX_DELAY_S)


def test_a_file_that_was_being_written_gets_time_to_become_its_next_version() -> None:
    changed = Failure(ErrorCode.FILE_CHANGED, "x")
    assert after_failure(changed, 1, 3) == TryAgain(FILE_CHANGED_DELAY_S)
    assert after_failure(changed, 3, 3) == GiveUp()
