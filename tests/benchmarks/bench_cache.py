"""What the cache of features saves: five dubs of one ten-minute master, one after another, with and without it.

Both ways are gone in turn, best of some turns each; every turn with the cache begins with an empty one.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from syncd.domain import TOLERANCES, AnalysisSettings
from syncd.protocol import CacheOrder, MeasureRequest
from syncd.worker.measuring import Measurement, measure_pair
from tests.benchmarks.as_worker import Silent
from tests.material import PairTruth, make_pair

DUBS = 5
SECONDS = 600.0
TURNS = 3
MAX_BYTES = 8 << 30


def measured(pair: PairTruth, folder: Path, *, cached: bool) -> Measurement:
    order = CacheOrder(os.fsencode(folder / "features"), MAX_BYTES) if cached else None
    settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
    paths = os.fsencode(pair.master_path), os.fsencode(pair.dub_path)
    scratch = os.fsencode(folder / "scratch")
    return measure_pair(MeasureRequest(1, *paths, None, None, None, settings, scratch, cache=order), Silent())


def five_dubs_s(pair: PairTruth, folder: Path, *, cached: bool) -> float:
    """Wall time; that the cache was used is seen to, not believed."""
    shutil.rmtree(folder / "features", ignore_errors=True)
    started_s = time.monotonic()
    uses = [measured(pair, folder, cached=cached).cache for _ in range(DUBS)]
    took_s = time.monotonic() - started_s
    taken = [use.taken if use else () for use in uses]
    if taken != [(), *([("master",) if cached else ()] * (DUBS - 1))]:
        raise RuntimeError(f"the cache was not used as it should be: {uses}")
    return took_s


def run() -> list[tuple[str, str, str]]:
    """All of it: (what, measured, aim)."""
    rows = []
    for container in ("wav", "mp4"):
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
            folder = Path(name)
            pair = make_pair(folder, seed=7, duration_s=SECONDS, offset_s=-3.21713, container=container)
            turns = [
                (five_dubs_s(pair, folder, cached=False), five_dubs_s(pair, folder, cached=True)) for _ in range(TURNS)
            ]
            without_s, with_s = (min(times) for times in zip(*turns, strict=True))
            (entry,) = (folder / "features").glob("*.features")
            told = f"{with_s:.2f} s against {without_s:.2f} s ({with_s / without_s:.2f})"
            what = f"{DUBS} dubs of a {SECONDS / 60:g}-minute master, {container}"
            rows.append((f"{what}: wall with the cache against without", told, "at most 1.00"))
            rows.append((f"{what}: the entry", f"{entry.stat().st_size / 1e6:.0f} MB", ""))
    return rows
