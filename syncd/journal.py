"""The journal's own protocol: an entry is a datagram of fields, so that `journalctl SYNCD_JOB=12` finds a job's lines.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SOCKET: Final = Path("/run/systemd/journal/socket")
MOST_BYTES: Final = 32_768
"""Of a value: what is longer is cut, so that an entry fits into a datagram."""
_BUFFER_BYTES: Final = 1 << 20
_NOT_IN_NAMES: Final = re.compile(r"[^A-Z0-9]+")


def is_ours(descriptor: int) -> bool:
    """Whether what is written there goes to the journal (``JOURNAL_STREAM``, systemd.exec(5))."""
    try:
        status = os.fstat(descriptor)
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


def field_name(key: str) -> str:
    """``offset_s`` is ``SYNCD_OFFSET_S``."""
    return f"SYNCD_{_NOT_IN_NAMES.sub('_', key.upper())}"[:64]


def encode(fields: Mapping[str, str]) -> bytes:
    """One entry; a value of several lines, or whatever bytes, is preceded by its length."""
    entry = bytearray()
    for name, text in fields.items():
        value = text.encode("utf-8", "backslashreplace")[:MOST_BYTES]
        entry += name.encode("ascii")
        if b"\n" in value:
            entry += b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
        else:
            entry += b"=" + value + b"\n"
    return bytes(entry)


class Journal:
    """Sends entries; never waits for a journal that is busy or gone."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = os.fspath(path)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._socket.settimeout(0.0)

    def send(self, fields: Mapping[str, str]) -> bool:
        """Whether the journal has it."""
        try:
            self._socket.sendto(encode(fields), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of the socket."""
        self._socket.close()
