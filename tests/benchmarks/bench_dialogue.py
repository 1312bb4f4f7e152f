"""Dialogue alone at every well-known speed: how often it is placed, and how often where there is nothing to place.

``python -m tests.benchmarks.bench_dialogue [--programmes N] [--jobs N]``: scripts of 2 to 8 minutes, spoken in one
language on the master and in another on the dub, with no bed at all. Each dub is played at every speed and compared
with its own master, then with all others. One offset in a thousand unrelated pairs would be too many.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import scipy.signal
from rich.console import Console
from rich.table import Table

from syncd.analysis.evidence import MID, quietly
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.methods.speech import place_dialogue
from syncd.analysis.rate import KNOWN_SPEEDS
from syncd.analysis.silero import SR_HZ, load_silero
from syncd.analysis.speech import Lines, hear_lines
from syncd.domain import Estimate
from tests.material.programme import Programme
from tests.material.seeds import Samples
from tests.unit.in_memory import Sound

FIRST_SEED = 9_000
SPEEDS: dict[str, Fraction] = {"no change": Fraction(1), **KNOWN_SPEEDS, "300 ppm": Fraction(10_003, 10_000)}
JITTERS_S = (0.0, 0.04, 0.08)
"""How far lines may start from their places on the master."""
LIMIT = 0.001


@dataclass(frozen=True)
class Heard:
    """The lines of a master, and of its dub at every speed."""

    master: Lines
    dubs: dict[str, Lines]
    offset_s: float


def heard(number: int) -> Heard:
    """Synthesised, played at every speed, and listened to."""
    rng = np.random.default_rng(number)
    samples = round(float(rng.uniform(120.0, 500.0)) * SR_HZ)
    programme = Programme(FIRST_SEED + number, samples / SR_HZ, SR_HZ, jitter_s=JITTERS_S[number % len(JITTERS_S)])
    first = round(float(rng.uniform(0.0, 20.0)) * SR_HZ)
    master, dub = (programme.dialogue(language, 0, samples).mean(axis=0) for language in (1, 2))
    model = load_silero()
    sounds = {name: played(dub[first:], speed) for name, speed in SPEEDS.items()}
    (ours,) = hear_lines(model, [Sound(master)], quietly)
    theirs = {name: hear_lines(model, [Sound(sound)], quietly)[0] for name, sound in sounds.items()}
    return Heard(ours, theirs, first / SR_HZ)


def played(sound: Samples, speed: Fraction) -> Samples:
    """So much faster, its pitch with it."""
    return np.asarray(scipy.signal.resample_poly(sound, speed.denominator, speed.numerator), np.float32)


def answered(master: Lines, dub: Lines) -> MethodAnswer:
    """By dialogue alone."""
    return place_dialogue(Evidence(()), MID, (master, dub))


def own_row(name: str, all_heard: list[Heard]) -> tuple[str, ...]:
    """Every dub at that speed against its own master."""
    answers = [(one, answered(one.master, one.dubs[name])) for one in all_heard]
    placed = [(one, a) for one, a in answers if isinstance(a.outcome, Estimate) and a.rate is not None]
    speed = float(SPEEDS[name])
    right = [
        (one, a)
        for one, a in placed
        if a.rate and abs(a.rate.ratio / speed - 1.0) * 1e6 <= max(1.0, a.rate.uncertainty_ppm or 0.0)
    ]
    left_open = sum(a.rate is not None and a.rate.uncertainty_ppm is None for _, a in placed)
    errors_ms = [1000.0 * abs(a.outcome.offset_s - one.offset_s) for one, a in right if isinstance(a.outcome, Estimate)]
    shown = (f"{statistics.median(errors_ms):.1f}", f"{max(errors_ms):.1f}") if errors_ms else ("", "")
    return name, str(len(answers)), str(len(placed)), str(len(right)), str(left_open), *shown


def main() -> int:
    """1 where unrelated dialogue was placed too often."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--programmes", type=int, default=24)
    parser.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)))
    asked = parser.parse_args()
    with ProcessPoolExecutor(asked.jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        all_heard = list(pool.map(heard, range(asked.programmes)))
    table = Table("speed", "dubs", "placed", "speed right", "left open", "median ms", "worst ms", box=None)
    for name in SPEEDS:
        table.add_row(*own_row(name, all_heard))
    Console().print(table)
    others = [
        answered(one.master, dub)
        for one in all_heard
        for other in all_heard
        if other is not one
        for dub in other.dubs.values()
    ]
    false = sum(isinstance(answer.outcome, Estimate) for answer in others)
    highest = max(answer.quality_score for answer in others)
    sys.stdout.write(
        f"{len(others)} unrelated pairs at {1 + len(KNOWN_SPEEDS)} speeds each: {false} placed, highest {highest:.2f}\n"
    )
    return 0 if false <= LIMIT * len(others) else 1


if __name__ == "__main__":
    sys.exit(main())
