from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from syncd import sdnotify
from syncd.sdnotify import ServiceNotifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """A service manager's end that nobody reads."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(str(tmp_path / "notify"))
        yield bound


@pytest.mark.timeout(30)
def test_a_manager_whose_queue_is_full_does_not_hold_the_service_up(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sdnotify, "BUSY_S", 0.05)
    fill_queue(tmp_path / "notify")
    ServiceNotifier(str(tmp_path / "notify")).status("nobody hears this")
    assert manager.recv(3) == b"X=1"


@pytest.mark.timeout(30)
def test_of_a_manager_that_stays_busy_only_the_first_word_is_waited_for(
    manager: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stop tells of each of its steps: each would have waited."""
    monkeypatch.setattr(sdnotify, "BUSY_S", 2.0)
    fill_queue(tmp_path / "notify")
    notifier = ServiceNotifier(str(tmp_path / "notify"))
    for _ in range(100):
        notifier.extend(30.0)
    manager.settimeout(0.0)
    with suppress(BlockingIOError):
        while manager.recv(8192):
            pass
    notifier.status("heard again")
    assert manager.recv(8192) == b"STATUS=heard again"


def fill_queue(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others, suppress(BlockingIOError):
        others.settimeout(0.0)
        while True:
            others.sendto(b"X=1\n" + b" " * 4096, str(path))
