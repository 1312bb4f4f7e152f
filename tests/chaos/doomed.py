"""The real daemon and the real worker, but at a named point something happens to them. Nothing in syncd knows of it.

``python -m tests.chaos.doomed``, run in place of ``python -m syncd.daemon``: with a `DaemonDoom` in its environment it
kills itself there, with a `WorkerDoom` its workers are `tests.chaos.doomed_worker`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from syncd import daemon
from syncd.domain import Lease
from syncd.ledger.ledger import Ledger
from syncd.protocol import MeasureRequest, ProbeRequest
from syncd.reports import store
from syncd.reports.facts import ReportSubject
from syncd.supervisor import pool, reporter
from syncd.supervisor.pool import Pool, Worker
from syncd.supervisor.reporter import Reporter, ReportOrder
from tests.chaos.doomed_worker import WORKER_DOOM

DAEMON_DOOM: Final = "DAEMON_DOOM"
STAGE: Final = "stage "
"""With a number behind it: that many stages have begun."""
HUNG_UP: Final = "daemon hangs up"
"""It does not die, but its end of the line to the worker is closed."""


@dataclass(frozen=True)
class DaemonDoom:
    """The daemon dies at this point of this job; slots are one, so that nothing else is under way then."""

    point: str
    job_id: int

    def environment(self) -> dict[str, str]:
        return {DAEMON_DOOM: json.dumps(asdict(self))}


@dataclass(frozen=True)
class Call:
    """With `self` first, where it is a method's."""

    arguments: tuple[Any, ...]

    def names_job(self) -> int | None:
        """The job that it is about; None: it does not say."""
        for each in self.arguments:
            if isinstance(each, Lease | ReportSubject):
                return each.job_id
            if isinstance(each, ReportOrder):
                return each.subject.job_id
        return None


class Doom:
    """Wraps what the daemon calls; a point is reached in the wrapped call nearest to it."""

    def __init__(self, doom: DaemonDoom) -> None:
        self._doom = doom
        self._is_claimed = self._is_reported = False
        self._stages: list[str] = []

    def prepare(self) -> None:
        after(Ledger, "claim", self._note_claim)
        before(reporter, "write_reports", self._note_report)
        if self._doom.point.startswith(STAGE):
            after(Ledger, "record_progress", self._note_stage)
        else:
            POINTS[self._doom.point](self)

    def strike(self, _: Any, call: Call) -> None:
        """Die, if it is this job's turn: its slot is the only one."""
        if self._is_claimed and call.names_job() in (self._doom.job_id, None):
            die()

    def strike_while_reporting(self, _: Any, __: Call) -> None:
        """The job before it may still be reported while this one is measured."""
        if self._is_reported:
            die()

    def strike_for(self, request: type) -> Callable[[Any, Call], None]:
        return lambda answer, call: self.strike(answer, call) if isinstance(call.arguments[1], request) else None

    def strike_when_enqueued(self, answer: Any, _: Call) -> None:
        if answer.job_id == self._doom.job_id:
            die()

    def _note_claim(self, answer: Lease | None, _: Call) -> None:
        self._is_claimed = answer is not None and answer.job_id == self._doom.job_id

    def _note_report(self, _: Any, call: Call) -> None:
        self._is_reported = call.names_job() == self._doom.job_id

    def _note_stage(self, _: Any, call: Call) -> None:
        stage = call.arguments[2].stage
        if self._is_claimed and stage not in self._stages:
            self._stages.append(stage)
            if len(self._stages) == int(self._doom.point.removeprefix(STAGE)):
                die()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


Then = Callable[[Any, Call], None]
"""Told the answer (None: there is none yet) and the call."""


def after(owner: Any, name: str, then: Then) -> None:
    """Let `then` see every answer of the call."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        answer = real(*arguments, **named)
        then(answer, Call(arguments))
        return answer

    setattr(owner, name, call)


def before(owner: Any, name: str, first: Then) -> None:
    """Let `first` come before every such call."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> Any:
        first(None, Call(arguments))
        return real(*arguments, **named)

    setattr(owner, name, call)


POINTS: Final[dict[str, Callable[[Doom], None]]] = {
    "queued": lambda doom: after(Ledger, "enqueue", doom.strike_when_enqueued),
    "claimed": lambda doom: after(Ledger, "claim", doom.strike),
    "worker begun": lambda doom: after(Pool, "take", doom.strike),
    "probe asked for": lambda doom: after(Worker, "send", doom.strike_for(ProbeRequest)),
    "probe told": lambda doom: after(Ledger, "record_media_info", doom.strike),
    "measurement asked for": lambda doom: after(Worker, "send", doom.strike_for(MeasureRequest)),
    "method told": lambda doom: after(Ledger, "record_method", doom.strike),
    "result received": lambda doom: before(Reporter, "order", doom.strike),
    "report begun": lambda doom: after(store, "_let_group_read", doom.strike_while_reporting),
    "report named": lambda doom: before(store, "sync_folder", doom.strike_while_reporting),
    "report written": lambda doom: after(reporter, "write_reports", doom.strike),
    "ledger about to be told": lambda doom: before(Ledger, "complete", doom.strike),
    "ledger told": lambda doom: after(Ledger, "complete", doom.strike),
}
"""What has just happened when the daemon dies, in the order of a job."""


def hang_up_on_the_worker(task_id: int) -> None:
    """What it sends goes nowhere from then on; of a first daemon, the n-th job is the n-th task."""

    def hang_up(_: Any, call: Call) -> None:
        worker, request = call.arguments
        if isinstance(request, MeasureRequest) and request.task_id == task_id:
            nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nowhere, worker._write_fd, inheritable=False)
            os.close(nowhere)

    after(Worker, "send", hang_up)


def main() -> None:
    if text := os.environ.get(DAEMON_DOOM):
        doom = DaemonDoom(**json.loads(text))
        if doom.point == HUNG_UP:
            hang_up_on_the_worker(doom.job_id)
        else:
            Doom(doom).prepare()
    if os.environ.get(WORKER_DOOM):
        pool.WORKER_COMMAND = (sys.executable, "-m", "tests.chaos.doomed_worker")
    daemon.main()


if __name__ == "__main__":
    main()
