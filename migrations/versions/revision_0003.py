# ruff: noqa: INP001 - Alembic loads this by its path; it is no module of a package
"""What an attempt gave up, and where it stood when it was ended; the pauses that stages were seen to make; `prune`.

`attempts` and `requests` are laid anew, by hand, as `media` was before them: see 0002.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0003"
down_revision: Final = "0002"

STATEMENTS: Final = (
    "PRAGMA legacy_alter_table = ON",
    "DROP VIEW attempt_summary",
    "DROP INDEX ix_attempts_job",
    "DROP INDEX uq_attempts_open",
    "ALTER TABLE attempts RENAME TO attempts_0002",
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
        rung INTEGER DEFAULT 0 NOT NULL,
        stage TEXT,
        stack TEXT,
        CONSTRAINT fk_attempts_job FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_attempts_number CHECK (number >= 1),
        CONSTRAINT ck_attempts_outcome CHECK (outcome IN ('completed', 'failed', 'quarantined', 'retried',
            'handed_back', 'interrupted', 'canceled', 'superseded')),
        CONSTRAINT ck_attempts_finished CHECK ((finished_at IS NULL) = (outcome IS NULL)),
        CONSTRAINT ck_attempts_rung CHECK (rung BETWEEN 0 AND 3)
    ) STRICT
    """,
    # The new columns are the last.
    "INSERT INTO attempts SELECT *, 0, NULL, NULL FROM attempts_0002",
    "DROP TABLE attempts_0002",
    "CREATE INDEX ix_attempts_job ON attempts (job_id, id)",
    "CREATE UNIQUE INDEX uq_attempts_open ON attempts (job_id) WHERE finished_at IS NULL",
    """
    CREATE VIEW attempt_summary AS
    SELECT
        attempts.id, attempts.job_id, jobs.title, jobs.language, attempts.number, attempts.device, attempts.rung,
        attempts.started_at, attempts.finished_at,
        round((julianday(attempts.finished_at) - julianday(attempts.started_at)) * 86400.0, 1) AS seconds,
        attempts.outcome, attempts.reason, attempts.stage, attempts.error_code, attempts.error_message,
        round(attempts.predicted_ram_bytes / 1e6, 1) AS predicted_mb,
        round(attempts.peak_ram_bytes / 1e6, 1) AS peak_mb
    FROM attempts
    JOIN jobs ON jobs.id = attempts.job_id
    """,
    """
    CREATE TABLE stage_pauses (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        at TEXT NOT NULL,
        stage TEXT NOT NULL,
        longest_s REAL NOT NULL,
        duration_s REAL NOT NULL,
        CONSTRAINT ck_stage_pauses_longest_s CHECK (longest_s BETWEEN 0.0 AND 1.7976931348623157e308),
        CONSTRAINT ck_stage_pauses_duration_s CHECK (duration_s BETWEEN 0.0 AND 1.7976931348623157e308)
    ) STRICT
    """,
    "CREATE INDEX ix_stage_pauses_stage ON stage_pauses (stage, id)",
    "DROP INDEX ix_requests_pending",
    "ALTER TABLE requests RENAME TO requests_0002",
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
        CONSTRAINT ck_requests_kind CHECK (kind IN ('submit', 'retry', 'cancel', 'priority', 'pause', 'resume',
            'prune')),
        CONSTRAINT ck_requests_payload CHECK (json_valid(payload)),
        CONSTRAINT ck_requests_outcome CHECK (outcome IS NULL OR json_valid(outcome)),
        CONSTRAINT ck_requests_answered CHECK (finished_at IS NOT NULL OR (outcome IS NULL AND error_code IS NULL))
    ) STRICT
    """,
    "INSERT INTO requests SELECT * FROM requests_0002",
    "DROP TABLE requests_0002",
    "CREATE INDEX ix_requests_pending ON requests (id) WHERE finished_at IS NULL",
    "PRAGMA legacy_alter_table = OFF",
)


def upgrade() -> None:
    """Lay `attempts` and `requests` anew, and the new table."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """There is no way back but the backup that was made before."""
    raise NotImplementedError("restore the backup beside the ledger")
