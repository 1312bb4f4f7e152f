"""The dispatcher with a real ledger, real processes and a real disk, and workers that misbehave by script."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd.config import Config, WorkersSection
from syncd.devices.inventory import take_inventory
from syncd.domain import TOLERANCES, AnalysisSettings, JobState, Pair, Priority
from syncd.errors import ErrorCode
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job
from syncd.supervisor import pool as pool_module
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.pool import Pool
from syncd.supervisor.reporter import Reporter
from syncd.watch.examine import identify

SCRIPT = Path(__file__).with_name("scripted_worker.py")
SETTINGS = AnalysisSettings(("correlation",), TOLERANCES["ebu-r37"], html=False)
DEADLINE_S = 30.0


class Bench:
    """Everything below the daemon, turned by hand."""

    def __init__(self, home: Path, *, max_attempts: int = 1) -> None:
        self.home = home
        self.ledger = Ledger.open(home / "ledger.db")
        self.pool = Pool(home)
        self.reporter = Reporter(lambda: None)
        self.reporter.start()
        config = Config(workers=WorkersSection(cpu_slots=1, max_attempts=max_attempts))
        devices = take_inventory(config.workers)
        self.dispatcher = Dispatcher(config, self.ledger, self.pool, self.reporter, devices)

    def enqueue(self, title: str = "show") -> int:
        paths = []
        for role in ("master", "dub"):
            path = self.home / f"{title}_{role}.wav"
            path.write_bytes(f"{title} {role}".encode() * 100)
            paths.append(path)
        pair = Pair(title, identify(paths[0]), identify(paths[1]))
        return self.ledger.enqueue(pair, profile="default", settings=SETTINGS, priority=Priority.NORMAL).job_id

    def job(self, job_id: int) -> Job:
        reader = LedgerReader.open(self.home / "ledger.db")
        try:
            job = reader.job(job_id)
        finally:
            reader.close()
        assert job is not None
        return job

    def turn_until(self, condition: Callable[[], bool]) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, "the condition did not come true"
            self.dispatcher.step(time.monotonic())
            time.sleep(0.02)

    def run(self, job_id: int) -> Job:
        self.turn_until(lambda: self.dispatcher.is_idle() and self.ledger.queued_count() == 0)
        return self.job(job_id)

    def close(self) -> None:
        self.dispatcher.hand_back_all("the test ends")
        self.pool.close()
        self.reporter.stop()
        self.ledger.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def workers_that(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def choose(mode: str) -> None:
        monkeypatch.setattr(pool_module, "WORKER_COMMAND", (sys.executable, str(SCRIPT), mode))

    return choose


def test_a_job_goes_through_probe_measure_and_report(bench: Bench, workers_that: Callable[[str], None]) -> None:
    workers_that("behave")
    job = bench.run(bench.enqueue())
    assert job.state is JobState.COMPLETED
    assert job.sidecar_path is not None
    assert json.loads(job.sidecar_path.read_text(encoding="utf-8"))["consensus_offset"]["offset_seconds"] == -0.5


@pytest.mark.parametrize("mode", ["not_a_number", "backwards", "too_sure"])
def test_impossible_figures_fail_their_job_at_most_and_nobody_else(
    bench: Bench, workers_that: Callable[[str], None], mode: str
) -> None:
    workers_that(mode)
    job = bench.run(bench.enqueue("first"))
    assert job.state in {JobState.FAILED, JobState.COMPLETED}
    workers_that("behave")
    bench.pool.close()
    assert bench.run(bench.enqueue("second")).state is JobState.COMPLETED


@pytest.mark.parametrize("mode", ["noise", "vanish", "other_version"])
def test_a_worker_that_goes_or_speaks_nonsense_is_a_crashed_one(
    bench: Bench, workers_that: Callable[[str], None], mode: str
) -> None:
    workers_that(mode)
    job = bench.run(bench.enqueue())
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code is ErrorCode.WORKER_CRASHED


def test_an_answer_counts_even_if_the_worker_ends_right_after_it(
    bench: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("answer_and_vanish")
    first, second = bench.enqueue("first"), bench.enqueue("second")
    assert bench.run(second).state is JobState.COMPLETED
    assert bench.job(first).state is JobState.COMPLETED


def test_a_job_called_off_while_its_report_is_written_leaves_none(
    bench: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("behave")
    job_id = bench.enqueue()
    bench.turn_until(lambda: bool(list(bench.home.glob("*.sync.json"))))
    assert bench.ledger.cancel(job_id) is JobState.RUNNING
    bench.dispatcher.call_off(job_id, time.monotonic())
    assert bench.run(job_id).state is JobState.CANCELED
    assert list(bench.home.glob("*.sync.json")) == []


def test_a_folder_that_is_gone_costs_the_report_and_not_the_measurement(
    tmp_path: Path, workers_that: Callable[[str], None]
) -> None:
    bench = Bench(tmp_path, max_attempts=2)
    try:
        workers_that("behave")
        drop = tmp_path / "drop"
        drop.mkdir()
        bench.home = drop
        job_id = bench.enqueue()
        bench.home = tmp_path
        shutil.rmtree(drop)
        job = bench.run(job_id)
        assert job.state is JobState.FAILED
        assert job.failure is not None
        assert job.failure.code is ErrorCode.FILE_NOT_FOUND
        assert job.attempts == 1
    finally:
        bench.close()


def test_hundreds_of_tasks_leave_no_descriptor_behind(bench: Bench, workers_that: Callable[[str], None]) -> None:
    workers_that("answer_and_vanish")
    bench.run(bench.enqueue("warm"))
    before = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(20):
        bench.enqueue(f"show{number}")
    bench.turn_until(lambda: bench.dispatcher.is_idle() and bench.ledger.queued_count() == 0)
    bench.pool.close()
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
