"""Where one fault happens: a service of its own, the pairs dropped into it, and what each may meet."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psutil

from syncd.domain import FINAL_STATES
from syncd.errors import ErrorCode
from syncd.ledger.records import Job
from tests.acceptance.service import Service, wait_for
from tests.chaos.doomed import DaemonDoom
from tests.chaos.doomed_worker import WorkerDoom
from tests.chaos.pairs import ManyPairs
from tests.chaos.promises import broken_promises

DOOMED = ("-m", "tests.chaos.doomed")
PATIENCE_S = 60.0


class Skipped(Exception):
    """The fault cannot be brought about here; the message says why."""


@dataclass
class Site:
    """A service to which something is about to happen."""

    service: Service
    pairs: ManyPairs
    titles: list[str] = field(default_factory=list)
    met: dict[str, list[ErrorCode]] = field(default_factory=lambda: defaultdict(list))
    """What attempts at a title are bound to meet."""

    # --- what is dropped ---------------------------------------------------------------------------------------------

    def drop(self, *meets: ErrorCode) -> str:
        """One more pair, whose attempts may meet these; its title."""
        title = self.pairs.drop(self.service.drop, len(self.titles))
        self.titles.append(title)
        self.met[title] += meets
        return title

    def next_title(self) -> str:
        """Of the pair that will be dropped next."""
        return f"show{len(self.titles):05d}"

    def wait_for_all(self) -> list[Job]:
        """Until all that was dropped has ended."""
        return self.service.wait_for_jobs(len(self.titles), deadline_s=PATIENCE_S)

    def wait_for_job(self, title: str, what: Callable[[Job], bool]) -> Job:
        """Until it is recorded and like this."""
        found = wait_for(
            lambda: [job for job in self.service.jobs() if job.title == title and what(job)],
            deadline_s=PATIENCE_S,
            what=f"{title} in that state",
        )
        return found[0]

    # --- what happens ------------------------------------------------------------------------------------------------

    def start(self, *dooms: DaemonDoom | WorkerDoom) -> None:
        """The daemon, to which this is to happen; until it serves, or has ended."""
        self.service.program = DOOMED if dooms else Service.program
        self.service.environment = {
            **{name: text for name, text in self.service.environment.items() if "DOOM" not in name},
            **{name: text for doom in dooms for name, text in doom.environment().items()},
        }
        process = self.service.start()
        wait_for(lambda: self._has_started() or process.poll() is not None, what="the daemon's start")

    def _has_started(self) -> bool:
        return '"event": "started"' in self.service.newest_log.read_text(encoding="utf-8")

    def doom(self, act: str, stage: str, title: str) -> WorkerDoom:
        """What is to happen to the worker of this title."""
        marks = self.service.home / "marks"
        marks.mkdir(exist_ok=True)
        return WorkerDoom(act, stage, title, str(marks))

    def dies(self) -> bool:
        """Whether the daemon ends itself before all that was dropped has ended."""
        process = self.service.process
        assert process is not None
        wait_for(lambda: process.poll() is not None or self._is_over(), deadline_s=PATIENCE_S, what="death or end")
        with suppress(subprocess.TimeoutExpired):  # It may die of what it has just written.
            process.wait(timeout=1.0)
        if process.poll() is None:
            return False
        self.service.process = None
        assert process.returncode == -signal.SIGKILL, self.service.log()
        return True

    def _is_over(self) -> bool:
        jobs = self.service.jobs()
        return len(jobs) == len(self.titles) and all(job.state in FINAL_STATES for job in jobs)

    def struck(self, title: str) -> int:
        """The worker that has the job in hand, once the fault has come upon it."""
        mark = self.service.home / "marks" / f"title {title}"
        pid = wait_for(lambda: mark.exists() and mark.read_text(), deadline_s=PATIENCE_S, what=f"a blow to {title}")
        return int(pid)

    # --- what is seen ------------------------------------------------------------------------------------------------

    def events(self, name: str, **like: object) -> list[dict[str, Any]]:
        """Of the log, oldest first."""
        found = []
        for line in self.service.log().splitlines():
            with suppress(ValueError):
                event = json.loads(line)
                if event.get("event") == name and all(event.get(key) == value for key, value in like.items()):
                    found.append(event)
        return found

    def wait_for_event(self, name: str, **like: object) -> dict[str, Any]:
        """The first of its kind."""
        found = wait_for(lambda: self.events(name, **like), deadline_s=PATIENCE_S, what=f"the event {name} {like}")
        return found[0]

    def broken(self) -> Iterator[str]:
        """Ends the service, and looks whether it has kept its promises."""
        if self.service.process is not None and (status := self.service.stop(deadline_s=10.0)) != 0:
            yield f"the daemon ended with status {status}"
        with suppress(AssertionError):  # What still lives is named among the broken promises.
            wait_for(lambda: not self.service.processes(), deadline_s=5.0)
        yield from broken_promises(self.service, self.titles, self.met)


class StatusLine:
    """What the daemon tells the service manager, which this is."""

    def __init__(self, service: Service) -> None:
        path = service.home / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(0.0)
        service.environment["NOTIFY_SOCKET"] = str(path)

    def says(self, words: str) -> bool:
        """Whether a status with these words came since the last question."""
        return any("STATUS=" in message and words in message for message in self.heard())

    def beats(self) -> bool:
        """Whether a sign of life came since the last question."""
        return any("WATCHDOG=1" in message for message in self.heard())

    def heard(self) -> list[str]:
        """Every message since the last question."""
        heard = []
        with suppress(BlockingIOError):
            while True:
                heard.append(self._socket.recv(65_536).decode("utf-8"))
        return heard

    def close(self) -> None:
        self._socket.close()


def lives(pid: int) -> bool:
    """Whether there is such a process, and it is more than a name in the kernel's table."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def seconds_between(before: dict[str, Any], after: dict[str, Any]) -> float:
    """Of two events of the log."""
    first, second = (datetime.fromisoformat(event["timestamp"]) for event in (before, after))
    return (second - first).total_seconds()


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """They stand still while inside; the first one goes on first."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
