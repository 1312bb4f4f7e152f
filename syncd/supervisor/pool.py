"""Worker processes: exec'd, in a session of their own, spoken to over one private pair of pipes.

A worker dies alone: it shares no lock, queue or memory with anybody, and a closed pipe is all it takes for either side
to notice that the other is gone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

import psutil
import structlog

from syncd.devices.inventory import CPU
from syncd.protocol import (
    PROTOCOL_VERSION,
    FrameBuffer,
    Hello,
    Message,
    ProtocolError,
    ToSupervisor,
    decode_to_supervisor,
    encode_frame,
)
from syncd.supervisor.counted import WorkerEnd, WorkersCounted

log = structlog.get_logger()

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-m", "syncd.worker")
REAP_S: Final = 2.0
"""How long a killed process may take to vanish."""
LAST_WORDS_S: Final = 0.2
"""How long one that closed its pipe may take to end by itself."""
GROWTH_BYTES: Final = 192 << 20
"""A worker that holds so much more than after its first task is replaced, between two tasks."""
_READ_BYTES: Final = 1 << 18
_STDERR_TAIL_BYTES: Final = 32_768
WORKER_ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "2",
    # The analysis has two threads of its own; BLAS's would be woken for products that take less than waking them.
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "2",
    # Few arenas: what a worker holds is what it needs. No fixed threshold beside it: one keeps glibc from learning how
    # large the blocks are that come and go, and an analysis then spends as long mapping pages as computing.
    "MALLOC_ARENA_MAX": "2",
    "PYTHONFAULTHANDLER": "1",
}


def device_environment(device: str) -> dict[str, str]:
    """What binds a process to one card, or to none."""
    if device == CPU:
        return {"CUDA_VISIBLE_DEVICES": ""}
    return {"CUDA_VISIBLE_DEVICES": device, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


class WorkerGone(Exception):
    """The worker's pipe is closed: it ended, whether it wanted to or not."""


def exit_text(status: int | None) -> str:
    """How a process ended, in words: ``SIGSEGV``, ``status 1``, or that it does not die."""
    if status is None:
        return "it does not die"
    return signal.Signals(-status).name if -status in set(signal.Signals) else f"status {status}"


