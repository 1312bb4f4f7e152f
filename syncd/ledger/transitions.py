"""The steps that the ledger's verbs are made of; each runs inside its caller's transaction."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, insert, select, update

from syncd.domain import Failure, JobState, Lease
from syncd.ledger.columns import readable, to_json
from syncd.ledger.models import attempts, events, jobs, reports
from syncd.ledger.records import AttemptOutcome, StaleLease

Values = dict[str, object]

LIVE: Final = (JobState.QUEUED, JobState.RUNNING)
NO_FAILURE: Final[Mapping[str, None]] = {"error_code": None, "error_message": None, "error_details": None}
_NO_PROGRESS: Final[Mapping[str, None]] = {
    "stage": None,
    "stage_done": None,
    "stage_total": None,
    "stage_text": None,
    "stage_at": None,
    "eta_s": None,
}
_NOWHERE: Final[Mapping[str, None]] = {**_NO_PROGRESS, "device": None}
"""Of a job that waits: no worker has it."""

# Every job goes through these: built once, because building a statement takes longer than carrying it out. What a
# caller gives as parameters under a column's name is set.
_APPEND: Final = insert(events)
_BEGIN: Final = insert(attempts).returning(attempts.c.id)
_FORGET: Final = delete(reports).where(reports.c.job_id == bindparam("of_job"))
_TAKE: Final = (
    update(jobs)
    .where(jobs.c.id == bindparam("of_job"), jobs.c.state == bindparam("before"))
    .values(attempts=jobs.c.attempts + 1)
    .returning(jobs.c.attempts)
)
_LEAVE: Final = update(jobs).where(
    jobs.c.id == bindparam("of_job"), jobs.c.state == bindparam("before"), jobs.c.lease_token == bindparam("held")
)
_END: Final = (
    update(attempts)
    .where(attempts.c.job_id == bindparam("of_job"), attempts.c.finished_at.is_(None))
    .returning(attempts.c.id)
)


def failure_values(failure: Failure) -> Values:
    """The error columns of a job, an attempt or a request."""
    return {
        "error_code": failure.code.value,
        "error_message": failure.message,
        "error_details": to_json(failure.details),
    }


def failure_details(failure: Failure) -> Values:
    """What a job's history says of it."""
    return {"code": failure.code.value, "message": readable(failure.message)}


