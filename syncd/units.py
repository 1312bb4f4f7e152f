"""Converters between the field's units, and the one place where the sign of an offset is stated.

The sign, once: ``t_master = rate * t_dub + offset_s``. A **negative** offset means that the dub is late (behind the
master) and must be moved earlier by that much; a positive one means that the dub is early. ``rate`` 1.04271 (25/23.976)
means that the dub plays faster than the master and is shorter.
"""

from __future__ import annotations

import re
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


_TIMECODE: Final = re.compile(r"(?P<hour>\d\d):(?P<minute>[0-5]\d):(?P<second>[0-5]\d)(?P<mark>[:;])(?P<frame>\d\d)")


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


def seconds_to_timecode(seconds: float, frames_per_second: Fraction | int = 25, *, is_drop_frame: bool = False) -> str:
    """``[-]HH:MM:SS:FF @fps``, rounded to the nearest frame.

    Rates that are no whole number count the next whole number of frames a second (23.976 counts 24), as SMPTE 12M does.
    `is_drop_frame` (29.97 and 59.94 only, else ignored) leaves out labels so that they keep pace with the clock, and
    writes a semicolon before the frames.

    >>> seconds_to_timecode(-2.456)
    '-00:00:02:11 @25'
    >>> seconds_to_timecode(3600.0, FRAME_RATES["29.97"], is_drop_frame=True)
    '01:00:00;00 @29.97'
    """
    rate = Fraction(frames_per_second)
    nominal, dropped = round(rate), _dropped_a_minute(rate) if is_drop_frame else 0
    frames = round(abs(Fraction(seconds)) * rate)
    sign = "-" if seconds < 0 and frames else ""
    whole_s, frame = divmod(_with_dropped_labels(frames, nominal, dropped), nominal)
    minutes, second = divmod(whole_s, 60)
    hours, minute = divmod(minutes, 60)
    name = next((name.removesuffix(".0") for name, known in FRAME_RATES.items() if known == rate), f"{float(rate):g}")
    return f"{sign}{hours:02d}:{minute:02d}:{second:02d}{';' if dropped else ':'}{frame:02d} @{name}"


def timecode_to_seconds(timecode: str, frames_per_second: Fraction) -> float | None:
    """Seconds from 00:00:00:00 to ``HH:MM:SS:FF`` or ``HH:MM:SS;FF`` (drop-frame) at that rate, as real time passes.

    None: it is no such timecode. At 23.976 an hour of timecode lasts 3603.6 s:

    >>> timecode_to_seconds("01:00:00:00", FRAME_RATES["23.976"])
    3603.6
    """
    match = _TIMECODE.fullmatch(timecode)
    if match is None:
        return None
    hour, minute, second, frame = (int(match[name]) for name in ("hour", "minute", "second", "frame"))
    nominal = round(frames_per_second)
    if frame >= nominal:
        return None
    dropped = _dropped_a_minute(frames_per_second) if match["mark"] == ";" else 0
    minutes = 60 * hour + minute
    frames = (60 * minutes + second) * nominal + frame - dropped * (minutes - minutes // 10)
    return float(frames / frames_per_second)


def _dropped_a_minute(rate: Fraction) -> int:
    """Labels left out at the beginning of each minute but every tenth (SMPTE 12M): 2 at 29.97, 4 at 59.94."""
    return {FRAME_RATES["29.97"]: 2, FRAME_RATES["59.94"]: 4}.get(rate, 0)


def _with_dropped_labels(frames: int, nominal: int, dropped: int) -> int:
    """The label, as a count of frames, of the frame of this number."""
    tens, rest = divmod(frames, 600 * nominal - 9 * dropped)
    minutes = max(0, rest - dropped) // (60 * nominal - dropped)
    return frames + dropped * (9 * tens + minutes)
