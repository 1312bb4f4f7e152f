"""Is the daemon at work? Pure: what the main loop said last, and when, in; a reason why not out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LATE_S: Final = 5.0
"""A main loop that works comes round twice a second; ending a worker that resists takes it two seconds."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What is known of the main loop's last turn."""

    ended_at_s: float
    """Monotonic."""
    trouble: str | None = None
    """What stood in its way, in one sentence."""


def why_unhealthy(turn: Turn | None, now_s: float) -> str | None:
    """One sentence; None: all is well."""
    if turn is None:
        return "The daemon is starting."
    if (late_s := now_s - turn.ended_at_s) > LATE_S:
        return f"The main loop has not come round for {late_s:.0f} s."
    return turn.trouble
