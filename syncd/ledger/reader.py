"""What syncctl reads: short, of one snapshot each, without ever keeping the daemon from writing."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, Engine, Select, func, literal, select, union_all

from syncd.domain import JobState, MediaFile, MethodResult
from syncd.ledger.columns import readable
from syncd.ledger.engine import reading_engine, transaction
from syncd.ledger.lock import is_held
from syncd.ledger.models import PAUSED, jobs, media, orphans, reports, requests, service
from syncd.ledger.records import Attempt, Event, Job, JobFilter, JobPage, OrphanRecord, PageKey, Reported, Request
from syncd.ledger.rows import (
    count_by_state,
    select_attempts,
    select_events,
    select_files,
    select_jobs,
    select_orphans,
    select_reported,
    select_requests,
    to_attempt,
    to_event,
    to_file,
    to_job,
    to_orphan,
    to_reported,
    to_request,
)
from syncd.ledger.schema import require_current
from syncd.ledger.stats import Stats, read_ended, read_processed, summarise

_REPORTED: Final = (JobState.COMPLETED, JobState.FAILED, JobState.QUARANTINED)
_ALL: Final = JobFilter()
REFUSED_LOOKED_AT: Final = 50
REPORTED_AT_ONCE: Final = 50
"""A thousand at once leave holes in the heap that stay."""


class LedgerReader:
    """Reads, and cannot write."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine

    @classmethod
    def open(cls, path: Path) -> LedgerReader:
        """Raises `SyncdError` NO_LEDGER, LEDGER_NEWER, LEDGER_DAMAGED, PERMISSION_DENIED."""
        require_current(path)
        return cls(path, reading_engine(path))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def job(self, job_id: int) -> Job | None:
        """One job; None if there is none of that number."""
        with self._snapshot() as connection:
            row = connection.execute(select_jobs().where(jobs.c.id == job_id)).first()
            return None if row is None else to_job(row)

    def jobs(self, filters: JobFilter, *, limit: int, after: PageKey | None = None) -> JobPage:
        """A page, newest first; the next one begins at its `next`."""
        with self._snapshot() as connection:
            # One more than asked for tells whether a next page exists.
            ids = connection.execute(_page(filters, limit + 1, after)).scalars().all()
            statement = select_jobs().where(jobs.c.id.in_(ids[:limit])).order_by(jobs.c.id.desc())
            found = tuple(to_job(row) for row in connection.execute(statement))
        return JobPage(found, PageKey(ids[limit - 1]) if len(ids) > limit else None)

    def attempts(self, job_id: int) -> list[Attempt]:
        """Every claim of a job, oldest first."""
        with self._snapshot() as connection:
            return [to_attempt(row) for row in connection.execute(select_attempts(job_id))]

    def events(self, job_id: int) -> list[Event]:
        """A job's history, oldest first."""
        with self._snapshot() as connection:
            return [to_event(row) for row in connection.execute(select_events(job_id))]

    def report(self, job_id: int) -> str | None:
        """The sidecar's JSON; None until the job has ended with one."""
        with self._snapshot() as connection:
            return connection.execute(select(reports.c.report).where(reports.c.job_id == job_id)).scalar()

    def partial_methods(self, job_id: int) -> list[MethodResult]:
        """What the latest attempt's methods said so far."""
        with self._snapshot() as connection:
            text = connection.execute(select(reports.c.methods).where(reports.c.job_id == job_id)).scalar()
        return msgspec.convert(json.loads(text or "[]"), list[MethodResult])

    def orphan_count(self) -> int:
        """How many files wait for a partner."""
        with self._snapshot() as connection:
            return int(connection.execute(select(func.count()).select_from(orphans)).scalar_one())

    def orphans(self, limit: int) -> list[OrphanRecord]:
        """Files that wait for a partner, longest first."""
        with self._snapshot() as connection:
            return [to_orphan(row) for row in connection.execute(select_orphans().limit(limit))]

    def known_files(self) -> Iterator[MediaFile]:
        """The newest version of every path ever recorded; a side of stems is one of them, under its first path."""
        with self._snapshot() as connection:
            for row in connection.execute(select_files().where(media.c.is_current == 1)):
                yield to_file(row)

    def reported_under(self, folder: Path, *, limit: int) -> Iterator[Reported]:
        """The newest ended job of every report in a folder and below it, newest first.

        A few at a time, and nothing is being read while one is looked at: that may take as long as it likes.
        """
        # Bytes sort as they stand, so all that begins with "folder/" lies between it and "folder0".
        first, beyond = (os.fsdecode(os.fsencode(folder).rstrip(b"/") + end) for end in (b"/", b"0"))
        within = jobs.c.sidecar_path.between(Path(first + "\x01"), Path(beyond))
        newest = select(func.max(jobs.c.id)).where(within, jobs.c.state.in_(_REPORTED)).group_by(jobs.c.sidecar_path)
        with self._snapshot() as connection:
            ids = connection.execute(newest.order_by(func.max(jobs.c.id).desc()).limit(limit)).scalars().all()
        for begin in range(0, len(ids), REPORTED_AT_ONCE):
            some = jobs.c.id.in_(ids[begin : begin + REPORTED_AT_ONCE])
            with self._snapshot() as connection:
                rows = connection.execute(select_reported().where(some).order_by(jobs.c.id.desc())).all()
            yield from (to_reported(row) for row in rows)

    def counts(self, filters: JobFilter = _ALL) -> dict[JobState, int]:
        """How many jobs stand where; every state is there."""
        with self._snapshot() as connection:
            return count_by_state(connection, _conditions(filters))

    def stats(self, since: datetime, until: datetime, filters: JobFilter = _ALL) -> Stats:
        """What came of the jobs that ended between two moments, and how long they took."""
        asked = _conditions(filters)
        with self._snapshot() as connection:
            ended, processed = read_ended(connection, since, asked), read_processed(connection, since, asked)
        return summarise(ended, processed, since, until)

    def service(self) -> dict[str, str]:
        """What the daemon says of itself; ``paused`` is ``"1"`` or ``"0"``."""
        with self._snapshot() as connection:
            return {row.key: row.value for row in connection.execute(select(service))}

    def request(self, request_id: int) -> Request | None:
        """Something asked, and its answer once there is one."""
        with self._snapshot() as connection:
            row = connection.execute(select_requests().where(requests.c.id == request_id)).first()
            return None if row is None else to_request(row)

    def refused_unseen(self, since: datetime, seen_within_s: float) -> list[Request]:
        """Requests that were refused since then, and later than anybody waits for an answer; newest first."""
        refused = select_requests().where(requests.c.error_code.is_not(None), requests.c.finished_at >= since)
        with self._snapshot() as connection:
            rows = connection.execute(refused.order_by(None).order_by(requests.c.id.desc()).limit(REFUSED_LOOKED_AT))
            found = [to_request(row) for row in rows]
        wait = timedelta(seconds=seen_within_s)
        return [request for request in found if request.finished_at and request.finished_at > request.created_at + wait]

    def is_paused(self) -> bool:
        """Whether no job is begun for now."""
        with self._snapshot() as connection:
            said = connection.execute(select(service.c.value).where(service.c.key == PAUSED)).scalar()
        return said == "1"

    def daemon_is_running(self) -> bool:
        """Whether a daemon has this ledger now."""
        return is_held(self._path)

    def _snapshot(self) -> AbstractContextManager[Connection]:
        return transaction(self._engine, self._path)


