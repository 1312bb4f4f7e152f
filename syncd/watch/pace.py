"""How often a watched folder is read as a whole. Pure."""

from __future__ import annotations

from typing import Final

_POLL_S: Final = 10.0
"""Time between rescans where no events come, unless less is wanted."""
_POLL_SHARE: Final = 0.05
"""How much of the time a poll may take: slower folders are read less often, but no less than is wanted."""
_WORK_SHARE: Final = 0.015
"""How much of a core rescans may take, however many files there are; what is idle beside them has the rest of 2 %."""


def rescan_interval_s(wanted_s: float, *, polls: bool, took_s: float, worked_s: float) -> float:
    """From the beginning of a rescan to that of the next.

    `took_s`: how long the last one took; `worked_s`: how much of the processor's time.
    """
    interval_s = min(wanted_s, max(_POLL_S, took_s / _POLL_SHARE)) if polls else wanted_s
    return max(interval_s, worked_s / _WORK_SHARE)
