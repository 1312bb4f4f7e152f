"""``python -m tests.fuzz [--files N] [--seed N] [--keep FOLDER]``: the long run, with its table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.fuzz.feed import Feeding


def main() -> int:
    """1 where a worker crashed, hung, or went elsewhere."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--files", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=int(time.time()), help="(another one each time)")
    parser.add_argument("--keep", type=Path, help="an empty folder; what did harm stays in it, under «kept»")
    asked = parser.parse_args()
    with nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory(prefix="syncd-fuzz-") as folder:
        feeding = Feeding(Path(folder), asked.seed)
        feeding.run(asked.files)
    table = Table("outcome", f"files (seed {asked.seed})")
    for outcome, count in feeding.outcomes.most_common():
        table.add_row(outcome, str(count))
    Console(width=100).print(table)
    for fault in feeding.faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if feeding.faults else 0


if __name__ == "__main__":
    sys.exit(main())
