"""When attempts at one job after another end badly, the machine is at fault, not the jobs: claiming pauses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from syncd.errors import ErrorCode
from syncd.supervisor.ladder import FAULTS, OF_THE_CARD

SIGNS: Final = (FAULTS - OF_THE_CARD) | {ErrorCode.DISK_FULL, ErrorCode.DISK_FAULT}
"""Ends of an attempt that, over one job after another, speak of the machine; a card is taken out by itself."""
JOBS_IN_A_ROW: Final = 3
"""So many different jobs, and none completed in between."""
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0
STEPS: Final = 10
"""By then the pause is the longest, and powers overflow."""


@dataclass(frozen=True, slots=True)
class Breaker:
    """What the faults so far amount to."""

    jobs: tuple[int, ...] = ()
    """Different jobs that faults ended, since one was completed; newest last."""
    pauses: int = 0
    paused_until_s: float = 0.0
    """Monotonic seconds."""
    reason: str = ""

    def faulted(self, job_id: int, code: ErrorCode, now_s: float) -> Breaker:
        """After another fault; from the third job on each one more pauses claiming, for twice as long as before."""
        jobs = (*(job for job in self.jobs if job != job_id), job_id)
        after = replace(self, jobs=jobs)
        if len(jobs) < JOBS_IN_A_ROW or job_id in self.jobs:
            return after
        return after.tripped(f"{len(jobs)} jobs in a row ended badly, the last with {code.value}", now_s)

    def tripped(self, reason: str, now_s: float) -> Breaker:
        """Claiming pauses for this reason, whatever was before."""
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.pauses, STEPS))
        return Breaker(self.jobs, self.pauses + 1, now_s + pause_s, reason)

    def is_open(self, now_s: float) -> bool:
        """Whether nothing is to be claimed."""
        return now_s < self.paused_until_s

    def why(self, now_s: float) -> str | None:
        """In one sentence for people; None while jobs are claimed."""
        if not self.is_open(now_s):
            return None
        return f"claiming rests {self.paused_until_s - now_s:.0f} s: {self.reason}"


RESTING: Final = Breaker()
"""No faults: also what a completed job leads back to."""
