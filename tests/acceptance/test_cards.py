"""The real daemon on three cards of a stand-in for the driver; its workers' models really take their memory there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.domain import JobState
from syncd.errors import ErrorCode
from syncd.ledger.records import Attempt, Job
from tests.acceptance.service import Service, valid_report, wait_for
from tests.material import PairTruth, make_pair
from tests.material.swell import make_swelling_pair
from tests.standin.world import World

STALL_S = 10.0
AI = 'ai = "wav2vec2"'


class OnCards:
    """A service in a world with cards."""

    def __init__(self, home: Path) -> None:
        self.world = World(home / "world")
        self.orders = home / "orders"
        self.orders.mkdir()
        model = home / "model"
        model.mkdir()
        (model / "model.safetensors").write_bytes(bytes(4096))
        extra = f'[workers]\ncpu_slots = 2\nstall_seconds = {STALL_S}\n[ai]\nwav2vec2 = "{model}"\n'
        self.service = Service(home / "service", extra=extra)
        self.service.write_config(profile=AI)
        self.service.program = ("-m", "tests.standin.daemon")
        self.service.environment |= {**self.world.environment, "STANDIN_ORDERS": str(self.orders)}

    def drop(self, pair: PairTruth, title: str) -> str:
        self.write(pair, title, self.service.drop)
        return title

    def submit_without_model(self, pair: PairTruth, title: str) -> None:
        files = self.write(pair, title, self.service.home)
        self.service.syncctl("submit", *map(str, files), "--profile", "plain")

    def write(self, pair: PairTruth, title: str, folder: Path) -> list[Path]:
        """A version of its own, for identical files are measured once."""
        written = []
        for role, source in (("master", pair.master_path), ("dub", pair.dub_path)):
            sound = bytearray(source.read_bytes())
            sound[-4:] = hash(title).to_bytes(8, "little", signed=True)[:4]
            written.append(folder / f"{title}_{role}.wav")
            written[-1].write_bytes(sound)
        return written

    def report(self, job: Job) -> dict[str, Any]:
        assert job.sidecar_path is not None
        return valid_report(job.sidecar_path)

    def devices(self) -> list[dict[str, Any]]:
        return list(self.service.syncctl_json("devices")["devices"])

    def card_of(self, job: Job) -> str:
        return str(self.report(job)["processing"]["device"])


@pytest.fixture
def on_cards(tmp_path: Path) -> Iterator[OnCards]:
    made = OnCards(tmp_path)
    yield made
    made.service.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    return make_pair(tmp_path_factory.mktemp("pair"), seed=77, duration_s=40.0, offset_s=-0.75)


@pytest.fixture(scope="module")
def long_pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Fifteen windows a side."""
    return make_swelling_pair(tmp_path_factory.mktemp("long"), 300.0, offset_s=1.25)


def test_jobs_with_a_model_are_spread_over_the_cards_and_the_reports_say_what_it_found(
    on_cards: OnCards, pair: PairTruth
) -> None:
    on_cards.service.start()
    for i in range(6):
        on_cards.drop(pair, f"show{i}")
    jobs = on_cards.service.wait_for_jobs(6)
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    cards = {card.uuid for card in on_cards.world.cards}
    assert {on_cards.card_of(job) for job in jobs} <= cards
    for job in jobs:
        report = on_cards.report(job)
        assert report["ai_result"]["model"] == "wav2vec2"
        assert report["ai_result"]["device"] in cards
        assert report["processing"]["peak_vram_bytes"] > 500_000_000
        assert report["processing"]["degraded"] == []
        assert abs(report["consensus_offset"]["offset_seconds"] - pair.offset_s) < 1e-4
    (attempt,) = attempts_of(on_cards, jobs[0])
    assert 0 < (attempt.peak_vram_bytes or 0) <= attempt.predicted_vram_bytes


def test_one_card_lost_one_worker_hung_and_every_report_is_delivered(on_cards: OnCards, pair: PairTruth) -> None:
    """Mixed jobs, with and without a model; half way a card goes, and a model stands still."""
    on_cards.service.write_config(profile=f'{AI}\n[profiles.plain]\nmethods = ["correlation"]\nai = "off"')
    on_cards.service.start()
    (on_cards.orders / "hang.0").touch()
    for i in range(4):
        on_cards.drop(pair, f"first{i}")
    wait_for(lambda: not list(on_cards.orders.iterdir()), what="a model that hangs")
    on_cards.submit_without_model(pair, "plain0")
    on_cards.world.change(0, health="lost")
    for i in range(4):
        on_cards.drop(pair, f"second{i}")
    on_cards.submit_without_model(pair, "plain1")
    jobs = on_cards.service.wait_for_jobs(10, deadline_s=120.0)
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    reports = [on_cards.report(job) for job in jobs]
    assert all(abs(report["consensus_offset"]["offset_seconds"] - pair.offset_s) < 1e-4 for report in reports)
    without_model = {report["title"] for report in reports if report["ai_result"] is None}
    assert without_model == {"plain0_master", "plain1_master"}
    attempts = [attempt for job in jobs for attempt in attempts_of(on_cards, job) if attempt.failure is not None]
    codes = {attempt.failure.code for attempt in attempts if attempt.failure is not None}
    assert codes <= {ErrorCode.WORKER_STALLED, ErrorCode.GPU_FAILED}
    (stalled,) = (one for one in attempts if one.failure and one.failure.code is ErrorCode.WORKER_STALLED)
    report = on_cards.report(on_cards.service.job(stalled.job_id))
    assert "the models' full batch size" in report["processing"]["degraded"]
    assert stalled.stage == "ai"
    assert stalled.stack is not None
    assert "hold_if_told" in stalled.stack
    lost = next(device for device in on_cards.devices() if device["uuid"] == on_cards.world.cards[0].uuid)
    assert not lost["is_usable"]
    assert "lost" in lost["reason"]
    assert "gpu_taken_out" in on_cards.service.log()


