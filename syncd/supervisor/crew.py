"""The jobs under way, each with the worker that has it: who is taken on, told, released, and let go."""

from __future__ import annotations

import time
from typing import Final

import structlog

from syncd.domain import Lease, ReadyJob
from syncd.protocol import Cancel
from syncd.supervisor.counted import WorkerEnd
from syncd.supervisor.ladder import Standing
from syncd.supervisor.liveness import Pulse
from syncd.supervisor.pool import Pool, Worker, WorkerGone
from syncd.supervisor.sharing import MasterFeatures, features_of
from syncd.supervisor.task import Promise, Task, lowest_free_slot

log = structlog.get_logger()

CANCEL_GRACE_S: Final = 2.0
"""How long a worker may take to notice that its task was called off."""


class Crew:
    """One task a claimed job; a task that waits for its report has no worker any more."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._tasks: dict[int, Task] = {}
        self._next_task_id = 1

    @property
    def tasks(self) -> list[Task]:
        """As they were begun."""
        return list(self._tasks.values())

    @property
    def task_ids(self) -> frozenset[int]:
        """No two tasks ever have the same."""
        return frozenset(self._tasks)

    def task(self, task_id: int) -> Task | None:
        """None: it has ended."""
        return self._tasks.get(task_id)

    def busy_workers(self) -> list[Worker]:
        """Those of all tasks."""
        return [task.worker for task in self._tasks.values() if task.worker is not None]

    def masters_being_made(self) -> set[MasterFeatures]:
        """What workers are about to put into the cache."""
        makers = (task for task in self._tasks.values() if task.worker is not None and not task.is_master_ready)
        return {features_of(task.job) for task in makers if task.called_off_at_s is None}

    def begin(self, job: ReadyJob, lease: Lease, promise: Promise, standing: Standing, now_s: float) -> Task:
        """A claimed job; its worker is taken later."""
        task = Task(
            self._next_task_id,
            job,
            lease,
            promise.device,
            promise.ram_bytes,
            None,
            Pulse(now_s, now_s),
            slot=lowest_free_slot(self._tasks.values()),
            standing=standing,
            promised_vram_bytes=promise.vram_bytes,
            batch=promise.batch,
        )
        self._next_task_id += 1
        self._tasks[task.task_id] = task
        return task

    def put_off(self, shift_s: float) -> None:
        """For so long nobody looked at them."""
        for task in self._tasks.values():
            task.put_off(shift_s)

    def call_off(self, job_id: int, now_s: float) -> None:
        """The job's worker is told, and killed by and by if it does not listen."""
        for task in self._tasks.values():
            if task.job.job_id == job_id and task.called_off_at_s is None:
                task.called_off_at_s = now_s
                if task.report is not None:
                    task.report.called_off.set()
                if task.worker is not None:
                    try:
                        task.worker.send(Cancel(task.task_id))
                    except WorkerGone:
                        log.debug("worker_had_gone", pid=task.worker.pid)

    def release(self, task: Task, now_s: float) -> None:
        """The worker answered: it is free for the next."""
        if task.worker is not None:
            with_model = task.work is not None and task.work.model is not None
            self._pool.put_back(task.worker, now_s, with_model=with_model)
            task.worker = None

    def drop_worker(self, task: Task, end: WorkerEnd) -> tuple[int | None, str]:
        """It is of no further use; its exit status and last words."""
        worker, task.worker = task.worker, None
        return self._pool.drop(worker, end) if worker is not None else (None, "")

    def forget(self, task: Task) -> None:
        """The task is over, whatever its worker does."""
        if task.worker is not None:
            self.drop_worker(task, WorkerEnd.CALLED_OFF)
        self._tasks.pop(task.task_id, None)

    def disband(self) -> None:
        """All tasks are over; their workers are ended, all at once."""
        workers = self.busy_workers()
        self._tasks.clear()
        for worker in workers:
            worker.kill()
        deadline_s = time.monotonic() + CANCEL_GRACE_S
        for worker in workers:
            self._pool.drop(worker, WorkerEnd.STOPPED, timeout_s=max(0.0, deadline_s - time.monotonic()))
