"""What is told of a running job reaches the ledger while it runs: stages, an estimate, each method's answer."""

from __future__ import annotations

import io
import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.console import Console
from rich.console import Group as RichGroup

from syncd.cli.jobs import note
from syncd.cli.show import _view
from syncd.cli.watch import live_table
from syncd.domain import JobState, Lease, MethodResult, Progress
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job
from syncd.worker.measuring import Canceled
from tests.integration.test_feature_cache import Listener as StageListener
from tests.integration.test_feature_cache import measured
from tests.integration.test_shared_masters import Bench, place
from tests.material import PairTruth, make_pair, make_unrelated_pair

METHODS = ("correlation", "mfcc", "onset", "chunked", "chroma")


@dataclass
class Seen:
    """What a reader of the ledger saw of one job while it ran."""

    progress: list[Progress] = field(default_factory=list)
    estimates_s: list[float | None] = field(default_factory=list)
    methods: list[tuple[str, ...]] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    return make_pair(tmp_path_factory.mktemp("pair"), seed=75, duration_s=90.0, offset_s=0.4)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, slots=1)
    yield bench
    bench.close()


def printed(job: Job, reader: LedgerReader) -> str:
    out = io.StringIO()
    console = Console(file=out, width=160)
    console.print(live_table((job,)))
    console.print(note(job))
    console.print(RichGroup(*_view(job, None, reader.partial_methods(job.job_id), [], [], is_paused=False)))
    return out.getvalue()


def watched(bench: Bench, name: str) -> Seen:
    """Turn the dispatcher until the job ends, reading the ledger at every turn as syncctl does."""
    seen = Seen()
    end_s = time.monotonic() + 60.0
    reader = LedgerReader.open(bench.home / "ledger.db")
    try:
        while not (bench.dispatcher.is_idle() and bench.ledger.queued_count() == 0):
            assert time.monotonic() < end_s
            bench.dispatcher.step(time.monotonic())
            job = reader.job(bench.jobs[name])
            if job is not None and job.state is JobState.RUNNING:
                if job.progress is not None:
                    seen.progress.append(job.progress)
                    seen.estimates_s.append(job.eta_s)
                    seen.shown.append(printed(job, reader))
                seen.methods.append(tuple(result.method for result in reader.partial_methods(job.job_id)))
            time.sleep(0.005)
    finally:
        reader.close()
    return seen


def test_methods_are_there_one_after_another_while_the_job_runs(bench: Bench, pair: PairTruth) -> None:
    place(bench, pair, "A1")
    bench.enqueue("A1", methods=METHODS)
    seen = watched(bench, "A1")
    assert bench.job("A1").state is JobState.COMPLETED
    grown = list(dict.fromkeys(seen.methods))
    assert grown[0] == ()
    assert all(shorter == longer[: len(shorter)] for shorter, longer in itertools.pairwise(grown))
    assert set(grown[-1]) == set(METHODS)
    assert len(grown) >= 3, "the answers came all at once"
    assert any("METHOD SO FAR" in text and "correlation" in text for text in seen.shown)


def test_stages_have_texts_and_the_estimate_is_shown_wherever_a_person_looks(
    bench: Bench, pair: PairTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Both sides are decoded at once: whoever only looks now and then sees one of them.
    written: list[str] = []
    record = bench.ledger.record_progress

    def recorded(lease: Lease, progress: Progress, *, eta_s: float | None = None) -> bool:
        written.append(progress.stage)
        return record(lease, progress, eta_s=eta_s)

    monkeypatch.setattr(bench.ledger, "record_progress", recorded)
    place(bench, pair, "A1", "A2")
    bench.enqueue("A1", methods=METHODS)
    seen = watched(bench, "A1")
    assert {"decode_master", "decode_dub", "onsets", "correlation"} <= set(written)
    stages = {progress.stage for progress in seen.progress}
    assert {"onsets", "correlation"} <= stages
    assert stages & {"decode_master", "decode_dub"}
    assert all(progress.text and 0 <= progress.done <= progress.total for progress in seen.progress)
    told_s = [left_s for left_s in seen.estimates_s if left_s is not None]
    assert told_s
    assert all(0.0 <= left_s < 60.0 for left_s in told_s)
    shown = [text for text, left_s in zip(seen.shown, seen.estimates_s, strict=True) if left_s is not None]
    assert all(" s left)" in text for text in shown)
    assert bench.job("A1").eta_s is None


class Listener:
    """Keeps every figure."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int, int, str]] = []

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        self.told.append((stage, done, total, text))

    def method_done(self, result: MethodResult) -> None: ...


def test_no_stage_repeats_a_figure_so_that_slow_work_is_never_taken_for_a_hang(tmp_path: Path) -> None:
    strangers = make_unrelated_pair(tmp_path, seed=76, duration_s=40.0)
    listener = Listener()
    measured(tmp_path, strangers.master_path, strangers.dub_path, methods=("correlation",), listener=listener)
    stages = {stage for stage, *_ in listener.told}
    assert {"decode_master", "decode_dub", "keep_master", "curves", "survey", "speeds", "repetition"} <= stages
    for stage in ("curves", "survey", "speeds", "repetition"):
        figures = [done / total for name, done, total, _ in listener.told if name == stage]
        assert figures == sorted(figures), f"{stage} went back"
        assert len(set(figures)) == len(figures), f"{stage} repeated itself"
        assert 0.0 <= figures[0] <= figures[-1] <= 1.0


@pytest.mark.parametrize("stage", ["fetch_master", "curves", "survey", "onsets", "timeline", "rivals"])
def test_a_job_is_called_off_from_every_stage(tmp_path: Path, pair: PairTruth, stage: str) -> None:
    if stage == "fetch_master":
        measured(tmp_path, pair.master_path, pair.dub_path, methods=("correlation",))

    def call_off() -> None:
        raise Canceled

    listener = StageListener(stage, call_off)
    with pytest.raises(Canceled):
        measured(tmp_path, pair.master_path, pair.dub_path, methods=("correlation",), listener=listener)
    assert not list(tmp_path.glob("features/.draft-*"))
