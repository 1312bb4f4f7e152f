"""What a report is about and what it took: the values that the caller hands in, and what it gets back."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.domain import AnalysisSettings, CacheUse, MediaFile, MediaInfo
from syncd.errors import SyncdError

Report = dict[str, Any]
"""A sidecar's content by the names of sync_report.v1, keys in the order in which they are written."""


@dataclass(frozen=True, slots=True)
class ReportSubject:
    """The pair that was asked about, and under which conditions."""

    job_id: int | None
    """None where there is no ledger (`syncctl analyze`)."""
    analysis_id: str
    profile: str
    language: str | None
    created_at: datetime
    """Aware."""
    settings: AnalysisSettings
    master: MediaFile
    dub: MediaFile
    master_info: MediaInfo | None = None
    """What the probe said; all that a failed job's report knows of the file's inside."""
    dub_info: MediaInfo | None = None
    master_track: int | None = None
    """The audio track that was asked for, from 0; None: the analysis chose."""
    dub_track: int | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class ProcessingFacts:
    """What the answer cost."""

    seconds: float
    stages: dict[str, float] = field(default_factory=dict)
    """Seconds by stage; empty: as the result says."""
    device: str = "cpu"
    peak_rss_bytes: int | None = None
    peak_vram_bytes: int | None = None
    scratch_bytes: int | None = None
    attempt: int = 1
    degraded: tuple[str, ...] = ()
    """What was given up on the way down the ladder, in words."""
    cache: CacheUse | None = None
    """None: it is switched off."""
    quarantine_reason: str | None = None
    """Why the job is not to be tried again."""


@dataclass(frozen=True, slots=True)
class WrittenReport:
    """What now lies on the disk."""

    json_text: str
    """The sidecar's text, for the ledger."""
    sidecar_path: Path
    html_path: Path | None
    """None: not asked for, or not written (`html_error`)."""
    html_error: SyncdError | None = None
    """Why the page is missing; the sidecar stands all the same."""


def new_analysis_id(now: datetime, random_hex: str) -> str:
    """``analysis_20260827_143052_abc12345``: the aware moment `now` in UTC and the first 8 digits of `random_hex`."""
    return f"analysis_{now.astimezone(UTC):%Y%m%d_%H%M%S}_{random_hex[:8]}"
