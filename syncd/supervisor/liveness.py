"""Is a worker still getting on? Pure: what was seen and the time in, a verdict out.

A worker hangs when its *progress units* stand still, whatever else it says: side threads of a wedged process go on
pinging for ever. So only the figures that the working loop reports count.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Health(StrEnum):
    """What to think of a running task."""

    MOVING = "moving"
    STALLED = "stalled"
    """No unit of work was done for longer than the threshold."""
    OVERTIME = "overtime"
    """It moves, and has used up the time a job may take."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The last change that was seen."""

    started_at_s: float
    changed_at_s: float
    stage: str = "start"
    """The one that moved last."""
    done: dict[str, int] = field(default_factory=dict)
    """The latest figure of each stage: two may run side by side."""

    def beat(self, stage: str, done: int, now_s: float) -> Pulse:
        """The pulse after a report of progress; one that repeats the old figures is no beat."""
        if self.done.get(stage) == done:
            return self
        return Pulse(self.started_at_s, now_s, stage, {**self.done, stage: done})


def examine(pulse: Pulse, now_s: float, *, stall_s: float, job_s: float) -> Health:
    """The verdict at `now_s` (monotonic seconds)."""
    if now_s - pulse.changed_at_s > stall_s:
        return Health.STALLED
    if now_s - pulse.started_at_s > job_s:
        return Health.OVERTIME
    return Health.MOVING
