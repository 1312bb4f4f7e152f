"""``python -m tests.chaos [--jobs N] [--kills N] [--seed N]``: the storm at full length, with its table."""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.acceptance.service import Service
from tests.chaos.storm import Storm


def main() -> int:
    """1 where the service did not hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="syncd-chaos-") as folder:
        service = Service(Path(folder))
        try:
            storm = Storm(service, asked.jobs, asked.kills, asked.seed)
            storm.run()
            faults = list(storm.faults())
        finally:
            service.close()
    Console(width=120).print(_table(storm, faults))
    for fault in faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if faults else 0


def _table(storm: Storm, faults: list[str]) -> Table:
    table = Table("what", "measured", "aim")
    table.add_row("jobs dropped", str(storm.jobs), "")
    table.add_row("daemons killed", str(len(storm.restarts_s)), "")
    table.add_row("workers killed", str(len(storm.struck)), "once a job at most")
    table.add_row("lost, doubled, left behind, wrong", str(len(faults)), "0")
    for name, seconds, aim in (
        ("daemon killed to the next claim", storm.restarts_s, "2 s"),
        ("worker killed to the job's next attempt", storm.again_s, "1 s beyond the ladder's delay of 1 to 1.5 s"),
    ):
        if seconds:
            told = f"{statistics.median(seconds):.2f} s median, {max(seconds):.2f} s at most"
            table.add_row(name, told, aim)
    return table


if __name__ == "__main__":
    sys.exit(main())
