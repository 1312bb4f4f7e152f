"""One pair, here and now: what `syncctl analyze` does, through the same worker, probe, measurement and watchdog."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from syncd.devices.memory_model import Workload, prior_ram_bytes, ram_cap_bytes
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
from syncd.supervisor.ladder import FAULTS, Rung, given_up
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
    degraded: tuple[str, ...] = ()
    """What it was measured without, in words."""


def analyze_one(
    request: SoloRequest,
    pool: Pool,
    *,
    stall_s: float,
    job_s: float,
    on_progress: Callable[[Progressed], None],
) -> SoloAnswer:
    """Run one worker through probe and measurement; a failure is an answer, not an exception.

    Where the worker dies or hangs it may do so of what is large and rare: another one does without models and cache.
    """
    answer = _attempt(request, pool, 1, stall_s, job_s, on_progress)
    has_more = request.ai is not None or request.cache is not None
    if not isinstance(answer.outcome, Failure) or answer.outcome.code not in FAULTS or not has_more:
        return answer
    ram_factor = 2 if answer.outcome.code is ErrorCode.OUT_OF_MEMORY else 1
    careful = _attempt(replace(request, ai=None, cache=None), pool, ram_factor, stall_s, job_s, on_progress)
    without = given_up(Rung.LAST, models=request.ai is not None, cache=request.cache is not None)
    return replace(careful, seconds=answer.seconds + careful.seconds, degraded=(*without, *careful.degraded))


def _attempt(
    request: SoloRequest,
    pool: Pool,
    ram_factor: int,
    stall_s: float,
    job_s: float,
    on_progress: Callable[[Progressed], None],
) -> SoloAnswer:
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
        worker.cap(ram_cap_bytes(ram_factor * prior_ram_bytes(_workload(request, infos))))
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
        measured.degraded if measured else (),
    )


def _workload(request: SoloRequest, infos: tuple[MediaInfo, MediaInfo]) -> Workload:
    models = () if request.ai is None else (request.ai.model,)
    durations_s = [info.duration_s for info in infos if info.duration_s is not None]
    return Workload(max(durations_s, default=None), (*request.settings.methods, *models))


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
