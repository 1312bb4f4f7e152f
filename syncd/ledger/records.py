"""What the ledger hands out: frozen records, never rows."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from syncd.domain import (
    Failure,
    JobState,
    Lease,
    OrphanReason,
    Priority,
    Progress,
    Verdict,
)
from syncd.errors import ErrorCode


class StaleLease(Exception):
    """The job is no longer the caller's to change; nothing was written."""

    def __init__(self, lease: Lease) -> None:
        super().__init__(f"job {lease.job_id}: attempt {lease.attempt_id} does not hold it any more")
        self.lease = lease


@dataclass(frozen=True, slots=True)
class FoundAgain:
    """A pair that was dealt with under other names: renamed or linked."""

    state: JobState
    report: Path | None
    """Where the report lies, if there is one."""


@dataclass(frozen=True, slots=True)
class Enqueued:
    """What became of a pair."""

    job_id: int
    created: bool
    """False: a job for these very versions is there already."""
    superseded: tuple[int, ...] = ()
    """Jobs that were queued and whose place this one took."""
    superseded_running: tuple[int, ...] = ()
    """Jobs that were running; their workers have nothing left to do."""
    found_again: FoundAgain | None = None
    """Set once for each place in which what this job is about is met, without being moved there."""
    is_spoken_for: bool = False
    """Whether the job lies in another place, and has not ended: it may still end for want of its files there."""


@dataclass(frozen=True, slots=True)
class Job:
    """What people want to see of a job."""

    job_id: int
    state: JobState
    title: str
    """Readable; bytes that are not UTF-8 are written out."""
    language: str | None
    master_path: Path
    dub_path: Path
    master_track: int | None
    dub_track: int | None
    profile: str
    priority: Priority
    origin: str
    enqueued_at: datetime
    not_before: datetime | None
    started_at: datetime | None
    """Of the latest attempt."""
    finished_at: datetime | None
    attempts: int
    interruptions: int
    device: str | None
    progress: Progress | None
    eta_s: float | None
    verdict: Verdict | None
    review: bool | None
    offset_s: float | None
    """Negative: the dub is late. None: not measured, or no offset holds."""
    confidence: float | None
    failure: Failure | None
    """Why it failed, or why it was put back."""
    sidecar_path: Path | None
    superseded_by: int | None


@dataclass(frozen=True, slots=True)
class Reported:
    """What a list of reports says of an ended job: few of its columns, since a folder has many."""

    title: str
    language: str | None
    dub_name: str
    state: JobState
    verdict: Verdict | None
    review: bool | None
    offset_s: float | None
    finished_at: datetime | None
    sidecar_path: Path


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs; every condition given must hold, an empty one asks nothing."""

    states: frozenset[JobState] = frozenset()
    verdicts: frozenset[Verdict] = frozenset()
    review: bool | None = None
    title: str | None = None
    """Part of the title, in any case."""
    language: str | None = None
    since: datetime | None = None
    """Enqueued then or later."""
    master: Path | None = None
    priority: Priority | None = None
    profile: str | None = None
    code: ErrorCode | None = None
    """What it failed with."""


@dataclass(frozen=True, slots=True)
class PageKey:
    """Where the next page begins; jobs that come or go meanwhile neither repeat nor hide one."""

    before_job_id: int


@dataclass(frozen=True, slots=True)
class JobPage:
    """Some jobs, newest first."""

    jobs: tuple[Job, ...]
    next: PageKey | None
    """None: this was the last page."""


class AttemptOutcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    """With an answer."""
    FAILED = "failed"
    """And the job with it."""
    QUARANTINED = "quarantined"
    """And the job with it: it brought workers down."""
    RETRIED = "retried"
    """The job waits for the next attempt."""
    HANDED_BACK = "handed_back"
    """The daemon stopped in good order; not counted."""
    INTERRUPTED = "interrupted"
    """The daemon died, or had to drop it; counted apart."""
    CANCELED = "canceled"
    """Somebody called the job off."""
    SUPERSEDED = "superseded"
    """A newer version took the job's place."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One claim of a job."""

    attempt_id: int
    job_id: int
    number: int
    device: str
    predicted_ram_bytes: int
    peak_ram_bytes: int | None
    started_at: datetime
    finished_at: datetime | None
    outcome: AttemptOutcome | None
    """None: it is running."""
    reason: str | None
    failure: Failure | None
    rung: int
    """0 to 3: how much it did without (`supervisor.ladder.Rung`)."""
    stage: str | None
    """Where it stood when it was ended, if it was."""
    stack: str | None
    """What every thread of its worker was doing then."""
    predicted_vram_bytes: int = 0
    """Promised to it on the device's card; 0: it used none."""
    peak_vram_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a job's history."""

    event_id: int
    job_id: int | None
    attempt_id: int | None
    at: datetime
    verb: str
    state_before: JobState | None
    state_after: JobState | None
    details: dict[str, object]


@dataclass(frozen=True, slots=True)
class OrphanRecord:
    """A file that waits for its partner."""

    path: Path
    reason: OrphanReason
    message: str
    size_bytes: int
    since: datetime


@dataclass(frozen=True, slots=True)
class Depth:
    """The jobs that have not ended."""

    queued: int
    running: int
    oldest_queued_at: datetime | None
    """When it was enqueued; None: none waits."""
    oldest_running_at: datetime | None
    """When it was started."""


class RequestKind(StrEnum):
    """What syncctl asks of the daemon."""

    SUBMIT = "submit"
    """Enqueue a named pair."""
    RETRY = "retry"
    """Make a new job for a final one."""
    CANCEL = "cancel"
    """Call a job off."""
    PRIORITY = "priority"
    """Rank a job anew."""
    PAUSE = "pause"
    """Admit nothing more for now."""
    RESUME = "resume"
    """Admit again."""
    PRUNE = "prune"
    """Remove ended jobs; the answer comes when all are gone."""


@dataclass(frozen=True, slots=True)
class Request:
    """Something asked of the daemon, and its answer."""

    request_id: int
    kind: RequestKind
    payload: dict[str, object]
    created_at: datetime
    finished_at: datetime | None
    """None: not carried out yet."""
    outcome: dict[str, object] | None
    error: Failure | None


def path_to_json(path: Path) -> dict[str, str]:
    """The path for a payload: ``{"path": …}``, or ``{"path_base64": …}`` where its bytes are not UTF-8."""
    raw = os.fsencode(path)
    try:
        return {"path": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"path_base64": base64.b64encode(raw).decode("ascii")}


def path_from_json(value: object) -> Path:
    """The inverse of `path_to_json`; raises `ValueError` on anything else."""
    match value:
        case {"path": str(text)}:
            return Path(os.fsdecode(text.encode("utf-8")))
        case {"path_base64": str(text)}:
            return Path(os.fsdecode(base64.b64decode(text, validate=True)))
        case _:
            raise ValueError("not a path: expected path or path_base64")
