"""syncd beside two free tools that find offsets: wall time, CPU, memory and the answer, on the same pairs.

``python -m tests.benchmarks.bench_peers [--install] [--pairs offset,pal] [--turns N] [--markdown]``. The others are no
part of this project: ``--install`` makes an environment for each in the user's cache folder (``$BENCH_PEERS`` names
another). Without one, or without ffmpeg, which both call, they are left out, and the table says so.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from syncd.supervisor.pool import WORKER_ENVIRONMENT
from tests.material import make_pair
from tests.material.corpus import write_case
from tests.material.judging import RIGHT_MS
from tests.material.kinds.start import PAL, in_one_piece
from tests.material.recipes import Case, Piece, Side, TrueSegment
from tests.material.seeds import RATE_HZ

REPOSITORY = Path(__file__).parents[2]
CALLS = Path(__file__).with_name("peer_calls.py")

MINUTES = 4.0
OFFSET_S = -3.21713
POLL_S = 0.05

REPORTED = "the older detector that syncd replaces, 30 minutes (reported, not measured here)", "74 CPU s, 6.2 GB"


# ---------------------------------------------------------------- the tools


@dataclass(frozen=True, slots=True)
class Tool:
    """A call of `peer_calls`, and the package that it needs (None: this project)."""

    call: str
    shown: str
    requirement: str | None = None
    longest_minutes: float = 60.0
    """It is asked for no longer pairs than that."""

    @property
    def python(self) -> Path:
        """Of the environment that holds it."""
        return Path(sys.executable) if self.requirement is None else environment(self.requirement) / "bin" / "python"


TOOLS = (
    Tool("syncd", "syncd"),
    Tool("audio_offset_finder", "audio-offset-finder 0.5.5", "audio-offset-finder==0.5.5"),
    Tool("audalign_correlation", "audalign 1.3.1, correlation", "audalign==1.3.1"),
    Tool("audalign_fingerprint", "audalign 1.3.1, fingerprints", "audalign==1.3.1", longest_minutes=10.0),
)


def environment(requirement: str) -> Path:
    """Where that package's environment is, or would be."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(os.environ.get("BENCH_PEERS") or cache / "syncd-bench-peers") / requirement.replace("==", "-")


def install() -> Iterator[str]:
    """Make what is missing; a sentence for each."""
    for requirement in dict.fromkeys(tool.requirement for tool in TOOLS if tool.requirement):
        folder = environment(requirement)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", requirement]
        if subprocess.run(pip, check=False).returncode == 0:
            yield f"{requirement} is in {folder}."
        else:
            shutil.rmtree(folder)
            yield f"{requirement} cannot be installed here (pip says above why): it is left out."


def absence(tool: Tool, pair: Pair) -> str | None:
    """Why a tool is not measured on a pair, in a sentence; None where it is."""
    if pair.minutes > tool.longest_minutes:
        return f"left out: it is asked for {tool.longest_minutes:g} minutes at most, for what four of them take already"
    if not tool.python.exists():
        return "not installed: python -m tests.benchmarks.bench_peers --install"
    if tool.requirement and shutil.which("ffmpeg") is None:
        return "it needs the command ffmpeg, which is not here"
    return None


