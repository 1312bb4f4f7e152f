"""The sidecar's content: from what was found to a dictionary that sync_report.v1 describes. Pure.

Version 1 grows by optional fields only, so the published schema tolerates names it does not know, while everything that
is written today is required. A failed or quarantined job gets the same shape: status failed, verdict inconclusive (no
answer is what the pair has), an `error`, its advice among the recommendations, and what the probe knew of the files.
"""

from __future__ import annotations

import base64
import json
import os
from importlib import resources
from typing import Any, Final

from syncd.clock import utc_to_text
from syncd.domain import (
    AiResult,
    AnalysisSettings,
    AudioTrack,
    Candidate,
    Coverage,
    Estimate,
    Failure,
    Inconclusive,
    MeasuredSide,
    MediaFile,
    MediaInfo,
    MethodResult,
    Rate,
    Result,
    Segment,
    Verdict,
)
from syncd.errors import ErrorCode, SyncdError
from syncd.reports.correction import correction
from syncd.reports.facts import ProcessingFacts, Report, ReportSubject
from syncd.reports.master_clock import counts_drop_frame, native_rate
from syncd.reports.plain import is_utf8, json_ready, milliseconds, path_text, rounded, seconds, share
from syncd.reports.recommend import (
    failure_recommendations,
    failure_status,
    recommendations,
    sync_status,
)
from syncd.units import FRAME_RATES, rate_to_ppm, seconds_to_frames, seconds_to_samples, seconds_to_timecode

SCHEMA_NAME: Final = "sync_report.v1"
_WITHOUT_OFFSET: Final = frozenset({Verdict.INCONCLUSIVE, Verdict.NO_MATCH})


def build_report(
    subject: ReportSubject, outcome: Result | Failure, processing: ProcessingFacts, *, syncd_version: str
) -> Report:
    """The report by the names and in the order of sync_report.v1.

    Seconds have 6 decimals, milliseconds 3, shares 4; nothing in it is NaN or infinite. Raises `SyncdError` INTERNAL on
    a result that contradicts itself: a verdict that needs an offset and has none, or one that is not finite.
    """
    answer = _failed(subject, outcome) if isinstance(outcome, Failure) else _completed(subject, _consistent(outcome))
    stages = processing.stages or ({} if isinstance(outcome, Failure) else outcome.stage_seconds)
    report = {
        "schema": SCHEMA_NAME,
        "syncd_version": syncd_version,
        "analysis_id": subject.analysis_id,
        "job_id": subject.job_id,
        "title": subject.title,
        "profile": subject.profile,
        "language": subject.language,
        "created_at": utc_to_text(subject.created_at),
        **answer,
        "tolerance": _tolerance(subject.settings),
        "processing": _processing(processing, stages),
        "warnings": [] if isinstance(outcome, Failure) else list(outcome.warnings),
        "settings": _settings(subject.settings, outcome),
        "error": _error(outcome) if isinstance(outcome, Failure) else None,
    }
    if processing.quarantine_reason is not None:
        report["quarantine"] = processing.quarantine_reason
    ready: Report = json_ready(report)
    return ready


def report_to_text(report: Report) -> str:
    """The report as it is written: UTF-8 JSON, two spaces of indent, a final newline."""
    return json.dumps(report, ensure_ascii=False, allow_nan=False, indent=2) + "\n"


def schema_text() -> str:
    """The JSON Schema (2020-12) of the report, as the package carries it."""
    return resources.files("syncd.reports").joinpath(f"{SCHEMA_NAME}.schema.json").read_text(encoding="utf-8")


def _consistent(result: Result) -> Result:
    consensus = result.consensus
    if result.verdict in _WITHOUT_OFFSET:
        return result
    if consensus is None or seconds(consensus.offset_s) is None or milliseconds(consensus.uncertainty_ms) is None:
        raise SyncdError(ErrorCode.INTERNAL, f"The analysis says {result.verdict.value} without a finite offset.")
    return result


