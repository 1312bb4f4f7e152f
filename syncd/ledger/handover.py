"""What hand-over reads and keeps: which jobs have ended since, whose files may go, and that they have gone.

How far hand-over has come is one number of an event; what is being moved is one row: both lie in `service`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, bindparam, or_, select, update

from syncd.clock import utc_now
from syncd.domain import FileMove, FileStamp, JobState, MediaFile, Moving
from syncd.ledger.columns import readable_path
from syncd.ledger.enqueue import order_of, place_key, record_file
from syncd.ledger.file import LedgerFile
from syncd.ledger.keep import keep_service_value, service_value
from syncd.ledger.models import events, jobs, media
from syncd.ledger.records import Job, path_from_json, path_to_json
from syncd.ledger.rows import file_of, select_files, select_jobs, to_file, to_job
from syncd.ledger.transitions import LIVE, append_event

_DONE: Final = "handed_over"
"""The event up to which every ended job was handed over."""
_MOVING: Final = "moving"
"""The files that are on their way to another folder."""

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


class HandoverBook:
    """`Ledger.handover`."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def done(self) -> int | None:
        """The event up to which ended jobs were handed over; None: that is switched off."""
        text = self._value(_DONE)
        return int(text) if text else None

    def set_done(self, event_id: int | None) -> None:
        """As `done`."""
        with self._file.writing() as connection:
            keep_service_value(connection, _DONE, "" if event_id is None else str(event_id), utc_now())

    def ended_after(self, event_id: int, limit: int) -> list[EndedEvent]:
        """The jobs that were completed, failed or quarantined since then, in order."""
        with self._file.reading() as connection:
            rows = connection.execute(_ENDED, {"after": event_id, "count": limit})
            return [EndedEvent(row.id, row.job_id) for row in rows]

    def subject(self, job_id: int) -> HandoverSubject | None:
        """The job and its two sides; None: there is no such job any more."""
        with self._file.reading() as connection:
            row = connection.execute(select_jobs().where(jobs.c.id == job_id)).first()
            if row is None:
                return None
            return HandoverSubject(to_job(row), _side(connection, row.master_id), _side(connection, row.dub_id))

    def moving(self) -> Moving | None:
        """The files that were to be moved and of which the ledger does not know that they were."""
        text = self._value(_MOVING)
        return _moving_from_json(text) if text else None

    def begin_moving(self, moving: Moving) -> None:
        """On the disk before any file is touched, so that after a crash it can be finished."""
        with self._file.writing_durably() as connection:
            keep_service_value(connection, _MOVING, _moving_to_json(moving), utc_now())

    def end_moving(self, moving: Moving, stamps: Mapping[Path, FileStamp]) -> None:
        """The paths follow the files; `stamps`: what lies there now, by path."""
        now = utc_now()
        with self._file.writing_durably() as connection:
            _follow(connection, moving, stamps, now)
            keep_service_value(connection, _MOVING, "", now)

    def not_moved(self, job_id: int, reason: str) -> None:
        """Whatever was to be moved lies where it lay, and the job's history says why."""
        now = utc_now()
        with self._file.writing_durably() as connection:
            _tell(connection, job_id, "not_moved", {"reason": reason}, now)
            keep_service_value(connection, _MOVING, "", now)

    def command_failed(self, job_id: int, reason: str) -> None:
        """The job's history says why."""
        with self._file.writing() as connection:
            _tell(connection, job_id, "command_failed", {"reason": reason}, utc_now())

    def _value(self, key: str) -> str:
        with self._file.reading() as connection:
            return service_value(connection, key)


def _side(connection: Connection, media_id: int) -> Side:
    file = file_of(connection, media_id)
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


def _moving_to_json(moving: Moving) -> str:
    """For the row that says what is being moved."""
    files = [
        {"from": path_to_json(move.source), "to": path_to_json(move.target), "stamp": [move.size_bytes, move.mtime_ns]}
        for move in moving.files
    ]
    return json.dumps({"job": moving.job_id, "media": moving.media_id, "files": files})


def _moving_from_json(text: str) -> Moving:
    """The inverse."""
    value = json.loads(text)
    files = (
        FileMove(path_from_json(each["from"]), path_from_json(each["to"]), *each["stamp"]) for each in value["files"]
    )
    return Moving(value["job"], value["media"], tuple(files))


def _follow(connection: Connection, moving: Moving, stamps: Mapping[Path, FileStamp], now: datetime) -> None:
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
    source, target = next(iter(targets.items()))
    _tell(connection, moving.job_id, "moved", {"from": readable_path(source), "to": readable_path(target)}, now)


def _tell(connection: Connection, job_id: int, verb: str, details: Mapping[str, object], now: datetime) -> None:
    """A line in the history of a job that is what it was."""
    state = connection.scalar(select(jobs.c.state).where(jobs.c.id == job_id))
    if state is not None:
        unchanged = JobState(state)
        append_event(connection, verb, now, job_id=job_id, before=unchanged, after=unchanged, details=details)


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
    master, dub = file_of(connection, row.master_id), file_of(connection, row.dub_id)
    place = place_key(order_of(row, master, dub, origin=row.origin))
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(place_key=place))