@pytest.mark.parametrize("heard", [0, 2, 20])
def test_a_model_that_hangs_costs_its_own_job_a_retry_and_nobody_else_anything(
    on_cards: OnCards, pair: PairTruth, long_pair: PairTruth, heard: int
) -> None:
    """At the first window, after a few, near the end."""
    (on_cards.orders / f"hang.{heard}").touch()
    on_cards.service.start()
    on_cards.drop(long_pair, "hung")
    wait_for(lambda: not list(on_cards.orders.iterdir()), what="a model that hangs")
    others = [on_cards.drop(pair, f"other{i}") for i in range(3)]
    jobs = on_cards.service.wait_for_jobs(4, deadline_s=90.0)
    by_title = {job.title: job for job in jobs}
    assert by_title["hung"].state is JobState.COMPLETED
    assert by_title["hung"].attempts == 2
    assert on_cards.report(by_title["hung"])["ai_result"] is not None
    assert all(by_title[title].attempts == 1 for title in others)
    hung_ended, others_ended = by_title["hung"].finished_at, [by_title[title].finished_at for title in others]
    assert hung_ended is not None
    assert all(ended is not None and ended < hung_ended for ended in others_ended)


def test_a_model_that_takes_more_than_was_believed_makes_do_with_fewer_windows_at_once(
    on_cards: OnCards, long_pair: PairTruth
) -> None:
    on_cards.service.environment["STANDIN_APPETITE"] = "1.6"
    on_cards.service.start()
    on_cards.drop(long_pair, "hungry")
    (job,) = on_cards.service.wait_for_jobs(1)
    report = on_cards.report(job)
    assert (job.state, job.attempts) == (JobState.COMPLETED, 1)
    assert report["ai_result"]["batch"] == 4
    assert report["processing"]["degraded"] == ["windows went 4 at once instead of 8, for want of memory"]
    assert report["processing"]["peak_vram_bytes"] <= attempts_of(on_cards, job)[-1].predicted_vram_bytes


def test_a_model_that_fits_on_no_card_runs_on_the_cpu_or_not_at_all_and_the_report_comes(
    on_cards: OnCards, pair: PairTruth
) -> None:
    """The stand-in's weights are none that the CPU could use: the report says what is missing."""
    on_cards.world.change_all(total_mib=1024)
    on_cards.service.start()
    on_cards.drop(pair, "small")
    (job,) = on_cards.service.wait_for_jobs(1)
    report = on_cards.report(job)
    assert job.state is JobState.COMPLETED
    assert report["processing"]["device"] == "cpu"
    assert any(warning.startswith("MODEL_UNAVAILABLE: ") for warning in report["warnings"])


def test_a_driver_that_hangs_does_not_hang_the_daemon(on_cards: OnCards, pair: PairTruth) -> None:
    """Jobs without a model go on; one with a model waits until the driver is given up, and then does without cards."""
    on_cards.world.change_all(health="hang")
    on_cards.service.start()
    on_cards.drop(pair, "show")
    (job,) = on_cards.service.wait_for_jobs(1, deadline_s=60.0)
    assert job.state is JobState.COMPLETED
    assert on_cards.card_of(job) == "cpu"


def test_idle_workers_give_their_cards_memory_up_for_others(on_cards: OnCards, pair: PairTruth) -> None:
    on_cards.world.set_cards(on_cards.world.cards[:1])
    on_cards.service.start()
    for i in range(3):
        on_cards.drop(pair, f"show{i}")
    jobs = on_cards.service.wait_for_jobs(3)
    assert {job.state for job in jobs} == {JobState.COMPLETED}
    for i in range(3):
        on_cards.drop(pair, f"again{i}")
    assert {job.attempts for job in on_cards.service.wait_for_jobs(6)} == {1}


def test_the_devices_command_shows_who_holds_the_cards(on_cards: OnCards, long_pair: PairTruth) -> None:
    (on_cards.orders / "hang.2").touch()
    on_cards.service.start()
    on_cards.drop(long_pair, "show")

    def held() -> dict[str, Any] | None:
        return next((device for device in on_cards.devices() if device["kind"] == "gpu" and device["held_by"]), None)

    device = wait_for(held, what="a card that is held")
    assert device is not None
    assert device["promised_bytes"] > 0
    assert device["held_by"][0]["job_id"] == 1
    assert json.dumps(device)


def attempts_of(on_cards: OnCards, job: Job) -> list[Attempt]:
    return list(on_cards.service.read(lambda reader: reader.attempts(job.job_id)))
