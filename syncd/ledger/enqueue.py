"""A pair becomes a job, once: which jobs are the same, and which one takes whose place.

Two keys say who a job is. The *place* is where it lies: both paths, tracks, profile. The *version* is what it would
measure: both contents, tracks, language (it chooses the track where none is named), profile. Same version: the same
job, wherever it lies now. Same place, other version: the newer one takes the older one's place. Which analysis measures
it is no part of either: a newer one must not measure whole archives again at the next start.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from syncd.domain import (
    ANALYSIS_VERSION,
    AnalysisSettings,
    JobState,
    MediaFile,
    Pair,
    Priority,
)
from syncd.errors import ErrorCode
from syncd.ledger.columns import PathBytes, from_json, readable, readable_path, to_json
from syncd.ledger.models import events, jobs, media, orphans
from syncd.ledger.records import AttemptOutcome, Enqueued, FoundAgain
from syncd.ledger.rows import AnyRow, select_files, to_file
from syncd.ledger.transitions import LIVE, append_event, drop_live

KEY_VERSION: Final = 1
"""Of what a version key is made of. With another one every pair in every archive is measured again."""

HEAD_START: Final = {
    Priority.HIGH: timedelta(hours=1),
    Priority.NORMAL: timedelta(0),
    Priority.LOW: timedelta(hours=-1),
}
"""By how much a job is ranked as if it had come earlier: a low one waits two hours longer than a high one, not for
ever."""

_GONE: Final = (ErrorCode.FILE_NOT_FOUND.value, ErrorCode.FILE_CHANGED.value)
"""Failures that say nothing about the files as they are now."""

# Thousands of pairs are enqueued again at every start: building these statements each time would cost most of it.
_CURRENT_FILE: Final = (
    select_files()
    .add_columns(media.c.id)
    .where(media.c.path == bindparam("path", type_=PathBytes), media.c.is_current == 1)
)
_RETIRE_FILE: Final = (
    update(media)
    .where(media.c.path == bindparam("old_path", type_=PathBytes), media.c.is_current == 1)
    .values(is_current=0)
)
_LATEST: Final = ("device", "inode", "ctime_ns", "stamp_size_bytes", "stamp_mtime_ns", "blocks", "is_current", "stems")
_insert_file: Final = upsert(media)
_KEEP_FILE: Final = _insert_file.on_conflict_do_update(
    index_elements=["path", "size_bytes", "mtime_ns", "fingerprint"],
    set_={name: _insert_file.excluded[name] for name in _LATEST},
).returning(media.c.id)
FORGET_ORPHANS: Final = delete(orphans).where(
    or_(
        orphans.c.path == bindparam("master_path", type_=PathBytes),
        orphans.c.path == bindparam("dub_path", type_=PathBytes),
    )
)
_IS_LIVE: Final = jobs.c.state.in_(LIVE)
SPEAKS_FOR_ITS_VERSION: Final = or_(
    _IS_LIVE,
    and_(
        jobs.c.state != JobState.SUPERSEDED,
        jobs.c.superseded_by.is_(None),
        or_(jobs.c.error_code.is_(None), jobs.c.error_code.not_in(_GONE)),
    ),
)
"""A job that keeps its versions from being measured again."""
_SAME_VERSION: Final = (
    select(jobs.c.id, jobs.c.place_key, jobs.c.state, jobs.c.sidecar_path)
    .where(jobs.c.version_key == bindparam("version"), SPEAKS_FOR_ITS_VERSION)
    .order_by(_IS_LIVE.desc(), jobs.c.id.desc())
    .limit(1)
)
_IN_PLACE: Final = select(jobs.c.id).where(jobs.c.place_key == bindparam("place"), _IS_LIVE)
_HEARD_OF: Final = (
    select(jobs.c.id)
    .where(or_(jobs.c.version_key == bindparam("version"), jobs.c.place_key == bindparam("place")))
    .limit(1)
)
_WAS_FOUND: Final = (
    select(events.c.id)
    .where(
        events.c.job_id == bindparam("of_job"),
        events.c.verb == "found_again",
        events.c.details == bindparam("here"),
    )
    .limit(1)
)
ELSEWHERE_S: Final = 60.0
"""A place that does not say within this whether a pair still lies there, keeps it."""

INSERT_JOB: Final = insert(jobs).returning(jobs.c.id)


@dataclass(frozen=True, slots=True)
class Order:
    """A pair and how it is to be analysed."""

    pair: Pair
    profile: str
    settings: AnalysisSettings
    priority: Priority
    origin: str


def order_of(row: AnyRow, master: MediaFile, dub: MediaFile, *, origin: str) -> Order:
    """What was ordered once, as a row of `jobs` has it; of these files."""
    pair = Pair(row.title, master, dub, row.language, row.master_track, row.dub_track)
    return Order(pair, row.profile, from_json(row.settings, AnalysisSettings), Priority(row.priority), origin)


def rank_at(enqueued_at: datetime, priority: Priority) -> float:
    """Seconds since the epoch; the smallest is next."""
    return (enqueued_at - HEAD_START[priority]).timestamp()


def rank(connection: Connection, job_id: int, priority: Priority, now: datetime) -> bool:
    """Anew, by the time when it was enqueued; False: there is no such job, or it has ended."""
    row = connection.execute(select(jobs.c.state, jobs.c.enqueued_at).where(jobs.c.id == job_id)).first()
    if row is None or row.state not in LIVE:
        return False
    connection.execute(
        update(jobs).where(jobs.c.id == job_id).values(priority=priority, rank_at=rank_at(row.enqueued_at, priority))
    )
    state = JobState(row.state)
    details = {"priority": priority.value}
    append_event(connection, "ranked", now, job_id=job_id, before=state, after=state, details=details)
    return True


def place_key(order: Order) -> str:
    """Where the job lies, as 32 hex digits."""
    pair = order.pair
    return _digest(
        os.fsencode(pair.master.path), os.fsencode(pair.dub.path), pair.master_track, pair.dub_track, order.profile
    )


def version_key(order: Order) -> str:
    """What the job would measure, as 32 hex digits."""
    pair = order.pair
    return _digest(
        *_content(pair.master),
        *_content(pair.dub),
        pair.master_track,
        pair.dub_track,
        pair.language,
        order.profile,
        KEY_VERSION,
    )


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A queued job for the same versions, which looks for its files in another place."""

    job_id: int
    paths: tuple[Path, ...]
    """Of its master and its dub."""


