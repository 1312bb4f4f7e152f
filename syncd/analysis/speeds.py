"""Whether two sides that keep no common offset would keep one at another speed. Named here; measured from the next
version on."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from syncd.analysis.correlate import coarse_search
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.features import COARSE_MEL
from syncd.analysis.thresholds import THRESHOLDS

_FASTER: Final = {
    "25/23.976": Fraction(25 * 1001, 24000),
    "25/24": Fraction(25, 24),
    "24/23.976": Fraction(1001, 1000),
}
KNOWN_SPEEDS: Final[dict[str, Fraction]] = {
    **_FASTER,
    **{"/".join(reversed(name.split("/"))): 1 / rate for name, rate in _FASTER.items()},
}
"""Rates (t_master = rate * t_dub) by name; above one the dub plays faster. 24/23.976 is also 30/29.97: 1001/1000."""


@dataclass(frozen=True)
class SpeedHint:
    """A speed at which the sides would fit."""

    name: str
    rate: float
    deviations: float


def find_speed(pair: ChannelPair, plain_deviations: float, beat: Beat) -> SpeedHint | None:
    """The known speed at which the coarse search clearly beats that without a change; else None."""
    best: SpeedHint | None = None
    for name, rate in KNOWN_SPEEDS.items():
        found = coarse_search(pair.name, pair.master.levels, pair.dub.levels, COARSE_MEL, beat, rate=rate)
        if best is None or found.best_deviations > best.deviations:
            best = SpeedHint(name, float(rate), found.best_deviations)
    needed = max(THRESHOLDS.speed_match_deviations, THRESHOLDS.speed_gain * plain_deviations)
    return best if best is not None and best.deviations >= needed else None


def name_speed(ppm: float) -> str | None:
    """The known speed within 60 ppm of a measured one."""
    for name, rate in KNOWN_SPEEDS.items():
        if abs((float(rate) - 1.0) * 1e6 - ppm) <= 60.0:
            return name
    return None
