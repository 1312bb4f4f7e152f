"""A final job, once more: as a new one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from syncd.domain import FINAL_STATES, JobState, MediaFile
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.enqueue import enqueue, order_of
from syncd.ledger.models import jobs, media
from syncd.ledger.rows import select_files, to_file


def retry_as_new(connection: Connection, job_id: int, now: datetime, *, force: bool) -> int:
    """-> queued; the caller's docstring says the rest."""
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).first()
    if row is None:
        raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
    state = JobState(row.state)
    if state not in FINAL_STATES:
        raise SyncdError(ErrorCode.USAGE, f"Job {job_id} has not ended: it is {state.value}.")
    if state is JobState.COMPLETED and not force:
        raise SyncdError(ErrorCode.USAGE, f"Job {job_id} is completed; only --force runs it again.")
    master, dub = _as_last_seen(connection, row.master_id), _as_last_seen(connection, row.dub_id)
    return enqueue(connection, order_of(row, master, dub, origin="retry"), now, force=True).job_id


def _as_last_seen(connection: Connection, media_id: int) -> MediaFile:
    """The current version of the path that this row is about."""
    path = select(media.c.path).where(media.c.id == media_id).scalar_subquery()
    current = select_files().where(media.c.path == path, media.c.is_current == 1)
    return to_file(connection.execute(current).one())
