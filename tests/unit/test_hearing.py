"""What follows when a worker is gone in the middle of a task."""

from __future__ import annotations

import signal

from syncd.domain import Failure
from syncd.errors import ErrorCode
from syncd.protocol import CARD_FAILED_STATUS
from syncd.supervisor.hearing import AttemptFailed, HandBack, after_loss

CARD = "GPU-0"


def test_one_that_was_ended_failed_for_the_reason_why_it_was_ended() -> None:
    why = Failure(ErrorCode.WORKER_STALLED, "It stood still.")
    assert after_loss(why, -signal.SIGKILL, CARD, is_innocent=True) == AttemptFailed(why)


def test_one_that_had_ended_between_two_jobs_is_no_fault_of_the_second() -> None:
    assert after_loss(None, 1, CARD, is_innocent=True) == HandBack("the worker had ended before it began")


def test_one_that_says_so_lost_its_card() -> None:
    step = after_loss(None, CARD_FAILED_STATUS, CARD, is_innocent=False)
    assert isinstance(step, AttemptFailed)
    assert step.failure.code is ErrorCode.GPU_FAILED
    assert CARD in step.failure.message


def test_any_other_crashed_and_it_is_said_how() -> None:
    step = after_loss(None, -signal.SIGSEGV, CARD, is_innocent=False)
    assert isinstance(step, AttemptFailed)
    assert step.failure == Failure(
        ErrorCode.WORKER_CRASHED, "The worker process ended in the middle of the job (SIGSEGV)."
    )
