"""Sentences about files that found no partner, and about folders."""

from __future__ import annotations

import os

from syncd.domain import OrphanReason
from syncd.watch.naming import ParsedName


def printable(text: str) -> str:
    """The text with every byte that is not UTF-8 replaced, so that it can be printed and stored."""
    return os.fsencode(text).decode("utf-8", "replace")


def orphan_message(path: str, reason: OrphanReason, parsed: ParsedName | None, arriving: str | None = None) -> str:
    """What is missing, by name; `arriving`: the path of a partner that is there and not complete yet."""
    name = printable(path.rpartition("/")[2])
    title = parsed.title if parsed is not None else "TITLE"
    extension = name.rpartition(".")[2]
    if arriving is not None and reason in {OrphanReason.NO_MASTER, OrphanReason.NO_DUB}:
        partner = printable(arriving.rpartition("/")[2])
        return f"'{name}' waits for '{partner}', which is not complete: somebody still writes it, or it ends early."
    match reason:
        case OrphanReason.NO_MASTER:
            return f"'{name}' has no master: a file like '{title}_master.{extension}' is missing beside it."
        case OrphanReason.NO_DUB:
            return f"'{name}' has no dub: a file like '{title}_dub_fr.{extension}' is missing beside it."
        case OrphanReason.NO_ROLE:
            return (
                f"The name '{name}' says neither master nor dub: "
                f"it should be like 'TITLE_master.{extension}' or 'TITLE_dub_fr.{extension}'."
            )
        case OrphanReason.AMBIGUOUS_PAIR:
            return f"More than one master claims the title '{title}', so '{name}' was paired with nothing."


def unwritable_message(folder: str, *, is_read_only: bool) -> tuple[str, str]:
    """Why no report can be written in a watched folder, and what to do."""
    if is_read_only:
        message = f"The folder {folder} is read-only for the service: no report can be written beside its dubs."
        advice = (
            "Where the unit keeps it so: 'syncctl install-service', then 'systemctl daemon-reload && systemctl restart "
            "syncd'. Else mount it for writing, or set reports.fallback."
        )
        return message, advice
    return (
        f"The folder {folder} may not be written to by the service's user: no report can be written beside its dubs.",
        "Give the service's user the right to write there, or set reports.fallback; 'syncctl doctor' tries it.",
    )
