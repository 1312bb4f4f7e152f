"""Coarse over all lags, fine to a fraction of a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.correlate import FILTERED_AT_ONCE, MOST_FRAMES, _subtract_mean, parabola_top, trimmed_rms
from syncd.analysis.features import COARSE_MEL
from syncd.analysis.phat import fine_search, plan_windows
from tests.unit.in_memory import SR_HZ, Curve, coarse_search, moved, pair_of, quietly

Floats = NDArray[Any]


class Random:
    """A very long `BandSource` that takes no memory until a band is read."""

    def __init__(self, frames: int, seed: int) -> None:
        self.frames = frames
        self._seed = seed

    def read_band(self, band: int) -> Floats:
        rng = np.random.default_rng((self._seed, band))
        levels: Floats = rng.standard_normal(self.frames, dtype=np.float32)
        return levels


def random_flux(frames: int, seed: int) -> Floats:
    rng = np.random.default_rng(seed)
    return np.maximum(0.0, rng.standard_normal((COARSE_MEL.n_mels, frames))).astype(np.float32)


def rising(flux: Floats) -> Curve:
    """Levels that rise as the flux says, and never fall."""
    return Curve(np.cumsum(flux, axis=1, dtype=np.float32))


def bursts(seconds: float, seed: int) -> Floats:
    """Noise that comes and goes: has onsets, and every sample of it is its own."""
    rng = np.random.default_rng(seed)
    samples = int(seconds * SR_HZ)
    return rng.standard_normal(samples) * np.repeat(rng.random(samples // 1600 + 1) ** 3, 1600)[:samples] * 0.2


@given(start=st.integers(0, 5_400), length=st.integers(600, 1_500), seed=st.integers(0, 1_000))
@settings(max_examples=20, deadline=None)
def test_an_excerpt_is_found_wherever_it_lies_in_a_long_master(start: int, length: int, seed: int) -> None:
    master = random_flux(7_000, seed)
    dub = master[:, start : start + length] + random_flux(length, seed + 1)
    found = coarse_search(rising(master), rising(dub))
    assert found.peaks[0].lag_s == pytest.approx(start / COARSE_MEL.frames_per_s, abs=0.01)
    assert found.best_deviations > 8.0


@pytest.mark.parametrize("seed", range(12))
def test_unrelated_curves_stay_near_chance(seed: int) -> None:
    found = coarse_search(rising(random_flux(6_000, seed)), rising(random_flux(900, seed + 99)))
    assert found.best_deviations < 6.0


def test_a_shared_swell_of_loudness_is_no_agreement() -> None:
    swell = 1.0 + np.sin(np.arange(6_000) / 200.0)
    ours, theirs = random_flux(6_000, 1) * swell, random_flux(6_000, 2) * swell
    found = coarse_search(rising(ours), rising(theirs))
    assert found.best_deviations < 6.0


def test_very_long_files_are_found_with_fewer_frames_a_second() -> None:
    frames, start = MOST_FRAMES, 400_001
    master = Random(frames, 3)
    dub = Curve(np.stack([master.read_band(b)[start : start + 9_000] for b in range(COARSE_MEL.n_mels)]))
    found = coarse_search(master, dub)
    assert found.peaks[0].lag_s == pytest.approx(start / COARSE_MEL.frames_per_s, abs=0.04)


def test_silence_has_no_candidates() -> None:
    silence = np.zeros((COARSE_MEL.n_mels, 1_000), dtype=np.float32)
    assert coarse_search(Curve(silence), rising(random_flux(1_000, 1))).peaks == ()


def test_curves_of_a_few_frames_have_no_candidates() -> None:
    assert coarse_search(rising(random_flux(5, 1)), rising(random_flux(900, 1))).peaks == ()


@given(
    delay_s=st.floats(-0.2, 0.2),
    gain=st.floats(0.01, 5.0),
    inverted=st.booleans(),
    noise=st.floats(0.0, 0.1),
    seed=st.integers(0, 99),
)
@settings(max_examples=15, deadline=None)
def test_the_lag_follows_the_delay_whatever_the_gain_polarity_and_noise(
    delay_s: float, gain: float, inverted: bool, noise: float, seed: int
) -> None:
    master = bursts(8.0, seed)
    heard = moved(master, delay_s) * (-gain if inverted else gain)
    dub = heard + np.random.default_rng(seed + 1).standard_normal(master.size) * noise * float(np.std(heard))
    found = fine_search(pair_of(master, dub), 0.0, quietly)
    assert found is not None
    assert found.lag_s == pytest.approx(-delay_s, abs=2e-6)
    assert found.inverted is inverted


def test_swapping_the_sides_turns_the_lag_around() -> None:
    master = bursts(12.0, 4)
    dub = moved(master, 0.1234567) + bursts(12.0, 5)
    there, back = (fine_search(p, 0.0, quietly) for p in (pair_of(master, dub), pair_of(dub, master)))
    assert there is not None
    assert back is not None
    assert there.lag_s == pytest.approx(-0.1234567, abs=2e-6)
    assert back.lag_s == pytest.approx(-there.lag_s, abs=2e-6)


def test_windows_of_silence_are_left_out() -> None:
    master = bursts(20.0, 6)
    master[: 10 * SR_HZ] = 0.0
    found = fine_search(pair_of(master, master), 0.0, quietly)
    assert found is not None
    assert 0 < np.count_nonzero(found.track.sounding) < found.track.sounding.size
    assert abs(found.lag_s) < 1e-6


def test_there_is_no_fine_answer_without_an_overlap() -> None:
    assert fine_search(pair_of(bursts(4.0, 1), bursts(4.0, 1)), 60.0, quietly) is None


@given(master=st.integers(1, 2_000_000), dub=st.integers(1, 2_000_000), lag=st.integers(-2_000_000, 2_000_000))
@settings(max_examples=200, deadline=None)
def test_windows_lie_within_the_overlap_and_reach_near_both_of_its_ends(master: int, dub: int, lag: int) -> None:
    plan = plan_windows(master, dub, lag)
    first, last = max(0, -lag), min(dub, master - lag)
    if last - first < plan.length:
        assert plan.starts == ()
        return
    assert plan.starts[0] == first
    assert all(first <= start <= last - plan.length for start in plan.starts)
    assert last - (plan.starts[-1] + plan.length) <= plan.length // 4


@given(scale=st.floats(0.01, 100.0))
def test_the_trimmed_rms_is_the_deviation_of_normal_noise_and_ignores_a_few_giants(scale: float) -> None:
    noise = np.random.default_rng(1).standard_normal(20_000).astype(np.float32) * np.float32(scale)
    noise[:50] = 1e4 * scale
    assert trimmed_rms(noise) == pytest.approx(scale, rel=0.04)


def test_the_parabola_peaks_between_its_neighbours() -> None:
    assert parabola_top(0.0, 1.0, 0.0) == 0.0
    assert parabola_top(0.5, 1.0, 0.0) < 0.0
    assert parabola_top(1.0, 1.0, 1.0) == 0.0


@given(
    frames=st.integers(1, 3 * FILTERED_AT_ONCE),
    width=st.integers(3, 2_000),
    rows=st.integers(1, 2),
    seed=st.integers(0, 9),
)
@settings(max_examples=15, deadline=None)
def test_a_long_curve_loses_its_swell_piece_by_piece_as_it_would_in_one(
    frames: int, width: int, rows: int, seed: int
) -> None:
    curves = np.random.default_rng(seed).exponential(1.0, (rows, frames)).astype(np.float32)
    whole = curves - scipy.ndimage.uniform_filter1d(curves, width, axis=-1, mode="nearest")
    _subtract_mean(curves, width)
    np.testing.assert_allclose(curves, whole, atol=1e-5)
