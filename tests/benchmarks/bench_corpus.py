"""The analysis over the corpus: how often it is right, how near, how sure and how dear, kind by kind.

``python -m tests.benchmarks.bench_corpus [--kinds plain,rates] [--per-kind N] [--jobs N] [--keep FOLDER] [--out FILE]``
prints a table; ``--case NAME`` measures one case and tells all of it. With ``--keep`` the pairs are rendered once and
found again by their recipe (some 60 MB a case).
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import track
from rich.table import Table

from syncd.domain import Result
from syncd.supervisor.pool import WORKER_ENVIRONMENT
from tests import material
from tests.benchmarks.as_worker import SOUND_METHODS, measured
from tests.material.corpus import SEED, WrittenCase, corpus, write_case
from tests.material.judging import RIGHT_MS, Outcome, judge
from tests.material.kinds import KINDS
from tests.material.recipes import Case, CaseTruth

EVERY_METHOD = (*SOUND_METHODS, "speech")

_NOT_SOUND = {"corpus.py", "judging.py", "pairs.py", "odd_files.py", "report_examples.py", "__main__.py"}
"""Of the material's modules, those that do not shape a case's sound: a change of theirs leaves kept pairs valid."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One case and what came of it."""

    case: str
    kind: str
    outcome: Outcome


# ---------------------------------------------------------------- one case


@contextlib.contextmanager
def written(case: Case, keep: Path | None) -> Iterator[WrittenCase]:
    """The case's files: those that are kept, or new ones (gone afterwards where nothing is kept)."""
    if keep is None:
        with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as name:
            yield write_case(case, Path(name))
        return
    folder = keep / f"{case.name}-{_recipe_digits(case)}"
    facts = folder / "truth.json"
    if not facts.exists():
        folder.mkdir(parents=True, exist_ok=True)
        fresh = write_case(case, folder)
        facts.write_bytes(msgspec.json.encode(fresh.truth))
    truth = msgspec.json.decode(facts.read_bytes(), type=CaseTruth)
    master, dub = (next(folder.glob(f"{case.name}_{role}.*")) for role in ("master", "dub"))
    # Limits are the kind's, not the sound's: they may have changed since.
    yield WrittenCase(master, dub, replace(case.truth(), cuts=truth.cuts))


def _recipe_digits(case: Case) -> str:
    """Of the recipe and of the code that turns it into sound."""
    digest = zlib.crc32(repr((case.seed, case.duration_s, case.master, case.dub, case.pieces, case.speed)).encode())
    digest = zlib.crc32(repr((case.outside, case.blacks)).encode(), digest)
    for source in sorted(Path(material.__file__).parent.glob("*.py")):
        if source.name not in _NOT_SOUND:
            digest = zlib.crc32(source.read_bytes(), digest)
    return f"{digest:08x}"


def measured_case(case: Case, keep: Path | None) -> tuple[Outcome, Result | None, CaseTruth]:
    """Render or find the pair, measure it, judge the answer; a failure of the analysis is an outcome too."""
    with written(case, keep) as files, tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_FOLDER")) as scratch:
        wall_s, cpu_s = time.monotonic(), time.process_time()
        try:
            result = measured(files.master_path, files.dub_path, Path(scratch), EVERY_METHOD)
        except Exception as error:  # noqa: BLE001 # an analysis that breaks on a case is what is to be told
            return broken(error), None, files.truth
        wall_s, cpu_s = time.monotonic() - wall_s, time.process_time() - cpu_s
        return judge(files.truth, result, cpu_s=cpu_s, wall_s=wall_s), result, files.truth


def broken(error: Exception) -> Outcome:
    """What came of a case whose analysis raised."""
    return Outcome(
        hold=False,
        why=f"{type(error).__name__}: {error}",
        verdict="failed",
        refused=True,
        false_offset=False,
        confidence=None,
    )


def _judged(case: Case, keep: Path | None) -> Judged:
    return Judged(case.name, case.kind, measured_case(case, keep)[0])


# ---------------------------------------------------------------- all of them


def judge_all(cases: Sequence[Case], jobs: int, keep: Path | None) -> Iterator[Judged]:
    """In that many processes, as they end; a case that brings its process down is told as one that failed."""
    os.environ.update(WORKER_ENVIRONMENT)
    # The long ones first, so that none is left at the end.
    longest_first = sorted(cases, key=lambda case: -case.duration_s - case.dub_duration_s)
    left = {case.name: case for case in longest_first}
    with _processes(jobs) as pool, contextlib.suppress(BrokenProcessPool):
        for done in as_completed([pool.submit(_judged, case, keep) for case in longest_first]):
            judged = done.result()
            del left[judged.case]
            yield judged
    # Which case did it, the pool does not say: from here on each has a process of its own.
    with ThreadPoolExecutor(jobs) as threads:
        yield from threads.map(lambda case: _judged_alone(case, keep), left.values())


