"""The C library's heap."""

from __future__ import annotations

import contextlib
import ctypes


def give_back_memory() -> None:
    """Return to the system what was freed but is kept for later (glibc; another C library keeps it)."""
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
