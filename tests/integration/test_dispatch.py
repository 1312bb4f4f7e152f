"""The dispatcher with a real ledger, real processes and a real disk, and workers that misbehave by script."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.cli.jobs import note
from syncd.config import Config, WorkersSection
from syncd.devices.views import SERVICE_KEY, text_to_view
from syncd.domain import TOLERANCES, AnalysisSettings, JobState, Pair, Priority
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Attempt, AttemptOutcome, Job
from syncd.reports.facts import ReportSubject, WrittenReport
from syncd.reports.past import find_past_report
from syncd.supervisor import pool as pool_module
from syncd.supervisor import reporter as reporter_module
from syncd.supervisor import retry as retry_module
from syncd.supervisor import silent as silent_module
from syncd.supervisor.cards import Cards
from syncd.supervisor.counted import WorkerEnd
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.ladder import Rung
from syncd.supervisor.pool import Pool
from syncd.supervisor.reporter import Reporter
from syncd.watch.examine import identify

SCRIPT = Path(__file__).with_name("scripted_worker.py")
SETTINGS = AnalysisSettings(("correlation",), TOLERANCES["ebu-r37"], html=False)
DEADLINE_S = 30.0


class Bench:
    """Everything below the daemon, turned by hand."""

    def __init__(
        self,
        home: Path,
        *,
        max_attempts: int = 1,
        stall_s: float = 120.0,
        slots: int = 1,
        patience_s: float = 30.0,
    ) -> None:
        self.home = home
        self.ledger = Ledger.open(home / "ledger.db")
        self.pool = Pool(home)
        self.reporter = Reporter(lambda: None, patience_s=patience_s)
        self.reporter.start()
        workers = WorkersSection(devices="cpu", cpu_slots=slots, max_attempts=max_attempts, stall_seconds=stall_s)
        config = Config(workers=workers)
        self.dispatcher = Dispatcher(config, self.ledger, self.pool, self.reporter, Cards(config))

    def enqueue(self, title: str = "show", folder: Path | None = None) -> int:
        paths = []
        for role in ("master", "dub"):
            path = (folder or self.home) / f"{title}_{role}.wav"
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

    def service(self) -> dict[str, str]:
        reader = LedgerReader.open(self.home / "ledger.db")
        try:
            return reader.service()
        finally:
            reader.close()

    def attempts(self, job_id: int) -> list[Attempt]:
        return self.ledger.attempts(job_id)

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


PY_SPY = """#!/bin/sh
echo "native frames of $4"
"""


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
    counted = bench.dispatcher.counted
    assert (counted.attempts, sum(counted.results.values()), counted.admitted) == (1, 1, {"cpu": 1})
    assert sum(counted.latency_s.counts) == sum(counted.job_s.counts) == 1


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


def test_what_is_told_of_the_devices_names_no_job_that_has_ended(
    bench: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("behave")
    told: list[set[int | None]] = []

    def is_job_gone() -> bool:
        text = bench.service().get(SERVICE_KEY)
        devices = () if text is None or (view := text_to_view(text)) is None else view.devices
        told.append({held.job_id for device in devices for held in device.held_by})
        return {1} in told and told[-1] == set()

    bench.enqueue()
    bench.turn_until(is_job_gone)


def test_a_job_whose_report_cannot_be_written_yet_says_so(
    bench: Bench, workers_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise SyncdError(ErrorCode.DISK_FULL, "The disk of the dub is full.")

    workers_that("behave")
    bench.dispatcher.reconfigure(Config(workers=WorkersSection(devices="cpu", max_attempts=2)))
    job_id = bench.enqueue()
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(reporter_module, "write_reports", refuse)
        bench.turn_until(lambda: "report" in note(bench.job(job_id)))
    assert note(bench.job(job_id)) == "waits for its report: DISK_FULL: The disk of the dub is full."
    assert bench.run(job_id).state is JobState.COMPLETED


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


@pytest.fixture
def patient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench on which jobs are tried again, soon, and silence is a stall after a second."""
    monkeypatch.setattr(retry_module, "FIRST_DELAY_S", 0.01)
    bench = Bench(tmp_path, max_attempts=3, stall_s=1.0)
    yield bench
    bench.close()


