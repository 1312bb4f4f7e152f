"""One slope for all pieces: robust, exact where the windows are, and honest about what it cannot know."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.analysis.fit import Fit, Samples, fit_lags

NOISE_S = 2e-5


def piece(
    start_s: float,
    windows: int,
    lag_s: float,
    slope: float,
    seed: int,
    *,
    outliers: float = 0.0,
    noise_s: float = NOISE_S,
) -> Samples:
    """Windows of eight seconds along ``lag_s + slope * t``; a share of them anywhere within 60 ms."""
    rng = np.random.default_rng(seed)
    times_s = start_s + 8.0 * np.arange(windows)
    lags_s: NDArray[Any] = lag_s + slope * times_s + rng.normal(0.0, noise_s, windows)
    stray = rng.permutation(windows) < round(outliers * windows)
    lags_s[stray] += rng.uniform(-0.06, 0.06, int(stray.sum()))
    return Samples(times_s, lags_s, rng.uniform(0.5, 2.0, windows))


def fitted(*pieces: Samples) -> Fit:
    fit = fit_lags(pieces)
    assert fit is not None
    return fit


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("slope", [0.0, 40e-6, -1e-3])
def test_thirty_windows_in_a_hundred_may_be_anywhere(slope: float, seed: int) -> None:
    clean, dirty = (fitted(piece(0.0, 60, 1.5, slope, seed, outliers=share)) for share in (0.0, 0.3))
    assert dirty.slope == pytest.approx(slope, abs=5e-8)
    assert dirty.intercepts_s[0] == pytest.approx(1.5, abs=2e-5)
    assert dirty.slope_error < 2.5 * clean.slope_error


@pytest.mark.parametrize("seed", range(5))
def test_pieces_share_a_slope_and_keep_a_lag_each(seed: int) -> None:
    lags_s = (0.0, 5.0, -2.0)
    pieces = [piece(200.0 * i, 20, lag_s, 1e-4, seed + 50 * i, outliers=0.2) for i, lag_s in enumerate(lags_s)]
    together = fitted(*pieces)
    assert together.slope == pytest.approx(1e-4, abs=3e-7)
    assert together.intercepts_s == pytest.approx(lags_s, abs=2e-4)
    assert together.windows == 60
    alone = [fitted(one).slope_error for one in pieces]
    assert together.slope_error < np.median(alone)


def test_the_step_between_pieces_says_nothing_of_the_speed() -> None:
    fit = fitted(piece(0.0, 20, 0.0, 0.0, 1), piece(160.0, 20, 0.04, 0.0, 2))
    assert fit.slope == pytest.approx(0.0, abs=2e-7)


def test_a_piece_of_one_window_follows_the_others_slope() -> None:
    fit = fitted(piece(0.0, 30, 0.0, 2e-4, 3), piece(400.0, 1, 1.0, 2e-4, 4))
    assert fit.slope == pytest.approx(2e-4, abs=2e-7)
    assert fit.intercepts_s[1] == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("outliers", [0.0, 0.2])
def test_errors_are_as_large_as_they_say(outliers: float) -> None:
    """Of many fits about 95 in a hundred lie within 1.96 of their own standard errors."""
    fits = [fitted(piece(0.0, 40, 0.3, 1e-5, seed, outliers=outliers)) for seed in range(300)]
    slopes = np.array([(fit.slope - 1e-5) / fit.slope_error for fit in fits])
    middles = np.array([(f.intercepts_s[0] + f.slope * f.middles_s[0] - 0.3 - 1e-5 * f.middles_s[0]) for f in fits])
    lags = middles / np.array([fit.errors_s[0] for fit in fits])
    for normal in (slopes, lags):
        assert 0.85 <= np.mean(np.abs(normal) <= 1.96) <= 0.99
        assert np.abs(np.mean(normal)) < 0.25


def test_two_windows_have_no_slope() -> None:
    fit = fitted(piece(0.0, 2, 1.0, 5e-3, 1))
    assert (fit.slope, fit.slope_error) == (0.0, float("inf"))


def test_a_slope_may_be_held_at_nothing() -> None:
    fit = fit_lags([piece(0.0, 30, 1.0, 0.0, 5)], with_slope=False)
    assert fit is not None
    assert fit.slope == 0.0
    assert fit.intercepts_s[0] == pytest.approx(1.0, abs=2e-5)


def test_a_piece_without_windows_is_no_fit() -> None:
    empty = Samples(np.zeros(0), np.zeros(0), np.zeros(0))
    assert fit_lags([]) is None
    assert fit_lags([piece(0.0, 5, 0.0, 0.0, 1), empty]) is None


def test_windows_that_agree_exactly_are_no_division_by_nothing() -> None:
    times_s = 8.0 * np.arange(10)
    fit = fitted(Samples(times_s, np.full(10, 0.25), np.ones(10)))
    assert fit.slope == 0.0
    assert fit.intercepts_s == (0.25,)
    assert fit.slope_error > 0.0
