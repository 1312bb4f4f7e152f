"""What two sides' embeddings say of where the dub lies. They confirm; they never place the dub alone.

Three figures, each for itself. The *outcome*: the lag at which all frames of both sides agree best, in deviations of
what the other lags give (`correlate.search_lags`; a known rate is undone by stretching the dub's frames onto the
master's time), then finer by the windows' sum. The *similarity*: the mean cosine of frames that a placement lays side
by side, less that of frames that do not belong together. The *consistency*: the share of windows, some ten seconds
each, that fit best, each by itself among all lags within a second, where the placement has them.

`model_confidence` is the lesser of two ramps, so it grows with similarity and with consistency and is no surer than
either: similarity from `SIMILAR[0]` (0) to `SIMILAR[1]` (1), and consistency, after Laplace's rule of succession, from
what chance gives to `CONSISTENT`. Without a placement it is that of the outcome's height.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.calibration import within_half_a_frame
from syncd.analysis.correlate import CoarsePeak, Compared, parabola_top, prepare_curve, search_lags
from syncd.analysis.embeddings import FrameRule, FrameSource
from syncd.analysis.evidence import Beat, part_of
from syncd.domain import Estimate, Inconclusive

Floats = NDArray[np.float32]

MATCH_DEVIATIONS: Final = 8.0
"""As for other curves compared over whole files."""
RIVAL_SHARE: Final = 0.75
"""Another lag that stands this high fits as well."""
LEAST_FRAMES: Final = 24
"""Of the shorter side."""
SWELL_S: Final = 1.5
SWELL_FRAMES: Final = 16
"""What changes more slowly than either is taken out before whole files are compared: unrelated programmes share it."""

WINDOW_S: Final = 10.0
SHORTEST_S: Final = 3.0
"""A shorter stretch says nothing by itself."""
MOST_WINDOWS: Final = 360
REACH_S: Final = 1.0
CLOSE_S: Final = 0.04
"""A window agrees with a placement this far away, or half a hop where frames are farther apart."""
LEAST_ENERGY: Final = 0.05
"""Of a window's frames, of the usual: below it nothing happens there."""
FLOOR_HOPS: Final = 0.15
"""Half the 95 % interval is at least so much of a hop: the top of a curve is not known better."""
SIMILAR: Final = (0.02, 0.25)
CONSISTENT: Final = 0.9
KEPT_A_WINDOW: Final = 64
"""Frames of each window whose cosines are taken."""
ROLLS: Final = 8
"""With how many other windows each is compared that it does not belong to."""


@dataclass(frozen=True)
class Stretch:
    """From where to where of the master's time the dub is placed with this intercept."""

    start_s: float
    end_s: float
    offset_s: float


@dataclass(frozen=True)
class Sides:
    """The frames of both, and the speed of the dub: ``t_master = rate * t_dub + offset_s``."""

    master: FrameSource
    dub: FrameSource
    rule: FrameRule
    rate: float = 1.0


@dataclass(frozen=True)
class Agreement:
    """What the embeddings say."""

    outcome: Estimate | Inconclusive
    deviations: float
    """Of the best lag."""
    similarity: float | None
    consistency: float | None
    model_confidence: float


def agree(sides: Sides, placement: tuple[Stretch, ...], beat: Beat) -> Agreement:
    """Compare whole files, then the windows of the placement, which may be empty."""
    peaks, found = _search(sides, tuple(s.offset_s for s in placement), part_of(beat, 0, 2))
    height = peaks[0].deviations if peaks else 0.0
    outcome = found if isinstance(found, Inconclusive) else _refined(sides, found, height)
    if not placement:
        sure = ramp(height, MATCH_DEVIATIONS, 2.0 * MATCH_DEVIATIONS) if isinstance(outcome, Estimate) else 0.0
        return Agreement(outcome, height, None, None, sure)
    windows = list(heard_windows(sides, placement, part_of(beat, 1, 2)))
    near = [abs(window.lag_s) <= close_s(sides.rule) for window in windows]
    consistency = sum(near) / len(near) if near else None
    similarity = similarity_of(windows)
    return Agreement(outcome, height, similarity, consistency, model_confidence(similarity, near, sides.rule))


def apart_s(rule: FrameRule) -> float:
    """Two places farther apart than this are two."""
    return max(0.1, 1.0 / rule.frames_per_s)


def close_s(rule: FrameRule) -> float:
    """A window this far from its placement agrees with it."""
    return max(CLOSE_S, 0.5 / rule.frames_per_s)


def model_confidence(similarity: float | None, near: list[bool], rule: FrameRule) -> float:
    """See the module; 0 where there was nothing to compare."""
    if similarity is None or not near:
        return 0.0
    by_chance = close_s(rule) / REACH_S
    consistency = (sum(near) + 1) / (len(near) + 2)
    return min(ramp(similarity, *SIMILAR), ramp(consistency, by_chance, CONSISTENT))


