"""The real daemon and the real commands, on folders of a test's own."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import jsonschema
import psutil

from syncd.domain import FINAL_STATES, JobState
from syncd.errors import SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job, JobFilter
from syncd.reports.sidecar import schema_text
from tests.docs.shapes import closed_shape, command_of, report_is_valid

T = TypeVar("T")

DEADLINE_S = 60.0
POLL_S = 0.05
OWNER = "SYNCD_TEST_HOME"
"""Names the service that a process belongs to: whatever the daemon starts inherits it."""
SCHEMA = json.loads(schema_text())


def wait_for(condition: Callable[[], T], *, deadline_s: float = DEADLINE_S, what: str = "the condition") -> T:
    """The first true value of the condition; fails after the deadline."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        if value := condition():
            return value
        time.sleep(POLL_S)
    raise AssertionError(f"{what} did not come true within {deadline_s} s")


@dataclass
class Service:
    """One ledger, one or more folders, and a daemon that can be started, stopped and killed."""

    home: Path
    settle_s: float = 0.3
    extra: str = ""
    process: subprocess.Popen[bytes] | None = None
    starts: int = field(default=0)
    program: tuple[str, ...] = ("-m", "syncd.daemon")
    environment: dict[str, str] = field(default_factory=dict)
    """For the daemon, beside this process's own."""
    logs: Path | None = None
    """Where the daemon's are kept; None: at home."""

    def __post_init__(self) -> None:
        self.drop.mkdir(parents=True, exist_ok=True)
        self.write_config()

    @property
    def drop(self) -> Path:
        return self.home / "drop"

    @property
    def config(self) -> Path:
        return self.home / "syncd.toml"

    @property
    def ledger(self) -> Path:
        return self.home / "ledger.db"

    def write_config(self, watch: str = "", profile: str = "") -> None:
        self.config.write_text(
            f"[ledger]\npath = {json.dumps(str(self.ledger))}\n"
            f"[cache]\npath = {json.dumps(str(self.home / 'cache'))}\n"
            f"[[watch]]\npath = {json.dumps(str(self.drop))}\nsettle_seconds = {self.settle_s}\n"
            f"incomplete_after_seconds = 1.0\norphan_after_seconds = 1.0\n{watch}\n"
            f'[profiles.default]\nmethods = ["correlation", "spectral"]\n{profile}\n{self.extra}\n',
            encoding="utf-8",
        )

    # --- the daemon --------------------------------------------------------------------------------------------------

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        self.starts += 1
        with self.newest_log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, *self.program, "--config", str(self.config), *arguments],
                stderr=log,
                stdout=log,
                env={**os.environ, OWNER: str(self.home), **self.environment},
            )
        return self.process

    def run_once(self, deadline_s: float = DEADLINE_S) -> int:
        return self.start("--once").wait(timeout=deadline_s)

    def stop(self, number: signal.Signals = signal.SIGTERM, deadline_s: float = 10.0) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=deadline_s)
        self.process = None
        return status

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def workers(self) -> list[psutil.Process]:
        """The daemon's, without whatever else it has started."""
        return [] if self.process is None else workers_of(self.process.pid)

    def processes(self) -> list[psutil.Process]:
        """The daemon and whatever it started, also what outlived it."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(OWNER) == str(self.home) and process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return False

    @property
    def newest_log(self) -> Path:
        return (self.logs or self.home) / f"syncd.{self.starts}.log"

    def log(self) -> str:
        return "".join(
            path.read_text(encoding="utf-8", errors="replace")
            for path in sorted(self.newest_log.parent.glob("syncd.*.log"), key=lambda path: int(path.suffixes[0][1:]))
        )

    # --- the ledger --------------------------------------------------------------------------------------------------

    def read(self, question: Callable[[LedgerReader], T]) -> T:
        reader = LedgerReader.open(self.ledger)
        try:
            return question(reader)
        finally:
            reader.close()

    def states(self) -> dict[int, JobState]:
        """By number. Asked twenty times a second, and so without all that a reader of the ledger makes sure of."""
        try:
            with closing(sqlite3.connect(f"{self.ledger.as_uri()}?mode=ro", uri=True)) as connection:
                return {number: JobState(state) for number, state in connection.execute("SELECT id, state FROM jobs")}
        except sqlite3.Error:
            return {}

    def jobs(self) -> list[Job]:
        """Oldest first; none while there is no ledger yet."""
        try:
            return list(reversed(self.read(lambda reader: reader.jobs(JobFilter(), limit=5000, after=None).jobs)))
        except SyncdError:
            return []

    def job(self, job_id: int) -> Job:
        job = self.read(lambda reader: reader.job(job_id))
        assert job is not None
        return job

    def wait_for_jobs(self, count: int, *, deadline_s: float = DEADLINE_S) -> list[Job]:
        """Until that many jobs are there and all have ended."""

        def ended() -> list[Job]:
            states = self.states()
            is_over = len(states) >= count and set(states.values()) <= FINAL_STATES
            return self.jobs() if is_over else []

        try:
            return wait_for(ended, deadline_s=deadline_s, what=f"{count} finished jobs")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.jobs()}\n{self.log()}") from error

    def wait_for_state(self, job_id: int, state: JobState) -> Job:
        wait_for(lambda: self.states().get(job_id) is state, what=f"job {job_id} {state.value}")
        return self.job(job_id)

    # --- the commands ------------------------------------------------------------------------------------------------

    def call(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "syncd.cli.app", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "SYNCD_CONFIG": str(self.config)},
            check=False,
        )

    def syncctl(self, *arguments: str, expect: int = 0) -> str:
        done = self.call(*arguments)
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr + done.stdout
        return done.stdout if expect in (0, 3) else done.stderr + done.stdout

    def syncctl_json(self, *arguments: str, expect: int = 0) -> Any:
        document = json.loads(self.syncctl(*arguments, "--json", expect=expect))
        command = command_of((*arguments, "--json")) if set(document) != {"error"} else "error"
        jsonschema.validate(document, closed_shape(command))
        report_is_valid(command, document)
        return document


def workers_of(daemon_pid: int) -> list[psutil.Process]:
    """The workers among a process's children."""
    return [child for child in psutil.Process(daemon_pid).children() if _is_worker(child)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("worker" in argument for argument in process.cmdline())
    except psutil.Error:
        return False


def valid_report(path: Path) -> dict[str, Any]:
    """The sidecar at `path`, checked against its schema."""
    report = json.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(report, SCHEMA)
    return dict(report)


def copy_slowly(source: Path, target: Path, *, pieces: int = 8, pause_s: float = 0.1) -> None:
    """As a busy network would: piece by piece, the file open all the while."""
    content = source.read_bytes()
    step = max(1, len(content) // pieces)
    with target.open("wb") as stream:
        for start in range(0, len(content), step):
            stream.write(content[start : start + step])
            stream.flush()
            time.sleep(pause_s)
