"""File stamps in 48 bytes each, and in 8 for files at rest: half a million of those must stay cheap."""

from __future__ import annotations

import os
import struct
from typing import Final

from syncd.domain import FileStamp

PackedStamp = bytes
"""A `FileStamp` as 48 bytes; equal exactly when the stamps are."""

Mark = bytes
"""What is kept of a stamp while its file rests: 8 bytes, others for another stamp but for one chance in 2**64."""

MARK_BYTES: Final = 8
_FIELDS: Final = struct.Struct("<QQqqqq")


def pack_stat(status: os.stat_result) -> PackedStamp:
    """The stamp of what `stat` saw."""
    return _FIELDS.pack(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_blocks
    )


def pack_stamp(stamp: FileStamp) -> PackedStamp:
    """The inverse of `unpack_stamp`."""
    return _FIELDS.pack(stamp.device, stamp.inode, stamp.size_bytes, stamp.mtime_ns, stamp.ctime_ns, stamp.blocks)


def unpack_stamp(packed: PackedStamp) -> FileStamp:
    """The stamp that travels between the rooms."""
    return FileStamp(*_FIELDS.unpack(packed))


def mark_of(packed: PackedStamp) -> Mark:
    """The mark of a stamp; means nothing in another process."""
    return hash(packed).to_bytes(MARK_BYTES, "little", signed=True)
