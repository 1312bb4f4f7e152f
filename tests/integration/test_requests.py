"""What people ask for is carried out while a folder that some of them named hangs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncd import requests as requests_module
from syncd.config import Config
from syncd.domain import MediaFile
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Request, RequestKind, path_to_json
from syncd.ledger.requests import RequestBox
from syncd.requests import LOOKS_AT_ONCE, RequestDesk
from syncd.watch.examine import identify_side
from tests.integration.test_dispatch import DEADLINE_S, Bench
from tests.integration.watching import wav_bytes


class Counter:
    """A request desk, and people before it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.bench = Bench(home)
        self.woken = threading.Event()
        self.desk = RequestDesk(self.bench.ledger, self.bench.dispatcher, Config(), self.woken.set)
        self.box = RequestBox.open(home / "ledger.db")
        self.reader = LedgerReader.open(home / "ledger.db")

    def submit(self, title: str) -> int:
        paths = {}
        for role in ("master", "dub"):
            paths[role] = self.home / f"{title}_{role}.wav"
            if title != "missing":
                paths[role].write_bytes(wav_bytes(value=len(title)))
        return self.box.add(RequestKind.SUBMIT, {role: path_to_json(path) for role, path in paths.items()})

    def answer(self, request_id: int) -> Request | None:
        """None: not yet."""
        request = self.reader.request(request_id)
        assert request is not None
        return request if request.finished_at else None

    def serve_until(self, condition: Callable[[], object]) -> None:
        end_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < end_s, "the condition did not come true"
            self.desk.serve(time.monotonic())

    def close(self) -> None:
        self.reader.close()
        self.box.close()
        self.bench.close()


@pytest.fixture
def counter(tmp_path: Path) -> Iterator[Counter]:
    counter = Counter(tmp_path)
    yield counter
    counter.close()


def refuse(code: ErrorCode) -> Callable[[Path], MediaFile]:
    def look(file: Path) -> MediaFile:
        raise SyncdError(code, f"{file} may not be read by this user.")

    return look


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (ErrorCode.PERMISSION_DENIED, "The service, which runs as the user "),
        (ErrorCode.FILE_NOT_FOUND, "The service finds no file at "),
    ],
)
def test_a_file_that_is_kept_from_the_service_is_told_of_as_the_service_sees_it(
    counter: Counter, monkeypatch: pytest.MonkeyPatch, code: ErrorCode, words: str
) -> None:
    monkeypatch.setattr(requests_module, "identify_side", refuse(code))
    monkeypatch.setattr(os, "access", lambda path, _wanted: path != counter.home)
    monkeypatch.setattr(requests_module, "hidden_folder", lambda _path: counter.home.parent)
    asked = counter.submit("film")
    counter.serve_until(lambda: counter.answer(asked))
    error = (answer := counter.answer(asked)) and answer.error
    assert error is not None
    assert error.code is code
    assert error.message.startswith(words)
    assert f"under systemd its unit keeps {counter.home.parent} from it" in error.message
    assert (f"it may not enter {counter.home}" in error.message) == (code is ErrorCode.PERMISSION_DENIED)


class HungFolder:
    """Until the server is back, who looks at a file whose name says that it hangs waits for the other end of a pipe."""

    def __init__(self, pipe: Path) -> None:
        self.pipe = pipe
        os.mkfifo(pipe)
        self.other_end: int | None = None

    def look(self, file: Path) -> MediaFile:
        if "hung" in file.name:
            os.close(os.open(self.pipe, os.O_RDONLY))
        return identify_side(file)

    def come_back(self) -> None:
        if self.other_end is None:
            self.other_end = os.open(self.pipe, os.O_RDWR)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HungFolder]:
    folder = HungFolder(tmp_path / "pipe")
    monkeypatch.setattr(requests_module, "identify_side", folder.look)
    yield folder
    folder.come_back()
    assert folder.other_end is not None
    os.close(folder.other_end)


def test_a_submitted_pair_is_answered_at_once(counter: Counter) -> None:
    request_id = counter.submit("film")
    counter.desk.serve(time.monotonic())
    answer = counter.answer(request_id)
    assert answer is not None
    assert answer.outcome == {"job_id": 1, "created": True}


def test_a_folder_that_hangs_keeps_nobody_else_waiting(counter: Counter, folder: HungFolder) -> None:
    hung = counter.submit("hung")
    paused, film = counter.box.add(RequestKind.PAUSE, {}), counter.submit("film")
    counter.serve_until(lambda: counter.answer(paused) and counter.answer(film))
    assert counter.answer(hung) is None
    counter.woken.clear()
    folder.come_back()
    assert counter.woken.wait(DEADLINE_S)
    counter.serve_until(lambda: counter.answer(hung))
    answer = counter.answer(hung)
    assert answer is not None
    assert answer.outcome == {"job_id": 2, "created": True}


def test_many_folders_that_hang_do_not_make_threads_without_end(counter: Counter, folder: HungFolder) -> None:
    before = threading.active_count()
    hung = [counter.submit(f"hung{number}") for number in range(LOOKS_AT_ONCE + 3)]
    paused = counter.box.add(RequestKind.PAUSE, {})
    counter.serve_until(lambda: counter.answer(paused))
    assert threading.active_count() == before + LOOKS_AT_ONCE
    folder.come_back()
    counter.serve_until(lambda: all(counter.answer(request_id) for request_id in hung))


def test_a_file_that_is_not_there_is_refused_by_name(counter: Counter) -> None:
    request_id = counter.submit("missing")
    counter.serve_until(lambda: counter.answer(request_id))
    answer = counter.answer(request_id)
    assert answer is not None
    assert answer.error is not None
    assert answer.error.code.value == "FILE_NOT_FOUND"
