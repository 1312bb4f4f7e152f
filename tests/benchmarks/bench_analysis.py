"""How fast, how small and how right the analysis is.

``python -m tests.benchmarks.bench_analysis [speed|memory|accuracy|unrelated]`` prints each figure beside its aim
and ends with 1 if one is missed. ``speed`` compares with decoding alone (plain
PyAV to 16 kHz mono float, both files in two threads, none of the project's code), turn by turn in the same run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import psutil

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result
from syncd.protocol import MeasureRequest
from syncd.worker.measuring import measure_pair
from tests.material import PairTruth, make_pair, make_unrelated_pair

MIB = 1 << 20

WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "2", "MALLOC_TRIM_THRESHOLD_": "1048576", "OPENBLAS_NUM_THREADS": "2"}
"""What the pool starts its workers with."""


class Silent:
    """A listener that hears nothing."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


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


SOUND_METHODS = ("correlation", "mfcc", "onset", "spectral", "chunked", "chroma")
"""Every method but `speech` and the models."""


def measured(master: Path, dub: Path, scratch: Path, methods: tuple[str, ...] = SOUND_METHODS) -> Result:
    settings = AnalysisSettings(methods, TOLERANCES["ebu-r37"])
    paths = os.fsencode(master), os.fsencode(dub)
    return measure_pair(MeasureRequest(1, *paths, None, None, None, settings, os.fsencode(scratch)), Silent()).result


def plain_decode(paths: tuple[Path, Path]) -> float:
    """Seconds of wall time for decoding alone."""

    def decode(path: Path) -> None:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=16_000)
        with av.open(os.fspath(path)) as container:
            for frame in container.decode(container.streams.audio[0]):
                for resampled in resampler.resample(frame):
                    resampled.to_ndarray()

    started_s = time.monotonic()
    threads = [threading.Thread(target=decode, args=(path,)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started_s


def bench_speed(folder: Path, seconds: float, turns: int) -> Iterator[Figure]:
    """Wall time of both methods against that of decoding alone, best of some turns each."""
    pair = make_pair(folder, seed=7, duration_s=seconds, offset_s=-3.21713)
    plain_s, ours_s = [], []
    for _ in range(turns):
        plain_s.append(plain_decode((pair.master_path, pair.dub_path)))
        started_s = time.monotonic()
        result = measured(pair.master_path, pair.dub_path, folder)
        ours_s.append(time.monotonic() - started_s)
    told = f"{min(ours_s):.2f} s, decoding alone {min(plain_s):.2f} s"
    yield Figure(f"wall against decoding, {seconds / 60:g} min ({told})", min(ours_s) / min(plain_s), 2.0, "times")
    yield error_figure("error of that pair", pair, result, 0.1)


def error_figure(name: str, pair: PairTruth, result: Result, limit_ms: float) -> Figure:
    if result.consensus is None:
        return Figure(f"{name} ({result.verdict}: {result.reasons})", float("inf"), limit_ms, "ms")
    return Figure(name, abs(result.consensus.offset_s - pair.offset_s) * 1_000.0, limit_ms, "ms")


def peak_private_bytes(master: Path, dub: Path, scratch: Path) -> int:
    """Of a fresh process that measures the pair, imports included."""
    program = (
        "import sys; from pathlib import Path; from tests.benchmarks.bench_analysis import measured; "
        "measured(*map(Path, sys.argv[1:]))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(master), str(dub), str(scratch)], env={**os.environ, **WORKER_ENVIRONMENT}
    )
    watched = psutil.Process(child.pid)
    peak = 0
    while child.poll() is None:
        try:
            peak = max(peak, watched.memory_full_info().uss)
        except psutil.Error:
            break
        time.sleep(0.05)
    if child.wait() != 0:
        raise RuntimeError("the measuring process failed")
    return peak


def repeated(source: Path, target: Path, times: int) -> Path:
    """The same sound again and again: long enough to see whether memory grows, cheap to make."""
    with wave.open(str(source), "rb") as short, wave.open(str(target), "wb") as long:
        long.setparams(short.getparams())
        for _ in range(times):
            short.rewind()
            while block := short.readframes(1 << 20):
                long.writeframesraw(block)
    return target


def bench_memory(folder: Path, seconds: float) -> Iterator[Figure]:
    pair = make_pair(folder, seed=7, duration_s=seconds, offset_s=-3.21713)
    short = peak_private_bytes(pair.master_path, pair.dub_path, folder)
    yield Figure(f"private memory, {seconds / 60:g} min", short / MIB, 250.0, "MiB")
    longer = [repeated(p, folder / f"long_{p.name}", 8) for p in (pair.master_path, pair.dub_path)]
    long = peak_private_bytes(longer[0], longer[1], folder)
    yield Figure(f"private memory of eight times the length ({long / MIB:.0f} MiB)", long / short, 1.3, "times")


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
        ]
    return [figure.row() for figure in figures]


def main() -> int:
    """Run what is named, at the length that is named; 1 where a figure is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", nargs="*", default=["speed", "memory", "accuracy", "unrelated"])
    parser.add_argument("--seconds", type=float, default=1_800.0, help="length of the pair for speed and memory")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=20, help="how many unrelated pairs")
    asked = parser.parse_args()
    holds = True
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
        folder = Path(name)
        benches = {
            "speed": lambda: bench_speed(folder, asked.seconds, asked.turns),
            "memory": lambda: bench_memory(folder, asked.seconds),
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
