"""Is a worker still getting on? Pure: what was seen and the time in, a verdict out.

A worker hangs when its *progress units* stand still, whatever else it says: side threads of a wedged process go on
pinging for ever. So only the figures that the working loop reports count. How long a stage may stand still is learnt
from the jobs that were completed; and one that computes all the while may only be slow, so it gets longer.
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from syncd.domain import StagePause

QUANTILE: Final = 0.99
PAUSES_NEEDED: Final = 20
"""With fewer seen the floor alone holds."""
PAUSES_REMEMBERED: Final = 200
"""Of each stage, the newest."""
TIMES_THE_USUAL: Final = 8.0
SLOW_TIMES: Final = 4.0
"""So many times as long may one stand still that computes."""
COMPUTING_SHARE: Final = 0.2
"""Of one core."""
PROBATION_S: Final = 5.0
"""How long a silent worker is looked at to see whether it computes."""
LONG_MEDIA_S: Final = 7_200.0
"""Up to this length a job has the configured time; longer ones have more, in proportion."""


UNWATCHED_S: Final = 2.0
"""Looks are half a second apart; beyond this nobody was there to look."""


def unwatched_s(apart_s: float) -> float:
    """How much of the time between two looks is held against nobody: the service was stopped, or held up itself.

    A worker may have stood still with it, and what it said meanwhile is yet to be heard.
    """
    return max(0.0, apart_s - UNWATCHED_S)


@dataclass(slots=True)
class Lookout:
    """Who looks at workers, and when that was last."""

    looked_at_s: float | None = None

    def missed_s(self, now_s: float) -> float:
        """Look again: how much of the time since the last look is held against nobody."""
        shift_s = 0.0 if self.looked_at_s is None else unwatched_s(now_s - self.looked_at_s)
        self.looked_at_s = now_s
        return shift_s


class Health(StrEnum):
    """What to think of a running task."""

    MOVING = "moving"
    SILENT = "silent"
    """No unit of work was done for longer than the threshold; whether it computes is to be seen."""
    STALLED = "stalled"
    """And it does not compute, or has done so for too long."""
    OVERTIME = "overtime"
    """It moves, and has used up the time a job may take."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """The last change that was seen, and the longest pauses before it."""

    started_at_s: float
    changed_at_s: float
    stage: str = "start"
    """The one that moved last."""
    done: dict[str, int] = field(default_factory=dict)
    """The latest figure of each stage: two may run side by side."""
    longest_s: dict[str, float] = field(default_factory=dict)
    """By the stage that had moved last before the pause."""

    def beat(self, stage: str, done: int, now_s: float) -> Pulse:
        """The pulse after a report of progress; one that repeats the old figures is no beat."""
        if self.done.get(stage) == done:
            return self
        pause_s = max(now_s - self.changed_at_s, self.longest_s.get(self.stage, 0.0))
        longest_s = {**self.longest_s, self.stage: pause_s}
        return Pulse(self.started_at_s, now_s, stage, {**self.done, stage: done}, longest_s)

    def later(self, shift_s: float) -> Pulse:
        """As if all of it had been seen so much later."""
        return replace(self, started_at_s=self.started_at_s + shift_s, changed_at_s=self.changed_at_s + shift_s)

    def pauses(self, duration_s: float) -> tuple[StagePause, ...]:
        """What the ledger learns from a completed job whose longer side lasts so long."""
        return tuple(StagePause(stage, longest_s, duration_s) for stage, longest_s in self.longest_s.items())


class Patience:
    """How long each stage may stand still, by what was seen of it."""

    def __init__(self, seen: Sequence[StagePause]) -> None:
        self._seen: defaultdict[str, deque[StagePause]] = defaultdict(lambda: deque(maxlen=PAUSES_REMEMBERED))
        self.learn(seen)

    def learn(self, seen: Sequence[StagePause]) -> None:
        """Take more in."""
        for pause in seen:
            self._seen[pause.stage].append(pause)

    def stall_s(self, stage: str, duration_s: float | None, floor_s: float) -> float:
        """For a job whose longer side lasts so long: some times the usual longest pause, and never below the floor.

        A stage's pauses grow with the programme at most in proportion.
        """
        known = self._seen[stage]
        if len(known) < PAUSES_NEEDED:
            return floor_s
        scaled = sorted(
            pause.longest_s * max(1.0, (duration_s or 0.0) / pause.duration_s if pause.duration_s > 0.0 else 1.0)
            for pause in known
        )
        return max(floor_s, TIMES_THE_USUAL * scaled[math.ceil(QUANTILE * (len(scaled) - 1))])


@dataclass(frozen=True, slots=True)
class CpuLook:
    """CPU time of a worker at a moment."""

    at_s: float
    cpu_s: float


def is_computing(before: CpuLook, now: CpuLook) -> bool:
    """Whether the worker used a core between two looks."""
    return now.cpu_s - before.cpu_s >= COMPUTING_SHARE * (now.at_s - before.at_s)


def probation_s(stall_s: float) -> float:
    """How far apart the looks are."""
    return min(PROBATION_S, stall_s / 2.0)


def job_limit_s(job_s: float, duration_s: float | None) -> float:
    """How long a job may take: as configured, and more for long media."""
    return job_s * max(1.0, (duration_s or 0.0) / LONG_MEDIA_S)


def examine(pulse: Pulse, now_s: float, *, stall_s: float, job_s: float, computes: bool | None = None) -> Health:
    """The verdict at `now_s` (monotonic seconds); `computes`: None while that is not known."""
    silent_s = now_s - pulse.changed_at_s
    if silent_s > SLOW_TIMES * stall_s:
        return Health.STALLED
    if silent_s > stall_s and not computes:
        return Health.SILENT if computes is None else Health.STALLED
    if now_s - pulse.started_at_s > job_s:
        return Health.OVERTIME
    return Health.MOVING


class Step(StrEnum):
    """What is done to a worker that is to end, in this order."""

    DUMP = "dump"
    """It is told to stop, and where it stands is printed."""
    TERM = "term"
    KILL = "kill"
    GIVE_UP = "give up"
    """Not even SIGKILL ends it (state D): its slot is given up."""


SCHEDULE: Final[Mapping[Step, float]] = {Step.DUMP: 0.0, Step.TERM: 2.0, Step.KILL: 5.0, Step.GIVE_UP: 7.0}
"""Seconds from the decision."""


HASTY_SCHEDULE: Final[Mapping[Step, float]] = {Step.DUMP: 0.0, Step.KILL: 0.5, Step.GIVE_UP: 2.5}
"""For one that others cannot wait for: it takes their memory."""


def steps_due(since_s: float, taken: int, schedule: Mapping[Step, float] = SCHEDULE) -> list[Step]:
    """The steps whose time has come, after so many that were taken."""
    return [step for step, at_s in list(schedule.items())[taken:] if since_s >= at_s]
