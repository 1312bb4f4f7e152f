"""When workers die over one job after another, the machine is at fault, not the jobs: claiming pauses. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

JOBS_IN_A_ROW: Final = 3
"""So many different jobs, and none completed in between."""
FIRST_PAUSE_S: Final = 30.0
LONGEST_PAUSE_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class Breaker:
    """What the faults so far amount to."""

    jobs: tuple[int, ...] = ()
    """Different jobs that faults ended, since one was completed; newest last."""
    pauses: int = 0
    paused_until_s: float = 0.0
    """Monotonic seconds."""

    def faulted(self, job_id: int, now_s: float) -> Breaker:
        """After another fault; from the third job on each one more pauses claiming, for twice as long as before."""
        jobs = (*(job for job in self.jobs if job != job_id), job_id)
        if len(jobs) < JOBS_IN_A_ROW or job_id in self.jobs:
            return replace(self, jobs=jobs)
        pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self.pauses)
        return Breaker(jobs, self.pauses + 1, now_s + pause_s)

    def is_open(self, now_s: float) -> bool:
        """Whether nothing is to be claimed."""
        return now_s < self.paused_until_s

    def why(self, now_s: float) -> str | None:
        """In one sentence for people; None while jobs are claimed."""
        if not self.is_open(now_s):
            return None
        return f"claiming rests {self.paused_until_s - now_s:.0f} s: workers died over {len(self.jobs)} jobs in a row"


RESTING: Final = Breaker()
"""No faults: also what a completed job leads back to."""
