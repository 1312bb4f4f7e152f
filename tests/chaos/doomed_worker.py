"""The real worker, to which something happens once a job, as the `WorkerDoom` in its environment says."""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from syncd.protocol import Measured, MeasureRequest, Message, ProbeRequest, Progressed, Started
from syncd.worker import __main__ as worker
from syncd.worker.__main__ import Line
from syncd.worker.model_cache import ModelCache

WORKER_DOOM: Final = "WORKER_DOOM"
ANY_STAGE: Final = "*"
EATEN_AT_MOST: Final = 100
"""Blocks: an eater that nobody ends does so itself, before the machine notices."""
BLOCK_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class WorkerDoom:
    """What happens when a worker enters this stage of this title's job; only the first time."""

    act: str
    stage: str
    title: str
    marks: str
    """A folder: what has happened is noted there, so that it happens once."""

    def environment(self) -> dict[str, str]:
        return {WORKER_DOOM: json.dumps(asdict(self))}


class DoomedLine(Line):
    """Does it right after the stage's first word to the supervisor."""

    title = ""
    doom: WorkerDoom

    def say(self, message: Message) -> None:
        super().say(message)
        stage = message.stage if isinstance(message, Progressed) else POINTS.get(type(message))
        if stage is None or self.doom.title not in (self.title, ANY_STAGE):
            return
        if self.doom.stage in (stage, ANY_STAGE) and self._is_first(stage):
            ACTS[self.doom.act](self)

    def _is_first(self, stage: str) -> bool:
        """Whether neither this stage nor this job was struck before: noted in the same moment."""
        marks = Path(self.doom.marks)
        if (marks / f"title {self.title}").exists() or (marks / f"stage {stage}").exists():
            return False
        for mark in (f"stage {stage}", f"title {self.title}"):
            (marks / mark).write_text(str(os.getpid()), encoding="ascii")
        return True


POINTS: Final[dict[type, str]] = {Started: "started", Measured: "measured"}
"""Messages that are points as well."""


def die(_: DoomedLine) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(_: DoomedLine) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def hold_the_interpreter(_: DoomedLine) -> None:
    """No other thread runs from here on, and no processor is used."""
    library = ctypes.PyDLL(None)
    while True:
        library.pause()


def compute_with_the_interpreter_held(_: DoomedLine) -> None:
    """A catastrophe of a regular expression: C code that never lets go of the lock."""
    re.match(r"(a+)+$", "a" * 64 + "b")


def close_the_line(line: DoomedLine) -> None:
    """And live on, without an ear for the other one."""
    os.close(line._write_fd)
    hold_the_interpreter(line)


def eat(_: DoomedLine) -> None:
    """Shared memory, which no cap on the process's own counts."""
    eaten = []
    for _block in range(EATEN_AT_MOST):
        block = mmap.mmap(-1, BLOCK_BYTES)
        block.write(b"x" * BLOCK_BYTES)
        eaten.append(block)
    sys.exit("nobody minded")


ACTS: Final[dict[str, Callable[[DoomedLine], None]]] = {
    "die": die,
    "stop": stop,
    "hold the interpreter": hold_the_interpreter,
    "compute with the interpreter held": compute_with_the_interpreter_held,
    "close the line": close_the_line,
    "eat": eat,
}


def main() -> None:
    DoomedLine.doom = WorkerDoom(**json.loads(os.environ[WORKER_DOOM]))
    serve = worker.serve

    def serve_known(request: ProbeRequest | MeasureRequest, line: Line, models: ModelCache) -> None:
        path = request.paths[1] if isinstance(request, ProbeRequest) else request.dub_path
        DoomedLine.title = Path(os.fsdecode(path)).name.removesuffix("_dub.wav")
        serve(request, line, models)

    worker.serve = serve_known
    worker.Line = DoomedLine
    worker.main()


if __name__ == "__main__":
    main()
