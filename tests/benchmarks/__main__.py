"""`make bench`: every figure that syncd promises, measured here and now, beside its aim."""

from __future__ import annotations

import argparse
import importlib
import os
import platform
from collections.abc import Callable

from rich.console import Console
from rich.table import Table

Rows = list[tuple[str, str, str]]

SUITES: dict[str, str] = {
    "analysis": "tests.benchmarks.bench_analysis",
    "cache": "tests.benchmarks.bench_cache",
    "corpus": "tests.benchmarks.bench_corpus",
    "unrelated": "tests.benchmarks.bench_unrelated",
    "peers": "tests.benchmarks.bench_peers",
    "service": "tests.benchmarks.bench_service",
    "ledger": "tests.benchmarks.bench_ledger",
    "metrics": "tests.benchmarks.bench_metrics",
    "operator": "tests.benchmarks.bench_operator",
    "replay": "tests.benchmarks.bench_replay",
    "hang": "tests.benchmarks.bench_hang",
}


def machine() -> str:
    """What the figures were measured on."""
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    system = f"{platform.system()} {platform.machine()}"
    return f"{cores} cores, {memory_gb:.0f} GB, {system}, Python {platform.python_version()}"


def main() -> None:
    """Run the suites named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suites", nargs="*", choices=[*SUITES, []], help="which (all, if none is named)")
    chosen = parser.parse_args().suites or list(SUITES)
    console = Console(highlight=False)
    console.print(f"On {machine()}")
    for name in chosen:
        run: Callable[[], Rows] = importlib.import_module(SUITES[name]).run
        table = Table("what", "measured", "aim", title=name, title_justify="left", box=None, pad_edge=False)
        for row in run():
            table.add_row(*row)
        console.print(table)


if __name__ == "__main__":
    main()
