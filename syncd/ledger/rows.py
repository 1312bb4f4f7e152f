"""Rows into records: the only place that reads the columns back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Select, func, select

from syncd.domain import (
    AnalysisSettings,
    Failure,
    FileStamp,
    Identity,
    JobState,
    MediaFile,
    MediaInfo,
    MemoryObservation,
    ModelUse,
    OrphanReason,
    Priority,
    Progress,
    ReadyJob,
    Verdict,
)
from syncd.errors import ErrorCode
from syncd.ledger.columns import from_json
from syncd.ledger.models import attempts, events, jobs, media, memory_observations, orphans, requests
from syncd.ledger.records import Attempt, AttemptOutcome, Event, Job, OrphanRecord, Reported, Request, RequestKind

AnyRow = Row[Any]
Conditions = Sequence[ColumnElement[bool]]

MASTERS: Final = media.alias("master")
DUBS: Final = media.alias("dub")
"""Both sides of a job."""
_FILE_COLUMNS: Final = (
    "path",
    "size_bytes",
    "mtime_ns",
    "fingerprint",
    "device",
    "inode",
    "stamp_size_bytes",
    "stamp_mtime_ns",
    "ctime_ns",
    "blocks",
    "stems",
)
"""In the order of `MediaFile`'s parts."""
_WIDTH: Final = len(_FILE_COLUMNS)


def select_files() -> Select[Any]:
    """What `to_file` reads; further columns may follow."""
    return select(*_file_columns(media))


def to_file(row: Sequence[Any]) -> MediaFile:
    """One version of a file, from the first columns of a row."""
    path, size_bytes, mtime_ns, fingerprint, *stamp, stems = row[:_WIDTH]
    return MediaFile(path, Identity(size_bytes, mtime_ns, fingerprint), FileStamp(*stamp), stems)


def file_of(connection: Connection, media_id: int) -> MediaFile:
    """The version of a file of which a job is."""
    return to_file(connection.execute(select_files().where(media.c.id == media_id)).one())


def select_ready() -> Select[Any]:
    """What `to_ready_job` reads."""
    columns = (*_file_columns(MASTERS), *_file_columns(DUBS))
    infos = (MASTERS.c.info.label("master_info"), DUBS.c.info.label("dub_info"))
    return (
        select(*columns, *infos, jobs)
        .join_from(jobs, MASTERS, MASTERS.c.id == jobs.c.master_id)
        .join(DUBS, DUBS.c.id == jobs.c.dub_id)
    )


def to_ready_job(row: AnyRow) -> ReadyJob:
    """A job that may be claimed."""
    return ReadyJob(
        job_id=row.id,
        title=row.title,
        master=to_file(row),
        dub=to_file(row[_WIDTH:]),
        master_track=row.master_track,
        dub_track=row.dub_track,
        language=row.language,
        profile=row.profile,
        settings=from_json(row.settings, AnalysisSettings),
        priority=Priority(row.priority),
        attempts=row.attempts,
        interruptions=row.interruptions,
        master_info=_to_info(row.master_info),
        dub_info=_to_info(row.dub_info),
        enqueued_at=row.enqueued_at,
    )


def select_jobs() -> Select[Any]:
    """What `to_job` reads."""
    return (
        select(jobs, MASTERS.c.path.label("master_path"), DUBS.c.path.label("dub_path"))
        .join(MASTERS, MASTERS.c.id == jobs.c.master_id)
        .join(DUBS, DUBS.c.id == jobs.c.dub_id)
    )


def to_job(row: AnyRow) -> Job:
    """What people see."""
    return Job(
        job_id=row.id,
        state=JobState(row.state),
        title=row.title,
        language=row.language,
        master_path=row.master_path,
        dub_path=row.dub_path,
        master_track=row.master_track,
        dub_track=row.dub_track,
        profile=row.profile,
        priority=Priority(row.priority),
        origin=row.origin,
        enqueued_at=row.enqueued_at,
        not_before=row.not_before,
        started_at=row.started_at,
        finished_at=row.finished_at,
        attempts=row.attempts,
        interruptions=row.interruptions,
        device=row.device,
        progress=_to_progress(row),
        eta_s=row.eta_s if row.state == JobState.RUNNING else None,
        verdict=None if row.verdict is None else Verdict(row.verdict),
        review=None if row.review is None else bool(row.review),
        offset_s=row.offset_s,
        confidence=row.confidence,
        failure=to_failure(row),
        sidecar_path=row.sidecar_path,
        superseded_by=row.superseded_by,
    )


def select_reported() -> Select[Any]:
    """What `to_reported` reads."""
    columns = (getattr(jobs.c, each.name) for each in fields(Reported) if each.name != "dub_name")
    return select(*columns, DUBS.c.path.label("dub_path")).join(DUBS, DUBS.c.id == jobs.c.dub_id)