def test_a_job_that_brings_workers_down_with_all_care_taken_is_quarantined_with_a_sidecar_that_says_why(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("vanish")
    job = patient.run(patient.enqueue())
    assert job.state is JobState.QUARANTINED
    assert [attempt.rung for attempt in patient.attempts(job.job_id)] == [Rung.FULL, Rung.LAST, Rung.LAST]
    assert job.sidecar_path is not None
    report = json.loads(job.sidecar_path.read_text(encoding="utf-8"))
    assert report["error"]["code"] == "WORKER_CRASHED"
    assert report["quarantine"] == "It brought down 3 workers, 2 with all care taken."
    assert report["processing"]["degraded"] == ["features from the cache"]
    counted = patient.dispatcher.counted
    assert (counted.attempts, counted.quarantines) == (3, 1)
    assert (counted.retries, counted.failures) == ({"WORKER_CRASHED": 2}, {"WORKER_CRASHED": 1})
    assert patient.pool.counted.ended == {WorkerEnd.CRASHED: 3}


def test_a_job_that_succeeds_on_the_last_rung_says_what_was_given_up(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("vanish_once")
    job = patient.run(patient.enqueue())
    assert job.state is JobState.COMPLETED
    assert job.sidecar_path is not None
    processing = json.loads(job.sidecar_path.read_text(encoding="utf-8"))["processing"]
    assert (processing["attempt"], processing["degraded"]) == (2, ["features from the cache"])


@pytest.mark.parametrize("mode", ["freeze", "freeze_deaf"])
def test_a_worker_that_stands_still_leaves_its_stack_in_the_attempt(
    patient: Bench, workers_that: Callable[[str], None], mode: str
) -> None:
    workers_that(mode)
    job_id = patient.enqueue()
    patient.turn_until(lambda: bool((tried := patient.attempts(job_id)) and tried[0].outcome))
    first = patient.attempts(job_id)[0]
    assert first.failure is not None
    assert (first.failure.code, first.stage) == (ErrorCode.WORKER_STALLED, "decode_dub")
    assert first.stack is not None
    assert "in measure" in first.stack
    assert patient.dispatcher.counted.stalls == {"decode_dub": 1}
    assert patient.pool.counted.ended == {WorkerEnd.STALLED: 1}


def test_where_py_spy_is_installed_its_stack_is_kept_too(
    tmp_path: Path, workers_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "py-spy").write_text(PY_SPY, encoding="utf-8")
    (tools / "py-spy").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    bench = Bench(tmp_path, max_attempts=1, stall_s=1.0)
    workers_that("freeze")
    job_id = bench.enqueue()
    bench.run(job_id)
    (attempt,) = bench.attempts(job_id)
    assert attempt.stack is not None
    assert "in measure" in attempt.stack
    assert re.search(r"native frames of \d+", attempt.stack)
    bench.close()


def test_a_worker_that_computes_without_a_word_is_slow_and_not_stuck(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("compute")
    job = patient.run(patient.enqueue())
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)


def test_a_worker_that_computes_for_ever_is_ended_all_the_same(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("compute_for_ever")
    job_id = patient.enqueue()
    patient.turn_until(lambda: bool((tried := patient.attempts(job_id)) and tried[0].outcome))
    failure = patient.attempts(job_id)[0].failure
    assert failure is not None
    assert failure.code is ErrorCode.WORKER_STALLED


def test_a_worker_is_not_blamed_for_an_hour_in_which_nobody_looked(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("by_hand")
    job_id = patient.enqueue()
    patient.turn_until(lambda: patient.job(job_id).state is JobState.RUNNING)
    patient.dispatcher.step(time.monotonic() + 3600.0)
    (patient.home / "show_master.wav.kept").touch()
    (patient.home / "show_dub.wav.end").touch()
    job = patient.run(job_id)
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)


def test_a_job_during_which_the_service_died_five_times_runs_alone_and_with_all_care(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    job_id = patient.enqueue("heavy")
    interrupt(patient, job_id, times=5)
    other = patient.enqueue("other")
    patient.dispatcher.reconfigure(with_slots(2))
    workers_that("by_hand")
    patient.turn_until(lambda: patient.job(job_id).state is JobState.RUNNING)
    patient.dispatcher.step(time.monotonic())
    assert patient.job(other).state is JobState.QUEUED
    assert patient.attempts(job_id)[-1].rung == Rung.LAST
    for title in ("heavy", "other"):
        (patient.home / f"{title}_master.wav.kept").touch()
        (patient.home / f"{title}_dub.wav.end").touch()
    assert patient.run(other).state is JobState.COMPLETED
    assert patient.job(job_id).state is JobState.COMPLETED


def test_a_job_during_which_the_service_died_ten_times_is_quarantined_unseen(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    job_id = patient.enqueue()
    interrupt(patient, job_id, times=10)
    workers_that("behave")
    job = patient.run(job_id)
    assert job.state is JobState.QUARANTINED
    assert patient.attempts(job_id)[-1].outcome is AttemptOutcome.QUARANTINED
    assert job.sidecar_path is not None
    report = json.loads(job.sidecar_path.read_text(encoding="utf-8"))
    assert report["error"]["code"] == "INTERRUPTED"
    assert "died 10 times" in report["error"]["message"]
    assert report["quarantine"] == report["error"]["message"]


def test_a_quarantined_job_is_recorded_as_one_from_its_report(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    job_id = patient.enqueue()
    interrupt(patient, job_id, times=10)
    workers_that("behave")
    patient.run(job_id)
    pair = Pair("show", *(identify(patient.home / f"show_{role}.wav") for role in ("master", "dub")))
    past = find_past_report(pair, "default", fallback=None)
    assert past is not None
    fresh = Ledger.open(patient.home / "fresh.db")
    try:
        recorded = fresh.record_past(pair, past, profile="default", settings=SETTINGS, priority=Priority.NORMAL)
        assert recorded is not None
        assert fresh.state(recorded) is JobState.QUARANTINED
    finally:
        fresh.close()


@pytest.mark.parametrize("mode", ["vanish", "full_disk"])
def test_when_one_job_after_another_ends_badly_claiming_rests(
    patient: Bench, workers_that: Callable[[str], None], mode: str
) -> None:
    workers_that(mode)
    for number in range(3):
        patient.enqueue(f"show{number}")
    patient.turn_until(lambda: patient.dispatcher.resting(time.monotonic()) is not None)
    patient.turn_until(patient.dispatcher.is_idle)
    waiting = patient.ledger.queued_count()
    assert waiting > 0
    for _ in range(5):
        patient.dispatcher.step(time.monotonic())
    assert patient.dispatcher.is_idle()
    later_s = time.monotonic() + 3600.0
    assert patient.dispatcher.resting(later_s) is None
    patient.dispatcher.step(later_s)
    assert not patient.dispatcher.is_idle()


def test_a_worker_that_cannot_be_started_is_no_fault_of_its_job(
    patient: Bench, workers_that: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", (str(patient.home / "no such program"),))
    job_ids = [patient.enqueue(title) for title in ("first", "second")]
    patient.dispatcher.step(time.monotonic())
    resting = patient.dispatcher.resting(time.monotonic())
    assert resting is not None
    assert "no worker could be started (No such file or directory)" in resting
    assert [patient.job(job_id).attempts for job_id in job_ids] == [0, 0]
    workers_that("behave")
    patient.dispatcher.step(time.monotonic() + 3600.0)
    assert {patient.run(job_id).state for job_id in job_ids} == {JobState.COMPLETED}


def interrupt(bench: Bench, job_id: int, *, times: int) -> None:
    """As if the service had died so often while the job ran."""
    for _ in range(times):
        lease = bench.ledger.claim(job_id, device="cpu", predicted_ram_bytes=0)
        assert lease is not None
        bench.ledger.hand_back(lease, "the service died", interrupted=True)


def with_slots(count: int) -> Config:
    return Config(workers=WorkersSection(devices="cpu", cpu_slots=count, stall_seconds=30.0))


def test_a_worker_that_outgrows_its_promise_is_ended_alone_and_tried_with_more(
    patient: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("eat")
    job = patient.run(patient.enqueue())
    attempts = patient.attempts(job.job_id)
    assert [attempt.failure and attempt.failure.code for attempt in attempts] == [ErrorCode.OUT_OF_MEMORY] * 3
    promised = [attempt.predicted_ram_bytes for attempt in attempts]
    assert promised[2] == 2 * promised[1] > 2 * promised[0]
    assert job.state is JobState.QUARANTINED
    assert patient.dispatcher.counted.retries == {"OUT_OF_MEMORY": 2}


def test_a_worker_that_has_grown_is_replaced_between_two_jobs(
    bench: Bench, workers_that: Callable[[str], None]
) -> None:
    workers_that("grow")
    assert bench.run(bench.enqueue("first")).state is JobState.COMPLETED
    (idle,) = [worker.pid for worker in bench.pool.idle_workers()]
    assert bench.run(bench.enqueue("second")).state is JobState.COMPLETED
    assert idle not in [worker.pid for worker in bench.pool.idle_workers()]
    assert bench.pool.counted.ended == {WorkerEnd.GROWN: 1}


# ---------------------------------------------------------------- folders that do not answer


class Mount:
    """A folder whose file system can be held up, as by a server that is gone."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.folder = folder
        self.answers = threading.Event()

    def wait(self, path: Path) -> None:
        if self.folder in (path, *path.parents):
            self.answers.wait()


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    """Silent: what looks at it or writes into it waits."""
    mount = Mount(tmp_path / "mount")
    look, write = os.statvfs, reporter_module.write_reports

    def held_look(folder: Path) -> os.statvfs_result:
        mount.wait(folder)
        return look(folder)

    def held_write(subject: ReportSubject, *arguments: Any, **named: Any) -> WrittenReport:
        mount.wait(subject.dub.path)
        return write(subject, *arguments, **named)

    monkeypatch.setattr(silent_module.os, "statvfs", held_look)
    monkeypatch.setattr(reporter_module, "write_reports", held_write)
    yield mount
    mount.answers.set()


@pytest.fixture
def impatient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(retry_module, "FIRST_DELAY_S", 0.05)
    monkeypatch.setattr(retry_module, "DELAY_FACTOR", 1.0)
    bench = Bench(tmp_path, max_attempts=2, stall_s=1.0, patience_s=0.3)
    yield bench
    bench.close()


def test_a_report_waits_for_its_folder_however_long_and_nobody_else_does(
    impatient: Bench, workers_that: Callable[[str], None], mount: Mount
) -> None:
    workers_that("behave")
    held = impatient.enqueue("held", mount.folder)
    impatient.turn_until(lambda: impatient.dispatcher.silent_folders() == (mount.folder,))
    later = impatient.enqueue("later", mount.folder)
    others = [impatient.enqueue(f"other{i}") for i in range(3)]
    impatient.turn_until(lambda: all(impatient.job(other).state is JobState.COMPLETED for other in others))
    (task,) = impatient.dispatcher._crew.tasks
    impatient.turn_until(lambda: task.report_tries > 6)
    assert impatient.job(held).state is JobState.RUNNING
    assert impatient.job(later).state is JobState.QUEUED
    mount.answers.set()
    for number in (held, later):
        job = impatient.run(number)
        assert job.state is JobState.COMPLETED
        assert job.sidecar_path is not None
        assert job.sidecar_path.parent == mount.folder
    assert not [path for path in mount.folder.iterdir() if path.name.startswith(".")]


def test_a_job_called_off_while_its_report_hangs_leaves_none_behind(
    impatient: Bench, workers_that: Callable[[str], None], mount: Mount
) -> None:
    workers_that("behave")
    held = impatient.enqueue("held", mount.folder)
    impatient.turn_until(lambda: impatient.dispatcher.silent_folders() == (mount.folder,))
    impatient.ledger.cancel(held)
    impatient.dispatcher.call_off(held, time.monotonic())
    mount.answers.set()
    impatient.turn_until(lambda: not any(thread.name == "report" for thread in hung_report_threads(impatient)))
    impatient.turn_until(impatient.dispatcher.is_idle)
    assert not list(mount.folder.glob("*.sync.json"))
    assert impatient.job(held).state is JobState.CANCELED


def hung_report_threads(bench: Bench) -> list[threading.Thread]:
    """Those that write reports, but for the newest."""
    return [t for t in threading.enumerate() if t.name == "report" and t is not bench.reporter._thread]


def test_a_worker_that_hangs_in_a_silent_folder_is_no_fault_of_its_job(
    impatient: Bench, workers_that: Callable[[str], None], mount: Mount
) -> None:
    workers_that("freeze")
    held = impatient.enqueue("held", mount.folder)
    impatient.turn_until(lambda: impatient.dispatcher.silent_folders() == (mount.folder,))
    impatient.turn_until(lambda: impatient.job(held).state is JobState.QUEUED)
    assert [one.outcome for one in impatient.attempts(held)] == [AttemptOutcome.HANDED_BACK]
    workers_that("behave")
    impatient.pool.close()
    other = impatient.enqueue("other")
    impatient.turn_until(lambda: impatient.job(other).state is JobState.COMPLETED)
    assert impatient.job(held).state is JobState.QUEUED
    mount.answers.set()
    job = impatient.run(held)
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)
