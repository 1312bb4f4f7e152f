"""Names of files that are being written, which tell anybody whether their writer still lives; and their removal.

On this machine, since its start, that decides alone: no clock has a say in it. Of what others wrote (another machine,
another container, this machine before it was restarted) only age can speak, and a clock may be set wrong for a while;
so it must also have stood still for as long as this process has watched it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
import time
from functools import cache
from pathlib import Path
from typing import Final

ENDING: Final = ".sync.tmp"
ABANDONED_AFTER_S: Final = 86_400.0
"""Whoever wrote it, on whichever machine: nothing is written for a day."""
WATCHED_S: Final = 600.0
"""So long it must have been seen to stand still."""

_NAME: Final = re.compile(r"\.[0-9a-f]{8}\.([0-9a-f]{8})\.([0-9]+)\.[0-9a-f]{8}" + re.escape(ENDING))
_UNKNOWN: Final = "0" * 8
_REMEMBERED: Final = 1_000


def temporary_name(target: bytes) -> str:
    """A hidden name for what will be called `target`: short whatever that is, and no other writer's."""
    return f".{_digest8(target)}.{_here()}.{os.getpid()}.{secrets.token_hex(4)}{ENDING}"


class Sweeper:
    """Removes from folders what writers left that are gone."""

    def __init__(self) -> None:
        self._watched: dict[str, tuple[int, float]] = {}
        """Of what is old and not from here, by its name: when it was last written to, and seen so first."""

    def is_abandoned(self, name: str, mtime_ns: int, *, wall_s: float, now_s: float) -> bool:
        """Whether a file of this name, last written to then, is one of those whose writer is gone.

        `wall_s`: the time by the clock that also dates files; `now_s`: by one that is never set.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            return False
        place, pid = match.groups()
        if place == _here() and place != _UNKNOWN:
            return not _lives(int(pid))
        if wall_s - mtime_ns / 1e9 <= ABANDONED_AFTER_S:
            self._watched.pop(name, None)
            return False
        if self._watched.get(name, (None, 0.0))[0] != mtime_ns:
            if len(self._watched) >= _REMEMBERED:
                self._watched.clear()
            self._watched[name] = mtime_ns, now_s
        return now_s - self._watched[name][1] > WATCHED_S

    def sweep(self, entry: os.DirEntry[str], folder: int) -> None:
        """Remove this entry of the folder that is open here, if it is abandoned; whatever it meets."""
        with contextlib.suppress(OSError):
            status = entry.stat(follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                return
            if self.is_abandoned(entry.name, status.st_mtime_ns, wall_s=time.time(), now_s=time.monotonic()):
                os.unlink(entry.name, dir_fd=folder)
                self._watched.pop(entry.name, None)

    def sweep_folder(self, path: Path) -> None:
        """Of one folder what is abandoned, and nothing below it; whatever it meets. A disk may take its time."""
        with contextlib.suppress(OSError):
            folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        if entry.name.endswith(ENDING):
                            self.sweep(entry, folder)
            finally:
                os.close(folder)


def _lives(pid: int) -> bool:
    """Also where /proc hides it, as that of another user from a service."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@cache
def _here() -> str:
    """This machine since it was started, or the container in it: process numbers mean nothing beyond."""
    try:
        processes = Path("/proc/self/ns/pid").readlink()
        return _digest8(Path("/proc/sys/kernel/random/boot_id").read_bytes() + bytes(processes))
    except OSError:
        return _UNKNOWN


def _digest8(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