def ramp(value: float, low: float, high: float) -> float:
    """0 up to `low`, 1 from `high` on, straight between."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


# --- whole files -----------------------------------------------------------------------------------------------------


def _search(
    sides: Sides, explained_s: tuple[float, ...], beat: Beat
) -> tuple[tuple[CoarsePeak, ...], float | Inconclusive]:
    """The lags that stand out, and the best one if it is the only one (or the placement explains the others)."""
    rule = sides.rule
    if min(sides.master.frames, sides.dub.frames) < LEAST_FRAMES:
        return (), Inconclusive((f"there are fewer than {LEAST_FRAMES} embeddings of a side",))
    prepare = partial(prepare_curve, swell_s=max(SWELL_S, SWELL_FRAMES / rule.frames_per_s))
    compared = Compared(sides.master.dims, rule.frames_per_s, prepare)
    result = search_lags("embeddings", sides.master, sides.dub, compared, beat, rate=sides.rate)
    # Frames have their middle later than their place in the row: with a rate that moves the intercept.
    late_s = rule.first_centre_s * (1.0 - sides.rate)
    peaks = tuple(CoarsePeak(peak.lag_s + late_s, peak.deviations) for peak in result.peaks)
    if not peaks:
        return (), Inconclusive(("the embeddings of a side never change",))
    best = peaks[0]
    if best.deviations < MATCH_DEVIATIONS:
        reason = (
            f"the best of {result.lags} lags of the embeddings stands {best.deviations:.1f} deviations over chance, "
            f"{MATCH_DEVIATIONS:g} are needed"
        )
        return peaks, Inconclusive((reason,))
    rivals = [
        peak
        for peak in peaks[1:]
        if peak.deviations >= RIVAL_SHARE * best.deviations
        and abs(peak.lag_s - best.lag_s) > apart_s(rule)
        and all(abs(peak.lag_s - known_s) > apart_s(rule) for known_s in explained_s)
    ]
    if rivals:
        reason = f"the embeddings fit at {best.lag_s:.2f} s and at {rivals[0].lag_s:.2f} s about equally well"
        return peaks, Inconclusive((reason,))
    return peaks, best.lag_s


def _refined(sides: Sides, lag_s: float, height: float) -> Estimate | Inconclusive:
    """Where the windows' sum peaks near the lag, and how far the windows scatter about it."""
    end_s = sides.master.frames / sides.rule.frames_per_s
    everywhere = (Stretch(0.0, end_s, lag_s),)
    windows = list(heard_windows(sides, everywhere, lambda _done, _total: None))
    hop_s = 1.0 / sides.rule.frames_per_s
    if windows:
        summed = np.sum([window.curve for window in windows], axis=0)
        middle = summed.size // 2
        near = max(1, round(3.0 * close_s(sides.rule) / hop_s))
        top = middle - near + int(np.argmax(summed[middle - near : middle + near + 1]))
        lag_s += (top - middle + _shift(summed, top)) * hop_s
    about_s = np.array([window.lag_s for window in windows if abs(window.lag_s) <= 3.0 * close_s(sides.rule)])
    spread_s = 0.5 * hop_s
    if about_s.size >= 3:
        spread_s = 1.96 * 1.4826 * float(np.median(np.abs(about_s - np.median(about_s)))) / math.sqrt(about_s.size)
    uncertainty_ms = 1000.0 * math.hypot(spread_s, FLOOR_HOPS * hop_s)
    lag_is_right = 1.0 - 0.5 * math.exp(-0.5 * (height - MATCH_DEVIATIONS))
    return Estimate(lag_s, lag_is_right * within_half_a_frame(uncertainty_ms), uncertainty_ms)


# --- windows ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HeardWindow:
    """A window in which something happens on both sides."""

    curve: Floats
    """Correlation at lags of -`REACH_S` to `REACH_S` about the placement, a frame apart, -1 to 1."""
    lag_s: float
    """Where it peaks, from the placement: what would have to be added to the placement's offset."""
    ours: Floats
    """Some frames of the master, of length 1, shape (n, dims)."""
    theirs: Floats
    """Those of the dub that the placement lays beside them."""


def heard_windows(sides: Sides, placement: tuple[Stretch, ...], beat: Beat) -> Iterator[HeardWindow]:
    """The windows of the stretches, at most `MOST_WINDOWS`, evenly chosen; silent ones are left out."""
    spans = _spans(sides.rule, placement)
    for done, span in enumerate(spans):
        beat(done, len(spans))
        window = _heard(sides, span)
        if window is not None:
            yield window


