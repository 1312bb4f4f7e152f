"""What an operator waits for: commands as whole processes on a long ledger, metrics, readiness, a page.

``python -m tests.benchmarks.bench_operator [--jobs N] [--scraped N]``
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from syncd.domain import TOLERANCES, AnalysisSettings
from syncd.ledger.ledger import Ledger
from syncd.protocol import MeasureRequest
from syncd.reports.facts import ProcessingFacts, ReportSubject
from syncd.reports.report import write_reports
from syncd.watch.examine import identify
from syncd.worker.measuring import measure_pair
from tests.acceptance.service import Service, wait_for
from tests.acceptance.test_metrics import Scraped
from tests.benchmarks.as_worker import SOUND_METHODS, Silent
from tests.benchmarks.bench_ledger import enqueue, multiply, work_one
from tests.chaos.site import StatusLine
from tests.material.swell import make_swelling_pair

Row = tuple[str, str, str]

JOBS: Final = 1_000_000
SCRAPED_JOBS: Final = 100_000
BACKLOG: Final = 10_000
AT_ONCE: Final = 20
TURNS: Final = 9
SCRAPES: Final = 300
PAGE_HOURS: Final = 2.0


def filled(path: Path, jobs: int) -> None:
    """A ledger of so many completed jobs."""
    with closing(Ledger.open(path)) as ledger:
        enqueue(ledger, 2)
        work_one(ledger)
    multiply(path, jobs)


def bench_commands(home: Path, jobs: int) -> list[Row]:
    """`syncctl` as a whole process, import included, one at a time and twenty at once."""
    service = Service(home)
    filled(service.ledger, jobs)
    rows = []
    for arguments, aim in ((("list",), "0.7 s"), (("list", "--state", "failed"), ""), (("stats",), "")):
        took_s = [_command_s(service, *arguments) for _ in range(TURNS)]
        name = f"syncctl {' '.join(arguments)} on {jobs:,} jobs, a whole process, median of {TURNS}"
        rows.append((name, f"{statistics.median(took_s):.2f} s", aim))
    started_s = time.monotonic()
    crowd = [_command(service, "list") for _ in range(AT_ONCE)]
    statuses = [process.wait() for process in crowd]
    took = f"{time.monotonic() - started_s:.1f} s until the last, {statuses.count(0)} with status 0"
    return [*rows, (f"{AT_ONCE} of syncctl list begun at once", took, f"{AT_ONCE} with status 0")]


def _command(service: Service, *arguments: str) -> subprocess.Popen[bytes]:
    syncctl = Path(sys.executable).with_name("syncctl")
    environment = {**os.environ, "SYNCD_CONFIG": str(service.config)}
    return subprocess.Popen([syncctl, *arguments], env=environment, stdout=subprocess.DEVNULL)


def _command_s(service: Service, *arguments: str) -> float:
    started_s = time.monotonic()
    status = _command(service, *arguments).wait()
    assert status == 0, arguments
    return time.monotonic() - started_s


def bench_scrape(home: Path, jobs: int) -> list[Row]:
    """One scraper, one question after another, while the daemon has a long ledger."""
    scraped = Scraped(home)
    filled(scraped.service.ledger, jobs)
    try:
        scraped.start()
        took_ms = []
        for _ in range(SCRAPES):
            began_s = time.monotonic()
            assert scraped.get("/metrics")[0] == 200
            took_ms.append(1000.0 * (time.monotonic() - began_s))
            time.sleep(0.02)
    finally:
        scraped.service.close()
    p50, p99 = np.quantile(took_ms, [0.5, 0.99])
    return [(f"a scrape of /metrics with {jobs:,} jobs", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", "50 ms")]


def bench_readiness(home: Path, jobs: int) -> list[Row]:
    """From the start of the process to READY=1: nothing to do, then files and queued jobs and a long history."""
    service = Service(home)
    with closing(StatusLine(service)) as manager:
        _ready_s(service, manager)
        idle_s = statistics.median(_ready_s(service, manager) for _ in range(TURNS))
        for file in service.home.glob("ledger.db*"):
            file.unlink()
        filled(service.ledger, jobs)
        with closing(Ledger.open(service.ledger)) as ledger:
            enqueue(ledger, BACKLOG, "Waiting")
        for number in range(BACKLOG):
            folder = service.drop / f"{number // 500:03d}"
            folder.mkdir(exist_ok=True)
            (folder / f"take{number:05d}_master.wav").write_bytes(b"RIFF")
        full_s = statistics.median(_ready_s(service, manager) for _ in range(TURNS))
    backlog = f"{BACKLOG:,} files, {BACKLOG:,} queued of {jobs:,} jobs"
    return [
        ("from start to ready, nothing to do", f"{idle_s:.2f} s", "1 s"),
        (f"from start to ready, {backlog}", f"{full_s:.2f} s", "1 s"),
    ]


def _ready_s(service: Service, manager: StatusLine) -> float:
    manager.heard()
    began_s = time.monotonic()
    service.start()
    wait_for(lambda: any("READY=1" in message for message in manager.heard()), what="readiness")
    took_s = time.monotonic() - began_s
    service.stop(deadline_s=30.0)
    return took_s


def bench_page(home: Path, hours: float) -> list[Row]:
    """Sidecar and page of a long pair, figures included, as the report thread writes them."""
    pair = make_swelling_pair(home, 3_600.0 * hours)
    master, dub = pair.master_path, pair.dub_path
    settings = AnalysisSettings(SOUND_METHODS, TOLERANCES["ebu-r37"], html=True)
    paths = os.fsencode(master), os.fsencode(dub)
    told = measure_pair(MeasureRequest(1, *paths, None, None, None, settings, os.fsencode(home)), Silent())
    assert told.plots is not None
    files = [identify(path) for path in (master, dub)]
    subject = ReportSubject(1, "bench", "default", "fr", datetime.now(UTC), settings, *files)
    took_s = []
    for _ in range(TURNS):
        began_s = time.monotonic()
        written = write_reports(subject, told.result, ProcessingFacts(1.0), fallback=None, plots=told.plots)
        took_s.append(time.monotonic() - began_s)
    assert written.html_path is not None
    size = f"{written.html_path.stat().st_size / 1000:.0f} kB"
    drawing_s = told.result.stage_seconds["draw"]
    return [
        (f"report and page of a {hours:g}-hour pair, the first ({size})", f"{took_s[0]:.2f} s", "1 s"),
        ("the next ones, median", f"{statistics.median(took_s[1:]):.2f} s", "1 s"),
        ("what the worker takes to draw its figures", f"{drawing_s:.2f} s", ""),
    ]


def benches(jobs: int, scraped: int) -> list[Callable[[Path], list[Row]]]:
    """Each for a folder of its own."""
    return [
        lambda home: bench_commands(home, jobs),
        lambda home: bench_scrape(home, scraped),
        lambda home: bench_readiness(home, scraped),
        lambda home: bench_page(home, PAGE_HOURS),
    ]


def run(jobs: int = JOBS, scraped: int = SCRAPED_JOBS) -> list[Row]:
    """All of it: (what, measured, aim)."""
    rows = []
    for bench in benches(jobs, scraped):
        with tempfile.TemporaryDirectory(prefix="syncd-bench-", dir=os.environ.get("BENCH_FOLDER")) as home:
            rows += bench(Path(home))
    return rows


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--scraped", type=int, default=SCRAPED_JOBS)
    asked = parser.parse_args()
    for row in run(asked.jobs, asked.scraped):
        sys.stdout.write("  ".join(row) + "\n")


if __name__ == "__main__":
    main()
