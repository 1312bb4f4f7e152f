"""`syncctl stats`: what the ledger's rows and reports say of the days past."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import JobState, Verdict
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.stats import Ended, Processed, Spread, spread, summarise
from tests.integration.ledger_material import OBSERVATION, TRUNCATED, a_pair, enqueue, fail, start

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def completed(at: datetime, *, wait_s: float = 1.0, work_s: float = 2.0, attempts: int = 1) -> Ended:
    started = at - timedelta(seconds=work_s)
    return Ended(
        started - timedelta(seconds=wait_s), started, at, JobState.COMPLETED, attempts, Verdict.OFFSET, is_review=False
    )


def done(ledger: Ledger, title: str, processing: object) -> int:
    lease = start(ledger, a_pair(title))
    ledger.complete(
        lease,
        report_json=json.dumps({"schema": "sync_report.v1", "processing": processing}),
        sidecar_path=Path("/drop/x.sync.json"),
        verdict="offset",
        review=True,
        offset_s=-0.5,
        confidence=0.98,
        observation=OBSERVATION,
    )
    return lease.job_id


def test_of_nothing_there_are_no_shares_and_no_durations() -> None:
    told = summarise([], [], NOON - DAY, NOON)
    assert (told.review_share, told.retried_share, told.degraded_share) == (None, None, None)
    assert (told.wait, told.work, told.days) == (None, None, ())
    assert told.jobs_an_hour == 0.0


def test_jobs_are_counted_by_day_hour_and_outcome() -> None:
    failed = Ended(NOON - DAY, None, NOON - DAY, JobState.FAILED, 1, error_code="MEDIA_TRUNCATED")
    told = summarise([completed(NOON), completed(NOON), failed], [], NOON - 2 * DAY, NOON)
    assert told.ended == {"completed": 2, "failed": 1}
    assert told.verdicts == {"offset": 2}
    assert told.errors == {"MEDIA_TRUNCATED": 1}
    assert [(day.day.isoformat(), day.completed, day.not_completed) for day in told.days] == [
        ("2026-11-19", 0, 1),
        ("2026-11-20", 2, 0),
    ]
    assert told.jobs_an_hour == pytest.approx(2 / 48)
    assert told.busiest_hour_jobs == 2


def test_waiting_and_work_are_told_apart() -> None:
    told = summarise([completed(NOON, wait_s=5.0, work_s=30.0)], [], NOON - DAY, NOON)
    assert told.wait == Spread(1, 5.0, 5.0, 5.0, 5.0)
    assert told.work == Spread(1, 30.0, 30.0, 30.0, 30.0)


def test_a_clock_that_was_set_back_makes_no_negative_durations() -> None:
    told = summarise([completed(NOON, wait_s=-60.0, work_s=-5.0)], [], NOON - DAY, NOON)
    assert told.wait is not None
    assert told.work is not None
    assert (told.wait.median_s, told.work.median_s) == (0.0, 0.0)


def test_shares_are_of_those_that_completed_or_of_the_reports_read() -> None:
    reports = [Processed({"decode": 1.0}, ("the CPU",)), Processed({"decode": 3.0}), Processed({}), Processed({})]
    told = summarise([completed(NOON, attempts=3), completed(NOON)], reports, NOON - DAY, NOON)
    assert told.retried_share == 0.5
    assert told.degraded_share == 0.25
    assert told.stages["decode"].count == 2
    assert told.stages["decode"].median_s == 2.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=300))
def test_percentiles_lie_in_order_and_within_what_was_seen(seconds: list[float]) -> None:
    found = spread(seconds)
    assert found is not None
    assert found.count == len(seconds)
    ordered = [min(seconds), found.median_s, found.p95_s, found.p99_s, found.longest_s]
    assert all(before <= after * (1 + 1e-12) for before, after in itertools.pairwise(ordered))
    assert found.longest_s == max(seconds)


def test_the_ledger_tells_what_ended_since_a_moment(ledger: Ledger, reader: LedgerReader) -> None:
    done(ledger, "One", {"stages": {"decode": 1.5, "correlation": 0.5}, "degraded": []})
    done(ledger, "Two", {"stages": {"decode": 2.5}, "degraded": ["the CPU instead of a GPU"]})
    fail(ledger, start(ledger, a_pair("Three")), TRUNCATED)
    enqueue(ledger, a_pair("Waiting"))
    now = datetime.now(UTC)
    told = reader.stats(now - DAY, now)
    assert told.ended == {"completed": 2, "failed": 1}
    assert told.review_share == 1.0
    assert told.degraded_share == 0.5
    assert told.stages["decode"].count == 2
    assert told.stages["correlation"].longest_s == 0.5
    assert reader.stats(now + DAY, now + 2 * DAY).ended == {}


@pytest.mark.parametrize("processing", [None, {}, {"stages": [1, 2]}, {"stages": {"decode": "long"}}, "fast"])
def test_a_report_that_says_nothing_of_the_work_is_left_out(
    ledger: Ledger, reader: LedgerReader, processing: object
) -> None:
    done(ledger, "Odd", processing)
    now = datetime.now(UTC)
    told = reader.stats(now - DAY, now)
    assert told.ended == {"completed": 1}
    assert told.reports_read == 0


def test_of_many_reports_the_newest_are_read(
    ledger: Ledger, reader: LedgerReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.ledger.stats.REPORTS_READ", 1)
    done(ledger, "Old", {"stages": {"old": 1.0}, "degraded": []})
    done(ledger, "New", {"stages": {"new": 1.0}, "degraded": []})
    now = datetime.now(UTC)
    told = reader.stats(now - DAY, now)
    assert set(told.stages) == {"new"}
    assert told.ended == {"completed": 2}
