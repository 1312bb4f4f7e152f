"""A claimed job on its way through one attempt: what is known of it, and the values made from that."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Final

from syncd.domain import (
    NO_TRACE,
    Failure,
    Lease,
    MediaInfo,
    MemoryObservation,
    ModelUse,
    Progress,
    ReadyJob,
    Result,
    Trace,
)
from syncd.errors import ErrorCode
from syncd.protocol import (
    AiOrder,
    CacheOrder,
    Measured,
    MeasureRequest,
    ProbeRequest,
    Progressed,
    file_version,
    stem_files,
)
from syncd.reports.facts import ProcessingFacts, ReportSubject, new_analysis_id
from syncd.supervisor.estimate import StageSeen, Work, counted_down, seconds_left, smoothed
from syncd.supervisor.ladder import FRESH, Standing
from syncd.supervisor.liveness import HASTY_SCHEDULE, SCHEDULE, CpuLook, Pulse, Step
from syncd.supervisor.pool import Worker
from syncd.supervisor.reporter import ReportOrder

PROGRESS_INTERVAL_S: Final = 0.5
"""How often a job's progress reaches the ledger."""


@dataclass(slots=True)
class Ending:
    """A worker that is being ended, step by step."""

    failure: Failure
    began_at_s: float
    steps_taken: int = 0

    @property
    def schedule(self) -> Mapping[Step, float]:
        """By which steps."""
        return HASTY_SCHEDULE if self.failure.code is ErrorCode.OUT_OF_MEMORY else SCHEDULE


@dataclass(frozen=True, slots=True)
class Promise:
    """What a job may take, and where."""

    device: str
    ram_bytes: int = 0
    vram_bytes: int = 0
    """On the device's card; 0: it uses none."""
    batch: int = 0
    """Windows at once that its model may take there."""


@dataclass(slots=True)
class Task:
    """One attempt at one job."""

    task_id: int
    job: ReadyJob
    lease: Lease
    device: str
    promised_bytes: int
    worker: Worker | None
    pulse: Pulse
    slot: int = 0
    """Its place among those that run, the lowest that was free: by it metrics tell them apart."""
    is_started: bool = False
    """Whether the worker has it in hand: one that dies before that did not die of it."""
    infos: tuple[MediaInfo, MediaInfo] | None = None
    told_at_s: float = -1e9
    stages: dict[str, StageSeen] = field(default_factory=dict)
    """In the order of their beginnings."""
    estimate: tuple[float, float] | None = None
    """(seconds left, when that was said)."""
    is_master_ready: bool = False
    """Whether other dubs of the master gain nothing more by waiting."""
    called_off_at_s: float | None = None
    standing: Standing = FRESH
    """On the ladder."""
    promised_vram_bytes: int = 0
    """On the device's card; 0: it uses none."""
    batch: int = 0
    """Windows at once that its model may take there."""
    work: Work | None = None
    """What there is to do; None until probed."""
    cpu_look: CpuLook | None = None
    """Since when it is watched whether a silent worker computes."""
    ending: Ending | None = None
    trace: Trace = NO_TRACE
    """Where it stood when its worker went."""
    measured: Measured | None = None
    report: ReportOrder | None = None
    """What is being written, or waits to be written again."""
    ordered_at_s: float | None = None
    """Since when it waits for its report."""
    report_tries: int = 0
    report_again_at_s: float | None = None
    waits_for_folder: bool = False
    """Its report does, which does not answer."""
    finish: Callable[[], None] | None = None
    """The transition that ends it, kept until the ledger has taken it."""
    quarantine_reason: str | None = None
    """Where the failure that is being reported is the job's last."""
    degraded: tuple[str, ...] = ()
    """What the attempt does without, in words."""

    def put_off(self, shift_s: float) -> None:
        """For so long nobody looked at the worker: what it was given time for is due so much later."""
        self.pulse = self.pulse.later(shift_s)
        if self.cpu_look is not None:
            self.cpu_look = replace(self.cpu_look, at_s=self.cpu_look.at_s + shift_s)
        if self.ending is not None:
            self.ending.began_at_s += shift_s

    @property
    def duration_s(self) -> float | None:
        """Of the longer side; None until probed."""
        return max((info.duration_s for info in self.infos or () if info.duration_s is not None), default=None)


def lowest_free_slot(tasks: Collection[Task]) -> int:
    """The place of the next one."""
    taken = {task.slot for task in tasks}
    return next(slot for slot in range(len(tasks) + 1) if slot not in taken)


def known_infos(job: ReadyJob) -> tuple[MediaInfo, MediaInfo] | None:
    """What an earlier probe said of both sides."""
    return (job.master_info, job.dub_info) if job.master_info and job.dub_info else None


