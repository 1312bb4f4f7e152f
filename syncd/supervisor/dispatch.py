"""From the ledger's queue to a worker and back: admit, measure, report.

`Dispatcher.step` is called from the daemon's main loop and never waits. It alone speaks to the ledger; workers and the
report thread speak to it. Whatever one task meets ends that task and touches no other.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from syncd.clock import utc_now
from syncd.config import Config
from syncd.devices.admission import Admitted, Obstacle
from syncd.devices.health import JobHold
from syncd.devices.inventory import CPU
from syncd.devices.memory_model import Need
from syncd.devices.views import SERVICE_KEY, view_to_text
from syncd.domain import Failure, Progress, ReadyJob, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import Attempt, StaleLease
from syncd.reports.facts import WrittenReport
from syncd.supervisor.breaker import RESTING, SIGNS, Breaker
from syncd.supervisor.cards import Cards
from syncd.supervisor.counted import JobsCounted, WorkerEnd
from syncd.supervisor.crew import Crew
from syncd.supervisor.gate import OBSERVATIONS, Gate
from syncd.supervisor.glance import Glance, glance
from syncd.supervisor.hearing import (
    Answered,
    AttemptFailed,
    HandBack,
    Hearing,
    InfosSeen,
    MethodSeen,
    ProgressSeen,
    Steps,
)
from syncd.supervisor.holds import held_by_card, holds_of, idle_holds_of
from syncd.supervisor.ladder import AI_STAGE, FAULTS, FRESH, Fault, Rung, Standing, given_up, standing
from syncd.supervisor.liveness import Lookout
from syncd.supervisor.overseer import Overseer
from syncd.supervisor.pool import Pool, Worker
from syncd.supervisor.reporter import ReportDone, Reporter, remove_reports
from syncd.supervisor.retry import Quarantine, TryAgain, after_failure, jittered
from syncd.supervisor.sharing import MasterFeatures, features_of, next_to_try
from syncd.supervisor.silent import SilentFolders
from syncd.supervisor.task import Promise, Task, known_infos, refused_by_size, report_order
from syncd.supervisor.told import job_line
from syncd.telemetry import Seldom

log = structlog.get_logger()

READY_LOOKAHEAD: Final = 32
"""How many waiting jobs are looked at in one step."""
VIEW_INTERVAL_S: Final = 2.0
IDLE_VIEW_INTERVAL_S: Final = 20.0
"""How often the devices are told of, while jobs run and while none do."""
ENDED_VIEW_INTERVAL_S: Final = 0.5
"""How soon again where a job that was told of as holding something has ended."""
FULL_PAUSE_S: Final = 0.25
"""For so long the queue is not looked through again for the same running jobs, beside which nobody had room."""
REPORT_STAGE: Final = "report"
REPORTS_WAITING: Final = 16
"""With so many reports unwritten nothing more is claimed: the disk is what is slow."""


class Dispatcher:
    """The running jobs and what becomes of them."""

    def __init__(self, config: Config, ledger: Ledger, pool: Pool, reporter: Reporter, cards: Cards) -> None:
        self._config = config
        self._ledger = ledger
        self._pool = pool
        self._reporter = reporter
        self._cards = cards
        self.counted = JobsCounted()
        self._crew = Crew(pool)
        self._gate = Gate(config, ledger.observations(OBSERVATIONS), cards)
        self._overseer = Overseer(ledger.stage_pauses())
        self._silent = SilentFolders()
        self._hearing = Hearing(
            config, self._crew, self._gate, self._overseer, self.counted, self._silent, pool.scratch_folder
        )
        self._breaker = RESTING
        self._viewed_at_s = -IDLE_VIEW_INTERVAL_S
        self._viewed_holding: frozenset[int] = frozenset()
        """The jobs that were last said to hold something of a device."""
        self._lookout = Lookout()
        self._found_full: frozenset[int] | None = None
        """The running jobs when the queue was looked through last."""
        self._look_again_at_s = 0.0
        self._seldom = Seldom()

    # --- what the main loop calls ------------------------------------------------------------------------------------

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration; what runs goes on."""
        self._config = config
        self._gate.reconfigure(config)
        self._hearing.reconfigure(config)

    def busy_workers(self) -> list[Worker]:
        """Workers whose pipes are to be listened to."""
        return self._crew.busy_workers()

    def is_idle(self) -> bool:
        """Whether nothing is under way."""
        return not self._crew.tasks

    def running_count(self) -> int:
        """Jobs under way."""
        return len(self._crew.tasks)

    def step(self, now_s: float) -> None:
        """Take in what workers and reports say, end what hangs, start what fits."""
        self._put_off_what_nobody_watched(now_s)
        for task in self._crew.tasks:
            self._shielded(task, partial(self._attend, task, now_s))
        self.take_reports(now_s)
        self._pool.retire_idle(now_s)
        self._look_at_cards(now_s)
        if not self._ledger.is_paused() and not self._breaker.is_open(now_s):
            self._start_ready(now_s)

    def _look_at_cards(self, now_s: float) -> None:
        """And say now and then what is there: for `syncctl devices`, which looks itself where there is nothing else."""
        holds = self._holds()
        self._cards.look(holds, now_s)
        holding = frozenset(hold.job_id for hold in holds if hold.job_id is not None)
        if now_s >= self._viewed_at_s + self._view_interval_s(holding):
            self._viewed_at_s, self._viewed_holding = now_s, holding
            text = view_to_text(self._cards.view(holds, now_s))
            self._note(partial(self._ledger.set_service, SERVICE_KEY, text))

    def _view_interval_s(self, holding: frozenset[int]) -> float:
        """`holding`: the jobs that hold something now."""
        if not self._viewed_holding <= holding:
            return ENDED_VIEW_INTERVAL_S
        if not self.is_idle():
            return VIEW_INTERVAL_S
        return IDLE_VIEW_INTERVAL_S if self._cards.any_there else math.inf

    def _holds(self) -> list[JobHold]:
        return [*holds_of(self._crew.tasks, self._cards), *self._idle_holds()]

    def _idle_holds(self) -> list[JobHold]:
        return idle_holds_of(self._pool.idle_workers(), self._cards)

    def glance(self, now_s: float) -> Glance:
        """What is to be seen now, for metrics."""
        devices = self._cards.view(self._holds(), now_s)
        return glance(self._crew.tasks, self._pool, devices, now_s, is_resting=self._breaker.is_open(now_s))

    def _put_off_what_nobody_watched(self, now_s: float) -> None:
        if (shift_s := self._lookout.missed_s(now_s)) > 0.0:
            log.warning("held_up", seconds=round(shift_s, 1))
            self._reporter.put_off(shift_s)
            self._crew.put_off(shift_s)

    def resting(self, now_s: float) -> str | None:
        """Why nothing is claimed for a while; None: jobs are claimed."""
        return self._breaker.why(now_s)

    def take_reports(self, now_s: float) -> None:
        """End the tasks whose reports are out."""
        for answer in self._reporter.answers(now_s):
            if task := self._crew.task(answer.order.task_id):
                self._shielded(task, partial(self._close, task, answer, now_s))

    def ask_folder(self, folder: Path) -> None:
        """It seems not to answer: until it does, nothing of it is begun."""
        self._silent.ask(folder)

    def silent_folders(self) -> tuple[Path, ...]:
        """Folders that were asked whether they answer, and have not."""
        return self._silent.all()

    def call_off(self, job_id: int, now_s: float) -> None:
        """The job was canceled or superseded in the ledger: its worker is told, and killed if it does not listen."""
        self._crew.call_off(job_id, now_s)

    def hand_back_all(self, reason: str) -> None:
        """Every running job goes back into the queue, without penalty; then their workers are ended, all at once."""
        for task in self._crew.tasks:
            if task.called_off_at_s is None and task.finish is None:
                self._note(partial(self._ledger.hand_back, task.lease, reason, interrupted=False))
        self._crew.disband()

    # --- one task ----------------------------------------------------------------------------------------------------

    def _attend(self, task: Task, now_s: float) -> None:
        if task.finish is not None:
            self._finish(task, task.finish)
        elif task.worker is not None:
            self._carry_out(task, self._hearing.attend(task, now_s), now_s)
        elif task.report is not None and task.report_again_at_s is not None and now_s >= task.report_again_at_s:
            task.report_again_at_s, task.waits_for_folder = None, False
            self._reporter.order(task.report)

    def _shielded(self, task: Task, action: Callable[[], None]) -> None:
        """Whatever one task brings up (a worker's impossible figures, say) fails that task alone."""
        try:
            action()
        except SyncdError:
            raise  # The ledger's own trouble: the daemon's to judge.
        except Exception as error:
            log.exception("task_broke", job=task.job.job_id)
            self._crew.drop_worker(task, WorkerEnd.BROKE)
            task.finish = None
            failure = Failure(ErrorCode.INTERNAL, f"The job could not be carried on ({type(error).__name__}).")
            if task.report is None or isinstance(task.report.outcome, Result):
                self._report(task, failure)
            else:
                self.counted.fail(failure, _latency_s(task), quarantine=False)
                fail = partial(self._ledger.fail, task.lease, failure, report_json=None, sidecar_path=None)
                self._finish(task, fail)

    # --- admit -------------------------------------------------------------------------------------------------------

    def _start_ready(self, now_s: float) -> None:
        running = self._crew.task_ids
        if not self._has_room() or (running and running == self._found_full and now_s < self._look_again_at_s):
            return
        waiting = self._ledger.ready(READY_LOOKAHEAD, self._silent.all())
        if waiting:
            self._gate.open_round(held_by_card(self._idle_holds()), now_s)
            self._found_full, self._look_again_at_s = running, now_s + FULL_PAUSE_S
        while waiting and not self._breaker.is_open(now_s):
            place = next_to_try([features_of(job) for job in waiting], self._masters_being_made())
            job = waiting.pop(place)
            standing = self._standing(job)
            if standing.quarantine_reason is not None:
                reason = standing.quarantine_reason
                self._refuse(job, Failure(standing.quarantine_code, reason), now_s, quarantine_reason=reason)
                continue
            if standing.is_alone and not self.is_idle():
                return  # Its turn comes when nothing else runs.
            infos = known_infos(job)
            need = self._gate.weigh(job, infos, standing)
            decision = self._gate.decide(job, infos, need, self._crew.tasks, now_s)
            if isinstance(decision, Admitted):
                self._admit(job, decision, need, standing, now_s)
                if standing.is_alone:
                    return
                continue
            self.counted.refuse(job.job_id, decision.obstacle.value)
            if decision.obstacle is Obstacle.TOO_LARGE:
                self._refuse(job, Failure(ErrorCode.OUT_OF_MEMORY, decision.reason), now_s)
            elif decision.obstacle is Obstacle.MEMORY:
                del waiting[place:]  # Whoever comes after it in the queue waits behind it.

    def _has_room(self) -> bool:
        """Whether another job could be started at all."""
        tasks, measuring = self._crew.tasks, len(self.busy_workers())
        is_alone = any(task.standing.is_alone for task in tasks)
        unwritten = sum(task.worker is None and not task.waits_for_folder for task in tasks)
        return self._gate.slots() > measuring and unwritten < REPORTS_WAITING and not is_alone

    def _masters_being_made(self) -> set[MasterFeatures]:
        """Without a cache nobody waits for them."""
        return self._crew.masters_being_made() if self._config.cache.max_bytes else set()

    def _standing(self, job: ReadyJob) -> Standing:
        if not job.attempts and not job.interruptions:
            return FRESH
        return standing(faults_of(self._ledger.attempts(job.job_id)), job.interruptions)

    def _admit(self, job: ReadyJob, decision: Admitted, need: Need, standing: Standing, now_s: float) -> None:
        """Claim, then promise, then start: in this order nothing can be given out twice."""
        if failure := refused_by_size(job, self._config.limits.max_file_bytes):
            self._refuse(job, failure, now_s)
            return
        promise = Promise(decision.device.name, need.ram_bytes, decision.vram_bytes, decision.batch)
        task = self._claim(job, promise, standing, now_s)
        if task is None:
            return
        has_model = job.settings.ai != "off"
        task.degraded = given_up(standing.rung, models=has_model, cache=self._config.cache.max_bytes > 0)
        if decision.note is not None:
            task.degraded += (f"the GPU for the models ({decision.note})",)
        if decision.vram_bytes:
            self._pool.make_room(decision.device.name)
        try:
            task.worker = self._pool.take(decision.device.name, now_s, fresh=standing.rung is Rung.LAST)
        except OSError as error:
            # The job has no part in this: nobody has looked at it.
            reason = f"no worker could be started ({error.strerror})"
            self._rest(self._breaker.tripped(reason, now_s), now_s)
            self._hand_back(task, reason)
            return
        self.counted.admit(job.job_id, decision.device.kind.value)
        log.info("admit", job=job.job_id, device=task.device, promised_mib=need.ram_bytes >> 20, worker=task.worker.pid)
        self._carry_out(task, self._hearing.begin(task, known_infos(job), need), now_s)

    def _claim(self, job: ReadyJob, promise: Promise, standing: Standing, now_s: float) -> Task | None:
        lease = self._ledger.claim(
            job.job_id,
            device=promise.device,
            predicted_ram_bytes=promise.ram_bytes,
            predicted_vram_bytes=promise.vram_bytes,
            rung=int(standing.rung),
        )
        if lease is None:
            return None
        self.counted.attempts += 1
        return self._crew.begin(job, lease, promise, standing, now_s)

    def _refuse(self, job: ReadyJob, failure: Failure, now_s: float, *, quarantine_reason: str | None = None) -> None:
        """The job fails without a (or without another) worker having seen it."""
        if task := self._claim(job, Promise(CPU), FRESH, now_s):
            task.quarantine_reason = quarantine_reason
            self._report(task, failure)

    # --- measure -----------------------------------------------------------------------------------------------------

    def _carry_out(self, task: Task, steps: Steps, now_s: float) -> None:
        """What follows from what a worker says, each step before the next thing is heard."""
        for step in steps:
            match step:
                case InfosSeen():
                    for file, info in zip((task.job.master, task.job.dub), step.infos, strict=True):
                        self._note(partial(self._ledger.record_media_info, file.path, file.identity, info))
                case ProgressSeen():
                    self._note(partial(self._ledger.record_progress, task.lease, step.progress, eta_s=step.left_s))
                case MethodSeen():
                    self._note(partial(self._ledger.record_method, task.lease, step.result))
                case Answered():
                    self._report(task, step.result)
                case HandBack():
                    self._hand_back(task, step.reason)
                case AttemptFailed():
                    self._end(task, step.failure, now_s)

    # --- when it does not go well ------------------------------------------------------------------------------------

    def _end(self, task: Task, failure: Failure, now_s: float) -> None:
        """The attempt failed: try again later, or report the failure."""
        limit = self._config.workers.max_attempts
        decision = after_failure(failure, task.lease.attempt_number, limit, self._standing_after(task, failure, now_s))
        if isinstance(decision, TryAgain):
            delay_s = jittered(decision.delay_s, random.random())  # noqa: S311 - nothing to keep secret
            self.counted.retries[failure.code] += 1
            log.warning("retry", job=task.job.job_id, code=failure.code.value, delay_s=round(delay_s, 1))
            not_before = utc_now() + timedelta(seconds=delay_s)
            retry = partial(self._ledger.retry_later, task.lease, failure, not_before=not_before, trace=task.trace)
            self._finish(task, retry)
            return
        if isinstance(decision, Quarantine):
            task.quarantine_reason = decision.reason
        task.pulse = task.pulse.beat(REPORT_STAGE, 0, now_s)
        self._report(task, failure)

    def _standing_after(self, task: Task, failure: Failure, now_s: float) -> Standing:
        """Where the job stands after this failure too."""
        hung_on_card = task.promised_vram_bytes > 0 and task.trace.stage == AI_STAGE
        if failure.code in SIGNS and not hung_on_card:
            self._rest(self._breaker.faulted(task.job.job_id, failure.code, now_s), now_s)
        if failure.code not in FAULTS:
            return task.standing
        if (seen := self._gate.failed(task, failure.code, task.trace.stage, now_s)) is not None:
            self._note(partial(self._ledger.record_observation, seen))
        before = faults_of(self._ledger.attempts(task.job.job_id))
        return standing([*before, Fault(task.standing.rung, failure.code, task.trace.stage)], task.job.interruptions)

    def _rest(self, breaker: Breaker, now_s: float) -> None:
        self._breaker = breaker
        if why := breaker.why(now_s):
            log.error("claiming_rests", reason=why)

    # --- report ------------------------------------------------------------------------------------------------------

    def _report(self, task: Task, outcome: Result | Failure) -> None:
        if task.called_off_at_s is not None:
            self._crew.forget(task)
            return
        task.report = report_order(task, outcome, utc_now(), self._config.reports.fallback)
        task.ordered_at_s = time.monotonic() if task.ordered_at_s is None else task.ordered_at_s
        self._reporter.order(task.report)

    def _close(self, task: Task, answer: ReportDone, now_s: float) -> None:
        """The report is out (or cannot be): the ledger says so, last of all."""
        outcome = answer.order.outcome
        if task.called_off_at_s is not None:
            if answer.written is not None:
                remove_reports(answer.written)  # Nobody asked for it any more; it was written in the same moment.
            self._crew.forget(task)
        elif answer.failure is not None:
            if not self._report_again(task, answer.failure, now_s):
                self._fail(task, outcome if isinstance(outcome, Failure) else answer.failure, answer)
        elif isinstance(outcome, Failure):
            self._fail(task, outcome, answer)
        elif answer.written is not None:
            self._complete(task, outcome, answer.written, answer)

    def _report_again(self, task: Task, failure: Failure, now_s: float) -> bool:
        """A result without a sidecar is no delivery: the writing, not the measuring, is tried again."""
        task.report_tries += 1
        decision = after_failure(failure, task.report_tries, self._config.workers.max_attempts)
        if not isinstance(decision, TryAgain):
            return False
        log.warning("report_again", job=task.job.job_id, code=failure.code.value, delay_s=decision.delay_s)
        task.report_again_at_s = now_s + decision.delay_s
        task.waits_for_folder = failure.code is ErrorCode.FOLDER_STALLED
        if task.waits_for_folder:
            self._silent.ask(task.job.dub.path.parent)
        waits = Progress(REPORT_STAGE, 0, 1, f"waits for its report: {failure.code.value}: {failure.message}")
        self._note(partial(self._ledger.record_progress, task.lease, waits))
        return True

    def _complete(self, task: Task, result: Result, written: WrittenReport, answer: ReportDone) -> None:
        consensus = result.consensus
        observation = self._gate.observe(task, task.measured) if task.measured else None
        log.info("report", **job_line(task, result, answer.order.processing, written, _latency_s(task)))
        pauses = task.pulse.pauses(max(result.master.duration_s, result.dub.duration_s))
        complete = partial(
            self._ledger.complete,
            task.lease,
            report_json=written.json_text,
            sidecar_path=written.sidecar_path,
            verdict=result.verdict,
            review=result.review,
            offset_s=consensus.offset_s if consensus else None,
            confidence=result.overall_confidence,
            observation=observation,
            pauses=pauses,
        )
        self._breaker = RESTING
        self._overseer.learn(pauses)
        self.counted.complete(result, answer.order.processing.seconds, _latency_s(task))
        self._finish(task, complete)

    def _fail(self, task: Task, failure: Failure, answer: ReportDone) -> None:
        """The job failed, or its report found no place; what was measured is kept in the ledger even then."""
        written = answer.written
        log.warning("report", **job_line(task, failure, answer.order.processing, written, _latency_s(task)))
        self.counted.fail(failure, _latency_s(task), quarantine=task.quarantine_reason is not None)
        if answer.failure is not None:
            log.error("report_not_written", job=task.job.job_id, reason=answer.failure.message)
        fail = partial(
            self._ledger.fail,
            task.lease,
            failure,
            report_json=written.json_text if written else answer.kept_json,
            sidecar_path=written.sidecar_path if written else None,
            quarantine=task.quarantine_reason is not None,
            trace=task.trace,
        )
        self._finish(task, fail)

    # --- the ledger --------------------------------------------------------------------------------------------------

    def _hand_back(self, task: Task, reason: str) -> None:
        """Without penalty: the job has no part in it."""
        self._finish(task, partial(self._ledger.hand_back, task.lease, reason, interrupted=False))

    def _finish(self, task: Task, write: Callable[[], None]) -> None:
        """End the task by a transition; one that the ledger cannot take now (a full disk) is tried at every step."""
        task.finish = write
        try:
            write()
        except StaleLease:
            log.debug("lease_is_stale", job=task.job.job_id)
        except SyncdError as error:
            if error.code is ErrorCode.LEDGER_DAMAGED:
                raise
            self._tell_not_written(error, task.job.job_id)
            return
        self._crew.forget(task)

    def _note(self, write: Callable[[], object]) -> None:
        """Write what the job can do without."""
        try:
            write()
        except StaleLease:
            return
        except SyncdError as error:
            self._tell_not_written(error)

    def _tell_not_written(self, trouble: SyncdError, job_id: int | None = None) -> None:
        """`job_id`: of the job that has ended, where that is what could not be written."""
        if self._seldom.is_due((trouble.code, job_id), time.monotonic()):
            ended = {} if job_id is None else {"job": job_id}
            log.error("ledger_not_written", code=trouble.code.value, reason=trouble.message, **ended)


def _latency_s(task: Task) -> float:
    return (utc_now() - task.job.enqueued_at).total_seconds()


def faults_of(attempts: Sequence[Attempt]) -> list[Fault]:
    """Those of the attempts that ended in one, in the same order."""
    return [
        Fault(Rung(attempt.rung), attempt.failure.code, attempt.stage)
        for attempt in attempts
        if attempt.failure is not None and attempt.failure.code in FAULTS
    ]
