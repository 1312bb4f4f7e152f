"""``python -m tests.chaos.soak [--jobs N]``: the service at work for a long while, and what it grows by."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.table import Table

from syncd.domain import JobState
from tests.acceptance.service import Service, wait_for
from tests.chaos.pairs import ManyPairs

MB = 1_000_000
DAEMON_GROWTH_MB = 2.0
WORKER_GROWTH_MB = 10.0
AT_ONCE = 20
"""Pairs that lie in the folder at a time; what is done is taken away."""


@dataclass(frozen=True)
class Look:
    """One process at one moment."""

    pid: int
    private_mb: float
    written_mb: float
    descriptors: int
    threads: int

    @classmethod
    def at(cls, process: psutil.Process) -> Look:
        """Private memory: what nobody else would hold in its place; and of that, what it has written itself.

        The rest are pages of libraries, which count as private as soon as nobody else happens to have them mapped.
        """
        written = sum(mapping.private_dirty for mapping in process.memory_maps(grouped=True))
        private_mb = process.memory_full_info().uss / MB
        return cls(process.pid, private_mb, written / MB, process.num_fds(), process.num_threads())


@dataclass(frozen=True)
class Growth:
    """Daemon and worker after a warm-up, and at the end."""

    jobs: int
    daemon: tuple[Look, Look]
    worker: tuple[Look, Look]
    completed: int

    def rows(self) -> Iterator[tuple[str, str, str, bool]]:
        """What, measured, aim, and whether it holds."""
        yield "jobs completed", f"{self.completed} of {self.jobs}", "all", self.completed == self.jobs
        yield from self._of("daemon", self.daemon, DAEMON_GROWTH_MB)
        yield from self._of("worker", self.worker, WORKER_GROWTH_MB)

    def _of(self, name: str, looks: tuple[Look, Look], most_mb: float) -> Iterator[tuple[str, str, str, bool]]:
        before, after = looks
        for what, old_mb, new_mb in (
            ("private memory", before.private_mb, after.private_mb),
            ("of it written", before.written_mb, after.written_mb),
        ):
            grown_mb = new_mb - old_mb
            told = f"{grown_mb:+.1f} MB (from {old_mb:.1f} to {new_mb:.1f})"
            yield f"{name}, {what}", told, f"{most_mb:g} MB", grown_mb < most_mb
        for what, old, new in (
            ("descriptors", before.descriptors, after.descriptors),
            ("threads", before.threads, after.threads),
        ):
            yield f"{name}, {what}", f"{old} to {new}", "no more", new <= old
        yield f"{name}, the same process", str(before.pid == after.pid), "True", before.pid == after.pid


def soak(service: Service, jobs: int, warm_up: int) -> Growth:
    """So many jobs, a few at a time; the first ones to warm up are not judged."""
    pairs = ManyPairs(service.home)
    service.start()
    first: tuple[Look, Look] | None = None
    for start in range(0, jobs, AT_ONCE):
        titles = [pairs.drop(service.drop, number) for number in range(start, min(start + AT_ONCE, jobs))]
        service.wait_for_jobs(start + len(titles), deadline_s=120.0)
        for title in titles:
            for path in service.drop.glob(f"{title}_*"):
                path.unlink()
        if first is None and start + len(titles) >= warm_up:
            first = _looks(service)
    assert first is not None
    last = _looks(service)
    completed = sum(job.state is JobState.COMPLETED for job in service.jobs())
    service.stop()
    return Growth(jobs, (first[0], last[0]), (first[1], last[1]), completed)


def _looks(service: Service) -> tuple[Look, Look]:
    assert service.process is not None
    daemon = psutil.Process(service.process.pid)
    worker = wait_for(lambda: service.workers() or None, what="an idle worker")[0]
    return Look.at(daemon), Look.at(worker)


def main() -> int:
    """1 where something grew."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--jobs", type=int, default=2_000)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncd-soak-") as folder:
        service = Service(Path(folder), extra="[workers]\ncpu_slots = 1\n")
        try:
            rows = list(soak(service, asked.jobs, warm_up=asked.jobs // 10).rows())
        finally:
            service.close()
    table = Table("what", "measured", "aim")
    for what, measured, aim, holds in rows:
        table.add_row(what, measured if holds else f"{measured}  MISSED", aim)
    Console(width=110).print(table)
    return 0 if all(holds for *_, holds in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
