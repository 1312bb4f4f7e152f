"""Admission to three cards, replayed: deaths, makespan, fairness, beside what syncd replaces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.benchmarks.replay import (
    FreeMemory,
    Job,
    Played,
    RoundRobin,
    Syncd,
    best_packing_s,
    fair_waits_s,
    least_possible_s,
    play,
    stream,
)

JOBS = 200
SEEDS = range(6)
LONGER = 1.15
FAIR = 3.0


def run() -> list[tuple[str, str, str]]:
    """One stream a row and policy."""
    rows = []
    for burst in (True, False):
        for seed in SEEDS:
            jobs = stream(seed, JOBS, burst=burst)
            name = f"{JOBS} jobs {'at once' if burst else 'as they come'}, seed {seed}"
            best_s = best_packing_s(jobs, tries=150, seed=seed)
            fair = fair_waits_s(jobs)
            ours = play(jobs, Syncd())
            holds = ours.deaths == 0 and ours.makespan_s <= LONGER * best_s and _longest(ours, jobs, fair) <= FAIR
            least_s = least_possible_s(jobs)
            told = f"{_told(ours, jobs, fair, best_s)}; best packing {best_s:.0f} s, none below {least_s:.0f} s"
            rows.append((name, told if holds else f"{told}  MISSED", f"0 deaths, {LONGER}, {FAIR}"))
            for other, policy in (("by process id, 8 at once", RoundRobin()), ("by free memory alone", FreeMemory())):
                rows.append((f"  {other}", _told(play(jobs, policy), jobs, fair, best_s), ""))
    return rows


def _told(played: Played, jobs: Sequence[Job], fair: Mapping[int, float], best_s: float) -> str:
    return (
        f"{played.deaths} deaths, {played.makespan_s:.0f} s ({played.makespan_s / best_s:.2f}), "
        f"longest wait {_longest(played, jobs, fair):.1f} shares, memory used {played.busy_share:.0%}"
    )


def _longest(played: Played, jobs: Sequence[Job], fair: Mapping[int, float]) -> float:
    """From a job's arrival to its start, in what it would wait if nobody were let past it."""
    arrivals_s = {job.number: job.arrives_s for job in jobs}
    return max((played.starts_s[n] - arrivals_s[n]) / fair[n] for n in fair)