_WITH_CODE: Final = frozenset({JobState.FAILED, JobState.QUARANTINED})


def _page(filters: JobFilter, limit: int, after: PageKey | None) -> Select[Any]:
    """The ids of a page.

    A state at a time: only so does SQLite walk the index of lists newest first, read nothing else, and stop in time.
    """
    conditions = _conditions(filters)
    if after is not None:
        conditions.append(jobs.c.id < after.before_job_id)
    newest = select(jobs.c.id).where(*conditions).order_by(jobs.c.id.desc()).limit(limit)
    every = _WITH_CODE if filters.code is not None else frozenset(JobState) if _is_in_listing(filters) else frozenset()
    states = filters.states or every
    if not states:
        return newest
    by_state = (newest.where(jobs.c.state == state).subquery() for state in sorted(states))
    merged = union_all(*(select(part.c.id) for part in by_state)).subquery()
    return select(merged.c.id).order_by(merged.c.id.desc()).limit(limit)


def _is_in_listing(filters: JobFilter) -> bool:
    """Whether the index of lists can answer; verdict, review and master have better ones."""
    if filters.verdicts or filters.review is not None or filters.master is not None:
        return False
    return any(value is not None for value in (filters.title, filters.language, filters.since, filters.priority))


def _conditions(filters: JobFilter) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if filters.verdicts:
        conditions.append(jobs.c.verdict.in_(sorted(filters.verdicts)))
    if filters.review is not None:
        # Written out, for only then is the partial index taken.
        conditions.append(jobs.c.review == literal(int(filters.review), literal_execute=True))
    if filters.title is not None:
        conditions.append(func.instr(jobs.c.title_folded, readable(filters.title).casefold()) > 0)
    if filters.language is not None:
        conditions.append(jobs.c.language == filters.language)
    if filters.since is not None:
        conditions.append(jobs.c.enqueued_at >= filters.since)
    if filters.master is not None:
        conditions.append(jobs.c.master_id.in_(select(media.c.id).where(media.c.path == filters.master)))
    if filters.priority is not None:
        conditions.append(jobs.c.priority == filters.priority)
    if filters.profile is not None:
        conditions.append(jobs.c.profile == filters.profile)
    if filters.code is not None:
        conditions.append(jobs.c.error_code == filters.code)
    return conditions
