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


def keep_few_arenas() -> None:
    """For this process, from now on: call before threads are begun."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """Return to the system what was freed but is kept for later."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
