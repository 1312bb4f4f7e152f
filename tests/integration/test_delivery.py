"""Hand-over with a real ledger and real files, where the ledger or a folder gives trouble."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from syncd import delivery
from syncd.config import Config, parse_config
from syncd.delivery import Delivery
from syncd.domain import Pair, Priority
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.watch.examine import identify
from tests.integration.ledger_material import SETTINGS, a_pair, claim


def configuration(tmp_path: Path, *, moves: bool = True) -> Config:
    hook = tmp_path / "hook"
    hook.write_text(
        f"#!{sys.executable}\nimport os\n"
        f"with open({str(tmp_path / 'told')!r}, 'a') as log: log.write(os.environ['SYNCD_JOB'] + '\\n')\n"
    )
    hook.chmod(0o755)
    folders = f"done = '{tmp_path}/done'\n" if moves else ""
    command = f"on_complete = {json.dumps([str(hook)])}\n"
    return parse_config(f"[[watch]]\npath = '{tmp_path}/drop'\n[reports]\n{folders}[handover]\n{command}", "t")


def completed(ledger: Ledger, tmp_path: Path, title: str, *languages: str) -> list[Path]:
    """Jobs of one master, with real files and a sidecar each; the dubs."""
    drop = tmp_path / "drop"
    drop.mkdir(exist_ok=True)
    master = drop / f"{title}_master.wav"
    master.write_bytes(title.encode())
    dubs = [drop / f"{title}_dub_{language}.wav" for language in languages]
    for dub in dubs:
        dub.write_bytes(dub.name.encode())
        sidecar = dub.with_name(f"{dub.name}.sync.json")
        sidecar.write_text("{}")
        pair = Pair(title, identify(master), identify(dub))
        job = ledger.enqueue(pair, profile="default", settings=SETTINGS, priority=Priority.NORMAL)
        ledger.complete(
            claim(ledger, job.job_id),
            report_json="{}",
            sidecar_path=sidecar,
            verdict="in_sync",
            review=False,
            offset_s=0.0,
            confidence=1.0,
            observation=None,
        )
    return dubs


def tend_until(handover: Delivery, condition: Callable[[], bool]) -> list[SyncdError]:
    """Turn as the main loop does; the troubles that it met."""
    troubles = []
    end_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end_s
        try:
            handover.tend(time.monotonic())
        except SyncdError as error:
            troubles.append(error)
        time.sleep(0.01)
    return troubles


def told(tmp_path: Path) -> list[str]:
    path = tmp_path / "told"
    return sorted(path.read_text().split()) if path.exists() else []


def test_a_ledger_that_cannot_be_written_to_for_a_while_costs_nothing(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    (dub,) = completed(ledger, tmp_path, "show", "fr")
    failures = {"begin_moving": 2, "end_moving": 2, "set_done": 1, "subject": 1}

    def failing(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            failures[name] -= 1
            if failures[name] >= 0:
                raise SyncdError(ErrorCode.DISK_FULL, f"No room for {name}.")
            return real(*arguments)

        return call

    for name in failures:
        monkeypatch.setattr(ledger.handover, name, failing(name, getattr(ledger.handover, name)))
    troubles = tend_until(handover, handover.is_idle)
    assert len(troubles) == 6
    assert told(tmp_path) == ["1"]
    assert {path.name for path in (tmp_path / "done").iterdir()} == {
        dub.name,
        f"{dub.name}.sync.json",
        "show_master.wav",
    }
    assert list((tmp_path / "drop").iterdir()) == []
    assert ledger.handover.moving() is None


def test_a_folder_that_hangs_holds_hand_over_up_and_is_told_of(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    real = delivery.carry_out

    def hanging(moves: Any) -> None:
        answers.wait(30.0)
        real(moves)

    monkeypatch.setattr(delivery, "carry_out", hanging)
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    completed(ledger, tmp_path, "show", "fr")
    tend_until(handover, lambda: ledger.handover.moving() is not None)
    began_s = time.monotonic()
    for _ in range(100):
        handover.tend(time.monotonic())
    assert time.monotonic() - began_s < 5.0
    assert not handover.is_idle()
    answers.set()
    tend_until(handover, handover.is_idle)
    assert told(tmp_path) == ["1"]


def test_a_dub_that_another_job_waits_for_goes_with_the_last_of_them(ledger: Ledger, tmp_path: Path) -> None:
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    (dub,) = completed(ledger, tmp_path, "show", "fr")
    pair = Pair("show", identify(tmp_path / "drop" / "show_master.wav"), identify(dub))
    other = ledger.enqueue(pair, profile="quick", settings=SETTINGS, priority=Priority.NORMAL)
    tend_until(handover, handover.is_idle)
    assert told(tmp_path) == ["1"]
    assert dub.exists()
    second = dub.with_name(f"{dub.name}.show_master.quick.sync.json")
    second.write_text("{}")
    ledger.complete(
        claim(ledger, other.job_id),
        report_json="{}",
        sidecar_path=second,
        verdict="in_sync",
        review=False,
        offset_s=0.0,
        confidence=1.0,
        observation=None,
    )
    tend_until(handover, handover.is_idle)
    assert told(tmp_path) == ["1", "2"]
    assert list((tmp_path / "drop").iterdir()) == []
    assert {path.name for path in (tmp_path / "done").iterdir()} >= {dub.name, f"{dub.name}.sync.json", second.name}


@pytest.mark.parametrize("late", ["show_dub_it.wav", "Dub/it/show.wav"])
def test_a_dub_that_has_not_settled_yet_keeps_its_master(ledger: Ledger, tmp_path: Path, late: str) -> None:
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    arriving = tmp_path / "drop" / late
    arriving.parent.mkdir(parents=True)
    arriving.write_bytes(b"half")
    completed(ledger, tmp_path, "show", "fr")
    tend_until(handover, handover.is_idle)
    assert (tmp_path / "drop" / "show_master.wav").exists()
    arriving.unlink()
    completed(ledger, tmp_path, "other", "it")
    tend_until(handover, handover.is_idle)
    assert not (tmp_path / "drop" / "other_master.wav").exists()


def test_an_archive_that_comes_is_looked_through_once(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    began = ledger.handover.done()
    for number in range(5):
        ledger.enqueue(a_pair(f"t{number}"), profile="default", settings=SETTINGS, priority=Priority.NORMAL)
    handover.tend(time.monotonic())
    asked: list[int] = []
    real = ledger.handover.ended_after
    monkeypatch.setattr(
        ledger.handover, "ended_after", lambda after, limit: (asked.append(after), real(after, limit))[1]
    )
    handover.tend(time.monotonic())
    assert asked == [ledger.last_event_id()]
    assert ledger.handover.done() == began
    completed(ledger, tmp_path, "show", "fr")
    tend_until(handover, handover.is_idle)
    assert told(tmp_path) == ["6"]


def test_a_newer_version_in_the_dubs_place_stays(ledger: Ledger, tmp_path: Path) -> None:
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    (dub,) = completed(ledger, tmp_path, "show", "fr")
    dub.write_bytes(b"a newer version, longer than the one before")
    tend_until(handover, handover.is_idle)
    assert dub.exists()
    assert not (tmp_path / "done").exists()
    assert told(tmp_path) == ["1"]


def test_files_outside_every_watched_folder_stay(ledger: Ledger, tmp_path: Path) -> None:
    config = configuration(tmp_path)
    elsewhere = replace_watch(config, tmp_path / "another")
    handover = Delivery(elsewhere, ledger, lambda: None)
    handover.tend(time.monotonic())
    (dub,) = completed(ledger, tmp_path, "show", "fr")
    tend_until(handover, handover.is_idle)
    assert dub.exists()
    assert told(tmp_path) == ["1"]


def test_what_ends_while_it_is_off_is_not_made_up_for(ledger: Ledger, tmp_path: Path) -> None:
    config = configuration(tmp_path, moves=False)
    handover = Delivery(config, ledger, lambda: None)
    handover.tend(time.monotonic())
    handover.reconfigure(Config())
    handover.tend(time.monotonic())
    completed(ledger, tmp_path, "off", "fr")
    handover.tend(time.monotonic())
    handover.reconfigure(config)
    handover.tend(time.monotonic())
    completed(ledger, tmp_path, "on", "fr")
    tend_until(handover, handover.is_idle)
    assert told(tmp_path) == ["2"]


def test_many_ended_jobs_are_all_handed_over_a_few_at_once(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "WINDOW", 3)
    most = 0
    handover = Delivery(configuration(tmp_path), ledger, lambda: None)
    handover.tend(time.monotonic())
    completed(ledger, tmp_path, "show", *(f"a{letter}" for letter in "abcdefghij"))

    def is_idle() -> bool:
        nonlocal most
        most = max(most, sum(thread.name == "errand" for thread in threading.enumerate()))
        return handover.is_idle()

    tend_until(handover, is_idle)
    assert told(tmp_path) == sorted(str(number) for number in range(1, 11))
    assert most <= 4
    assert list((tmp_path / "drop").iterdir()) == []


def replace_watch(config: Config, folder: Path) -> Config:
    return config.model_copy(update={"watch": (config.watch[0].model_copy(update={"path": folder}),)})