def deserted_job_id(elsewhere: Elsewhere) -> int | None:
    """The job's, if master or dub lie there no more (a rename); None: both do (a link). A disk may take its time."""
    # Path.exists raises where it may not look.
    is_there = all(os.path.exists(path) for path in elsewhere.paths)  # noqa: PTH110 - as said
    return None if is_there else elsewhere.job_id


@dataclass(frozen=True, slots=True)
class Acquaintance:
    """What the ledger knows of a pair before it is enqueued, and what a disk has to be asked first."""

    is_unheard_of: bool
    """No job, however it ended, is about these versions or lies in their place: is there a report of theirs?"""
    elsewhere: Elsewhere | None = None
    """Is it deserted? (`deserted_job_id`)"""


def acquaintance(connection: Connection, order: Order) -> Acquaintance:
    """Of the pair, in one look."""
    if is_unheard_of(connection, order):
        return Acquaintance(is_unheard_of=True)
    return Acquaintance(is_unheard_of=False, elsewhere=_waits_elsewhere(connection, order))


def _waits_elsewhere(connection: Connection, order: Order) -> Elsewhere | None:
    same = _job_of_version(connection, version_key(order), force=False)
    if same is None or same.place == place_key(order) or same.state is not JobState.QUEUED:
        return None
    paths = select(media.c.path).join(jobs, or_(jobs.c.master_id == media.c.id, jobs.c.dub_id == media.c.id))
    return Elsewhere(same.job_id, tuple(connection.execute(paths.where(jobs.c.id == same.job_id)).scalars()))


