"""Placing a dub by its dialogue alone: all lags of the whole files first, then the starts of the lines.

The whole files are compared by three curves (`correlate.search_lags`): how likely somebody speaks, where lines start
and where they end. Then each line of the master is paired with the dub's line that starts nearest to it at that lag,
and the offset is the robust middle of the pairs' differences: an adaptor keeps starts closer than ends. Where no bed
says how fast the dub runs, every well-known speed is compared, and the slope of the differences says which one it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.correlate import CoarseResult, Compared, search_lags
from syncd.analysis.evidence import Beat, part_of
from syncd.analysis.fit import Samples, fit_lags
from syncd.analysis.rate import KNOWN_SPEEDS, name_of_rate
from syncd.analysis.silero import FRAMES_PER_S
from syncd.analysis.speech import Lines, Times
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Rate

Floats = NDArray[np.float32]

COMPARED: Final = Compared(bands=3, frames_per_s=FRAMES_PER_S)
"""Of the curves: a speech probability, starts, ends."""

EVENT_S: Final = 0.06
"""Deviation of the bump that stands for a start or an end: two languages' lines begin about so far apart."""

PAIRED_WITHIN_S: Final = 0.5
DENSITY_S: Final = 0.04
"""Deviation of the kernel by whose density the differences' mode is found, before their middle is taken."""
BIWEIGHT_S: Final = 0.3
"""A pair that differs more than this from the middle has no weight."""
MATCHED_WITHIN_S: Final = 0.2
"""A pair that lies so near the middle counts as matched."""
ROUNDS: Final = 12
RESAMPLES: Final = 400

SCATTER_FACTOR: Final = 1.3
"""Resampled intervals held the truth in 0.85 to 0.93 of the cases instead of 0.95: the lines share a detector."""

RUN_LINES: Final = 16
RUN_SHARE: Final = 0.4
"""So many lines in a row of which less than this part of the usual share match lie elsewhere in the dub."""

PRACTICE_MS: Final = 40.0
"""A frame: how a whole dub may lie by the adaptor's, the speaker's and the mixer's habit, which no number of lines
tells. Real speakers of three languages over the same lines lay 27 ms early to 81 ms late, half of them within 20."""


PLAUSIBLE_ERRORS: Final = 4.0
"""A known speed within so many standard errors of the measured one is not excluded."""
TOLD_APART_PPM: Final = 500.0
"""Half of what lies between 25/24 and 25/23.976, or 24/23.976 and no change: speeds known no better leave a choice."""


@dataclass(frozen=True)
class Placed:
    """Where the starts of the lines put the dub."""

    lag_s: float
    uncertainty_ms: float
    """Half the 95 % interval: scatter of the lines and `PRACTICE_MS`."""
    scatter_ms: float
    """Median distance of the matched lines from the common lag."""
    paired: int
    matched: int


def search_dialogue(channel: str, master: Lines, dub: Lines, rate: float, beat: Beat) -> CoarseResult:
    """Compare all lags of the two sides' dialogue."""
    exact = Fraction(rate).limit_denominator(1_000_000)
    return search_lags(channel, DialogueCurves(master), DialogueCurves(dub), COMPARED, beat, rate=exact)


def search_speeds(channel: str, master: Lines, dub: Lines, usual: float, beat: Beat) -> tuple[float, CoarseResult]:
    """The same at every well-known speed, and at the usual one: the speed at which most stands out, and its lags.

    A speed other than the usual one must stand out by itself: there were so many to choose from.
    """
    speeds = list(dict.fromkeys((usual, 1.0, *(float(speed) for speed in KNOWN_SPEEDS.values()))))
    found = [
        (speed, search_dialogue(channel, master, dub, speed, part_of(beat, number, len(speeds))))
        for number, speed in enumerate(speeds)
    ]
    best = max(found, key=lambda one: one[1].best_deviations)
    return best if best[1].best_deviations >= THRESHOLDS.speech_speed_deviations else found[0]


