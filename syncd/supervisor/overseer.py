"""Over a worker's shoulder: is it alive, within its memory, within its time; and if not, how it is ended.

What is seen comes from the process and its pipe; `liveness` and `memory_model` decide.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from syncd.config import WorkersSection
from syncd.devices.memory_model import ram_cap_bytes
from syncd.domain import Failure, StagePause
from syncd.errors import ErrorCode
from syncd.protocol import Cancel
from syncd.supervisor.liveness import (
    CpuLook,
    Health,
    Patience,
    Step,
    examine,
    is_computing,
    job_limit_s,
    probation_s,
    steps_due,
)
from syncd.supervisor.pool import Worker, WorkerGone
from syncd.supervisor.task import Ending, Task


class Overseer:
    """Looks at busy workers; what completed jobs were like makes it more patient."""

    def __init__(self, pauses: Sequence[StagePause]) -> None:
        self._patience = Patience(pauses)

    def learn(self, pauses: Sequence[StagePause]) -> None:
        """Those of a completed job."""
        self._patience.learn(pauses)

    def verdict(self, task: Task, worker: Worker, limits: WorkersSection, now_s: float) -> Failure | None:
        """Why the worker has to go; None: it may go on."""
        return _outgrown(task, worker) or self._stalled_or_late(task, worker, limits, now_s)

    def _stalled_or_late(self, task: Task, worker: Worker, limits: WorkersSection, now_s: float) -> Failure | None:
        stall_s = self._patience.stall_s(task.pulse.stage, task.duration_s, limits.stall_seconds)
        job_s = job_limit_s(limits.job_seconds, task.duration_s)
        health = examine(task.pulse, now_s, stall_s=stall_s, job_s=job_s)
        if health is Health.SILENT and (computes := _computes(task, worker, now_s, probation_s(stall_s))) is not None:
            health = examine(task.pulse, now_s, stall_s=stall_s, job_s=job_s, computes=computes)
        match health:
            case Health.STALLED:
                still_s = now_s - task.pulse.changed_at_s
                message = f"The worker stood still for {still_s:.0f} s in stage {task.pulse.stage} and was ended."
                return Failure(ErrorCode.WORKER_STALLED, message)
            case Health.OVERTIME:
                return Failure(ErrorCode.TIME_LIMIT, f"The job took longer than {job_s:.0f} s.")
            case _:
                return None


def _outgrown(task: Task, worker: Worker) -> Failure | None:
    """The kernel's cap counts what is allocated; this counts what is held, by whatever means."""
    held_bytes, cap_bytes = worker.held_bytes(), ram_cap_bytes(task.promised_bytes)
    if held_bytes <= cap_bytes:
        return None
    held, cap = (f"{figure / 1e9:.1f} GB" for figure in (held_bytes, cap_bytes))
    return Failure(ErrorCode.OUT_OF_MEMORY, f"The worker held {held} of memory; {cap} are the most for the job.")


def _computes(task: Task, worker: Worker, now_s: float, apart_s: float) -> bool | None:
    """Whether a silent worker used a core between two looks; None until the second one."""
    before = task.cpu_look
    if before is not None and before.at_s >= task.pulse.changed_at_s and now_s - before.at_s < apart_s:
        return None
    look = CpuLook(now_s, worker.cpu_s())
    task.cpu_look = look
    return None if before is None or before.at_s < task.pulse.changed_at_s else is_computing(before, look)


def carry_on_ending(task: Task, worker: Worker, ending: Ending, now_s: float) -> bool:
    """Take the steps that are due; the worker's end, or its answer after all, is heard as any other.

    False: nothing ends it, and whoever waits for it waits in vain.
    """
    for step in steps_due(now_s - ending.began_at_s, ending.steps_taken, ending.schedule):
        ending.steps_taken += 1
        match step:
            case Step.DUMP:
                worker.dump_stack()
                with contextlib.suppress(WorkerGone):
                    worker.send(Cancel(task.task_id))
            case Step.TERM:
                worker.terminate()
            case Step.KILL:
                worker.kill()
            case Step.GIVE_UP:
                return False
    return True
