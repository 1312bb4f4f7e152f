# ruff: noqa: INP001 - Alembic loads this by its path; it is no module of a package
"""What models take of a card: promised and measured in `attempts`, and which model it was in `memory_observations`.

Both are laid anew, by hand, as others were before them: see 0002.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0004"
down_revision: Final = "0003"

STATEMENTS: Final = (
    "PRAGMA legacy_alter_table = ON",
    "DROP VIEW attempt_summary",
    "DROP INDEX ix_attempts_job",
    "DROP INDEX uq_attempts_open",
    "ALTER TABLE attempts RENAME TO attempts_0003",
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
        predicted_vram_bytes INTEGER DEFAULT 0 NOT NULL,
        peak_vram_bytes INTEGER,
        CONSTRAINT fk_attempts_job FOREIGN KEY(job_id) REFERENCES jobs (id) ON DELETE CASCADE,
        CONSTRAINT ck_attempts_number CHECK (number >= 1),
        CONSTRAINT ck_attempts_outcome CHECK (outcome IN ('completed', 'failed', 'quarantined', 'retried',
            'handed_back', 'interrupted', 'canceled', 'superseded')),
        CONSTRAINT ck_attempts_finished CHECK ((finished_at IS NULL) = (outcome IS NULL)),
        CONSTRAINT ck_attempts_rung CHECK (rung BETWEEN 0 AND 3)
    ) STRICT
    """,
    # The new columns are the last.
    "INSERT INTO attempts SELECT *, 0, NULL FROM attempts_0003",
    "DROP TABLE attempts_0003",
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
        round(attempts.peak_ram_bytes / 1e6, 1) AS peak_mb,
        round(attempts.predicted_vram_bytes / 1e6, 1) AS predicted_card_mb,
        round(attempts.peak_vram_bytes / 1e6, 1) AS peak_card_mb
    FROM attempts
    JOIN jobs ON jobs.id = attempts.job_id
    """,
    "ALTER TABLE memory_observations RENAME TO memory_observations_0003",
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
        model TEXT,
        ran_out INTEGER DEFAULT 0 NOT NULL,
        CONSTRAINT pk_memory_observations PRIMARY KEY (id),
        CONSTRAINT ck_memory_observations_duration_s CHECK (duration_s BETWEEN -1.7976931348623157e308 AND
            1.7976931348623157e308),
        CONSTRAINT ck_memory_observations_methods CHECK (json_valid(methods)),
        CONSTRAINT ck_memory_observations_model CHECK (model IS NULL OR json_valid(model)),
        CONSTRAINT ck_memory_observations_ran_out CHECK (ran_out IN (0, 1))
    ) STRICT
    """,
    "INSERT INTO memory_observations SELECT *, NULL, 0 FROM memory_observations_0003",
    "DROP TABLE memory_observations_0003",
    "PRAGMA legacy_alter_table = OFF",
)


def upgrade() -> None:
    """Lay `attempts` and `memory_observations` anew."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """There is no way back but the backup that was made before."""
    raise NotImplementedError("restore the backup beside the ledger")
