"""Speed: the line that lags keep, and the names that speeds have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.analysis.lagmap import BlockPeak
from syncd.analysis.rate import KNOWN_SPEEDS, MOST_SLOPE, NO_LINE, Line, find_line, name_of_rate, scan_hypotheses

CENTRES = 600.0 * np.arange(30) + 600.0
"""Thirty blocks of 24 s, half overlapping, in frames of 20 ms."""
PLACES = 20_000


def line_of(peaks: list[BlockPeak]) -> Line:
    return find_line(peaks, CENTRES, places=PLACES, weight=0.5)


def chance(seed: int, most: float = 4.6) -> list[BlockPeak]:
    """Six peaks a block, anywhere, as high as chance makes them."""
    rng = np.random.default_rng(seed)
    return [
        BlockPeak(block, float(rng.uniform(-PLACES, PLACES)), float(rng.uniform(3.5, most)))
        for block in range(CENTRES.size)
        for _ in range(6)
    ]


def along(lag: float, slope: float, seed: int, *, share: float = 1.0) -> list[BlockPeak]:
    """A peak for a share of the blocks, right to a third of a frame."""
    rng = np.random.default_rng(seed)
    return [
        BlockPeak(block, lag + slope * float(CENTRES[block]) + float(rng.normal(0.0, 0.3)), 6.0)
        for block in range(CENTRES.size)
        if rng.random() < share
    ]


@given(lag=st.floats(-10_000.0, 10_000.0), slope=st.floats(-0.0024, 0.0024), seed=st.integers(0, 999))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_the_line_that_half_of_the_blocks_keep_is_found_among_chance(lag: float, slope: float, seed: int) -> None:
    found = line_of(along(lag, slope, seed, share=0.6) + chance(seed))
    assert found.slope == pytest.approx(slope, abs=5e-5)
    assert found.lag + found.slope * 9_000.0 == pytest.approx(lag + slope * 9_000.0, abs=0.5)
    assert found.score > 0.0


def test_more_blocks_on_the_line_are_more_evidence() -> None:
    few, many = (line_of(along(5.0, 0.001, 1, share=share) + chance(1)) for share in (0.4, 1.0))
    assert many.blocks > few.blocks
    assert many.score > few.score
    assert many.span == CENTRES[-1] - CENTRES[0]


@pytest.mark.parametrize("slope", [-0.0022, -0.001, 0.0, 0.001, 0.0022])
def test_all_blocks_that_keep_a_line_stand_on_it(slope: float) -> None:
    found = line_of(along(-300.0, slope, 4))
    assert found.blocks == CENTRES.size
    assert found.slope == pytest.approx(slope, abs=2e-5)
    worth = CENTRES.size * 0.5 * (6.0**2 / 2.0 - np.log(7.0))
    assert found.score == pytest.approx(worth - 2.0 * np.log(PLACES) - 3.0, rel=1e-6)


@pytest.mark.parametrize("seed", range(10))
def test_chance_keeps_no_line(seed: int) -> None:
    assert line_of(chance(seed)).score < 8.0


def test_a_steeper_line_than_blocks_can_bear_is_none() -> None:
    peaks = along(0.0, 3.0 * MOST_SLOPE, 3)
    assert abs(line_of(peaks).slope) <= 1.1 * MOST_SLOPE
    assert line_of(peaks).blocks < 10


def test_without_peaks_there_is_no_line() -> None:
    assert line_of([]) is NO_LINE


@pytest.mark.parametrize("name", sorted(KNOWN_SPEEDS))
def test_a_known_speed_has_its_name_and_its_inverse_the_name_turned_around(name: str) -> None:
    rate = float(KNOWN_SPEEDS[name])
    assert name_of_rate(rate, 0.0) == name
    assert name_of_rate(rate * (1.0 + 4e-6), 0.0) == name
    assert name_of_rate(1.0 / rate, 0.0) == "/".join(reversed(name.split("/")))
    assert name_of_rate(rate * (1.0 + 40e-6), 10.0) is None
    assert name_of_rate(rate * (1.0 + 40e-6), 60.0) == name


def test_no_speed_and_an_odd_one_have_no_name() -> None:
    assert name_of_rate(1.0, 0.0) is None
    assert name_of_rate(1.0 + 12e-6, 3.0) is None
    assert name_of_rate(0.97, 100.0) is None


def test_a_speed_that_may_be_one_or_the_other_has_no_name() -> None:
    between = float(np.sqrt(float(KNOWN_SPEEDS["25/24"] * KNOWN_SPEEDS["25/23.976"])))
    assert name_of_rate(between, 100.0) is None
    assert name_of_rate(between, 600.0) is None
    assert name_of_rate(1.0, 1_100.0) is None
    assert name_of_rate(1.0004, 800.0) is None


def test_every_speed_within_six_percent_is_near_a_hypothesis() -> None:
    tried = np.array([1.0, *(float(r) for r in scan_hypotheses()), *(float(r) for r in KNOWN_SPEEDS.values())])
    for rate in np.linspace(0.94, 1.06, 400):
        assert np.min(np.abs(rate / tried - 1.0)) <= MOST_SLOPE
