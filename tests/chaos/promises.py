"""What syncd promises whatever happens: checked after every disturbance, from the outside."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from syncd.domain import JobState
from syncd.errors import ErrorCode
from syncd.ledger.records import AttemptOutcome, Job
from syncd.reports.index import INDEX_NAME
from syncd.worker.cache_folder import CacheFolder
from tests.acceptance.service import Service, valid_report
from tests.chaos.pairs import OFFSET_S

ENDINGS = (".json", ".html")
OFFSET_TOLERANCE_S = 1e-3
MAX_CACHE_BYTES = 1 << 33

Met = Mapping[str, Collection[ErrorCode]]
"""What attempts at each title may have met, each code once; at any other title, nothing."""


def broken_promises(service: Service, titles: Collection[str], met: Met) -> Iterator[str]:
    """What does not hold, once everything dropped has ended and the daemon is stopped; nothing, if all does."""
    jobs = service.jobs()
    yield from _of_the_ledger(jobs, titles)
    for job in jobs:
        yield from _of_a_job(service, job, met.get(job.title, ()))
    yield from _left_behind(service)
    yield from (f"process {process.pid} outlived the service" for process in service.processes())
    yield from _of_the_log(service)


def _of_the_ledger(jobs: list[Job], titles: Collection[str]) -> Iterator[str]:
    recorded = Counter(job.title for job in jobs)
    yield from (f"{title} was never recorded" for title in sorted(set(titles) - set(recorded)))
    yield from (f"{title} was recorded {count} times" for title, count in recorded.items() if count != 1)


def _of_a_job(service: Service, job: Job, may_meet: Collection[ErrorCode]) -> Iterator[str]:
    if job.state is not JobState.COMPLETED:
        yield f"{job.title} is {job.state.value}: {job.failure}"
        return
    attempts = service.read(lambda reader: reader.attempts(job.job_id))
    done = sum(attempt.outcome is AttemptOutcome.COMPLETED for attempt in attempts)
    if done != 1:
        yield f"{job.title} was completed {done} times"
    met = Counter(attempt.failure.code for attempt in attempts if attempt.failure is not None)
    if unforeseen := met - Counter(may_meet):
        yield f"{job.title} met {[code.value for code in unforeseen]}"
    report = valid_report(service.drop / f"{job.title}_dub.wav.sync.json")
    offset = report["consensus_offset"]
    is_right = offset is not None and abs(offset["offset_seconds"] - OFFSET_S) <= OFFSET_TOLERANCE_S
    if report["job_id"] != job.job_id or not is_right:
        yield f"{job.title}'s report is not its own: job {report['job_id']}, {offset}"


def _left_behind(service: Service) -> Iterator[str]:
    media = {path.name for path in service.drop.glob("show*.wav")}
    reports = {f"{name}.sync{ending}" for name in media if "_dub" in name for ending in ENDINGS}
    beside = {path.name for path in service.drop.iterdir()} - media - reports - {INDEX_NAME}
    yield from (f"{name} is left beside the media" for name in sorted(beside))
    cache = service.home / "cache"
    # A draft of features may outlive its worker until the next one is made, or the daemon starts, which does this.
    CacheFolder(cache / "features", MAX_CACHE_BYTES).tidy()
    for folder, pattern in ((cache / "scratch", "*"), (cache / "features", ".draft-*")):
        yield from (f"{path.name} is left in {folder.name}" for path in _files(folder, pattern))


def _files(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern)) if folder.is_dir() else []


def _of_the_log(service: Service) -> Iterator[str]:
    """A daemon says what it meets in sentences; a traceback is a fault of its own."""
    for line in service.log().splitlines():
        if line.startswith("Traceback ") or any(f'"event": "{event}"' in line for event in BREAKS):
            yield f"the daemon broke: {line[:300]}"


BREAKS = ("task_broke", "report_broke", "request_broke", "measure_broke")
