"""The jobs that have not ended, as they are asked for many times a second.

The statements are built once, because building one takes longer than carrying it out. Each function runs inside its
caller's transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, func, literal, or_, select

from syncd.domain import JobState, ReadyJob
from syncd.ledger.columns import Moment
from syncd.ledger.models import jobs
from syncd.ledger.records import Depth
from syncd.ledger.rows import DUBS, MASTERS, select_ready, to_ready_job

FURTHEST: Final = timedelta(minutes=10)
"""No attempt is put off for longer: what says so was written before the clock was set back, and waits for nothing."""

# The state is written out, for only then is the partial index taken.
_IS_QUEUED: Final = jobs.c.state == literal(JobState.QUEUED.value, literal_execute=True)
_READY: Final = (
    select_ready()
    .where(
        _IS_QUEUED,
        or_(
            jobs.c.not_before.is_(None),
            jobs.c.not_before <= bindparam("now", type_=Moment),
            jobs.c.not_before > bindparam("furthest", type_=Moment),
        ),
    )
    .order_by(jobs.c.rank_at, jobs.c.id)
    .limit(bindparam("count"))
)
_QUEUED_COUNT: Final = select(func.count()).select_from(jobs).where(_IS_QUEUED)
# Numbers are given in the order of arrival. The index is named, for SQLite would sort the whole queue by another one.
_OLDEST_QUEUED: Final = (
    select(jobs.c.enqueued_at)
    .with_hint(jobs, "INDEXED BY ix_jobs_listing", "sqlite")
    .where(jobs.c.state == JobState.QUEUED.value)
    .order_by(jobs.c.id)
    .limit(1)
)
_RUNNING: Final = select(func.count(), func.min(jobs.c.started_at)).where(jobs.c.state == JobState.RUNNING.value)


def ready(connection: Connection, now: datetime, limit: int, silent: Iterable[Path] = ()) -> list[ReadyJob]:
    """What may be claimed now, in its order, without files below the `silent` folders."""
    asked = _READY
    for folder in silent:
        below = os.fsencode(folder / "x")[:-1]
        asked = asked.where(*(func.substr(side.c.path, 1, len(below)) != below for side in (MASTERS, DUBS)))
    rows = connection.execute(asked, {"now": now, "furthest": now + FURTHEST, "count": limit})
    return [to_ready_job(row) for row in rows]


def queued_count(connection: Connection) -> int:
    """How many jobs wait."""
    return int(connection.execute(_QUEUED_COUNT).scalar_one())


def depth(connection: Connection) -> Depth:
    """However many jobs have ended, it takes only as long as counting those that wait."""
    queued = queued_count(connection)
    running, running_since = connection.execute(_RUNNING).one()
    return Depth(queued, int(running), connection.execute(_OLDEST_QUEUED).scalar(), running_since)
