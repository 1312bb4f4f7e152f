# ruff: noqa: INP001 - Alembic loads this by its path; it is no module of a package
"""The ledger as it was first laid. A revision is never changed again: what comes later is a revision of its own."""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0001"
down_revision: Final = None

TABLES: Final = (
    """
    CREATE TABLE media (
        id INTEGER NOT NULL,
        path BLOB NOT NULL,
        path_text TEXT NOT NULL,
        size_bytes INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        device INTEGER NOT NULL,
        inode INTEGER NOT NULL,
        ctime_ns INTEGER NOT NULL,
        stamp_size_bytes INTEGER NOT NULL,
        stamp_mtime_ns INTEGER NOT NULL,
        blocks INTEGER NOT NULL,
        is_current INTEGER NOT NULL,
        info TEXT,
        recorded_at TEXT NOT NULL,
        CONSTRAINT pk_media PRIMARY KEY (id),
        CONSTRAINT uq_media_version UNIQUE (path, size_bytes, mtime_ns, fingerprint),
        CONSTRAINT ck_media_size CHECK (size_bytes >= 0 AND stamp_size_bytes >= 0),
        CONSTRAINT ck_media_is_current CHECK (is_current IN (0, 1)),
        CONSTRAINT ck_media_info CHECK (info IS NULL OR json_valid(info))
    ) STRICT
    """,
    "CREATE UNIQUE INDEX uq_media_current ON media (path) WHERE is_current = 1",
    """
    CREATE TABLE jobs (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL,
        title TEXT NOT NULL,
        title_folded TEXT NOT NULL,
        language TEXT,
        master_id INTEGER NOT NULL,
        dub_id INTEGER NOT NULL,
        master_track INTEGER,
        dub_track INTEGER,
        profile TEXT NOT NULL,
        settings TEXT NOT NULL,
        analysis_version INTEGER NOT NULL,
        origin TEXT NOT NULL,
        place_key TEXT NOT NULL,
        version_key TEXT NOT NULL,
        priority TEXT NOT NULL,
        rank_at REAL NOT NULL,
        enqueued_at TEXT NOT NULL,
        not_before TEXT,
        started_at TEXT,
        finished_at TEXT,
        attempts INTEGER DEFAULT 0 NOT NULL,
        interruptions INTEGER DEFAULT 0 NOT NULL,
        lease_token TEXT,
        device TEXT,
        stage TEXT,
        stage_done INTEGER,
        stage_total INTEGER,
        stage_text TEXT,
        stage_at TEXT,
        eta_s REAL,
        verdict TEXT,
        review INTEGER,
        offset_s REAL,
        confidence REAL,
        error_code TEXT,
        error_message TEXT,
        error_details TEXT,
        sidecar_path BLOB,
        sidecar_path_text TEXT,
        superseded_by INTEGER,
        CONSTRAINT fk_jobs_master FOREIGN KEY(master_id) REFERENCES media (id),
        CONSTRAINT fk_jobs_dub FOREIGN KEY(dub_id) REFERENCES media (id),
        CONSTRAINT fk_jobs_superseded_by FOREIGN KEY(superseded_by) REFERENCES jobs (id) ON DELETE SET NULL,
        CONSTRAINT ck_jobs_state CHECK (state IN ('queued', 'running', 'completed', 'failed', 'quarantined',
            'canceled', 'superseded')),
        CONSTRAINT ck_jobs_priority CHECK (priority IN ('low', 'normal', 'high')),
        CONSTRAINT ck_jobs_verdict CHECK (verdict IN ('inconclusive', 'no_match', 'edited', 'drift', 'offset',
            'in_sync')),
        CONSTRAINT ck_jobs_lease CHECK ((state = 'running') = (lease_token IS NOT NULL)),
        CONSTRAINT ck_jobs_finished CHECK ((state IN ('queued', 'running')) = (finished_at IS NULL)),
        CONSTRAINT ck_jobs_completed CHECK ((state = 'completed') = (verdict IS NOT NULL)),
        CONSTRAINT ck_jobs_failed CHECK (state NOT IN ('failed', 'quarantined') OR error_code IS NOT NULL),
        CONSTRAINT ck_jobs_tracks CHECK ((master_track IS NULL OR master_track >= 0) AND (dub_track IS NULL OR
            dub_track >= 0)),
        CONSTRAINT ck_jobs_counts CHECK (attempts >= 0 AND interruptions >= 0),
        CONSTRAINT ck_jobs_rank_at CHECK (rank_at BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
        CONSTRAINT ck_jobs_eta_s CHECK (eta_s BETWEEN 0.0 AND 1.7976931348623157e308),
        CONSTRAINT ck_jobs_review CHECK (review IN (0, 1)),
        CONSTRAINT ck_jobs_offset_s CHECK (offset_s BETWEEN -1.7976931348623157e308 AND 1.7976931348623157e308),
        CONSTRAINT ck_jobs_confidence CHECK (confidence BETWEEN 0.0 AND 1.0),
        CONSTRAINT ck_jobs_settings CHECK (json_valid(settings)),
        CONSTRAINT ck_jobs_superseded_by CHECK (superseded_by <> id)
    ) STRICT
    """,
    "CREATE INDEX ix_jobs_dub ON jobs (dub_id)",
    "CREATE INDEX ix_jobs_listing ON jobs (state, id, title_folded, language, priority, enqueued_at)",
    "CREATE INDEX ix_jobs_master ON jobs (master_id)",
    "CREATE INDEX ix_jobs_place ON jobs (place_key)",
    "CREATE INDEX ix_jobs_ready ON jobs (state, rank_at, id) WHERE state = 'queued'",
    "CREATE INDEX ix_jobs_review ON jobs (id) WHERE review = 1",
    "CREATE INDEX ix_jobs_superseded_by ON jobs (superseded_by) WHERE superseded_by IS NOT NULL",
    "CREATE INDEX ix_jobs_verdict ON jobs (verdict, id) WHERE verdict IS NOT NULL",
    "CREATE INDEX ix_jobs_version ON jobs (version_key)",
    "CREATE UNIQUE INDEX uq_jobs_live_place ON jobs (place_key) WHERE state IN ('queued', 'running')",
    "CREATE UNIQUE INDEX uq_jobs_live_version ON jobs (version_key) WHERE state IN ('queued', 'running')",
    """
    CREATE TABLE attempts (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER NOT NULL,
        number INTEGER NOT NULL,
        device TEXT NOT NULL,
        predicted_ram_bytes INTEGER NOT NULL,
        peak_ram_bytes INTEGER,
        started_at TEXT NOT NULL,
        finished_at TEXT,
        outcome TEXT,
        reason TEXT,
        error_code TEXT,
        error_message TEXT,
        error_details TEXT,
        CONSTRAINT fk_attempts_job FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_attempts_number CHECK (number >= 1),
        CONSTRAINT ck_attempts_outcome CHECK (outcome IN ('completed', 'failed', 'quarantined', 'retried',
            'handed_back', 'interrupted', 'canceled', 'superseded')),
        CONSTRAINT ck_attempts_finished CHECK ((finished_at IS NULL) = (outcome IS NULL))
    ) STRICT
    """,
    "CREATE INDEX ix_attempts_job ON attempts (job_id, id)",
    "CREATE UNIQUE INDEX uq_attempts_open ON attempts (job_id) WHERE finished_at IS NULL",
    """
    CREATE TABLE events (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        job_id INTEGER,
        attempt_id INTEGER,
        at TEXT NOT NULL,
        verb TEXT NOT NULL,
        state_before TEXT,
        state_after TEXT,
        details TEXT NOT NULL,
        CONSTRAINT fk_events_job FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_events_state_before CHECK (state_before IN ('queued', 'running', 'completed', 'failed',
            'quarantined', 'canceled', 'superseded')),
        CONSTRAINT ck_events_state_after CHECK (state_after IN ('queued', 'running', 'completed', 'failed',
            'quarantined', 'canceled', 'superseded')),
        CONSTRAINT ck_events_details CHECK (json_valid(details))
    ) STRICT
    """,
    "CREATE INDEX ix_events_job ON events (job_id, id)",
    """
    CREATE TABLE reports (
        job_id INTEGER NOT NULL,
        methods TEXT NOT NULL,
        report TEXT,
        updated_at TEXT NOT NULL,
        CONSTRAINT pk_reports PRIMARY KEY (job_id),
        CONSTRAINT fk_reports_job FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_reports_methods CHECK (json_valid(methods)),
        CONSTRAINT ck_reports_report CHECK (report IS NULL OR json_valid(report))
    ) STRICT
    """,
    """
    CREATE TABLE requests (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        payload TEXT NOT NULL,
        created_at TEXT NOT NULL,
        finished_at TEXT,
        outcome TEXT,
        error_code TEXT,
        error_message TEXT,
        error_details TEXT,
        CONSTRAINT ck_requests_kind CHECK (kind IN ('submit', 'retry', 'cancel', 'priority', 'pause', 'resume')),
        CONSTRAINT ck_requests_payload CHECK (json_valid(payload)),
        CONSTRAINT ck_requests_outcome CHECK (outcome IS NULL OR json_valid(outcome)),
        CONSTRAINT ck_requests_answered CHECK (finished_at IS NOT NULL OR (outcome IS NULL AND error_code IS NULL)))
            STRICT
    """,
    "CREATE INDEX ix_requests_pending ON requests (id) WHERE finished_at IS NULL",
    """
    CREATE TABLE orphans (
        media_id INTEGER NOT NULL,
        path BLOB NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        since TEXT NOT NULL,
        CONSTRAINT pk_orphans PRIMARY KEY (path),
        CONSTRAINT fk_orphans_media FOREIGN KEY(media_id) REFERENCES media (id),
        CONSTRAINT ck_orphans_reason CHECK (reason IN ('no_master', 'no_dub', 'no_role', 'ambiguous_pair'))
    ) STRICT
    """,
    "CREATE INDEX ix_orphans_media ON orphans (media_id)",
    """
    CREATE TABLE memory_observations (
        id INTEGER NOT NULL,
        at TEXT NOT NULL,
        device TEXT NOT NULL,
        kind TEXT NOT NULL,
        predicted_ram_bytes INTEGER NOT NULL,
        peak_ram_bytes INTEGER NOT NULL,
        duration_s REAL NOT NULL,
        channels INTEGER NOT NULL,
        methods TEXT NOT NULL,
        predicted_vram_bytes INTEGER NOT NULL,
        peak_vram_bytes INTEGER NOT NULL,
        CONSTRAINT pk_memory_observations PRIMARY KEY (id),
        CONSTRAINT ck_memory_observations_duration_s CHECK (duration_s BETWEEN -1.7976931348623157e308 AND
            1.7976931348623157e308),
        CONSTRAINT ck_memory_observations_methods CHECK (json_valid(methods))
    ) STRICT
    """,
    """
    CREATE TABLE service (
        "key" TEXT NOT NULL,
        value TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        CONSTRAINT pk_service PRIMARY KEY ("key")
    ) STRICT
    """,
)

