"""The short form of `python -m tests.benchmarks replay`."""

from __future__ import annotations

import pytest

from tests.benchmarks.replay import FreeMemory, RoundRobin, Syncd, best_packing_s, fair_waits_s, play, stream


@pytest.mark.parametrize("burst", [True, False])
def test_on_three_cards_nobody_dies_and_hardly_any_time_is_lost(*, burst: bool) -> None:
    jobs = stream(3, 160 if burst else 60, burst=burst)
    played = play(jobs, Syncd())
    assert played.deaths == 0
    assert len(played.starts_s) == len(jobs)
    assert played.makespan_s <= 1.15 * best_packing_s(jobs, tries=0)


def test_what_it_replaces_kills_jobs_on_the_same_stream() -> None:
    jobs = stream(3, 60, burst=True)
    assert play(jobs, RoundRobin()).deaths > 0
    assert play(jobs, FreeMemory()).deaths > 0


def test_nobody_is_passed_for_ever() -> None:
    jobs = stream(5, 60, burst=False)
    played, fair = play(jobs, Syncd()), fair_waits_s(jobs)
    assert all(played.starts_s[job.number] - job.arrives_s <= 3 * fair[job.number] for job in jobs)
