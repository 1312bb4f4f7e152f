"""One master, many dubs, with a real ledger and real processes: who runs when, and who decodes what."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.config import CacheSection, Config, LedgerSection, WorkersSection
from syncd.domain import TOLERANCES, AnalysisSettings, JobState, Pair, Priority
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job
from syncd.supervisor import pool as pool_module
from syncd.supervisor.cards import Cards
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.pool import Pool
from syncd.supervisor.reporter import Reporter
from syncd.watch.examine import identify
from tests.material import PairTruth, make_pair

SCRIPT = Path(__file__).with_name("scripted_worker.py")
DEADLINE_S = 60.0


class Bench:
    """A dispatcher turned by hand; masters and dubs are named by letters: A1 is a dub of A."""

    def __init__(self, home: Path, *, slots: int, max_bytes: int = 1 << 30) -> None:
        self.home = home
        config = Config(
            ledger=LedgerSection(path=home / "ledger.db"),
            workers=WorkersSection(devices="cpu", cpu_slots=slots, max_attempts=1),
            cache=CacheSection(max_bytes=max_bytes),
        )
        self.ledger = Ledger.open(config.ledger.path)
        self.pool = Pool(config.cache_folder / "scratch")
        self.reporter = Reporter(lambda: None)
        self.reporter.start()
        self.dispatcher = Dispatcher(config, self.ledger, self.pool, self.reporter, Cards(config))
        self.jobs: dict[str, int] = {}

    def enqueue(self, *names: str, methods: tuple[str, ...] = ("correlation",)) -> None:
        settings = AnalysisSettings(methods, TOLERANCES["ebu-r37"], html=False)
        for name in names:
            pair = Pair(name, identify(self.file(name[0])), identify(self.file(name)))
            made = self.ledger.enqueue(pair, profile="default", settings=settings, priority=Priority.NORMAL)
            self.jobs[name] = made.job_id

    def file(self, name: str) -> Path:
        path = self.home / f"{name}.wav"
        if not path.exists():
            path.write_bytes(name.encode() * 100)
        return path

    def job(self, name: str) -> Job:
        reader = LedgerReader.open(self.home / "ledger.db")
        try:
            job = reader.job(self.jobs[name])
        finally:
            reader.close()
        assert job is not None
        return job

    def in_state(self, state: JobState) -> set[str]:
        return {name for name in self.jobs if self.job(name).state is state}

    @property
    def running(self) -> set[str]:
        return self.in_state(JobState.RUNNING)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.dispatcher.step(time.monotonic())
            time.sleep(0.02)

    def turn_until(self, condition: Callable[[], bool], what: str) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, f"{what} did not come true; running: {self.running}"
            self.step()

    def until_running(self, *names: str) -> None:
        self.turn_until(lambda: self.running == set(names), f"running {names}")

    def keep(self, master: str) -> None:
        """The worker that makes this master's features has them."""
        (self.home / f"{master}.wav.kept").touch()

    def end(self, *names: str) -> None:
        for name in names:
            (self.home / f"{name}.wav.end").touch()

    def finish(self) -> None:
        self.turn_until(lambda: self.dispatcher.is_idle() and self.ledger.queued_count() == 0, "the end")

    def report(self, name: str) -> dict[str, Any]:
        sidecar = self.job(name).sidecar_path
        assert sidecar is not None, self.job(name)
        return dict(json.loads(sidecar.read_text(encoding="utf-8")))

    def close(self) -> None:
        self.dispatcher.hand_back_all("the test ends")
        self.pool.close()
        self.reporter.stop()
        self.ledger.close()