def _completed(subject: ReportSubject, result: Result) -> Report:
    # One command moves one file: of a side of stems it would move one channel away from the others.
    mend = None if subject.dub.stems else correction(result, subject.dub.path)
    return {
        "status": "completed",
        "master": _file(subject.master) | _measured(result.master) | _stored(subject.master),
        "dub": _file(subject.dub) | _measured(result.dub) | _stored(subject.dub),
        "verdict": result.verdict.value,
        "review": result.review,
        "reasons": list(result.reasons),
        "consensus_offset": _consensus(result),
        "rate": _rate(result.rate),
        "timeline": [_segment(segment) for segment in result.timeline],
        "coverage": _coverage(result.coverage),
        "candidates": [_candidate(candidate) for candidate in result.candidates],
        "method_results": [_method(each) for each in result.method_results],
        "ai_result": _ai(result.ai),
        "overall_confidence": share(result.overall_confidence),
        "method_agreement": share(result.method_agreement),
        "channels_used": result.channels_used,
        "analysis_version": result.analysis_version,
        "sync_status": sync_status(result, subject.settings.tolerance),
        "recommendations": recommendations(result, subject.settings, mend),
        "correction": mend,
    }


def _failed(subject: ReportSubject, failure: Failure) -> Report:
    master = _probed(subject.master_info, subject.master_track)
    dub = _probed(subject.dub_info, subject.dub_track)
    return {
        "status": "failed",
        "master": _file(subject.master) | master | _stored(subject.master),
        "dub": _file(subject.dub) | dub | _stored(subject.dub),
        "verdict": Verdict.INCONCLUSIVE.value,
        "review": True,
        "reasons": [failure.message],
        "consensus_offset": None,
        "rate": None,
        "timeline": [],
        "coverage": None,
        "candidates": [],
        "method_results": [],
        "ai_result": None,
        "overall_confidence": None,
        "method_agreement": None,
        "channels_used": None,
        "analysis_version": None,
        "sync_status": failure_status(failure),
        "recommendations": failure_recommendations(failure),
        "correction": None,
    }


def _file(file: MediaFile) -> Report:
    named: Report = {"path": path_text(file.path)}
    if not is_utf8(file.path):
        named["path_base64"] = base64.b64encode(os.fsencode(file.path)).decode("ascii")
    if file.stems:
        named["stems"] = [{"channel": stem.channel, "path": path_text(stem.path)} for stem in file.stems]
    return named


def _stored(file: MediaFile) -> Report:
    return {"size_bytes": file.identity.size_bytes, "fingerprint": file.identity.fingerprint}


def _measured(side: MeasuredSide) -> Report:
    return {
        "duration_seconds": seconds(side.duration_s),
        "sample_rate": side.sample_rate_hz,
        "channels": side.channels,
        "codec": side.codec,
        "container": side.container,
        "track": side.track,
        "start_timecode": side.start_timecode,
        "frame_rate": side.frame_rate,
        "codec_delay_ms": milliseconds(side.codec_delay_ms),
    }


def _probed(info: MediaInfo | None, track: int | None) -> Report:
    chosen = _track(info, track)
    return {
        "duration_seconds": seconds(info.duration_s) if info else None,
        "sample_rate": chosen.sample_rate_hz if chosen else None,
        "channels": chosen.channels if chosen else None,
        "codec": chosen.codec if chosen else None,
        "container": info.container if info else None,
        "track": chosen.index if chosen else track,
        "start_timecode": info.start_timecode if info else None,
        "frame_rate": info.frame_rate if info else None,
        "codec_delay_ms": None,
    }


def _track(info: MediaInfo | None, track: int | None) -> AudioTrack | None:
    """The track that was asked for, or the only one: which of several would have been chosen is not guessed."""
    if info is None:
        return None
    if track is None:
        return info.tracks[0] if len(info.tracks) == 1 else None
    return next((each for each in info.tracks if each.index == track), None)


def _consensus(result: Result) -> Report | None:
    if result.consensus is None or result.verdict in _WITHOUT_OFFSET:
        return None
    offset_s, sample_rate_hz = result.consensus.offset_s, result.dub.sample_rate_hz
    _, native = native_rate(result.master.frame_rate)
    timecodes: Report = {}
    if result.timecode_offset_s is not None:
        timecodes = {"timecode_offset_seconds": seconds(result.timecode_offset_s)}
    return {
        "offset_seconds": seconds(offset_s),
        "offset_samples": seconds_to_samples(offset_s, sample_rate_hz),
        "sample_rate": sample_rate_hz,
        "uncertainty_ms": milliseconds(result.consensus.uncertainty_ms),
        "offset_frames": {name: seconds_to_frames(offset_s, rate) for name, rate in FRAME_RATES.items()},
        "offset_timecode": seconds_to_timecode(offset_s, native, is_drop_frame=counts_drop_frame(result.master)),
        **timecodes,
        "confidence": share(result.consensus.confidence),
    }