def to_reported(row: AnyRow) -> Reported:
    """What an index lists."""
    return Reported(
        title=row.title,
        language=row.language,
        dub_name=row.dub_path.name,
        state=JobState(row.state),
        verdict=None if row.verdict is None else Verdict(row.verdict),
        review=None if row.review is None else bool(row.review),
        offset_s=row.offset_s,
        finished_at=row.finished_at,
        sidecar_path=row.sidecar_path,
    )


def count_by_state(connection: Connection, asked: Conditions = ()) -> dict[JobState, int]:
    """How many jobs stand where, of those of which the conditions hold; every state is there."""
    rows = connection.execute(select(jobs.c.state, func.count()).where(*asked).group_by(jobs.c.state))
    counted = {JobState(state): int(count) for state, count in rows}
    return {state: counted.get(state, 0) for state in JobState}


def select_attempts(job_id: int) -> Select[Any]:
    """What `to_attempt` reads, oldest first."""
    return select(attempts).where(attempts.c.job_id == job_id).order_by(attempts.c.id)


def to_attempt(row: AnyRow) -> Attempt:
    """One claim."""
    return Attempt(
        attempt_id=row.id,
        job_id=row.job_id,
        number=row.number,
        device=row.device,
        predicted_ram_bytes=row.predicted_ram_bytes,
        peak_ram_bytes=row.peak_ram_bytes,
        started_at=row.started_at,
        finished_at=row.finished_at,
        outcome=None if row.outcome is None else AttemptOutcome(row.outcome),
        reason=row.reason,
        failure=to_failure(row),
        rung=row.rung,
        stage=row.stage,
        stack=row.stack,
        predicted_vram_bytes=row.predicted_vram_bytes,
        peak_vram_bytes=row.peak_vram_bytes,
    )


def select_events(job_id: int) -> Select[Any]:
    """What `to_event` reads, oldest first."""
    return select(events).where(events.c.job_id == job_id).order_by(events.c.id)


def to_event(row: AnyRow) -> Event:
    """One line of history."""
    return Event(
        event_id=row.id,
        job_id=row.job_id,
        attempt_id=row.attempt_id,
        at=row.at,
        verb=row.verb,
        state_before=_to_state(row.state_before),
        state_after=_to_state(row.state_after),
        details=json.loads(row.details),
    )


def select_orphans() -> Select[Any]:
    """What `to_orphan` reads, oldest first."""
    return (
        select(orphans, media.c.size_bytes)
        .join(media, media.c.id == orphans.c.media_id)
        .order_by(orphans.c.since, orphans.c.path)
    )


def to_orphan(row: AnyRow) -> OrphanRecord:
    """A file without partner."""
    return OrphanRecord(row.path, OrphanReason(row.reason), row.message, row.size_bytes, row.since)


def select_requests() -> Select[Any]:
    """What `to_request` reads, in the order in which they came."""
    return select(requests).order_by(requests.c.id)


def to_request(row: AnyRow) -> Request:
    """Something asked, and perhaps its answer."""
    return Request(
        request_id=row.id,
        kind=RequestKind(row.kind),
        payload=json.loads(row.payload),
        created_at=row.created_at,
        finished_at=row.finished_at,
        outcome=None if row.outcome is None else json.loads(row.outcome),
        error=to_failure(row),
    )


def select_observations() -> Select[Any]:
    """What `to_observation` reads, newest first."""
    return select(memory_observations).order_by(memory_observations.c.id.desc())


def to_observation(row: AnyRow) -> MemoryObservation:
    """What an attempt took."""
    return MemoryObservation(
        device=row.device,
        kind=row.kind,
        predicted_ram_bytes=row.predicted_ram_bytes,
        peak_ram_bytes=row.peak_ram_bytes,
        duration_s=row.duration_s,
        channels=row.channels,
        methods=tuple(json.loads(row.methods)),
        predicted_vram_bytes=row.predicted_vram_bytes,
        peak_vram_bytes=row.peak_vram_bytes,
        model=None if row.model is None else from_json(row.model, ModelUse),
        ran_out=bool(row.ran_out),
    )


def to_failure(row: AnyRow) -> Failure | None:
    """The three error columns of a job, an attempt or a request."""
    if row.error_code is None:
        return None
    return Failure(ErrorCode(row.error_code), row.error_message, json.loads(row.error_details))


def _file_columns(side: FromClause) -> tuple[ColumnElement[Any], ...]:
    return tuple(side.c[name].label(f"{side.description}_{name}") for name in _FILE_COLUMNS)


def _to_info(text: str | None) -> MediaInfo | None:
    return None if text is None else from_json(text, MediaInfo)


def _to_state(text: str | None) -> JobState | None:
    return None if text is None else JobState(text)


def _to_progress(row: AnyRow) -> Progress | None:
    if row.stage is None or row.state != JobState.RUNNING:
        return None
    at: datetime | None = row.stage_at
    return Progress(row.stage, row.stage_done, row.stage_total, row.stage_text, at)
