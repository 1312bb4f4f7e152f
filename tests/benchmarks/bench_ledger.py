"""The ledger's figures: claims and finishes a second, and pages of a list of a million jobs while others write."""

from __future__ import annotations

import json
import multiprocessing
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from itertools import count
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from typing import Final

import numpy as np

from syncd.domain import JobState, Priority
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import JobFilter
from tests.integration.ledger_material import OBSERVATION, SETTINGS, a_pair

JOBS_DONE: Final = 3_000
JOBS_LISTED: Final = 1_000_000
READERS: Final = 20
ASKED_A_SECOND: Final = 5.0
ASKING_S: Final = 30.0
PAGE: Final = 50
REPORT: Final = json.dumps({"schema_version": 1, "padding": "x" * 8_000})
"""As long as a report of an edited dub."""
FILTERS: Final = (
    JobFilter(),
    JobFilter(states=frozenset({JobState.COMPLETED})),
    JobFilter(states=frozenset({JobState.QUEUED, JobState.RUNNING})),
    JobFilter(review=True),
    JobFilter(language="fr"),
)
SEARCH: Final = JobFilter(title="is nowhere")
"""Part of a title: no index helps, so the worst is one that no job has."""


def bench_work(folder: Path) -> list[tuple[str, str, str]]:
    """One job after another through the daemon's own verbs, each on the disk before the next."""
    ledger = Ledger.open(folder / "ledger.db")
    try:
        enqueue(ledger, JOBS_DONE)
        started_s = time.monotonic()
        done = 0
        while work_one(ledger):
            done += 1
        took_s = time.monotonic() - started_s
    finally:
        ledger.close()
    synced_s = _synced_write_s(folder)
    return [
        (f"claim and finish, {done:,} jobs", f"{done / took_s:.0f} a second", "500 a second"),
        ("what the disk takes to write 4 KB and say so", f"{1000 * synced_s:.2f} ms", ""),
    ]


def bench_lists(folder: Path) -> list[tuple[str, str, str]]:
    """Pages of fifty while jobs come and go: how long each takes whoever asks."""
    path = folder / "ledger.db"
    ledger = Ledger.open(path)
    enqueue(ledger, 2)
    work_one(ledger)
    ledger.close()
    multiply(path, JOBS_LISTED)
    spawn = multiprocessing.get_context("spawn")
    ready, over, results = spawn.Barrier(READERS + 1), spawn.Event(), spawn.Queue()
    readers = [spawn.Process(target=ask, args=(path, i, ready, over, results.put)) for i in range(READERS)]
    for reader in readers:
        reader.start()
    ready.wait()
    worked = _work_meanwhile(path)
    over.set()
    taken_ms = np.concatenate([results.get() for _ in readers])
    for reader in readers:
        reader.join()
    p50, p99 = np.quantile(taken_ms, [0.5, 0.99])
    reader = LedgerReader.open(path)
    started_s = time.monotonic()
    reader.jobs(SEARCH, limit=PAGE)
    searched_ms = 1000.0 * (time.monotonic() - started_s)
    started_s = time.monotonic()
    reader.counts()
    counted_ms = 1000.0 * (time.monotonic() - started_s)
    reader.close()
    asked = f"{READERS} readers, {taken_ms.size / ASKING_S:.0f} pages a second in all, {worked} jobs done meanwhile"
    return [
        (f"a page of {PAGE} out of {JOBS_LISTED:,} jobs, {asked}", f"p50 {p50:.1f} ms, p99 {p99:.1f} ms", "p99 20 ms"),
        ("a search for part of a title that no job has", f"{searched_ms:.0f} ms", ""),
        ("all jobs counted by state, as metrics do beside the main loop", f"{counted_ms:.0f} ms", ""),
        (
            "the queue counted and its oldest job found, as the main loop does",
            f"{_depth_ms(path):.1f} ms",
            "20 ms",
        ),
        ("the ledger's size", f"{path.stat().st_size / 1e9:.2f} GB", ""),
    ]


def _depth_ms(path: Path) -> float:
    ledger = Ledger.open(path)
    try:
        started_s = time.monotonic()
        ledger.depth()
        return 1000.0 * (time.monotonic() - started_s)
    finally:
        ledger.close()


