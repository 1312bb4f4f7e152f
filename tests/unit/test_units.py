from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.units import (
    FRAME_RATES,
    dub_to_master_s,
    master_to_dub_s,
    seconds_to_frames,
    seconds_to_timecode,
    swap_sides,
)

rates = st.floats(0.9, 1.1)
offsets_s = st.floats(-7200.0, 7200.0)
moments_s = st.floats(0.0, 36000.0)


def test_a_delayed_signal_has_a_negative_offset() -> None:
    """The sign, by delaying a signal: what happens at 2 s in the master is heard at 2.5 s in the late dub."""
    sample_rate_hz, delay_s = 1000, 0.5
    master = np.zeros(4000)
    master[2000] = 1.0
    dub = np.roll(master, int(delay_s * sample_rate_hz))
    event_master_s, event_dub_s = np.argmax(master) / sample_rate_hz, np.argmax(dub) / sample_rate_hz
    assert dub_to_master_s(event_dub_s, rate=1.0, offset_s=-delay_s) == event_master_s


@given(moments_s, rates, offsets_s)
def test_the_two_directions_undo_each_other(moment_s: float, rate: float, offset_s: float) -> None:
    there = dub_to_master_s(moment_s, rate, offset_s)
    assert math.isclose(master_to_dub_s(there, rate, offset_s), moment_s, abs_tol=1e-6)


@given(moments_s, rates, offsets_s)
def test_swapping_the_sides_swaps_the_directions(moment_s: float, rate: float, offset_s: float) -> None:
    swapped_rate, swapped_offset_s = swap_sides(rate, offset_s)
    assert math.isclose(
        dub_to_master_s(moment_s, swapped_rate, swapped_offset_s),
        master_to_dub_s(moment_s, rate, offset_s),
        abs_tol=1e-6,
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2.456, "-00:00:02:11 @25"),
        (2.456, "00:00:02:11 @25"),
        (0.0, "00:00:00:00 @25"),
        (-0.01, "00:00:00:00 @25"),
        (3661.04, "01:01:01:01 @25"),
    ],
)
def test_timecode_counts_hours_minutes_seconds_and_frames(seconds: float, text: str) -> None:
    assert seconds_to_timecode(seconds) == text


def test_frames_are_told_to_a_tenth_and_never_as_minus_nothing() -> None:
    assert seconds_to_frames(-2.456, FRAME_RATES["25.0"]) == -61.4
    assert math.copysign(1.0, seconds_to_frames(-0.0, FRAME_RATES["25.0"])) == 1.0
