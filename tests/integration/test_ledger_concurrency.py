"""Many readers, one writer, and deaths in the middle."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from syncd.domain import FINAL_STATES, JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.lock import is_held
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import JobFilter, RequestKind
from syncd.ledger.requests import RequestBox
from tests.integration.ledger_material import a_pair, claim, complete, enqueue

JOBS = 25

# A daemon's day, over and over: a little of everything, until somebody kills it.
CHURN = """
import itertools, sys
from datetime import timedelta
from pathlib import Path
from syncd.clock import utc_now
from syncd.domain import Progress
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from tests.integration.ledger_material import CRASH, METHOD, a_pair, claim, complete, enqueue, fail

ledger = Ledger.open(Path(sys.argv[1]))
print("ready", flush=True)
start = list(LedgerReader.open(Path(sys.argv[1])).known_files())
for number in itertools.count(len(start)):
    enqueue(ledger, a_pair(f"T{number}"))
    for job in ledger.ready(3):
        lease = claim(ledger, job.job_id)
        ledger.record_progress(lease, Progress("decode", 1, 2, "half"))
        ledger.record_method(lease, METHOD)
        match number % 5:
            case 0: complete(ledger, lease)
            case 1: fail(ledger, lease)
            case 2: ledger.retry_later(lease, CRASH, not_before=utc_now() - timedelta(seconds=1))
            case 3: ledger.hand_back(lease, "stops", interrupted=False)
            case 4: enqueue(ledger, a_pair(job.title, dub_version=number + 2))
    print(number, flush=True)
"""


def run_together(tasks: list[Callable[[], None]]) -> list[BaseException]:
    """Each in a thread of its own; what they raised."""
    raised: list[BaseException] = []

    def run(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:  # noqa: BLE001 - handed to the test, which fails on any
            raised.append(error)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()
    return raised


def test_eight_readers_and_a_requester_see_whole_jobs_while_the_daemon_works(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    done = threading.Event()
    asked: list[int] = []

    def write() -> None:
        ledger = Ledger.open(path)
        try:
            for number in range(JOBS):
                complete(ledger, claim(ledger, enqueue(ledger, a_pair(f"T{number}")).job_id))
                for request in ledger.requests.pending():
                    ledger.requests.finish(request.request_id, outcome={})
        finally:
            done.set()
            ledger.close()

    def read() -> None:
        reader = LedgerReader.open(path)
        most = 0
        while not done.is_set():
            for job in reader.jobs(JobFilter(), limit=20).jobs:
                assert (job.state is JobState.COMPLETED) == (job.verdict is not None) == (job.finished_at is not None)
                history = reader.events(job.job_id)
                assert len(reader.attempts(job.job_id)) >= sum(event.verb == "claimed" for event in history)
            completed = reader.counts()[JobState.COMPLETED]
            assert completed >= most
            most = completed
        reader.close()

    def ask() -> None:
        box = RequestBox.open(path)
        while not done.wait(0.005):
            asked.append(box.add(RequestKind.PAUSE, {}))
        box.close()

    assert run_together([write, ask, *[read] * 8]) == []
    reader = LedgerReader.open(path)
    assert reader.counts()[JobState.COMPLETED] == JOBS
    assert asked
    assert all(reader.request(request_id) is not None for request_id in asked)
    reader.close()


def start_churn(path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", CHURN, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.mark.parametrize("rounds", [3, 11, 17])
def test_a_killed_daemon_leaves_a_ledger_that_opens_and_hands_back(tmp_path: Path, rounds: int) -> None:
    path = tmp_path / "ledger.db"
    process = start_churn(path)
    assert process.stdout is not None
    for _ in range(rounds):
        assert process.stdout.readline()
    kill(process)
    with closing(sqlite3.connect(path)) as stranger:
        left_running = [row[0] for row in stranger.execute("SELECT id FROM jobs WHERE state = 'running'")]
        assert stranger.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert stranger.execute("PRAGMA foreign_key_check").fetchall() == []
    ledger = Ledger.open(path)
    reader = LedgerReader.open(path)
    for job_id in left_running:
        job = reader.job(job_id)
        assert job is not None
        assert (job.state, job.interruptions) == (JobState.QUEUED, 1)
    for job in reader.jobs(JobFilter(), limit=1000).jobs:
        history = reader.events(job.job_id)
        assert history[-1].state_after is job.state
        assert [event.state_before for event in history[1:]] == [event.state_after for event in history[:-1]]
        assert all(attempt.outcome is not None for attempt in reader.attempts(job.job_id))
        assert (job.finished_at is not None) == (job.state in FINAL_STATES)
    for ready in ledger.ready(1000):
        complete(ledger, claim(ledger, ready.job_id))
    assert ledger.queued_count() == 0
    reader.close()
    ledger.close()


def test_a_second_daemon_is_refused_with_the_number_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    process = start_churn(path)
    try:
        with pytest.raises(SyncdError, match=rf"process {process.pid}\b") as refused:
            Ledger.open(path)
        assert refused.value.code is ErrorCode.LEDGER_IN_USE
        assert is_held(path)
    finally:
        kill(process)
    assert not is_held(path)
    Ledger.open(path).close()


def test_a_daemon_starts_though_readers_ask_all_the_time_whether_one_runs(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            is_held(path)

    def start() -> None:
        try:
            for _ in range(20):
                Ledger.open(path).close()
        finally:
            stop.set()

    assert run_together([ask, start]) == []


def test_a_lock_is_not_inherited_by_a_worker(tmp_path: Path) -> None:
    """A worker that outlives the daemon must not keep the next daemon out."""
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    with subprocess.Popen(["sleep", "60"], close_fds=False) as worker:
        ledger.close()
        assert not is_held(path)
        os.kill(worker.pid, signal.SIGKILL)


def test_a_second_way_to_the_same_ledger_leads_to_the_same_lock(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    link = tmp_path / "link.db"
    link.symlink_to(path)
    with pytest.raises(SyncdError) as refused:
        Ledger.open(link)
    assert refused.value.code is ErrorCode.LEDGER_IN_USE
    ledger.close()
