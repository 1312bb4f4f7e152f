"""Reports of earlier lives of the ledger: does one lie beside the dub that is about these very versions of a pair?"""

from __future__ import annotations

import math
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import msgspec

from syncd.domain import Failure, MediaFile, Pair, PastAnswer, PastReport, Verdict
from syncd.errors import DetailValue, ErrorCode, SyncdError
from syncd.reports.facts import Report
from syncd.reports.names import sidecar_names
from syncd.reports.sidecar import report_to_text
from syncd.reports.store import read_report

SAYS_NOTHING: Final = frozenset({ErrorCode.FILE_NOT_FOUND, ErrorCode.FILE_CHANGED})
"""Failures of the moment: the files as they are now were never looked at."""
_YEARS: Final = range(2000, 9000)
"""Those that can be reckoned with in any time zone."""


class _Side(msgspec.Struct):
    size_bytes: int
    fingerprint: str


class _Offset(msgspec.Struct):
    offset_seconds: float


class _Error(msgspec.Struct):
    code: ErrorCode
    message: str
    details: dict[str, DetailValue] = {}


class _Sidecar(msgspec.Struct):
    """The fields of sync_report.v1 that a row of the ledger is made of."""

    profile: str
    language: str | None
    created_at: Annotated[datetime, msgspec.Meta(tz=True)]
    master: _Side
    dub: _Side
    verdict: Verdict
    review: bool
    consensus_offset: _Offset | None
    overall_confidence: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] | None
    error: _Error | None
    quarantine: str | None = None


def find_past_report(pair: Pair, profile: str, *, fallback: Path | None) -> PastReport | None:
    """The report on these versions beside the dub or in `fallback`; None: there is none that can be read.

    A report that is older than a file it names is about another version of it.
    """
    for path in _places(pair, profile, fallback):
        try:
            report, written_ns = read_report(path), path.stat().st_mtime_ns
        except (SyncdError, OSError):
            continue
        if written_ns < max(_written_ns(pair.master), _written_ns(pair.dub)):
            continue
        if (past := past_report(report, path, pair, profile)) is not None:
            return past
    return None


def past_report(report: Report, path: Path, pair: Pair, profile: str) -> PastReport | None:
    """What the report says, if it asks this question of these versions; None: of others, or not as it should be."""
    try:
        sidecar = msgspec.convert(report, _Sidecar)
        text = report_to_text(report)
    except (msgspec.ValidationError, ValueError, OverflowError, RecursionError):
        return None
    same = _is_of(sidecar.master, pair.master) and _is_of(sidecar.dub, pair.dub)
    if sidecar.created_at.year not in _YEARS:
        return None
    if not same or (sidecar.profile, sidecar.language) != (profile, pair.language):
        return None
    outcome = _outcome(sidecar)
    if outcome is None:
        return None
    is_quarantined = isinstance(outcome, Failure) and sidecar.quarantine is not None
    return PastReport(text, path, sidecar.created_at, outcome, is_quarantined)


def _outcome(sidecar: _Sidecar) -> PastAnswer | Failure | None:
    if (error := sidecar.error) is not None:
        failure = Failure(error.code, error.message, error.details)
        return None if error.code in SAYS_NOTHING else failure
    if sidecar.overall_confidence is None:
        return None
    offset_s = None if sidecar.consensus_offset is None else sidecar.consensus_offset.offset_seconds
    if offset_s is not None and not math.isfinite(offset_s):
        return None
    return PastAnswer(sidecar.verdict, sidecar.review, offset_s, sidecar.overall_confidence)


def _is_of(side: _Side, file: MediaFile) -> bool:
    """A file that nobody could read has no fingerprint: then nothing says which version the report means."""
    identity = file.identity
    return bool(identity.fingerprint) and (side.size_bytes, side.fingerprint) == (
        identity.size_bytes,
        identity.fingerprint,
    )


def _places(pair: Pair, profile: str, fallback: Path | None) -> list[Path]:
    """Where the report would be, but for the rare third name, which depends on what the analysis chose."""
    folders = [(pair.dub.path.parent, False), *([] if fallback is None else [(fallback, True)])]
    return [
        folder / name
        for folder, differs in folders
        for name in sidecar_names(pair.dub.path, pair.master.path, profile, claim=b"", folder_differs=differs)[:2]
    ]


def _written_ns(file: MediaFile) -> int:
    stamps = [stem.stamp for stem in file.stems] or [file.stamp]
    return max(stamp.mtime_ns for stamp in stamps)