class Worker:
    """One worker process and the supervisor's ends of its pipes."""

    def __init__(self, device: str, now_s: float) -> None:
        self.device = device
        self.idle_since_s = now_s
        self.tasks_done = 0
        self.first_held_bytes: int | None = None
        """Resident memory after its first task, or the first for which it loaded a model."""
        self.has_model = False
        self._frames = FrameBuffer()
        self._dumper: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] = tempfile.TemporaryFile(prefix="syncd-worker-")  # noqa: SIM115 - closed in `reap`
        try:
            self._process, self._write_fd, self.read_fd = self._start()
        except OSError:
            self._stderr.close()
            raise

    def _start(self) -> tuple[subprocess.Popen[bytes], int, int]:
        to_worker_r, to_worker_w = os.pipe2(os.O_CLOEXEC)
        try:
            from_worker_r, from_worker_w = os.pipe2(os.O_CLOEXEC)
        except OSError:
            os.close(to_worker_r)
            os.close(to_worker_w)
            raise
        try:
            process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                [*WORKER_COMMAND, str(to_worker_r), str(from_worker_w), self.device],
                pass_fds=(to_worker_r, from_worker_w),
                stdin=subprocess.DEVNULL,
                stdout=self._stderr,
                stderr=self._stderr,
                start_new_session=True,
                env={**os.environ, **WORKER_ENVIRONMENT, **device_environment(self.device)},
            )
        except OSError:
            os.close(to_worker_w)
            os.close(from_worker_r)
            raise
        finally:
            os.close(to_worker_r)
            os.close(from_worker_w)
        os.set_blocking(from_worker_r, False)
        # A worker that does not read must not stop the supervisor: requests are far smaller than the pipe's buffer.
        os.set_blocking(to_worker_w, False)
        return process, to_worker_w, from_worker_r

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def send(self, message: Message) -> None:
        """Hand a message over; raises `WorkerGone`."""
        frame = encode_frame(message)
        try:
            written = os.write(self._write_fd, frame)
        except OSError as error:
            raise WorkerGone(f"worker {self.pid} does not listen: {error.strerror}") from error
        if written != len(frame):
            raise WorkerGone(f"worker {self.pid} does not listen: its pipe is full")

    def receive(self) -> Iterator[ToSupervisor]:
        """The messages that have come; raises `WorkerGone` after the last one of a worker that ended."""
        while True:
            try:
                chunk = os.read(self.read_fd, _READ_BYTES)
            except BlockingIOError:
                return
            if not chunk:
                raise WorkerGone(f"worker {self.pid} closed its pipe")
            try:
                for body in self._frames.feed(chunk):
                    message = decode_to_supervisor(body)
                    if isinstance(message, Hello) and message.protocol_version != PROTOCOL_VERSION:
                        raise ProtocolError(f"version {message.protocol_version}")
                    yield message
            except ProtocolError as error:
                raise WorkerGone(f"worker {self.pid} speaks another protocol: {error}") from error

    def is_alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def held_bytes(self) -> int:
        """Resident memory right now."""
        try:
            return int(psutil.Process(self.pid).memory_info().rss)
        except psutil.Error:
            return 0

    def cap(self, ram_bytes: int) -> None:
        """Let it allocate no more than this: beyond it, it meets MemoryError, and nobody else does."""
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            psutil.Process(self.pid).rlimit(psutil.RLIMIT_DATA, (ram_bytes, psutil.RLIM_INFINITY))

    def cpu_s(self) -> float:
        """CPU time that it has used; 0 when it is gone."""
        try:
            times = psutil.Process(self.pid).cpu_times()
        except psutil.Error:
            return 0.0
        return float(times.user + times.system)

    def dump_stack(self) -> None:
        """Have every thread's stack printed to where `reap` reads it; by py-spy too, native frames and all.

        `faulthandler` answers even under a C call that holds the interpreter lock; not while the process is stopped.
        """
        self._signal(signal.SIGUSR1)
        beside = os.path.dirname(sys.executable)  # noqa: PTH120 - as the path has it
        if (py_spy := shutil.which("py-spy", path=f"{beside}:{os.environ.get('PATH', os.defpath)}")) is not None:
            command = [py_spy, "dump", "--nonblocking", "--pid", str(self.pid)]
            try:
                self._dumper = subprocess.Popen(  # noqa: S603 - a tool that the machine's owner installed
                    command, stdin=subprocess.DEVNULL, stdout=self._stderr, stderr=subprocess.DEVNULL
                )
            except OSError as error:
                log.debug("py_spy_not_started", reason=error.strerror)

    def terminate(self) -> None:
        """Ask the process to end."""
        self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        if self.is_alive():
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End the whole session of the worker, now."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def reap(self, timeout_s: float) -> tuple[int | None, str]:
        """Close the pipes, end and collect the process: its status (negative: a signal) and the last it printed.

        A process that even SIGKILL does not end (state D) gives None: its slot is given up, and life goes on.
        """
        os.close(self._write_fd)
        os.close(self.read_fd)
        if self._dumper is not None:
            self._dumper.kill()
            self._dumper.wait()
        try:
            # One that closed its pipe by itself is about to leave its own status; it gets a moment for that.
            status: int | None = self._process.wait(timeout=min(timeout_s, LAST_WORDS_S))
        except subprocess.TimeoutExpired:
            self.kill()
            try:
                status = self._process.wait(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                log.warning("worker_does_not_die", pid=self.pid)
                status = None
        return status, self._last_words()

    def _last_words(self) -> str:
        with self._stderr as stream:
            size_bytes = stream.seek(0, os.SEEK_END)
            stream.seek(max(0, size_bytes - _STDERR_TAIL_BYTES))
            return stream.read().decode("utf-8", "backslashreplace").strip()


class Pool:
    """The workers that live: busy ones belong to whoever took them, idle ones wait here for a while."""

    def __init__(self, scratch_folder: Path, *, idle_s: float = 60.0, growth_bytes: int | None = GROWTH_BYTES) -> None:
        self.scratch_folder = scratch_folder
        self._idle_s = idle_s
        self._growth_bytes = growth_bytes
        self.counted = WorkersCounted()
        self._idle: list[Worker] = []

    def take(self, device: str, now_s: float, *, fresh: bool = False) -> Worker:
        """An idle worker of the device, or a new one (`fresh`: always); one that died while it waited is buried."""
        for worker in reversed(self._idle):
            if not worker.is_alive():
                self.drop(worker, WorkerEnd.DIED_IDLE)
            elif worker.device == device and not fresh:
                self._idle.remove(worker)
                return worker
        worker = Worker(device, now_s)
        self.counted.started += 1
        log.debug("worker_started", pid=worker.pid, device=device)
        return worker

    def put_back(self, worker: Worker, now_s: float, *, with_model: bool = False) -> None:
        """The worker is free again; one that has grown since its first task is let go. A model that stays is none."""
        worker.idle_since_s = now_s
        worker.tasks_done += 1
        held_bytes = worker.held_bytes()
        if worker.first_held_bytes is None or (with_model and not worker.has_model):
            worker.first_held_bytes = held_bytes
        worker.has_model |= with_model
        self._idle.append(worker)
        if self._growth_bytes is not None and held_bytes > worker.first_held_bytes + self._growth_bytes:
            log.info("worker_recycled", pid=worker.pid, held_mib=held_bytes >> 20, tasks=worker.tasks_done)
            worker.kill()
            self.drop(worker, WorkerEnd.GROWN)

    def idle_workers(self) -> tuple[Worker, ...]:
        """Those that wait."""
        return tuple(self._idle)

    def make_room(self, device: str) -> None:
        """Let all but one of the device's idle workers go: they keep models in its memory."""
        for worker in [worker for worker in self._idle if worker.device == device][:-1]:
            worker.kill()
            self.drop(worker, WorkerEnd.MADE_ROOM)

    def drop(self, worker: Worker, end: WorkerEnd, *, timeout_s: float = REAP_S) -> tuple[int | None, str]:
        """The worker is of no further use; its exit status and last words."""
        self.counted.ended[end] += 1
        if worker in self._idle:
            self._idle.remove(worker)
        return worker.reap(timeout_s)

    def retire_idle(self, now_s: float) -> None:
        """Let go of workers that have had nothing to do for a while."""
        for worker in [w for w in self._idle if now_s - w.idle_since_s > self._idle_s or not w.is_alive()]:
            end = WorkerEnd.IDLE if worker.is_alive() else WorkerEnd.DIED_IDLE
            worker.kill()
            self.drop(worker, end)

    def close(self) -> None:
        """Let all idle workers go: they have nothing to lose."""
        for worker in self._idle:
            worker.kill()
        for worker in list(self._idle):
            self.drop(worker, WorkerEnd.STOPPED)
