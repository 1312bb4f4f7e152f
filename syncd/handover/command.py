"""The operator's command for an ended job: one process group, within its time, told all there is.

Never through a shell: names of media are hostile, and travel as they are, in the environment.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncd.domain import JobState, Verdict
from syncd.errors import ErrorCode

GRACE_S: Final = 5.0
"""Between TERM and KILL."""
STOP_GRACE_S: Final = 0.5
"""The same when the daemon stops, which has to be gone within seconds."""
WORDS_BYTES: Final = 4096
"""What is kept of the end of its standard error."""
_TICK_S: Final = 0.1
_PASSED_ON: Final = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
"""All that a command has of the daemon's environment, and what it is where the daemon has none."""


@dataclass(frozen=True, slots=True)
class EndedJob:
    """What a command is told of a job."""

    job_id: int
    state: JobState
    title: str
    language: str | None
    profile: str
    master: Path
    dub: Path
    sidecar: Path | None = None
    page: Path | None = None
    verdict: Verdict | None = None
    review: bool | None = None
    offset_s: float | None = None
    confidence: float | None = None
    error_code: ErrorCode | None = None


@dataclass(frozen=True, slots=True)
class CommandEnd:
    """How a command ended."""

    status: int | None
    """As `Popen.returncode`; None: it could not be started."""
    seconds: float
    last_words: str = ""
    """The end of its standard error, or why it could not be started."""
    is_overdue: bool = False
    """Whether it was ended because its time was over."""
    is_stopped: bool = False
    """Whether it was ended because the daemon stops."""

    @property
    def is_good(self) -> bool:
        """Whether it did what it should."""
        return self.status == 0 and not self.is_overdue


def program_fault(argv: Sequence[str]) -> str | None:
    """Why the command could not be run at all, in a sentence; None: it could. For the user who asks."""
    if not argv:
        return None
    program = argv[0]
    if not os.path.isfile(program):  # noqa: PTH113 - it answers False where a folder above may not be entered
        return f"handover.on_complete: there is no program at {program}"
    if not os.access(program, os.X_OK):
        return f"handover.on_complete: {program} may not be executed by this user"
    return None


def environment(job: EndedJob, own: Mapping[str, str]) -> dict[bytes, bytes]:
    """The command's whole environment; `own`: the daemon's. What a job does not have is empty."""
    told: dict[str, str | Path | None] = {
        "JOB": str(job.job_id),
        "STATE": job.state.value,
        "VERDICT": job.verdict,
        "REVIEW": None if job.review is None else str(int(job.review)),
        "OFFSET_SECONDS": None if job.offset_s is None else f"{job.offset_s:.6f}",
        "CONFIDENCE": None if job.confidence is None else f"{job.confidence:.4f}",
        "ERROR_CODE": job.error_code,
        "TITLE": job.title,
        "LANGUAGE": job.language,
        "MASTER": job.master,
        "DUB": job.dub,
        "SIDECAR": job.sidecar,
        "PAGE": job.page,
        "PROFILE": job.profile,
    }
    passed = {name.encode(): os.fsencode(own.get(name, otherwise)) for name, otherwise in _PASSED_ON.items()}
    return passed | {f"SYNCD_{name}".encode(): _bytes(value) for name, value in told.items()}


def run_command(
    argv: Sequence[str], told: Mapping[bytes, bytes], limit_s: float, stopping: threading.Event
) -> CommandEnd:
    """Run it and wait for its end, in a thread of its own.

    It leads a process group, which is ended (TERM, then KILL) when the time is over or `stopping` is set; what it
    leaves behind in its group is ended with it. Its standard output goes nowhere; of its standard error the end is
    kept.
    """
    began_s = time.monotonic()
    try:
        process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=told,
            cwd="/",
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return CommandEnd(None, time.monotonic() - began_s, str(error))
    with _Watched(process) as watched:
        ended = watched.wait(began_s + limit_s, stopping)
        is_stopped = not ended and stopping.is_set()
        if not ended:
            watched.signal_group(signal.SIGTERM)
            watched.wait(time.monotonic() + (STOP_GRACE_S if is_stopped else GRACE_S), None if is_stopped else stopping)
        watched.signal_group(signal.SIGKILL)
        status = process.wait()
        words = watched.last_words()
    return CommandEnd(status, time.monotonic() - began_s, words, not ended and not is_stopped, is_stopped)


class _Watched:
    """A running command and what it says; it is not reaped before the end, so that its group's number stays its own."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None  # noqa: S101 - it was asked for
        self._process = process
        self._stderr = process.stderr
        self._tail = b""
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> _Watched:
        os.set_blocking(self._stderr.fileno(), False)
        self._selector.register(self._stderr, selectors.EVENT_READ)
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()
        self._stderr.close()

    def wait(self, until_s: float, stopping: threading.Event | None) -> bool:
        """Whether it ended by then (monotonic); earlier if `stopping` is set."""
        while not self._has_ended():
            if time.monotonic() >= until_s or (stopping is not None and stopping.is_set()):
                return False
            if self._selector.get_map():
                self._selector.select(_TICK_S)
                self._read()
            else:
                time.sleep(_TICK_S)
        return True

    def signal_group(self, number: signal.Signals) -> None:
        """To all that it started and that did not leave its group."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def last_words(self) -> str:
        """The end of what it wrote, cleared of what could steer a terminal."""
        self._read()
        text = self._tail.decode("utf-8", "replace").strip()
        return "".join(
            letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text
        )

    def _read(self) -> None:
        """What is there now, and no more than one pipe holds: who writes without end must not keep us here."""
        for _ in range(16):
            try:
                piece = os.read(self._stderr.fileno(), WORDS_BYTES)
            except BlockingIOError:
                return
            if not piece:
                if self._selector.get_map():
                    self._selector.unregister(self._stderr)
                return
            self._tail = (self._tail + piece)[-WORDS_BYTES:]

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _bytes(value: str | Path | None) -> bytes:
    # No path holds a NUL, but a title or profile that somebody typed may, and no environment takes it.
    return b"" if value is None else os.fsencode(value).replace(b"\0", b"")
