"""The master's own time, as an editor reads it: timecode at its native rate, from its start timecode if it has one."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from syncd.domain import MeasuredSide
from syncd.units import FRAME_RATES, seconds_to_timecode, timecode_to_seconds

_DEFAULT_RATE_NAME: Final = "25.0"


def native_rate(frame_rate: str | None) -> tuple[str, Fraction]:
    """The sidecar's name and value for a container's frame rate; 25 fps where it says none that is known."""
    try:
        told = Fraction(frame_rate) if frame_rate else None
    except (ValueError, ZeroDivisionError):
        told = None
    for name, value in FRAME_RATES.items():
        if told is not None and abs(told / value - 1) < Fraction(1, 10_000):
            return name, value
    return _DEFAULT_RATE_NAME, FRAME_RATES[_DEFAULT_RATE_NAME]


def counts_drop_frame(side: MeasuredSide) -> bool:
    """As its own timecode does; where it has none, at the rates that know both ways, as the clock on the wall."""
    return side.start_timecode is None or ";" in side.start_timecode


def master_timecode(master: MeasuredSide, at_s: float) -> str:
    """``HH:MM:SS:FF`` of a moment in seconds from the master's beginning; see `clock_words`."""
    _, rate = native_rate(master.frame_rate)
    label = seconds_to_timecode((_start_s(master) or 0.0) + at_s, rate, is_drop_frame=counts_drop_frame(master))
    return label.partition(" ")[0]


def clock_words(master: MeasuredSide) -> str:
    """What those timecodes are: ``the master's timecode at 25 fps``."""
    name = native_rate(master.frame_rate)[0].removesuffix(".0")
    counted = "the master's time from 00:00:00:00" if _start_s(master) is None else "the master's timecode"
    return f"{counted} at {name} fps"


def _start_s(side: MeasuredSide) -> float | None:
    """Since 00:00:00:00; None where the file does not say."""
    if side.start_of_day_s is not None:
        return side.start_of_day_s
    return timecode_to_seconds(side.start_timecode, native_rate(side.frame_rate)[1]) if side.start_timecode else None
