"""What the start timecodes of both sides say on their own, and whether the sound bears it out. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import Final

from syncd.domain import Estimate, MeasuredSide
from syncd.units import FRAME_RATES, timecode_to_seconds

DAY_S: Final = 86_400.0

AGREES_S: Final = 0.042
"""A timecode tells frames: a difference of less than one (at 24 a second) is none."""


def timecode_offset_s(master: MeasuredSide, dub: MeasuredSide) -> float | None:
    """Where the timecodes alone would place the dub: the offset of ``t_master = t_dub + offset_s``; None where they do
    not say. A programme that passes midnight is taken the short way round.

    Of two frame rates the labels are compared (01:00:00:00 is 01:00:00:00, at 25 and at 23.976), else the time that
    passes.
    """
    ours, theirs = _rate(master), _rate(dub)
    if _counts_frames(master) and _counts_frames(dub) and ours and theirs and ours != theirs:
        ours, theirs = Fraction(round(ours)), Fraction(round(theirs))
    master_s, dub_s = _start_s(master, ours or theirs), _start_s(dub, theirs or ours)
    if master_s is None or dub_s is None:
        return None
    return (dub_s - master_s + DAY_S / 2) % DAY_S - DAY_S / 2


def timecode_warning(timecodes_s: float | None, sound: Estimate | None) -> str | None:
    """A sentence where the timecodes say something else than the sound, or than nothing."""
    if timecodes_s is None:
        return None
    if sound is None:
        return f"By the start timecodes alone the dub would be {_lie(timecodes_s)}; the sound does not confirm it."
    if timecodes_agree(timecodes_s, sound):
        return None
    return (
        f"By the start timecodes alone the dub would be {_lie(timecodes_s)}; "
        f"by the sound it is {_lie(sound.offset_s)}: placed by its timecode, "
        "it would be off by the difference."
    )


def timecodes_agree(timecodes_s: float, sound: Estimate) -> bool:
    """Whether both say the same to a frame."""
    return abs(timecodes_s - sound.offset_s) <= AGREES_S + sound.uncertainty_ms / 1000.0


def _counts_frames(side: MeasuredSide) -> bool:
    return side.start_of_day_s is None


def _rate(side: MeasuredSide) -> Fraction | None:
    return FRAME_RATES.get(side.frame_rate or "")


def _start_s(side: MeasuredSide, rate: Fraction | None) -> float | None:
    """Seconds since 00:00:00:00; `rate` stands in for one that the file does not tell."""
    if side.start_of_day_s is not None:
        return side.start_of_day_s
    return timecode_to_seconds(side.start_timecode, rate) if side.start_timecode and rate else None


def _lie(offset_s: float) -> str:
    return f"{abs(offset_s):.3f} s {'late' if offset_s < 0 else 'early'}" if abs(offset_s) >= 0.0005 else "in its place"
