"""What is to be seen of the running jobs and their workers at one moment, for metrics."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from syncd.devices.views import DevicesView
from syncd.supervisor.pool import Pool
from syncd.supervisor.task import Task


@dataclass(frozen=True, slots=True)
class SlotSeen:
    """A job's worker at its place."""

    slot: int
    resident_bytes: int
    progress_age_s: float
    """Since it was last seen to have done something."""


@dataclass(frozen=True, slots=True)
class Glance:
    """One look."""

    slots: tuple[SlotSeen, ...]
    idle_workers: int
    idle_resident_bytes: int
    reports_waiting: int
    """Measured or failed, and not out yet."""
    report_lag_s: float
    """How long the oldest of them has been waiting; 0: none is."""
    is_resting: bool
    """Claiming pauses after faults."""
    devices: DevicesView


def glance(tasks: Collection[Task], pool: Pool, devices: DevicesView, now_s: float, *, is_resting: bool) -> Glance:
    """Look now (monotonic seconds)."""
    slots = tuple(
        SlotSeen(task.slot, task.worker.held_bytes(), max(0.0, now_s - task.pulse.changed_at_s))
        for task in tasks
        if task.worker is not None
    )
    idle = pool.idle_workers()
    ordered_s = [task.ordered_at_s for task in tasks if task.ordered_at_s is not None]
    return Glance(
        slots=slots,
        idle_workers=len(idle),
        idle_resident_bytes=sum(worker.held_bytes() for worker in idle),
        reports_waiting=len(ordered_s),
        report_lag_s=max((now_s - at_s for at_s in ordered_s), default=0.0),
        is_resting=is_resting,
        devices=devices,
    )
