"""One daemon a ledger: a lock that ends with the process that holds it, however it ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import Final

from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.engine import explain_os, open_shared

_PATIENCE_S: Final = 0.5
"""Whoever only asks (`is_held`) holds the lock for some microseconds: this outlasts it."""
_PAUSE_S: Final = 0.02


def lock_path(ledger: Path) -> Path:
    """The file that carries the lock; the same one by whatever link the ledger is reached."""
    real = ledger.resolve()
    return real.with_name(real.name + ".lock")


class LedgerLock:
    """Held from `take` to `release`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def take(cls, ledger: Path) -> LedgerLock:
        """The ledger's folder is made first.

        Raises `SyncdError` LEDGER_IN_USE, PERMISSION_DENIED, DISK_FULL, DISK_FAULT.
        """
        try:
            ledger.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise explain_os(error, f"The folder {ledger.parent} cannot be made") from error
        path = lock_path(ledger)
        try:
            descriptor = open_shared(path)
        except OSError as error:
            raise explain_os(error, f"{path} cannot be opened") from error
        deadline_s = time.monotonic() + _PATIENCE_S
        while not _try(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline_s:
                holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
                os.close(descriptor)
                raise SyncdError(
                    ErrorCode.LEDGER_IN_USE, f"Another syncd (process {holder or 'unknown'}) has the ledger {ledger}."
                )
            time.sleep(_PAUSE_S)
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        except OSError as error:
            os.close(descriptor)
            raise explain_os(error, f"{path} cannot be written") from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the next one in; a second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def is_held(ledger: Path) -> bool:
    """Whether a daemon has this ledger."""
    try:
        descriptor = os.open(lock_path(ledger), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _try(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _try(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
