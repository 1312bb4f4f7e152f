"""What this process holds beyond what it uses: glibc's heap is told to keep little, and Python's table of names to be.

On another C library the heap keeps what it keeps.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Final

ARENAS: Final = 2
"""Else every thread may have one of its own, and hold what it once needed."""
LARGE_BYTES: Final = 128 * 1024
"""What is larger comes from the system and goes back to it. That is glibc's own figure, but unless it is set, glibc
raises it to the size of whatever was freed, and the next large block (Python's table of names, anew) stays in the heap.
"""
_M_MMAP_THRESHOLD: Final = -3
_M_ARENA_MAX: Final = -8
"""Of glibc's mallopt(3)."""
NAMES_TO_COME: Final = 48_000
"""About as many as there are from the start: the table then has room for as many again."""


def make_room_for_names() -> None:
    """Let Python's table of interned names have the size now that it would have after some 1,700 jobs.

    `pathlib` puts every part of a path there for as long as the path lives, a dozen and more a job. The table counts
    who came, not who is left, and doubles once when it is full, by two megabytes: that looks like a leak.
    """
    _names = [sys.intern(f"a name to come {number}") for number in range(NAMES_TO_COME)]


def keep_little() -> None:
    """Few arenas, and no large blocks in them; for this process, from now on: call before threads are begun."""
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, ARENAS)
        mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back_memory() -> None:
    """Return to the system what was freed but is kept for later."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
