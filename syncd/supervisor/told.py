"""The one line that a job ends with in the log: everything about it that somebody may search for or count. Pure."""

from __future__ import annotations

from syncd.domain import Failure, Result
from syncd.reports.facts import ProcessingFacts, WrittenReport
from syncd.supervisor.task import Task

Line = dict[str, object]


def job_line(
    task: Task,
    outcome: Result | Failure,
    processing: ProcessingFacts,
    written: WrittenReport | None,
    waited_s: float,
) -> Line:
    """`waited_s`: from enqueued to now. Values that do not apply are None."""
    job = task.job
    line: Line = {
        "job": job.job_id,
        "title": job.title,
        "language": job.language,
        "profile": job.profile,
        "priority": job.priority.value,
        "device": processing.device,
        "attempt": processing.attempt,
        "seconds": round(processing.seconds, 2),
        "since_enqueued_s": round(waited_s, 2),
        "peak_mib": None if processing.peak_rss_bytes is None else processing.peak_rss_bytes >> 20,
        "degraded": "; ".join(processing.degraded) or None,
        "master": str(job.master.path),
        "dub": str(job.dub.path),
        "sidecar": None if written is None else str(written.sidecar_path),
    }
    return line | (_failed(outcome, processing) if isinstance(outcome, Failure) else _completed(outcome))


def _completed(result: Result) -> Line:
    consensus = result.consensus
    return {
        "state": "completed",
        "verdict": result.verdict.value,
        "review": result.review,
        "offset_s": None if consensus is None else consensus.offset_s,
        "confidence": round(result.overall_confidence, 4),
        "rate": None if result.rate is None else result.rate.ratio,
        "master_s": round(result.master.duration_s, 3),
        "dub_s": round(result.dub.duration_s, 3),
    }


def _failed(failure: Failure, processing: ProcessingFacts) -> Line:
    return {
        "state": "failed" if processing.quarantine_reason is None else "quarantined",
        "code": failure.code.value,
        "message": failure.message,
    }
