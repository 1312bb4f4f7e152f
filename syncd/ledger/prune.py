"""Retention: which ended jobs leave the ledger.

A job goes when it ended long enough ago *and* is not among the newest. It stays, however old, while it says that the
files which lie there now were dealt with: without it they would be measured again. Live jobs never go; attempts, events
and reports go with their jobs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, FromClause, and_, delete, exists, or_, select, tuple_
from sqlalchemy import literal as value_of

from syncd.clock import monotonic_s, utc_now
from syncd.domain import FINAL_STATES
from syncd.ledger.columns import Moment
from syncd.ledger.enqueue import SPEAKS_FOR_ITS_VERSION
from syncd.ledger.file import LedgerFile
from syncd.ledger.models import jobs, media, orphans
from syncd.ledger.rows import DUBS, MASTERS

MAX_DAYS: Final = 36_500
AT_ONCE: Final = 100
"""Jobs that one step looks at."""
_LAST_ID: Final = 2**63 - 1

_pointing: Final = jobs.alias("pointing")
_HAS_ENDED: Final = jobs.c.state.in_(sorted(FINAL_STATES))
_SPEAKS: Final = and_(SPEAKS_FOR_ITS_VERSION, MASTERS.c.is_current == 1, DUBS.c.is_current == 1)


class PruneRule(msgspec.Struct, frozen=True):
    """What goes: what fulfils every condition that is set."""

    older_than_days: Annotated[float, msgspec.Meta(ge=0.0, le=MAX_DAYS)] | None = None
    """Ended longer ago than this."""
    keep: Annotated[int, msgspec.Meta(ge=0, le=2**31)] | None = None
    """Not among so many that ended last."""


@dataclass(frozen=True, slots=True)
class Pruning:
    """How far a walk through the ledger has come."""

    before: tuple[datetime, int] | None
    """Jobs that ended before this, or then with a lower number, may go; None: none may."""
    after_job_id: int = 0
    removed: int = 0
    is_done: bool = False


@dataclass(frozen=True, slots=True)
class Candidate:
    """An ended job that is old enough."""

    job_id: int
    paths: tuple[Path, Path] | None
    """Of its files, if it speaks for their newest versions."""


CLOCK_SLACK: Final = timedelta(hours=1)


def believed_now(wall: datetime, last_trace: datetime, since_open_s: float) -> datetime:
    """What time it is at most, by more than the wall clock, which may be ahead for a while and be set back later.

    The ledger's last trace from before it was opened, and the time for which it has been open, speak for that much.
    What a service does not live through counts little, so that jobs stay longer rather than too short.
    """
    return min(wall, last_trace + timedelta(seconds=since_open_s) + CLOCK_SLACK)


class Pruner:
    """`Ledger.pruning`: ended jobs go by a rule, in many steps."""

    def __init__(self, file: LedgerFile, last_trace: datetime) -> None:
        """`last_trace`: the ledger's, from before it was opened."""
        self._file = file
        self._last_trace = last_trace
        self._opened_at_s = monotonic_s()

    def begin(self, rule: PruneRule, *, doubts_clock: bool = False) -> Pruning:
        """The first step, which removes nothing yet.

        `doubts_clock`: one that is far ahead of all that is known of the time does not count (`believed_now`).
        """
        now = utc_now()
        if doubts_clock:
            now = believed_now(now, self._last_trace, monotonic_s() - self._opened_at_s)
        with self._file.reading() as connection:
            return _begin(connection, rule, now)

    def step(self, pruning: Pruning, limit: int = AT_ONCE) -> Pruning:
        """The next one, which looks at `limit` jobs at most."""
        seen = self.candidates(pruning, limit)
        return self.remove(pruning, seen, may_go(seen), limit)

    def candidates(self, pruning: Pruning, limit: int = AT_ONCE) -> list[Candidate]:
        """The next step's jobs: `may_go` says which of them go, `remove` removes them."""
        with self._file.reading() as connection:
            return _candidates(connection, pruning, limit)

    def remove(self, pruning: Pruning, seen: list[Candidate], going: list[int], limit: int = AT_ONCE) -> Pruning:
        """Of the jobs seen in this step those that go; the last step clears files of no job away."""
        after = _gone_on(pruning, seen, len(going), limit=limit)
        if going or after.is_done:
            with self._file.writing() as connection:
                _remove(connection, going)
                if after.is_done:
                    _remove_old_files(connection)
        return after