def refused_by_size(job: ReadyJob, limit_bytes: int | None) -> Failure | None:
    """Why a file is too large to be looked at."""
    for file in (job.master, job.dub):
        if limit_bytes is not None and file.identity.size_bytes > limit_bytes:
            return Failure(
                ErrorCode.MEDIA_TOO_LARGE,
                f"{file.path.name} has {file.identity.size_bytes:,} bytes; the limit is {limit_bytes:,}.",
            )
    return None


def probe_request(task: Task) -> ProbeRequest:
    """What the worker is asked first."""
    sides = task.job.master, task.job.dub
    return ProbeRequest(task.task_id, tuple(bytes(f.path) for f in sides), tuple(stem_files(f) for f in sides))


def measure_request(
    task: Task, scratch_folder: Path, longest_s: float | None, cache: CacheOrder | None, ai: AiOrder | None
) -> MeasureRequest:
    """What the worker is asked."""
    job = task.job
    return MeasureRequest(
        task_id=task.task_id,
        master_path=bytes(job.master.path),
        dub_path=bytes(job.dub.path),
        master_version=file_version(job.master),
        dub_version=file_version(job.dub),
        master_stems=stem_files(job.master),
        dub_stems=stem_files(job.dub),
        master_track=job.master_track,
        dub_track=job.dub_track,
        language=job.language,
        settings=job.settings,
        scratch_folder=bytes(scratch_folder),
        max_duration_s=longest_s,
        cache=cache,
        ai=ai,
    )


def observation_of(task: Task, measured: Measured, methods: tuple[str, ...], use: ModelUse | None) -> MemoryObservation:
    """What the attempt took, for the next prediction; `use`: of its model on the card."""
    result = measured.result
    return MemoryObservation(
        device=task.device,
        kind="measure",
        predicted_ram_bytes=task.promised_bytes,
        peak_ram_bytes=measured.peak_rss_bytes,
        duration_s=max(result.master.duration_s, result.dub.duration_s),
        channels=max(result.master.channels, result.dub.channels),
        methods=methods,
        predicted_vram_bytes=task.promised_vram_bytes,
        peak_vram_bytes=measured.peak_vram_bytes,
        model=use if measured.peak_vram_bytes else None,
    )


def report_order(task: Task, outcome: Result | Failure, now: datetime, fallback: Path | None) -> ReportOrder:
    """What the report thread is asked."""
    job, measured = task.job, task.measured
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
        seconds=measured.seconds if measured else 0.0,
        stages=outcome.stage_seconds if isinstance(outcome, Result) else {},
        device=task.device,
        peak_rss_bytes=measured.peak_rss_bytes if measured else None,
        scratch_bytes=measured.scratch_bytes if measured else None,
        attempt=task.lease.attempt_number,
        peak_vram_bytes=measured.peak_vram_bytes or None if measured else None,
        degraded=(*task.degraded, *(measured.degraded if measured else ())),
        cache=measured.cache if measured else None,
        quarantine_reason=task.quarantine_reason,
    )
    plots = measured.plots if measured and isinstance(outcome, Result) else None
    return ReportOrder(task.task_id, subject, outcome, processing, fallback, plots)


def estimate_anew(task: Task, message: Progressed, now_s: float) -> float | None:
    """Take a stage's figures in; seconds that the job will still take, None while nobody can say."""
    before = task.stages.get(message.stage)
    if before is None:
        task.stages[message.stage] = StageSeen(message.stage, now_s, message.done, message.total, now_s)
    elif (before.done, before.total) != (message.done, message.total):
        task.stages[message.stage] = replace(before, done=message.done, total=message.total, moved_at_s=now_s)
    if task.work is None:
        return None
    raw_s = seconds_left(list(task.stages.values()), task.work, now_s)
    if raw_s is None:
        return None if task.estimate is None else counted_down(task.estimate, now_s)
    left_s = smoothed(task.estimate, raw_s, now_s)
    task.estimate = left_s, now_s
    return left_s


def take_progress(task: Task, message: Progressed, now_s: float) -> tuple[Progress, float | None] | None:
    """Take a worker's figures in; what people are to be told of them, with the seconds left. None: nothing just now."""
    task.pulse = task.pulse.beat(message.stage, message.done, now_s)
    if task.called_off_at_s is not None:
        return None
    is_new = message.stage not in task.stages
    left_s = estimate_anew(task, message, now_s)
    if not is_new and now_s - task.told_at_s < PROGRESS_INTERVAL_S:
        return None
    task.told_at_s = now_s
    return Progress(message.stage, message.done, message.total, message.text), left_s
