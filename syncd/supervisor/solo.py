"""One pair, here and now: what `syncctl analyze` does, through the same worker, probe, measurement and watchdog."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from syncd.domain import AnalysisSettings, CacheUse, Failure, MediaFile, MediaInfo, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import (
    AiOrder,
    CacheOrder,
    Failed,
    Measured,
    MeasureRequest,
    Message,
    Probed,
    ProbeRequest,
    Progressed,
    file_version,
    stem_files,
)
from syncd.supervisor.counted import WorkerEnd
from syncd.supervisor.liveness import Health, Lookout, Pulse, examine
from syncd.supervisor.pool import Pool, Worker, WorkerGone

T = TypeVar("T", bound=Probed | Measured)


@dataclass(frozen=True, slots=True)
class SoloRequest:
    """What to measure."""

    master: MediaFile
    dub: MediaFile
    settings: AnalysisSettings
    language: str | None = None
    master_track: int | None = None
    dub_track: int | None = None
    max_duration_s: float | None = None
    cache: CacheOrder | None = None
    ai: AiOrder | None = None


@dataclass(frozen=True, slots=True)
class SoloAnswer:
    """What came of it."""

    outcome: Result | Failure
    infos: tuple[MediaInfo, MediaInfo] | None
    seconds: float
    peak_rss_bytes: int
    scratch_bytes: int
    cache: CacheUse | None = None


def analyze_one(
    request: SoloRequest,
    pool: Pool,
    *,
    stall_s: float,
    job_s: float,
    on_progress: Callable[[Progressed], None],
) -> SoloAnswer:
    """Run one worker through probe and measurement; a failure is an answer, not an exception."""
    started_at_s = time.monotonic()
    worker = pool.take("cpu", started_at_s)
    infos: tuple[MediaInfo, MediaInfo] | None = None
    measured: Measured | None = None
    outcome: Result | Failure
    try:
        ask = _Asking(worker, stall_s, job_s, on_progress)
        sides = request.master, request.dub
        paths = tuple(bytes(file.path) for file in sides)
        probed = ask(ProbeRequest(1, paths, tuple(stem_files(file) for file in sides)), Probed)
        infos = (probed.media[0], probed.media[1])
        measured = ask(_measure_request(request, pool), Measured)
        outcome = measured.result
    except SyncdError as error:
        outcome = Failure(error.code, error.message, error.details)
    except WorkerGone:
        outcome = Failure(ErrorCode.WORKER_CRASHED, "The worker process ended in the middle of the job.")
    finally:
        worker.kill()
        pool.drop(worker, WorkerEnd.STOPPED)
    return SoloAnswer(
        outcome,
        infos,
        time.monotonic() - started_at_s,
        measured.peak_rss_bytes if measured else 0,
        measured.scratch_bytes if measured else 0,
        measured.cache if measured else None,
    )


def _measure_request(request: SoloRequest, pool: Pool) -> MeasureRequest:
    return MeasureRequest(
        task_id=1,
        master_path=bytes(request.master.path),
        dub_path=bytes(request.dub.path),
        master_version=file_version(request.master),
        dub_version=file_version(request.dub),
        master_stems=stem_files(request.master),
        dub_stems=stem_files(request.dub),
        master_track=request.master_track,
        dub_track=request.dub_track,
        language=request.language,
        settings=request.settings,
        scratch_folder=bytes(pool.scratch_folder),
        max_duration_s=request.max_duration_s,
        cache=request.cache,
        ai=request.ai,
    )


class _Asking:
    """Send a request and wait for its answer, watching over the worker meanwhile."""

    def __init__(self, worker: Worker, stall_s: float, job_s: float, on_progress: Callable[[Progressed], None]) -> None:
        self._worker, self._stall_s, self._job_s, self._on_progress = worker, stall_s, job_s, on_progress

    def __call__(self, request: Message, answer: type[T]) -> T:
        self._worker.send(request)
        now_s = time.monotonic()
        pulse = Pulse(now_s, now_s)
        lookout = Lookout(now_s)
        with selectors.DefaultSelector() as selector:
            selector.register(self._worker.read_fd, selectors.EVENT_READ)
            while True:
                selector.select(timeout=0.5)
                pulse = pulse.later(lookout.missed_s(time.monotonic()))
                for message in self._worker.receive():
                    if isinstance(message, Progressed):
                        pulse = pulse.beat(message.stage, message.done, time.monotonic())
                        self._on_progress(message)
                    elif isinstance(message, Failed):
                        raise SyncdError(message.failure.code, message.failure.message, message.failure.details)
                    elif isinstance(message, answer):
                        return message
                self._check(pulse)

    def _check(self, pulse: Pulse) -> None:
        match examine(pulse, time.monotonic(), stall_s=self._stall_s, job_s=self._job_s):
            case Health.STALLED:
                raise SyncdError(ErrorCode.WORKER_STALLED, f"The worker stood still in stage {pulse.stage}.")
            case Health.OVERTIME:
                raise SyncdError(ErrorCode.TIME_LIMIT, f"The job took longer than {self._job_s:.0f} s.")
            case Health.MOVING:
                return