def _begin(connection: Connection, rule: PruneRule, now: datetime) -> Pruning:
    """Where the walk ends: every job that ended before goes, unless something keeps it."""
    bounds: list[tuple[datetime, int] | None] = []
    if rule.older_than_days is not None:
        bounds.append((now - timedelta(days=rule.older_than_days), _LAST_ID))
    if rule.keep is not None:
        bounds.append(_bound_of_newest(connection, rule.keep, now))
    earliest = [bound for bound in bounds if bound is not None]
    if not earliest or len(earliest) < len(bounds):
        return Pruning(None, is_done=True)
    return Pruning(min(earliest))


def _bound_of_newest(connection: Connection, keep: int, now: datetime) -> tuple[datetime, int] | None:
    """The oldest of the newest `keep` that ended; None: there are fewer."""
    if keep == 0:
        return now, _LAST_ID  # What ended in this very moment too.
    order = (jobs.c.finished_at.desc(), jobs.c.id.desc())
    oldest = select(jobs.c.finished_at, jobs.c.id).where(_HAS_ENDED).order_by(*order).limit(1).offset(keep - 1)
    row = connection.execute(oldest).first()
    return None if row is None else (row.finished_at, row.id)


def _candidates(connection: Connection, pruning: Pruning, limit: int) -> list[Candidate]:
    """The next ones by number; what a younger one points to waits for it, or that one would speak again."""
    if pruning.before is None:
        return []
    is_pointed_to = exists().where(_pointing.c.superseded_by == jobs.c.id, ~_ended_before(_pointing, pruning.before))
    found = (
        select(jobs.c.id, _SPEAKS.label("speaks"), MASTERS.c.path.label("master"), DUBS.c.path.label("dub"))
        .join(MASTERS, MASTERS.c.id == jobs.c.master_id)
        .join(DUBS, DUBS.c.id == jobs.c.dub_id)
        .where(jobs.c.id > pruning.after_job_id, _HAS_ENDED, _ended_before(jobs, pruning.before), ~is_pointed_to)
        .order_by(jobs.c.id)
        .limit(limit)
    )
    return [Candidate(row.id, (row.master, row.dub) if row.speaks else None) for row in connection.execute(found)]


def may_go(seen: Iterable[Candidate]) -> list[int]:
    """The jobs whose files lie there no more, or in other versions. A disk may take its time."""
    return [each.job_id for each in seen if each.paths is None or not all(map(os.path.lexists, each.paths))]


def _remove(connection: Connection, job_ids: Iterable[int]) -> None:
    """With attempts, events and reports."""
    connection.execute(delete(jobs).where(jobs.c.id.in_(list(job_ids))))


def _remove_old_files(connection: Connection) -> None:
    """Versions of files that are neither the newest nor of any job."""
    is_used = or_(
        exists().where(jobs.c.master_id == media.c.id),
        exists().where(jobs.c.dub_id == media.c.id),
        exists().where(orphans.c.media_id == media.c.id),
    )
    connection.execute(delete(media).where(media.c.is_current == 0, ~is_used))


def _gone_on(pruning: Pruning, seen: list[Candidate], removed: int, *, limit: int) -> Pruning:
    """After a step."""
    last = seen[-1].job_id if seen else pruning.after_job_id
    return replace(pruning, after_job_id=last, removed=pruning.removed + removed, is_done=len(seen) < limit)


def _ended_before(side: FromClause, bound: tuple[datetime, int]) -> ColumnElement[Any]:
    """A live job has not; it has no moment to compare."""
    moment, job_id = bound
    ended = tuple_(side.c.finished_at, side.c.id) < tuple_(value_of(moment, Moment), value_of(job_id))
    return and_(side.c.finished_at.is_not(None), ended)
