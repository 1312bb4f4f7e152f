"""What a task's worker says, or that it says nothing more: what the dispatcher has to do about it, step by step.

The worker's next request is sent here; what concerns the ledger or the report is said as a step. A step is yielded when
it is due and carried out before the next thing is heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from syncd.config import Config
from syncd.devices.memory_model import Need, ram_cap_bytes
from syncd.domain import Failure, MediaInfo, MethodResult, Progress, Result, Trace
from syncd.errors import ErrorCode
from syncd.protocol import (
    CARD_FAILED_STATUS,
    CacheOrder,
    Failed,
    MasterReady,
    Measured,
    MethodDone,
    Probed,
    Progressed,
    Started,
    ToSupervisor,
    ToWorker,
)
from syncd.supervisor.counted import END_OF, JobsCounted, WorkerEnd
from syncd.supervisor.crew import CANCEL_GRACE_S, Crew
from syncd.supervisor.gate import Gate
from syncd.supervisor.ladder import Rung
from syncd.supervisor.overseer import Overseer, carry_on_ending
from syncd.supervisor.pool import Worker, WorkerGone, exit_text
from syncd.supervisor.silent import SilentFolders
from syncd.supervisor.task import Ending, Task, measure_request, probe_request, take_progress

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InfosSeen:
    """Both files were probed: to be kept."""

    infos: tuple[MediaInfo, MediaInfo]


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """How far it is: to be kept."""

    progress: Progress
    left_s: float | None


@dataclass(frozen=True, slots=True)
class MethodSeen:
    """One method's answer: to be kept."""

    result: MethodResult


@dataclass(frozen=True, slots=True)
class Answered:
    """It is measured: to be reported."""

    result: Result


@dataclass(frozen=True, slots=True)
class AttemptFailed:
    """To be tried again, or reported."""

    failure: Failure


@dataclass(frozen=True, slots=True)
class HandBack:
    """The job has no part in what happened: it goes back into the queue, not counted."""

    reason: str


Step = InfosSeen | ProgressSeen | MethodSeen | Answered | AttemptFailed | HandBack
Steps = Iterator[Step]


