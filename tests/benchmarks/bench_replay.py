"""Admission to three cards, replayed: deaths, makespan, fairness, beside what syncd replaces."""

from __future__ import annotations

from tests.benchmarks.replay import (
    FreeMemory,
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
            ours = play(jobs, Syncd())
            fair = fair_waits_s(jobs)
            arrivals = {job.number: job.arrives_s for job in jobs}
            unfair = max((ours.starts_s[n] - arrivals[n]) / fair[n] for n in fair)
            holds = ours.deaths == 0 and ours.makespan_s <= LONGER * best_s and unfair <= FAIR
            told = (
                f"{ours.deaths} deaths, {ours.makespan_s:.0f} s ({ours.makespan_s / best_s:.2f} of the best packing's "
                f"{best_s:.0f} s; none is below {least_possible_s(jobs):.0f} s), longest wait {unfair:.1f} shares, "
                f"memory used {ours.busy_share:.0%}"
            )
            rows.append((name, told if holds else f"{told}  MISSED", f"0 deaths, {LONGER}, {FAIR}"))
            for other, played in (("by process id, 8 at once", RoundRobin()), ("by free memory alone", FreeMemory())):
                rows.append((f"  {other}", _told(play(jobs, played), best_s), ""))
    return rows


def _told(played: Played, best_s: float) -> str:
    return f"{played.deaths} deaths, {played.makespan_s:.0f} s ({played.makespan_s / best_s:.2f})"
