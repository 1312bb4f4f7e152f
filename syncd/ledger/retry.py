"""A final job, once more: as a new one."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, select

from syncd.domain import FINAL_STATES, AnalysisSettings, JobState, MediaFile, Pair, Priority
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.columns import from_json
from syncd.ledger.enqueue import Order, enqueue
from syncd.ledger.models import jobs, media
from syncd.ledger.rows import AnyRow, select_files, to_file


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
    enqueued = enqueue(connection, _order(connection, row), now, force=True)
    return enqueued.job_id


def _order(connection: Connection, row: AnyRow) -> Order:
    pair = Pair(
        title=row.title,
        master=_as_last_seen(connection, row.master_id),
        dub=_as_last_seen(connection, row.dub_id),
        language=row.language,
        master_track=row.master_track,
        dub_track=row.dub_track,
    )
    settings = from_json(row.settings, AnalysisSettings)
    return Order(pair, row.profile, settings, Priority(row.priority), "retry")


def _as_last_seen(connection: Connection, media_id: int) -> MediaFile:
    """The current version of the path that this row is about."""
    path = select(media.c.path).where(media.c.id == media_id).scalar_subquery()
    current = select_files().where(media.c.path == path, media.c.is_current == 1)
    return to_file(connection.execute(current).one())