def enqueue(
    connection: Connection, order: Order, now: datetime, *, force: bool, deserted_job_id: int | None = None
) -> Enqueued:
    """Record the pair; make a job (-> queued) unless there is one for these versions already.

    `deserted_job_id`: a job whose files were moved away from where it looks for them.
    """
    pair = order.pair
    master_id = record_file(connection, pair.master, now)
    dub_id = record_file(connection, pair.dub, now)
    connection.execute(FORGET_ORPHANS, {"master_path": pair.master.path, "dub_path": pair.dub.path})
    place, version = place_key(order), version_key(order)
    same = _job_of_version(connection, version, force=force)
    queued, running = _clear_place(connection, place, now, keep=None if same is None else same.job_id)
    job_id = _insert(connection, order, (master_id, dub_id), (place, version), now) if same is None else same.job_id
    found, is_spoken_for = None, False
    if same is not None and same.place != place:
        if same.state is JobState.QUEUED and job_id == deserted_job_id:
            _move(connection, job_id, pair, now, file_ids=(master_id, dub_id), place=place)
        else:
            is_spoken_for = same.state in LIVE
            if _is_news(connection, job_id, pair, now, same.state):
                found = FoundAgain(same.state, same.report)
    if same is None or same.place != place:
        _point_on(connection, place, job_id, (*queued, *running))
    return Enqueued(
        job_id,
        created=same is None,
        superseded=queued,
        superseded_running=running,
        found_again=found,
        is_spoken_for=is_spoken_for,
    )


def is_unheard_of(connection: Connection, order: Order) -> bool:
    """Whether no job, however it ended, is about these versions or lies in this place."""
    keys = {"version": version_key(order), "place": place_key(order)}
    return connection.execute(_HEARD_OF, keys).first() is None


def record_file(connection: Connection, file: MediaFile, now: datetime) -> int:
    """The row of this version of this file, made or refreshed, and from now on the path's current one."""
    current = connection.execute(_CURRENT_FILE, {"path": file.path}).first()
    if current is not None and to_file(current) == file:
        return int(current.id)
    connection.execute(_RETIRE_FILE, {"old_path": file.path})
    identity, stamp = file.identity, file.stamp
    row_id = connection.execute(
        _KEEP_FILE,
        {
            "path": file.path,
            "path_text": readable_path(file.path),
            "size_bytes": identity.size_bytes,
            "mtime_ns": identity.mtime_ns,
            "fingerprint": identity.fingerprint,
            "device": stamp.device,
            "inode": stamp.inode,
            "ctime_ns": stamp.ctime_ns,
            "stamp_size_bytes": stamp.size_bytes,
            "stamp_mtime_ns": stamp.mtime_ns,
            "blocks": stamp.blocks,
            "is_current": 1,
            "recorded_at": now,
            "stems": file.stems,
        },
    ).scalar_one()
    return int(row_id)


@dataclass(frozen=True, slots=True)
class _Same:
    job_id: int
    place: str
    state: JobState
    report: Path | None


def _job_of_version(connection: Connection, version: str, *, force: bool) -> _Same | None:
    """The job that speaks for this version: live, or (unless forced) ended and not overtaken since."""
    row = connection.execute(_SAME_VERSION, {"version": version}).first()
    if row is None or (force and row.state not in LIVE):
        return None
    return _Same(row.id, row.place_key, JobState(row.state), row.sidecar_path)


