"""``python -m tests.chaos [--jobs N] [--kills N] [--seed N] [--only NAME]``: the storm and every fault, in one table.

``--only storm``, or one fault by its name.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.acceptance.service import Service
from tests.chaos.catalogue import FAULTS, bring_about
from tests.chaos.pairs import ManyPairs
from tests.chaos.storm import Storm

STORM = "storm"


@dataclass(frozen=True)
class Row:
    """One disturbance."""

    name: str
    injected: str
    seen: str
    seconds: float
    broken: tuple[str, ...]
    is_skipped: bool = False


def main() -> int:
    """1 where a promise was broken."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--jobs", type=int, default=200, help="in the storm")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=[STORM, *FAULTS])
    asked = parser.parse_args()
    rows = []
    for row in _rows(asked):
        rows.append(row)
        sys.stderr.write(f"{row.name}: {row.seen} ({row.seconds:.0f} s, {len(row.broken)} promises broken)\n")
    Console(width=140).print(_table(rows))
    for row in rows:
        for each in row.broken:
            sys.stdout.write(f"{row.name}: {each}\n")
    return 1 if any(row.broken for row in rows) else 0


def _rows(asked: argparse.Namespace) -> Iterator[Row]:
    if asked.only in {None, STORM}:
        yield _storm(asked)
    names = [name for name in FAULTS if asked.only in {None, name}]
    if names:
        with tempfile.TemporaryDirectory(prefix="syncd-pairs-") as made:
            pairs = ManyPairs(Path(made))
            yield from (_fault(name, pairs) for name in names)


def _fault(name: str, pairs: ManyPairs) -> Row:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="syncd-fault-") as folder:
        outcome = bring_about(FAULTS[name], pairs, Path(folder))
    seconds = time.monotonic() - began_s
    return Row(name, FAULTS[name].injected, outcome.seen, seconds, outcome.broken, outcome.is_skipped)


def _storm(asked: argparse.Namespace) -> Row:
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="syncd-chaos-") as folder:
        service = Service(Path(folder))
        try:
            storm = Storm(service, asked.jobs, asked.kills, asked.seed)
            storm.run()
            broken = tuple(storm.faults())
        finally:
            service.close()
    injected = f"{storm.killed} SIGKILLs of the daemon, {len(storm.struck)} of workers, at random"
    seen = f"{storm.jobs} jobs dropped; {'; '.join(_delays(storm))}"
    return Row(STORM, injected, seen, time.monotonic() - began_s, broken)


def _delays(storm: Storm) -> Iterator[str]:
    for name, seconds in (
        ("daemon killed to the next claim", storm.restarts_s),
        ("worker killed to the job's next attempt", storm.again_s),
    ):
        if seconds:
            yield f"{name} {statistics.median(seconds):.2f} s median, {max(seconds):.2f} s at most"


def _table(rows: list[Row]) -> Table:
    table = Table("fault", "injected", "seen", "seconds", "promises broken")
    for row in rows:
        broken = "skipped" if row.is_skipped else str(len(row.broken))
        table.add_row(row.name, row.injected, row.seen, f"{row.seconds:.0f}", broken)
    return table


if __name__ == "__main__":
    sys.exit(main())
