"""How long a RIFF file says it is, with a few bounded reads: libavformat trusts the file's size instead."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO, Final

MAX_CHUNKS: Final = 1_000
"""A file with more before its sound is damaged."""

_UNKNOWN: Final = frozenset({0, 0xFFFFFFFF})
"""What writers that stream leave in a size."""

_HEAD: Final = struct.Struct("<4sI")


def sound_ends_at(path: Path) -> int | None:
    """The byte after the sound by the headers of RIFF or RF64; None for other formats and unknown lengths."""
    with path.open("rb") as file:
        head = file.read(12)
        if len(head) < 12 or head[:4] not in {b"RIFF", b"RF64", b"BW64"} or head[8:] != b"WAVE":
            return None
        return _walk(file)


def _walk(file: BinaryIO) -> int | None:
    long_size: int | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return None
        name, size = _HEAD.unpack(head)
        if name == b"ds64":
            body = file.read(size)
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) >= 16 else None
            continue
        if name == b"data":
            known = long_size if size in _UNKNOWN else size
            return None if known is None else file.tell() + known
        file.seek(size + size % 2, 1)
    return None
