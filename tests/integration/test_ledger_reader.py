"""What people ask of the ledger: lists, pages, orphans, requests, what the service says of itself."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from syncd.domain import Failure, JobState, ModelUse, Priority, Verdict
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.models import jobs
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Depth, JobFilter, PageKey, RequestKind, path_from_json, path_to_json
from syncd.ledger.requests import RequestBox
from tests.integration.ledger_material import (
    OBSERVATION,
    TRUNCATED,
    a_pair,
    an_orphan,
    claim,
    complete,
    enqueue,
    fail,
)


def found(reader: LedgerReader, filters: JobFilter) -> list[int]:
    return [job.job_id for job in reader.jobs(filters, limit=50, after=None).jobs]


@pytest.fixture
def five(ledger: Ledger) -> dict[str, int]:
    """One job of each kind that the filters tell apart."""
    ids = {
        "queued": enqueue(ledger, a_pair("Straße 17", "de"), priority=Priority.HIGH).job_id,
        "running": enqueue(ledger, a_pair("Running", "pt-BR")).job_id,
        "completed": enqueue(ledger, a_pair("Heist")).job_id,
        "failed": enqueue(ledger, a_pair("Heist II")).job_id,
        "canceled": enqueue(ledger, a_pair("Canceled")).job_id,
    }
    claim(ledger, ids["running"])
    complete(ledger, claim(ledger, ids["completed"]))
    fail(ledger, claim(ledger, ids["failed"]))
    ledger.cancel(ids["canceled"])
    return ids


def test_without_a_filter_all_jobs_come_newest_first(reader: LedgerReader, five: dict[str, int]) -> None:
    assert found(reader, JobFilter()) == sorted(five.values(), reverse=True)


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (JobFilter(states=frozenset({JobState.RUNNING})), ["running"]),
        (JobFilter(states=frozenset({JobState.QUEUED, JobState.CANCELED})), ["canceled", "queued"]),
        (JobFilter(states=frozenset({JobState.QUARANTINED})), []),
        (JobFilter(verdicts=frozenset({Verdict.OFFSET, Verdict.DRIFT})), ["completed"]),
        (JobFilter(verdicts=frozenset({Verdict.DRIFT})), []),
        (JobFilter(review=False), ["completed"]),
        (JobFilter(review=True), []),
        (JobFilter(title="heist"), ["failed", "completed"]),
        (JobFilter(title="STRASSE"), ["queued"]),
        (JobFilter(title="%"), []),
        (JobFilter(title="heist", states=frozenset({JobState.FAILED})), ["failed"]),
        (JobFilter(language="pt-BR"), ["running"]),
        (JobFilter(priority=Priority.HIGH), ["queued"]),
        (JobFilter(master=Path("/drop/Heist_master.wav")), ["completed"]),
        (JobFilter(master=Path("/drop/Heist")), []),
        (JobFilter(code=TRUNCATED.code), ["failed"]),
        (JobFilter(code=ErrorCode.TIME_LIMIT), []),
        (JobFilter(profile="default", title="heist"), ["failed", "completed"]),
        (JobFilter(profile="other"), []),
    ],
)
def test_filters_find_what_they_name(
    reader: LedgerReader, five: dict[str, int], filters: JobFilter, expected: list[str]
) -> None:
    assert found(reader, filters) == [five[name] for name in expected]


def test_since_means_enqueued_then_or_later(reader: LedgerReader, five: dict[str, int]) -> None:
    job = reader.job(five["canceled"])
    assert job is not None
    assert five["canceled"] in found(reader, JobFilter(since=job.enqueued_at))
    assert found(reader, JobFilter(since=job.enqueued_at + timedelta(hours=1))) == []
    assert len(found(reader, JobFilter(since=job.enqueued_at - timedelta(hours=1)))) == 5


def test_pages_hold_every_job_once_though_jobs_come_in_between(ledger: Ledger, reader: LedgerReader) -> None:
    ids = [enqueue(ledger, a_pair(f"T{number}")).job_id for number in range(7)]
    seen: list[int] = []
    after: PageKey | None = None
    while True:
        page = reader.jobs(JobFilter(states=frozenset({JobState.QUEUED})), limit=3, after=after)
        seen += [job.job_id for job in page.jobs]
        enqueue(ledger, a_pair(f"Late {len(seen)}"))
        after = page.next
        if after is None:
            break
    assert seen == sorted(ids, reverse=True)


def test_a_page_that_just_fits_is_the_last(ledger: Ledger, reader: LedgerReader) -> None:
    for number in range(3):
        enqueue(ledger, a_pair(f"T{number}"))
    assert reader.jobs(JobFilter(), limit=3).next is None
    assert reader.jobs(JobFilter(), limit=2).next == PageKey(2)


def test_an_unknown_job_is_none_and_has_no_history(reader: LedgerReader) -> None:
    assert reader.job(777) is None
    assert (reader.attempts(777), reader.events(777), reader.report(777)) == ([], [], None)
    assert reader.partial_methods(777) == []


def test_a_reader_cannot_write(reader: LedgerReader, five: dict[str, int]) -> None:
    with pytest.raises(SyncdError) as refused, reader._snapshot() as connection:
        connection.execute(jobs.delete())
    assert refused.value.code is ErrorCode.PERMISSION_DENIED
    assert len(found(reader, JobFilter())) == len(five)


def test_an_orphan_is_news_once_and_again_when_it_says_something_else(ledger: Ledger, reader: LedgerReader) -> None:
    assert ledger.record_orphan(an_orphan())
    assert not ledger.record_orphan(an_orphan())
    (first,) = reader.orphans(10)
    assert ledger.record_orphan(an_orphan(message="Two masters claim Alone."))
    (second,) = reader.orphans(10)
    assert (second.message, second.since) == ("Two masters claim Alone.", first.since)
    ledger.forget_orphans([an_orphan().file.path, Path("/never/seen")])
    assert reader.orphans(10) == []


def test_the_service_stays_paused_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    assert not ledger.is_paused()
    ledger.set_paused(True)
    ledger.set_service("version", "0.1.0")
    ledger.close()
    ledger = Ledger.open(path)
    assert ledger.is_paused()
    reader = LedgerReader.open(path)
    assert reader.service() == {"paused": "1", "version": "0.1.0", "ledger": "open"}
    ledger.set_paused(False)
    assert reader.service()["paused"] == "0"
    reader.close()
    ledger.close()


def test_a_request_waits_for_the_daemon_and_gets_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    master = Path(os.fsdecode(b"/drop/\xff.wav"))
    box = RequestBox.open(path)
    submit = box.add(RequestKind.SUBMIT, {"master": path_to_json(master), "priority": "high"})
    cancel = box.add(RequestKind.CANCEL, {"job_ids": [777]})
    reader = LedgerReader.open(path)
    assert not reader.daemon_is_running()
    ledger = Ledger.open(path)
    assert reader.daemon_is_running()
    first, second = ledger.requests.pending()
    assert (first.request_id, first.kind, first.payload["priority"]) == (submit, RequestKind.SUBMIT, "high")
    assert path_from_json(first.payload["master"]) == master
    ledger.requests.finish(submit, outcome={"job_id": 1})
    refusal = Failure(ErrorCode.NOT_FOUND, "There is no job 777.", {"job_id": 777})
    ledger.requests.finish(second.request_id, error=refusal)
    assert ledger.requests.pending() == []
    answered, refused = reader.request(submit), reader.request(cancel)
    assert answered is not None
    assert refused is not None
    assert (answered.outcome, answered.error) == ({"job_id": 1}, None)
    assert (refused.outcome, refused.error) == (None, refusal)
    assert refused.finished_at is not None
    assert reader.request(777) is None
    for opened in (box, reader, ledger):
        opened.close()


def test_what_a_model_took_of_a_card_comes_back_as_it_was(ledger: Ledger) -> None:
    use = ModelUse("wav2vec2", 378_000_000, "float16", 8, 30.0, "NVIDIA L4")
    seen = replace(OBSERVATION, predicted_vram_bytes=3_000_000_000, peak_vram_bytes=2_500_000_000, model=use)
    ledger.record_observation(seen)
    ledger.record_observation(replace(seen, ran_out=True))
    assert ledger.observations(2) == [replace(seen, ran_out=True), seen]


def test_the_newest_observations_come_first(ledger: Ledger) -> None:
    for peak in (1, 2, 3):
        ledger.record_observation(replace(OBSERVATION, kind="probe", peak_ram_bytes=peak))
    assert [observation.peak_ram_bytes for observation in ledger.observations(2)] == [3, 2]


def test_people_with_sqlite3_find_readable_views(ledger: Ledger, five: dict[str, int], tmp_path: Path) -> None:
    assert ledger.counts()[JobState.COMPLETED] == 1
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    stranger.row_factory = sqlite3.Row
    row = stranger.execute("SELECT * FROM job_summary WHERE id = ?", (five["completed"],)).fetchone()
    assert (row["state"], row["verdict"], row["offset_ms"], row["side"]) == (
        "completed",
        "offset",
        -500.0,
        "dub is late",
    )
    assert (row["master"], row["sidecar"]) == ("/drop/Heist_master.wav", "/drop/Heist_dub_fr.wav.sync.json")
    assert row["seconds_to_report"] >= 0
    row = stranger.execute("SELECT * FROM attempt_summary WHERE job_id = ?", (five["failed"],)).fetchone()
    assert (row["title"], row["outcome"], row["error_code"]) == ("Heist II", "failed", TRUNCATED.code.value)
    stranger.close()


def test_what_is_asked_often_is_answered_from_an_index(ledger: Ledger, tmp_path: Path) -> None:
    """A sort or a scan here would be felt at 200,000 jobs and nowhere before."""
    asked: list[tuple[str, tuple[object, ...]]] = []

    def note(*arguments: Any) -> None:
        asked.append((arguments[2], arguments[3]))

    event.listen(ledger._file._reading_engine, "before_cursor_execute", note)
    ledger.ready(8)
    ledger.queued_count()
    ledger.requests.pending()
    stranger = sqlite3.connect(tmp_path / "ledger.db")
    plans = [
        [row[3] for row in stranger.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)]
        for statement, parameters in asked
        if statement.startswith("SELECT")
    ]
    stranger.close()
    ready, queued_count, pending = plans
    assert ready[0].startswith("SEARCH jobs USING INDEX ix_jobs_ready")
    assert not any("TEMP B-TREE" in step or "SCAN" in step for step in ready)
    assert "ix_jobs_ready" in queued_count[0]
    assert pending == ["SCAN requests USING INDEX ix_requests_pending"]


def test_the_depth_counts_what_has_not_ended_and_knows_the_oldest_of_it(ledger: Ledger) -> None:
    assert ledger.depth() == Depth(0, 0, None, None)
    first, second, third = (enqueue(ledger, a_pair(title)).job_id for title in ("one", "two", "three"))
    complete(ledger, claim(ledger, first))
    claim(ledger, second)
    depth = ledger.depth()
    assert (depth.queued, depth.running) == (1, 1)
    with ledger._file.reading() as connection:
        (waits,) = connection.execute(select(jobs.c.enqueued_at).where(jobs.c.id == third)).one()
        (runs,) = connection.execute(select(jobs.c.started_at).where(jobs.c.id == second)).one()
    assert (depth.oldest_queued_at, depth.oldest_running_at) == (waits, runs)


def test_the_oldest_job_of_a_long_queue_is_found_without_reading_it(ledger: Ledger) -> None:
    asked: list[str] = []

    @event.listens_for(ledger._file._reading_engine, "before_cursor_execute")
    def note(*call: Any) -> None:
        asked.append(call[2])

    ledger.depth()
    (oldest,) = [statement for statement in asked if "ORDER BY" in statement]
    with ledger._file.reading() as connection:
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {oldest}", ("queued", 1, 0)).fetchall()
    assert [row[3] for row in plan] == ["SEARCH jobs USING COVERING INDEX ix_jobs_listing (state=?)"]
