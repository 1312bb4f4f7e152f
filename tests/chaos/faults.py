"""Faults of processes, one function each: it is brought about in a real service, and cleared where it clears.

Each returns in a sentence what was seen; whether the promises held is looked at afterwards (`Site.broken`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import count

from syncd.domain import JobState
from syncd.errors import ErrorCode
from syncd.supervisor.liveness import SCHEDULE, Step
from tests.acceptance.service import wait_for
from tests.chaos.doomed import HUNG_UP, POINTS, STAGE, DaemonDoom
from tests.chaos.doomed_worker import ANY_STAGE
from tests.chaos.site import Site, lives, seconds_between, stopped

STALL_S = 2.0
STOPPED_S = 10.0
"""Longer than any silence that is borne with so low a threshold: four times as long, of a worker that computes."""
SOON_S = 2.0
"""Before a worker that only stands still would so much as be asked to end."""


def the_daemon_is_killed_at(site: Site, points: Sequence[str]) -> str:
    """At each point of a job of its own; the next daemon does that job first."""
    for point in points:
        title = site.drop()
        site.start(DaemonDoom(point, job_id=len(site.titles)))
        assert site.dies(), f"{title} passed {point!r} unharmed"
    return _done_after(site, len(points))


def the_daemon_is_killed_at_every_point(site: Site) -> str:
    """The named ones."""
    return the_daemon_is_killed_at(site, list(POINTS))


def the_daemon_is_killed_in_every_stage(site: Site) -> str:
    """When the first is told of, the second, and so on, until a job has no more of them."""
    for number in count(1):
        site.drop()
        site.start(DaemonDoom(f"{STAGE}{number}", job_id=number))
        if not site.dies():
            site.service.stop()
            return _done_after(site, number - 1)
    raise AssertionError


def _done_after(site: Site, deaths: int) -> str:
    site.start()
    jobs = site.wait_for_all()
    again = sum(job.interruptions > 0 for job in jobs)
    return f"{deaths} daemons died; {again} jobs were interrupted and ran again, all {len(jobs)} are done"


def a_worker_is_killed_in_every_stage(site: Site) -> str:
    """Each job's worker in the first stage that none was killed in yet, until a job gets through."""
    site.start(site.doom("die", ANY_STAGE, ANY_STAGE))
    while True:
        title = site.drop()
        site.wait_for_job(title, lambda job: job.state is JobState.COMPLETED)
        if not (site.service.home / "marks" / f"title {title}").exists():
            break
        site.met[title].append(ErrorCode.WORKER_CRASHED)
    deaths = site.events("worker_crashed")
    delays_s = [seconds_between(died, site.events("admit", job=died["job"])[-1]) for died in deaths]
    told = f"{len(site.titles) - 1} workers died, each in another stage, {len(deaths)} of them before they had answered"
    return f"{told}; the next attempt began {max(delays_s):.1f} s later at most"


def a_worker_stands_still(site: Site, act: str) -> str:
    """In the middle of reading the dub, beside jobs of others."""
    title = site.next_title()
    site.start(site.doom(act, "decode_dub", title))
    site.drop(ErrorCode.WORKER_STALLED)
    worker = site.struck(title)
    began_s = time.monotonic()
    others = [site.drop() for _ in range(3)]
    site.wait_for_event("worker_is_ended", code="WORKER_STALLED")
    decided_s = time.monotonic()
    wait_for(lambda: not lives(worker), what="the worker's end")
    gone_s = time.monotonic()
    site.wait_for_all()
    stood_s, ended_s = decided_s - began_s, gone_s - decided_s
    assert ended_s < SCHEDULE[Step.GIVE_UP], f"its slot was given up before it was gone, {ended_s:.1f} s later"
    return f"decided after {stood_s:.1f} s, gone {ended_s:.1f} s later; {len(others)} other jobs went on"


def the_daemon_is_stopped_for_a_while(site: Site) -> str:
    """Alone, and together with a worker in the middle of a job: the time is nobody's fault."""
    title = site.next_title()
    site.start(site.doom("stop", "decode_dub", title))
    site.drop()
    site.drop()
    worker = site.struck(title)
    assert site.service.process is not None
    with stopped(site.service.process.pid, worker):
        time.sleep(STOPPED_S)  # What is brought about is that time passes.
    site.wait_for_all()
    ended = len(site.events("worker_is_ended"))
    return f"stood still for {STOPPED_S:g} s in the middle of two jobs; {ended} workers were ended for it"


def a_worker_closes_its_line(site: Site) -> str:
    """And lives on."""
    title = site.next_title()
    site.start(site.doom("close the line", "decode_dub", title))
    site.drop(ErrorCode.WORKER_CRASHED)
    worker = site.struck(title)
    jobs = [site.drop() for _ in range(2)]
    crash = site.wait_for_event("worker_crashed")
    wait_for(lambda: not lives(worker), what="the worker's end")
    site.wait_for_all()
    return f"found, and ended by {crash['status']}; {len(jobs)} other jobs went on"


def the_daemon_closes_its_line(site: Site) -> str:
    """To the worker, which ends by itself."""
    site.drop(ErrorCode.WORKER_CRASHED)
    site.start(DaemonDoom(HUNG_UP, job_id=1))
    site.wait_for_all()
    (crash,) = site.events("worker_crashed")
    return f"the worker ended ({crash['status']}), and its job ran again"


def a_worker_eats_memory(site: Site) -> str:
    """Beyond what it was promised, in a way that the kernel's cap on it does not count."""
    title = site.next_title()
    site.start(site.doom("eat", "decode_dub", title))
    site.drop(ErrorCode.OUT_OF_MEMORY)
    worker = site.struck(title)
    others = [site.drop() for _ in range(3)]
    site.wait_for_event("worker_is_ended", code="OUT_OF_MEMORY")
    decided_s = time.monotonic()
    wait_for(lambda: not lives(worker), what="the worker's end")
    ended_s = time.monotonic() - decided_s
    assert ended_s < SOON_S, f"it could go on eating for {ended_s:.1f} s"
    site.wait_for_all()
    return f"ended alone, gone after {ended_s:.1f} s; {len(others)} other jobs went on"
