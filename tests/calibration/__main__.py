"""``python -m tests.calibration [--pairs N] [--jobs N] [--kept FILE] [--write]``: observe, fit, check, tell.

Half of the programmes are fitted and the other half checked; what is written is fitted on all of them.
``--kept`` is a file of observations, made if it is not there; ``--write`` writes syncd/analysis/calibration.json, the
reliability diagram of the docs, and the observations that both rest on (tests/calibration/observed.jsonl.gz).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import resources
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tests.calibration.fit import Bin, cross_checked, fit, reliability, split
from tests.calibration.observed import Twice, both, keep_for_good
from tests.calibration.pairs import NEIGHBOURS, PROGRAMMES


def observe_all(numbers: Iterable[int], jobs: int, kept: Path) -> list[Twice]:
    """What is kept, and what is missing of it, kept as it comes; by number."""
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
    return sorted(known, key=lambda one: one.usual.number)


def told(bins: Sequence[Bin]) -> Table:
    """The diagram in figures."""
    shown = Table("confidence", "offsets", "stated", "right", "95 % interval", box=None)
    for one in bins:
        low, high = one.interval()
        shown.add_row(
            f"{one.low:g} to {min(one.high, 1.0):g}",
            str(one.number),
            f"{one.stated:.3f}",
            f"{one.right / one.number:.3f}",
            f"{low:.3f} to {high:.3f}",
        )
    return shown


def draw(bins: Sequence[Bin], path: Path) -> None:
    """Stated against right, with Wilson's intervals, on the diagonal that honesty would draw."""
    import matplotlib as mpl  # noqa: PLC0415 - heavy, and of no use where nothing is drawn

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - the same

    plt.rcParams |= {"svg.hashsalt": "syncd", "svg.fonttype": "none", "font.family": "sans-serif"}
    figure, axes = plt.subplots(figsize=(5.0, 5.0))
    axes.plot((0, 1), (0, 1), color="0.7", linewidth=1)
    for one in bins:
        low, high = one.interval()
        axes.plot((one.stated, one.stated), (low, high), color="tab:blue", linewidth=1.5)
        axes.plot(one.stated, one.right / one.number, "o", color="tab:blue", markersize=3 + min(9.0, one.number**0.33))
    axes.set(xlim=(0, 1.01), ylim=(0, 1.01), xlabel="stated confidence", ylabel="share right to 20 ms")
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def main() -> int:
    """Everything."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=NEIGHBOURS * PROGRAMMES)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--kept", type=Path, default=Path("calibration.jsonl"))
    parser.add_argument("--write", action="store_true")
    asked = parser.parse_args()
    seen = observe_all(range(asked.pairs), asked.jobs, asked.kept)
    fitted, bins = fit(*split(seen)), reliability(*cross_checked(seen))
    Console().print(told(bins))
    written = msgspec.json.format(msgspec.json.encode(fitted), indent=2) + b"\n"
    sys.stdout.write(written.decode())
    if asked.write:
        Path(str(resources.files("syncd.analysis").joinpath("calibration.json"))).write_bytes(written)
        keep_for_good(seen)
        draw(bins, Path(__file__).parents[2] / "docs" / "reliability.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
