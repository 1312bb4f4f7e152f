"""What `make demo` and `make run` start: the real daemon, on a scratch folder or on one of your own.

The demo synthesises a programme with a music-and-effects bed and two dubs of it in made-up languages (no download),
drops them into a watched folder, follows the ledger live, prints the reports, and says what the truth was.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.rule import Rule
from rich.text import Text

from syncd.cli.jobs import offset_text
from syncd.cli.output import plain
from syncd.cli.report_view import report_view
from syncd.cli.watch import live_table
from syncd.domain import FINAL_STATES
from syncd.errors import SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job, JobFilter
from tests.material import PairTruth, make_pair

DURATION_S = 90.0
LATE_S, EARLY_S = -2.456, 0.3127
DEADLINE_S = 180.0

console = Console(highlight=False)


def write_config(folder: Path, drop: Path, *, settle_s: float) -> Path:
    """A configuration that keeps everything of the service in `folder`."""
    path = folder / "syncd.toml"
    path.write_text(
        f"""\
[ledger]
path = {json.dumps(str(folder / "ledger.db"))}

[[watch]]
path = {json.dumps(str(drop))}
settle_seconds = {settle_s}

[cache]
path = {json.dumps(str(folder / "cache"))}
""",
        encoding="utf-8",
    )
    return path


def synthesise(folder: Path) -> list[PairTruth]:
    """One master, and two dubs in other languages: one late, one a little early."""
    pairs = []
    for name, language, offset_s in (("fr", 2, LATE_S), ("de", 3, EARLY_S)):
        pairs.append(
            make_pair(
                folder,
                seed=20,
                duration_s=DURATION_S,
                offset_s=offset_s,
                master_name="Harbour_master_en",
                dub_name=f"Harbour_dub_{name}",
                dub_language=language,
                container="wav",
            )
        )
    return pairs


@contextmanager
def running_daemon(config: Path, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The real daemon, as systemd would start it; stopped as systemd would stop it."""
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "syncd.daemon", "--config", str(config)], stderr=stream)
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=10)


def follow(ledger: Path, expected: int, daemon: subprocess.Popen[bytes]) -> tuple[Job, ...]:
    """Show the jobs live until all of them have ended."""
    deadline_s = time.monotonic() + DEADLINE_S
    with Live(Text("waiting until the files are complete …"), console=console, refresh_per_second=8) as live:
        while time.monotonic() < deadline_s and daemon.poll() is None:
            jobs = read_jobs(ledger)
            if jobs:
                live.update(live_table(jobs), refresh=True)
            if len(jobs) == expected and all(job.state in FINAL_STATES for job in jobs):
                return jobs
            time.sleep(0.1)
    raise SystemExit("The daemon did not finish the demo's jobs; its log is above.")


def read_jobs(ledger: Path) -> tuple[Job, ...]:
    """What the ledger lists; nothing while the daemon is still making it."""
    try:
        reader = LedgerReader.open(ledger)
    except SyncdError:
        return ()
    try:
        return tuple(reversed(reader.jobs(JobFilter(), limit=50, after=None).jobs))
    finally:
        reader.close()


def demo() -> None:
    """Synthesise, drop, follow, report, compare."""
    with tempfile.TemporaryDirectory(prefix="syncd-demo-") as scratch:
        home = Path(scratch)
        made, drop = home / "made", home / "drop"
        made.mkdir()
        drop.mkdir()
        console.print(f"Making a programme of {DURATION_S:.0f} s and two dubs of it …")
        truths = {Path(pair.dub_path).name: pair for pair in synthesise(made)}
        config = write_config(home, drop, settle_s=1.0)
        log = home / "syncd.log"
        console.print(f"Starting syncd on {drop} and dropping {len(truths) + 1} files into it …\n")
        try:
            with running_daemon(config, log) as daemon:
                for path in sorted(made.iterdir()):
                    shutil.copy(path, drop / path.name)
                jobs = follow(home / "ledger.db", len(truths), daemon)
        except SystemExit:
            console.print(plain(log.read_text(encoding="utf-8", errors="replace")))
            raise
        worst_ms = max(compare(job, truths[job.dub_path.name]) for job in jobs)
        console.print(f"\nBoth dubs placed; the larger error is {worst_ms:.4f} ms.")
        if worst_ms > 0.1:
            raise SystemExit("That is more than the 0.1 ms that syncd promises.")


def compare(job: Job, truth: PairTruth) -> float:
    """Print a job's report and the truth; the error in ms."""
    console.print(Rule(f"{job.dub_path.name}.sync.json", align="left"))
    if job.sidecar_path is None:
        raise SystemExit(f"Job {job.job_id} left no report.")
    report = json.loads(job.sidecar_path.read_text(encoding="utf-8"))
    console.print(report_view(report), crop=False)
    if report["consensus_offset"] is None:
        raise SystemExit(f"syncd found no offset; the truth is {offset_text(truth.offset_s)}.")
    found_s = float(report["consensus_offset"]["offset_seconds"])
    error_ms = abs(found_s - truth.offset_s) * 1000.0
    console.print(
        f"\nTruth: {offset_text(truth.offset_s)}; found {offset_text(found_s)}; error {error_ms:.4f} ms", style="bold"
    )
    return error_ms


def run_on(folder: Path) -> None:
    """The daemon in the foreground on the user's folder; ledger and cache lie in its hidden folder .syncd."""
    drop = folder.expanduser().absolute()
    home = drop / ".syncd"
    home.mkdir(parents=True, exist_ok=True)
    config = write_config(home, drop, settle_s=5.0)
    console.print(plain(f"syncd watches {drop}; reports appear beside the dubs. Control-C ends it."))
    console.print(plain(f"Look into it from another terminal: .venv/bin/syncctl watch --config {config}"))
    os.execv(  # noqa: S606 - the daemon takes this process over
        sys.executable, [sys.executable, "-m", "syncd.daemon", "--config", str(config)]
    )


def main() -> None:
    """The demo; with --run, the daemon on a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, metavar="FOLDER", help="watch this folder instead of the demo's")
    chosen = parser.parse_args()
    if chosen.run:
        run_on(chosen.run)
    else:
        demo()


if __name__ == "__main__":
    main()
