"""How fast, how small and how right the analysis is.

``python -m tests.benchmarks.bench_analysis [speed|memory|length|accuracy|unrelated]`` prints each figure beside its aim
and ends with 1 if one is missed. ``speed`` compares with decoding alone (plain
PyAV to 16 kHz mono float, both files in two threads, none of the project's code), turn by turn in the same run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from syncd.domain import Result
from tests.benchmarks.as_worker import SOUND_METHODS, fresh_process, measured
from tests.material import PairTruth, make_pair, make_unrelated_pair
from tests.material.swell import make_swelling_pair

MB = 1_000_000


@dataclass(frozen=True)
class Figure:
    """One line of the outcome."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.value <= self.limit

    def row(self) -> tuple[str, str, str]:
        """What, measured, aim."""
        missed = "" if self.holds else "  MISSED"
        return self.name, f"{self.value:.4g} {self.unit}".strip() + missed, f"at most {self.limit:g}"


def bench_speed(folder: Path, seconds: float, turns: int) -> Iterator[Figure]:
    """Wall time against that of decoding alone, best of some turns each, in a process started as a worker is."""
    pair = make_pair(folder, seed=7, duration_s=seconds, offset_s=-3.21713)
    yield error_figure("error of that pair", pair, measured(pair.master_path, pair.dub_path, folder), 0.1)
    with_speech = (*SOUND_METHODS, "speech")
    best_s = {}
    for methods in (SOUND_METHODS, with_speech):
        call = f"turns(*paths, times={turns}, methods={methods})"
        lines = fresh_process(call, pair.master_path, pair.dub_path, folder, stdout=subprocess.PIPE).communicate()[0]
        plain_s, best_s[methods] = (min(column) for column in np.loadtxt(lines.splitlines(), ndmin=2).T)
        if methods is SOUND_METHODS:
            told = f"{best_s[methods]:.2f} s, decoding alone {plain_s:.2f} s"
            ratio = best_s[methods] / plain_s
            yield Figure(f"wall against decoding, {seconds / 60:g} min ({told})", ratio, 2.5, "times")
    yield Figure("what `speech` adds to it", best_s[with_speech] - best_s[SOUND_METHODS], 6.0, "s")


def error_figure(name: str, pair: PairTruth, result: Result, limit_ms: float) -> Figure:
    if result.consensus is None:
        return Figure(f"{name} ({result.verdict}: {result.reasons})", float("inf"), limit_ms, "ms")
    return Figure(name, abs(result.consensus.offset_s - pair.offset_s) * 1_000.0, limit_ms, "ms")


@dataclass(frozen=True)
class Taken:
    """What a measurement took, in a process started as a worker is."""

    wall_s: float
    private_bytes: int
    """The highest, imports included."""
    scratch_bytes: int
    """The most room that it had on disk beside the media."""


def taken_by(master: Path, dub: Path, scratch: Path) -> Taken:
    free = shutil.disk_usage(scratch).free
    started_s = time.monotonic()
    child = fresh_process("measured(*paths)", master, dub, scratch)
    watched = psutil.Process(child.pid)
    private, on_disk = 0, 0
    while child.poll() is None:
        try:
            private = max(private, watched.memory_full_info().uss)
        except psutil.Error:
            break
        on_disk = max(on_disk, free - shutil.disk_usage(scratch).free)
        time.sleep(0.05)
    if child.wait() != 0:
        raise RuntimeError("the measuring process failed")
    return Taken(time.monotonic() - started_s, private, on_disk)


def bench_memory(folder: Path, seconds: float) -> Iterator[Figure]:
    pair = make_pair(folder, seed=7, duration_s=seconds, offset_s=-3.21713)
    taken = taken_by(pair.master_path, pair.dub_path, folder)
    name = f"private memory, {seconds / 60:g} min (scratch files: {taken.scratch_bytes / MB:.0f} MB)"
    yield Figure(name, taken.private_bytes / MB, 250.0, "MB")


