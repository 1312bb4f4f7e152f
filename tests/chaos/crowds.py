"""``python -m tests.chaos.crowds [--files N] [--burst N] [--minutes N]``: many files at once, and many files at rest.

A burst of small files while nobody empties the kernel's queue, so that it overflows; and a folder of half a million
files: what it costs to know them all, and how fast a new pair is found among them. `TMPDIR` says where.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.listener import Listener

MB = 1_000_000
SETTLE_S = 1.0
PAIRS_A_FOLDER = 250
DROPS = 20
RESCANS = 3
LATEST_S = 1.0
LONGEST_RESCAN_S = 10.0
LARGEST_SHARE = 0.02
QUEUE = Path("/proc/sys/fs/inotify/max_queued_events")

Row = tuple[str, str, str, bool]
"""What, measured, aim, and whether it holds."""


def drop_pair(folder: Path, title: str) -> str:
    """The smallest that passes for a pair; returns the dub's name."""
    dub = f"{title}_dub_fr.flac"
    for name in (f"{title}_master.flac", dub):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(descriptor, b"fLaC")
        os.close(descriptor)
    return dub


@contextmanager
def listening(folder: Path) -> Iterator[Listener]:
    """A listener that has settled down."""
    listener = Listener(folder, SETTLE_S)
    try:
        listener.wait_for(lambda heard: heard.settled_s is not None, "settled files")
        yield listener
    finally:
        listener.close()


def burst(folder: Path, files: int) -> Iterator[Row]:
    """More small files than the kernel's queue holds, while nobody reads it."""
    listener = Listener(folder, SETTLE_S)
    listener.wait_for(lambda heard: heard.settled_s is not None, "an empty folder")
    listener.send(signal.SIGSTOP)
    for number in range(files // 2):
        drop_pair(folder, f"take{number:06d}")
    dropped_s = time.monotonic()
    listener.send(signal.SIGCONT)
    try:
        listener.wait_for(lambda heard: len(heard.pairs_s) == files // 2, "every pair", deadline_s=120.0)
    finally:
        errors = listener.close()
    heard = listener.heard
    found, twice = 2 * len(heard.pairs_s), len(heard.told) - len(heard.pairs_s)
    overflowed = "overflow" in errors
    queue = int(QUEUE.read_text("ascii"))
    yield f"burst, the queue ({queue:,} events) overflowed", str(overflowed), "True", overflowed
    yield "burst, files noticed", f"{found:,} of {files:,}", "all", found == files
    yield "burst, pairs told of twice", str(twice), "0", twice == 0
    yield "burst, last file to last pair", f"{max(heard.pairs_s.values()) - dropped_s:.1f} s", "", True


def fill(folder: Path, files: int) -> None:
    """Pairs: half of them in one folder, the others some hundreds in a folder."""
    for number in range(files // 2):
        inner = folder / ("all" if number % 2 else f"show{number // (2 * PAIRS_A_FOLDER):05d}")
        inner.mkdir(exist_ok=True)
        drop_pair(inner, f"episode{number:06d}")


def crowd(folder: Path, files: int, watched_s: float) -> Iterator[Row]:
    """A folder full of settled pairs: what it costs, and one more pair among them."""
    fill(folder, files)
    with listening(folder) as listener:
        settled_s = listener.heard.settled_s or 0.0
        yield f"{files:,} files, start to all settled", f"{settled_s - listener.began_s:.1f} s", "", True
        memory = listener.looked_at.memory_full_info()
        told = f"{memory.rss / MB:.0f} MB resident, {memory.uss / MB:.0f} MB private, {_peak_mb(listener):.0f} MB peak"
        yield "watcher's memory", told, "", True
        late_s = [_lateness_s(listener, folder, f"new{number}") for number in range(DROPS)]
        told = f"{statistics.median(late_s):.2f} s median, {max(late_s):.2f} s worst of {DROPS}"
        yield "new pair told of, after its quiet time", told, f"{LATEST_S:g} s", max(late_s) < LATEST_S
        rescans_s = [listener.rescan() for _ in range(RESCANS)]
        told = f"{statistics.median(rescans_s):.2f} s median, {max(rescans_s):.2f} s worst"
        yield "one rescan", told, f"{LONGEST_RESCAN_S:g} s", max(rescans_s) < LONGEST_RESCAN_S
        late_s = [_lateness_in_rescan_s(listener, folder, f"amid{number}") for number in range(RESCANS)]
        told = f"{max(late_s):.2f} s worst of {RESCANS}"
        yield "new pair while rescans are under way, the same", told, f"{LATEST_S:g} s", max(late_s) < LATEST_S
        rescans, share = _share_of_a_core(listener, watched_s)
        told = f"{share:.2%} ({rescans} rescans in {watched_s:.0f} s)"
        yield "share of a core, with rescans as configured", told, f"{LARGEST_SHARE:.0%}", share <= LARGEST_SHARE


def _peak_mb(listener: Listener) -> float:
    status = Path(f"/proc/{listener.looked_at.pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024 / MB


def _lateness_s(listener: Listener, folder: Path, title: str) -> float:
    dub = drop_pair(folder, title)
    closed_s = time.monotonic()
    listener.wait_for(lambda heard: dub in heard.pairs_s, f"the pair with {dub}")
    return listener.heard.pairs_s[dub] - closed_s - SETTLE_S


def _lateness_in_rescan_s(listener: Listener, folder: Path, title: str) -> float:
    """Of a pair whose quiet time ends while the whole folder is being read."""
    before = len(listener.heard.rescans_s)
    dub = drop_pair(folder, title)
    closed_s = time.monotonic()
    time.sleep(max(0.0, SETTLE_S - 0.2))
    listener.send(signal.SIGUSR1)
    listener.wait_for(lambda heard: dub in heard.pairs_s, f"the pair with {dub}")
    listener.wait_for(lambda heard: len(heard.rescans_s) > before, "the rescan's end")
    return listener.heard.pairs_s[dub] - closed_s - SETTLE_S


def _share_of_a_core(listener: Listener, watched_s: float) -> tuple[int, float]:
    rescans, cpu = len(listener.heard.rescans_s), listener.looked_at.cpu_times()
    time.sleep(watched_s)
    after = listener.looked_at.cpu_times()
    used_s = after.user + after.system - cpu.user - cpu.system
    return len(listener.heard.rescans_s) - rescans, used_s / watched_s


def main() -> int:
    """1 where an aim was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--files", type=int, default=500_000, help="at rest in the folder; 0: leave this out")
    parser.add_argument("--burst", type=int, default=40_000, help="at once; 0: leave this out")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long the processor's time is watched")
    asked = parser.parse_args()
    rows: list[Row] = []
    if asked.burst:
        with tempfile.TemporaryDirectory(prefix="syncd-crowds-") as home:
            rows += burst(Path(home), asked.burst)
    if asked.files:
        with tempfile.TemporaryDirectory(prefix="syncd-crowds-") as home:
            rows += crowd(Path(home), asked.files, 60.0 * asked.minutes)
    table = Table("what", "measured", "aim")
    for what, told, aim, holds in rows:
        table.add_row(what, told if holds else f"{told}  MISSED", aim)
    Console(width=120).print(table)
    return 0 if all(holds for *_, holds in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