def similarity_of(windows: list[HeardWindow]) -> float | None:
    """Mean cosine of frames side by side less that of frames of different windows; None for nothing."""
    if not windows:
        return None
    least = min(window.ours.shape[0] for window in windows)
    ours = np.stack([window.ours[:least] for window in windows])
    theirs = np.stack([window.theirs[:least] for window in windows])
    together = float(np.mean(np.sum(ours * theirs, axis=2)))
    if len(windows) == 1:
        apart = float(np.mean(np.sum(ours * np.roll(theirs, least // 2, axis=1), axis=2)))
    else:
        rolls = np.unique(np.linspace(1, len(windows) - 1, ROLLS).astype(np.int64))
        apart = float(np.mean([np.mean(np.sum(ours * np.roll(theirs, roll, axis=0), axis=2)) for roll in rolls]))
    return max(-1.0, min(1.0, together - apart))


def _spans(rule: FrameRule, placement: tuple[Stretch, ...]) -> list[Stretch]:
    width_s = max(WINDOW_S, LEAST_FRAMES / rule.frames_per_s)
    spans = []
    for stretch in placement:
        length_s = stretch.end_s - stretch.start_s
        parts = max(1, int(length_s / width_s))
        if length_s / parts < SHORTEST_S:
            continue
        edges_s = np.linspace(stretch.start_s, stretch.end_s, parts + 1)
        spans += [Stretch(float(a), float(b), stretch.offset_s) for a, b in pairwise(edges_s)]
    if len(spans) <= MOST_WINDOWS:
        return spans
    return [spans[i] for i in np.linspace(0, len(spans) - 1, MOST_WINDOWS).astype(np.int64)]


def _heard(sides: Sides, span: Stretch) -> HeardWindow | None:
    per_s, reach = sides.rule.frames_per_s, math.ceil(REACH_S * sides.rule.frames_per_s)
    first = max(0, math.ceil((span.start_s - sides.rule.first_centre_s) * per_s))
    last = min(sides.master.frames, math.floor((span.end_s - sides.rule.first_centre_s) * per_s) + 1)
    count = last - first
    if count < 2:
        return None
    master = sides.master.read(first, count)
    dub = _beside(sides, span.offset_s, first - reach, count + 2 * reach)
    curve = _curve(master, dub)
    if curve is None:
        return None
    top = int(np.argmax(curve))
    lag_s = (top - reach + _shift(curve, top)) / per_s
    chosen = np.linspace(0, count - 1, min(KEPT_A_WINDOW, count)).astype(np.int64)
    return HeardWindow(curve, lag_s, _unit(master[chosen]), _unit(dub[reach + chosen]))


def _beside(sides: Sides, offset_s: float, first: int, count: int) -> Floats:
    """The dub's frames at the moments of the master's frames `first` and on, shape (count, dims)."""
    per_s, centre_s = sides.rule.frames_per_s, sides.rule.first_centre_s
    master_s = centre_s + np.arange(first, first + count) / per_s
    places = ((master_s - offset_s) / sides.rate - centre_s) * per_s
    start = math.floor(places[0])
    frames = sides.dub.read(start, math.floor(places[-1]) + 2 - start)
    whole = np.floor(places).astype(np.int64)
    part = (places - whole).astype(np.float32)[:, None]
    left = frames[whole - start]
    return np.asarray(left + part * (frames[whole - start + 1] - left), dtype=np.float32)


def _curve(master: Floats, dub: Floats) -> Floats | None:
    """Normalised correlation of the master's frames with the dub's at every shift; None in silence.

    Value ``i`` is that of an offset ``i - reach`` frames larger than the placement's: then the dub, which has so much
    more beside it on the left, is heard earlier.
    """
    count = master.shape[0]
    ours = master - master.mean(axis=0)
    theirs = dub - dub.mean(axis=0)
    shifts = theirs.shape[0] - count + 1
    n_fft = scipy.fft.next_fast_len(theirs.shape[0] + count, real=True)
    cross = np.sum(
        np.conj(scipy.fft.rfft(ours, n_fft, axis=0)) * scipy.fft.rfft(theirs, n_fft, axis=0), axis=1, dtype=np.complex64
    )
    products = scipy.fft.irfft(cross, n_fft)[:shifts]
    energy = np.concatenate(([0.0], np.cumsum(np.sum(np.square(theirs, dtype=np.float64), axis=1))))
    their_energy = energy[count:] - energy[:shifts]
    our_energy = float(np.sum(np.square(ours, dtype=np.float64)))
    least = LEAST_ENERGY * count * master.shape[1]
    if our_energy < least or float(their_energy[shifts // 2]) < least:
        return None
    curve = products / np.sqrt(our_energy * np.maximum(their_energy, least))
    return np.asarray(curve[::-1], dtype=np.float32)


def _shift(curve: Floats, top: int) -> float:
    if not 0 < top < curve.size - 1:
        return 0.0
    return parabola_top(*(float(v) for v in curve[top - 1 : top + 2]))


def _unit(frames: Floats) -> Floats:
    lengths = np.linalg.norm(frames, axis=1, keepdims=True)
    return np.asarray(frames / np.maximum(lengths, 1e-6), dtype=np.float32)