def bench_length(folder: Path, hours: Sequence[float]) -> Iterator[Figure]:
    """Time and memory against those of the shortest, for ever longer mono files: linear, and flat."""
    first: Taken | None = None
    for length_h in hours:
        pair = make_swelling_pair(folder, 3_600.0 * length_h)
        taken = taken_by(pair.master_path, pair.dub_path, folder)
        first = first or taken
        told = (
            f"{taken.wall_s:.1f} s, {taken.private_bytes / MB:.0f} MB; scratch files {taken.scratch_bytes / MB:.0f} MB"
        )
        time_ratio = taken.wall_s / first.wall_s / (length_h / hours[0])
        yield Figure(f"time an hour, {length_h:g} h against {hours[0]:g} h ({told})", time_ratio, 1.3, "times")
        memory_ratio = taken.private_bytes / first.private_bytes
        yield Figure(f"private memory, {length_h:g} h against {hours[0]:g} h", memory_ratio, 1.3, "times")
        pair.master_path.unlink()
        pair.dub_path.unlink()


def bench_accuracy(folder: Path) -> Iterator[Figure]:
    plain: list[tuple[str, float, dict[str, Any]]] = [
        ("48 kHz", -2.4567891, {}),
        ("48 kHz, early", 3.2171003, {}),
        ("in sync", 0.0000071, {}),
        ("44.1 against 48 kHz", -0.4123711, {"dub_sample_rate_hz": 44_100}),
        ("mono against stereo", 1.3000053, {"dub_channels": 1}),
        ("FLAC", -7.7000017, {"dub_container": "flac"}),
        ("short in long", 33.3000071, {"dub_duration_s": 15.0}),
    ]
    for i, (name, true_s, options) in enumerate(plain):
        pair = make_pair(folder, seed=200 + i, duration_s=60.0, offset_s=true_s, **options)
        yield error_figure(f"error, {name}", pair, measured(pair.master_path, pair.dub_path, folder), 0.1)
    for i, container in enumerate(("mp4", "mkv", "mp3", "opus", "mkv-ac3")):
        pair = make_pair(folder, seed=220 + i, duration_s=60.0, offset_s=-1.2345678, dub_container=container)
        yield error_figure(f"error, {container}", pair, measured(pair.master_path, pair.dub_path, folder), 0.5)


def bench_unrelated(folder: Path, pairs: int) -> Iterator[Figure]:
    """Offsets given where there is none; half of the pairs last 20 s, half 45 s."""
    given, best = 0, 0.0
    for i in range(pairs):
        pair = make_unrelated_pair(folder, seed=1_000 + i, duration_s=20.0 if i % 2 else 45.0)
        result = measured(pair.master_path, pair.dub_path, folder)
        given += result.consensus is not None
        best = max(best, *(method.quality_score for method in result.method_results))
    yield Figure(f"offsets given to {pairs} unrelated pairs (best peak: {best:.1f} deviations)", given, 0, "")


def run() -> list[tuple[str, str, str]]:
    """All figures at full length, as (what, measured, aim)."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        figures = [
            *bench_accuracy(folder),
            *bench_unrelated(folder, 20),
            *bench_speed(folder, 1_800.0, 3),
            *bench_memory(folder, 1_800.0),
            *bench_length(folder, (0.5, 2.0, 10.0)),
        ]
    return [figure.row() for figure in figures]


def main() -> int:
    """Run what is named, at the length that is named; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", default=["speed", "memory", "length", "accuracy", "unrelated"])
    parser.add_argument("--seconds", type=float, default=1_800.0, help="length of the pair for speed and memory")
    parser.add_argument("--hours", type=float, nargs="*", default=(0.5, 2.0, 10.0), help="lengths for length")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=20, help="how many unrelated pairs")
    asked = parser.parse_args()
    holds = True
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        benches = {
            "speed": lambda: bench_speed(folder, asked.seconds, asked.turns),
            "memory": lambda: bench_memory(folder, asked.seconds),
            "length": lambda: bench_length(folder, asked.hours),
            "accuracy": lambda: bench_accuracy(folder),
            "unrelated": lambda: bench_unrelated(folder, asked.pairs),
        }
        for what in asked.what:
            for figure in benches[what]():
                sys.stdout.write("  ".join(figure.row()) + "\n")
                sys.stdout.flush()
                holds = holds and figure.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
