"""Words for people: early or late, never plus or minus."""

from __future__ import annotations


def early_or_late(offset_s: float) -> str:
    """``1.250 s late``."""
    if abs(offset_s) < 0.0005:
        return "in place"
    return f"{abs(offset_s):.3f} s {'late' if offset_s < 0.0 else 'early'}"


def clock(seconds: float) -> str:
    """``H:MM:SS`` or ``M:SS``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"