RULES: Final = (
    # What no CHECK can say: the way of a job, and that history is only ever written on.
    """
    CREATE TRIGGER jobs_transitions BEFORE UPDATE OF state ON jobs
    WHEN NEW.state <> OLD.state
        AND NOT (OLD.state = 'queued' AND NEW.state IN ('running', 'canceled', 'superseded'))
        AND OLD.state <> 'running'
    BEGIN
        SELECT RAISE(ABORT, 'a job cannot go that way: final states never change');
    END
    """,
    """
    CREATE TRIGGER events_are_never_changed BEFORE UPDATE ON events
    BEGIN
        SELECT RAISE(ABORT, 'events are append-only');
    END
    """,
    """
    CREATE TRIGGER events_go_only_with_their_job BEFORE DELETE ON events
    WHEN OLD.job_id IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = OLD.job_id)
    BEGIN
        SELECT RAISE(ABORT, 'events are append-only');
    END
    """,
)

VIEWS: Final = (
    # For people with sqlite3 or Datasette.
    """
    CREATE VIEW job_summary AS
    SELECT
        jobs.id, jobs.state, jobs.verdict, jobs.title, jobs.language,
        round(jobs.offset_s * 1000.0, 3) AS offset_ms,
        CASE WHEN jobs.offset_s < 0 THEN 'dub is late' WHEN jobs.offset_s > 0 THEN 'dub is early' END AS side,
        round(jobs.confidence, 3) AS confidence,
        CASE jobs.review WHEN 1 THEN 'yes' WHEN 0 THEN 'no' END AS review,
        jobs.error_code, jobs.error_message,
        master.path_text AS master, dub.path_text AS dub, jobs.master_track, jobs.dub_track,
        jobs.profile, jobs.priority, jobs.origin, jobs.attempts, jobs.interruptions, jobs.device,
        jobs.stage, jobs.stage_text, jobs.enqueued_at, jobs.started_at, jobs.finished_at,
        round((julianday(jobs.finished_at) - julianday(jobs.enqueued_at)) * 86400.0, 1) AS seconds_to_report,
        jobs.sidecar_path_text AS sidecar, jobs.superseded_by
    FROM jobs
    JOIN media AS master ON master.id = jobs.master_id
    JOIN media AS dub ON dub.id = jobs.dub_id
    """,
    """
    CREATE VIEW attempt_summary AS
    SELECT
        attempts.id, attempts.job_id, jobs.title, jobs.language, attempts.number, attempts.device,
        attempts.started_at, attempts.finished_at,
        round((julianday(attempts.finished_at) - julianday(attempts.started_at)) * 86400.0, 1) AS seconds,
        attempts.outcome, attempts.reason, attempts.error_code, attempts.error_message,
        round(attempts.predicted_ram_bytes / 1e6, 1) AS predicted_mb,
        round(attempts.peak_ram_bytes / 1e6, 1) AS peak_mb
    FROM attempts
    JOIN jobs ON jobs.id = attempts.job_id
    """,
)


def upgrade() -> None:
    """Lay tables, rules and views."""
    for statement in (*TABLES, *RULES, *VIEWS):
        op.execute(statement)


def downgrade() -> None:
    """There is no way back but the backup that was made before."""
    raise NotImplementedError("restore the backup beside the ledger")
