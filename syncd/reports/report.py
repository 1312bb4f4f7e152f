"""The report step: where a report belongs, and writing it there. The one thing the supervisor's report thread calls."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from syncd import __version__
from syncd.domain import Failure, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.plots import Plots
from syncd.reports.facts import ProcessingFacts, Report, ReportSubject, WrittenReport
from syncd.reports.html import render_page
from syncd.reports.names import page_path, sidecar_names
from syncd.reports.pages import write_page
from syncd.reports.plain import path_text
from syncd.reports.sidecar import build_report, report_to_text
from syncd.reports.store import read_report, write_text_atomically


def write_reports(
    subject: ReportSubject,
    outcome: Result | Failure,
    processing: ProcessingFacts,
    *,
    fallback: Path | None,
    plots: Plots | None = None,
) -> WrittenReport:
    """Write the sidecar, and the page if the profile asks for it.

    Beside the dub; where that folder may not be written to, into `fallback` (made if missing). A page that fails costs
    the sidecar nothing: `html_error` tells of it. Raises `SyncdError` DISK_FULL, PERMISSION_DENIED, FILE_NOT_FOUND (the
    dub's folder is gone) or INTERNAL.
    """
    report = build_report(subject, outcome, processing, syncd_version=__version__)
    try:
        return _write_into(subject.dub.path.parent, subject, report, plots)
    except SyncdError as error:
        if fallback is None or error.code is not ErrorCode.PERMISSION_DENIED:
            raise
    _make_folder(fallback)
    return _write_into(fallback, subject, report, plots)


def sidecar_path(folder: Path, subject: ReportSubject, report: Report) -> Path:
    """The best name in `folder` that is free or holds an earlier report on the same question.

    The same question: this master (by path or by content), this profile, these tracks. Whatever else lies there, a
    report on another question or a stranger's file, is left alone. Raises `SyncdError` PERMISSION_DENIED where every
    name is taken.
    """
    dub, master = subject.dub.path, subject.master.path
    claim = os.fsencode(master) + f"\0{subject.profile}\0{_tracks(report)}".encode()
    beside = folder == dub.parent
    for name in sidecar_names(dub, master, subject.profile, claim=claim, folder_differs=not beside):
        path = folder / name
        if _is_free_or_ours(path, report):
            return path
    taken = f"Every name for the report on {path_text(dub)} is taken by files that syncd did not write for it."
    raise SyncdError(ErrorCode.PERMISSION_DENIED, taken, {"folder": path_text(folder)})


def _write_into(folder: Path, subject: ReportSubject, report: Report, plots: Plots | None) -> WrittenReport:
    path = sidecar_path(folder, subject, report)
    text = report_to_text(report)
    write_text_atomically(path, text)
    if not subject.settings.html:
        return WrittenReport(text, path, None)
    try:
        return WrittenReport(text, path, write_page(page_path(path), render_page(report, plots)))
    except SyncdError as error:
        return WrittenReport(text, path, None, error)


def _is_free_or_ours(path: Path, report: Report) -> bool:
    if path.is_symlink():
        return False
    try:
        return _same_question(read_report(path), report)
    except SyncdError:
        return not os.path.lexists(
            path
        )  # a folder that may not be searched is free too: writing then says what is wrong


def _same_question(old: Report, new: Report) -> bool:
    if old.get("profile") != new["profile"] or not _same_file(old.get("master"), new["master"]):
        return False
    pairs = zip(_tracks(old), _tracks(new), strict=True)
    return all(before == now or before is None or now is None for before, now in pairs)


def _same_file(old: Any, new: Report) -> bool:
    """By path (another version of it) or by content (moved meanwhile)."""
    if not isinstance(old, dict):
        return False
    same_path = all(old.get(key) == new.get(key) for key in ("path", "path_base64"))
    return same_path or old.get("fingerprint") == new["fingerprint"]


def _tracks(report: Report) -> tuple[Any, Any]:
    """The audio tracks of both sides; None where a failed job never learned them."""
    sides = (report.get("master"), report.get("dub"))
    master, dub = (side.get("track") if isinstance(side, dict) else None for side in sides)
    return master, dub


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        words = f"The folder for reports, {path_text(folder)}, cannot be made: {error.strerror}."
        raise SyncdError(ErrorCode.PERMISSION_DENIED, words) from error
