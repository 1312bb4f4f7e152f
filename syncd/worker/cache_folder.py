"""The folder in which features of masters are kept: bounded, shared by several workers, safe against their deaths.

One file an entry. It is written under a hidden name and renamed when it is whole, so an entry is there or it is not;
who reads holds a descriptor and may lose the name at any time. The time of last use is the file's mtime, set at each
use: access times are switched off on many machines. What makes room, and what begins to write, does so under one lock
file; locks and drafts belong to open descriptors, so the kernel lets go of them when a worker dies.

Of the worker's modules this one alone loads nothing heavy: the daemon tidies the folder with it when it starts.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENTRY_SUFFIX: Final = ".features"
DRAFT_PREFIX: Final = ".draft-"
LOCK_NAME: Final = ".lock"
LEAVE_FREE_BYTES: Final = 1 << 30
"""What the cache leaves of the disk: scratch files may lie there too, and without them no job can run."""
LOCK_WAIT_S: Final = 5.0
"""How long somebody else may hold the lock before a worker goes on without keeping anything."""
_LOCK_POLL_S: Final = 0.02
_PRIVATE: Final = 0o600


class NotKept(Exception):
    """There is no room for the entry; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    size_bytes: int
    used_at_ns: int


class Draft:
    """An entry while it is written; nobody sees it before `commit`."""

    def __init__(self, path: Path, final_path: Path, descriptor: int) -> None:
        self._path, self._final_path = path, final_path
        self.descriptor = descriptor

    def commit(self, size_bytes: int) -> None:
        """Cut to its length and give it its name; raises OSError."""
        os.ftruncate(self.descriptor, size_bytes)
        self._path.rename(self._final_path)


class CacheFolder:
    """The entries; every call may raise OSError, which costs the cache and never a job."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        self.path = path
        self._max_bytes = max_bytes

    def open_entry(self, name: str) -> int | None:
        """A descriptor of the entry, which counts as used now; None if there is none."""
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self._entry_path(name), flags)
        except FileNotFoundError:
            return None
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            with suppress(PermissionError):  # Somebody else's entry: it may be read, and its owner's use counts.
                os.utime(descriptor)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def discard(self, name: str, descriptor: int) -> None:
        """Remove the entry that is open here, unless another has taken its place meanwhile."""
        path, opened = self._entry_path(name), os.fstat(descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(path.lstat(), opened):
                path.unlink()

    @contextmanager
    def draft(self, name: str, at_most_bytes: int) -> Iterator[Draft]:
        """Room for a new entry, made by removing what was used longest ago; raises `NotKept` and OSError.

        A draft that is not committed when the block ends is removed.
        """
        if at_most_bytes > self._max_bytes:
            raise NotKept(f"It needs {_mb(at_most_bytes)}, and cache.max_bytes is {_mb(self._max_bytes)}.")
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.path / f"{DRAFT_PREFIX}{secrets.token_hex(8)}"
        with self._locked():
            self._make_room(at_most_bytes)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _PRIVATE)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.ftruncate(descriptor, at_most_bytes)  # So that others count it already.
            except OSError:
                os.close(descriptor)
                path.unlink(missing_ok=True)
                raise
        try:
            yield Draft(path, self._entry_path(name), descriptor)
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            os.close(descriptor)

    def tidy(self) -> None:
        """Remove what dead writers left, and what is beyond the bound; raises `NotKept` and OSError."""
        if not self.path.exists():
            return
        with self._locked():
            self._make_room(0)

    def _make_room(self, needed_bytes: int) -> None:
        entries, drafts_bytes = self._survey()
        entries.sort(key=lambda entry: entry.used_at_ns)
        kept_bytes = drafts_bytes + sum(entry.size_bytes for entry in entries)
        while entries and (kept_bytes + needed_bytes > self._max_bytes or self._lacks(needed_bytes)):
            oldest = entries.pop(0)
            oldest.path.unlink(missing_ok=True)
            kept_bytes -= oldest.size_bytes
        if needed_bytes == 0:
            return
        if kept_bytes + needed_bytes > self._max_bytes:
            raise NotKept("Other workers are filling the cache just now.")
        if self._lacks(needed_bytes):
            raise NotKept(f"Less than {_mb(LEAVE_FREE_BYTES + needed_bytes)} are free in {self.path}.")

    def _lacks(self, needed_bytes: int) -> bool:
        """Whether the disk itself is too full for an entry of this size."""
        if needed_bytes == 0:
            return False
        disk = os.statvfs(self.path)
        return disk.f_bavail * disk.f_frsize < needed_bytes + LEAVE_FREE_BYTES

    def _survey(self) -> tuple[list[_Entry], int]:
        """The entries, and the bytes of the drafts that live; drafts of the dead are removed."""
        entries: list[_Entry] = []
        drafts_bytes = 0
        for path in self.path.iterdir():
            with suppress(FileNotFoundError):
                if path.name.startswith(DRAFT_PREFIX):
                    drafts_bytes += _size_of_living_draft(path)
                elif path.name.endswith(ENTRY_SUFFIX):
                    status = path.lstat()
                    entries.append(_Entry(path, status.st_size, status.st_mtime_ns))
        return entries, drafts_bytes

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self.path / LOCK_NAME, flags, _PRIVATE)
        try:
            give_up_at_s = time.monotonic() + LOCK_WAIT_S
            while not _try_lock(descriptor):
                if time.monotonic() >= give_up_at_s:
                    raise NotKept("Another worker holds the cache's lock and does not let go.")
                time.sleep(_LOCK_POLL_S)
            yield
        finally:
            os.close(descriptor)

    def _entry_path(self, name: str) -> Path:
        return self.path / f"{name}{ENTRY_SUFFIX}"


def _size_of_living_draft(path: Path) -> int:
    """Its size; 0, and it is gone, if its writer is dead."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not _try_lock(descriptor):
            return os.fstat(descriptor).st_size
        path.unlink(missing_ok=True)
        return 0
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"
