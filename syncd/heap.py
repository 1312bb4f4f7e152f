"""The C library's heap: glibc's is told to keep little for later; another keeps what it keeps."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

ARENAS: Final = 2
"""Else every thread may have one of its own, and hold what it once needed."""
_M_ARENA_MAX: Final = -8
"""Of glibc's mallopt(3)."""


def keep_few_arenas() -> None:
    """For this process, from now on: call before threads are begun."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Return to the system what was freed but is kept for later."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
