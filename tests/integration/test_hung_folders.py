"""A folder whose disk does not answer keeps nobody waiting but those who want something of it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd import intake as intake_module
from syncd import requests as requests_module
from syncd.config import Config, LedgerSection, WatchSection
from syncd.domain import Pair
from syncd.intake import Intake
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import RequestKind, path_to_json
from syncd.watch import watcher as watcher_module
from syncd.watch.events import OrphanFound, PairFound
from tests.acceptance.service import wait_for
from tests.integration.ledger_material import a_pair, an_orphan, enqueue, renamed
from tests.integration.test_requests import Counter
from tests.integration.watching import wav_bytes

AT_ONCE_S = 1.0
"""Far above what any of it takes, far below what a folder may hang."""


class Hung:
    """Until the server is back, whoever asks waits for the other end of a pipe."""

    def __init__(self, pipe: Path) -> None:
        self._pipe = pipe
        os.mkfifo(pipe)
        self._other_end: int | None = None

    def before(self, work: Callable[..., Any], *, concerns: Callable[..., bool]) -> Callable[..., Any]:
        """The work, which hangs where it `concerns` the folder."""

        def hanging(*arguments: Any, **named: Any) -> Any:
            if concerns(*arguments):
                os.close(os.open(self._pipe, os.O_RDONLY))
            return work(*arguments, **named)

        return hanging

    def come_back(self) -> None:
        if self._other_end is None:
            self._other_end = os.open(self._pipe, os.O_RDWR)

    def close(self) -> None:
        self.come_back()
        assert self._other_end is not None
        os.close(self._other_end)


@pytest.fixture
def hung(tmp_path: Path) -> Iterator[Hung]:
    hung = Hung(tmp_path / "pipe")
    yield hung
    hung.close()


class TwoFolders:
    """An intake over a folder that will hang and one that is well, with what their watchers find."""

    def __init__(self, home: Path, ledger: Ledger) -> None:
        self.woken = threading.Event()
        self.intake = Intake(ledger, lambda _job_id, _now_s: None, self.woken.set)
        self.ledger = home / "ledger.db"
        self.folders = [home / "hung", home / "well"]
        for folder in self.folders:
            folder.mkdir()

    def watch(self) -> None:
        watch = tuple(WatchSection(path=folder) for folder in self.folders)
        self.intake.watch(Config(ledger=LedgerSection(path=self.ledger), watch=watch))

    def find(self, *events: PairFound | OrphanFound) -> None:
        for event in events:
            self.intake._hear(1, event)

    def turn(self) -> None:
        """One of the main loop's, which never waits."""
        began_s = time.monotonic()
        self.intake.take()
        assert time.monotonic() - began_s < AT_ONCE_S

    def turn_until(self, condition: Callable[[], object]) -> None:
        def turned() -> object:
            self.turn()
            return condition()

        wait_for(turned)


@pytest.fixture
def two(tmp_path: Path, ledger: Ledger) -> Iterator[TwoFolders]:
    two = TwoFolders(tmp_path, ledger)
    yield two
    two.intake.unwatch()


