"""The way of a job: each verb, and what a verb refuses."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from syncd.clock import utc_now
from syncd.domain import JobState, MethodResult, MethodStatus, Progress, Verdict
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.queue import FURTHEST
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import AttemptOutcome, Job, StaleLease
from syncd.supervisor.retry import MAX_DELAY_S, jittered
from tests.integration.ledger_material import (
    CRASH,
    INFO,
    METHOD,
    OBSERVATION,
    TRUNCATED,
    a_pair,
    claim,
    complete,
    enqueue,
    fail,
    start,
)


def the_job(reader: LedgerReader, job_id: int) -> Job:
    job = reader.job(job_id)
    assert job is not None
    return job


def verbs(reader: LedgerReader, job_id: int) -> list[str]:
    return [event.verb for event in reader.events(job_id)]


def outcomes(reader: LedgerReader, job_id: int) -> list[AttemptOutcome | None]:
    return [attempt.outcome for attempt in reader.attempts(job_id)]


def test_a_completed_job_says_all_that_was_found(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    job = the_job(reader, lease.job_id)
    assert (job.state, job.verdict, job.review) == (JobState.COMPLETED, Verdict.OFFSET, False)
    assert (job.offset_s, job.confidence, job.failure) == (-0.5, 0.98, None)
    assert job.sidecar_path == Path("/drop/Heist_dub_fr.wav.sync.json")
    assert job.enqueued_at <= (job.started_at or job.enqueued_at) <= (job.finished_at or utc_now())
    assert reader.report(lease.job_id) == '{"schema":"sync_report.v1"}'
    assert ledger.observations() == [OBSERVATION]
    (attempt,) = reader.attempts(lease.job_id)
    assert (attempt.number, attempt.outcome, attempt.device) == (1, AttemptOutcome.COMPLETED, "cpu")
    assert (attempt.predicted_ram_bytes, attempt.peak_ram_bytes) == (100_000_000, 150_000_000)
    assert verbs(reader, lease.job_id) == ["enqueued", "claimed", "completed"]


def test_a_job_is_claimed_once(ledger: Ledger) -> None:
    lease = start(ledger)
    assert ledger.claim(lease.job_id, device="cpu", predicted_ram_bytes=1) is None
    assert ledger.claim(777, device="cpu", predicted_ram_bytes=1) is None
    assert ledger.ready(5) == []


def test_a_failed_job_keeps_its_reason(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    fail(ledger, lease)
    job = the_job(reader, lease.job_id)
    assert (job.state, job.failure, job.verdict, job.offset_s) == (JobState.FAILED, TRUNCATED, None, None)
    assert outcomes(reader, lease.job_id) == [AttemptOutcome.FAILED]
    assert reader.report(lease.job_id) == '{"status":"failed"}'


def test_a_poisonous_job_is_quarantined(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    fail(ledger, lease, CRASH, quarantine=True)
    assert the_job(reader, lease.job_id).state is JobState.QUARANTINED
    assert outcomes(reader, lease.job_id) == [AttemptOutcome.QUARANTINED]


def test_a_job_to_be_tried_later_waits_until_then(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    ledger.retry_later(lease, CRASH, not_before=utc_now() + timedelta(minutes=5))
    assert ledger.ready(5) == []
    job = the_job(reader, lease.job_id)
    assert (job.state, job.attempts, job.failure) == (JobState.QUEUED, 1, CRASH)


def test_a_job_that_was_put_off_before_the_clock_was_set_back_does_not_wait_for_that_time(ledger: Ledger) -> None:
    lease = start(ledger)
    ledger.retry_later(lease, CRASH, not_before=utc_now() + timedelta(hours=3))
    assert [job.job_id for job in ledger.ready(5)] == [lease.job_id]


def test_no_back_off_is_taken_for_a_clock_that_was_set_back() -> None:
    assert timedelta(seconds=jittered(MAX_DELAY_S, 1.0)) < FURTHEST


def test_a_second_attempt_counts_as_one_and_success_clears_the_failure(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    ledger.retry_later(lease, CRASH, not_before=utc_now() - timedelta(seconds=1))
    assert [job.attempts for job in ledger.ready(5)] == [1]
    second = claim(ledger, lease.job_id)
    assert second.attempt_number == 2
    complete(ledger, second)
    assert the_job(reader, lease.job_id).failure is None
    assert outcomes(reader, lease.job_id) == [AttemptOutcome.RETRIED, AttemptOutcome.COMPLETED]
    assert [attempt.failure for attempt in reader.attempts(lease.job_id)] == [CRASH, None]


@pytest.mark.parametrize(("interrupted", "counted"), [(False, 0), (True, 1)])
def test_a_job_handed_back_has_lost_no_attempt(ledger: Ledger, *, interrupted: bool, counted: int) -> None:
    lease = start(ledger)
    ledger.hand_back(lease, "syncd stops", interrupted=interrupted)
    (job,) = ledger.ready(5)
    assert (job.attempts, job.interruptions) == (0, counted)
    assert claim(ledger, lease.job_id).attempt_number == 1


def test_what_an_earlier_daemon_left_running_is_handed_back_at_once(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    lease = start(ledger)
    ledger.close()
    ledger = Ledger.open(path)
    (job,) = ledger.ready(5)
    assert (job.job_id, job.attempts, job.interruptions) == (lease.job_id, 0, 1)
    with pytest.raises(StaleLease):
        complete(ledger, lease)
    reader = LedgerReader.open(path)
    assert outcomes(reader, lease.job_id) == [AttemptOutcome.INTERRUPTED]
    assert verbs(reader, lease.job_id) == ["enqueued", "claimed", "handed_back"]
    reader.close()
    ledger.close()


def test_a_file_that_kills_the_daemon_again_and_again_is_seen_by_its_count(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for deaths in range(4):
        ledger = Ledger.open(path)
        assert enqueue(ledger, a_pair()).created is (deaths == 0)
        (job,) = ledger.ready(1)
        assert job.interruptions == deaths
        claim(ledger, job.job_id)
        ledger.close()


def test_a_queued_job_is_canceled_at_once(ledger: Ledger, reader: LedgerReader) -> None:
    job_id = enqueue(ledger, a_pair()).job_id
    assert ledger.cancel(job_id) is JobState.QUEUED
    assert the_job(reader, job_id).state is JobState.CANCELED
    assert ledger.ready(5) == []


def test_a_running_job_is_canceled_over_its_workers_head(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    assert ledger.cancel(lease.job_id) is JobState.RUNNING
    assert the_job(reader, lease.job_id).state is JobState.CANCELED
    assert outcomes(reader, lease.job_id) == [AttemptOutcome.CANCELED]


def test_canceling_what_has_ended_or_never_was_changes_nothing(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    assert ledger.cancel(lease.job_id) is JobState.COMPLETED
    assert the_job(reader, lease.job_id).state is JobState.COMPLETED
    assert ledger.cancel(777) is None


def test_a_stale_lease_finishes_nothing(ledger: Ledger, reader: LedgerReader) -> None:
    stale = start(ledger)
    ledger.hand_back(stale, "syncd stops", interrupted=False)
    held = claim(ledger, stale.job_id)
    later = utc_now()
    finishes: tuple[Callable[[], None], ...] = (
        lambda: complete(ledger, stale),
        lambda: fail(ledger, stale),
        lambda: ledger.hand_back(stale, "again", interrupted=True),
        lambda: ledger.retry_later(stale, CRASH, not_before=later),
    )
    for finish in finishes:
        with pytest.raises(StaleLease):
            finish()
    assert not ledger.record_progress(stale, Progress("decode", 1, 2, "half"))
    assert not ledger.record_method(stale, METHOD)
    job = the_job(reader, stale.job_id)
    assert (job.state, job.interruptions, job.progress) == (JobState.RUNNING, 0, None)
    assert verbs(reader, stale.job_id) == ["enqueued", "claimed", "handed_back", "claimed"]
    complete(ledger, held)


def test_progress_is_seen_while_it_runs_and_gone_when_it_starts_anew(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    now = utc_now()
    assert ledger.record_progress(lease, Progress("decode", 3, 10, "decoding master", now), eta_s=7.5)
    job = the_job(reader, lease.job_id)
    assert job.progress is not None
    assert (job.progress.stage, job.progress.done, job.progress.total) == ("decode", 3, 10)
    assert job.eta_s == 7.5
    ledger.hand_back(lease, "syncd stops", interrupted=False)
    job = the_job(reader, lease.job_id)
    assert (job.progress, job.eta_s, job.device) == (None, None, None)


def test_methods_are_seen_as_each_ends_and_a_new_attempt_starts_without_them(
    ledger: Ledger, reader: LedgerReader
) -> None:
    lease = start(ledger)
    other = MethodResult("spectral", MethodStatus.OK, METHOD.outcome, 12.0, 0.5)
    assert ledger.record_method(lease, METHOD)
    assert ledger.record_method(lease, other)
    assert ledger.record_method(lease, METHOD)
    assert reader.partial_methods(lease.job_id) == [other, METHOD]
    assert reader.report(lease.job_id) is None
    ledger.hand_back(lease, "syncd stops", interrupted=False)
    claim(ledger, lease.job_id)
    assert reader.partial_methods(lease.job_id) == []


def test_a_method_that_says_nan_is_refused(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    with pytest.raises(ValueError, match="not JSON compliant"):
        ledger.record_method(lease, MethodResult("onset", MethodStatus.OK, METHOD.outcome, math.nan, 0.5))
    assert reader.partial_methods(lease.job_id) == []


def test_an_infinite_offset_is_refused_and_the_job_still_runs(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    with pytest.raises(IntegrityError, match="ck_jobs_offset_s"):
        ledger.complete(
            lease,
            report_json="{}",
            sidecar_path=None,
            verdict="offset",
            review=False,
            offset_s=math.inf,
            confidence=0.5,
            observation=None,
        )
    assert the_job(reader, lease.job_id).state is JobState.RUNNING
    complete(ledger, lease)


def test_a_report_that_is_not_json_is_refused(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    with pytest.raises(IntegrityError, match="ck_reports_report"):
        ledger.fail(lease, TRUNCATED, report_json='{"offset": NaN}', sidecar_path=None)
    assert the_job(reader, lease.job_id).state is JobState.RUNNING


def test_what_a_probe_saw_is_there_for_the_next_attempt(ledger: Ledger) -> None:
    pair = a_pair()
    enqueue(ledger, pair)
    ledger.record_media_info(pair.dub.path, pair.dub.identity, INFO)
    (job,) = ledger.ready(1)
    assert (job.master_info, job.dub_info) == (None, INFO)
    enqueue(ledger, a_pair(dub_version=2))
    (job,) = ledger.ready(1)
    assert job.dub_info is None


def test_a_retried_job_is_a_new_one_and_the_old_points_to_it(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    fail(ledger, lease)
    new = ledger.retry_as_new(lease.job_id)
    assert (the_job(reader, lease.job_id).state, the_job(reader, lease.job_id).superseded_by) == (JobState.FAILED, new)
    (job,) = ledger.ready(5)
    assert (job.job_id, job.attempts, job.dub) == (new, 0, a_pair().dub)
    assert the_job(reader, new).origin == "retry"


def test_a_retry_takes_the_files_as_they_were_last_seen(ledger: Ledger) -> None:
    old = start(ledger)
    fail(ledger, old)
    newer = start(ledger, a_pair(dub_version=2))
    fail(ledger, newer)
    new = ledger.retry_as_new(old.job_id)
    (job,) = ledger.ready(5)
    assert (job.job_id, job.dub) == (new, a_pair(dub_version=2).dub)


def test_a_retry_of_a_pair_that_waits_already_is_that_job(ledger: Ledger) -> None:
    lease = start(ledger)
    fail(ledger, lease)
    new = ledger.retry_as_new(lease.job_id)
    assert ledger.retry_as_new(lease.job_id) == new


def test_a_retry_is_refused_in_words(ledger: Ledger) -> None:
    lease = start(ledger)
    with pytest.raises(SyncdError, match="There is no job 777") as unknown:
        ledger.retry_as_new(777)
    assert unknown.value.code is ErrorCode.NOT_FOUND
    with pytest.raises(SyncdError, match="has not ended: it is running") as running:
        ledger.retry_as_new(lease.job_id)
    assert running.value.code is ErrorCode.USAGE
    complete(ledger, lease)
    with pytest.raises(SyncdError, match="only --force"):
        ledger.retry_as_new(lease.job_id, force=False)
    assert ledger.retry_as_new(lease.job_id, force=True) > lease.job_id


def test_final_states_never_change_whoever_tries(ledger: Ledger, tmp_path: Path) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    with pytest.raises(sqlite3.IntegrityError, match="final states never change"):
        stranger.execute("UPDATE jobs SET state = 'queued', finished_at = NULL, verdict = NULL")
    stranger.close()


def test_history_is_only_written_on(ledger: Ledger, tmp_path: Path) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    ledger.set_paused(True)
    stranger = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    stranger.execute("PRAGMA foreign_keys = ON")
    for statement in ("UPDATE events SET verb = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            stranger.execute(statement)
    stranger.execute("DELETE FROM jobs")
    assert stranger.execute("SELECT verb FROM events").fetchall() == [("paused",)]
    stranger.close()


def test_one_live_job_per_pair_is_a_rule_of_the_file_itself(ledger: Ledger, tmp_path: Path) -> None:
    enqueue(ledger, a_pair())
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    columns = [row[1] for row in stranger.execute("PRAGMA table_info(jobs)") if row[1] != "id"]
    listed = ", ".join(columns)
    with pytest.raises(sqlite3.IntegrityError, match=r"UNIQUE constraint failed: jobs\.(place|version)_key"):
        stranger.execute(f"INSERT INTO jobs ({listed}) SELECT {listed} FROM jobs")  # noqa: S608 - the columns' own names
    stranger.close()


def test_counts_name_every_state(ledger: Ledger, reader: LedgerReader) -> None:
    complete(ledger, start(ledger))
    enqueue(ledger, a_pair("Second"))
    expected = dict.fromkeys(JobState, 0) | {JobState.COMPLETED: 1, JobState.QUEUED: 1}
    assert ledger.counts() == reader.counts() == expected
    assert ledger.queued_count() == 1


def test_every_transition_leaves_one_event_that_joins_the_last(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    ledger.hand_back(lease, "syncd stops", interrupted=False)
    lease = claim(ledger, lease.job_id)
    ledger.retry_later(lease, CRASH, not_before=utc_now() - timedelta(seconds=1))
    complete(ledger, claim(ledger, lease.job_id))
    events = reader.events(lease.job_id)
    assert [event.state_before for event in events[1:]] == [event.state_after for event in events[:-1]]
    assert [event.verb for event in events] == [
        "enqueued",
        "claimed",
        "handed_back",
        "claimed",
        "retried",
        "claimed",
        "completed",
    ]
