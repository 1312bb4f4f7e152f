"""From the ledger's queue to a worker and back: admit, measure, report.

`Dispatcher.step` is called from the daemon's main loop and never waits. It alone speaks to the ledger; workers and the
report thread speak to it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Final

import structlog

from syncd.clock import utc_now
from syncd.config import Config
from syncd.devices.admission import Admitted, Refused, Reservation, admit
from syncd.devices.inventory import Device, read_host_memory
from syncd.devices.memory_model import Workload, predict_ram_bytes
from syncd.domain import Failure, MediaInfo, MemoryObservation, Progress, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import Lease, ReadyJob, StaleLease
from syncd.protocol import (
    Cancel,
    Failed,
    Measured,
    MeasureRequest,
    MethodDone,
    Probed,
    ProbeRequest,
    Progressed,
    Started,
    ToSupervisor,
)
from syncd.reports.facts import ProcessingFacts, ReportSubject, new_analysis_id
from syncd.supervisor.liveness import Health, Pulse, examine
from syncd.supervisor.pool import Pool, Worker, WorkerGone, exit_text
from syncd.supervisor.reporter import ReportDone, Reporter, ReportOrder
from syncd.supervisor.retry import TryAgain, after_failure

log = structlog.get_logger()

READY_LOOKAHEAD: Final = 32
"""How many waiting jobs are looked at in one step."""
PROGRESS_INTERVAL_S: Final = 0.5
"""How often a job's progress reaches the ledger."""
CANCEL_GRACE_S: Final = 2.0
"""How long a worker may take to notice that its task was called off."""


@dataclass(slots=True)
class Task:
    """A claimed job on its way through one attempt."""

    task_id: int
    job: ReadyJob
    lease: Lease
    device: str
    promised_bytes: int
    worker: Worker | None
    pulse: Pulse
    infos: tuple[MediaInfo, MediaInfo] | None = None
    peak_rss_bytes: int = 0
    told_at_s: float = -1e9
    told_stage: str = ""
    called_off_at_s: float | None = None
    observation: MemoryObservation | None = None
    stage_started_s: dict[str, float] = field(default_factory=dict)
    finish: Callable[[], None] | None = None
    """The transition that ends it, kept until the ledger has taken it."""


