"""What the ledger keeps beside the jobs: how far they are, reports, measured memory, what the service says of itself.

Each function runs inside its caller's transaction.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from syncd.domain import Identity, Lease, MediaInfo, MemoryObservation, MethodResult, Orphan, Progress, StagePause
from syncd.ledger.columns import readable, to_json
from syncd.ledger.enqueue import record_file
from syncd.ledger.models import jobs, media, memory_observations, orphans, reports, service, stage_pauses

PAUSES_KEPT: Final = 5_000
"""Of all stages together: some hundred jobs."""

_KEEP_REPORT: Final = upsert(reports)
_REPORT: Final = _KEEP_REPORT.on_conflict_do_update(
    index_elements=["job_id"],
    set_={"report": _KEEP_REPORT.excluded.report, "updated_at": _KEEP_REPORT.excluded.updated_at},
)
_OBSERVE: Final = insert(memory_observations)
_PAUSE: Final = insert(stage_pauses)


def keep_media_info(connection: Connection, path: Path, identity: Identity, info: MediaInfo) -> None:
    """What a probe saw in this version of the file."""
    connection.execute(
        update(media)
        .where(
            media.c.path == path,
            media.c.size_bytes == identity.size_bytes,
            media.c.mtime_ns == identity.mtime_ns,
            media.c.fingerprint == identity.fingerprint,
        )
        .values(info=to_json(info))
    )


def keep_progress(connection: Connection, lease: Lease, progress: Progress, eta_s: float | None, now: datetime) -> bool:
    """How far the job is; False: the lease holds no more."""
    changed = connection.execute(
        update(jobs)
        .where(_holds(lease))
        .values(
            stage=progress.stage,
            stage_done=progress.done,
            stage_total=progress.total,
            stage_text=progress.text,
            stage_at=progress.at or now,
            eta_s=eta_s,
        )
    )
    return changed.rowcount == 1


def keep_method(connection: Connection, lease: Lease, result: MethodResult, now: datetime) -> bool:
    """A method's answer, in the place of an earlier one of the same method; False: the lease holds no more.

    Raises `ValueError` on NaN.
    """
    if connection.execute(select(jobs.c.id).where(_holds(lease))).first() is None:
        return False
    job_id = lease.job_id
    known = connection.execute(select(reports.c.methods).where(reports.c.job_id == job_id)).scalar()
    others = [item for item in json.loads(known or "[]") if item["method"] != result.method]
    latest = {"methods": to_json([*others, result]), "updated_at": now}
    connection.execute(
        upsert(reports).values(job_id=job_id, **latest).on_conflict_do_update(index_elements=["job_id"], set_=latest)
    )
    return True


def keep_report(connection: Connection, job_id: int, report_json: str, now: datetime) -> None:
    """The whole report, beside what the methods said."""
    kept = {"job_id": job_id, "methods": "[]", "report": readable(report_json), "updated_at": now}
    connection.execute(_REPORT, kept)


def keep_observation(connection: Connection, observation: MemoryObservation, now: datetime) -> None:
    """What a task took."""
    kept = {
        "at": now,
        "device": observation.device,
        "kind": observation.kind,
        "predicted_ram_bytes": observation.predicted_ram_bytes,
        "peak_ram_bytes": observation.peak_ram_bytes,
        "duration_s": observation.duration_s,
        "channels": observation.channels,
        "methods": to_json(observation.methods),
        "predicted_vram_bytes": observation.predicted_vram_bytes,
        "peak_vram_bytes": observation.peak_vram_bytes,
        "model": None if observation.model is None else to_json(observation.model),
        "ran_out": int(observation.ran_out),
    }
    connection.execute(_OBSERVE, kept)


def keep_pauses(connection: Connection, pauses: Sequence[StagePause], now: datetime) -> None:
    """How a job's stages moved; the oldest of all jobs' go."""
    if not pauses:
        return
    connection.execute(_PAUSE, [{"at": now, **asdict(pause)} for pause in pauses])
    newest = connection.scalar(select(func.max(stage_pauses.c.id))) or 0
    connection.execute(delete(stage_pauses).where(stage_pauses.c.id <= newest - PAUSES_KEPT))


def keep_orphan(connection: Connection, orphan: Orphan, now: datetime) -> bool:
    """A file without partner; True when it is new, or says something new."""
    latest = {
        "media_id": record_file(connection, orphan.file, now),
        "reason": orphan.reason.value,
        "message": readable(orphan.message),
    }
    known = connection.execute(
        select(*(orphans.c[name] for name in latest)).where(orphans.c.path == orphan.file.path)
    ).first()
    if known is not None and tuple(known) == tuple(latest.values()):
        return False
    connection.execute(
        upsert(orphans)
        .values(path=orphan.file.path, since=now, **latest)
        .on_conflict_do_update(index_elements=["path"], set_=latest)
    )
    return True


def keep_service_value(connection: Connection, key: str, value: str, now: datetime) -> None:
    """One line of what the daemon says of itself."""
    latest = {"value": value, "updated_at": now}
    connection.execute(
        upsert(service).values(key=key, **latest).on_conflict_do_update(index_elements=["key"], set_=latest)
    )


def service_value(connection: Connection, key: str) -> str:
    """The same line; empty where there is none."""
    return str(connection.execute(select(service.c.value).where(service.c.key == key)).scalar() or "")


def _holds(lease: Lease) -> ColumnElement[bool]:
    return and_(jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token)
