"""Jobs that the ledger does not remember and whose reports lie beside their dubs: recorded, not measured again."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from syncd.domain import Failure, JobState, PastReport
from syncd.ledger.columns import readable_path
from syncd.ledger.enqueue import FORGET_ORPHANS, INSERT_JOB, Order, job_values, place_key, record_file, version_key
from syncd.ledger.keep import keep_report
from syncd.ledger.transitions import append_event, failure_values


def record_past(connection: Connection, order: Order, past: PastReport, now: datetime) -> int:
    """-> completed, failed or quarantined, as the report says, for a pair that `is_unheard_of`: the job's id."""
    pair = order.pair
    file_ids = record_file(connection, pair.master, now), record_file(connection, pair.dub, now)
    connection.execute(FORGET_ORPHANS, {"master_path": pair.master.path, "dub_path": pair.dub.path})
    values = job_values(order, file_ids, (place_key(order), version_key(order)), past.created_at)
    outcome = _outcome_values(past)
    ended = {"finished_at": past.created_at, "sidecar_path": past.path, "sidecar_path_text": readable_path(past.path)}
    job_id = int(connection.execute(INSERT_JOB, {**values, **outcome, **ended}).scalar_one())
    keep_report(connection, job_id, past.text, now)
    details = {"sidecar": readable_path(past.path)}
    append_event(connection, "recorded", now, job_id=job_id, after=JobState(outcome["state"]), details=details)
    return job_id


def _outcome_values(past: PastReport) -> dict[str, Any]:
    outcome = past.outcome
    if isinstance(outcome, Failure):
        state = JobState.QUARANTINED if past.is_quarantined else JobState.FAILED
        return {"state": state.value, **failure_values(outcome)}
    return {
        "state": JobState.COMPLETED.value,
        "verdict": outcome.verdict.value,
        "review": int(outcome.review),
        "offset_s": outcome.offset_s,
        "confidence": outcome.confidence,
    }
