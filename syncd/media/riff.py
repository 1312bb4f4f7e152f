"""What RIFF files say and libavformat does not read, with a few bounded reads: their length, and their frame rate."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Final

MAX_CHUNKS: Final = 1_000
"""A file with more before its sound is damaged."""

MAX_IXML_BYTES: Final = 65_536

_UNKNOWN: Final = frozenset({0, 0xFFFFFFFF})
"""What writers that stream leave in a size."""

_DS64_BYTES: Final = 28
_LAST_BYTE: Final = 1 << 60
"""No file is longer: a size beyond is damage, and beyond what may be sought."""

_HEAD: Final = struct.Struct("<4sI")

_TIMECODE_RATE: Final = re.compile(rb"<TIMECODE_RATE>\s*(\d{1,6})\s*/\s*(\d{1,6})\s*</TIMECODE_RATE>", re.IGNORECASE)
_TIMECODE_FLAG: Final = re.compile(rb"<TIMECODE_FLAG>\s*(N?DF)\s*</TIMECODE_FLAG>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ProductionClock:
    """What a recorder's or editor's iXML chunk says of its timecode."""

    frames_per_second: Fraction
    is_drop_frame: bool


def sound_ends_at(path: Path) -> int | None:
    """The byte after the sound by the headers of RIFF or RF64; None for other formats and unknown lengths."""
    with path.open("rb") as file:
        for name, size in _chunks(file):
            if name == b"data":
                return None if size is None else file.tell() + size
    return None


def production_clock(path: Path) -> ProductionClock | None:
    """The frame rate of a broadcast WAV (http://www.ixml.info); None where it says none, or one that cannot be."""
    with path.open("rb") as file:
        for name, size in _chunks(file):
            if name == b"iXML" and size is not None:
                return _clock_of(file.read(min(size, MAX_IXML_BYTES)))
    return None


def _clock_of(xml: bytes) -> ProductionClock | None:
    rate, flag = _TIMECODE_RATE.search(xml), _TIMECODE_FLAG.search(xml)
    if rate is None or not int(rate[1]) or not int(rate[2]):
        return None
    frames_per_second = Fraction(int(rate[1]), int(rate[2]))
    if not 10 <= frames_per_second <= 240:
        return None
    return ProductionClock(frames_per_second, flag is not None and flag[1].upper() == b"DF")


def _chunks(file: BinaryIO) -> Iterator[tuple[bytes, int | None]]:
    """Name and size (None: unknown, and no chunk follows) of each chunk, while the file stands at its body."""
    head = file.read(12)
    if len(head) < 12 or head[:4] not in {b"RIFF", b"RF64", b"BW64"} or head[8:] != b"WAVE":
        return
    long_size: int | None = None
    for _ in range(MAX_CHUNKS):
        head = file.read(_HEAD.size)
        if len(head) < _HEAD.size:
            return
        name, size = _HEAD.unpack(head)
        body_at = file.tell()
        if name == b"ds64":
            body = file.read(min(size, _DS64_BYTES))
            long_size = struct.unpack_from("<Q", body, 8)[0] if len(body) >= 16 else None
        known = long_size if name == b"data" and size in _UNKNOWN else size
        yield name, known
        if known is None or known > _LAST_BYTE:
            return
        file.seek(body_at + known + known % 2)
