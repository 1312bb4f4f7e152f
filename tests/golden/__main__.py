"""Measures the golden pairs: ``python -m tests.golden`` tells what differs, ``--write`` keeps it.

Of a report that is kept already only that changes which no longer agrees. Read the change before it is committed: it is
what a user would see change.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.golden.comparing import difference, settled, to_text
from tests.golden.reports import Report, drop_all, kept_path, kept_report, stable_report


def main() -> int:
    """1 where something differs and was not kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="keep what was measured")
    write = parser.parse_args().write
    with tempfile.TemporaryDirectory(prefix="syncd-golden-") as home:
        measured = {name: stable_report(path) for name, path in drop_all(Path(home)).items()}
    differing = [name for name, report in measured.items() if _told(name, report)]
    if write:
        for name in differing:
            kept_path(name).write_text(to_text(settled(_known(name), measured[name])), encoding="utf-8")
    sys.stdout.write(f"{len(differing)} of {len(measured)} reports differ{', now kept' if write else ''}\n")
    return int(bool(differing) and not write)


def _known(name: str) -> Report:
    return kept_report(name) if kept_path(name).exists() else {}


def _told(name: str, report: Report) -> bool:
    if changes := difference(_known(name), report):
        sys.stdout.write(f"{name}\n{changes}\n\n")
    return bool(changes)


if __name__ == "__main__":
    sys.exit(main())
