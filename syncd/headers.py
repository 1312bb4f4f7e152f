"""How long a media file says that it is: RIFF, RF64, AIFF, MP4 and Matroska headers, in bounded plain Python.

A copy that reserved its space first, or that broke off, has a size that stands still while its content is not there.
The header gives it away. Nothing here decodes, and at most a thousand short reads are made, whatever the file says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset_bytes, count_bytes)``: what is there, shorter at the end of the file."""

_MAX_BOXES: Final = 1000
"""A fragmented MP4 has two boxes a second; what lies behind the first thousand is left to the quiet time."""
_SLACK_BYTES: Final = 8
"""Writers disagree on whether the RIFF size counts its own 8 bytes and a last padding byte."""
_HEAD_BYTES: Final = 4096
_EBML: Final = b"\x1a\x45\xdf\xa3"
_SEGMENT: Final = b"\x18\x53\x80\x67"
_FIRST_BOXES: Final = frozenset({b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot", b"styp", b"moof"})


def missing_bytes(read_at: ReadAt, size_bytes: int) -> int:
    """How many bytes, at least, the header promises beyond what is there.

    0: all there, or the header does not say (other formats, streamed WAV with size 0 or 0xFFFFFFFF).
    """
    head = read_at(0, _HEAD_BYTES)
    if head and not head.strip(b"\0"):
        return size_bytes  # space reserved by a copy that has not come to write here
    match head[:4]:
        case b"RIFF":
            return _riff_missing(int.from_bytes(head[4:8], "little"), size_bytes)
        case b"RIFX" | b"FORM":
            return _riff_missing(int.from_bytes(head[4:8], "big"), size_bytes)
        case b"RF64" | b"BW64":
            return _rf64_missing(head, size_bytes)
    if head[:4] == _EBML:
        return _matroska_missing(head, size_bytes)
    if head[4:8] in _FIRST_BOXES:
        return _mp4_missing(read_at, size_bytes)
    return 0


def _riff_missing(chunk_bytes: int, size_bytes: int) -> int:
    if size_bytes < 12:
        return 12 - size_bytes
    return 0 if _is_streamed(chunk_bytes) else _shortfall(chunk_bytes + 8, size_bytes)


def _is_streamed(chunk_bytes: int) -> bool:
    """Whether a 32-bit size is what programs write that cannot know it: 0, nearly 2 GiB (sox, arecord), all ones."""
    return chunk_bytes == 0 or 0x7FFFF000 <= chunk_bytes <= 0x80001000 or chunk_bytes >= 0xFFFFF000


def _matroska_missing(head: bytes, size_bytes: int) -> int:
    """By the size of the Segment, which follows the EBML header and holds all the rest (RFC 9559, 5.1; RFC 8794, 4)."""
    header_bytes, at = _vint(head, len(_EBML))
    segment_at = at + (header_bytes or 0)
    if header_bytes is None or head[segment_at : segment_at + 4] != _SEGMENT:
        return 0
    segment_bytes, content_at = _vint(head, segment_at + 4)
    return 0 if segment_bytes is None else max(0, content_at + segment_bytes - size_bytes)


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """The size of variable length at `at` (None: not known, as in live recordings, or not there), and what follows."""
    first = data[at] if at < len(data) else 0
    length = 9 - first.bit_length()
    if length > 8 or at + length > len(data):
        return None, at
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _rf64_missing(head: bytes, size_bytes: int) -> int:
    if head[12:16] != b"ds64" or len(head) < 28:
        return 0
    promised_bytes = int.from_bytes(head[20:28], "little")
    return 0 if promised_bytes in {0, 0xFFFFFFFFFFFFFFFF} else _shortfall(promised_bytes + 8, size_bytes)


def _shortfall(promised_bytes: int, size_bytes: int) -> int:
    short_bytes = promised_bytes - size_bytes
    return short_bytes if short_bytes > _SLACK_BYTES else 0


def _mp4_missing(read_at: ReadAt, size_bytes: int) -> int:
    """Walk the top-level boxes: each must end within the file, and the index (moov) must be among them."""
    offset_bytes = 0
    kinds: set[bytes] = set()
    for _ in range(_MAX_BOXES):
        header = read_at(offset_bytes, 16)
        if len(header) < 8:
            return 0 if b"moov" in kinds else 8
        box_bytes, kind = _box(header, size_bytes - offset_bytes)
        if box_bytes < 8:  # zeros where a box should begin, or rubbish after the last one
            return 0 if {b"moov", b"mdat"} <= kinds or kind.strip(b"\0") else size_bytes - offset_bytes
        kinds.add(kind)
        offset_bytes += box_bytes
        if offset_bytes > size_bytes:
            return offset_bytes - size_bytes
    return 0


def _box(header: bytes, rest_bytes: int) -> tuple[int, bytes]:
    """Length and kind of a box; a length of 0 means: to the end of the file. Less than 8: no box."""
    length_bytes, kind = int.from_bytes(header[:4], "big"), header[4:8]
    if length_bytes == 1:
        return int.from_bytes(header[8:16], "big") if len(header) == 16 else 0, kind
    if length_bytes == 0 and kind.strip(b"\0"):
        return rest_bytes, kind
    return length_bytes, kind