@pytest.fixture
def bench_with(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**options: int) -> Bench:
        made.append(Bench(tmp_path, **options))
        return made[-1]

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def _by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that wait for `keep` and `end`."""
    monkeypatch.setattr(pool_module, "WORKER_COMMAND", (sys.executable, str(SCRIPT), "by_hand"))


@pytest.mark.usefixtures("_by_hand")
def test_a_second_dub_lets_another_pair_go_first_while_its_master_is_made(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(slots=2)
    bench.enqueue("A1", "A2", "B1")
    bench.until_running("A1", "B1")


@pytest.mark.usefixtures("_by_hand")
def test_once_the_master_is_kept_its_other_dubs_go_before_later_pairs(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(slots=2)
    bench.enqueue("A1", "A2", "B1", "C1")
    bench.until_running("A1", "B1")
    bench.keep("A")
    bench.step(20)
    bench.keep("B")
    bench.end("B1")
    bench.until_running("A1", "A2")


@pytest.mark.usefixtures("_by_hand")
def test_where_nothing_else_waits_no_slot_stands_idle(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(slots=2)
    bench.enqueue("A1", "A2", "A3", "B1")
    bench.until_running("A1", "B1")
    bench.keep("B")
    bench.end("B1")
    bench.until_running("A1", "A2")


@pytest.mark.usefixtures("_by_hand")
@pytest.mark.parametrize("how", ["its worker dies", "it is called off"])
def test_a_maker_that_ends_without_the_features_holds_nobody_back(bench_with: Callable[..., Bench], how: str) -> None:
    bench = bench_with(slots=2)
    bench.enqueue("A1", "A2", "B1", "C1")
    bench.until_running("A1", "B1")
    if how == "its worker dies":
        bench.turn_until(lambda: all(task.infos for task in bench.dispatcher._crew.tasks), "probed")
        (worker,) = (t.worker for t in bench.dispatcher._crew.tasks if t.job.job_id == bench.jobs["A1"])
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
    else:
        bench.ledger.cancel(bench.jobs["A1"])
        bench.dispatcher.call_off(bench.jobs["A1"], time.monotonic())
    bench.until_running("A2", "B1")


@pytest.mark.usefixtures("_by_hand")
def test_without_a_cache_nobody_is_held_back(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(slots=2, max_bytes=0)
    bench.enqueue("A1", "A2", "B1")
    bench.until_running("A1", "A2")


@pytest.mark.usefixtures("_by_hand")
def test_all_dubs_of_all_masters_end(bench_with: Callable[..., Bench]) -> None:
    bench = bench_with(slots=3)
    names = [f"{master}{number}" for number in range(4) for master in "ABC"]
    for master in "ABC":
        bench.keep(master)
    bench.end(*names)
    bench.enqueue(*names)
    bench.finish()
    assert bench.in_state(JobState.COMPLETED) == set(names)


# --- with real workers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    return make_pair(tmp_path_factory.mktemp("pair"), seed=74, duration_s=14.0, offset_s=-0.3)


def place(bench: Bench, pair: PairTruth, *dubs: str) -> None:
    shutil.copy2(pair.master_path, bench.home / f"{dubs[0][0]}.wav")
    for number, name in enumerate(dubs):
        dub = Path(shutil.copy2(pair.dub_path, bench.home / f"{name}.wav"))
        os.utime(dub, (number, number))  # another version each: the same one would be the same job


def test_the_second_and_third_dub_of_a_master_are_measured_without_decoding_it(
    bench_with: Callable[..., Bench], pair: PairTruth
) -> None:
    bench = bench_with(slots=1)
    place(bench, pair, "A1", "A2", "A3")
    bench.enqueue("A1", "A2", "A3")
    bench.finish()
    reports = [bench.report(name) for name in ("A1", "A2", "A3")]
    assert [report["processing"]["from_cache"] for report in reports] == [[], ["master"], ["master"]]
    assert all(report["processing"]["cache_warnings"] == [] for report in reports)
    offsets_s = {report["consensus_offset"]["offset_seconds"] for report in reports}
    assert len(offsets_s) == 1
    assert abs(offsets_s.pop() - pair.offset_s) < 1e-4


def test_a_retry_takes_the_master_from_the_cache(bench_with: Callable[..., Bench], pair: PairTruth) -> None:
    bench = bench_with(slots=1)
    place(bench, pair, "A1")
    bench.enqueue("A1")
    bench.finish()
    bench.jobs["again"] = bench.ledger.retry_as_new(bench.jobs["A1"], force=True)
    bench.finish()
    assert bench.report("again")["processing"]["from_cache"] == ["master"]


def test_with_the_cache_off_the_report_does_not_speak_of_it(bench_with: Callable[..., Bench], pair: PairTruth) -> None:
    bench = bench_with(slots=1, max_bytes=0)
    place(bench, pair, "A1")
    bench.enqueue("A1")
    bench.finish()
    assert "from_cache" not in bench.report("A1")["processing"]
    assert not (bench.home / "cache" / "features").exists()