def test_a_watcher_that_hangs_is_told_of_and_is_not_lost(
    two: TwoFolders, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = hung.before(watcher_module.needs_polling, concerns=lambda root, _mounts: root.endswith("hung"))
    monkeypatch.setattr(watcher_module, "needs_polling", look)
    monkeypatch.setattr(intake_module, "SILENT_S", 3.0)
    two.watch()
    assert two.intake.hung_folders(time.monotonic()) == []
    two.turn_until(lambda: two.intake.hung_folders(time.monotonic()) == two.folders[:1])
    assert not two.intake.has_lost_a_watcher
    hung.come_back()
    two.turn_until(lambda: two.intake.hung_folders(time.monotonic()) == [])


def test_many_watchers_that_hang_hold_a_stop_up_no_longer_than_one(
    tmp_path: Path, ledger: Ledger, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def needs_polling(root: str, mounts: Any) -> bool:
        asked.append(root)
        return bool(look(root, mounts))

    look = hung.before(watcher_module.needs_polling, concerns=lambda *_: True)
    monkeypatch.setattr(watcher_module, "needs_polling", needs_polling)
    many = TwoFolders(tmp_path, ledger)
    many.folders += [tmp_path / f"hung{number}" for number in range(6)]
    for folder in many.folders[2:]:
        folder.mkdir()
    many.watch()
    many.turn_until(lambda: len(asked) == len(many.folders))
    began_s = time.monotonic()
    many.intake.unwatch()
    assert time.monotonic() - began_s < len(many.folders) / 2.0


def pair_in(folder: Path, title: str, version: int = 1) -> Pair:
    return renamed(a_pair(title, dub_version=version), folder)


def waiting_titles(ledger: Ledger) -> list[str]:
    return [job.title for job in ledger.ready(100)]


def test_a_folder_that_hangs_where_reports_would_lie_holds_up_no_pair_of_another(
    two: TwoFolders, ledger: Ledger, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = hung.before(
        intake_module.find_past_report, concerns=lambda pair, _profile: pair.dub.path.parent.name == "hung"
    )
    monkeypatch.setattr(intake_module, "find_past_report", look)
    two.watch()
    two.turn_until(lambda: two.intake.is_done)
    waits = [PairFound(0, pair_in(two.folders[0], f"waits{number}")) for number in range(3)]
    goes_on = [PairFound(1, pair_in(two.folders[1], f"goes{number}")) for number in range(3)]
    two.find(*waits, *goes_on)
    two.turn_until(lambda: len(waiting_titles(ledger)) == 3)
    two.turn()
    assert waiting_titles(ledger) == ["goes0", "goes1", "goes2"]
    assert [thread.name for thread in threading.enumerate()].count("errand") == 1
    two.turn_until(lambda: not two.intake.has_more)
    assert not two.intake.is_done
    two.woken.clear()
    hung.come_back()
    assert two.woken.wait(10.0)
    two.turn_until(lambda: len(waiting_titles(ledger)) == 6)
    assert waiting_titles(ledger)[3:] == ["waits0", "waits1", "waits2"]


def test_a_later_version_does_not_overtake_the_one_before_it(
    two: TwoFolders, ledger: Ledger, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = hung.before(intake_module.find_past_report, concerns=lambda *_: True)
    monkeypatch.setattr(intake_module, "find_past_report", look)
    two.watch()
    old, new = (pair_in(two.folders[0], "Heist", version) for version in (1, 2))
    two.find(PairFound(0, old), PairFound(0, new))
    two.turn()
    hung.come_back()
    two.turn_until(lambda: [job.dub for job in ledger.ready(10)] == [new.dub])


def test_a_pair_is_not_taken_along_from_a_place_that_does_not_answer(
    two: TwoFolders, ledger: Ledger, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake_module, "deserted_job_id", hung.before(lambda _: None, concerns=lambda _: True))
    monkeypatch.setattr(intake_module, "ELSEWHERE_S", 0.5)
    two.watch()
    there = pair_in(two.folders[0], "Heist")
    enqueue(ledger, there)
    here, other = pair_in(two.folders[1], "Heist"), pair_in(two.folders[1], "Other")
    two.find(PairFound(1, here), PairFound(1, other))
    two.turn_until(lambda: len(waiting_titles(ledger)) == 2)
    assert [job.dub for job in ledger.ready(10)] == [there.dub, other.dub]


def test_a_pair_that_was_moved_is_taken_along(two: TwoFolders, ledger: Ledger) -> None:
    two.watch()
    enqueue(ledger, pair_in(two.folders[0], "Heist"))
    here = pair_in(two.folders[1], "Heist")
    two.find(PairFound(1, here))
    two.turn_until(lambda: [job.dub for job in ledger.ready(10)] == [here.dub])


def test_orphans_of_an_earlier_run_are_forgotten_when_their_folder_answers_but_for_those_found_again(
    two: TwoFolders, ledger: Ledger, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    orphans = []
    for number, folder in ((0, two.folders[0]), (1, two.folders[0]), (2, two.folders[1])):
        orphan = an_orphan(f"Alone{number}_dub_de.wav")
        orphan = replace(orphan, file=replace(orphan.file, path=folder / orphan.file.path.name))
        ledger.record_orphan(orphan)
        orphans.append(orphan)
    look = hung.before(intake_module._gone, concerns=lambda paths: paths[0].parent.name == "hung")
    monkeypatch.setattr(intake_module, "_gone", look)
    began_s = time.monotonic()
    two.watch()
    assert time.monotonic() - began_s < AT_ONCE_S
    two.turn_until(lambda: ledger.orphan_paths() == [orphans[0].file.path, orphans[1].file.path])
    two.find(OrphanFound(0, orphans[1], is_overdue=False))
    two.turn()
    hung.come_back()
    two.turn_until(lambda: ledger.orphan_paths() == [orphans[1].file.path])


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    home = tmp_path / "counter"
    home.mkdir()
    counter = Counter(home)
    yield counter
    counter.close()


def submit(counter: Counter, folder: Path) -> int:
    """The same pair, wherever it lies."""
    folder.mkdir(exist_ok=True)
    paths = {}
    for role in ("master", "dub"):
        paths[role] = folder / f"film_{role}.wav"
        paths[role].write_bytes(wav_bytes(value=len(role)))
        os.utime(paths[role], ns=(10**18, 10**18))
    return counter.box.add(RequestKind.SUBMIT, {role: path_to_json(path) for role, path in paths.items()})


def test_a_submitted_pair_whose_twin_lies_in_a_folder_that_hangs_keeps_nobody_else_waiting(
    counter: Counter, hung: Hung, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = hung.before(requests_module.deserted_job_id, concerns=lambda _: True)
    monkeypatch.setattr(requests_module, "deserted_job_id", look)
    first = submit(counter, counter.home / "there")
    counter.serve_until(lambda: counter.answer(first))
    for path in (counter.home / "there").iterdir():
        path.unlink()
    again, paused = submit(counter, counter.home / "here"), counter.box.add(RequestKind.PAUSE, {})
    counter.serve_until(lambda: counter.answer(paused))
    assert counter.answer(again) is None
    hung.come_back()
    counter.serve_until(lambda: counter.answer(again))
    answer = counter.answer(again)
    assert answer is not None
    assert answer.outcome == {"job_id": 1, "created": False}
    assert [job.dub.path.parent.name for job in counter.bench.ledger.ready(5)] == ["here"]
