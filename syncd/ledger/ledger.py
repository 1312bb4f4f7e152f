"""The daemon's ledger: one verb a transition, one transaction a verb, one event a transition.

Used from one thread, the daemon's main loop. What cannot be undone or must not be forgotten (a claim, a finish) is on
the disk when the verb returns; the rest is in the write-ahead log and survives the daemon, but perhaps not the power:
a pair that was enqueued just then is found again by the next rescan.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Engine, bindparam, delete, func, literal, or_, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError

from syncd.clock import monotonic_s, utc_now
from syncd.domain import (
    NO_TRACE,
    AnalysisSettings,
    Failure,
    FileStamp,
    Identity,
    JobState,
    Lease,
    MediaFile,
    MediaInfo,
    MemoryObservation,
    MethodResult,
    Moving,
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
from syncd.ledger import handover, prune, transitions
from syncd.ledger.care import BEFORE_REBUILD, MARK, Mark, SetAside, check, is_damage, refuse_foreign, set_aside
from syncd.ledger.columns import Moment, readable, readable_path, to_json
from syncd.ledger.engine import (
    BUSY_TIMEOUT_S,
    durable,
    explain,
    explain_os,
    reading_engine,
    transaction,
    writing_engine,
)
from syncd.ledger.enqueue import Acquaintance, Order, acquaintance, enqueue, is_unheard_of, rank_at
from syncd.ledger.keep import keep_method, keep_observation, keep_orphan, keep_pauses, keep_report, keep_service_value
from syncd.ledger.lock import LedgerLock
from syncd.ledger.models import events, jobs, media, orphans, requests, service, stage_pauses
from syncd.ledger.past import record_past
from syncd.ledger.prune import Candidate, PruneRule, Pruning, believed_now, last_trace, may_go
from syncd.ledger.records import Attempt, AttemptOutcome, Depth, Enqueued, Request
from syncd.ledger.retry import retry_as_new
from syncd.ledger.rows import (
    count_by_state,
    select_attempts,
    select_files,
    select_observations,
    select_ready,
    select_requests,
    to_attempt,
    to_file,
    to_observation,
    to_ready_job,
    to_request,
)
from syncd.ledger.schema import bring_up_to_date, unreadable

_PAUSED: Final = "paused"
_HANDED_OVER: Final = "handed_over"
"""The event up to which every ended job was handed over."""
_MOVING: Final = "moving"
"""The files that are on their way to another folder."""
_PAST: Final = "sidecar"
"""Where a job came from that was recorded from its report."""

PRUNED_AT_ONCE: Final = 100
FURTHEST: Final = timedelta(minutes=10)
"""No attempt is put off for longer: what says so was written before the clock was set back, and waits for nothing."""

# Asked many times a second: built once. The state is written out, for only then is the partial index taken.
_IS_QUEUED: Final = jobs.c.state == literal(JobState.QUEUED.value, literal_execute=True)
_READY: Final = (
    select_ready()
    .where(
        _IS_QUEUED,
        or_(
            jobs.c.not_before.is_(None),
            jobs.c.not_before <= bindparam("now", type_=Moment),
            jobs.c.not_before > bindparam("furthest", type_=Moment),
        ),
    )
    .order_by(jobs.c.rank_at, jobs.c.id)
    .limit(bindparam("count"))
)
_PENDING: Final = select_requests().where(requests.c.finished_at.is_(None))
_QUEUED_COUNT: Final = select(func.count()).select_from(jobs).where(_IS_QUEUED)
# Numbers are given in the order of arrival. The index is named, for SQLite would sort the whole queue by another one.
_OLDEST_QUEUED: Final = (
    select(jobs.c.enqueued_at)
    .with_hint(jobs, "INDEXED BY ix_jobs_listing", "sqlite")
    .where(jobs.c.state == JobState.QUEUED.value)
    .order_by(jobs.c.id)
    .limit(1)
)
_RUNNING: Final = select(func.count(), func.min(jobs.c.started_at)).where(jobs.c.state == JobState.RUNNING.value)


class Ledger:
    """The one writer of jobs."""

    def __init__(self, path: Path, lock: LedgerLock) -> None:
        self._path = path
        self._lock = lock
        self._engine = writing_engine(path)
        self._durable_engine = durable(self._engine)
        self._reading_engine = reading_engine(path)
        self._paused = False
        self._mark = Mark.CLOSED
        self._is_closed = False
        self._opened_at_s = monotonic_s()
        self._last_trace = utc_now()
        """From before it was opened."""
        self.set_aside: SetAside | None = None
        """The ledger whose place this one took."""

    @classmethod
    def open(cls, path: Path, *, sets_aside: bool = False) -> Ledger:
        """Take the ledger, making or migrating it first; what an earlier daemon left running is handed back.

        One that was not closed in good order is checked. `sets_aside`: a damaged one is renamed, and a fresh one begun
        (`Ledger.set_aside` says so). Raises `SyncdError` LEDGER_IN_USE, LEDGER_NEWER, LEDGER_DAMAGED (also then, where
        the file is another program's), PERMISSION_DENIED, DISK_FULL.
        """
        lock = _take_lock(path)
        try:
            return cls._open_locked(path, lock, sets_aside=sets_aside)
        except BaseException:
            lock.release()
            raise

    @classmethod
    def begin_anew(cls, path: Path) -> Ledger:
        """An empty ledger; the one that was there, whole or damaged, is set aside (`Ledger.set_aside`).

        Raises `SyncdError` LEDGER_IN_USE, LEDGER_DAMAGED (another program's file), PERMISSION_DENIED, DISK_FULL.
        """
        lock = _take_lock(path)
        try:
            refuse_foreign(path)
            kept = set_aside(path, BEFORE_REBUILD)
            ledger = cls._open_as_it_is(path, lock)
        except BaseException:
            lock.release()
            raise
        ledger.set_aside = None if kept is None else SetAside(kept, "It was to be made anew.")
        return ledger

    @classmethod
    def _open_locked(cls, path: Path, lock: LedgerLock, *, sets_aside: bool) -> Ledger:
        try:
            return cls._open_as_it_is(path, lock)
        except SyncdError as error:
            if not (sets_aside and is_damage(error)):
                raise
            reason = error.message
        kept = set_aside(path)
        ledger = cls._open_as_it_is(path, lock)
        ledger.set_aside = None if kept is None else SetAside(kept, reason)
        return ledger

    @classmethod
    def _open_as_it_is(cls, path: Path, lock: LedgerLock) -> Ledger:
        check(path)
        bring_up_to_date(path)
        ledger = cls(path, lock)
        try:
            ledger._recover()
        except BaseException:
            ledger._disconnect()
            raise
        return ledger

    def close(self) -> None:
        """Let go of file and lock, in good order; whatever runs is handed back at the next `open`.

        A second call does nothing.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            self._leave_mark(self._mark)
            self.checkpoint()
        except (SyncdError, DBAPIError):
            pass  # The mark of an open ledger stays: the next one to open it has it checked.
        finally:
            self._disconnect()
            self._lock.release()

    def _disconnect(self) -> None:
        self._reading_engine.dispose()
        self._engine.dispose()

    # --- enqueue -----------------------------------------------------------------------------------------------------

    def known_files(self) -> Iterator[MediaFile]:
        """The newest version of every path ever recorded; a side of stems is one of them, under its first path."""
        with self._reading() as connection:
            for row in connection.execute(select_files().where(media.c.is_current == 1)):
                yield to_file(row)

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
        with self._writing() as connection:
            return enqueue(connection, order, utc_now(), force=force, deserted_job_id=deserted_job_id)

    def acquaintance(self, pair: Pair, *, profile: str, settings: AnalysisSettings) -> Acquaintance:
        """What a disk has to be asked before the pair is enqueued, or recorded."""
        with self._reading() as connection:
            return acquaintance(connection, Order(pair, profile, settings, Priority.NORMAL, _PAST))

    def is_unheard_of(self, pair: Pair, *, profile: str, settings: AnalysisSettings) -> bool:
        """Whether no job, however it ended, is about these versions or lies in their place."""
        with self._reading() as connection:
            return is_unheard_of(connection, Order(pair, profile, settings, Priority.NORMAL, _PAST))

    def record_past(
        self, pair: Pair, past: PastReport, *, profile: str, settings: AnalysisSettings, priority: Priority
    ) -> int | None:
        """-> completed, failed or quarantined, as its report says, for a pair that `is_unheard_of`: the job's id.

        None, and nothing written: what the report says is against the ledger's rules.
        """
        order = Order(pair, profile, settings, priority, _PAST)
        try:
            with self._writing() as connection:
                return record_past(connection, order, past, utc_now())
        except IntegrityError:
            return None

    def record_orphan(self, orphan: Orphan) -> bool:
        """True when it is new, or says something new."""
        with self._writing() as connection:
            return keep_orphan(connection, orphan, utc_now())

    def orphan_paths(self) -> list[Path]:
        """Every file that is listed as an orphan."""
        with self._reading() as connection:
            return list(connection.scalars(select(orphans.c.path)))

    def forget_orphans(self, paths: Iterable[Path]) -> None:
        """They have partners now, or are gone."""
        with self._writing() as connection:
            for path in paths:
                connection.execute(delete(orphans).where(orphans.c.path == path))

    def queued_count(self) -> int:
        """How many jobs wait."""
        with self._reading() as connection:
            return int(connection.execute(_QUEUED_COUNT).scalar_one())

    # --- admit and measure -------------------------------------------------------------------------------------------

    def ready(self, limit: int) -> list[ReadyJob]:
        """What may be claimed now, in its order: by time of arrival and priority."""
        with self._reading() as connection:
            now = utc_now()
            rows = connection.execute(_READY, {"now": now, "furthest": now + FURTHEST, "count": limit})
            return [to_ready_job(row) for row in rows]

    def attempts(self, job_id: int) -> list[Attempt]:
        """What was tried, oldest first."""
        with self._reading() as connection:
            return [to_attempt(row) for row in connection.execute(select_attempts(job_id))]

    def claim(
        self, job_id: int, *, device: str, predicted_ram_bytes: int, predicted_vram_bytes: int = 0, rung: int = 0
    ) -> Lease | None:
        """queued -> running. The attempt counts from here on; None: the job is not queued any more."""
        now = utc_now()
        with self._writing_durably() as connection:
            lease = transitions.take(
                connection,
                job_id,
                now,
                device=device,
                predicted_ram_bytes=predicted_ram_bytes,
                predicted_vram_bytes=predicted_vram_bytes,
                rung=rung,
            )
            if lease is not None:
                transitions.append_event(
                    connection,
                    "claimed",
                    now,
                    job_id=job_id,
                    attempt_id=lease.attempt_id,
                    before=JobState.QUEUED,
                    after=JobState.RUNNING,
                    details={"device": device, "attempt": lease.attempt_number},
                )
            return lease

    def record_media_info(self, path: Path, identity: Identity, info: MediaInfo) -> None:
        """What a probe saw in this version of the file."""
        with self._writing() as connection:
            connection.execute(
                update(media)
                .where(
                    media.c.path == path,
                    media.c.size_bytes == identity.size_bytes,
                    media.c.mtime_ns == identity.mtime_ns,
                    media.c.fingerprint == identity.fingerprint,
                )
                .values(info=to_json(info))
            )

    def record_progress(self, lease: Lease, progress: Progress, *, eta_s: float | None = None) -> bool:
        """How far it is; False, and nothing written: the lease holds no more."""
        with self._writing() as connection:
            changed = connection.execute(
                update(jobs)
                .where(jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token)
                .values(
                    stage=progress.stage,
                    stage_done=progress.done,
                    stage_total=progress.total,
                    stage_text=progress.text,
                    stage_at=progress.at or utc_now(),
                    eta_s=eta_s,
                )
            )
            return changed.rowcount == 1

    def record_method(self, lease: Lease, result: MethodResult) -> bool:
        """A partial result; False, and nothing written: the lease holds no more. Raises `ValueError` on NaN."""
        with self._writing() as connection:
            held = select(jobs.c.id).where(jobs.c.id == lease.job_id, jobs.c.lease_token == lease.token)
            if connection.execute(held).first() is None:
                return False
            keep_method(connection, lease.job_id, result, utc_now())
            return True

    def record_observation(self, observation: MemoryObservation) -> None:
        """What a task outside an attempt (a probe) took."""
        with self._writing() as connection:
            keep_observation(connection, observation, utc_now())

    # --- the ends of an attempt --------------------------------------------------------------------------------------

    def hand_back(self, lease: Lease, reason: str, *, interrupted: bool) -> None:
        """running -> queued, not counted as an attempt (`interrupted`: as an interruption). Raises `StaleLease`."""
        outcome = AttemptOutcome.INTERRUPTED if interrupted else AttemptOutcome.HANDED_BACK
        now = utc_now()
        with self._writing() as connection:
            transitions.requeue(connection, lease, transitions.uncounted(interrupted=interrupted))
            transitions.end_attempt(connection, lease.job_id, outcome, now, {"reason": reason})
            details = {"reason": reason, "interrupted": interrupted}
            _append_end(connection, lease, now, "handed_back", after=JobState.QUEUED, details=details)

    def retry_later(self, lease: Lease, failure: Failure, *, not_before: datetime, trace: Trace = NO_TRACE) -> None:
        """running -> queued, to be tried again from `not_before` on (`FURTHEST` ahead). Raises `StaleLease`."""
        now = utc_now()
        error = transitions.failure_values(failure)
        with self._writing() as connection:
            transitions.requeue(connection, lease, {"not_before": not_before, **error})
            ended = {**error, **asdict(trace)}
            transitions.end_attempt(connection, lease.job_id, AttemptOutcome.RETRIED, now, ended)
            details = {"code": failure.code.value, "message": readable(failure.message)}
            _append_end(connection, lease, now, "retried", after=JobState.QUEUED, details=details)

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
        peak = {} if observation is None else _peaks(observation)
        with self._writing_durably() as connection:
            transitions.leave_running(connection, lease, JobState.COMPLETED, values)
            transitions.end_attempt(connection, lease.job_id, AttemptOutcome.COMPLETED, now, peak)
            keep_report(connection, lease.job_id, report_json, now)
            if observation is not None:
                keep_observation(connection, observation, now)
            keep_pauses(connection, pauses, now)
            _append_end(
                connection, lease, now, "completed", after=JobState.COMPLETED, details={"verdict": str(verdict)}
            )

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
        outcome = AttemptOutcome.QUARANTINED if quarantine else AttemptOutcome.FAILED
        now = utc_now()
        error = transitions.failure_values(failure)
        with self._writing_durably() as connection:
            transitions.leave_running(connection, lease, after, {**error, **_finish_values(sidecar_path, now)})
            transitions.end_attempt(connection, lease.job_id, outcome, now, {**error, **asdict(trace)})
            if report_json is not None:
                keep_report(connection, lease.job_id, report_json, now)
            details = {"code": failure.code.value, "message": readable(failure.message)}
            _append_end(connection, lease, now, after.value, after=after, details=details)

    # --- what people ask for -----------------------------------------------------------------------------------------

    def state(self, job_id: int) -> JobState | None:
        """Where the job stands; None if there is no such job."""
        with self._reading() as connection:
            return transitions.state_of(connection, job_id)

    def cancel(self, job_id: int) -> JobState | None:
        """queued -> canceled, running -> canceled; returns the state before, None if there is no such job.

        A running job's lease ends here; the caller ends its worker.
        """
        with self._writing_durably() as connection:
            return transitions.drop_live(connection, job_id, JobState.CANCELED, AttemptOutcome.CANCELED, utc_now())

    def set_priority(self, job_id: int, priority: Priority) -> bool:
        """Rank it anew, by the time when it was enqueued; False: there is no such job, or it has ended."""
        with self._writing() as connection:
            row = connection.execute(select(jobs.c.state, jobs.c.enqueued_at).where(jobs.c.id == job_id)).first()
            if row is None or row.state not in transitions.LIVE:
                return False
            connection.execute(
                update(jobs)
                .where(jobs.c.id == job_id)
                .values(priority=priority, rank_at=rank_at(row.enqueued_at, priority))
            )
            state = JobState(row.state)
            details = {"priority": priority.value}
            transitions.append_event(
                connection, "ranked", utc_now(), job_id=job_id, before=state, after=state, details=details
            )
            return True

    def retry_as_new(self, job_id: int, *, force: bool = True) -> int:
        """-> queued: a new job for a final one, of the files as last seen; returns the new job's id.

        If the pair has a live job already, that one's id. Raises `SyncdError` NOT_FOUND, or USAGE when the job has not
        ended, or is completed and not forced.
        """
        with self._writing() as connection:
            return retry_as_new(connection, job_id, utc_now(), force=force)

    # --- the service -------------------------------------------------------------------------------------------------

    def set_paused(self, paused: bool) -> None:
        """Whether jobs are admitted; kept over restarts."""
        with self._writing() as connection:
            keep_service_value(connection, _PAUSED, str(int(paused)), utc_now())
            transitions.append_event(connection, "paused" if paused else "resumed", utc_now())
        self._paused = paused

    def is_paused(self) -> bool:
        """Whether somebody paused the service."""
        return self._paused

    def set_service(self, key: str, value: str) -> None:
        """What the daemon says of itself (process, version, …) to whoever reads the ledger."""
        with self._writing() as connection:
            keep_service_value(connection, key, value, utc_now())

    def pending_requests(self) -> list[Request]:
        """What syncctl asked and nobody answered yet, in order."""
        with self._reading() as connection:
            return [to_request(row) for row in connection.execute(_PENDING)]

    def finish_request(
        self, request_id: int, *, outcome: dict[str, object] | None = None, error: Failure | None = None
    ) -> None:
        """The answer to a request."""
        values = transitions.NO_FAILURE if error is None else transitions.failure_values(error)
        with self._writing() as connection:
            connection.execute(
                update(requests)
                .where(requests.c.id == request_id, requests.c.finished_at.is_(None))
                .values(finished_at=utc_now(), outcome=None if outcome is None else to_json(outcome), **values)
            )

    # --- hand-over ---------------------------------------------------------------------------------------------------

    def handed_over(self) -> int | None:
        """The event up to which ended jobs were handed over; None: that is switched off."""
        text = self._service_value(_HANDED_OVER)
        return int(text) if text else None

    def set_handed_over(self, event_id: int | None) -> None:
        """As `handed_over`."""
        self.set_service(_HANDED_OVER, "" if event_id is None else str(event_id))

    def last_event_id(self) -> int:
        """Of all that has happened so far."""
        with self._reading() as connection:
            return handover.last_event_id(connection)

    def ended_after(self, event_id: int, limit: int) -> list[handover.EndedEvent]:
        """The jobs that were completed, failed or quarantined since then, in order."""
        with self._reading() as connection:
            return handover.ended_after(connection, event_id, limit)

    def handover_subject(self, job_id: int) -> handover.HandoverSubject | None:
        """The job and its two sides; None: there is no such job any more."""
        with self._reading() as connection:
            return handover.subject(connection, job_id)

    def moving(self) -> Moving | None:
        """The files that were to be moved and of which the ledger does not know that they were."""
        text = self._service_value(_MOVING)
        return handover.moving_from_json(text) if text else None

    def begin_moving(self, moving: Moving) -> None:
        """On the disk before any file is touched, so that after a crash it can be finished."""
        with self._writing_durably() as connection:
            keep_service_value(connection, _MOVING, handover.moving_to_json(moving), utc_now())

    def end_moving(self, moving: Moving, stamps: Mapping[Path, FileStamp] | None) -> None:
        """The paths follow the files; `stamps`: what lies there now, by path. None: nothing was moved."""
        now = utc_now()
        with self._writing_durably() as connection:
            if stamps is not None:
                handover.follow(connection, moving, stamps, now)
            keep_service_value(connection, _MOVING, "", now)

    def _service_value(self, key: str) -> str:
        with self._reading() as connection:
            return str(connection.execute(select(service.c.value).where(service.c.key == key)).scalar() or "")

    # --- pruning, and what is learnt ---------------------------------------------------------------------------------

    def begin_pruning(self, rule: PruneRule, *, doubts_clock: bool = False) -> Pruning:
        """Ended jobs are to go by this rule: the first of many steps, which removes nothing yet.

        `doubts_clock`: one that is far ahead of all that is known of the time does not count (`believed_now`).
        """
        now = utc_now()
        if doubts_clock:
            now = believed_now(now, self._last_trace, monotonic_s() - self._opened_at_s)
        with self._reading() as connection:
            return prune.begin(connection, rule, now)

    def prune_some(self, pruning: Pruning, limit: int = PRUNED_AT_ONCE) -> Pruning:
        """The next step, which looks at `limit` jobs at most."""
        seen = self.prunable(pruning, limit)
        return self.prune_these(pruning, seen, may_go(seen), limit)

    def prunable(self, pruning: Pruning, limit: int = PRUNED_AT_ONCE) -> list[Candidate]:
        """The next step's jobs: `may_go` says which of them go, `prune_these` removes them."""
        with self._reading() as connection:
            return prune.candidates(connection, pruning, limit)

    def prune_these(
        self, pruning: Pruning, seen: list[Candidate], going: list[int], limit: int = PRUNED_AT_ONCE
    ) -> Pruning:
        """Of the jobs seen in this step those that go; the last step clears files of no job away."""
        after = prune.gone_on(pruning, seen, len(going), limit=limit)
        if going or after.is_done:
            with self._writing() as connection:
                prune.remove(connection, going)
                if after.is_done:
                    prune.remove_old_files(connection)
        return after

    def observations(self, limit: int = 200) -> list[MemoryObservation]:
        """The newest, newest first."""
        with self._reading() as connection:
            return [to_observation(row) for row in connection.execute(select_observations().limit(limit))]

    def stage_pauses(self) -> list[StagePause]:
        """All that are kept, oldest first."""
        with self._reading() as connection:
            rows = connection.execute(select(stage_pauses).order_by(stage_pauses.c.id))
            return [StagePause(row.stage, row.longest_s, row.duration_s) for row in rows]

    def counts(self) -> dict[JobState, int]:
        """How many jobs stand where; every state is there."""
        with self._reading() as connection:
            return count_by_state(connection)

    def depth(self) -> Depth:
        """The jobs that have not ended; however many have, it takes only as long as counting those that wait."""
        with self._reading() as connection:
            queued = int(connection.execute(_QUEUED_COUNT).scalar_one())
            running, running_since = connection.execute(_RUNNING).one()
            return Depth(queued, int(running), connection.execute(_OLDEST_QUEUED).scalar(), running_since)

    def orphan_count(self) -> int:
        """How many files wait for a partner."""
        with self._reading() as connection:
            return int(connection.execute(select(func.count()).select_from(orphans)).scalar_one())

    def file_bytes(self) -> int:
        """How long the ledger's file is now."""
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def latest_event(self) -> int:
        """Another number whenever something has happened to a job."""
        with self._reading() as connection:
            return int(connection.execute(select(func.max(events.c.id))).scalar() or 0)

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file, if no reader is in the way; for idle moments."""
        connection = self._engine.raw_connection()
        cursor = connection.cursor()
        try:
            cursor.execute("PRAGMA busy_timeout = 0")
            cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise explain(error, self._path) or unreadable(self._path, error) from error
        finally:
            cursor.execute(f"PRAGMA busy_timeout = {round(BUSY_TIMEOUT_S * 1000)}")
            connection.close()

    def log_bytes(self) -> int:
        """How long the write-ahead log is now."""
        real = self._path.resolve()
        try:
            return real.with_name(f"{real.name}-wal").stat().st_size
        except FileNotFoundError:
            return 0

    def _recover(self) -> None:
        with self._writing_durably() as connection:
            self._last_trace = last_trace(connection) or utc_now()
            transitions.hand_back_all(connection, "the daemon that ran it is gone", utc_now())
            paused = connection.execute(select(service.c.value).where(service.c.key == _PAUSED)).scalar()
            keep_service_value(connection, MARK, Mark.OPEN, utc_now())
        self._paused = paused == "1"

    def _leave_mark(self, mark: Mark) -> None:
        with self._writing() as connection:
            keep_service_value(connection, MARK, mark, utc_now())

    def _reading(self) -> AbstractContextManager[Connection]:
        return self._minding(self._reading_engine)

    def _writing(self) -> AbstractContextManager[Connection]:
        return self._minding(self._engine)

    def _writing_durably(self) -> AbstractContextManager[Connection]:
        return self._minding(self._durable_engine)

    @contextmanager
    def _minding(self, engine: Engine) -> Iterator[Connection]:
        """A transaction; damage that it meets is still known when the ledger is closed."""
        try:
            with transaction(engine, self._path) as connection:
                yield connection
        except SyncdError as error:
            if is_damage(error):
                self._mark = Mark.DAMAGED
            raise


def _take_lock(path: Path) -> LedgerLock:
    """The folder is made first; raises `SyncdError` LEDGER_IN_USE, PERMISSION_DENIED, DISK_FULL."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os(error, f"The folder {path.parent} cannot be made") from error
    return LedgerLock.take(path)


def _finish_values(sidecar_path: Path | None, now: datetime) -> transitions.Values:
    text = None if sidecar_path is None else readable_path(sidecar_path)
    return {"finished_at": now, "sidecar_path": sidecar_path, "sidecar_path_text": text, "eta_s": None}


def _append_end(
    connection: Connection, lease: Lease, now: datetime, verb: str, *, after: JobState, details: Mapping[str, object]
) -> None:
    transitions.append_event(
        connection,
        verb,
        now,
        job_id=lease.job_id,
        attempt_id=lease.attempt_id,
        before=JobState.RUNNING,
        after=after,
        details=details,
    )


def _peaks(observation: MemoryObservation) -> dict[str, int]:
    ram = {"peak_ram_bytes": observation.peak_ram_bytes}
    return ram if observation.model is None else {**ram, "peak_vram_bytes": observation.peak_vram_bytes}
