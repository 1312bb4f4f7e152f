"""The daemon's ledger: one verb a transition, one transaction a verb, one event a transition.

Used from one thread, the daemon's main loop. What cannot be undone or must not be forgotten (a claim, a finish) is on
the disk when the verb returns; the rest is in the write-ahead log and survives the daemon, but perhaps not the power:
a pair that was enqueued just then is found again by the next rescan.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Final

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError

from syncd.clock import utc_now
from syncd.domain import (
    NO_TRACE,
    AnalysisSettings,
    Failure,
    Identity,
    JobState,
    Lease,
    MediaInfo,
    MemoryObservation,
    MethodResult,
    Orphan,
    Pair,
    PastReport,
    Priority,
    Progress,
    ReadyJob,
    StagePause,
    Trace,
)
from syncd.errors import SyncdError
from syncd.ledger import queue, transitions
from syncd.ledger.columns import readable_path
from syncd.ledger.enqueue import Acquaintance, Order, acquaintance, enqueue, is_unheard_of, rank
from syncd.ledger.file import LedgerFile
from syncd.ledger.handover import HandoverBook
from syncd.ledger.keep import (
    keep_media_info,
    keep_method,
    keep_observation,
    keep_orphan,
    keep_pauses,
    keep_progress,
    keep_report,
    keep_service_value,
)
from syncd.ledger.models import PAUSED, events, jobs, orphans, stage_pauses
from syncd.ledger.past import record_past
from syncd.ledger.prune import Pruner
from syncd.ledger.records import Attempt, AttemptOutcome, Depth, Enqueued
from syncd.ledger.requests import RequestTray
from syncd.ledger.retry import retry_as_new
from syncd.ledger.rows import (
    count_by_state,
    select_attempts,
    select_observations,
    to_attempt,
    to_observation,
)

_PAST: Final = "sidecar"
"""Where a job came from that was recorded from its report."""
ASKED_AT_ONCE: Final = 500
"""Jobs, in one question to SQLite."""


class Ledger:
    """The one writer of jobs.

    `handover`: what hand-over keeps. `pruning`: how ended jobs go. `requests`: what syncctl asks.
    `set_aside`: the ledger whose place this one took.
    """

    def __init__(self, file: LedgerFile) -> None:
        self._file = file
        self._paused = file.left.is_paused
        self.set_aside = file.set_aside
        self.handover = HandoverBook(file)
        self.pruning = Pruner(file, file.left.last_trace)
        self.requests = RequestTray(file)

    @classmethod
    def open(cls, path: Path, *, sets_aside: bool = False, is_called_off: Callable[[], bool] = lambda: False) -> Ledger:
        """Take the ledger, making or migrating it first; what an earlier daemon left running is handed back.

        One that was not closed in good order is checked. `sets_aside`: a damaged one is renamed, and a fresh one begun
        (`Ledger.set_aside` says so). Raises `SyncdError` LEDGER_IN_USE, LEDGER_NEWER, LEDGER_DAMAGED (also then, where
        the file is another program's), PERMISSION_DENIED, DISK_FULL; `CheckCalledOff` as `is_called_off` says.
        """
        return cls(LedgerFile.open(path, sets_aside=sets_aside, is_called_off=is_called_off))

    @classmethod
    def begin_anew(cls, path: Path) -> Ledger:
        """An empty ledger; the one that was there, whole or damaged, is set aside (`Ledger.set_aside`).

        Raises `SyncdError` LEDGER_IN_USE, LEDGER_DAMAGED (another program's file), PERMISSION_DENIED, DISK_FULL.
        """
        return cls(LedgerFile.begin_anew(path))

    def close(self) -> None:
        """Let go of file and lock, in good order; whatever runs is handed back at the next `open`.

        A second call does nothing.
        """
        self._file.close()

    def mind(self, error: SyncdError) -> None:
        """What a reader beside this ledger met: after damage the next `open` checks the whole of it."""
        self._file.mind(error)

    # --- enqueue -----------------------------------------------------------------------------------------------------

    def enqueue(
        self,
        pair: Pair,
        *,
        profile: str,
        settings: AnalysisSettings,
        priority: Priority,
        force: bool = False,
        origin: str = "watch",
        deserted_job_id: int | None = None,
    ) -> Enqueued:
        """-> queued, unless a job for these very versions is live or has ended (`force`: or is live).

        Versions are compared by content, so a renamed or linked pair is the same; a job that failed because a file was
        gone or changing does not count. Other versions in the same place are superseded. A queued job for these
        versions is taken along to this place if it is `deserted_job_id` (see `acquaintance`).
        """
        order = Order(pair, profile, settings, priority, origin)
        with self._file.writing() as connection:
            return enqueue(connection, order, utc_now(), force=force, deserted_job_id=deserted_job_id)

    def acquaintance(self, pair: Pair, *, profile: str, settings: AnalysisSettings) -> Acquaintance:
        """What a disk has to be asked before the pair is enqueued, or recorded."""
        with self._file.reading() as connection:
            return acquaintance(connection, Order(pair, profile, settings, Priority.NORMAL, _PAST))

    def is_unheard_of(self, pair: Pair, *, profile: str, settings: AnalysisSettings) -> bool:
        """Whether no job, however it ended, is about these versions or lies in their place."""
        with self._file.reading() as connection:
            return is_unheard_of(connection, Order(pair, profile, settings, Priority.NORMAL, _PAST))

    def record_past(
        self, pair: Pair, past: PastReport, *, profile: str, settings: AnalysisSettings, priority: Priority
    ) -> int | None:
        """-> completed, failed or quarantined, as its report says, for a pair that `is_unheard_of`: the job's id.

        None, and nothing written: what the report says is against the ledger's rules.
        """
        order = Order(pair, profile, settings, priority, _PAST)
        try:
            with self._file.writing() as connection:
                return record_past(connection, order, past, utc_now())
        except IntegrityError:
            return None

    def record_orphan(self, orphan: Orphan) -> bool:
        """True when it is new, or says something new."""
        with self._file.writing() as connection:
            return keep_orphan(connection, orphan, utc_now())

    def orphan_paths(self) -> list[Path]:
        """Every file that is listed as an orphan."""
        with self._file.reading() as connection:
            return list(connection.scalars(select(orphans.c.path)))

    def forget_orphans(self, paths: Iterable[Path]) -> None:
        """They have partners now, or are gone."""
        with self._file.writing() as connection:
            for path in paths:
                connection.execute(delete(orphans).where(orphans.c.path == path))

    def queued_count(self) -> int:
        """How many jobs wait."""
        with self._file.reading() as connection:
            return queue.queued_count(connection)

    # --- admit and measure -------------------------------------------------------------------------------------------

    def ready(self, limit: int, silent: Iterable[Path] = ()) -> list[ReadyJob]:
        """What may be claimed now, in its order: by time of arrival and priority; nothing below `silent` folders."""
        with self._file.reading() as connection:
            return queue.ready(connection, utc_now(), limit, silent)

    def attempts(self, job_id: int) -> list[Attempt]:
        """What was tried, oldest first."""
        with self._file.reading() as connection:
            return [to_attempt(row) for row in connection.execute(select_attempts(job_id))]

    def claim(
        self, job_id: int, *, device: str, predicted_ram_bytes: int, predicted_vram_bytes: int = 0, rung: int = 0
    ) -> Lease | None:
        """queued -> running. The attempt counts from here on; None: the job is not queued any more."""
        with self._file.writing_durably() as connection:
            return transitions.take(
                connection,
                job_id,
                utc_now(),
                device=device,
                predicted_ram_bytes=predicted_ram_bytes,
                predicted_vram_bytes=predicted_vram_bytes,
                rung=rung,
            )

    def record_media_info(self, path: Path, identity: Identity, info: MediaInfo) -> None:
        """What a probe saw in this version of the file."""
        with self._file.writing() as connection:
            keep_media_info(connection, path, identity, info)

    def record_progress(self, lease: Lease, progress: Progress, *, eta_s: float | None = None) -> bool:
        """How far it is; False, and nothing written: the lease holds no more."""
        with self._file.writing() as connection:
            return keep_progress(connection, lease, progress, eta_s, utc_now())

    def record_method(self, lease: Lease, result: MethodResult) -> bool:
        """A partial result; False, and nothing written: the lease holds no more. Raises `ValueError` on NaN."""
        with self._file.writing() as connection:
            return keep_method(connection, lease, result, utc_now())

    def record_observation(self, observation: MemoryObservation) -> None:
        """What a task outside an attempt (a probe) took."""
        with self._file.writing() as connection:
            keep_observation(connection, observation, utc_now())

    # --- the ends of an attempt --------------------------------------------------------------------------------------

    def hand_back(self, lease: Lease, reason: str, *, interrupted: bool) -> None:
        """running -> queued, not counted as an attempt (`interrupted`: as an interruption). Raises `StaleLease`."""
        with self._file.writing() as connection:
            transitions.end(
                connection,
                lease,
                utc_now(),
                verb="handed_back",
                after=JobState.QUEUED,
                outcome=AttemptOutcome.INTERRUPTED if interrupted else AttemptOutcome.HANDED_BACK,
                job=transitions.uncounted(interrupted=interrupted),
                attempt={"reason": reason},
                details={"reason": reason, "interrupted": interrupted},
            )

    def retry_later(self, lease: Lease, failure: Failure, *, not_before: datetime, trace: Trace = NO_TRACE) -> None:
        """running -> queued, to be tried again from `not_before` on (`queue.FURTHEST` ahead). Raises `StaleLease`."""
        error = transitions.failure_values(failure)
        with self._file.writing() as connection:
            transitions.end(
                connection,
                lease,
                utc_now(),
                verb="retried",
                after=JobState.QUEUED,
                outcome=AttemptOutcome.RETRIED,
                job={"not_before": not_before, **error},
                attempt={**error, **asdict(trace)},
                details=transitions.failure_details(failure),
            )

    def complete(
        self,
        lease: Lease,
        *,
        report_json: str,
        sidecar_path: Path | None,
        verdict: str,
        review: bool,
        offset_s: float | None,
        confidence: float,
        observation: MemoryObservation | None,
        pauses: Sequence[StagePause] = (),
    ) -> None:
        """running -> completed, after the sidecar is written. Raises `StaleLease`."""
        now = utc_now()
        values = {
            "verdict": str(verdict),
            "review": int(review),
            "offset_s": offset_s,
            "confidence": confidence,
            **transitions.NO_FAILURE,
            **_finish_values(sidecar_path, now),
        }
        with self._file.writing_durably() as connection:
            transitions.end(
                connection,
                lease,
                now,
                verb="completed",
                after=JobState.COMPLETED,
                outcome=AttemptOutcome.COMPLETED,
                job=values,
                attempt={} if observation is None else _peaks(observation),
                details={"verdict": str(verdict)},
            )
            keep_report(connection, lease.job_id, report_json, now)
            if observation is not None:
                keep_observation(connection, observation, now)
            keep_pauses(connection, pauses, now)

    def fail(
        self,
        lease: Lease,
        failure: Failure,
        *,
        report_json: str | None,
        sidecar_path: Path | None,
        quarantine: bool = False,
        trace: Trace = NO_TRACE,
    ) -> None:
        """running -> failed, or running -> quarantined. Raises `StaleLease`."""
        after = JobState.QUARANTINED if quarantine else JobState.FAILED
        now = utc_now()
        error = transitions.failure_values(failure)
        with self._file.writing_durably() as connection:
            transitions.end(
                connection,
                lease,
                now,
                verb=after.value,
                after=after,
                outcome=AttemptOutcome.QUARANTINED if quarantine else AttemptOutcome.FAILED,
                job={**error, **_finish_values(sidecar_path, now)},
                attempt={**error, **asdict(trace)},
                details=transitions.failure_details(failure),
            )
            if report_json is not None:
                keep_report(connection, lease.job_id, report_json, now)

    # --- what people ask for -----------------------------------------------------------------------------------------

    def state(self, job_id: int) -> JobState | None:
        """Where the job stands; None if there is no such job."""
        with self._file.reading() as connection:
            return transitions.state_of(connection, job_id)

    def live_among(self, job_ids: Iterable[int]) -> set[int]:
        """Those that have not ended."""
        asked, live = list(job_ids), set[int]()
        with self._file.reading() as connection:
            for first in range(0, len(asked), ASKED_AT_ONCE):
                some = jobs.c.id.in_(asked[first : first + ASKED_AT_ONCE])
                live.update(connection.scalars(select(jobs.c.id).where(some, jobs.c.state.in_(transitions.LIVE))))
        return live

    def cancel(self, job_id: int) -> JobState | None:
        """queued -> canceled, running -> canceled; returns the state before, None if there is no such job.

        A running job's lease ends here; the caller ends its worker.
        """
        with self._file.writing_durably() as connection:
            return transitions.drop_live(connection, job_id, JobState.CANCELED, AttemptOutcome.CANCELED, utc_now())

    def set_priority(self, job_id: int, priority: Priority) -> bool:
        """Rank it anew, by the time when it was enqueued; False: there is no such job, or it has ended."""
        with self._file.writing() as connection:
            return rank(connection, job_id, priority, utc_now())

    def retry_as_new(self, job_id: int, *, force: bool = True) -> int:
        """-> queued: a new job for a final one, of the files as last seen; returns the new job's id.

        If the pair has a live job already, that one's id. Raises `SyncdError` NOT_FOUND, or USAGE when the job has not
        ended, or is completed and not forced.
        """
        with self._file.writing() as connection:
            return retry_as_new(connection, job_id, utc_now(), force=force)

    # --- the service -------------------------------------------------------------------------------------------------

    def set_paused(self, paused: bool) -> None:
        """Whether jobs are admitted; kept over restarts."""
        with self._file.writing() as connection:
            keep_service_value(connection, PAUSED, str(int(paused)), utc_now())
            transitions.append_event(connection, "paused" if paused else "resumed", utc_now())
        self._paused = paused

    def is_paused(self) -> bool:
        """Whether somebody paused the service."""
        return self._paused

    def set_service(self, key: str, value: str) -> None:
        """What the daemon says of itself (process, version, …) to whoever reads the ledger."""
        with self._file.writing() as connection:
            keep_service_value(connection, key, value, utc_now())

    # --- what is learnt, and what there is ---------------------------------------------------------------------------

    def observations(self, limit: int = 200) -> list[MemoryObservation]:
        """The newest, newest first."""
        with self._file.reading() as connection:
            return [to_observation(row) for row in connection.execute(select_observations().limit(limit))]

    def stage_pauses(self) -> list[StagePause]:
        """All that are kept, oldest first."""
        with self._file.reading() as connection:
            rows = connection.execute(select(stage_pauses).order_by(stage_pauses.c.id))
            return [StagePause(row.stage, row.longest_s, row.duration_s) for row in rows]

    def counts(self) -> dict[JobState, int]:
        """How many jobs stand where; every state is there."""
        with self._file.reading() as connection:
            return count_by_state(connection)

    def depth(self) -> Depth:
        """The jobs that have not ended; however many have, it takes only as long as counting those that wait."""
        with self._file.reading() as connection:
            return queue.depth(connection)

    def orphan_count(self) -> int:
        """How many files wait for a partner."""
        with self._file.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(orphans)).scalar_one())

    def last_event_id(self) -> int:
        """Of all that has happened so far; another one whenever something has."""
        with self._file.reading() as connection:
            return int(connection.execute(select(func.max(events.c.id))).scalar() or 0)

    # --- the file ----------------------------------------------------------------------------------------------------

    def file_bytes(self) -> int:
        """How long the ledger's file is now."""
        return self._file.size_bytes()

    def log_bytes(self) -> int:
        """How long the write-ahead log is now."""
        return self._file.log_bytes()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, if no reader is in the way; for idle moments."""
        self._file.checkpoint()


def _finish_values(sidecar_path: Path | None, now: datetime) -> transitions.Values:
    text = None if sidecar_path is None else readable_path(sidecar_path)
    return {"finished_at": now, "sidecar_path": sidecar_path, "sidecar_path_text": text, "eta_s": None}


def _peaks(observation: MemoryObservation) -> dict[str, int]:
    ram = {"peak_ram_bytes": observation.peak_ram_bytes}
    return ram if observation.model is None else {**ram, "peak_vram_bytes": observation.peak_vram_bytes}
