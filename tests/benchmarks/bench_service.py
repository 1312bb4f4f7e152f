"""The service's figures: what an idle daemon costs, how fast a dropped pair is recorded, and a burst."""

from __future__ import annotations

import shutil
import sqlite3
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from tests.acceptance.service import Service, wait_for
from tests.material import write_tone

FILES = 10_000
BURST_PAIRS = 1_000
DROPS = 20
IDLE_S = 60.0
SETTLE_S = 0.5


def small_file(folder: Path) -> Path:
    """A file that settles at once and is soon told."""
    return write_tone(folder / "tone.wav", duration_s=0.1, sample_rate_hz=8000, channels=1)


def recorded(service: Service) -> list[tuple[str, str]]:
    """(dub path, time of enqueueing) of every job, straight from the ledger's view for people."""
    if not service.ledger.exists():
        return []
    with closing(sqlite3.connect(f"file:{service.ledger}?mode=ro", uri=True)) as connection:
        return list(connection.execute("SELECT dub, enqueued_at FROM job_summary"))


def started(service: Service) -> psutil.Process:
    """The daemon, up, with its queue held so that only settle, pair and enqueue are measured."""
    process = service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    service.syncctl("pause")
    return psutil.Process(process.pid)


def bench_idle(home: Path) -> list[tuple[str, str, str]]:
    """Memory and CPU of a daemon with many files in its folders and nothing to do."""
    service = Service(home, settle_s=SETTLE_S)
    source = small_file(home)
    for number in range(FILES):
        folder = service.drop / f"{number // 500:03d}"
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder / f"take{number:05d}_master.wav")
    daemon = started(service)
    wait_for(lambda: _is_quiet(daemon), deadline_s=180.0, what="a quiet daemon")
    cpu = daemon.cpu_times()
    time.sleep(IDLE_S)
    after = daemon.cpu_times()
    share = (after.user + after.system - cpu.user - cpu.system) / IDLE_S
    memory = daemon.memory_full_info()
    service.stop()
    return [
        (f"idle with {FILES:,} files, resident", f"{memory.rss / 1e6:.0f} MB", "100 MB"),
        (f"idle with {FILES:,} files, private", f"{memory.uss / 1e6:.0f} MB", ""),
        (f"idle with {FILES:,} files, of a core (one rescan in {IDLE_S:.0f} s)", f"{share:.2%}", "1 %"),
    ]


def _is_quiet(process: psutil.Process) -> bool:
    before = process.cpu_times()
    time.sleep(3.0)
    after = process.cpu_times()
    return after.user + after.system - before.user - before.system < 0.06


def bench_latency(home: Path) -> list[tuple[str, str, str]]:
    """From the end of the quiet time to the row in the ledger."""
    service = Service(home, settle_s=SETTLE_S)
    source = small_file(home)
    started(service)
    beyond_s = []
    for number in range(DROPS):
        shutil.copy(source, service.drop / f"t{number}_master.wav")
        shutil.copy(source, service.drop / f"t{number}_dub.wav")
        closed_s = time.monotonic()
        wait_for(lambda n=number: len(recorded(service)) > n, what="the row")  # type: ignore[misc] # mypy knows no default in a lambda
        beyond_s.append(time.monotonic() - closed_s - SETTLE_S)
    service.stop()
    return [
        ("dropped to recorded beyond the quiet time, median", f"{statistics.median(beyond_s):.3f} s", ""),
        (f"dropped to recorded beyond the quiet time, worst of {DROPS}", f"{max(beyond_s):.3f} s", "0.5 s"),
    ]


def bench_burst(home: Path) -> list[tuple[str, str, str]]:
    """Many pairs at once: all recorded, none twice."""
    service = Service(home, settle_s=SETTLE_S)
    source = small_file(home)
    started(service)
    for number in range(BURST_PAIRS):
        shutil.copy(source, service.drop / f"t{number:04d}_master.wav")
        shutil.copy(source, service.drop / f"t{number:04d}_dub_fr.wav")
    closed_s = time.monotonic()
    wait_for(lambda: len(recorded(service)) >= BURST_PAIRS, deadline_s=120.0, what="every row")
    took_s = time.monotonic() - closed_s
    time.sleep(3.0)
    rows = recorded(service)
    service.stop()
    once = len({path for path, _at in rows})
    return [
        (f"burst of {BURST_PAIRS:,} pairs, recorded", f"{len(rows):,} ({once:,} different)", f"{BURST_PAIRS:,}"),
        ("burst, last drop to last row", f"{took_s:.1f} s", ""),
    ]


def run() -> list[tuple[str, str, str]]:
    """All of it: (what, measured, aim)."""
    rows = []
    for bench in (bench_idle, bench_latency, bench_burst):
        with tempfile.TemporaryDirectory(prefix="syncd-bench-") as home:
            rows += bench(Path(home))
    return rows
