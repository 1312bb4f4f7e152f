"""The tables as the code sees them; private to the ledger. `migrations/` makes them, and a test holds both together.

Triggers and views live in `migrations/` alone: nothing here reads them.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from sqlalchemy import (
    REAL,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from syncd.domain import JobState, OrphanReason, Priority, Verdict
from syncd.ledger.columns import Moment, PathBytes, ReadableText, Unsigned64
from syncd.ledger.records import AttemptOutcome, RequestKind
from syncd.ledger.stems import StemsText

metadata: Final = MetaData()

_FINITE: Final = "BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308"
_LIVE: Final = "state IN ('queued', 'running')"


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} IN ({', '.join(repr(value.value) for value in values)})"


def _check(table: str, name: str, rule: str) -> CheckConstraint:
    return CheckConstraint(text(rule), name=f"ck_{table}_{name}")


media: Final = Table(
    "media",
    metadata,
    Column("id", Integer, nullable=False),
    Column("path", PathBytes, nullable=False),
    Column("path_text", Text, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("mtime_ns", Integer, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("device", Unsigned64, nullable=False),
    Column("inode", Unsigned64, nullable=False),
    Column("ctime_ns", Integer, nullable=False),
    Column("stamp_size_bytes", Integer, nullable=False),
    Column("stamp_mtime_ns", Integer, nullable=False),
    Column("blocks", Integer, nullable=False),
    Column("is_current", Integer, nullable=False),
    Column("info", Text),
    Column("recorded_at", Moment, nullable=False),
    Column("stems", StemsText),
    PrimaryKeyConstraint("id", name="pk_media"),
    UniqueConstraint("path", "size_bytes", "mtime_ns", "fingerprint", name="uq_media_version"),
    _check("media", "size", "size_bytes >= 0 AND stamp_size_bytes >= 0"),
    _check("media", "is_current", "is_current IN (0, 1)"),
    _check("media", "info", "info IS NULL OR json_valid(info)"),
    _check("media", "stems", "stems IS NULL OR json_valid(stems)"),
    Index("uq_media_current", "path", unique=True, sqlite_where=text("is_current = 1")),
    sqlite_strict=True,
)

jobs: Final = Table(
    "jobs",
    metadata,
    Column("id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("title", ReadableText, nullable=False),
    Column("title_folded", ReadableText, nullable=False),
    Column("language", ReadableText),
    Column("master_id", Integer, nullable=False),
    Column("dub_id", Integer, nullable=False),
    Column("master_track", Integer),
    Column("dub_track", Integer),
    Column("profile", ReadableText, nullable=False),
    Column("settings", Text, nullable=False),
    Column("analysis_version", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    # Who it is: the place (paths, tracks, profile) and the version (contents, tracks, language, profile, analysis).
    Column("place_key", Text, nullable=False),
    Column("version_key", Text, nullable=False),
    Column("priority", Text, nullable=False),
    Column("rank_at", REAL, nullable=False),
    Column("enqueued_at", Moment, nullable=False),
    Column("not_before", Moment),
    Column("started_at", Moment),
    Column("finished_at", Moment),
    Column("attempts", Integer, nullable=False, server_default=text("0")),
    Column("interruptions", Integer, nullable=False, server_default=text("0")),
    Column("lease_token", Text),
    Column("device", Text),
    Column("stage", ReadableText),
    Column("stage_done", Integer),
    Column("stage_total", Integer),
    Column("stage_text", ReadableText),
    Column("stage_at", Moment),
    Column("eta_s", REAL),
    Column("verdict", Text),
    Column("review", Integer),
    Column("offset_s", REAL),
    Column("confidence", REAL),
    Column("error_code", Text),
    Column("error_message", ReadableText),
    Column("error_details", Text),
    Column("sidecar_path", PathBytes),
    Column("sidecar_path_text", Text),
    Column("superseded_by", Integer),
    PrimaryKeyConstraint("id", name="pk_jobs"),
    ForeignKeyConstraint(["master_id"], ["media.id"], name="fk_jobs_master"),
    ForeignKeyConstraint(["dub_id"], ["media.id"], name="fk_jobs_dub"),
    ForeignKeyConstraint(["superseded_by"], ["jobs.id"], name="fk_jobs_superseded_by", ondelete="SET NULL"),
    _check("jobs", "state", _one_of("state", JobState)),
    _check("jobs", "priority", _one_of("priority", Priority)),
    _check("jobs", "verdict", _one_of("verdict", Verdict)),
    _check("jobs", "lease", "(state = 'running') = (lease_token IS NOT NULL)"),
    _check("jobs", "finished", f"({_LIVE}) = (finished_at IS NULL)"),
    _check("jobs", "completed", "(state = 'completed') = (verdict IS NOT NULL)"),
    _check("jobs", "failed", "state NOT IN ('failed', 'quarantined') OR error_code IS NOT NULL"),
    _check("jobs", "tracks", "(master_track IS NULL OR master_track >= 0) AND (dub_track IS NULL OR dub_track >= 0)"),
    _check("jobs", "counts", "attempts >= 0 AND interruptions >= 0"),
    _check("jobs", "rank_at", f"rank_at {_FINITE}"),
    _check("jobs", "eta_s", "eta_s BETWEEN 0.0 AND 1.7976931348623157e308"),
    _check("jobs", "review", "review IN (0, 1)"),
    _check("jobs", "offset_s", f"offset_s {_FINITE}"),
    _check("jobs", "confidence", "confidence BETWEEN 0.0 AND 1.0"),
    _check("jobs", "settings", "json_valid(settings)"),
    _check("jobs", "superseded_by", "superseded_by <> id"),
    # `state` says nothing here, but without it SQLite takes the next index and sorts the whole queue.
    Index("ix_jobs_ready", "state", "rank_at", "id", sqlite_where=text("state = 'queued'")),
    # All that lists are filtered by: what few rows match is found without reading the others.
    Index("ix_jobs_listing", "state", "id", "title_folded", "language", "priority", "enqueued_at"),
    Index("uq_jobs_live_place", "place_key", unique=True, sqlite_where=text(_LIVE)),
    Index("uq_jobs_live_version", "version_key", unique=True, sqlite_where=text(_LIVE)),
    Index("ix_jobs_place", "place_key"),
    Index("ix_jobs_version", "version_key"),
    Index("ix_jobs_verdict", "verdict", "id", sqlite_where=text("verdict IS NOT NULL")),
    Index("ix_jobs_review", "id", sqlite_where=text("review = 1")),
    Index("ix_jobs_master", "master_id"),
    Index("ix_jobs_dub", "dub_id"),
    Index("ix_jobs_superseded_by", "superseded_by", sqlite_where=text("superseded_by IS NOT NULL")),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

attempts: Final = Table(
    "attempts",
    metadata,
    Column("id", Integer, nullable=False),
    Column("job_id", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("device", Text, nullable=False),
    Column("predicted_ram_bytes", Integer, nullable=False),
    Column("peak_ram_bytes", Integer),
    Column("started_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("outcome", Text),
    Column("reason", ReadableText),
    Column("error_code", Text),
    Column("error_message", ReadableText),
    Column("error_details", Text),
    Column("rung", Integer, nullable=False, server_default=text("0")),
    Column("stage", ReadableText),
    Column("stack", ReadableText),
    Column("predicted_vram_bytes", Integer, nullable=False, server_default=text("0")),
    Column("peak_vram_bytes", Integer),
    PrimaryKeyConstraint("id", name="pk_attempts"),
    ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_attempts_job", ondelete="CASCADE"),
    _check("attempts", "number", "number >= 1"),
    _check("attempts", "outcome", _one_of("outcome", AttemptOutcome)),
    _check("attempts", "finished", "(finished_at IS NULL) = (outcome IS NULL)"),
    _check("attempts", "rung", "rung BETWEEN 0 AND 3"),
    Index("ix_attempts_job", "job_id", "id"),
    Index("uq_attempts_open", "job_id", unique=True, sqlite_where=text("finished_at IS NULL")),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

events: Final = Table(
    "events",
    metadata,
    Column("id", Integer, nullable=False),
    Column("job_id", Integer),
    Column("attempt_id", Integer),
    Column("at", Moment, nullable=False),
    Column("verb", Text, nullable=False),
    Column("state_before", Text),
    Column("state_after", Text),
    Column("details", Text, nullable=False),
    PrimaryKeyConstraint("id", name="pk_events"),
    ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_events_job", ondelete="CASCADE"),
    _check("events", "state_before", _one_of("state_before", JobState)),
    _check("events", "state_after", _one_of("state_after", JobState)),
    _check("events", "details", "json_valid(details)"),
    Index("ix_events_job", "job_id", "id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

reports: Final = Table(
    "reports",
    metadata,
    Column("job_id", Integer, nullable=False),
    Column("methods", Text, nullable=False),
    Column("report", Text),
    Column("updated_at", Moment, nullable=False),
    PrimaryKeyConstraint("job_id", name="pk_reports"),
    ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_reports_job", ondelete="CASCADE"),
    _check("reports", "methods", "json_valid(methods)"),
    _check("reports", "report", "report IS NULL OR json_valid(report)"),
    sqlite_strict=True,
)

requests: Final = Table(
    "requests",
    metadata,
    Column("id", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("payload", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("finished_at", Moment),
    Column("outcome", Text),
    Column("error_code", Text),
    Column("error_message", ReadableText),
    Column("error_details", Text),
    PrimaryKeyConstraint("id", name="pk_requests"),
    _check("requests", "kind", _one_of("kind", RequestKind)),
    _check("requests", "payload", "json_valid(payload)"),
    _check("requests", "outcome", "outcome IS NULL OR json_valid(outcome)"),
    _check("requests", "answered", "finished_at IS NOT NULL OR (outcome IS NULL AND error_code IS NULL)"),
    Index("ix_requests_pending", "id", sqlite_where=text("finished_at IS NULL")),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

orphans: Final = Table(
    "orphans",
    metadata,
    Column("media_id", Integer, nullable=False),
    Column("path", PathBytes, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message", ReadableText, nullable=False),
    Column("since", Moment, nullable=False),
    PrimaryKeyConstraint("path", name="pk_orphans"),
    ForeignKeyConstraint(["media_id"], ["media.id"], name="fk_orphans_media"),
    _check("orphans", "reason", _one_of("reason", OrphanReason)),
    Index("ix_orphans_media", "media_id"),
    sqlite_strict=True,
)

memory_observations: Final = Table(
    "memory_observations",
    metadata,
    Column("id", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("device", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("predicted_ram_bytes", Integer, nullable=False),
    Column("peak_ram_bytes", Integer, nullable=False),
    Column("duration_s", REAL, nullable=False),
    Column("channels", Integer, nullable=False),
    Column("methods", Text, nullable=False),
    Column("predicted_vram_bytes", Integer, nullable=False),
    Column("peak_vram_bytes", Integer, nullable=False),
    Column("model", Text),
    Column("ran_out", Integer, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("id", name="pk_memory_observations"),
    _check("memory_observations", "duration_s", f"duration_s {_FINITE}"),
    _check("memory_observations", "methods", "json_valid(methods)"),
    _check("memory_observations", "model", "model IS NULL OR json_valid(model)"),
    _check("memory_observations", "ran_out", "ran_out IN (0, 1)"),
    sqlite_strict=True,
)

stage_pauses: Final = Table(
    "stage_pauses",
    metadata,
    Column("id", Integer, nullable=False),
    Column("at", Moment, nullable=False),
    Column("stage", Text, nullable=False),
    Column("longest_s", REAL, nullable=False),
    Column("duration_s", REAL, nullable=False),
    PrimaryKeyConstraint("id", name="pk_stage_pauses"),
    _check("stage_pauses", "longest_s", "longest_s BETWEEN 0.0 AND 1.7976931348623157e308"),
    _check("stage_pauses", "duration_s", "duration_s BETWEEN 0.0 AND 1.7976931348623157e308"),
    Index("ix_stage_pauses_stage", "stage", "id"),
    sqlite_strict=True,
    sqlite_autoincrement=True,
)

PAUSED: Final = "paused"
"""The row of `service` that says whether jobs are admitted."""
service: Final = Table(
    "service",
    metadata,
    Column("key", Text, nullable=False),
    Column("value", ReadableText, nullable=False),
    Column("updated_at", Moment, nullable=False),
    PrimaryKeyConstraint("key", name="pk_service"),
    sqlite_strict=True,
)
