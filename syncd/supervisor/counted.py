"""What became of jobs and workers since the start, as the dispatcher and the pool count it where it happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from syncd.domain import Failure, Result
from syncd.errors import ErrorCode
from syncd.tally import JOB_S, STAGE_S, Spread

STAGES_KEPT: Final = 32
"""Stages are named by workers; more than so many are counted together."""
OTHER_STAGE: Final = "other"
_REMEMBERED: Final = 1000


class WorkerEnd(StrEnum):
    """Why a worker is no more."""

    CRASHED = "crashed"
    """By itself, in the middle of a job."""
    STALLED = "stalled"
    """It stood still."""
    OVERTIME = "overtime"
    """Its job took too long."""
    OUTGROWN = "outgrown"
    """It held more memory than it was promised."""
    CALLED_OFF = "called_off"
    """Its job was, and it did not listen."""
    BROKE = "broke"
    """What it said could not be carried on with."""
    GROWN = "grown"
    """Between two jobs: it held much more than after its first."""
    DIED_IDLE = "died_idle"
    IDLE = "idle"
    """It had nothing to do for a while."""
    MADE_ROOM = "made_room"
    """For another job's model."""
    STOPPED = "stopped"
    """With the daemon."""


END_OF: Final[Mapping[ErrorCode, WorkerEnd]] = {
    ErrorCode.WORKER_STALLED: WorkerEnd.STALLED,
    ErrorCode.TIME_LIMIT: WorkerEnd.OVERTIME,
    ErrorCode.OUT_OF_MEMORY: WorkerEnd.OUTGROWN,
}
"""By the failure for which the overseer ends it."""


@dataclass(slots=True)
class WorkersCounted:
    """By the pool."""

    started: int = 0
    ended: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class JobsCounted:
    """By the dispatcher."""

    admitted: Counter[str] = field(default_factory=Counter)
    """By kind of device."""
    refused: Counter[str] = field(default_factory=Counter)
    """By obstacle: each job once for every obstacle that it meets anew."""
    attempts: int = 0
    retries: Counter[str] = field(default_factory=Counter)
    stalls: Counter[str] = field(default_factory=Counter)
    """By stage."""
    results: Counter[str] = field(default_factory=Counter)
    """By verdict."""
    reviews: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    quarantines: int = 0
    stage_s: dict[str, Spread] = field(default_factory=dict)
    job_s: Spread = field(default_factory=lambda: Spread(JOB_S))
    """The attempt that completed it, as its report says."""
    latency_s: Spread = field(default_factory=lambda: Spread(JOB_S))
    """From enqueue to report, completed or failed."""
    _obstacles: dict[int, str] = field(default_factory=dict)
    """What waiting jobs met last."""

    def admit(self, job_id: int, kind: str) -> None:
        """A worker has it."""
        self.admitted[kind] += 1
        self._obstacles.pop(job_id, None)

    def refuse(self, job_id: int, obstacle: str) -> None:
        """It was looked at, and not let in."""
        if self._obstacles.get(job_id) == obstacle:
            return
        if len(self._obstacles) >= _REMEMBERED:
            self._obstacles.clear()
        self._obstacles[job_id] = obstacle
        self.refused[obstacle] += 1

    def stall(self, stage: str) -> None:
        """A worker stood still in it."""
        self.stalls[self._stage(stage, self.stalls)] += 1

    def complete(self, result: Result, job_s: float, latency_s: float) -> None:
        """Its report is out."""
        self.results[result.verdict.value] += 1
        self.reviews += result.review
        self.job_s.add(job_s)
        self.latency_s.add(latency_s)
        for stage, stage_s in result.stage_seconds.items():
            self.stage_s.setdefault(self._stage(stage, self.stage_s), Spread(STAGE_S)).add(stage_s)

    def fail(self, failure: Failure, latency_s: float, *, quarantine: bool) -> None:
        """For good."""
        self.failures[failure.code] += 1
        self.quarantines += quarantine
        self.latency_s.add(latency_s)

    @staticmethod
    def _stage(name: str, known: Mapping[str, object]) -> str:
        return name if name in known or len(known) < STAGES_KEPT else OTHER_STAGE
