"""Names of files that are being written, from which anybody can tell whether their writer still lives."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from functools import cache
from pathlib import Path
from typing import Final

ENDING: Final = ".sync.tmp"
ABANDONED_AFTER_S: Final = 86_400.0
"""Whoever wrote it, on whichever machine: nothing is written for a day."""

_NAME: Final = re.compile(r"\.[0-9a-f]{8}\.([0-9a-f]{8})\.([0-9]+)\.[0-9a-f]{8}" + re.escape(ENDING))


def temporary_name(target: bytes) -> str:
    """A hidden name for what will be called `target`: short whatever that is, and no other writer's."""
    return f".{_digest8(target)}.{_this_boot()}.{os.getpid()}.{secrets.token_hex(4)}{ENDING}"


def is_abandoned(name: str, age_s: float) -> bool:
    """Whether a file of this name, last written so long ago, is one of those whose writer is gone."""
    match = _NAME.fullmatch(name)
    if match is None:
        return False
    boot, pid = match.groups()
    return age_s > ABANDONED_AFTER_S or (boot == _this_boot() and not Path(f"/proc/{int(pid)}").exists())


@cache
def _this_boot() -> str:
    """Of this machine since it was started: process numbers mean nothing beyond it."""
    try:
        return _digest8(Path("/proc/sys/kernel/random/boot_id").read_bytes())
    except OSError:
        return "0" * 8


def _digest8(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:8]
