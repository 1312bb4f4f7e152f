"""What the main loop hands to whoever asks: plain values of one moment, changed by nobody afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from syncd.domain import JobState
from syncd.intake import Counted, FolderCounts
from syncd.supervisor.counted import JobsCounted, WorkersCounted
from syncd.supervisor.glance import Glance
from syncd.tally import Spread


@dataclass(frozen=True, slots=True)
class LedgerSeen:
    """What the ledger says, as of when it was asked last."""

    jobs: Mapping[JobState, int]
    """By state; those of `queued` and `running` are asked for more often than the others."""
    oldest_queued_s: float
    """0: none waits."""
    oldest_running_s: float
    orphans: int
    is_paused: bool
    file_bytes: int
    log_bytes: int
    """Of the write-ahead log."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it."""

    ledger: LedgerSeen
    jobs: JobsCounted
    workers: WorkersCounted
    now: Glance
    intake: Counted
    intake_backlog: int
    folders: FolderCounts
    handed: Mapping[str, int]
    """What came of hand-over, by `Handed`."""
    turns: Spread
    """Of the main loop, in seconds."""
