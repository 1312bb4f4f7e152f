"""The dub on the master's clock: every sample where it says it lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.stretch import SR_HZ, Stretched
from tests.unit.in_memory import Sound

Floats = NDArray[Any]
SECONDS = 12.0
RNG = np.random.default_rng(7)
HZ = RNG.uniform(100.0, 5_500.0, 40)
PHASES = RNG.uniform(0.0, 2.0 * np.pi, 40)


def signal(times_s: Floats) -> Floats:
    """Forty tones below 5.5 kHz, known at every moment."""
    return 0.02 * np.sin(2.0 * np.pi * HZ * times_s[:, None] + PHASES).sum(axis=1)


def slope(times_s: Floats) -> Floats:
    """Its change a second."""
    return 0.02 * (2.0 * np.pi * HZ * np.cos(2.0 * np.pi * HZ * times_s[:, None] + PHASES)).sum(axis=1)


@pytest.fixture(scope="module")
def sound() -> Sound:
    return Sound(signal(np.arange(int(SECONDS * SR_HZ)) / SR_HZ))


@given(
    rate=st.one_of(st.floats(0.94, 1.06), st.floats(0.9999, 1.0001), st.sampled_from([25 / 24, 1001 / 1000, 0.96])),
    start=st.integers(2_000, 150_000),
    count=st.integers(500, 20_000),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_every_sample_lies_within_a_thousandth_of_where_it_says(
    sound: Sound, rate: float, start: int, count: int
) -> None:
    window, late = Stretched(sound, rate).read(start, count)
    assert window.size == count
    assert 0.0 <= late < 1.1
    moments_s = (start + late + np.arange(count)) / SR_HZ / rate
    truth, change = signal(moments_s), slope(moments_s)
    # How much later than it says, in samples of the stretched clock, in each third of the window.
    for third in np.array_split(np.arange(count), 3):
        apart_s = -np.dot(window[third] - truth[third], change[third]) / np.dot(change[third], change[third])
        assert abs(apart_s * rate * SR_HZ) < 1e-3
    assert np.std(window - truth) < 2e-3 * np.std(truth)


def test_at_no_change_of_speed_the_samples_are_the_sounds_own(sound: Sound) -> None:
    window, late = Stretched(sound, 1.0).read(1_000, 500)
    assert late == 0.0
    assert np.array_equal(window, sound.read(1_000, 500))
    assert Stretched(sound, 1.0).samples == sound.samples


@pytest.mark.parametrize("rate", [0.96, 1.0, 25 / 24])
def test_before_its_start_and_beyond_its_end_there_is_silence(sound: Sound, rate: float) -> None:
    stretched = Stretched(sound, rate)
    assert stretched.samples == int(sound.samples * rate)
    before, _ = stretched.read(-8_000, 4_000)
    after, _ = stretched.read(stretched.samples + 4_000, 4_000)
    assert np.abs(before).max() < 1e-6
    assert np.abs(after).max() < 1e-6
    across, _ = stretched.read(stretched.samples - 2_000, 6_000)
    assert across.size == 6_000
    assert np.std(across[:1_500]) > 0.05
    assert np.abs(across[3_000:]).max() < 1e-6
