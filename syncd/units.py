"""Converters between the field's units, and the one place where the sign of an offset is stated.

The sign, once: ``t_master = rate * t_dub + offset_s``. A **negative** offset means that the dub is late (behind the
master) and must be moved earlier by that much; a positive one means that the dub is early. ``rate`` 1.04271 (25/23.976)
means that the dub plays faster than the master and is shorter.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

FRAME_RATES: Final[dict[str, Fraction]] = {
    "23.976": Fraction(24000, 1001),
    "24.0": Fraction(24),
    "25.0": Fraction(25),
    "29.97": Fraction(30000, 1001),
    "30.0": Fraction(30),
    "48.0": Fraction(48),
    "50.0": Fraction(50),
    "59.94": Fraction(60000, 1001),
    "60.0": Fraction(60),
}
"""Frames per second by the name that the sidecar uses for them."""


def dub_to_master_s(dub_s: float, rate: float, offset_s: float) -> float:
    """Where on the master's clock (seconds) the dub's moment ``dub_s`` belongs."""
    return rate * dub_s + offset_s


def master_to_dub_s(master_s: float, rate: float, offset_s: float) -> float:
    """Where in the dub (seconds) the master's moment ``master_s`` lies."""
    return (master_s - offset_s) / rate


def swap_sides(rate: float, offset_s: float) -> tuple[float, float]:
    """Rate and offset after master and dub changed places."""
    return 1.0 / rate, -offset_s / rate


def seconds_to_samples(seconds: float, sample_rate_hz: int) -> int:
    """Nearest whole number of samples."""
    return round(seconds * sample_rate_hz)


def seconds_to_frames(seconds: float, frames_per_second: Fraction) -> float:
    """Video frames, to a tenth of a frame (what a person can act on)."""
    return round(seconds * float(frames_per_second), 1) + 0.0


def seconds_to_ms(seconds: float) -> float:
    """Milliseconds."""
    return seconds * 1000.0


def rate_to_ppm(rate: float) -> float:
    """Deviation of a speed ratio from one, in parts per million."""
    return (rate - 1.0) * 1e6


def seconds_to_timecode(seconds: float, frames_per_second: int = 25) -> str:
    """``[-]HH:MM:SS:FF @fps``, rounded to the nearest frame, without drop-frame counting.

    >>> seconds_to_timecode(-2.456)
    '-00:00:02:11 @25'
    """
    frames = round(abs(seconds) * frames_per_second)
    sign = "-" if seconds < 0 and frames else ""
    whole_s, frame = divmod(frames, frames_per_second)
    hours, rest_s = divmod(whole_s, 3600)
    minutes, second = divmod(rest_s, 60)
    return f"{sign}{hours:02d}:{minutes:02d}:{second:02d}:{frame:02d} @{frames_per_second}"