def _clear_place(
    connection: Connection, place: str, now: datetime, *, keep: int | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """queued -> superseded, running -> superseded for what lies in this place; returns which were which."""
    live = connection.execute(_IN_PLACE, {"place": place}).scalars().all()
    queued: list[int] = []
    running: list[int] = []
    for job_id in live:
        if job_id == keep:
            continue
        before = drop_live(connection, job_id, JobState.SUPERSEDED, AttemptOutcome.SUPERSEDED, now)
        (running if before is JobState.RUNNING else queued).append(job_id)
    return tuple(queued), tuple(running)


def _point_on(connection: Connection, place: str, job_id: int, superseded: tuple[int, ...]) -> None:
    """Whoever comes upon an older job of this place finds the newer one."""
    older = and_(jobs.c.place_key == place, jobs.c.id < job_id, jobs.c.state.not_in(LIVE))
    connection.execute(
        update(jobs)
        .where(or_(jobs.c.id.in_(superseded), older), jobs.c.superseded_by.is_(None), jobs.c.id != job_id)
        .values(superseded_by=job_id)
    )


def _move(
    connection: Connection, job_id: int, pair: Pair, now: datetime, *, file_ids: tuple[int, int], place: str
) -> None:
    """queued -> queued: the files were renamed while the job waited."""
    connection.execute(
        update(jobs)
        .where(jobs.c.id == job_id)
        .values(master_id=file_ids[0], dub_id=file_ids[1], place_key=place, **_title(pair))
    )
    state = JobState.QUEUED
    append_event(connection, "moved", now, job_id=job_id, before=state, after=state, details=_where(pair))


def _is_news(connection: Connection, job_id: int, pair: Pair, now: datetime, state: JobState) -> bool:
    """Whether the pair is met in this place for the first time; then the job's history says so from now on."""
    here = _where(pair)
    if connection.execute(_WAS_FOUND, {"of_job": job_id, "here": to_json(here)}).first() is not None:
        return False
    append_event(connection, "found_again", now, job_id=job_id, before=state, after=state, details=here)
    return True


def _where(pair: Pair) -> dict[str, str]:
    return {"master": readable_path(pair.master.path), "dub": readable_path(pair.dub.path)}


def _insert(
    connection: Connection, order: Order, file_ids: tuple[int, int], keys: tuple[str, str], now: datetime
) -> int:
    values = job_values(order, file_ids, keys, now)
    job_id = connection.execute(INSERT_JOB, values).scalar_one()
    append_event(connection, "enqueued", now, job_id=job_id, after=JobState.QUEUED, details={"origin": order.origin})
    return int(job_id)


def job_values(
    order: Order, file_ids: tuple[int, int], keys: tuple[str, str], enqueued_at: datetime
) -> dict[str, object]:
    """The columns that every new job has, as a queued one."""
    pair = order.pair
    return {
        "state": JobState.QUEUED.value,
        **_title(pair),
        "language": pair.language,
        "master_id": file_ids[0],
        "dub_id": file_ids[1],
        "master_track": pair.master_track,
        "dub_track": pair.dub_track,
        "profile": order.profile,
        "settings": to_json(order.settings),
        "analysis_version": ANALYSIS_VERSION,
        "origin": order.origin,
        "place_key": keys[0],
        "version_key": keys[1],
        "priority": order.priority.value,
        "rank_at": rank_at(enqueued_at, order.priority),
        "enqueued_at": enqueued_at,
    }


def _title(pair: Pair) -> dict[str, str]:
    return {"title": pair.title, "title_folded": readable(pair.title).casefold()}


def _content(file: MediaFile) -> tuple[bytes | int | str | None, ...]:
    identity = file.identity
    # Nobody could read the file: then nothing but its name says which one it is.
    unread = os.fsencode(file.path) if not identity.fingerprint else None
    return identity.size_bytes, identity.mtime_ns, identity.fingerprint, unread


def _digest(*parts: bytes | int | str | None) -> str:
    return hashlib.blake2b(repr(parts).encode("ascii", "backslashreplace"), digest_size=16).hexdigest()
