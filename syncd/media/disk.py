"""Whose fault it is that a file cannot be read: its own, or that of the disk under it.

Demuxers call a file that ends early an input error, and take a disk that refuses for the end of the file. So the disk
is asked itself: after a failure, and after the last packet, what comes next is read once more, past libavformat.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncd.errors import ErrorCode, ErrorKind, SyncdError, error_kind, is_of_the_disk
from syncd.media.names import shown_name

ASKED_BYTES: Final = 8 << 20
"""Of each place that is read again: more than libavformat looks into before the first packet, or ahead of the last."""
_AT_ONCE_BYTES: Final = 1 << 18


@dataclass
class Reached:
    """How far into a file its reading came."""

    at_bytes: int = 0


@contextmanager
def disk_kept_apart(path: Path, reached: Reached | None = None) -> Iterator[None]:
    """What goes wrong inside with reading the file is `SyncdError` DISK_FAULT where its disk refuses it."""
    try:
        yield
    except SyncdError as error:
        if error_kind(error.code) is ErrorKind.MEDIA:
            ask_disk(path, Reached() if reached is None else reached)
        raise
    except OSError as error:
        if is_of_the_disk(error):
            raise disk_fault(path, error) from error
        raise


def ask_disk(path: Path, reached: Reached, *, all_around: bool = True) -> None:
    """Read what lies at the place that was reached (`all_around`: at the beginning and the end of the file too).

    Raises `SyncdError` DISK_FAULT where the disk refuses; whatever else keeps the file from being read is no news.
    """
    try:
        with path.open("rb", buffering=0) as file:
            end_bytes = os.fstat(file.fileno()).st_size
            around = {0, max(0, end_bytes - ASKED_BYTES)} if all_around else set()
            for start in sorted({reached.at_bytes} | around):
                _read(file.fileno(), start)
    except OSError as error:
        if is_of_the_disk(error):
            raise disk_fault(path, error) from error


def disk_fault(path: Path, error: OSError) -> SyncdError:
    """What people are told of it."""
    message = f"The disk reported an error when {shown_name(path)} was read: {error.strerror}."
    return SyncdError(ErrorCode.DISK_FAULT, message)


def _read(descriptor: int, start: int) -> None:
    """Piece by piece: a call that meets the fault in its middle only returns less."""
    at, end = start, start + ASKED_BYTES
    while at < end and (piece := os.pread(descriptor, min(_AT_ONCE_BYTES, end - at), at)):
        at += len(piece)
