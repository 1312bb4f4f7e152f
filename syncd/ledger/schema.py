"""Which revision a ledger has, and how it gets to this program's: only Alembic makes tables, after a backup."""

from __future__ import annotations

import glob
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import syncd
from syncd.clock import utc_now
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.engine import connect, explain, explain_os, open_shared, transaction, writing_engine

REVISION: Final = "0004"
"""The newest of `migrations/versions`; later ones have greater numbers."""


class LeftAlone(SyncdError):
    """LEDGER_DAMAGED about a file that nobody but a person may set aside: what is in it may be whole."""


class NotALedger(LeftAlone):
    """A database of another program."""


def migrations_folder() -> Path:
    """Inside the installed package, or beside it in a checkout."""
    package = Path(syncd.__file__).parent
    shipped = package / "migrations"
    return shipped if shipped.is_dir() else package.parent / "migrations"


def read_revision(path: Path) -> str | None:
    """The ledger's revision; None: the file is empty.

    Raises `SyncdError` NO_LEDGER (no such file), LEDGER_DAMAGED (something else than a ledger), PERMISSION_DENIED.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SyncdError(ErrorCode.NO_LEDGER, f"There is no ledger at {path}.") from error
    except OSError as error:
        raise explain_os(error, f"The ledger {path} cannot be reached by this user") from error
    try:
        with closing(connect(path)) as connection:
            tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
            if not tables:
                return None
            if "alembic_version" not in tables:
                raise NotALedger(ErrorCode.LEDGER_DAMAGED, f"{path} is a database, but not a ledger of syncd.")
            row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.Error as error:
        raise explain(error, path) or unreadable(path, error) from error
    return None if row is None else str(row[0])


def require_current(path: Path) -> None:
    """For those who may not migrate; raises `SyncdError` as `read_revision`, or LEDGER_NEWER."""
    revision = read_revision(path)
    if revision is None or revision < REVISION:
        raise SyncdError(ErrorCode.NO_LEDGER, f"The ledger {path} was not brought up to this version yet.")
    _refuse_newer(path, revision, REVISION)


def bring_up_to_date(path: Path, *, scripts: Path | None = None, target: str = REVISION) -> Path | None:
    """Make the ledger, or migrate it; returns the backup that was made before, if any.

    The revisions run in one transaction: either all of them hold, or the ledger is what it was. Raises `SyncdError`
    LEDGER_NEWER, LEDGER_DAMAGED, DISK_FULL, PERMISSION_DENIED.
    """
    create_file(path)
    revision = read_revision(path)
    if revision == target:
        return None
    if revision is not None:
        _refuse_newer(path, revision, target)
    backup = None if revision is None else back_up(path, revision)
    _migrate(path, scripts or migrations_folder(), target)
    return backup


def back_up(path: Path, revision: str) -> Path:
    """Copy the ledger, as one consistent state, to ``<ledger>.<revision>.<time>.bak`` beside it; returns that path."""
    backup = path.with_name(f"{path.name}.{revision}.{utc_now():%Y%m%dT%H%M%S%fZ}.bak")
    unfinished = backup.with_name(f".{backup.name}.part")
    try:
        for left_behind in path.parent.glob(f".{glob.escape(path.name)}.*.bak.part"):
            left_behind.unlink()  # Whoever has the ledger's lock is alone with them.
        create_file(unfinished)
        unfinished.chmod(path.stat().st_mode & 0o777)
        with closing(connect(path)) as source, closing(connect(unfinished)) as copy:
            source.backup(copy)
            copy.execute("PRAGMA journal_mode = DELETE")
        sync(unfinished)
        unfinished.rename(backup)
        sync(path.parent)
    except sqlite3.Error as error:
        unfinished.unlink(missing_ok=True)
        raise explain(error, unfinished) or unreadable(path, error) from error
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise explain_os(error, f"The ledger could not be backed up to {backup}") from error
    return backup


def _migrate(path: Path, scripts: Path, target: str) -> None:
    # Alembic takes a quarter of a second to import and is needed once a version.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    # With foreign keys on, rebuilding a table would delete every row that points to it; inside a transaction the
    # switch has no effect, so it is set on the connection, before.
    engine = writing_engine(path, foreign_keys=False)
    try:
        with transaction(engine, path) as connection:
            config = Config()
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            config.attributes["connection"] = connection
            command.upgrade(config, target)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise LeftAlone(
                    ErrorCode.LEDGER_DAMAGED,
                    f"The ledger {path} was not brought up to revision {target}: {len(broken)} rows point to nothing.",
                )
    finally:
        engine.dispose()


def _refuse_newer(path: Path, revision: str, known: str) -> None:
    if revision > known:
        raise SyncdError(
            ErrorCode.LEDGER_NEWER, f"The ledger {path} has revision {revision}; this syncd knows up to {known}."
        )


def create_file(path: Path) -> None:
    """An empty file, unless one is there: SQLite would make it unwritable for the group, and its log as well.

    Raises `SyncdError` PERMISSION_DENIED, DISK_FULL.
    """
    try:
        os.close(open_shared(path))
    except OSError as error:
        raise explain_os(error, f"{path} cannot be written to") from error


def sync(path: Path) -> None:
    """What was written to this file, or named in this folder, is on the disk when this returns; raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unreadable(path: Path, error: sqlite3.Error) -> SyncdError:
    """For what SQLite says and `explain` has no words for: perhaps the disk, and not the ledger, is at fault."""
    return LeftAlone(ErrorCode.LEDGER_DAMAGED, f"The ledger {path} cannot be read: {error}.")
