"""What the daemon tells the service manager, from start to stop."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.acceptance.service import Service, wait_for
from tests.acceptance.test_hung_folder import HANGS
from tests.chaos.site import StatusLine


class Manager(StatusLine):
    """Remembers all it heard."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.messages: list[str] = []

    def heard(self) -> list[str]:
        news = super().heard()
        self.messages += news
        return news

    def wait_for(self, words: str) -> str:
        def found() -> str:
            self.heard()
            return next((message for message in self.messages if words in message), "")

        return wait_for(found, what=f"a message with {words}")


@pytest.fixture
def manager(service: Service) -> Iterator[Manager]:
    with closing(Manager(service)) as manager:
        yield manager


def test_it_is_ready_before_its_folders_have_been_read(service: Service, manager: Manager) -> None:
    """A folder that hangs at its first reading stands for one that takes long."""
    service.drop.rmdir()
    service.home.joinpath("hung").mkdir()
    service.config.write_text(
        service.config.read_text(encoding="utf-8").replace(str(service.drop), str(service.home / "hung")),
        encoding="utf-8",
    )
    service.program = ("-c", HANGS)
    service.start()
    manager.wait_for("READY=1")
    assert manager.messages[0].startswith("STATUS=opening the ledger")


def test_a_stop_is_told_with_time_for_each_step_and_no_more_signs_of_life(service: Service, manager: Manager) -> None:
    service.environment["WATCHDOG_USEC"] = "200000"
    service.start()
    manager.wait_for("WATCHDOG=1")
    assert service.stop() == 0
    manager.heard()
    at = next(i for i, message in enumerate(manager.messages) if "STOPPING=1" in message)
    ending = manager.messages[at + 1 :]
    assert "STATUS=stopping" in manager.messages[at]
    assert ending
    assert all(message.startswith("EXTEND_TIMEOUT_USEC=") for message in ending), ending


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a folder read-only")
def test_a_folder_that_is_read_only_for_the_service_is_told_of_at_the_start(service: Service, manager: Manager) -> None:
    subprocess.run(["mount", "--bind", service.drop, service.drop], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", service.drop], check=True)
        service.start()
        wait_for(lambda: manager.says(f"{service.drop} cannot be written to; 0 queued"), what="the folder's name")
        assert "syncctl install-service" in service.log()
        subprocess.run(["mount", "-o", "remount,bind,rw", service.drop], check=True)
        wait_for(lambda: manager.says("STATUS=0 queued"), what="the all-clear")
    finally:
        subprocess.run(["umount", "-l", service.drop], check=True)


def test_a_reload_is_framed_and_a_refused_one_stays_in_the_status(service: Service, manager: Manager) -> None:
    service.start()
    manager.wait_for("READY=1")
    good = service.config.read_text(encoding="utf-8")
    service.config.write_text(good + "\ncolour = 1\n", encoding="utf-8")
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    begun = manager.wait_for("RELOADING=1")
    assert "\nMONOTONIC_USEC=" in begun
    at = manager.messages.index(begun)
    wait_for(lambda: manager.says("0 running; old configuration kept: "), what="the reason in the status")
    assert manager.messages[at + 1].startswith("READY=1\n")
    wait_for(lambda: manager.says("0 running; old configuration kept: "), what="the same, at the next status")
    service.config.write_text(good, encoding="utf-8")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in service.log(), what="the reload")
    manager.heard()
    wait_for(lambda: any(m.startswith("STATUS=") for m in manager.heard()), what="another status")
    assert manager.messages[-1].endswith("0 running")
