"""Sound that arrives by several ways: rooms whose direct sound is heard, and rooms whose is not."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.echoes import LEAST_DIFFUSE_MS, echo_ms, find_arrival
from syncd.analysis.evidence import quietly
from syncd.analysis.phat import fine_search
from syncd.analysis.steadiness import is_match, support_of
from syncd.analysis.stretch import SR_HZ
from tests.unit.test_correlate import bursts, pair_of

MIDDLE = 4_000


def response(start: int, t60_s: float, seed: int, loudness: float = 4.0) -> NDArray[np.float64]:
    """A correlation in deviations: chance everywhere, and a room that starts at one place and dies away."""
    rng = np.random.default_rng(seed)
    curve = rng.standard_normal(2 * MIDDLE + 1)
    after = np.arange(curve.size - start)
    curve[start:] += loudness * np.exp(-6.91 * after / (t60_s * SR_HZ)) * rng.standard_normal(after.size)
    return curve


@given(start=st.integers(1_500, 5_500), t60_s=st.floats(0.3, 1.5), seed=st.integers(0, 999), mirrored=st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_room_is_placed_where_its_sound_starts_on_whichever_side_it_is(
    start: int, t60_s: float, seed: int, *, mirrored: bool
) -> None:
    curve = response(start, t60_s, seed)
    if mirrored:
        curve, start = curve[::-1], curve.size - 1 - start
    top = int(np.argmax(curve))
    found = find_arrival(curve, top)
    if found is None:
        assert echo_ms(curve, top) < LEAST_DIFFUSE_MS, "only a peak that stands alone is taken for direct sound"
    else:
        assert abs(found.at - start) / SR_HZ * 1000.0 <= found.uncertainty_ms


def test_a_peak_that_stands_alone_is_the_direct_sound_whatever_comes_before_it() -> None:
    """Weak sound 20 ms earlier, as beds have that repeat themselves, does not move it."""
    curve = response(3_000, 0.4, 11, loudness=1.0)
    curve[3_320] = 60.0
    assert find_arrival(curve, 3_320) is None


@pytest.mark.parametrize(("start", "t60_s", "seed"), [(1_500, 1.0, 345), (2_752, 0.893, 75), (4_000, 0.774, 123)])
def test_a_start_is_not_lost_to_a_cluster_of_chance_before_it(start: int, t60_s: float, seed: int) -> None:
    curve = response(start, t60_s, seed)
    found = find_arrival(curve, int(np.argmax(curve)))
    assert found is not None
    assert abs(found.at - start) / SR_HZ * 1000.0 <= found.uncertainty_ms


@given(seed=st.integers(0, 9_999))
@settings(max_examples=100, deadline=None)
def test_chance_alone_starts_nowhere(seed: int) -> None:
    curve = np.random.default_rng(seed).standard_normal(2 * MIDDLE + 1)
    assert find_arrival(curve, int(np.argmax(curve))) is None


def test_a_single_peak_is_its_own_arrival() -> None:
    curve = np.random.default_rng(1).standard_normal(2 * MIDDLE + 1)
    curve[3_000] = 40.0
    assert echo_ms(curve, 3_000) == 0.0
    assert find_arrival(curve, 3_000) is None


def test_a_second_peak_nearly_as_high_widens_the_interval_and_is_no_room() -> None:
    curve = np.random.default_rng(1).standard_normal(2 * MIDDLE + 1)
    curve[3_000], curve[3_400] = 40.0, 30.0
    assert echo_ms(curve, 3_000) == 25.0
    assert find_arrival(curve, 3_000) is None


def test_what_ends_as_sharply_as_it_starts_is_no_room() -> None:
    rng = np.random.default_rng(2)
    curve = rng.standard_normal(2 * MIDDLE + 1)
    curve[3_000:3_800] += 4.0 * rng.standard_normal(800)
    assert find_arrival(curve, int(np.argmax(curve))) is None


@pytest.mark.parametrize("seed", [3, 4, 5])
def test_a_dub_of_reverberation_alone_is_placed_to_the_millisecond(seed: int) -> None:
    rng = np.random.default_rng(seed)
    master = bursts(60.0, seed)
    tail = rng.standard_normal(SR_HZ) * np.exp(-6.91 * np.arange(SR_HZ) / (0.8 * SR_HZ))
    dub = scipy.signal.oaconvolve(master, tail)[: master.size]
    dub += 0.05 * float(np.std(dub)) * rng.standard_normal(dub.size)
    found = fine_search(pair_of(master, dub), 0.0, quietly)
    assert found is not None
    assert is_match(found, support_of(found))
    assert found.arrives_s is not None
    assert 1000.0 * abs(found.lag_s + found.arrives_s) <= 2.0
