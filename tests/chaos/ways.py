"""The ways in which programs and protocols put a file into a folder, each with its truth: when it was complete."""

from __future__ import annotations

import math
import mmap
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEADER_BYTES: Final = 44
SLOW_BYTES_A_SECOND: Final = 200_000


@dataclass
class Upload:
    """One version of a file on its way into the folder."""

    content: bytes
    made: Path
    """Where it was made, outside the folder but on the same file system."""
    target: Path
    quiet_s: float
    """After which a watcher may take a file for complete that nothing else says anything about."""
    chance: random.Random
    says_length: bool
    """Whether its header does."""
    way: str = ""
    complete_s: float = math.inf
    """When the last thing was done to it: no earlier may anybody take it for complete."""
    longest_doubtful_s: float = 0.0
    """The longest pause in which only the quiet time said that it was not complete."""

    @property
    def is_fair(self) -> bool:
        """Whether no such pause was as long as the quiet time; a busy machine may make it so."""
        return self.longest_doubtful_s < self.quiet_s

    def pieces(self, first_bytes: int = 1) -> Iterator[bytes]:
        """The content, cut at random."""
        last = len(self.content) - 1
        cuts = sorted(self.chance.randint(first_bytes, last) for _ in range(self.chance.randint(1, 5)))
        for start, end in zip([0, *cuts], [*cuts, len(self.content)], strict=True):
            yield self.content[start:end]

    def pause(self, times_quiet: float) -> None:
        """As a network or a person does: for up to so many quiet times."""
        time.sleep(self.chance.uniform(0.0, times_quiet * self.quiet_s))

    def is_complete_now(self) -> None:
        """What follows is the last thing done to it."""
        self.complete_s = time.monotonic()

    def is_complete_since_its_date(self) -> None:
        """A program has ended; when it did the last thing to the file, the file system says, however late we learn."""
        self.complete_s = time.monotonic() - max(0.0, time.time() - self.target.stat().st_ctime)


Way = Callable[[Upload], None]


def cp(upload: Upload) -> None:
    """Copied by the program of that name."""
    subprocess.run(["cp", upload.made, upload.target], check=True)
    upload.is_complete_since_its_date()


def rsync(upload: Upload) -> None:
    """Under a hidden name, then renamed."""
    _rsync(upload)


def rsync_inplace(upload: Upload) -> None:
    """Under its own name from the beginning."""
    _rsync(upload, "--inplace")


def _rsync(upload: Upload, *options: str) -> None:
    limit = f"--bwlimit={SLOW_BYTES_A_SECOND // 1000}"
    files = (os.fspath(upload.made), os.fspath(upload.target))
    command = ["rsync", "--whole-file", "--ignore-times", limit, *options, *files]
    subprocess.run(command, check=True)
    upload.is_complete_since_its_date()


def sftp(upload: Upload) -> None:
    """Under a scratch name, then linked to its own and unlinked: what OpenSSH's server makes of a rename."""
    scratch = upload.target.with_name(upload.target.name + ".filepart")
    with scratch.open("wb") as stream:
        for piece in upload.pieces():
            stream.write(piece)
            stream.flush()
            upload.pause(1.5)
    upload.target.unlink(missing_ok=True)
    upload.is_complete_now()
    os.link(scratch, upload.target)
    scratch.unlink()


def hard_link(upload: Upload) -> None:
    """A second name of a file that lies elsewhere."""
    upload.target.unlink(missing_ok=True)
    upload.is_complete_now()
    os.link(upload.made, upload.target)


def mv(upload: Upload) -> None:
    """Renamed into the folder, from elsewhere on the file system."""
    upload.is_complete_now()
    upload.made.rename(upload.target)


def preallocated(upload: Upload) -> None:
    """As long as it will be from the beginning, filled piece by piece, held open through any pause."""
    with upload.target.open("wb") as stream:
        os.posix_fallocate(stream.fileno(), 0, len(upload.content))
        for piece in upload.pieces():
            upload.pause(1.5)
            stream.write(piece)
            stream.flush()
        upload.is_complete_now()


def stop_and_go(upload: Upload) -> None:
    """Opened and closed for every piece. Where the header says how long it will be, pauses are as long as they like."""
    times_quiet = 2.0 if upload.says_length else 0.5
    upload.target.write_bytes(b"")
    for piece in upload.pieces(HEADER_BYTES):
        began_s = time.monotonic()
        upload.pause(times_quiet)
        upload.is_complete_now()
        with upload.target.open("ab") as stream:
            stream.write(piece)
        if not upload.says_length:
            upload.longest_doubtful_s = max(upload.longest_doubtful_s, time.monotonic() - began_s)


def mapped(upload: Upload) -> None:
    """As long as it will be, closed, and written through memory: no call tells of any of it."""
    with upload.target.open("w+b") as stream:
        stream.truncate(len(upload.content))
        memory = mmap.mmap(stream.fileno(), len(upload.content))
    with memory:
        for piece in upload.pieces(HEADER_BYTES):
            memory.write(piece)
            upload.pause(1.5)
        upload.is_complete_now()


_RSYNC: Final[Sequence[Way]] = (rsync, rsync_inplace) if shutil.which("rsync") else ()
WAYS: Final[Sequence[Way]] = (cp, sftp, hard_link, mv, preallocated, stop_and_go, mapped, *_RSYNC)