def append_event(
    connection: Connection,
    verb: str,
    now: datetime,
    *,
    job_id: int | None = None,
    attempt_id: int | None = None,
    before: JobState | None = None,
    after: JobState | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """One line of history."""
    connection.execute(
        _APPEND,
        {
            "job_id": job_id,
            "attempt_id": attempt_id,
            "at": now,
            "verb": verb,
            "state_before": before,
            "state_after": after,
            "details": to_json(dict(details or {})),
        },
    )


def take(
    connection: Connection,
    job_id: int,
    now: datetime,
    *,
    device: str,
    predicted_ram_bytes: int,
    predicted_vram_bytes: int,
    rung: int,
) -> Lease | None:
    """queued -> running; None: somebody else was faster."""
    token = secrets.token_hex(8)
    taken = {
        "of_job": job_id,
        "before": JobState.QUEUED,
        "state": JobState.RUNNING,
        "lease_token": token,
        "device": device,
        "started_at": now,
        "not_before": None,
        **_NO_PROGRESS,
    }
    number = connection.execute(_TAKE, taken).scalar_one_or_none()
    if number is None:
        return None
    begun = {
        "job_id": job_id,
        "number": number,
        "device": device,
        "predicted_ram_bytes": predicted_ram_bytes,
        "predicted_vram_bytes": predicted_vram_bytes,
        "started_at": now,
        "rung": rung,
    }
    attempt_id = connection.execute(_BEGIN, begun).scalar_one()
    # Partial results of an earlier attempt would be taken for this one's.
    connection.execute(_FORGET, {"of_job": job_id})
    append_event(
        connection,
        "claimed",
        now,
        job_id=job_id,
        attempt_id=attempt_id,
        before=JobState.QUEUED,
        after=JobState.RUNNING,
        details={"device": device, "attempt": number},
    )
    return Lease(job_id, attempt_id, number, token)


def end(
    connection: Connection,
    lease: Lease,
    now: datetime,
    *,
    verb: str,
    after: JobState,
    outcome: AttemptOutcome,
    job: Mapping[str, object],
    attempt: Mapping[str, object],
    details: Mapping[str, object],
) -> None:
    """running -> `after`, if the lease still holds, and its attempt ends; raises `StaleLease`.

    `job`, `attempt`: what their rows say from now on; `details`: what the job's history says.
    """
    _leave_running(connection, lease, after, job if after is not JobState.QUEUED else {**_NOWHERE, **job})
    _end_attempt(connection, lease.job_id, outcome, now, attempt)
    append_event(
        connection,
        verb,
        now,
        job_id=lease.job_id,
        attempt_id=lease.attempt_id,
        before=JobState.RUNNING,
        after=after,
        details=details,
    )


def _leave_running(connection: Connection, lease: Lease, after: JobState, values: Mapping[str, object]) -> None:
    reckoned = {name: value for name, value in values.items() if isinstance(value, ColumnElement)}
    plain = {name: value for name, value in values.items() if name not in reckoned}
    held = {"of_job": lease.job_id, "before": JobState.RUNNING, "held": lease.token}
    statement = _LEAVE.values(reckoned) if reckoned else _LEAVE
    left = connection.execute(statement, {**held, "state": after, "lease_token": None, **plain})
    if left.rowcount != 1:
        raise StaleLease(lease)


def _end_attempt(
    connection: Connection, job_id: int, outcome: AttemptOutcome, now: datetime, values: Mapping[str, object]
) -> int | None:
    """The job's open attempt ends; returns its id, None if there was none."""
    ended = connection.execute(_END, {"of_job": job_id, "outcome": outcome, "finished_at": now, **values})
    return ended.scalar_one_or_none()


def drop_live(
    connection: Connection, job_id: int, after: JobState, outcome: AttemptOutcome, now: datetime
) -> JobState | None:
    """queued -> `after`, running -> `after`, over its worker's head; returns the state before, None if unknown."""
    before = state_of(connection, job_id)
    if before in LIVE:
        connection.execute(
            update(jobs).where(jobs.c.id == job_id).values(state=after, lease_token=None, finished_at=now)
        )
        attempt_id = _end_attempt(connection, job_id, outcome, now, {})
        append_event(connection, after.value, now, job_id=job_id, attempt_id=attempt_id, before=before, after=after)
    return before


def hand_back_all(connection: Connection, reason: str, now: datetime) -> list[int]:
    """running -> queued for every job: whoever ran them is gone. Counted as interruptions, not as attempts."""
    running = select(jobs.c.id).where(jobs.c.state == JobState.RUNNING).order_by(jobs.c.id)
    job_ids = list(connection.execute(running).scalars())
    for job_id in job_ids:
        connection.execute(
            update(jobs)
            .where(jobs.c.id == job_id)
            .values(state=JobState.QUEUED, lease_token=None, **uncounted(interrupted=True), **_NOWHERE)
        )
        attempt_id = _end_attempt(connection, job_id, AttemptOutcome.INTERRUPTED, now, {"reason": reason})
        append_event(
            connection,
            "handed_back",
            now,
            job_id=job_id,
            attempt_id=attempt_id,
            before=JobState.RUNNING,
            after=JobState.QUEUED,
            details={"reason": reason, "interrupted": True},
        )
    return job_ids


def uncounted(*, interrupted: bool) -> Values:
    """The claim counted an attempt: take that back, and count it as an interruption if it was one."""
    return {"attempts": jobs.c.attempts - 1, "interruptions": jobs.c.interruptions + int(interrupted)}


def state_of(connection: Connection, job_id: int) -> JobState | None:
    """Where the job stands; None if there is none."""
    state = connection.execute(select(jobs.c.state).where(jobs.c.id == job_id)).scalar_one_or_none()
    return None if state is None else JobState(state)
