"""Speeds undone: whole sample rates that are exact, and the choice between resampling and stretching."""

import math
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from syncd.domain import Rate
from syncd.reports.speed import (
    ExactRates,
    SpeedMeans,
    atempo_lateness_samples,
    exact_rates,
    shift_filters,
    speed_filters,
    speed_means,
    speed_to_undo,
)
from tests.material.report_examples import SIDE

PAL = 25 * 1001 / 24_000
NATIVE_RATES_HZ = (8_000, 22_050, 44_100, 48_000, 96_000, 192_000)

ratios = st.one_of(
    st.floats(0.93, 1.07),
    # Clocks that drift: by a millionth to three thousandths, either way.
    st.tuples(st.floats(math.log(1e-7), math.log(3e-3)), st.booleans()).map(
        lambda drawn: 1.0 + math.exp(drawn[0]) * (1 if drawn[1] else -1)
    ),
)


@given(ratios, st.sampled_from(NATIVE_RATES_HZ))
@example(1.000001, 48_000)
@example(1.0 - 2e-6, 8_000)
@example(1.0000005, 192_000)
def test_any_speed_is_made_of_whole_rates_to_far_less_than_a_hundredth_of_a_ppm(ratio: float, native_hz: int) -> None:
    rates = exact_rates(ratio, native_hz)
    assert abs(rates.ratio / ratio - 1.0) < 2e-9
    assert native_hz <= rates.converted_hz <= max(2 * native_hz, 200_000)
    assert 0 <= rates.claimed_hz - native_hz < 100


def test_pal_is_exact() -> None:
    assert exact_rates(PAL, 48_000) == ExactRates(48_000, 48_000, 50_050, 48_000)
    assert exact_rates(PAL, 48_000).ratio == PAL


def test_what_cannot_be_a_speed_is_refused() -> None:
    with pytest.raises(ValueError, match="no whole sample rates"):
        exact_rates(100.0, 48_000)


def test_a_pitch_that_moved_with_the_speed_is_resampled_and_one_that_was_kept_is_stretched() -> None:
    assert speed_means(Rate(PAL, pitch_semitones=0.724)) is SpeedMeans.RESAMPLE
    assert speed_means(Rate(1 / PAL, pitch_semitones=-0.70)) is SpeedMeans.RESAMPLE
    assert speed_means(Rate(PAL, pitch_semitones=0.0)) is SpeedMeans.STRETCH
    assert speed_means(Rate(PAL, pitch_semitones=-0.724)) is SpeedMeans.STRETCH


def test_without_a_pitch_only_a_clocks_drift_is_resampled() -> None:
    assert speed_means(Rate(1.001)) is SpeedMeans.RESAMPLE
    assert speed_means(Rate(PAL)) is SpeedMeans.STRETCH


def test_a_speed_that_moves_the_end_by_less_than_a_sample_is_none() -> None:
    assert speed_to_undo(Rate(1.0 + 1e-9), replace(SIDE, duration_s=60.0)) == 1.0
    assert speed_to_undo(Rate(1.0 + 1e-6), replace(SIDE, duration_s=60.0)) == 1.0 + 1e-6
    assert speed_to_undo(None, SIDE) == 1.0
    assert speed_filters(Rate(1.0), SIDE) == ()


def test_atempos_mean_delay_is_taken_off_whichever_way_it_lies() -> None:
    assert atempo_lateness_samples(1.0427, 48_000) > 0 > atempo_lateness_samples(0.959, 48_000)
    slowed = speed_filters(Rate(PAL, pitch_semitones=0.0), SIDE)
    assert slowed[0] == f"atempo={1 / PAL!r}"
    assert slowed[1].startswith("adelay")
    hurried = speed_filters(Rate(1 / PAL, pitch_semitones=0.0), SIDE)
    assert hurried[1].startswith("atrim")


@given(st.floats(0.9, 1.1), st.sampled_from(NATIVE_RATES_HZ))
def test_atempos_delay_stays_below_a_quarter_of_its_block(tempo: float, native_hz: int) -> None:
    assert abs(atempo_lateness_samples(tempo, native_hz)) <= 0.25 * native_hz / 11.0


def test_a_shift_of_nothing_needs_no_filter() -> None:
    assert shift_filters(0) == ()
