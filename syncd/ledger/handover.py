"""What hand-over reads and keeps: which jobs have ended since, whose files may go, and that they have gone.

How far hand-over has come is one number of an event; what is being moved is one row: both lie in `service`. Each
function runs inside its caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, func, or_, select, update

from syncd.domain import AnalysisSettings, FileMove, FileStamp, JobState, MediaFile, Moving, Pair, Priority
from syncd.ledger.columns import from_json, readable_path
from syncd.ledger.enqueue import Order, place_key, record_file
from syncd.ledger.models import events, jobs, media
from syncd.ledger.records import Job, path_from_json, path_to_json
from syncd.ledger.rows import select_files, select_jobs, to_file, to_job
from syncd.ledger.transitions import LIVE, append_event

_ENDS: Final = (JobState.COMPLETED.value, JobState.FAILED.value, JobState.QUARANTINED.value)
"""The verbs, which are called like the states they lead to."""
_ENDED: Final = (
    select(events.c.id, events.c.job_id)
    .where(events.c.id > bindparam("after"), events.c.verb.in_(_ENDS), events.c.job_id.is_not(None))
    .order_by(events.c.id)
    .limit(bindparam("count"))
)


@dataclass(frozen=True, slots=True)
class EndedEvent:
    """A job that reached its end."""

    event_id: int
    job_id: int


@dataclass(frozen=True, slots=True)
class Side:
    """The master or the dub of an ended job."""

    media_id: int
    file: MediaFile
    is_wanted: bool
    """Whether a job that waits or runs needs it."""
    sidecars: tuple[Path, ...]
    """Of all jobs of which it is the dub."""
    dubs: tuple[Path, ...]
    """Of all jobs of which it is the master."""


@dataclass(frozen=True, slots=True)
class HandoverSubject:
    """An ended job, with its two sides."""

    job: Job
    master: Side
    dub: Side


def last_event_id(connection: Connection) -> int:
    """0 where there is none."""
    return int(connection.scalar(select(func.max(events.c.id))) or 0)


def ended_after(connection: Connection, event_id: int, limit: int) -> list[EndedEvent]:
    """The jobs whose end was recorded later than that, in order."""
    rows = connection.execute(_ENDED, {"after": event_id, "count": limit})
    return [EndedEvent(row.id, row.job_id) for row in rows]


def subject(connection: Connection, job_id: int) -> HandoverSubject | None:
    """None: the job is gone."""
    row = connection.execute(select_jobs().where(jobs.c.id == job_id)).first()
    if row is None:
        return None
    return HandoverSubject(to_job(row), _side(connection, row.master_id), _side(connection, row.dub_id))


def _side(connection: Connection, media_id: int) -> Side:
    file = to_file(connection.execute(select_files().where(media.c.id == media_id)).one())
    of_path = select(media.c.id).where(media.c.path == file.path)
    is_wanted = connection.execute(
        select(jobs.c.id)
        .where(jobs.c.state.in_(LIVE), or_(jobs.c.master_id.in_(of_path), jobs.c.dub_id.in_(of_path)))
        .limit(1)
    ).first()
    sidecars = connection.scalars(
        select(jobs.c.sidecar_path).where(jobs.c.dub_id == media_id, jobs.c.sidecar_path.is_not(None))
    )
    dubs = connection.scalars(
        select(media.c.path).join(jobs, jobs.c.dub_id == media.c.id).where(jobs.c.master_id == media_id)
    )
    return Side(media_id, file, is_wanted is not None, tuple(sidecars), tuple(dict.fromkeys(dubs)))


def moving_to_json(moving: Moving) -> str:
    """For the row that says what is being moved."""
    files = [
        {"from": path_to_json(move.source), "to": path_to_json(move.target), "stamp": [move.size_bytes, move.mtime_ns]}
        for move in moving.files
    ]
    return json.dumps({"job": moving.job_id, "media": moving.media_id, "files": files})


def moving_from_json(text: str) -> Moving:
    """The inverse."""
    value = json.loads(text)
    files = (
        FileMove(path_from_json(each["from"]), path_from_json(each["to"]), *each["stamp"]) for each in value["files"]
    )
    return Moving(value["job"], value["media"], tuple(files))


def follow(connection: Connection, moving: Moving, stamps: Mapping[Path, FileStamp], now: datetime) -> None:
    """The ledger's paths go where the files went; `stamps`: what is there now, by the new paths."""
    targets = {move.source: move.target for move in moving.files if move.target in stamps}
    if not targets:
        return  # Somebody took them away in the middle.
    row = connection.execute(select_files().add_columns(media.c.info).where(media.c.id == moving.media_id)).first()
    if row is not None:
        _follow_media(connection, moving, to_file(row), targets, stamps, now)
    for source, target in targets.items():
        connection.execute(
            update(jobs)
            .where(jobs.c.sidecar_path == source)
            .values(sidecar_path=target, sidecar_path_text=readable_path(target))
        )
    state = connection.scalar(select(jobs.c.state).where(jobs.c.id == moving.job_id))
    if state is not None:
        source, target = next(iter(targets.items()))
        details = {"from": readable_path(source), "to": readable_path(target)}
        append_event(
            connection,
            "moved",
            now,
            job_id=moving.job_id,
            before=JobState(state),
            after=JobState(state),
            details=details,
        )


def _follow_media(
    connection: Connection,
    moving: Moving,
    file: MediaFile,
    targets: Mapping[Path, Path],
    stamps: Mapping[Path, FileStamp],
    now: datetime,
) -> None:
    moved = _moved(file, targets, stamps)
    if moved.path == file.path:
        return  # Followed before.
    info = connection.scalar(select(media.c.info).where(media.c.id == moving.media_id))
    new_id = record_file(connection, moved, now)
    connection.execute(update(media).where(media.c.id == new_id).values(info=info))
    connection.execute(update(media).where(media.c.id == moving.media_id).values(is_current=0))
    sides = [(jobs.c.master_id, "master_id"), (jobs.c.dub_id, "dub_id")]
    ids = list(connection.scalars(select(jobs.c.id).where(or_(*(column == moving.media_id for column, _ in sides)))))
    for column, name in sides:
        connection.execute(update(jobs).where(column == moving.media_id).values({name: new_id}))
    for job_id in ids:
        _place_anew(connection, job_id)


def _moved(file: MediaFile, targets: Mapping[Path, Path], stamps: Mapping[Path, FileStamp]) -> MediaFile:
    stems = tuple(
        replace(
            stem,
            path=targets.get(stem.path, stem.path),
            stamp=stamps.get(targets.get(stem.path, stem.path), stem.stamp),
        )
        for stem in file.stems
    )
    path = targets.get(file.path, file.path)
    return replace(file, path=path, stamp=stamps.get(path, file.stamp), stems=stems)


def _place_anew(connection: Connection, job_id: int) -> None:
    row = connection.execute(select(jobs).where(jobs.c.id == job_id)).one()
    master, dub = (
        to_file(connection.execute(select_files().where(media.c.id == media_id)).one())
        for media_id in (row.master_id, row.dub_id)
    )
    pair = Pair(row.title, master, dub, row.language, row.master_track, row.dub_track)
    order = Order(pair, row.profile, from_json(row.settings, AnalysisSettings), Priority(row.priority), row.origin)
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(place_key=place_key(order)))
