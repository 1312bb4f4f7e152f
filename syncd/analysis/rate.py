"""Speed: the line that the blocks' lags keep, and the names of the well-known ones.

Internal time is the dub's, stretched by a hypothesis `rate`; what is left of the speed difference is the slope of the
lags over it. Blocks bear a slope of a quarter of a percent, so three hypotheses hold all well-known speeds, and some
thirty every speed within six percent.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.lagmap import BlockPeak

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

PAL: Final = float(Fraction(25, 24)) * 1.0005
"""Between 25/24 and 25/23.976, which lie a thousandth apart."""

WELL_KNOWN_HYPOTHESES: Final = (1.0, PAL, 1.0 / PAL)

SCAN_STEP: Final = 0.004
SCAN_REACH: Final = 0.062
MOST_SLOPE: Final = 0.0025
"""What a block of 24 s bears: its ends then lie 30 ms off."""

NEAR_FRAMES: Final = 3.0
"""A peak this close to a line stands on it (60 ms)."""

MOST_PEAKS: Final = 160


def scan_hypotheses() -> tuple[float, ...]:
    """All rates within ±6 %, nearest first, without those that are well known."""
    steps = int(SCAN_REACH / SCAN_STEP)
    rates = [1.0 + SCAN_STEP * k for k in range(-steps, steps + 1)]
    new = [r for r in rates if all(abs(r / known - 1.0) > 0.5 * SCAN_STEP for known in WELL_KNOWN_HYPOTHESES)]
    return tuple(sorted(new, key=lambda rate: abs(rate - 1.0)))


@dataclass(frozen=True)
class Line:
    """Lags along ``lag + slope * centre`` (frames)."""

    lag: float
    slope: float
    score: float
    """Log-likelihood ratio against chance, less the price of choosing a line."""
    blocks: int
    """How many stand on it."""
    span: float = 0.0
    """From the first of them to the last, frames."""
    share: float = 0.0
    """Of all blocks, how many stand on it."""


NO_LINE: Final = Line(0.0, 0.0, -np.inf, 0)


def find_line(peaks: list[BlockPeak], centres: NDArray[np.float64], *, places: int, weight: float) -> Line:
    """The line that gathers the most evidence: through every pair of peaks, scored by all peaks near it."""
    strongest = sorted(peaks, key=lambda peak: -peak.deviations)[:MOST_PEAKS]
    if not strongest:
        return NO_LINE
    blocks = np.array([peak.block for peak in strongest])
    times, lags = centres[blocks], np.array([peak.lag for peak in strongest])
    heights = np.array([peak.deviations for peak in strongest])
    first, second = np.triu_indices(len(strongest), k=1)
    apart = times[second] - times[first]
    usable = blocks[first] != blocks[second]
    slopes = np.where(usable, (lags[second] - lags[first]) / np.where(usable, apart, 1.0), np.inf)
    usable &= np.abs(slopes) <= MOST_SLOPE
    slopes = np.concatenate((np.zeros(len(strongest)), slopes[usable]))
    origins = np.concatenate((np.arange(len(strongest)), first[usable]))
    worth = weight * np.maximum(0.0, np.square(heights) / 2.0 - np.log(2 * NEAR_FRAMES + 1))
    best, best_score = 0, -np.inf
    for piece in np.array_split(np.arange(slopes.size), max(1, slopes.size // 2048)):
        rest = lags[None, :] - lags[origins[piece], None]
        rest -= slopes[piece, None] * (times[None, :] - times[origins[piece], None])
        totals = ((np.abs(rest) <= NEAR_FRAMES) * worth[None, :]).sum(axis=1)
        top = int(totals.argmax())
        if totals[top] > best_score:
            best, best_score = int(piece[top]), float(totals[top])
    slope = float(slopes[best])
    lag = float(lags[origins[best]] - slope * times[origins[best]])
    lag, slope, near = _fitted(times, lags, heights, lag, slope)
    price = 2.0 * float(np.log(max(places, 2))) + 3.0
    span = float(np.ptp(times[near])) if near.any() else 0.0
    standing = int(np.unique(blocks[near]).size)
    return Line(lag, slope, best_score - price, standing, span, standing / max(1, centres.size))


def _fitted(
    times: NDArray[np.float64], lags: NDArray[np.float64], heights: NDArray[np.float64], lag: float, slope: float
) -> tuple[float, float, NDArray[np.bool_]]:
    """Least squares over what stands near, closer each round."""
    near = np.abs(lags - lag - slope * times) <= NEAR_FRAMES
    for reach in (NEAR_FRAMES, 1.5, 1.0):
        near = np.abs(lags - lag - slope * times) <= reach
        if np.unique(times[near]).size < 3:
            break
        weights = heights[near]
        slope, lag = (float(v) for v in np.polyfit(times[near], lags[near], 1, w=weights))
    return lag, slope, near


def name_of_rate(rate: float, uncertainty_ppm: float) -> str | None:
    """The known speed that a measured one is, within its uncertainty (at least 5 ppm); None for any other.

    None too where that could be another known one, or none at all.
    """
    nominal = _nominal(rate, uncertainty_ppm)
    return nominal[0] if nominal else None


def nominal_rate(rate: float, uncertainty_ppm: float) -> float | None:
    """The same as a rate, «no change» among them: what a dub of about that speed was made at."""
    nominal = _nominal(rate, uncertainty_ppm)
    return float(nominal[1]) if nominal else None


def _nominal(rate: float, uncertainty_ppm: float) -> tuple[str | None, Fraction] | None:
    reach_ppm = max(5.0, uncertainty_ppm)
    near = [
        (name, known)
        for name, known in ((None, Fraction(1)), *KNOWN_SPEEDS.items())
        if abs(rate / float(known) - 1.0) * 1e6 <= reach_ppm
    ]
    return near[0] if len(near) == 1 else None