def multiply(path: Path, jobs: int) -> None:
    """So many completed jobs, each with files, an attempt, events and a report of its own, after the one that is."""
    with closing(sqlite3.connect(path)) as ledger:
        kept = {
            "media": {"path": "CAST(path || :n AS BLOB)", "path_text": "path_text || :n"},
            "jobs": {
                "title": "title || ' ' || :n",
                "title_folded": "title_folded || ' ' || :n",
                "place_key": "place_key || :n",
                "version_key": "version_key || :n",
                "master_id": "master_id + 10 * :n",
                "dub_id": "dub_id + 10 * :n",
                "review": "CASE WHEN :n % 20 = 0 THEN 1 ELSE 0 END",
                "language": "CASE WHEN :n % 3 = 0 THEN 'fr' ELSE 'de' END",
            },
            "attempts": {"job_id": "job_id + 10 * :n"},
            "events": {"job_id": "job_id + 10 * :n", "attempt_id": "attempt_id + 10 * :n"},
            "reports": {"job_id": "job_id + 10 * :n", "report": "'{}'"},
        }
        only = {"media": "id <= 2", "jobs": "id = 1", "reports": "job_id = 1", "attempts": "job_id = 1"}
        for table, changed in kept.items():
            names = [row[1] for row in ledger.execute(f"PRAGMA table_info({table})")]
            if table == "media" and "path_text" not in names:
                changed.pop("path_text")
            values = [changed.get(name, "id + 10 * :n" if name == "id" else name) for name in names]
            values = [value.replace(":n", "n.value") for value in values]
            statement = (  # Names of our own tables and columns, and numbers.
                f"WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < {jobs}) "  # noqa: S608
                f"INSERT INTO {table} SELECT {', '.join(values)} FROM n CROSS JOIN "
                f"(SELECT * FROM {table} WHERE {only.get(table, 'job_id = 1')})"
            )
            ledger.execute(statement)
            ledger.commit()
        ledger.execute("ANALYZE")


def ask(path: Path, number: int, ready: Barrier, over: Event, tell: Callable[[object], None]) -> None:
    """One reader: a page of each kind in turn, now and then the second one, at its pace until it is over."""
    reader = LedgerReader.open(path)
    taken_ms: list[float] = []
    for filters in FILTERS:
        reader.jobs(filters, limit=PAGE)
    ready.wait()
    begun_s = time.monotonic() + number / (READERS * ASKED_A_SECOND)
    for turn in count():
        if over.wait(max(0.0, begun_s + turn / ASKED_A_SECOND - time.monotonic())):
            break
        filters = FILTERS[(number + turn) % len(FILTERS)]
        started_s = time.monotonic()
        page = reader.jobs(filters, limit=PAGE)
        taken_ms.append(1000.0 * (time.monotonic() - started_s))
        if page.next is not None and turn % 3 == 0:
            reader.jobs(filters, limit=PAGE, after=page.next)
    reader.close()
    tell(np.array(taken_ms))


def _work_meanwhile(path: Path) -> int:
    """As a daemon would: twenty jobs come and twenty go each second."""
    ledger = Ledger.open(path)
    done = 0
    try:
        end_s = time.monotonic() + ASKING_S
        while (now_s := time.monotonic()) < end_s:
            enqueue(ledger, 20, f"Later {done}")
            while work_one(ledger):
                done += 1
            time.sleep(max(0.0, now_s + 1.0 - time.monotonic()))
    finally:
        ledger.close()
    return done


def enqueue(ledger: Ledger, jobs: int, title: str = "Heist") -> None:
    for number in range(jobs):
        pair = a_pair(f"{title} {number}", "fr")
        ledger.enqueue(pair, profile="default", settings=SETTINGS, priority=Priority.NORMAL)


def work_one(ledger: Ledger) -> bool:
    waiting = ledger.ready(1)
    lease = ledger.claim(waiting[0].job_id, device="cpu", predicted_ram_bytes=200_000_000) if waiting else None
    if lease is None:
        return False
    ledger.complete(
        lease,
        report_json=REPORT,
        sidecar_path=Path(f"/drop/{lease.job_id}.sync.json"),
        verdict="in_sync",
        review=False,
        offset_s=0.001,
        confidence=0.99,
        observation=OBSERVATION,
    )
    return True


def _synced_write_s(folder: Path, times: int = 200) -> float:
    """What the file system takes for the least that is durable."""
    with (folder / "synced").open("wb", buffering=0) as file:
        started_s = time.monotonic()
        for _ in range(times):
            file.write(bytes(4096))
            os.fdatasync(file.fileno())
        return (time.monotonic() - started_s) / times


def run() -> list[tuple[str, str, str]]:
    """Everything, in folders of its own."""
    rows = []
    for bench in (bench_work, bench_lists):
        with tempfile.TemporaryDirectory(prefix="syncd-bench-", dir=os.environ.get("BENCH_FOLDER")) as folder:
            rows += bench(Path(folder))
    return rows
