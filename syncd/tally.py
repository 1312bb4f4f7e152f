"""What is counted as it happens, for metrics: plain values, kept by whoever sees it happen."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, field
from typing import Final

STAGE_S: Final = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
"""Upper bounds for what takes from a moment to an hour."""
JOB_S: Final = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 3600.0, 7200.0, 14_400.0, 43_200.0, 86_400.0)
"""From a second to a day: the time limit of a job, and nights in a queue, are among them."""
TURN_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""For turns of a loop."""


@dataclass(slots=True)
class Spread:
    """How values are spread: a histogram."""

    bounds: tuple[float, ...]
    """Upper bounds of the buckets, ascending; one more without bound follows."""
    counts: list[int] = field(default_factory=list)
    """By bucket."""
    total: float = 0.0

    def __post_init__(self) -> None:
        self.counts = self.counts or [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one in; what is no finite figure above or at zero is none."""
        if not math.isfinite(value) or value < 0.0:
            return
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value
