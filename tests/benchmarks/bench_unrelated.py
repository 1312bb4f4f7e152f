"""Offsets given where there is none: programmes that have nothing to do with each other, each against many others.

``python -m tests.benchmarks.bench_unrelated [--pairs N] [--jobs N]``: programmes of 25 to 90 s in several languages and
styles, rendered once; every method but the models looks at every pair. One offset in a thousand would be too many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import soxr

from syncd.analysis.evidence import MID, SIDE, SideEvidence
from syncd.analysis.measure import measure
from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult
from tests.benchmarks.bench_corpus import EVERY_METHOD
from tests.material.programme import Programme
from tests.material.seeds import RATE_HZ, Samples
from tests.unit.in_memory import SR_HZ, channel_of

Row = tuple[str, str, str]

PROGRAMMES = 80
LENGTHS_S = (25.0, 45.0, 60.0, 90.0)
FIRST_SEED = 90_000
LANGUAGES = 5
LIMIT = 0.001


class Silent:
    """A watcher that hears nothing."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


def rendered(number: int) -> Samples:
    """One programme's sound, (2, samples) at 16 kHz."""
    seconds = LENGTHS_S[number % len(LENGTHS_S)]
    mix = Programme(FIRST_SEED + number, seconds).mix(1 + number % LANGUAGES)
    total, block = round(seconds * RATE_HZ), 4 * RATE_HZ
    whole = np.concatenate([mix(at, min(block, total - at)) for at in range(0, total, block)], axis=1)
    return np.asarray(soxr.resample(whole.T, RATE_HZ, SR_HZ).T, dtype=np.float32)


def evidence_of(sound: Samples) -> SideEvidence:
    """Middle and side of a stereo sound."""
    middle, side = (sound[0] + sound[1]) / 2, (sound[0] - sound[1]) / 2
    return SideEvidence(sound.shape[1] / SR_HZ, {MID: channel_of(middle), SIDE: channel_of(side)})


_sides: dict[int, SideEvidence] = {}


def judged(pair: tuple[int, int]) -> tuple[str, bool, dict[str, float]]:
    """The verdict, whether an offset was given, and each method's best height."""
    for number in pair:
        if number not in _sides:
            _sides[number] = evidence_of(rendered(number))
    settings = AnalysisSettings(EVERY_METHOD, TOLERANCES["ebu-r37"])
    answer = measure(_sides[pair[0]], _sides[pair[1]], settings, Silent())
    heights = {result.method: result.quality_score for result in answer.method_results}
    return answer.decision.verdict.value, answer.decision.consensus is not None, heights


def pairs_of(count: int) -> list[tuple[int, int]]:
    """Each programme with the next, then with the one after the next, and so on: never the same two twice."""
    ordered = ((i, (i + apart) % PROGRAMMES) for apart in range(1, PROGRAMMES // 2) for i in range(PROGRAMMES))
    return [pair for pair, _ in zip(ordered, range(count), strict=False)]


def rows(count: int, jobs: int) -> Iterator[Row]:
    """The figures of so many pairs."""
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    verdicts: Counter[str] = Counter()
    best: dict[str, float] = defaultdict(float)
    given = 0
    asked = sorted(pairs_of(count))
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        for verdict, offset_given, heights in pool.map(judged, asked, chunksize=max(1, len(asked) // (4 * jobs))):
            verdicts[verdict] += 1
            given += offset_given
            for method, height in heights.items():
                best[method] = max(best[method], height)
    missed = "" if given <= LIMIT * count else "  MISSED"
    yield f"offsets given to {count} unrelated pairs", f"{given}{missed}", f"below {LIMIT * count:g}"
    yield "verdicts", ", ".join(f"{verdict} {number}" for verdict, number in verdicts.most_common()), ""
    for method, height in best.items():
        yield f"highest chance peak of {method}", f"{height:.1f} deviations", ""


def run() -> list[Row]:
    """All figures at full length, as (what, measured, aim)."""
    return list(rows(int(os.environ.get("BENCH_UNRELATED", "3000")), os.cpu_count() or 1))


def main() -> int:
    """Print the figures; 1 where offsets were given too often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args()
    holds = True
    for row in rows(asked.pairs, asked.jobs):
        sys.stdout.write("  ".join(row) + "\n")
        holds = holds and "MISSED" not in row[1]
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
