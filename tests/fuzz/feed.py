"""Hostile files, fed to a real worker; what became of each."""

from __future__ import annotations

import os
import selectors
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from syncd.domain import TOLERANCES, AnalysisSettings
from syncd.errors import ErrorCode
from syncd.protocol import Failed, Measured, MeasureRequest, ToSupervisor
from syncd.supervisor.counted import WorkerEnd
from syncd.supervisor.pool import Pool, Worker, WorkerGone, exit_text
from tests.fuzz.mutate import Mutant, mutants, scripts
from tests.material import make_pair

DEADLINE_S: Final = 60.0
"""For one file of some seconds: many times what the slowest takes."""
RAM_CAP_BYTES: Final = 2 << 30
CONTAINERS: Final = ("wav", "flac", "mp3", "mp4", "mkv", "opus", "mkv-ac3")
DURATION_S: Final = 4.0


@dataclass
class Feeding:
    """The worker, the whole files, and the count."""

    folder: Path
    seed: int
    outcomes: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = Pool(self.folder / "scratch", growth_bytes=None)
        self._worker: Worker | None = None
        self._task_id = 0
        made = []
        for number, container in enumerate(CONTAINERS):
            place = self.folder / f"whole{number}"
            place.mkdir(parents=True)
            made.append(make_pair(place, seed=60 + number, duration_s=DURATION_S, dub_container=container))
        self.master = made[0].master_path
        self.whole = [pair.dub_path for pair in made]

    def run(self, count: int) -> None:
        """Scripts first, then so many mutants."""
        with closing(socket.create_server(("127.0.0.1", 0))) as server:
            server.settimeout(0.0)
            for mutant in self._all(count, server.getsockname()[1]):
                self._feed(mutant)
                if _was_called(server):
                    self.faults.append(f"{mutant.told}: somebody was called")
        self._drop_worker()

    def _all(self, count: int, port: int) -> Iterator[Mutant]:
        yield from scripts(self.whole[0], port)
        yield from mutants(self.whole, self.seed, count)

    def _feed(self, mutant: Mutant) -> None:
        path = self.folder / mutant.name
        path.write_bytes(mutant.data)
        outcome = self._outcome(path)
        self.outcomes[outcome] += 1
        is_answer = outcome == "measured"
        if (is_answer and not mutant.may_be_measured) or outcome in {ErrorCode.INTERNAL, "hung"} or "died" in outcome:
            self.faults.append(f"{mutant.told}: {outcome}")
            (self.folder / "kept").mkdir(exist_ok=True)
            path.rename(self.folder / "kept" / path.name)
        else:
            path.unlink()

    def _outcome(self, path: Path) -> str:
        self._task_id += 1
        settings = AnalysisSettings(("correlation", "mfcc", "onset", "spectral", "chroma"), TOLERANCES["ebu-r37"])
        paths = os.fsencode(self.master), os.fsencode(path)
        scratch = os.fsencode(self._pool.scratch_folder)
        request = MeasureRequest(self._task_id, *paths, None, None, None, settings, scratch)
        worker = self._worker or self._pool.take("cpu", time.monotonic())
        self._worker = worker
        worker.cap(RAM_CAP_BYTES)
        try:
            worker.send(request)
            answer = self._answer(worker)
        except WorkerGone:
            return f"died of {exit_text(self._drop_worker())}"
        if answer is None:
            self._drop_worker()
            return "hung"
        return answer.failure.code.value if isinstance(answer, Failed) else "measured"

    def _answer(self, worker: Worker) -> Measured | Failed | None:
        end_s = time.monotonic() + DEADLINE_S
        with selectors.DefaultSelector() as selector:
            selector.register(worker.read_fd, selectors.EVENT_READ)
            while (left_s := end_s - time.monotonic()) > 0.0:
                selector.select(left_s)
                if found := next((m for m in worker.receive() if self._ends(m)), None):
                    return found if isinstance(found, Measured | Failed) else None
        return None

    def _ends(self, message: ToSupervisor) -> bool:
        return isinstance(message, Measured | Failed) and message.task_id == self._task_id

    def _drop_worker(self) -> int | None:
        worker, self._worker = self._worker, None
        return None if worker is None else self._pool.drop(worker, WorkerEnd.BROKE)[0]


def _was_called(server: socket.socket) -> bool:
    try:
        caller, _ = server.accept()
    except BlockingIOError:
        return False
    caller.close()
    return True