class Dispatcher:
    """The running jobs and what becomes of them."""

    def __init__(
        self, config: Config, ledger: Ledger, pool: Pool, reporter: Reporter, devices: Sequence[Device]
    ) -> None:
        self._config = config
        self._ledger = ledger
        self._pool = pool
        self._reporter = reporter
        self._devices = tuple(devices)
        self._tasks: dict[int, Task] = {}
        self._next_task_id = 1
        self._observations = ledger.observations()
        self._refusals: dict[int, str] = {}

    # --- what the main loop calls ------------------------------------------------------------------------------------

    def reconfigure(self, config: Config, devices: Sequence[Device]) -> None:
        """Take over a changed configuration; what runs goes on."""
        self._config = config
        self._devices = tuple(devices)

    def busy_workers(self) -> list[Worker]:
        """Workers whose pipes are to be listened to."""
        return [task.worker for task in self._tasks.values() if task.worker is not None]

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._tasks

    def running_count(self) -> int:
        """Jobs under way."""
        return len(self._tasks)

    def step(self, now_s: float) -> None:
        """Take in what workers and reports say, end what hangs, start what fits."""
        for task in list(self._tasks.values()):
            if task.finish is not None:
                self._finish(task, task.finish)
            self._hear(task, now_s)
        for answer in self._reporter.answers():
            self._close(answer)
        for task in list(self._tasks.values()):
            self._watch_over(task, now_s)
        self._pool.retire_idle(now_s)
        if not self._ledger.is_paused():
            self._start_ready(now_s)

    def call_off(self, job_id: int, now_s: float) -> None:
        """The job was canceled or superseded in the ledger: its worker is told, and killed if it does not listen."""
        for task in self._tasks.values():
            if task.job.job_id == job_id and task.called_off_at_s is None:
                task.called_off_at_s = now_s
                if task.worker is not None:
                    try:
                        task.worker.send(Cancel(task.task_id))
                    except WorkerGone:
                        log.debug("worker_had_gone", pid=task.worker.pid)

    def hand_back_all(self, reason: str) -> None:
        """Every running job goes back into the queue, without penalty; their workers end."""
        for task in list(self._tasks.values()):
            if task.called_off_at_s is None:
                self._finish(task, partial(self._ledger.hand_back, task.lease, reason, interrupted=False))
            self._forget(task)

    # --- admit -------------------------------------------------------------------------------------------------------

    def _start_ready(self, now_s: float) -> None:
        if sum(device.slots for device in self._devices) <= self._measuring_count():
            return
        memory = read_host_memory()
        for job in self._ledger.ready(READY_LOOKAHEAD):
            need_bytes = self._need_bytes(job, _known_infos(job))
            decision = admit(need_bytes, self._devices, memory, self._reservations())
            if isinstance(decision, Refused):
                self._note_refusal(job, decision)
                if decision.ever:
                    return  # The head of the queue waits; whoever comes after it waits behind it.
                self._refuse_for_good(job, Failure(ErrorCode.OUT_OF_MEMORY, decision.reason), now_s)
            else:
                self._admit(job, decision, need_bytes, now_s)

    def _measuring_count(self) -> int:
        return sum(task.worker is not None for task in self._tasks.values())

    def _reservations(self, besides: Task | None = None) -> list[Reservation]:
        return [
            Reservation(task.device, task.promised_bytes, task.worker.held_bytes())
            for task in self._tasks.values()
            if task.worker is not None and task is not besides
        ]

    def _fits_beside_others(self, task: Task, need_bytes: int) -> bool:
        """Whether a probed job may grow its promise where it is."""
        here = [device for device in self._devices if device.name == task.device]
        return isinstance(admit(need_bytes, here, read_host_memory(), self._reservations(besides=task)), Admitted)

    def _need_bytes(self, job: ReadyJob, infos: tuple[MediaInfo, MediaInfo] | None) -> int:
        durations = [info.duration_s for info in infos or () if info.duration_s is not None]
        return predict_ram_bytes(Workload(max(durations, default=None), job.settings.methods), self._observations)

    def _note_refusal(self, job: ReadyJob, refusal: Refused) -> None:
        if self._refusals.get(job.job_id) != refusal.reason and refusal.reason != "Every slot is taken.":
            log.info("admit_refused", job=job.job_id, reason=refusal.reason)
        self._refusals = {job.job_id: refusal.reason}

    def _admit(self, job: ReadyJob, decision: Admitted, need_bytes: int, now_s: float) -> None:
        """Claim, then promise, then start: in this order nothing can be given out twice."""
        task = self._claim(job, decision.device.name, need_bytes, now_s)
        if task is None:
            return
        if failure := self._refused_by_size(job):
            self._end(task, failure)
            return
        try:
            task.worker = self._pool.take(decision.device.name, now_s)
        except OSError as error:
            self._end(task, Failure(ErrorCode.WORKER_CRASHED, f"No worker could be started: {error.strerror}."))
            return
        infos = _known_infos(job)
        log.info("admit", job=job.job_id, device=task.device, promised_mib=need_bytes >> 20, worker=task.worker.pid)
        if infos is None:
            self._send(task, ProbeRequest(task.task_id, (bytes(job.master.path), bytes(job.dub.path))))
        else:
            self._measure(task, infos)

    def _claim(self, job: ReadyJob, device: str, need_bytes: int, now_s: float) -> Task | None:
        lease = self._ledger.claim(job.job_id, device=device, predicted_ram_bytes=need_bytes)
        if lease is None:
            return None
        task = Task(self._next_task_id, job, lease, device, need_bytes, None, Pulse(now_s, now_s))
        self._next_task_id += 1
        self._tasks[task.task_id] = task
        return task

    def _refuse_for_good(self, job: ReadyJob, failure: Failure, now_s: float) -> None:
        if task := self._claim(job, self._devices[0].name, 0, now_s):
            self._end(task, failure, final=True)

    def _refused_by_size(self, job: ReadyJob) -> Failure | None:
        limit_bytes = self._config.limits.max_file_bytes
        for file in (job.master, job.dub):
            if limit_bytes is not None and file.identity.size_bytes > limit_bytes:
                return Failure(
                    ErrorCode.MEDIA_TOO_LARGE,
                    f"{file.path.name} has {file.identity.size_bytes:,} bytes; the limit is {limit_bytes:,}.",
                )
        return None

    # --- measure -----------------------------------------------------------------------------------------------------

    def _hear(self, task: Task, now_s: float) -> None:
        worker = task.worker
        if worker is None:
            return
        try:
            for message in worker.receive():
                self._take_in(task, message, now_s)
                if task.worker is not worker:
                    return
        except WorkerGone:
            self._bury(task)

    def _take_in(self, task: Task, message: ToSupervisor, now_s: float) -> None:
        if getattr(message, "task_id", task.task_id) != task.task_id:
            return  # The answer to an earlier task of this worker.
        match message:
            case Started():
                task.pulse = task.pulse.beat("started", 0, now_s)
            case Progressed():
                self._take_progress(task, message, now_s)
            case Probed():
                task.pulse = task.pulse.beat("probed", 1, now_s)
                self._take_probe(task, message, now_s)
            case MethodDone():
                if task.called_off_at_s is None:
                    self._note(partial(self._ledger.record_method, task.lease, message.result))
            case Measured():
                task.peak_rss_bytes = message.peak_rss_bytes
                task.observation = self._observe(task, message)
                self._release(task, now_s)
                self._report(task, message.result, message.seconds, message.scratch_bytes)
            case Failed():
                self._take_failure(task, message, now_s)
            case _:
                log.debug("worker_up", pid=message.pid)

    def _take_progress(self, task: Task, message: Progressed, now_s: float) -> None:
        task.pulse = task.pulse.beat(message.stage, message.done, now_s)
        begun_at_s = task.stage_started_s.setdefault(message.stage, now_s)
        stage_changed = message.stage != task.told_stage
        if task.called_off_at_s is not None:
            return
        if stage_changed or now_s - task.told_at_s >= PROGRESS_INTERVAL_S:
            task.told_at_s, task.told_stage = now_s, message.stage
            progress = Progress(message.stage, message.done, message.total, message.text)
            eta_s = _eta_s(message, now_s - begun_at_s)
            self._note(partial(self._ledger.record_progress, task.lease, progress, eta_s=eta_s))

    def _take_probe(self, task: Task, message: Probed, now_s: float) -> None:
        if task.called_off_at_s is not None:
            self._release(task, now_s)
            self._forget(task)
            return
        master_info, dub_info = message.media
        for file, info in ((task.job.master, master_info), (task.job.dub, dub_info)):
            self._note(partial(self._ledger.record_media_info, file.path, file.identity, info))
        need_bytes = self._need_bytes(task.job, (master_info, dub_info))
        if need_bytes > task.promised_bytes and not self._fits_beside_others(task, need_bytes):
            log.info("admit_again", job=task.job.job_id, need_mib=need_bytes >> 20)
            reason = "needs more memory than is free now"
            self._release(task, now_s)
            self._finish(task, partial(self._ledger.hand_back, task.lease, reason, interrupted=False))
            return
        task.promised_bytes = need_bytes
        self._measure(task, (master_info, dub_info))

    def _measure(self, task: Task, infos: tuple[MediaInfo, MediaInfo]) -> None:
        task.infos = infos
        job = task.job
        self._send(
            task,
            MeasureRequest(
                task_id=task.task_id,
                master_path=bytes(job.master.path),
                dub_path=bytes(job.dub.path),
                master_track=job.master_track,
                dub_track=job.dub_track,
                language=job.language,
                settings=job.settings,
                scratch_folder=bytes(self._pool.scratch_folder),
                max_duration_s=self._config.limits.max_duration_seconds,
            ),
        )

    def _send(self, task: Task, message: ProbeRequest | MeasureRequest) -> None:
        if task.worker is None:
            return
        try:
            task.worker.send(message)
        except WorkerGone:
            self._bury(task)

    def _observe(self, task: Task, message: Measured) -> MemoryObservation:
        result = message.result
        observation = MemoryObservation(
            device=task.device,
            kind="measure",
            predicted_ram_bytes=task.promised_bytes,
            peak_ram_bytes=message.peak_rss_bytes,
            duration_s=max(result.master.duration_s, result.dub.duration_s),
            channels=max(result.master.channels, result.dub.channels),
            methods=task.job.settings.methods,
        )
        self._observations = [observation, *self._observations[:199]]
        return observation

    # --- when it does not go well ------------------------------------------------------------------------------------

    def _watch_over(self, task: Task, now_s: float) -> None:
        if task.worker is None:
            return
        if task.called_off_at_s is not None:
            if now_s - task.called_off_at_s > CANCEL_GRACE_S:
                self._forget(task)
            return
        limits = self._config.workers
        match examine(task.pulse, now_s, stall_s=limits.stall_seconds, job_s=limits.job_seconds):
            case Health.STALLED:
                still_s = now_s - task.pulse.changed_at_s
                failure = Failure(
                    ErrorCode.WORKER_STALLED,
                    f"The worker stood still for {still_s:.0f} s in stage {task.pulse.stage} and was ended.",
                )
            case Health.OVERTIME:
                failure = Failure(ErrorCode.TIME_LIMIT, f"The job took longer than {limits.job_seconds:.0f} s.")
            case _:
                return
        self._drop_worker(task)
        self._end(task, failure)

    def _bury(self, task: Task) -> None:
        """The worker is gone in the middle of the task."""
        status, last_words = self._drop_worker(task)
        if task.called_off_at_s is not None:
            self._forget(task)
            return
        log.warning("worker_crashed", job=task.job.job_id, status=status, last_words=last_words[-500:])
        failure = Failure(
            ErrorCode.WORKER_CRASHED,
            f"The worker process ended in the middle of the job ({exit_text(status)}).",
            {"last_words": last_words[-2000:]},
        )
        self._end(task, failure)

    def _take_failure(self, task: Task, message: Failed, now_s: float) -> None:
        self._release(task, now_s)
        if task.called_off_at_s is not None:
            self._forget(task)
            return
        if message.traceback:
            log.error("measure_broke", job=task.job.job_id, traceback=message.traceback)
        self._end(task, message.failure)

    def _end(self, task: Task, failure: Failure, *, final: bool = False) -> None:
        """The attempt failed: try again later, or report the failure."""
        decision = after_failure(failure, task.lease.attempt_number, self._config.workers.max_attempts)
        if isinstance(decision, TryAgain) and not final:
            log.warning("retry", job=task.job.job_id, code=failure.code, delay_s=decision.delay_s)
            not_before = utc_now() + timedelta(seconds=decision.delay_s)
            self._finish(task, partial(self._ledger.retry_later, task.lease, failure, not_before=not_before))
        else:
            self._report(task, failure, seconds=0.0, scratch_bytes=0)

    # --- report ------------------------------------------------------------------------------------------------------

    def _report(self, task: Task, outcome: Result | Failure, seconds: float, scratch_bytes: int) -> None:
        if task.called_off_at_s is not None:
            self._forget(task)
            return
        job, now = task.job, utc_now()
        infos = task.infos or (job.master_info, job.dub_info)
        subject = ReportSubject(
            job_id=job.job_id,
            analysis_id=new_analysis_id(now, secrets.token_hex(4)),
            title=job.title,
            profile=job.profile,
            language=job.language,
            created_at=now,
            settings=job.settings,
            master=job.master,
            dub=job.dub,
            master_info=infos[0],
            dub_info=infos[1],
            master_track=job.master_track,
            dub_track=job.dub_track,
        )
        processing = ProcessingFacts(
            seconds=seconds,
            stages=outcome.stage_seconds if isinstance(outcome, Result) else {},
            device=task.device,
            peak_rss_bytes=task.peak_rss_bytes,
            peak_vram_bytes=0,
            scratch_bytes=scratch_bytes,
            attempt=task.lease.attempt_number,
            degraded=(),
        )
        self._reporter.order(ReportOrder(task.task_id, subject, outcome, processing, self._config.reports.fallback))

    def _close(self, answer: ReportDone) -> None:
        """The report is out (or cannot be): the ledger says so, last of all."""
        task = self._tasks.get(answer.order.task_id)
        if task is None:
            return
        if task.called_off_at_s is not None:
            self._forget(task)
            return
        outcome = answer.order.outcome
        if answer.written is not None and isinstance(outcome, Result):
            self._complete(task, outcome, answer)
        elif isinstance(outcome, Failure):
            self._fail(task, outcome, answer)
        elif answer.failure is not None:
            self._report_not_written(task, answer.failure, answer.kept_json)

    def _complete(self, task: Task, result: Result, answer: ReportDone) -> None:
        if answer.written is None:
            return
        consensus = result.consensus
        complete = partial(
            self._ledger.complete,
            task.lease,
            report_json=answer.written.json_text,
            sidecar_path=answer.written.sidecar_path,
            verdict=result.verdict,
            review=result.review,
            offset_s=consensus.offset_s if consensus else None,
            confidence=result.overall_confidence,
            observation=task.observation,
        )
        log.info(
            "report",
            job=task.job.job_id,
            title=task.job.title,
            language=task.job.language,
            verdict=result.verdict.value,
            review=result.review,
            offset_s=consensus.offset_s if consensus else None,
            seconds=round(answer.order.processing.seconds, 2),
            sidecar=str(answer.written.sidecar_path),
        )
        self._finish(task, complete)

    def _fail(self, task: Task, failure: Failure, answer: ReportDone) -> None:
        written = answer.written
        fail = partial(
            self._ledger.fail,
            task.lease,
            failure,
            report_json=written.json_text if written else answer.kept_json,
            sidecar_path=written.sidecar_path if written else None,
        )
        log.warning("report", job=task.job.job_id, title=task.job.title, code=failure.code, message=failure.message)
        if answer.failure is not None:
            log.error("report_not_written", job=task.job.job_id, reason=answer.failure.message)
        self._finish(task, fail)

    def _report_not_written(self, task: Task, failure: Failure, kept_json: str | None) -> None:
        """A result without a sidecar is no delivery: tried again, and failed with the disk's own error at last.

        What was measured is not lost even then: the ledger keeps the report.
        """
        decision = after_failure(failure, task.lease.attempt_number, self._config.workers.max_attempts)
        if isinstance(decision, TryAgain):
            self._end(task, failure)
        else:
            log.error("report_not_written", job=task.job.job_id, reason=failure.message)
            self._finish(
                task, partial(self._ledger.fail, task.lease, failure, report_json=kept_json, sidecar_path=None)
            )

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _finish(self, task: Task, write: Callable[[], None]) -> None:
        """End the task by a transition; one that the ledger cannot take now (a full disk) is tried at every step."""
        known = task.finish is not None
        task.finish = write
        try:
            write()
        except StaleLease:
            log.debug("lease_is_stale", job=task.job.job_id)
        except SyncdError as error:
            if not known:
                log.error("ledger_not_written", job=task.job.job_id, code=error.code.value, reason=error.message)
            return
        self._forget(task)

    def _note(self, write: Callable[[], object]) -> None:
        """Write what the job can do without."""
        try:
            write()
        except SyncdError as error:
            log.error("ledger_not_written", code=error.code.value, reason=error.message)

    # --- workers -----------------------------------------------------------------------------------------------------

    def _release(self, task: Task, now_s: float) -> None:
        """The worker answered: it is free for the next."""
        if task.worker is not None:
            self._pool.put_back(task.worker, now_s)
            task.worker = None

    def _drop_worker(self, task: Task) -> tuple[int | None, str]:
        worker, task.worker = task.worker, None
        return self._pool.drop(worker) if worker is not None else (None, "")

    def _forget(self, task: Task) -> None:
        if task.worker is not None:
            self._drop_worker(task)
        self._tasks.pop(task.task_id, None)


def _known_infos(job: ReadyJob) -> tuple[MediaInfo, MediaInfo] | None:
    return (job.master_info, job.dub_info) if job.master_info and job.dub_info else None


def _eta_s(message: Progressed, spent_s: float) -> float | None:
    """Seconds that the stage will still take if it goes on as it went."""
    if message.done <= 0 or message.total <= 0 or spent_s < 1.0:
        return None
    return spent_s * (message.total - message.done) / message.done
