"""The best path through the lags: staying is free, a new lag has its price, nowhere is a place, time runs forward."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.path import RETURN_COST, Path, best_path

Floats = NDArray[Any]
HOP = 10.0
PLACES = 10_000
PRICE = np.log(PLACES) + 3.0
"""Of a lag: what chance had to choose from, and the margin."""


def evidence(*rows: list[float]) -> Floats:
    """One list a candidate: how high each block stands at it. Shape (blocks, candidates)."""
    return np.array(rows, dtype=np.float32).T


def path_of(deviations: Floats, lags: list[float], *, weight: float = 1.0, tries: int = 1) -> Path:
    centres = HOP * np.arange(deviations.shape[0])
    return best_path(deviations, centres, np.array(lags), places=PLACES, weight=weight, tries=tries)


def spans(path: Path) -> list[tuple[int, int, int]]:
    return [(run.candidate, run.first, run.last) for run in path.runs]


def test_blocks_that_stay_at_one_lag_are_one_run_and_pay_once() -> None:
    path = path_of(evidence([5.0] * 12, [0.5] * 12), [0.0, 40.0])
    assert spans(path) == [(0, 0, 11)]
    gain = 12 * (path.strength * 5.0 - path.strength**2 / 2.0)
    assert path.score == pytest.approx(gain - PRICE, rel=1e-4)


def test_the_highest_of_three_neighbours_says_less_than_one_alone() -> None:
    alone, highest = (path_of(evidence([5.0] * 12), [0.0], tries=tries) for tries in (1, 3))
    assert highest.score == pytest.approx(alone.score - 12 * np.log(3.0))


def test_a_block_that_speaks_for_nothing_does_not_break_a_run() -> None:
    row = [6.0] * 5 + [0.0] * 3 + [6.0] * 5
    assert spans(path_of(evidence(row), [7.0])) == [(0, 0, 12)]


def test_coming_back_to_a_lag_costs_less_than_a_new_one() -> None:
    """Half of the programme under loud dialogue: the same lag before and behind it is one piece."""
    row = [6.0] * 5 + [-3.0] * 10 + [6.0] * 5
    path = path_of(evidence(row), [7.0])
    assert spans(path) == [(0, 0, 19)]
    gain = 10 * (path.strength * min(6.0, 2.0 * path.strength) - path.strength**2 / 2.0)
    assert path.score == pytest.approx(gain - PRICE - RETURN_COST, rel=1e-4)
    assert RETURN_COST < PRICE


def test_overlapping_blocks_say_half_as_much() -> None:
    both = [path_of(evidence([5.0] * 10), [0.0], weight=weight).score + PRICE for weight in (1.0, 0.5)]
    assert both[1] == pytest.approx(both[0] / 2.0)


@pytest.mark.parametrize(("blocks", "jumps"), [(1, False), (2, True)])
def test_another_lag_is_taken_once_it_is_worth_its_price(blocks: int, jumps: bool) -> None:
    """At a strength of 5 a block is worth 12.5, a new lag costs 12.2, and it must beat staying nowhere."""
    first = [5.0] * 10 + [0.0] * blocks
    second = [0.0] * 10 + [4.9] * blocks
    path = path_of(evidence(first, second), [0.0, 30.0])
    assert spans(path)[0] == (0, 0, 9)
    assert (len(path.runs) == 2) is jumps


def test_blocks_that_lie_nowhere_belong_to_no_run() -> None:
    first = [6.0] * 8 + [0.0] * 6 + [0.0] * 8
    second = [0.0] * 8 + [0.0] * 6 + [6.0] * 8
    path = path_of(evidence(first, second), [0.0, 50.0])
    assert spans(path) == [(0, 0, 7), (1, 14, 21)]


@pytest.mark.parametrize("seed", range(10))
def test_chance_has_no_path(seed: int) -> None:
    """The best of ten thousand places reach 4 somewhere in each block: once at each of the lags that are tried."""
    noise = np.random.default_rng(seed).standard_normal((60, 40)).astype(np.float32)
    noise[np.arange(40), np.arange(40)] = 4.2
    path = path_of(noise, list(np.linspace(-500.0, 500.0, 40)), weight=0.5)
    assert path == Path((), 0.0, path.strength)


def test_the_master_only_runs_forward() -> None:
    """At the second lag the blocks lie five hops back: the first of them would lie where others already are."""
    first = [6.0] * 10 + [0.0] * 10
    second = [0.0] * 10 + [6.0] * 10
    path = path_of(evidence(first, second), [0.0, -5.0 * HOP])
    assert len(path.runs) == 2
    one, other = path.runs
    assert HOP * one.last < HOP * other.first - 5.0 * HOP
    assert (one.last - one.first + 1) + (other.last - other.first + 1) < 20


@given(seed=st.integers(0, 10_000), blocks=st.integers(1, 25), candidates=st.integers(1, 8))
@settings(max_examples=80, deadline=None, derandomize=True)
def test_whatever_the_evidence_runs_go_forward_on_both_sides(seed: int, blocks: int, candidates: int) -> None:
    rng = np.random.default_rng(seed)
    lags = list(rng.choice(np.arange(-30, 31), candidates, replace=False) * HOP)
    deviations = rng.uniform(0.0, 9.0, (blocks, candidates)).astype(np.float32)
    path = path_of(deviations, lags)
    assert path.score >= 0.0
    assert bool(path.runs) is (path.score > 0.0)
    for run in path.runs:
        assert 0 <= run.first <= run.last < blocks
    for one, other in zip(path.runs, path.runs[1:], strict=False):
        assert one.last < other.first
        assert one.candidate != other.candidate
        assert one.last * HOP + lags[one.candidate] < other.first * HOP + lags[other.candidate]


def test_nothing_to_choose_from_is_no_path() -> None:
    assert path_of(np.zeros((5, 0), dtype=np.float32), []).runs == ()
