"""The worker process: reads requests from one pipe, does them one after another, tells of them on the other.

``python -m syncd.worker READ_FD WRITE_FD DEVICE``; started by the supervisor only. A side thread listens for `Cancel`
and for the end of the pipe (then the supervisor is gone, and so is the worker, at once); it never speaks, so silence
means that the work stands still.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import queue
import resource
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Final

from syncd.domain import Failure, MethodResult
from syncd.errors import ErrorCode, SyncdError
from syncd.heap import give_back_memory
from syncd.protocol import (
    CARD_FAILED_STATUS,
    PROTOCOL_VERSION,
    Cancel,
    Failed,
    FrameBuffer,
    Hello,
    MasterReady,
    Measured,
    MeasureRequest,
    Message,
    MethodDone,
    Probed,
    ProbeRequest,
    Progressed,
    Started,
    ToWorker,
    decode_to_worker,
    encode_frame,
)
from syncd.worker.gpu import CardFailed
from syncd.worker.model_cache import ModelCache

_PR_SET_PDEATHSIG: Final = 1
_READ_BYTES: Final = 1 << 16
_MOST_OPEN_FILES: Final = 256
"""Sides of stems, scratch files and the cache's take a few dozen."""


class Line:
    """The pipes to the supervisor."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd, self._write_fd = read_fd, write_fd
        self._write_lock = threading.Lock()
        self.requests: queue.SimpleQueue[ProbeRequest | MeasureRequest] = queue.SimpleQueue()
        self._canceled: set[int] = set()

    def say(self, message: Message) -> None:
        """Send, from whichever thread; without a supervisor there is nobody to work for."""
        frame = memoryview(encode_frame(message))
        with self._write_lock:
            try:
                while frame:
                    frame = frame[os.write(self._write_fd, frame) :]
            except BrokenPipeError:
                os._exit(0)

    def is_canceled(self, task_id: int) -> bool:
        """Whether the supervisor called the task off."""
        return task_id in self._canceled

    def listen(self) -> None:
        """Take requests in until the pipe closes."""
        frames = FrameBuffer()
        while chunk := os.read(self._read_fd, _READ_BYTES):
            for body in frames.feed(chunk):
                self._sort(decode_to_worker(body))
        os._exit(0)

    def _sort(self, message: ToWorker) -> None:
        if isinstance(message, Cancel):
            self._canceled.add(message.task_id)
        else:
            self.requests.put(message)


class Listener:
    """What the analysis tells of one task, put on the line."""

    def __init__(self, line: Line, task_id: int) -> None:
        self._line, self._task_id = line, task_id

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        """Say how far the loop is; raises `Canceled` when nobody wants the answer any more."""
        from syncd.worker.measuring import Canceled  # noqa: PLC0415 - heavy imports come with the first task

        if self._line.is_canceled(self._task_id):
            raise Canceled
        self._line.say(Progressed(self._task_id, stage, done, total, text))

    def method_done(self, result: MethodResult) -> None:
        """Pass one method's answer on."""
        self._line.say(MethodDone(self._task_id, result))


def probe(request: ProbeRequest) -> Message:
    """Look into the files."""
    from syncd.worker.measuring import probe_files  # noqa: PLC0415 - heavy imports come with the first task

    media = probe_files(request)
    return Probed(request.task_id, media, peak_rss_bytes())


def measure(request: MeasureRequest, line: Line, models: ModelCache) -> Message:
    """Measure one pair."""
    from syncd.worker.measuring import measure_pair  # noqa: PLC0415 - heavy imports come with the first task

    started_at_s = time.monotonic()
    measurement = measure_pair(
        request,
        Listener(line, request.task_id),
        on_master_ready=lambda: line.say(MasterReady(request.task_id)),
        models=models,
    )
    return Measured(
        request.task_id,
        measurement.result,
        peak_rss_bytes(),
        measurement.scratch_bytes,
        time.monotonic() - started_at_s,
        measurement.cache,
        measurement.peak_vram_bytes,
        measurement.degraded,
        measurement.plots,
    )


def serve(request: ProbeRequest | MeasureRequest, line: Line, models: ModelCache) -> None:
    """Do one task and answer it, whatever happens."""
    line.say(Started(request.task_id))
    reset_peak_rss()
    try:
        answer = probe(request) if isinstance(request, ProbeRequest) else measure(request, line, models)
    except SyncdError as error:
        answer = Failed(request.task_id, Failure(error.code, error.message, error.details))
    except MemoryError:
        failure = Failure(ErrorCode.OUT_OF_MEMORY, "The analysis ran out of memory.")
        answer = Failed(request.task_id, failure, traceback=traceback.format_exc())
    except Exception as error:  # noqa: BLE001 - the last line of defence: the job fails, the worker goes on
        failure = Failure(ErrorCode.INTERNAL, f"The analysis broke off ({type(error).__name__}).")
        answer = Failed(request.task_id, failure, traceback=traceback.format_exc())
    line.say(answer)
    models.relieve()
    give_back_memory()


def reset_peak_rss() -> None:
    """Start the kernel's high-water mark anew, so that the peak is this task's (proc(5), clear_refs 5)."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return  # Then the peak is the process's, which is never too low.


def peak_rss_bytes() -> int:
    """The high-water mark of resident memory."""
    for row in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if row.startswith("VmHWM:"):
            return int(row.split()[1]) * 1024
    return 0


def confine() -> None:
    """What hostile media could make of this process ends here; its memory is the supervisor's to limit."""
    # A decoder that crashes leaves its stack, not gigabytes of memory image on somebody's disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = _MOST_OPEN_FILES if most == resource.RLIM_INFINITY else min(_MOST_OPEN_FILES, most)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))


def main() -> None:
    """Serve until the supervisor closes the pipe or ends the process."""
    confine()
    read_fd, write_fd, device = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    # The supervisor's death is this process's: by the closed pipe, or by the kernel if that goes unheard.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    line = Line(read_fd, write_fd)
    threading.Thread(target=line.listen, name="listen", daemon=True).start()
    line.say(Hello(PROTOCOL_VERSION, os.getpid(), device))
    models = ModelCache()
    while True:
        try:
            serve(line.requests.get(), line, models)
        except CardFailed as error:
            sys.stderr.write(f"{error}\n")
            sys.stderr.flush()
            os._exit(CARD_FAILED_STATUS)


if __name__ == "__main__":
    main()