# ---------------------------------------------------------------- the pairs


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files and what is true of them; no segments: they have nothing to do with each other."""

    shown: str
    master: Path
    dub: Path
    rate: float
    segments: tuple[TrueSegment, ...]
    minutes: float = MINUTES


def _plain(folder: Path, minutes: float) -> Pair:
    pair = make_pair(folder, seed=7, duration_s=60.0 * minutes, offset_s=OFFSET_S, master_name="m", dub_name="d")
    whole = TrueSegment(-OFFSET_S, 60.0 * minutes, OFFSET_S)
    return Pair(f"{minutes:g} min, 3.217 s late", pair.master_path, pair.dub_path, 1.0, (whole,), minutes)


def _made(folder: Path, shown: str, case: Case) -> Pair:
    written = write_case(case, folder)
    return Pair(shown, written.master_path, written.dub_path, written.truth.rate, written.truth.segments)


def _programme() -> Case:
    seconds = 60.0 * MINUTES
    plain = Case("pair", "peers", 8, seconds, Side(language=1), Side(language=2), pieces=())
    return in_one_piece(plain, 0.7431)


def _edited() -> Case:
    def own(start_s: float, end_s: float) -> Piece:
        return Piece("programme", round((end_s - start_s) * RATE_HZ), round(start_s * RATE_HZ))

    advertisement = Piece("foreign", 12 * RATE_HZ, seed=81)
    return replace(_programme(), pieces=(own(1.5, 70.0), own(95.0, 160.0), advertisement, own(160.0, 240.0)))


def _unrelated() -> Case:
    stranger = Piece("foreign", round(60.0 * MINUTES) * RATE_HZ, seed=82)
    return replace(_programme(), pieces=(stranger,), expects="refusal")


PAIRS = {
    "offset": lambda folder: _plain(folder, MINUTES),
    "pal": lambda folder: _made(folder, "4 min, PAL speed", in_one_piece(_programme(), 0.7431, rate=PAL)),
    "edited": lambda folder: _made(folder, "4 min, 25 s cut out, 12 s put in", _edited()),
    "unrelated": lambda folder: _made(folder, "4 min, another programme", _unrelated()),
    "long": lambda folder: _plain(folder, 30.0),
}


# ---------------------------------------------------------------- one run


@dataclass(frozen=True, slots=True)
class Run:
    """What one call took and said."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    """Of all its processes together, pages that they share counted once."""
    answer: dict[str, Any]


def measured_run(tool: Tool, pair: Pair, folder: Path) -> Run:
    """A fresh process, imports included; raises `RuntimeError` with what it said where it fails."""
    module = ["-m", "tests.benchmarks.peer_calls"] if tool.requirement is None else [str(CALLS)]
    command = [str(tool.python), *module, tool.call, str(pair.master), str(pair.dub), str(folder)]
    extra = WORKER_ENVIRONMENT if tool.requirement is None else {}
    said = folder / "said"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started_s = time.monotonic()
    with said.open("wb") as out:
        child = subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **extra}, stdout=out, stderr=out)
        peak_bytes = _peak_bytes(child)
    wall_s = time.monotonic() - started_s
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = said.read_text(encoding="utf-8", errors="replace")
    if child.returncode:
        raise RuntimeError(f"{tool.shown} ended with {child.returncode}:\n{text}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall_s, cpu_s, peak_bytes, json.loads(text.splitlines()[-1]))


def _peak_bytes(child: subprocess.Popen[bytes]) -> int:
    """Looked at again and again until it ends."""
    watched, peak = psutil.Process(child.pid), 0
    while child.poll() is None:
        try:
            together = [watched, *watched.children(recursive=True)]
            peak = max(peak, sum(process.memory_full_info().pss for process in together))
        except psutil.Error:
            pass  # one of them has just ended
        time.sleep(POLL_S)
    return peak


# ---------------------------------------------------------------- what it is worth


def error_s(pair: Pair, answer: dict[str, Any]) -> float | None:
    """How far the first offset named leads astray at most, within the piece that it fits best; None: none is named."""
    if not answer["offsets_s"] or not pair.segments:
        return None
    return min(_distance_s(pair, segment, answer, answer["offsets_s"][0]) for segment in pair.segments)


def pieces_named(pair: Pair, answer: dict[str, Any]) -> int:
    """How many of the pair's pieces have an offset among those named that is right all along."""
    return sum(
        any(_distance_s(pair, segment, answer, offset_s) * 1000.0 <= RIGHT_MS for offset_s in answer["offsets_s"])
        for segment in pair.segments
    )


