"""Faults of disks and of the clock, one function each: brought about in a real service, and cleared after a while."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import closing, suppress

from syncd.domain import JobState
from syncd.errors import ErrorCode
from tests.acceptance.service import wait_for
from tests.chaos.shim import Shim
from tests.chaos.site import Site, StatusLine, seconds_between

MB = 1 << 20
CODES = {errno.ENOSPC: ErrorCode.DISK_FULL, errno.EIO: ErrorCode.DISK_FAULT, errno.EROFS: ErrorCode.PERMISSION_DENIED}
"""What people are told of each."""


def the_ledger_fails(site: Site, number: int) -> str:
    """While a job is under way and another is dropped; both go on once the ledger can be written again."""
    # SQLite tells of a file that it has open, and cannot write to any more, as of a disk that fails.
    code = ErrorCode.DISK_FAULT if number == errno.EROFS else CODES[number]
    shim = Shim(site.service)
    title = site.next_title()
    with closing(StatusLine(site.service)) as status:
        site.start(site.doom("stop", "decode_dub", title))
        site.drop()
        worker = site.struck(title)
        with shim.failing(number, [site.service.ledger]):
            os.kill(worker, signal.SIGCONT)
            site.drop()
            site.wait_for_event("ledger_trouble", code=code.value)
            seen = site.wait_for_event("ledger_not_written", code=code.value, job=1)  # That it is done.
            wait_for(lambda: status.says(code.value), what="a word of it in the status")
        wait_for(lambda: status.says("0 queued, 0 running"), what="a status without it")
    assert len(site.events("ledger_trouble")) == 1
    jobs = site.wait_for_all()
    assert [(job.attempts, job.interruptions) for job in jobs] == [(1, 0), (1, 0)]
    return f"log and status: {seen['code']}, «{seen['reason']}»; no job ran twice"


def the_ledger_is_read_only_at_the_start(site: Site) -> str:
    """The daemon does not start, and says why; once it may write, it does."""
    shim = Shim(site.service)
    site.start()
    site.drop()
    site.wait_for_all()
    site.service.stop()
    with shim.failing(errno.EROFS, [site.service.ledger]):
        site.start()
        assert site.service.process is not None
        status = site.service.process.wait(timeout=30.0)
    said = site.service.newest_log.read_text(encoding="utf-8").strip()
    assert (status, said.startswith("syncd: ")) == (1, True), said
    site.start()
    site.drop()
    site.wait_for_all()
    return f"exit status {status}: «{said}»"


def the_folder_fails(site: Site, number: int) -> str:
    """When a report is due: the writing is tried again, the measuring is not."""
    shim = Shim(site.service)
    site.start()
    with shim.failing(number, [site.service.drop]):
        title = site.drop()
        seen = site.wait_for_event("report_again", code=CODES[number].value)
    site.wait_for_all()
    job = site.wait_for_job(title, lambda job: job.state is JobState.COMPLETED)
    assert (job.attempts, job.interruptions) == (1, 0)
    return f"log: {seen['code']}; written {seen['delay_s']:g} s later, not measured again"


def the_cache_fails(site: Site, number: int) -> str:
    """Where scratch files and features are kept, while workers decode."""
    shim = Shim(site.service)
    site.start()
    with shim.failing(number, [site.service.home / "cache"]):
        title = site.drop(CODES[number])
        seen = site.wait_for_event("retry", code=CODES[number].value)
    site.wait_for_all()
    job = site.wait_for_job(title, lambda job: job.state is JobState.COMPLETED)
    return f"log and attempt: {seen['code']}; done by attempt {job.attempts}"


def the_master_cannot_be_read(site: Site) -> str:
    """From its middle on, while a worker decodes it; beside a job of another."""
    shim = Shim(site.service)
    title = site.next_title()
    site.start(site.doom("stop", "decode_master", title))
    site.drop(ErrorCode.DISK_FAULT, ErrorCode.DISK_FAULT)
    worker = site.struck(title)
    master = site.service.drop / f"{title}_master.wav"
    with shim.failing_to_read(errno.EIO, master, from_byte=master.stat().st_size // 2):
        os.kill(worker, signal.SIGCONT)
        site.drop()
        seen = site.wait_for_event("retry", code=ErrorCode.DISK_FAULT.value)
    site.wait_for_all()
    job = site.wait_for_job(title, lambda job: job.state is JobState.COMPLETED)
    return f"log and attempt: {seen['code']}; done by attempt {job.attempts}"


def the_log_fails(site: Site) -> str:
    """While a job is under way and another is dropped: what cannot be told is done all the same."""
    shim = Shim(site.service)
    title = site.next_title()
    site.start(site.doom("stop", "decode_dub", title))
    site.drop()
    worker = site.struck(title)
    with shim.failing(errno.ENOSPC, [site.service.newest_log]):
        os.kill(worker, signal.SIGCONT)
        site.drop()
        jobs = site.wait_for_all()
    return f"{len(jobs)} jobs done without a word"


def no_worker_can_be_started(site: Site) -> str:
    """There is no room for what it would print."""
    shim = Shim(site.service)
    folder = site.service.home / "tmp"
    folder.mkdir()
    site.service.environment["TMPDIR"] = str(folder)
    site.start()
    site.drop()
    site.wait_for_all()
    assert site.service.process is not None
    for idle in site.service.workers():
        idle.kill()
    with shim.failing(errno.ENOSPC, [folder]):
        title = site.drop()
        seen = site.wait_for_event("claiming_rests")
    site.wait_for_all()
    job = site.wait_for_job(title, lambda job: job.state is JobState.COMPLETED)
    assert (job.attempts, job.interruptions) == (1, 0)
    return f"log: «{seen['reason']}»; the job lost no attempt"


def the_disk_is_really_full(site: Site) -> str:
    """Ledger, media, reports and scratch files share a small file system, which is filled up under a job's way."""
    title = site.next_title()
    site.start(site.doom("stop", "decode_dub", title))
    site.drop(ErrorCode.DISK_FULL)
    worker = site.struck(title)
    filler = site.service.home / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while file.write(b"x" * MB):
            pass
    os.kill(worker, signal.SIGCONT)
    seen = wait_for(
        lambda: [e for name in ("ledger_trouble", "ledger_not_written", "retry") for e in site.events(name)],
        what="a word about the full disk",
    )
    filler.unlink()
    site.drop()
    site.wait_for_all()
    return f"log: {sorted({event['code'] for event in seen})}; went on when there was room"


def the_clock_is_set(site: Site, off_s: int) -> str:
    """While one job waits for its next attempt and another may be under way; a third is dropped afterwards."""
    shim = Shim(site.service)
    site.start(site.doom("die", "decode_dub", site.next_title()))
    waits = site.drop(ErrorCode.WORKER_CRASHED)
    site.drop()
    site.wait_for_event("retry")
    shim.set_clock(off_s)
    dropped_s = time.monotonic()
    site.wait_for_job(site.drop(), lambda _: True)
    settled_s = time.monotonic() - dropped_s
    assert settled_s >= site.service.settle_s, f"a file counted as settled after {settled_s:.2f} s"
    site.wait_for_all()
    again = seconds_between(*site.events("admit", job=site.wait_for_job(waits, lambda _: True).job_id))
    ended = len(site.events("worker_is_ended"))
    return f"the next attempt began at {again - off_s:+.1f} s by the true clock; {ended} stalls judged"
