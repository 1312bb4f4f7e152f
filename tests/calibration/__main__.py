"""``python -m tests.calibration [--pairs N] [--jobs N] [--kept FILE] [--write]``: observe, fit, check, tell.

Half of the programmes are fitted and the other half checked; what is written is fitted on all of them.
``--kept`` is a file of observations, made if it is not there; ``--write`` writes
syncd/analysis/calibration.json and the reliability diagram of the docs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
from rich.progress import track

from tests.calibration.observed import Twice, both
from tests.calibration.pairs import NEIGHBOURS, PROGRAMMES


def observe_all(numbers: Iterable[int], jobs: int, kept: Path) -> list[Twice]:
    """What is kept, and what is missing of it, kept as it comes."""
    decode = msgspec.json.Decoder(Twice).decode
    known = [decode(line) for line in kept.read_bytes().splitlines()] if kept.exists() else []
    missing = sorted(set(numbers) - {one.usual.number for one in known})
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    with (
        kept.open("ab") as file,
        ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool,
    ):
        told = pool.map(both, missing, chunksize=NEIGHBOURS)
        for one in track(told, total=len(missing), description="pairs", disable=not sys.stderr.isatty()):
            file.write(msgspec.json.encode(one) + b"\n")
            file.flush()
            known.append(one)
    return known


def main() -> int:
    """Everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=NEIGHBOURS * PROGRAMMES)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kept", type=Path, default=Path("calibration.jsonl"))
    asked = parser.parse_args()
    observe_all(range(asked.pairs), asked.jobs, asked.kept)
    return 0


if __name__ == "__main__":
    sys.exit(main())
