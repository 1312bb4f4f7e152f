# ruff: noqa: INP001 - Alembic loads this by its path; it is no module of a package
"""A side may be several mono files: `media.stems` holds them.

The table is laid anew, by hand: a column added by ALTER TABLE would stand behind the rules, and no fresh ledger looks
like that. `legacy_alter_table` keeps the other tables' foreign keys pointing to the name `media` while the old table
steps aside, and lets it do so under a view.
"""

from __future__ import annotations

from typing import Final

from alembic import op

revision: Final = "0002"
down_revision: Final = "0001"

STATEMENTS: Final = (
    "PRAGMA legacy_alter_table = ON",
    "DROP INDEX uq_media_current",
    "ALTER TABLE media RENAME TO media_0001",
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
        stems TEXT,
        CONSTRAINT pk_media PRIMARY KEY (id),
        CONSTRAINT uq_media_version UNIQUE (path, size_bytes, mtime_ns, fingerprint),
        CONSTRAINT ck_media_size CHECK (size_bytes >= 0 AND stamp_size_bytes >= 0),
        CONSTRAINT ck_media_is_current CHECK (is_current IN (0, 1)),
        CONSTRAINT ck_media_info CHECK (info IS NULL OR json_valid(info)),
        CONSTRAINT ck_media_stems CHECK (stems IS NULL OR json_valid(stems))
    ) STRICT
    """,
    # The new column is the last.
    "INSERT INTO media SELECT *, NULL FROM media_0001",
    "DROP TABLE media_0001",
    "CREATE UNIQUE INDEX uq_media_current ON media (path) WHERE is_current = 1",
    "PRAGMA legacy_alter_table = OFF",
)


def upgrade() -> None:
    """Lay `media` anew with the column."""
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    """There is no way back but the backup that was made before."""
    raise NotImplementedError("restore the backup beside the ledger")
