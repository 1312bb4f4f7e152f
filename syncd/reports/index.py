"""The page that lists the reports of a watched folder. Pure, but for `link_of`, which looks what is there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import quote_from_bytes

from syncd.reports.html import render_index
from syncd.reports.names import page_path
from syncd.reports.plain import path_text, text

INDEX_NAME: Final = "index.sync.html"
MOST_LISTED: Final = 1_000
"""The newest; `syncctl list` knows them all."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One report, as a line says it."""

    title: str
    language: str | None
    dub: str
    verdict: str
    """A key of `html.VERDICTS`."""
    review: bool
    offset_s: float | None
    created_at: datetime | None
    link: str
    """Relative to the index."""


def link_of(sidecar: Path, folder: Path) -> str | None:
    """Where the report's page lies, or else its sidecar, as a relative address; None where neither is there."""
    for path in (page_path(sidecar), sidecar):
        if os.path.lexists(path):
            return address_of(path, folder)
    return None


def address_of(path: Path, folder: Path) -> str:
    """The path below the folder as a browser takes it, byte for byte."""
    # "./" keeps a name that begins like "javascript:" a name.
    return "./" + quote_from_bytes(os.fsencode(path.relative_to(folder)), safe="/")


def _moment(line: Listed) -> float:
    return line.created_at.timestamp() if line.created_at else 0.0


def index_page(folder: Path, lines: Sequence[Listed], *, more: bool) -> str:
    """The index of a folder; `more`: there are reports that it leaves out."""
    rows = [
        {
            "title": text(line.title),
            "language": text(line.language or ""),
            "dub": text(line.dub),
            "verdict": line.verdict,
            "review": line.review,
            "offset_s": line.offset_s,
            "date": line.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M") if line.created_at else None,
            "moment": _moment(line),
            "link": line.link,
        }
        for line in sorted(lines, key=_moment, reverse=True)
    ]
    return render_index(folder=path_text(folder), rows=rows, more=more)