def _distance_s(pair: Pair, segment: TrueSegment, answer: dict[str, Any], offset_s: float) -> float:
    faster = answer["rate"] - pair.rate
    ends_s = (segment.dub_start_s, segment.dub_end_s)
    return float(max(abs(faster * end_s + offset_s - segment.offset_s) for end_s in ends_s))


def told(pair: Pair, answer: dict[str, Any]) -> str:
    """What it named and how right that is, in words."""
    if not pair.segments:
        named = f"names {answer['offsets_s'][0]:.1f} s" if answer["offsets_s"] else "right: names none"
        return f"{named} ({answer['says']})"
    error = error_s(pair, answer)
    if error is None:
        return f"names none ({answer['says']})"
    pieces = f", {pieces_named(pair, answer)} of {len(pair.segments)} pieces" if len(pair.segments) > 1 else ""
    return f"{_amount(error)} off{pieces} ({answer['says']})"


def _amount(error: float) -> str:
    if error < 1e-6:
        return "below 0.001 ms"
    return f"{error * 1000.0:.2g} ms" if error < 0.1 else f"{error:.2f} s"


# ---------------------------------------------------------------- all of it

COLUMNS = ("pair", "tool", "wall s", "CPU s", "MB", "answer")


def rows(names: Iterable[str], turns: int) -> Iterator[tuple[str, ...]]:
    """A row for each pair and tool; best of some turns each, turn by turn."""
    for name in names:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as place:
            folder = Path(place)
            pair = PAIRS[name](folder)
            able = [tool for tool in TOOLS if absence(tool, pair) is None]
            runs = [[measured_run(tool, pair, folder) for tool in able] for _ in range(turns)]
            for tool, *its_runs in zip(able, *runs, strict=True):
                yield (pair.shown, tool.shown, *_figures(pair, its_runs))
            for tool in TOOLS:
                if tool not in able:
                    yield pair.shown, tool.shown, "", "", "", absence(tool, pair) or ""


def _figures(pair: Pair, runs: Sequence[Run]) -> tuple[str, str, str, str]:
    wall_s, cpu_s = min(run.wall_s for run in runs), min(run.cpu_s for run in runs)
    peak_mb = min(run.peak_bytes for run in runs) / 1e6
    return f"{wall_s:.1f}", f"{cpu_s:.1f}", f"{peak_mb:.0f}", told(pair, runs[0].answer)


def run() -> list[tuple[str, str, str]]:
    """All pairs, as (what, measured, aim); nothing is installed for it."""
    shown = []
    for pair, tool, wall_s, cpu_s, peak_mb, answer in rows(PAIRS, 1):
        cost = f"{wall_s} s wall, {cpu_s} CPU s, {peak_mb} MB: " if wall_s else ""
        shown.append((f"{pair}: {tool}", f"{cost}{answer}", ""))
    return [*shown, (*REPORTED, "")]


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--install", action="store_true", help="first make the environments that are missing")
    parser.add_argument("--pairs", default=",".join(PAIRS), help=f"of {', '.join(PAIRS)}")
    parser.add_argument("--turns", type=int, default=3, help="runs of each; the best counts")
    parser.add_argument("--markdown", action="store_true", help="lines for docs/figures.md")
    asked = parser.parse_args()
    for sentence in install() if asked.install else ():
        sys.stdout.write(f"{sentence}\n")
    every = list(rows(asked.pairs.split(","), asked.turns))
    if asked.markdown:
        lines = (COLUMNS, ("---",) * len(COLUMNS), *every)
        sys.stdout.write("".join(f"| {' | '.join(line)} |\n" for line in lines))
    else:
        table = Table(*COLUMNS, title="peers", title_justify="left", box=None, pad_edge=False)
        for row in every:
            table.add_row(*row)
        Console(highlight=False).print(table)
    sys.stdout.write(f"{': '.join(REPORTED)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
