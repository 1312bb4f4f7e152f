"""Connections to the ledger: pragmas, transactions, and SQLite's errors in the words that people meet."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from syncd.errors import ErrorCode, SyncdError

BUSY_TIMEOUT_S: Final = 10.0
"""How long a writer waits for another one; every transaction here takes milliseconds."""
WAL_KEPT_BYTES: Final = 64 * 1024 * 1024
"""A write-ahead log that long readers made longer is cut back to this."""

CACHE_KIB: Final = 1024
"""Of pages, a connection: the operating system keeps the rest of the file, and the daemon stays small."""

_DURABLE: Final = "syncd_durable"


def connect(path: Path, *, create: bool = False) -> sqlite3.Connection:
    """A bare connection without implicit transactions; raises `sqlite3.Error`."""
    mode = "rwc" if create else "rw"
    uri = f"file:{quote(os.fsencode(path.absolute()))}?mode={mode}"
    # isolation_level=None: Python 3.11 has no other way to keep the module from opening transactions itself.
    return sqlite3.connect(uri, uri=True, isolation_level=None, timeout=BUSY_TIMEOUT_S)


def writing_engine(path: Path, *, foreign_keys: bool = True) -> Engine:
    """One connection; each transaction takes the write lock at once.

    A transaction that reads first and writes later would fail as soon as somebody else wrote in between, whatever the
    busy timeout says.
    """

    def creator() -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
        connection.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
        return connection

    engine = create_engine("sqlite://", creator=creator, poolclass=StaticPool)

    def begin(connection: Connection) -> None:
        level = "FULL" if connection.get_execution_options().get(_DURABLE) else "NORMAL"
        connection.exec_driver_sql(f"PRAGMA synchronous = {level}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    event.listen(engine, "begin", begin)
    return engine


def durable(engine: Engine) -> Engine:
    """The same connection, but what it commits is on the disk when `commit` returns (3 ms instead of 0.3)."""
    return engine.execution_options(**{_DURABLE: True})


def reading_engine(path: Path) -> Engine:
    """One connection that cannot write; a transaction is one snapshot."""

    def creator() -> sqlite3.Connection:
        connection = connect(path)
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        return connection

    engine = create_engine("sqlite://", creator=creator, poolclass=StaticPool)
    event.listen(engine, "begin", _begin_reading)
    return engine


def _begin_reading(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")


@contextmanager
def transaction(engine: Engine, path: Path) -> Iterator[Connection]:
    """Commits at the end, rolls back on any exception; raises `SyncdError` where SQLite's error has a code of ours."""
    try:
        with engine.begin() as connection:
            yield connection
    except DBAPIError as error:
        if isinstance(error.orig, sqlite3.Error) and (known := explain(error.orig, path)):
            raise known from error
        raise


def open_shared(path: Path) -> int:
    """A descriptor of the file, which is made empty if there is none; raises `OSError`.

    Where the folder is the group's to write to, so is the file, whoever makes it under whatever umask: the service and
    the people who use syncctl are different users.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o664)
    status = os.fstat(descriptor)
    is_ours = status.st_uid == os.geteuid()
    if is_ours and not status.st_mode & stat.S_IWGRP and path.parent.stat().st_mode & stat.S_IWGRP:
        os.fchmod(descriptor, stat.S_IMODE(status.st_mode) | stat.S_IRGRP | stat.S_IWGRP)
    return descriptor


def explain_os(error: OSError, sentence: str) -> SyncdError:
    """What people are told when a file or folder of the ledger cannot be made; `sentence` without its reason."""
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            code = ErrorCode.DISK_FULL
        case errno.EIO:
            code = ErrorCode.DISK_FAULT
        case _:
            code = ErrorCode.PERMISSION_DENIED
    return SyncdError(code, f"{sentence}: {error.strerror}.")


def explain(error: sqlite3.Error, path: Path) -> SyncdError | None:
    """What people are told; None: a fault of this program."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return SyncdError(ErrorCode.DISK_FULL, f"The file system of the ledger {path} is full.")
        case sqlite3.SQLITE_IOERR:
            # Not damage: what the disk refuses now it may give later, and nothing on it is to be replaced meanwhile.
            return SyncdError(ErrorCode.DISK_FAULT, f"The disk of the ledger {path} reports an error ({error}).")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return SyncdError(ErrorCode.LEDGER_DAMAGED, f"The ledger {path} cannot be read as a database.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return SyncdError(
                ErrorCode.PERMISSION_DENIED, f"The ledger {path}, or its folder, cannot be written to by this user."
            )
        case sqlite3.SQLITE_BUSY:
            return SyncdError(
                ErrorCode.LEDGER_IN_USE, f"Another process has kept the ledger {path} locked for {BUSY_TIMEOUT_S:g} s."
            )
        case _:
            return None