def _rate(rate: Rate | None) -> Report | None:
    if rate is None:
        return None
    return {
        "ratio": rounded(rate.ratio, 9),
        "ppm": rounded(rate_to_ppm(rate.ratio), 3),
        "uncertainty_ppm": rounded(rate.uncertainty_ppm, 3),
        "name": rate.name,
        "pitch_semitones": rounded(rate.pitch_semitones, 3),
    }


def _segment(segment: Segment) -> Report:
    return {
        "master_start": seconds(segment.master_start_s),
        "master_end": seconds(segment.master_end_s),
        "dub_start": seconds(segment.dub_start_s),
        "dub_end": seconds(segment.dub_end_s),
        "kind": segment.kind.value,
        "offset_seconds": seconds(segment.offset_s),
        "lag_start_ms": milliseconds(segment.lag_start_ms),
        "lag_end_ms": milliseconds(segment.lag_end_ms),
        "confidence": share(segment.confidence),
    }


def _coverage(coverage: Coverage) -> Report:
    return {"master": share(coverage.master), "dub": share(coverage.dub)}


def _candidate(candidate: Candidate) -> Report:
    return {
        "offset_seconds": seconds(candidate.offset_s),
        "quality_score": rounded(candidate.quality_score, 3),
    }


def _method(result: MethodResult) -> Report:
    reasons = result.outcome.reasons if isinstance(result.outcome, Inconclusive) else ()
    return {
        "method": result.method,
        "status": result.status.value,
        "reasons": list(reasons),
        "offset": _method_offset(result.outcome),
        "quality_score": rounded(result.quality_score, 3),
        "processing_seconds": rounded(result.processing_s, 3),
        "metadata": dict(result.metadata),
    }


def _method_offset(outcome: Estimate | Inconclusive) -> Report | None:
    if isinstance(outcome, Inconclusive):
        return None
    return {
        "offset_seconds": seconds(outcome.offset_s),
        "confidence": share(outcome.confidence),
        "uncertainty_ms": milliseconds(outcome.uncertainty_ms),
    }


def _ai(result: AiResult | None) -> Report | None:
    if result is None:
        return None
    reasons = result.outcome.reasons if isinstance(result.outcome, Inconclusive) else ()
    return {
        "model": result.model,
        "checkpoint": result.checkpoint,
        "embedding_similarity": share(result.embedding_similarity),
        "temporal_consistency": share(result.temporal_consistency),
        "model_confidence": share(result.model_confidence),
        "offset": _method_offset(result.outcome),
        "reasons": list(reasons),
        "windows": result.windows,
        "device": result.device,
        "dtype": result.dtype,
        "batch": result.batch,
        "processing_seconds": rounded(result.processing_s, 3),
    }


def _tolerance(settings: AnalysisSettings) -> Report:
    tolerance = settings.tolerance
    return {"name": tolerance.name, "early_ms": tolerance.early_ms, "late_ms": tolerance.late_ms}


def _processing(facts: ProcessingFacts, stages: dict[str, float]) -> Report:
    report: Report = {
        "seconds": rounded(facts.seconds, 3),
        "stages": {stage: rounded(took_s, 3) for stage, took_s in stages.items()},
        "device": facts.device,
        "peak_rss_bytes": facts.peak_rss_bytes,
        "peak_vram_bytes": facts.peak_vram_bytes,
        "scratch_bytes": facts.scratch_bytes,
        "attempt": facts.attempt,
        "degraded": list(facts.degraded),
    }
    if facts.cache is not None:
        report["from_cache"] = list(facts.cache.taken)
        report["cache_warnings"] = list(facts.cache.notes)
    return report


def _settings(settings: AnalysisSettings, outcome: Result | Failure) -> Report:
    thresholds: dict[str, Any] = {} if isinstance(outcome, Failure) else dict(outcome.settings)
    return thresholds | {
        "methods": list(settings.methods),
        "ai": settings.ai,
        "confidence_threshold": settings.confidence_threshold,
        "html": settings.html,
    }


def _error(failure: Failure) -> Report:
    return {"code": failure.code.value, "message": failure.message, "details": dict(failure.details)}
