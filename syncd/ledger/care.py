"""Is the ledger whole? Checked after a bad end; what is damaged is set aside, never deleted."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from syncd.clock import utc_now
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.engine import connect, explain, explain_os
from syncd.ledger.schema import LeftAlone, NotALedger, create_file, read_revision, sync, unreadable

MARK: Final = "ledger"
"""The row of `service` that says how the ledger was left."""

DAMAGED: Final = "damaged"
BEFORE_REBUILD: Final = "before-rebuild"
_LOGS: Final = ("-wal", "-shm")
_ASKED_EVERY: Final = 10_000
"""Instructions of SQLite's own machine."""
_MAX_FAULTS: Final = 3
"""How many faults SQLite looks for: one is enough to act, a few help whoever reads the message."""


class Mark(StrEnum):
    """How the ledger was left."""

    OPEN = "open"
    """A daemon has it, or ended without closing it."""
    CLOSED = "closed"
    """In good order."""
    DAMAGED = "damaged"
    """Its last daemon came upon a page that it could not read."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """A damaged ledger, out of the way."""

    kept: Path
    """Where it lies now."""
    reason: str
    """One sentence."""


def check_due(mark: str | None) -> str | None:
    """The pragma that a ledger left like this calls for; None: it was closed in good order.

    The quick one reads every page; only the whole one compares indexes with their tables.
    """
    match mark:
        case Mark.CLOSED:
            return None
        case Mark.DAMAGED:
            return "integrity_check"
        case _:
            return "quick_check"


def is_damage(error: SyncdError) -> bool:
    """Whether the ledger itself is at fault, so that going on without it is right."""
    return error.code is ErrorCode.LEDGER_DAMAGED and not isinstance(error, LeftAlone)


class CheckCalledOff(Exception):
    """Nobody waits for the check any more; the ledger is as it was, and the next opening checks it again."""


def check(path: Path, is_called_off: Callable[[], bool] = lambda: False) -> None:
    """Have SQLite check the file, unless it was closed in good order or is not there yet.

    A large one takes minutes, in which `is_called_off` is asked again and again (and signals are heard). Raises
    `SyncdError` LEDGER_DAMAGED, PERMISSION_DENIED; `CheckCalledOff`.
    """
    if not path.exists() or read_revision(path) is None:
        return
    try:
        with closing(connect(path)) as connection:
            left = connection.execute("SELECT value FROM service WHERE key = ?", (MARK,)).fetchone()
            pragma = check_due(None if left is None else str(left[0]))
            connection.set_progress_handler(is_called_off, _ASKED_EVERY)
            found = [] if pragma is None else connection.execute(f"PRAGMA {pragma}({_MAX_FAULTS})").fetchall()
    except sqlite3.Error as error:
        if is_called_off():
            raise CheckCalledOff from error
        raise explain(error, path) or unreadable(path, error) from error
    faults = [" ".join(str(fault).split()) for (fault,) in found if fault != "ok"]
    if faults:
        raise SyncdError(ErrorCode.LEDGER_DAMAGED, f"The ledger {path} is damaged: {'; '.join(faults)}.")


def refuse_foreign(path: Path) -> None:
    """Raises `NotALedger` on another program's database; whatever else is wrong with the file is no matter here."""
    try:
        read_revision(path)
    except NotALedger:
        raise
    except SyncdError:
        return


def set_aside(path: Path, why: str = DAMAGED) -> Path | None:
    """Rename the ledger and its logs to ``<ledger>.<why>.<time>``, and lay an empty file with its rights there.

    Returns the new path; None: there was no ledger. The caller holds the lock and no connection. Raises `SyncdError`
    PERMISSION_DENIED, DISK_FULL.
    """
    real = path.resolve()
    if not real.exists():
        return None
    kept = real.with_name(f"{real.name}.{why}.{utc_now():%Y%m%dT%H%M%S%fZ}")
    try:
        status = real.stat()
        # The logs first: beside an empty ledger SQLite would take the old log for the new ledger's.
        for log in _LOGS:
            with contextlib.suppress(FileNotFoundError):
                _beside(real, log).rename(_beside(kept, log))
        real.rename(kept)
        create_file(real)
        real.chmod(status.st_mode & 0o777)
        if os.geteuid() == 0:
            os.chown(real, status.st_uid, status.st_gid)
        sync(real.parent)
    except OSError as error:
        raise explain_os(error, f"The ledger {path} could not be set aside as {kept}") from error
    return kept


def _beside(ledger: Path, log: str) -> Path:
    return ledger.with_name(ledger.name + log)
