"""Pages on the disk: written whole, and never over a file that syncd did not write."""

from __future__ import annotations

import os
from pathlib import Path

from syncd.errors import ErrorCode, SyncdError
from syncd.reports.html import PAGE_MARK
from syncd.reports.plain import path_text
from syncd.reports.store import write_text_atomically

MARK_WITHIN_BYTES = 1024


def write_page(path: Path, page: str) -> Path:
    """Put the page there; raises what `write_text_atomically` raises, and PERMISSION_DENIED over a stranger's file."""
    if os.path.lexists(path) and not is_page_of_ours(path):
        taken = f"{path_text(path)} is a file that syncd did not write, so the page is left out."
        raise SyncdError(ErrorCode.PERMISSION_DENIED, taken)
    write_text_atomically(path, page)
    return path


def is_page_of_ours(path: Path) -> bool:
    """Whether a page of syncd's lies there."""
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            return PAGE_MARK.encode() in file.read(MARK_WITHIN_BYTES)
    except OSError:
        return False