def _processes(jobs: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _judged_alone(case: Case, keep: Path | None) -> Judged:
    with _processes(1) as pool:
        try:
            return pool.submit(_judged, case, keep).result()
        except BrokenProcessPool as error:
            return Judged(case.name, case.kind, broken(error))


_COLUMNS = (
    *("kind", "cases", "hold", "median", "worst", "ppm", "refused", "false"),
    *("missing", "invented", "boundary", "interval", "CPU"),
)


def table(judged: Iterable[Judged]) -> Table:
    """A row for each kind, and one for all."""
    by_kind: dict[str, list[Outcome]] = {}
    for one in judged:
        by_kind.setdefault(one.kind, []).append(one.outcome)
    shown = Table(*_COLUMNS, title="corpus: errors in ms, boundaries and CPU in s", title_justify="left", box=None)
    for kind in sorted(by_kind, key=lambda name: list(KINDS).index(name) if name in KINDS else -1):
        shown.add_row(kind, *_figures(by_kind[kind]))
    everything = [outcome for outcomes in by_kind.values() for outcome in outcomes]
    shown.add_section()
    shown.add_row("all", *_figures(everything))
    return shown


def _figures(outcomes: list[Outcome]) -> list[str]:
    errors_ms = [o.offset_error_ms for o in outcomes if o.offset_error_ms is not None]
    rates_ppm = [o.rate_error_ppm for o in outcomes if o.rate_error_ppm is not None]
    boundaries_s = [o.boundary_error_s for o in outcomes if o.boundary_error_s is not None]
    intervals = [o.interval_holds for o in outcomes if o.interval_holds is not None]
    return [
        str(len(outcomes)),
        f"{sum(o.hold for o in outcomes) / len(outcomes):.0%}",
        f"{statistics.median(errors_ms):.3g}" if errors_ms else "",
        f"{max(errors_ms):.3g}" if errors_ms else "",
        f"{max(rates_ppm):.3g}" if rates_ppm else "",
        str(sum(o.refused for o in outcomes)),
        str(sum(o.false_offset for o in outcomes)),
        str(sum(o.segments_missing for o in outcomes)),
        str(sum(o.segments_invented for o in outcomes)),
        f"{max(boundaries_s):.3g}" if boundaries_s else "",
        f"{sum(intervals) / len(intervals):.0%}" if intervals else "",
        f"{statistics.median(o.cpu_s for o in outcomes):.1f}",
    ]


def calibration(judged: Iterable[Judged]) -> Table:
    """Of the offsets given with some confidence, how many were right to 20 ms."""
    given = [one.outcome for one in judged if not one.outcome.refused and one.outcome.confidence is not None]
    shown = Table("confidence", "offsets", "stated", f"right to {RIGHT_MS:g} ms", box=None)
    edges = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0001)
    for low, high in itertools.pairwise(edges):
        inside = [o for o in given if o.confidence is not None and low <= o.confidence < high]
        if inside:
            stated = statistics.mean(o.confidence for o in inside if o.confidence is not None)
            right = sum(not o.false_offset for o in inside) / len(inside)
            shown.add_row(f"{low:g} to {min(high, 1.0):g}", str(len(inside)), f"{stated:.3f}", f"{right:.3f}")
    return shown


def run() -> list[tuple[str, str, str]]:
    """The corpus as (what, measured, aim); the tables go to standard error.

    All of it takes hours: ``BENCH_PER_KIND`` asks for that many cases of each kind instead.
    """
    per_kind = os.environ.get("BENCH_PER_KIND")
    judged = list(judge_all(corpus(per_kind=int(per_kind) if per_kind else None), _cpus(), None))
    Console(stderr=True).print(table(judged), calibration(judged))
    outcomes = [one.outcome for one in judged]
    unrelated = [one.outcome for one in judged if one.kind.startswith("unrelated")]
    return [
        (f"corpus, right of {len(judged)} cases", f"{sum(o.hold for o in outcomes)}", f"{len(judged)}"),
        ("corpus, false offsets", str(sum(o.false_offset for o in outcomes)), "0"),
        ("corpus, offsets given to unrelated pairs", str(sum(not o.refused for o in unrelated)), "0"),
        ("corpus, median CPU a case", f"{statistics.median(o.cpu_s for o in outcomes):.1f} s", ""),
    ]


# ---------------------------------------------------------------- the command


def main() -> int:
    """Measure what is named; 1 where a case does not hold."""
    asked = _parser().parse_args()
    console = Console(width=160) if not sys.stdout.isatty() else Console()
    cases = corpus(asked.kinds.split(",") if asked.kinds else None, asked.per_kind, asked.seed)
    if asked.case:
        return _tell_one(console, asked.case, asked.seed, asked.keep)
    judged: list[Judged] = []
    with asked.out.open("w", encoding="utf-8") if asked.out else contextlib.nullcontext() as out:
        answers = judge_all(cases, asked.jobs, asked.keep)
        for one in track(answers, total=len(cases), console=Console(stderr=True), description="corpus"):
            judged.append(one)
            if out is not None:
                line = {"case": one.case, "kind": one.kind, **asdict(one.outcome)}
                out.write(msgspec.json.encode(line).decode() + "\n")
                out.flush()
    console.print(table(judged), calibration(judged))
    for one in sorted(judged, key=lambda one: one.case):
        if not one.outcome.hold:
            console.print(f"{one.case}: {one.outcome.why}", markup=False)
    return 0 if all(one.outcome.hold for one in judged) else 1


def _tell_one(console: Console, name: str, seed: int, keep: Path | None) -> int:
    """Everything about one case: recipe, truth, outcome, answer."""
    kind, _, number = name.rpartition("-")
    case = corpus([kind], int(number) + 1, seed)[-1]
    outcome, result, truth = measured_case(case, keep)
    for title, value in (("recipe", case), ("truth", truth), ("answer", result), ("outcome", outcome)):
        console.rule(title)
        console.print(value, markup=False)
    return 0 if outcome.hold else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", help="comma-separated (all): " + ", ".join(KINDS))
    parser.add_argument("--per-kind", type=int, help="cases of each kind (each kind's own number)")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--jobs", type=int, default=_cpus(), help="processes")
    parser.add_argument("--keep", type=Path, help="folder in which rendered pairs stay for the next run")
    parser.add_argument("--out", type=Path, help="file for all outcomes, a JSON object a line")
    parser.add_argument("--case", help="one case by name, told at length")
    return parser


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    sys.exit(main())
