"""The ledger's file while a daemon has it: how it is taken, its connections, how it is left."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import DBAPIError

from syncd.clock import utc_now
from syncd.errors import SyncdError
from syncd.ledger.care import BEFORE_REBUILD, MARK, Mark, SetAside, check, is_damage, refuse_foreign, set_aside
from syncd.ledger.engine import BUSY_TIMEOUT_S, durable, explain, reading_engine, transaction, writing_engine
from syncd.ledger.keep import keep_service_value, service_value
from syncd.ledger.lock import LedgerLock
from syncd.ledger.models import PAUSED, events, service
from syncd.ledger.schema import bring_up_to_date, unreadable
from syncd.ledger.transitions import hand_back_all


@dataclass(frozen=True, slots=True)
class Left:
    """What an earlier daemon left."""

    last_trace: datetime
    """When the ledger was last written to; now, where it never was."""
    is_paused: bool


class LedgerFile:
    """Each `with` is one transaction; two connections, of which one cannot write.

    `set_aside`: the ledger whose place this one took.
    """

    def __init__(self, path: Path, lock: LedgerLock) -> None:
        self.left = Left(utc_now(), is_paused=False)
        self.set_aside: SetAside | None = None
        self._path = path
        self._lock = lock
        self._engine = writing_engine(path)
        self._durable_engine = durable(self._engine)
        self._reading_engine = reading_engine(path)
        self._mark = Mark.CLOSED
        self._is_closed = False

    @classmethod
    def open(cls, path: Path, *, sets_aside: bool, is_called_off: Callable[[], bool] = lambda: False) -> LedgerFile:
        """As `Ledger.open`."""
        with _locked(path) as lock:
            try:
                return cls._open_as_it_is(path, lock, is_called_off)
            except SyncdError as error:
                if not (sets_aside and is_damage(error)):
                    raise
                reason = error.message
            return cls._open_in_place_of(set_aside(path), reason, path, lock)

    @classmethod
    def begin_anew(cls, path: Path) -> LedgerFile:
        """As `Ledger.begin_anew`."""
        with _locked(path) as lock:
            refuse_foreign(path)
            return cls._open_in_place_of(set_aside(path, BEFORE_REBUILD), "It was to be made anew.", path, lock)

    @classmethod
    def _open_in_place_of(cls, kept: Path | None, reason: str, path: Path, lock: LedgerLock) -> LedgerFile:
        file = cls._open_as_it_is(path, lock)
        file.set_aside = None if kept is None else SetAside(kept, reason)
        return file

    @classmethod
    def _open_as_it_is(
        cls, path: Path, lock: LedgerLock, is_called_off: Callable[[], bool] = lambda: False
    ) -> LedgerFile:
        check(path, is_called_off)
        bring_up_to_date(path)
        file = cls(path, lock)
        try:
            with file.writing_durably() as connection:
                file.left = _recover(connection)
        except BaseException:
            file.disconnect()
            raise
        return file

    def reading(self) -> AbstractContextManager[Connection]:
        """One snapshot."""
        return self._minding(self._reading_engine)

    def writing(self) -> AbstractContextManager[Connection]:
        """Survives the daemon's death, but perhaps not the power's."""
        return self._minding(self._engine)

    def writing_durably(self) -> AbstractContextManager[Connection]:
        """Is on the disk when the `with` is left."""
        return self._minding(self._durable_engine)

    def close(self) -> None:
        """Let go of file and lock, in good order. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with self.writing() as connection:
                keep_service_value(connection, MARK, self._mark, utc_now())
            self.checkpoint()
        except (SyncdError, DBAPIError):
            pass  # The mark of an open ledger stays: the next one to open it has it checked.
        finally:
            self.disconnect()
            self._lock.release()

    def disconnect(self) -> None:
        """Let go of the file alone, and leave it as it is: the lock stays."""
        self._reading_engine.dispose()
        self._engine.dispose()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, if no reader is in the way."""
        connection = self._engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise explain(error, self._path) or unreadable(self._path, error) from error
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
            connection.close()

    def size_bytes(self) -> int:
        """Without its log."""
        return _length_bytes(self._path)

    def log_bytes(self) -> int:
        """Of the write-ahead log."""
        real = self._path.resolve()
        return _length_bytes(real.with_name(f"{real.name}-wal"))

    @contextmanager
    def _minding(self, engine: Engine) -> Iterator[Connection]:
        """A transaction; damage that it meets is still known when the ledger is closed."""
        try:
            with transaction(engine, self._path) as connection:
                yield connection
        except SyncdError as error:
            self.mind(error)
            raise

    def mind(self, error: SyncdError) -> None:
        """What a reader beside this one met; damage is still known when the ledger is closed."""
        if is_damage(error):
            self._mark = Mark.DAMAGED


@contextmanager
def _locked(path: Path) -> Iterator[LedgerLock]:
    """Kept by who comes through in good order, let go otherwise."""
    lock = LedgerLock.take(path)
    try:
        yield lock
    except BaseException:
        lock.release()
        raise


def _recover(connection: Connection) -> Left:
    trace = _last_trace(connection)
    hand_back_all(connection, "the daemon that ran it is gone", utc_now())
    is_paused = service_value(connection, PAUSED) == "1"
    keep_service_value(connection, MARK, Mark.OPEN, utc_now())
    return Left(trace or utc_now(), is_paused)


def _last_trace(connection: Connection) -> datetime | None:
    """When the ledger was last written to, by itself; None: never."""
    moments = [
        connection.scalar(select(service.c.updated_at).order_by(service.c.updated_at.desc()).limit(1)),
        connection.scalar(select(events.c.at).order_by(events.c.id.desc()).limit(1)),
    ]
    return max((moment for moment in moments if moment is not None), default=None)


def _length_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
