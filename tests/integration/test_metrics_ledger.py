"""What metrics ask of a real ledger, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd.domain import JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.metrics.ledger_look import ASK_INTERVAL_S, REST, LedgerLook, Pace
from syncd.metrics.snapshot import LedgerSeen
from tests.integration.ledger_material import a_pair, an_orphan, claim, complete, enqueue


def look_until(look: LedgerLook, state: JobState) -> LedgerSeen:
    """The first look in which jobs of that state are counted."""
    while state not in (seen := look.look(0.0)).jobs:
        continue
    return seen


def test_the_longer_an_answer_takes_the_later_it_is_asked_for_again() -> None:
    pace = Pace()
    assert pace.is_due(0.0)
    pace.took(0.001, 100.0)
    assert [pace.is_due(now_s) for now_s in (100.0 + ASK_INTERVAL_S - 0.1, 100.0 + ASK_INTERVAL_S)] == [False, True]
    pace.took(0.2, 100.0)
    assert [pace.is_due(now_s) for now_s in (100.0 + 0.2 * REST - 0.1, 100.0 + 0.2 * REST)] == [False, True]


def test_jobs_that_have_ended_are_counted_beside_those_that_wait(ledger: Ledger, tmp_path: Path) -> None:
    complete(ledger, claim(ledger, enqueue(ledger, a_pair("one")).job_id))
    enqueue(ledger, a_pair("two"))
    ledger.record_orphan(an_orphan())
    look = LedgerLook(ledger, tmp_path / "ledger.db")
    seen = look_until(look, JobState.COMPLETED)
    assert (seen.jobs[JobState.COMPLETED], seen.jobs[JobState.QUEUED], seen.jobs[JobState.RUNNING]) == (1, 1, 0)
    assert seen.orphans == 1
    assert 0.0 <= seen.oldest_queued_s < 60.0
    assert seen.file_bytes > 0


def test_between_two_questions_the_old_answer_stands(ledger: Ledger, tmp_path: Path) -> None:
    look = LedgerLook(ledger, tmp_path / "ledger.db")
    assert look.look(0.0).jobs[JobState.QUEUED] == 0
    enqueue(ledger, a_pair())
    assert look.look(ASK_INTERVAL_S / 2).jobs[JobState.QUEUED] == 0
    assert look.look(3600.0).jobs[JobState.QUEUED] == 1


def test_a_ledger_that_cannot_be_asked_is_an_error_once_and_not_at_every_turn(ledger: Ledger, tmp_path: Path) -> None:
    look = LedgerLook(ledger, tmp_path / "elsewhere.db")
    with pytest.raises(SyncdError) as caught:
        look_until(look, JobState.COMPLETED)
    assert caught.value.code is ErrorCode.NO_LEDGER
    assert look.look(1.0).jobs == {JobState.QUEUED: 0, JobState.RUNNING: 0}
