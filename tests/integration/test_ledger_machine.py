"""Whatever order the verbs come in, the ledger does what a page of plain Python says it should."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from syncd.clock import utc_now
from syncd.domain import FINAL_STATES, JobState, Lease
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import StaleLease
from tests.integration.ledger_material import CRASH, a_pair, complete, enqueue, fail

TITLES = st.sampled_from(["A", "B"])
VERSIONS = st.integers(min_value=1, max_value=2)
PICKS = st.integers(min_value=0, max_value=99)


@dataclass
class Expected:
    """What the ledger should say of one job."""

    title: str
    version: int
    state: JobState = JobState.QUEUED
    attempts: int = 0
    interruptions: int = 0


class LedgerMachine(RuleBasedStateMachine):
    """One daemon's life, restarts included."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="syncd-ledger-"))
        self.ledger = Ledger.open(self.folder / "ledger.db")
        self.reader = LedgerReader.open(self.folder / "ledger.db")
        self.expected: dict[int, Expected] = {}
        self.leases: list[Lease] = []
        self.current: dict[int, Lease] = {}

    def teardown(self) -> None:
        self.reader.close()
        self.ledger.close()
        shutil.rmtree(self.folder)

    @rule(title=TITLES, version=VERSIONS)
    def drop(self, title: str, version: int) -> None:
        enqueued = enqueue(self.ledger, a_pair(title, dub_version=version))
        newest = max((i for i, job in self.expected.items() if job.title == title), default=None)
        same = newest is not None and self.expected[newest].version == version
        assert enqueued.created is not same
        if same:
            assert enqueued.job_id == newest
            return
        live = [i for i, job in self.expected.items() if job.title == title and job.state not in FINAL_STATES]
        assert sorted((*enqueued.superseded, *enqueued.superseded_running)) == live
        for job_id in live:
            self.expected[job_id].state = JobState.SUPERSEDED
            self.current.pop(job_id, None)
        self.expected[enqueued.job_id] = Expected(title, version)

    @rule(pick=PICKS)
    @precondition(lambda self: bool(self.expected))
    def claim(self, pick: int) -> None:
        job_id = list(self.expected)[pick % len(self.expected)]
        job = self.expected[job_id]
        lease = self.ledger.claim(job_id, device="cpu", predicted_ram_bytes=1)
        assert (lease is not None) == (job.state is JobState.QUEUED)
        if lease is not None:
            job.state = JobState.RUNNING
            job.attempts += 1
            assert lease.attempt_number == job.attempts
            self.leases.append(lease)
            self.current[job_id] = lease

    @rule(pick=PICKS, way=st.sampled_from(["complete", "fail", "quarantine", "retry", "hand_back", "interrupt"]))
    @precondition(lambda self: bool(self.leases))
    def finish(self, pick: int, way: str) -> None:
        lease = self.leases[pick % len(self.leases)]
        holds = self.current.get(lease.job_id) == lease
        try:
            self._finish(lease, way)
        except StaleLease:
            assert not holds
            return
        assert holds
        del self.current[lease.job_id]
        job = self.expected[lease.job_id]
        job.state = {
            "complete": JobState.COMPLETED,
            "fail": JobState.FAILED,
            "quarantine": JobState.QUARANTINED,
        }.get(way, JobState.QUEUED)
        job.attempts -= way in {"hand_back", "interrupt"}
        job.interruptions += way == "interrupt"

    def _finish(self, lease: Lease, way: str) -> None:
        match way:
            case "complete":
                complete(self.ledger, lease)
            case "fail" | "quarantine":
                fail(self.ledger, lease, quarantine=way == "quarantine")
            case "retry":
                self.ledger.retry_later(lease, CRASH, not_before=utc_now() - timedelta(seconds=1))
            case _:
                self.ledger.hand_back(lease, "stops", interrupted=way == "interrupt")

    @rule(pick=PICKS)
    @precondition(lambda self: bool(self.expected))
    def cancel(self, pick: int) -> None:
        job_id = list(self.expected)[pick % len(self.expected)]
        job = self.expected[job_id]
        assert self.ledger.cancel(job_id) is job.state
        if job.state not in FINAL_STATES:
            job.state = JobState.CANCELED
            self.current.pop(job_id, None)

    @rule()
    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger.open(self.folder / "ledger.db")
        for job_id in self.current:
            job = self.expected[job_id]
            job.state = JobState.QUEUED
            job.attempts -= 1
            job.interruptions += 1
        self.current.clear()

    @invariant()
    def the_ledger_says_what_is_expected(self) -> None:
        for job_id, expected in self.expected.items():
            job = self.reader.job(job_id)
            assert job is not None
            assert (job.state, job.attempts, job.interruptions) == (
                expected.state,
                expected.attempts,
                expected.interruptions,
            )

    @invariant()
    def history_is_one_chain_that_ends_where_the_job_stands(self) -> None:
        for job_id, expected in self.expected.items():
            events = self.reader.events(job_id)
            assert events[-1].state_after is expected.state
            assert [event.state_before for event in events[1:]] == [event.state_after for event in events[:-1]]

    @invariant()
    def what_is_ready_is_what_is_queued(self) -> None:
        queued = [job_id for job_id, job in self.expected.items() if job.state is JobState.QUEUED]
        assert [job.job_id for job in self.ledger.ready(99)] == queued
        assert self.ledger.queued_count() == len(queued)

    @invariant()
    def only_what_runs_has_an_open_attempt(self) -> None:
        for job_id, expected in self.expected.items():
            open_attempts = [attempt for attempt in self.reader.attempts(job_id) if attempt.outcome is None]
            assert len(open_attempts) == (expected.state is JobState.RUNNING)


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=10, stateful_step_count=15, deadline=None)
