"""A storm: many small jobs, one daemon after another, and kills at random moments."""

from __future__ import annotations

import contextlib
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import psutil

from syncd.domain import FINAL_STATES, JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import Job
from tests.acceptance.service import Service, wait_for
from tests.chaos.pairs import ManyPairs
from tests.chaos.promises import broken_promises

PATIENCE_S = 180.0
"""How long nothing may happen before the storm is called lost."""


@dataclass
class Storm:
    """What was done to the service, and what came of it."""

    service: Service
    jobs: int
    kills: int
    """Of the daemon."""
    seed: int
    workers_share: float = 0.3
    """How often a worker is hit instead of the daemon, beyond `kills`; each job's once at most."""
    killed: int = 0
    restarts_s: list[float] = field(default_factory=list)
    """From a daemon's death to the next claim of a job."""
    again_s: list[float] = field(default_factory=list)
    """From a worker's death to the next attempt at its job."""
    struck: set[int] = field(default_factory=set)
    """Jobs whose worker was killed."""
    orphaned: list[int] = field(default_factory=list)
    """Workers that outlived their daemon."""
    titles: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Drop pair after pair, and kill; ends when every job has ended."""
        chance = random.Random(self.seed)  # noqa: S311 - a storm that can be had again
        pairs = ManyPairs(self.service.home)
        self.service.start()
        for kill in range(self.kills):
            for number in range(len(self.titles), -(-self.jobs * (kill + 1) // self.kills)):
                self.titles.append(pairs.drop(self.service.drop, number))
            time.sleep(chance.uniform(0.05, 2.0))
            while chance.random() < self.workers_share:
                self._kill_a_worker(chance)
                time.sleep(chance.uniform(0.05, 2.0))
            self._kill_the_daemon()
        self.service.wait_for_jobs(self.jobs, deadline_s=PATIENCE_S + self.jobs)
        self.service.stop(deadline_s=10.0)

    def faults(self) -> Iterator[str]:
        """What is not as it should be; nothing, if the service holds."""
        struck = {self.service.job(job_id).title: (ErrorCode.WORKER_CRASHED,) for job_id in self.struck}
        yield from broken_promises(self.service, self.titles, struck)
        yield from (f"worker {pid} outlived its daemon" for pid in self.orphaned)

    # --- what happens ------------------------------------------------------------------------------------------------

    def _kill_the_daemon(self) -> None:
        process = self.service.process
        assert process is not None
        children = psutil.Process(process.pid).children()
        has_work = any(job.state not in FINAL_STATES for job in self._jobs())
        self.service.stop(signal.SIGKILL)
        died_s = time.monotonic()
        before = self._last_event_id()
        self.service.start()
        claimed = wait_for(lambda: self._claimed_since(before) or self._is_over(), what="a claim after the restart")
        if claimed and has_work:
            self.restarts_s.append(time.monotonic() - died_s)
        self.killed += 1
        _, alive = psutil.wait_procs(children, timeout=5.0)
        self.orphaned += [child.pid for child in alive if child.status() != psutil.STATUS_ZOMBIE]

    def _kill_a_worker(self, chance: random.Random) -> None:
        process = self.service.process
        assert process is not None
        workers = [child for child in self.service.workers() if child.is_running()]
        running = [job for job in self._jobs() if job.state is JobState.RUNNING]
        if len(running) != 1 or running[0].job_id in self.struck or not workers:
            return
        before = self._last_event_id()
        victim = chance.choice(workers)
        # Held still, so that it cannot go on to another job between the look at whose it is and the kill.
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.suspend()
        if [job.job_id for job in self._jobs() if job.state is JobState.RUNNING] != [running[0].job_id]:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.resume()
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            victim.kill()
        died_s = time.monotonic()
        self.struck.add(running[0].job_id)
        wait_for(
            lambda: self._claimed_since(before, running[0].job_id) or self._has_ended(running[0].job_id),
            what="another attempt",
        )
        self.again_s.append(time.monotonic() - died_s)

    # --- what is seen ------------------------------------------------------------------------------------------------

    def _jobs(self) -> list[Job]:
        try:
            return self.service.jobs()
        except SyncdError:
            return []

    def _is_over(self) -> bool:
        jobs = self._jobs()
        return len(jobs) == len(self.titles) and all(job.state in FINAL_STATES for job in jobs)

    def _has_ended(self, job_id: int) -> bool:
        return self.service.job(job_id).state in FINAL_STATES

    def _last_event_id(self) -> int:
        return self._asked("SELECT max(id) FROM events") or 0

    def _claimed_since(self, event_id: int, job_id: int | None = None) -> bool:
        question = "SELECT id FROM events WHERE id > ? AND verb = 'claimed' AND (? IS NULL OR job_id = ?) LIMIT 1"
        return self._asked(question, event_id, job_id, job_id) is not None

    def _asked(self, question: str, *values: int | None) -> int | None:
        """One number of the ledger; None: there is none, or no ledger yet."""
        try:
            with closing(sqlite3.connect(f"file:{self.service.ledger}?mode=ro", uri=True)) as connection:
                row = connection.execute(question, values).fetchone()
        except sqlite3.OperationalError:
            return None
        return None if row is None or row[0] is None else int(row[0])
