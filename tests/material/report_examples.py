"""Results, failures and pairs for the tests of reports: plausible defaults, any field by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Coverage,
    Estimate,
    FileStamp,
    Identity,
    Inconclusive,
    MeasuredSide,
    MediaFile,
    MethodResult,
    MethodStatus,
    Rate,
    Result,
    Segment,
    SegmentKind,
    Verdict,
)
from syncd.reports.facts import ProcessingFacts, ReportSubject, new_analysis_id

MOMENT = datetime(2026, 8, 27, 14, 30, 52, tzinfo=UTC)
SETTINGS = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
SIDE = MeasuredSide(1800.0, 48_000, 2, "pcm_s24le", "wav", 0)
PROCESSING = ProcessingFacts(3.2, {"decode": 1.5, "correlate": 1.7}, "cpu", 250_000_000, None, 0, 1)


def media_file(path: Path, fingerprint: str = "f00d") -> MediaFile:
    """A file as the watch room hands it on."""
    return MediaFile(path, Identity(1000, 1, fingerprint), FileStamp(1, 2, 1000, 1, 1))


def subject(dub: Path = Path("/drop/Film_dub_fr.wav"), master: Path | None = None, **changes: Any) -> ReportSubject:
    """The pair `Film`, its master beside the dub unless named."""
    master = master or dub.with_name("Film_master.wav")
    plain = ReportSubject(
        job_id=12,
        analysis_id=new_analysis_id(MOMENT, "abc12345"),
        profile="default",
        language="fr",
        created_at=MOMENT,
        settings=SETTINGS,
        master=media_file(master, f"master {master.name}"),
        dub=media_file(dub, "dub"),
        title="Film",
    )
    return replace(plain, **changes)


def result(offset_s: float | None = -2.456, verdict: Verdict = Verdict.OFFSET, **changes: Any) -> Result:
    """Late by 2.456 s unless told otherwise; None: no offset."""
    consensus = None if offset_s is None else Estimate(offset_s, 0.99, 0.2)
    method = MethodResult(
        "correlation",
        MethodStatus.INCONCLUSIVE if consensus is None else MethodStatus.OK,
        consensus or Inconclusive(("Nothing to hear",)),
        12.5,
        0.4,
        {"windows": 23, "curve": [0.1, 0.2]},
    )
    match = Segment(SegmentKind.MATCH, 0.0, 1797.544, 2.456, 1800.0, offset_s, None, None, 0.99)
    plain = Result(
        master=SIDE,
        dub=SIDE,
        verdict=verdict,
        review=False,
        consensus=consensus,
        rate=None if consensus is None else Rate(),
        timeline=() if consensus is None else (match,),
        coverage=Coverage(0.0, 0.0) if consensus is None else Coverage(0.9986, 0.9986),
        candidates=(),
        method_results=(method,),
        overall_confidence=0.99,
        method_agreement=0.98,
        channels_used="side",
        settings={"peak_deviations": 8.0},
        stage_seconds={"decode": 1.5},
    )
    return replace(plain, **changes)
