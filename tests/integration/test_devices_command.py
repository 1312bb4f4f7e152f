"""`syncctl devices`, with and without a daemon, on a stand-in for the driver (tests/standin)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd.clock import utc_now
from syncd.devices.inventory import DeviceKind
from syncd.devices.views import SERVICE_KEY, DevicesView, DeviceView, Holder, view_to_text
from syncd.ledger.ledger import Ledger
from tests.standin.world import LIBRARY, World

SEEN = DeviceView(
    DeviceKind.GPU,
    0,
    "NVIDIA GeForce RTX 2080 Ti",
    "GPU-seen",
    11_000_000_000,
    6_000_000_000,
    8_250_000_000,
    4_000_000_000,
    (Holder(812, 2_000_000_000, job_id=12), Holder(99, None)),
    37,
    is_usable=False,
    reason="2 jobs failed on it within 10 min.",
    again_s=300.0,
)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    world = World(tmp_path / "world")
    world.enter(monkeypatch)
    return world


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def syncctl(home: Path, *arguments: str, workers: str = "") -> subprocess.CompletedProcess[str]:
    config = home / "syncd.toml"
    config.write_text(f'[ledger]\npath = "{home / "ledger.db"}"\n[workers]\ncpu_slots = 2\n{workers}', encoding="utf-8")
    command = [sys.executable, "-m", "syncd.cli.app", *arguments, "--config", str(config)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def devices(home: Path, *arguments: str, workers: str = "") -> str:
    done = syncctl(home, "devices", *arguments, workers=workers)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def devices_json(home: Path, workers: str = "") -> Any:
    return json.loads(devices(home, "--json", workers=workers))


def test_without_a_daemon_the_driver_is_asked(tmp_path: Path, world: World, stranger: subprocess.Popen[bytes]) -> None:
    world.hold(world.cards[1].uuid, stranger.pid, 3000)
    world.change(2, health="lost")
    told = devices_json(tmp_path)
    assert (told["source"], told["driver_version"], told["why_no_gpu"]) == ("asked", "575.51.03", None)
    cpu, free, held, lost = told["devices"]
    assert (cpu["kind"], cpu["slots"], cpu["is_usable"]) == ("cpu", 2, True)
    assert (free["uuid"], free["is_usable"], free["held_by"]) == (world.cards[0].uuid, True, [])
    holder = {"pid": stranger.pid, "held_bytes": 3000 << 20, "job_id": None, "process": "sleep"}
    assert (held["held_by"], held["is_usable"]) == ([holder], True)
    assert (lost["index"], lost["reason"]) == (2, "It cannot be used now: GPU is lost.")


def test_people_read_lines(tmp_path: Path, world: World, stranger: subprocess.Popen[bytes]) -> None:
    world.hold(world.cards[0].uuid, stranger.pid, 1000)
    text = devices(tmp_path, workers='devices = [0, "GPU-9999aaaa"]\n')
    assert "cpu: 2 jobs at once" in text
    assert f"gpu 0: NVIDIA GeForce RTX 2080 Ti, {world.cards[0].uuid}\n  usable\n" in text
    assert f"held: 1.0 GB by sleep (process {stranger.pid})" in text
    assert "not used: workers.devices is [0, GPU-9999aaaa]." in text
    assert "workers.devices names GPU-9999aaaa, and there is no such GPU." in text


def test_a_card_that_hangs_is_named_within_the_deadline(tmp_path: Path, world: World) -> None:
    world.change(1, health="hang")
    told = devices_json(tmp_path)
    assert [device["is_usable"] for device in told["devices"]] == [True, True, False, True]
    assert told["devices"][2]["index"] == 1


def test_a_machine_without_a_driver_has_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / LIBRARY).touch()
    monkeypatch.setenv("LD_LIBRARY_PATH", str(tmp_path))
    told = devices_json(tmp_path)
    assert [device["kind"] for device in told["devices"]] == ["cpu"]
    assert told["why_no_gpu"] == "There is no NVIDIA driver on this machine."


def test_a_driver_that_hangs_altogether_holds_nobody_up(tmp_path: Path, world: World) -> None:
    world.make_driver_hang()
    told = devices_json(tmp_path)
    assert [device["kind"] for device in told["devices"]] == ["cpu"]
    assert told["why_no_gpu"] == "The NVIDIA driver does not answer."


def test_what_a_running_daemon_saw_of_late_is_shown(tmp_path: Path, world: World) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    try:
        ledger.set_service(SERVICE_KEY, view_to_text(DevicesView(utc_now(), (SEEN,), "575.51.03")))
        told = devices_json(tmp_path)
        assert (told["source"], [device["uuid"] for device in told["devices"]]) == ("daemon", ["GPU-seen"])
        text = devices(tmp_path)
        assert "not used: 2 jobs failed on it within 10 min. Back in 5 min." in text
        assert "6.0 GB free of 11.0 GB, 4.0 GB reserved for jobs, 8.2 GB at most; 37 % busy" in text
        assert "held: 2.0 GB by job 12 (process 812)" in text
        assert "held: an unknown amount by another program (process 99)" in text
        long_ago = utc_now() - timedelta(seconds=60)
        ledger.set_service(SERVICE_KEY, view_to_text(DevicesView(long_ago, (SEEN,))))
        assert devices_json(tmp_path)["source"] == "asked"
    finally:
        ledger.close()
    assert world.cards


def test_what_a_daemon_left_behind_is_not_shown(tmp_path: Path, world: World) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    ledger.set_service(SERVICE_KEY, view_to_text(DevicesView(utc_now(), (SEEN,))))
    ledger.close()
    told = devices_json(tmp_path)
    assert (told["source"], told["devices"][1]["uuid"]) == ("asked", world.cards[0].uuid)


def gpu_checks(home: Path, workers: str = "") -> list[tuple[str, str]]:
    """What doctor finds of GPUs; whatever else it finds wrong here."""
    told = json.loads(syncctl(home, "doctor", "--json", workers=workers).stdout)
    return [(check["finding"], check["message"]) for check in told["checks"] if check["name"] == "gpu"]


def test_doctor_names_cards_that_are_not_used_and_names_without_card(tmp_path: Path, world: World) -> None:
    world.change(1, health="lost")
    assert gpu_checks(tmp_path, "devices = [0, 1, 7]\n") == [
        ("warning", "workers.devices names 7, and there is no such GPU."),
        ("ok", f"GPU 0 (NVIDIA GeForce RTX 2080 Ti, {world.cards[0].uuid}) can be used."),
        ("warning", "GPU 1 (unknown, card-1) is not used. It cannot be used now: GPU is lost."),
    ]
    assert gpu_checks(tmp_path, 'devices = "cpu"\n') == []