class Hearing:
    """Hears the workers of the crew; never waits for one."""

    def __init__(
        self,
        config: Config,
        crew: Crew,
        gate: Gate,
        overseer: Overseer,
        counted: JobsCounted,
        silent: SilentFolders,
        scratch_folder: Path,
    ) -> None:
        self._config = config
        self._scratch_folder = scratch_folder
        self._crew = crew
        self._gate = gate
        self._overseer = overseer
        self._counted = counted
        self._silent = silent

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration."""
        self._config = config

    def begin(self, task: Task, infos: tuple[MediaInfo, MediaInfo] | None, need: Need) -> Steps:
        """The worker's first request; `infos`: what an earlier probe said."""
        _cap(task, need)
        if infos:
            yield from self._measure(task, infos)
        else:
            yield from self._send(task, probe_request(task))

    def attend(self, task: Task, now_s: float) -> Steps:
        """Take in what the worker has said, and end it if it has to go."""
        if task.worker is not None:
            yield from self._hear(task, task.worker, now_s)
        if task.worker is not None:
            yield from self._watch_over(task, task.worker, now_s)

    def _hear(self, task: Task, worker: Worker, now_s: float) -> Steps:
        try:
            for message in worker.receive():
                yield from self._take_in(task, message, now_s)
                if task.worker is not worker:
                    return
        except WorkerGone:
            yield from self._bury(task)

    def _take_in(self, task: Task, message: ToSupervisor, now_s: float) -> Steps:
        if getattr(message, "task_id", task.task_id) != task.task_id:
            return  # The answer to an earlier task of this worker.
        match message:
            case Started():
                task.is_started = True
                task.pulse = task.pulse.beat("started", 0, now_s)
            case Progressed():
                if (told := take_progress(task, message, now_s)) is not None:
                    yield ProgressSeen(*told)
            case Probed():
                yield from self._take_probe(task, message, now_s)
            case MasterReady():
                task.is_master_ready = True
            case MethodDone():
                if task.called_off_at_s is None:
                    yield MethodSeen(message.result)
            case Measured():
                task.measured = message
                self._crew.release(task, now_s)
                yield Answered(message.result)
            case Failed():
                yield from self._take_failure(task, message, now_s)
            case _:
                log.debug("worker_up", pid=message.pid)

    def _take_probe(self, task: Task, message: Probed, now_s: float) -> Steps:
        task.pulse = task.pulse.beat("probed", 1, now_s)
        if task.called_off_at_s is not None:
            self._crew.release(task, now_s)
            self._crew.forget(task)
            return
        infos = (message.media[0], message.media[1])
        yield InfosSeen(infos)
        need = self._gate.weigh(task.job, infos, task.standing)
        tasks = self._crew.tasks
        if need.ram_bytes > task.promised_bytes and not self._gate.fits_where_it_is(task, need, tasks, now_s):
            log.info("admit_again", job=task.job.job_id, need_mib=need.ram_bytes >> 20)
            self._crew.release(task, now_s)
            yield HandBack("needs more memory than is free now")
            return
        task.promised_bytes = need.ram_bytes
        _cap(task, need)
        yield from self._measure(task, infos)

    def _measure(self, task: Task, infos: tuple[MediaInfo, MediaInfo]) -> Steps:
        task.infos = infos
        task.work = self._gate.work_of(task.job, infos, on_card=task.promised_vram_bytes > 0)
        longest_s = self._config.limits.max_duration_seconds
        cache = None if task.standing.rung is Rung.LAST else _cache_order(self._config)
        request = measure_request(task, self._scratch_folder, longest_s, cache, self._gate.ai_order(task))
        yield from self._send(task, request)

    def _send(self, task: Task, message: ToWorker) -> Steps:
        if task.worker is None:
            return
        try:
            task.worker.send(message)
        except WorkerGone:
            yield from self._bury(task)

    # --- when it does not go well ------------------------------------------------------------------------------------

    def _watch_over(self, task: Task, worker: Worker, now_s: float) -> Steps:
        if task.called_off_at_s is not None:
            if now_s - task.called_off_at_s > CANCEL_GRACE_S:
                self._crew.forget(task)
            return
        if task.ending is None and (failure := self._overseer.verdict(task, worker, self._config.workers, now_s)):
            log.warning("worker_is_ended", job=task.job.job_id, code=failure.code.value, stage=task.pulse.stage)
            if failure.code is ErrorCode.WORKER_STALLED:
                self._counted.stall(task.pulse.stage)
                for file in (task.job.master, task.job.dub):
                    self._silent.ask(file.path.parent)
            task.ending = Ending(failure, now_s)
        if task.ending is not None and not carry_on_ending(task, worker, task.ending, now_s):
            yield from self._bury(task)

    def _bury(self, task: Task) -> Steps:
        """The worker is gone in the middle of the task."""
        was_used_before = task.worker is not None and task.worker.tasks_done > 0
        end = WorkerEnd.CRASHED if task.ending is None else END_OF.get(task.ending.failure.code, WorkerEnd.CRASHED)
        is_called_off = task.called_off_at_s is not None
        status, last_words = self._crew.drop_worker(task, WorkerEnd.CALLED_OFF if is_called_off else end)
        if is_called_off:
            self._crew.forget(task)
            return
        task.trace = Trace(task.pulse.stage, last_words or None)
        is_stall = task.ending is not None and task.ending.failure.code is ErrorCode.WORKER_STALLED
        silent = self._silent.holding(task.job.master.path, task.job.dub.path) if is_stall else None
        if silent is not None:
            yield HandBack(f"the folder {silent} does not answer")
            return
        step = after_loss(
            None if task.ending is None else task.ending.failure,
            status,
            task.device,
            is_innocent=was_used_before and not task.is_started,
        )
        if task.ending is None and isinstance(step, AttemptFailed):
            # What it printed stays in the log: a stack of ours is nothing that a report's reader could act on.
            log.warning("worker_crashed", job=task.job.job_id, status=exit_text(status), last_words=last_words[-2000:])
        yield step

    def _take_failure(self, task: Task, message: Failed, now_s: float) -> Steps:
        if task.ending is not None:
            yield from self._bury(task)  # It let itself be called off; what it is worth nobody knows.
            return
        self._crew.release(task, now_s)
        if task.called_off_at_s is not None:
            self._crew.forget(task)
            return
        if message.traceback:
            log.error("measure_broke", job=task.job.job_id, traceback=message.traceback)
        yield AttemptFailed(message.failure)


def after_loss(why: Failure | None, status: int | None, device: str, *, is_innocent: bool) -> AttemptFailed | HandBack:
    """What follows when a worker is gone. Pure.

    `why`: the reason for which it was ended, if it was. `is_innocent`: it died between two jobs, before this one began.
    """
    if why is not None:
        return AttemptFailed(why)
    if is_innocent:
        return HandBack("the worker had ended before it began")
    if status == CARD_FAILED_STATUS:
        message = f"The card {device} failed in the middle of the job."
        return AttemptFailed(Failure(ErrorCode.GPU_FAILED, message))
    message = f"The worker process ended in the middle of the job ({exit_text(status)})."
    return AttemptFailed(Failure(ErrorCode.WORKER_CRASHED, message))


def _cap(task: Task, need: Need) -> None:
    """A driver maps far more than it holds: beside a card what is held is watched, and nothing capped."""
    if task.worker is not None and not task.promised_vram_bytes:
        task.worker.cap(ram_cap_bytes(need.ram_bytes))


def _cache_order(config: Config) -> CacheOrder | None:
    max_bytes = config.cache.max_bytes
    return CacheOrder(bytes(config.features_folder), max_bytes) if max_bytes else None
