"""How streams without a length end: Ogg pages, ADTS and AC-3 frames say how long each is, not how many there are.

A copy that broke off plays as if it were shorter. Its end gives it away: the last page or frame is not all there, or an
Ogg's last page does not say that it is the last (RFC 3533, 6; ISO 13818-7, 6.2; ETSI TS 102 366, 5.3 and E.1.2).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

_TAIL_BYTES: Final = 1 << 17
"""Of the file's end: more than the two longest pages of Ogg."""
_OGG_HEAD_BYTES: Final = 27
_OGG_FLAGS_AT: Final = 5
_OGG_IS_LAST: Final = 0x04
_ADTS_HEAD_BYTES: Final = 6
_AC3_HEAD_BYTES: Final = 6
_AC3_SAMPLES: Final = 1536
_AC3_RATES_HZ: Final = (48_000, 44_100, 32_000)
_AC3_KBPS: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640)
_AC3_LAST_VERSION: Final = 10
_EAC3_LAST_VERSION: Final = 16


class Ending(Enum):
    """What a file's last bytes say."""

    WHOLE = "whole"
    """Or nothing can be said."""
    CUT = "cut"
    """In the middle of a page or frame."""
    UNMARKED = "unmarked"
    """At the end of a page that is not marked as the last one."""


@dataclass(frozen=True, slots=True)
class _Format:
    unit: str
    """What it is made of, as people call it."""
    sync: bytes
    head_bytes: int
    """As many as tell the length of a unit."""
    fixed: bytes
    """Which bits are the same in the heads of all units."""
    length_bytes: Callable[[bytes, int], int | None]
    """Of the unit whose whole head lies here; None: no unit has such a head."""
    believed: int
    """More units than this in a row are no chance."""

    def fixed_part(self, head: bytes) -> bytes:
        """Of a head, or of its beginning."""
        return bytes(byte & mask for byte, mask in zip(head, self.fixed, strict=False))


def unit_of(container: str) -> str:
    """What files of this container end in the middle of, if they are `Ending.CUT`."""
    return _FORMATS[container].unit


def ending(path: Path, container: str) -> Ending:
    """How the file ends, by its last 128 KiB; `container` by libavformat's name."""
    form = _FORMATS.get(container)
    if form is None:
        return Ending.WHOLE
    with path.open("rb", buffering=0) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        from_byte = max(0, size_bytes - _TAIL_BYTES)
        tail = os.pread(file.fileno(), _TAIL_BYTES, from_byte)
    return _ending(form, tail, is_all=from_byte == 0)


def _ending(form: _Format, tail: bytes, *, is_all: bool) -> Ending:
    found, at = Ending.WHOLE, 0
    while (first := tail.find(form.sync, at)) >= 0:
        units = list(_units(form, tail, first))
        at = first + 1
        if not units or (len(units) <= form.believed and not (is_all and first == 0)):
            continue
        last, at = units[-1]
        if at > len(tail) or _begins_a_unit(form, tail[at:], tail[first:]):
            return Ending.CUT
        is_unmarked = form is _OGG and not tail[last + _OGG_FLAGS_AT] & _OGG_IS_LAST
        found = Ending.UNMARKED if is_unmarked else Ending.WHOLE
    return found


def _units(form: _Format, tail: bytes, at: int) -> Iterator[tuple[int, int]]:
    """Beginning and end of one unit after the other, as long as they agree; the last may end beyond what is there."""
    fixed = form.fixed_part(tail[at:])
    while at + form.head_bytes <= len(tail) and form.fixed_part(tail[at : at + form.head_bytes]) == fixed:
        length_bytes = form.length_bytes(tail, at)
        if length_bytes is None:
            return
        yield at, at + length_bytes
        at += length_bytes


def _begins_a_unit(form: _Format, rest: bytes, first: bytes) -> bool:
    """Whether what is left is the beginning of a head like the first."""
    return 0 < len(rest) < form.head_bytes and form.fixed_part(rest) == form.fixed_part(first[: len(rest)])


def _ogg_bytes(tail: bytes, at: int) -> int:
    """Of a page; with its table of lengths cut, of what is known of it."""
    table = tail[at + _OGG_HEAD_BYTES :][: tail[at + _OGG_HEAD_BYTES - 1]]
    return _OGG_HEAD_BYTES + tail[at + _OGG_HEAD_BYTES - 1] + sum(table)


def _adts_bytes(tail: bytes, at: int) -> int | None:
    head = tail[at : at + _ADTS_HEAD_BYTES]
    length_bytes = (head[3] & 0b11) << 11 | head[4] << 3 | head[5] >> 5
    is_head = head[1] & 0b1111_0110 == 0b1111_0000 and length_bytes > _ADTS_HEAD_BYTES
    return length_bytes if is_head else None


def _ac3_bytes(tail: bytes, at: int) -> int | None:
    """Of a frame of AC-3 or E-AC-3, which the version of the bit stream tells apart."""
    head = tail[at : at + _AC3_HEAD_BYTES]
    version = head[5] >> 3
    if version > _EAC3_LAST_VERSION:
        return None
    if version > _AC3_LAST_VERSION:
        return 2 * (((head[2] & 0b111) << 8 | head[3]) + 1)
    rate, code = head[4] >> 6, head[4] & 0b11_1111
    if rate >= len(_AC3_RATES_HZ) or code >= 2 * len(_AC3_KBPS):
        return None
    words, rest = divmod(_AC3_KBPS[code // 2] * 1000 * _AC3_SAMPLES, 16 * _AC3_RATES_HZ[rate])
    return 2 * (words + (code & 1 if rest else 0))


_OGG: Final = _Format("page", b"OggS\0", _OGG_HEAD_BYTES, b"\xff" * 5, _ogg_bytes, believed=1)
_ADTS: Final = _Format("frame", b"\xff", _ADTS_HEAD_BYTES, b"\xff\xff\xff\xc0", _adts_bytes, believed=3)
_AC3: Final = _Format("frame", b"\x0b\x77", _AC3_HEAD_BYTES, b"\xff\xff\0\0\xc0\xf8", _ac3_bytes, believed=3)
_FORMATS: Final = {"ogg": _OGG, "aac": _ADTS, "ac3": _AC3, "eac3": _AC3}
"""By libavformat's names."""
