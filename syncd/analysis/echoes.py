"""Sound that arrives by several ways: how far its peaks lie apart, and when the first of it arrives.

A correlation of whitened windows estimates the impulse response between the two sides (Knapp and Carter, 1976). A room
without direct sound has no one peak: the response starts at once and dies away (ISO 3382-1 takes that start as time
zero). Which of its many peaks is the highest is chance; where its energy starts is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.stretch import SR_HZ

ECHO_DEVIATIONS: Final = 5.0
ECHO_SHARE: Final = 0.6
"""Peaks this high beside the best one mean that the sound arrives by several ways."""
FLANK_SAMPLES: Final = 2
LEAST_DIFFUSE_MS: Final = 4.0
"""Peaks that lie closer together are those of a codec or a filter, not of a room."""
SIDE_SAMPLES: Final = 160
"""10 ms on either side of a place are compared."""
BEYOND_SAMPLES: Final = 480
"""30 ms: how far beyond the outermost high peak the start is looked for."""
MOST_ENERGY: Final = 9.0
"""A single peak counts no more than this: a start has many."""
LEAST_ENERGY: Final = 0.25
LEAST_CONTRAST: Final = 3.0
"""Mean energy on the louder side over that on the quieter one."""
LESS_SHARP_SHARE: Final = 0.5
"""A room dies away slowly. Where the other end is nearly as sharp it is no room, and neither end is the start."""
STEP_SAMPLES: Final = 48
"""3 ms: in such steps the start is followed outwards while there is still more than the quiet."""
USUAL_SAMPLES: Final = 640
"""40 ms on either side say how quiet it is before the start, and how loud behind it."""
LEAST_RISE: Final = 2.5
FULL_SHARE: Final = 0.7
"""Of the loudness behind it: until then the sound still begins."""
LEAST_ARRIVAL_MS: Final = 3.0
"""A start says no more precisely where the sound would lie without the room."""


@dataclass(frozen=True)
class Arrival:
    """Where diffuse sound starts."""

    at: int
    """Index of the curve."""
    uncertainty_ms: float
    """Half an interval: as long as the sound takes to begin."""


def echo_ms(curve: NDArray[np.floating], top: int) -> float:
    """How far from its top (in deviations, one value a sample) the farthest other peak lies that is nearly as high."""
    apart = np.abs(_rivals(curve, top) - top)
    # The peak's own flanks are no echoes.
    return 1000.0 * float(apart[apart > FLANK_SAMPLES].max(initial=0)) / SR_HZ


def find_arrival(curve: NDArray[np.floating], top: int) -> Arrival | None:
    """Where diffuse sound starts; None where a peak says it better or no start is clear.

    The place that parts the curve best into two variances (the generalised likelihood ratio of two normal ones), and
    from there outwards to where the sound first rises above the quiet.
    """
    if echo_ms(curve, top) < LEAST_DIFFUSE_MS:
        return None
    energy = np.minimum(np.square(curve), MOST_ENERGY)
    summed = np.concatenate(([0.0], np.cumsum(energy, dtype=np.float64)))
    rivals = _rivals(curve, top)
    first = max(SIDE_SAMPLES, int(rivals.min()) - BEYOND_SAMPLES)
    last = min(curve.size - SIDE_SAMPLES, int(rivals.max()) + BEYOND_SAMPLES)
    if last <= first:
        return None
    places = np.arange(first, last + 1)
    below = np.maximum(LEAST_ENERGY, (summed[places] - summed[places - SIDE_SAMPLES]) / SIDE_SAMPLES)
    above = np.maximum(LEAST_ENERGY, (summed[places + SIDE_SAMPLES] - summed[places]) / SIDE_SAMPLES)
    ratio = np.log((below + above) / 2.0) - 0.5 * (np.log(below) + np.log(above))
    best = int(np.argmax(ratio))
    rises = bool(above[best] > below[best])
    contrast = above[best] / below[best] if rises else below[best] / above[best]
    otherwise = ratio[(above < below) if rises else (above > below)]
    if contrast < LEAST_CONTRAST or float(otherwise.max(initial=0.0)) > LESS_SHARP_SHARE * float(ratio[best]):
        return None
    # A master's room reaches to larger lags, a dub's to smaller ones, and starts at the last of them.
    at = _likeliest(energy, int(places[best]), float(below[best]), float(above[best]))
    before, after = (energy[:at][::-1], energy[at:]) if rises else (energy[at:], energy[:at][::-1])
    early = _steps_above(before, LEAST_RISE * max(LEAST_ENERGY, _mean(before)))
    late = _steps_below(after, FULL_SHARE * _mean(after))
    # A start that was followed outwards lies somewhere in the last of the steps, or by chance one short of it.
    steps = early + late + (early > 0)
    start = at - STEP_SAMPLES * early if rises else at - 1 + STEP_SAMPLES * early
    return Arrival(start, max(LEAST_ARRIVAL_MS, 1000.0 * STEP_SAMPLES * steps / SR_HZ))


def _likeliest(energy: NDArray[np.float64], near: int, below: float, above: float) -> int:
    """Where one variance most likely gives way to the other: two windows side by side only say it roughly."""
    around = energy[near - SIDE_SAMPLES : near + SIDE_SAMPLES]
    # Of the logarithm of the likelihood ratio, summed from each place on, the highest.
    favour = 0.5 * (around * (1.0 / below - 1.0 / above) - np.log(above / below))
    rest = np.append(np.cumsum(favour[::-1])[::-1], 0.0)
    return near - SIDE_SAMPLES + int(np.argmax(rest))


def _mean(energy: NDArray[np.float64]) -> float:
    """Of what lies some way from the sharpest rise."""
    usual = energy[SIDE_SAMPLES : SIDE_SAMPLES + USUAL_SAMPLES]
    return float(usual.sum()) / max(1, usual.size)


def _steps_above(energy: NDArray[np.float64], limit: float) -> int:
    """How many steps before its sharpest rise the sound is already there."""
    below = np.flatnonzero(_in_steps(energy) <= limit)
    return int(below[0]) if below.size else 0


def _steps_below(energy: NDArray[np.float64], limit: float) -> int:
    """How many steps after it the sound is not yet as it stays."""
    above = np.flatnonzero(_in_steps(energy) >= limit)
    return int(above[0]) if above.size else 0


def _in_steps(energy: NDArray[np.float64]) -> NDArray[np.float64]:
    whole = energy[: energy.size // STEP_SAMPLES * STEP_SAMPLES]
    return np.asarray(whole.reshape(-1, STEP_SAMPLES).mean(axis=1))


def _rivals(curve: NDArray[np.floating], top: int) -> NDArray[np.intp]:
    """Every place nearly as high as the top, and the top."""
    high = curve >= max(ECHO_DEVIATIONS, ECHO_SHARE * float(curve[top]))
    high[top] = True
    return np.flatnonzero(high)
