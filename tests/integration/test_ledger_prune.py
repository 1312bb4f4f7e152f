"""Retention: ended jobs leave the ledger, and nothing is measured again for it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.clock import utc_now, utc_to_text
from syncd.config import LedgerSection
from syncd.domain import Pair
from syncd.errors import ErrorCode
from syncd.ledger.ledger import Ledger
from syncd.ledger.prune import CLOCK_SLACK, Candidate, PruneRule, believed_now, may_go
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import JobFilter, RequestKind
from syncd.ledger.requests import RequestBox
from syncd.temporary import temporary_name
from syncd.upkeep import FOLD_INTERVAL_S, PRUNE_INTERVAL_S, SWEEP_INTERVAL_S, Upkeep, configured_rule
from tests.acceptance.service import wait_for
from tests.integration.ledger_material import a_pair, an_orphan, claim, complete, enqueue, fail, start
from tests.unit.test_temporary import name_of_a_dead_writer

EVERYTHING = PruneRule(keep=0)


def ended(ledger: Ledger, title: str, *, days_ago: float = 0.0, dub_version: int = 1) -> int:
    """A completed job of files that are gone by now."""
    lease = start(ledger, a_pair(title, dub_version=dub_version))
    complete(ledger, lease)
    moment = utc_to_text(utc_now() - timedelta(days=days_ago))
    with ledger._file.writing() as connection:
        connection.exec_driver_sql("UPDATE jobs SET finished_at = ? WHERE id = ?", (moment, lease.job_id))
    return lease.job_id


def prune(ledger: Ledger, rule: PruneRule, *, limit: int = 100) -> int:
    pruning = ledger.pruning.begin(rule)
    while not pruning.is_done:
        pruning = ledger.pruning.step(pruning, limit)
    return pruning.removed


def titles(reader: LedgerReader) -> list[str]:
    return sorted(job.title for job in reader.jobs(JobFilter(), limit=999).jobs)


def count(ledger: Ledger, table: str) -> int:
    with closing(sqlite3.connect(ledger._file._path)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - ours


def on_disk(folder: Path, title: str) -> Pair:
    """A pair whose files lie there."""
    pair = a_pair(title)
    for file in (pair.master, pair.dub):
        (folder / file.path.name).write_bytes(b"sound")
    return replace(
        pair,
        master=replace(pair.master, path=folder / pair.master.path.name),
        dub=replace(pair.dub, path=folder / pair.dub.path.name),
    )


@pytest.mark.parametrize(
    ("rule", "left"),
    [
        (PruneRule(older_than_days=30), ["New", "Young"]),
        (PruneRule(keep=3), ["New", "Old", "Young"]),
        (PruneRule(keep=1), ["New"]),
        (PruneRule(keep=4), ["New", "Old", "Oldest", "Young"]),
        (PruneRule(keep=99), ["New", "Old", "Oldest", "Young"]),
        (PruneRule(older_than_days=30, keep=3), ["New", "Old", "Young"]),
        (PruneRule(older_than_days=30, keep=1), ["New", "Young"]),
        (PruneRule(), ["New", "Old", "Oldest", "Young"]),
        (PruneRule(older_than_days=0), []),
        (EVERYTHING, []),
    ],
)
@pytest.mark.parametrize("limit", [1, 100])
def test_what_goes_is_old_enough_and_not_among_the_newest(
    ledger: Ledger, reader: LedgerReader, rule: PruneRule, left: list[str], limit: int
) -> None:
    for title, days_ago in (("New", 0.01), ("Oldest", 90), ("Young", 2), ("Old", 60)):
        ended(ledger, title, days_ago=days_ago)
    assert prune(ledger, rule, limit=limit) == 4 - len(left)
    assert titles(reader) == left


def test_history_goes_with_its_job_and_live_jobs_stay(ledger: Ledger, reader: LedgerReader) -> None:
    ended(ledger, "Done")
    fail(ledger, start(ledger, a_pair("Failed")))
    waiting = enqueue(ledger, a_pair("Waiting")).job_id
    running = claim(ledger, enqueue(ledger, a_pair("Running")).job_id)
    assert prune(ledger, EVERYTHING) == 2
    assert titles(reader) == ["Running", "Waiting"]
    assert (count(ledger, "attempts"), count(ledger, "reports")) == (1, 0)
    assert {event.verb for job_id in (waiting, running.job_id) for event in reader.events(job_id)} == {
        "enqueued",
        "claimed",
    }
    assert count(ledger, "events") == 3
    complete(ledger, running)


def test_old_versions_of_files_go_and_the_newest_stay(ledger: Ledger, reader: LedgerReader) -> None:
    ended(ledger, "Film", days_ago=2)
    ended(ledger, "Film", days_ago=1, dub_version=2)
    ledger.record_orphan(an_orphan())
    assert count(ledger, "media") == 4
    assert prune(ledger, EVERYTHING) == 2
    assert count(ledger, "media") == 3
    assert len(list(reader.known_files())) == 3


def test_a_job_whose_files_still_lie_there_stays_and_they_are_not_measured_again(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path
) -> None:
    pair = on_disk(tmp_path, "Here")
    complete(ledger, start(ledger, pair))
    ended(ledger, "Gone")
    assert prune(ledger, EVERYTHING) == 1
    assert titles(reader) == ["Here"]
    assert not enqueue(ledger, pair).created
    pair.dub.path.unlink()
    assert prune(ledger, EVERYTHING) == 1
    assert titles(reader) == []


def test_a_job_that_speaks_no_more_goes_though_its_files_lie_there(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path
) -> None:
    pair = on_disk(tmp_path, "Here")
    first = start(ledger, pair)
    complete(ledger, first)
    second = claim(ledger, ledger.retry_as_new(first.job_id))
    complete(ledger, second)
    assert prune(ledger, EVERYTHING) == 1
    assert [job.job_id for job in reader.jobs(JobFilter(), limit=9).jobs] == [second.job_id]
    assert not enqueue(ledger, pair).created


def test_a_job_never_speaks_again_because_its_successor_went(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path
) -> None:
    pair = on_disk(tmp_path, "Here")
    first = start(ledger, pair)
    complete(ledger, first)
    second = claim(ledger, ledger.retry_as_new(first.job_id))
    complete(ledger, second)
    pair.dub.path.unlink()
    with ledger._file.writing() as connection:
        later = utc_to_text(utc_now() + timedelta(days=1))
        connection.exec_driver_sql("UPDATE jobs SET finished_at = ? WHERE id = ?", (later, first.job_id))
    assert prune(ledger, PruneRule(keep=1)) == 0
    (older,) = (job for job in reader.jobs(JobFilter(), limit=9).jobs if job.job_id == first.job_id)
    assert older.superseded_by == second.job_id


def test_the_configuration_keeps_everything_unless_it_says_otherwise() -> None:
    assert configured_rule(LedgerSection()) is None
    assert configured_rule(LedgerSection(keep_days=30)) == PruneRule(older_than_days=30)
    assert configured_rule(LedgerSection(keep_jobs=5)) == PruneRule(keep=5)
    assert configured_rule(LedgerSection(keep_days=30, keep_jobs=5)) == PruneRule(30, 5)


def test_the_daemon_prunes_by_its_configuration_once_a_day(ledger: Ledger, reader: LedgerReader) -> None:
    upkeep = Upkeep(ledger, LedgerSection(keep_days=30), lambda: None)
    ended(ledger, "Old", days_ago=31)
    tend(upkeep, 0.0)
    assert titles(reader) == []
    ended(ledger, "Late", days_ago=31)
    tend(upkeep, PRUNE_INTERVAL_S - 1.0)
    assert titles(reader) == ["Late"]
    tend(upkeep, PRUNE_INTERVAL_S)
    assert titles(reader) == []


@pytest.mark.parametrize("ahead_days", [0.0, 1.0, 400.0])
def test_a_clock_that_is_ahead_for_a_while_has_nothing_pruned_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ahead_days: float
) -> None:
    path = tmp_path / "ledger.db"
    with closing(Ledger.open(path)) as ledger:
        ended(ledger, "Young", days_ago=29.5)
        ended(ledger, "Old", days_ago=30.5)
    for module in ("file", "prune"):
        monkeypatch.setattr(f"syncd.ledger.{module}.utc_now", lambda: utc_now() + timedelta(days=ahead_days))
    with closing(Ledger.open(path)) as ledger:
        tend(Upkeep(ledger, LedgerSection(keep_days=30), lambda: None), 0.0)
    monkeypatch.undo()
    with closing(LedgerReader.open(path)) as reader:
        assert titles(reader) == ["Young"]


def test_whoever_asks_for_pruning_is_believed_what_time_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    with closing(Ledger.open(path)) as ledger:
        ended(ledger, "Young", days_ago=29.5)
        monkeypatch.setattr("syncd.ledger.prune.utc_now", lambda: utc_now() + timedelta(days=1))
        assert prune(ledger, PruneRule(older_than_days=30)) == 1


@given(
    wall_h=st.floats(-1e5, 1e5),
    trace_h=st.floats(-1e5, 1e5),
    later_h=st.floats(0.0, 1e4),
    since_open_h=st.floats(0.0, 1e4),
)
def test_the_time_that_is_believed_is_never_ahead_of_the_clock_nor_of_what_the_service_lived_through(
    wall_h: float, trace_h: float, later_h: float, since_open_h: float
) -> None:
    start = utc_now()
    wall, trace = start + timedelta(hours=wall_h), start + timedelta(hours=trace_h)
    believed = believed_now(wall, trace, since_open_h * 3600.0)
    assert believed <= wall
    assert believed <= trace + timedelta(hours=since_open_h) + CLOCK_SLACK
    assert believed in {wall, trace + timedelta(seconds=since_open_h * 3600.0) + CLOCK_SLACK}
    assert believed_now(wall, trace, (since_open_h + later_h) * 3600.0) >= believed


def test_what_a_killed_daemon_left_in_the_folder_for_reports_is_removed(ledger: Ledger, tmp_path: Path) -> None:
    folder = tmp_path / "reports"
    folder.mkdir()
    left, live = folder / name_of_a_dead_writer(), folder / temporary_name(b"x")
    for path in (left, live):
        path.write_bytes(b"{")
    upkeep = Upkeep(ledger, LedgerSection(), lambda: None, fallback=folder)
    upkeep.tend(0.0, is_idle=False)
    wait_for(lambda: not left.exists(), what="the removal")
    second = folder / name_of_a_dead_writer()
    second.write_bytes(b"{")
    upkeep.tend(SWEEP_INTERVAL_S, is_idle=False)
    wait_for(lambda: not second.exists(), what="the next one")
    assert live.exists()


def test_what_syncctl_asks_is_carried_out_and_answered(ledger: Ledger, reader: LedgerReader, tmp_path: Path) -> None:
    ended(ledger, "Done")
    request_id = asked(tmp_path, {"older_than_days": 0.0, "keep": None})
    upkeep = Upkeep(ledger, LedgerSection(), lambda: None)
    tend(upkeep, 0.0)
    answer = reader.request(request_id)
    assert answer is not None
    assert answer.outcome == {"removed": 1}
    assert ledger.requests.pending() == []
    assert titles(reader) == []


@pytest.mark.parametrize("payload", [{"keep": -1}, {"keep": "all"}, {"older_than_days": 1e9}])
def test_a_question_that_is_not_understood_removes_nothing_and_says_so(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path, payload: dict[str, object]
) -> None:
    ended(ledger, "Done")
    request_id = asked(tmp_path, payload)
    tend(Upkeep(ledger, LedgerSection(), lambda: None), 0.0)
    assert titles(reader) == ["Done"]
    answer = reader.request(request_id)
    assert answer is not None
    assert answer.error is not None
    assert answer.error.code is ErrorCode.USAGE


def test_a_folder_that_hangs_stops_no_turn_of_the_main_loop(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)

    def look(candidates: Iterable[Candidate]) -> list[int]:
        os.close(os.open(pipe, os.O_RDONLY))  # until the server is back, and opens the other end
        return may_go(candidates)

    monkeypatch.setattr("syncd.upkeep.may_go", look)
    ended(ledger, "Done")
    request_id = asked(tmp_path, {"older_than_days": 0.0, "keep": None})
    upkeep = Upkeep(ledger, LedgerSection(), lambda: None)
    for now_s in (0.0, 1.0, 2.0):
        upkeep.tend(now_s, is_idle=False)
    assert upkeep.is_pruning
    assert titles(reader) == ["Done"]
    other_end = os.open(pipe, os.O_RDWR)
    tend(upkeep, 3.0)
    os.close(other_end)
    assert titles(reader) == []
    answer = reader.request(request_id)
    assert answer is not None
    assert answer.outcome == {"removed": 1}


def tend(upkeep: Upkeep, now_s: float) -> None:
    """Until nothing is left to prune."""
    upkeep.tend(now_s, is_idle=False)
    while upkeep.is_pruning:
        upkeep.tend(now_s, is_idle=False)


def asked(folder: Path, payload: dict[str, object]) -> int:
    box = RequestBox.open(folder / "ledger.db")
    try:
        return box.add(RequestKind.PRUNE, payload)
    finally:
        box.close()


def test_the_log_is_folded_in_when_there_is_nothing_else_to_do(ledger: Ledger) -> None:
    upkeep = Upkeep(ledger, LedgerSection(), lambda: None)
    enqueue(ledger, a_pair())
    upkeep.tend(0.0, is_idle=False)
    assert ledger.log_bytes() > 0
    upkeep.tend(1.0, is_idle=True)
    assert ledger.log_bytes() == 0
    enqueue(ledger, a_pair("Second"))
    upkeep.tend(2.0, is_idle=True)
    assert ledger.log_bytes() > 0
    upkeep.tend(1.0 + FOLD_INTERVAL_S, is_idle=True)
    assert ledger.log_bytes() == 0
