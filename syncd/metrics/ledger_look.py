"""What the ledger knows and metrics say: asked at a pace, and counted beside the main loop where that takes long."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

from syncd.clock import utc_now
from syncd.domain import JobState
from syncd.errand import Errand
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Depth
from syncd.metrics.snapshot import LedgerSeen

ASK_INTERVAL_S: Final = 4.0
"""How often the ledger is asked, at the most."""
REST: Final = 200.0
"""So many times what an answer took nothing is asked again: half a percent of the time at most."""
LOOK_S: Final = 0.05
"""How long the main loop waits for all jobs to be counted: a million take some 0.2 s, and it goes on without."""


class Pace:
    """When something that takes its time is due again."""

    def __init__(self) -> None:
        self._due_at_s = float("-inf")

    def is_due(self, now_s: float) -> bool:
        """Monotonic seconds."""
        return now_s >= self._due_at_s

    def took(self, seconds: float, ended_at_s: float) -> None:
        """It was done."""
        self._due_at_s = ended_at_s + max(ASK_INTERVAL_S, REST * seconds)


class LedgerLook:
    """What it said last, asked anew when that is due."""

    def __init__(self, ledger: Ledger, path: Path) -> None:
        self._ledger = ledger
        self._path = path
        self._depth_pace, self._count_pace = Pace(), Pace()
        self._depth = Depth(0, 0, None, None)
        self._orphans = 0
        self._jobs: Mapping[JobState, int] = {}
        self._counting: Errand[tuple[Mapping[JobState, int], float]] | None = None

    def look(self, now_s: float) -> LedgerSeen:
        """Monotonic seconds. Raises `SyncdError`."""
        self._count(now_s)
        if self._depth_pace.is_due(now_s):
            began_s = time.monotonic()
            self._depth, self._orphans = self._ledger.depth(), self._ledger.orphan_count()
            self._depth_pace.took(time.monotonic() - began_s, now_s)
        depth, now = self._depth, utc_now()
        return LedgerSeen(
            jobs={**self._jobs, JobState.QUEUED: depth.queued, JobState.RUNNING: depth.running},
            oldest_queued_s=_age_s(depth.oldest_queued_at, now),
            oldest_running_s=_age_s(depth.oldest_running_at, now),
            orphans=self._orphans,
            is_paused=self._ledger.is_paused(),
            file_bytes=self._ledger.file_bytes(),
            log_bytes=self._ledger.log_bytes(),
        )

    def _count(self, now_s: float) -> None:
        if self._counting is None and self._count_pace.is_due(now_s):
            self._counting = Errand(partial(count_jobs, self._path), lambda: None)
        if self._counting is not None and self._counting.wait(LOOK_S):
            counting, self._counting = self._counting, None
            self._count_pace.took(0.0, now_s)
            self._jobs, seconds = counting.answer()
            self._count_pace.took(seconds, now_s)


def count_jobs(path: Path) -> tuple[Mapping[JobState, int], float]:
    """All jobs by state, and the seconds that it took; raises `SyncdError`."""
    began_s = time.monotonic()
    reader = LedgerReader.open(path)
    try:
        return reader.counts(), time.monotonic() - began_s
    finally:
        reader.close()


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())