class DialogueCurves:
    """A `BandSource` of three bands: speech probability, starts of lines, ends of lines."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    @property
    def frames(self) -> int:
        """As many as there are probabilities."""
        return int(self._lines.probability.size)

    def read_band(self, band: int) -> Floats:
        """The whole curve of one band, shape (frames,)."""
        if band == 0:
            return self._lines.probability.copy()
        return event_curve(self._lines.starts_s if band == 1 else self._lines.ends_s, self.frames)


def event_curve(events_s: Times, frames: int) -> Floats:
    """A bump for each event, its top at 1, shape (frames,)."""
    curve = np.zeros(frames, dtype=np.float32)
    reach = round(4 * EVENT_S * FRAMES_PER_S)
    near = np.floor(events_s * FRAMES_PER_S).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    away_s = (near + 0.5) / FRAMES_PER_S - events_s[:, None]
    inside = (near >= 0) & (near < frames)
    np.add.at(curve, near[inside], np.exp(-0.5 * np.square(away_s / EVENT_S)).astype(np.float32)[inside])
    return curve


def place_by_starts(master_s: Times, dub_s: Times, rate: float, lag_s: float) -> Placed | None:
    """Refine `lag_s` by the starts of the lines; None where fewer than three pairs of them match."""
    _, differences_s = paired_differences(master_s, rate * dub_s, lag_s)
    if differences_s.size < 3:
        return None
    middle_s = _middle(differences_s[None, :], _mode(differences_s))[0]
    away_s = np.abs(differences_s - middle_s)
    matched = away_s <= MATCHED_WITHIN_S
    if np.count_nonzero(matched) < 3:
        return None
    rng = np.random.Generator(np.random.PCG64(differences_s.size))
    drawn = differences_s[rng.integers(differences_s.size, size=(RESAMPLES, differences_s.size))]
    lower_s, upper_s = np.quantile(_middle(drawn, middle_s), [0.025, 0.975])
    return Placed(
        lag_s=lag_s + float(middle_s),
        uncertainty_ms=float(np.hypot(SCATTER_FACTOR * 500.0 * (upper_s - lower_s), PRACTICE_MS)),
        scatter_ms=1000.0 * float(np.median(away_s[matched])),
        paired=int(differences_s.size),
        matched=int(np.count_nonzero(matched)),
    )


def speed_by_starts(master_s: Times, dub_s: Times, rate: float, lag_s: float) -> Rate:
    """The speed that the lines keep: `rate`, made better by the slope of their differences along the programme.

    A well-known speed (or no change) that the lines do not exclude is taken for what it is; its uncertainty reaches
    from there over what was measured. Without one where they leave a choice between several, or are too few for it.
    """
    pairs, differences_s = paired_differences(master_s, rate * dub_s, lag_s)
    fit = fit_lags([Samples(master_s[pairs], differences_s, np.ones(pairs.size))]) if pairs.size else None
    if fit is None or not np.isfinite(fit.slope_error):
        return Rate(rate, None, name_of_rate(rate, 0.0))
    # What is left at this rate, master minus moved dub, is `slope` of the master's time.
    measured = rate / (1.0 - fit.slope)
    error = SCATTER_FACTOR * fit.slope_error
    known = [1.0, *(float(speed) for speed in KNOWN_SPEEDS.values())]
    plausible = [speed for speed in known if abs(measured / speed - 1.0) <= PLAUSIBLE_ERRORS * error]
    if not plausible:
        return Rate(measured, 1.96e6 * error)
    # No change of speed needs no explanation; of two speeds that do, the nearer one.
    taken = 1.0 if 1.0 in plausible else min(plausible, key=lambda speed: abs(measured / speed - 1.0))
    told_apart = PLAUSIBLE_ERRORS * 1e6 * error < TOLD_APART_PPM
    off_ppm = 1e6 * abs(measured / taken - 1.0) + 1.96e6 * error
    return Rate(taken, off_ppm if told_apart else None, name_of_rate(taken, 0.0))


def run_apart(master_s: Times, dub_s: Times, rate: float, lag_s: float) -> tuple[float, float] | None:
    """From where to where, in master time, the lines of both sides do not start together though elsewhere they do.

    `master_s` are the lines of the stretch that both sides cover. An edited dub is told so; None where all is alike.
    """
    if master_s.size < 2 * RUN_LINES:
        return None
    pairs, differences_s = paired_differences(master_s, rate * dub_s, lag_s)
    matched = np.zeros(master_s.size)
    matched[pairs[np.abs(differences_s) <= MATCHED_WITHIN_S]] = 1.0
    shares = np.convolve(matched, np.full(RUN_LINES, 1.0 / RUN_LINES), mode="valid")
    low = np.flatnonzero(shares < RUN_SHARE * matched.mean())
    if low.size == 0:
        return None
    return float(master_s[low[0]]), float(master_s[low[-1] + RUN_LINES - 1])


def paired_differences(master_s: Times, dub_s: Times, lag_s: float) -> tuple[NDArray[np.int64], Times]:
    """Which master lines have a dub line that is their nearest and they its, and master minus moved dub of them.

    Both of shape (pairs,); pairs farther apart than half a second are none.
    """
    if master_s.size == 0 or dub_s.size == 0:
        return np.zeros(0, dtype=np.int64), np.zeros(0)
    moved_s = dub_s + lag_s
    theirs, ours = _nearest(moved_s, master_s), _nearest(master_s, moved_s)
    differences_s = master_s - moved_s[theirs]
    paired = (ours[theirs] == np.arange(master_s.size)) & (np.abs(differences_s) <= PAIRED_WITHIN_S)
    return np.flatnonzero(paired), differences_s[paired]


def _nearest(among: Times, of: Times) -> NDArray[np.int64]:
    """Index of the value of the sorted `among` that is nearest to each value of `of`."""
    right = np.clip(np.searchsorted(among, of), 1, max(1, among.size - 1))
    left = right - 1
    right = np.minimum(right, among.size - 1)
    nearest: NDArray[np.int64] = np.where(of - among[left] <= among[right] - of, left, right)
    return nearest


def _mode(differences_s: Times) -> float:
    """Where they are densest."""
    lattice_s = np.arange(-PAIRED_WITHIN_S, PAIRED_WITHIN_S + 1e-9, 0.005)
    density = np.zeros_like(lattice_s)
    for difference_s in differences_s:
        density += np.exp(-0.5 * np.square((lattice_s - difference_s) / DENSITY_S))
    return float(lattice_s[int(np.argmax(density))])


def _middle(differences_s: Times, start_s: float) -> Times:
    """Tukey's biweight location of each row, shape (rows,)."""
    middle_s = np.full(differences_s.shape[0], start_s)
    for _ in range(ROUNDS):
        away = (differences_s - middle_s[:, None]) / BIWEIGHT_S
        weight = np.square(np.maximum(0.0, 1.0 - np.square(away)))
        total = weight.sum(axis=1)
        middle_s = np.where(total > 0.0, (weight * differences_s).sum(axis=1) / np.maximum(total, 1e-12), middle_s)
    return middle_s
