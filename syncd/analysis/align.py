"""The alignment: what the survey found to a frame, measured to a fraction of a sample, piece by piece, at one speed.

Onsets first (they bear a speed that is a little wrong), then, where asked for, waveforms at the speed that the onsets
gave. All pieces share one speed; each has a lag of its own. Pieces that neither bears out are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.evidence import Beat, ChannelPair, part_of
from syncd.analysis.fit import Samples, fit_lags
from syncd.analysis.onsets import OnsetFinding, onset_search
from syncd.analysis.phat import fine_search
from syncd.analysis.rate import nominal_rate
from syncd.analysis.steadiness import is_match, support_of
from syncd.analysis.survey import Piece
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack
from syncd.analysis.windows import MAX_WINDOWS

LEAST_MOVE_ONSETS_S: Final = 5e-4
LEAST_MOVE_WAVES_S: Final = 8e-6
"""A slope that moves the lag by less from end to end is left alone: the decoders may do as much."""
ENOUGH_WINDOWS: Final = 5
SMEARS_ONSETS_PPM: Final = 300.0
SMEARS_PPM: Final = 4.0
"""A slope above it blurs the waveforms' peak within a window: they are compared again at the better speed."""
LEAST_KEPT: Final = 0.9
"""Of the waveforms' height, at a speed that is to be better: windows of a room lie on a line by chance."""
MOST_ROUNDS: Final = 3
ONSETS_STEP_S: Final = 0.012
WAVES_STEP_S: Final = 0.002
"""Windows that follow each other by more do not lie on one line."""
LEAST_FAINT_STEP_S: Final = 0.015
"""Smaller steps of faint waveforms are those of a sound that was stretched block by block, not of a cut."""
MOST_SLOPE: Final = 2e-3
"""A steeper line through the windows of pieces that the survey placed is not a speed but scatter."""


@dataclass(frozen=True)
class Aligned:
    """A piece with what was measured of it; times and lags on the stretched clock of the final rate."""

    piece: Piece
    onsets: OnsetFinding | None
    waves: FineResult | None

    @property
    def matches(self) -> bool:
        """Whether the waveforms bear it out."""
        return self.waves is not None and is_match(self.waves, support_of(self.waves))

    @property
    def is_borne_out(self) -> bool:
        """Whether waveforms or onsets do."""
        return self.matches or (
            self.onsets is not None
            and self.onsets.found.deviations >= THRESHOLDS.onset_piece_deviations
            and support_of(self.onsets.found).share >= THRESHOLDS.least_onset_share
        )


@dataclass(frozen=True)
class Alignment:
    """All pieces at one speed."""

    channel: str
    rate: float
    rate_error_ppm: float | None
    """Half the 95 % interval; None where nothing says."""
    pieces: tuple[Aligned, ...]
    by_onsets: bool = False
    """Whether onsets were compared."""
    by_waves: bool = False
    """Whether waveforms bear a piece out."""
    is_sure: bool = False
    """Whether the survey is certain of it: then nothing else needs to be tried."""


def align_onsets(pair: ChannelPair, start: Alignment, beat: Beat, *, hold_rate: bool = False) -> Alignment:
    """Every piece by its onsets; pieces without a finding keep the lag they had."""
    rate, kept = start.rate, [one.piece for one in start.pieces]
    share = max(4, MAX_WINDOWS // max(1, len(kept)))
    found: list[OnsetFinding | None] = []
    error_ppm = start.rate_error_ppm
    for turn in range(2):
        found = []
        for i, p in enumerate(kept):
            told = part_of(beat, 2 * i + turn, 2 * len(kept))
            span_s = (p.start_s, p.end_s)
            found.append(onset_search(pair, p.lag_s, told, rate=rate, span_s=span_s, most_windows=share))
        tracks = [None if f is None else f.found for f in found]
        fit = None if hold_rate else _fit(tracks, LEAST_MOVE_ONSETS_S, ONSETS_STEP_S)
        if fit is None:
            break
        error_ppm = error_ppm if fit.error_ppm is None else fit.error_ppm
        if not fit.is_slope:
            break
        rate, kept = _restretched(rate, kept, fit.slope)
        found = [None if f is None else replace(f, found=_tilted(f.found, fit.slope)) for f in found]
        if abs(fit.slope) * 1e6 < SMEARS_ONSETS_PPM:
            break
    nominal = None if hold_rate or error_ppm is None else nominal_rate(rate, error_ppm)
    if nominal is not None:
        # Onsets scatter by milliseconds; a dub whose speed they cannot tell from a usual one was made at that.
        slope = nominal / rate - 1.0
        rate, kept = _restretched(rate, kept, slope)
        found = [None if f is None else replace(f, found=_tilted(f.found, slope)) for f in found]
    aligned = (
        Aligned(p if f is None else replace(p, lag_s=f.found.lag_s), f, None) for p, f in zip(kept, found, strict=True)
    )
    return replace(start, rate=rate, rate_error_ppm=error_ppm, pieces=tuple(aligned), by_onsets=True)


def align_waves(pair: ChannelPair, start: Alignment, beat: Beat, *, hold_rate: bool = False) -> Alignment:
    """Every piece by its waveforms, from where the onsets put it; pieces that do not match keep what they had."""
    rate, aligned = start.rate, list(start.pieces)
    error_ppm = start.rate_error_ppm
    found: list[FineResult | None] = []
    before: tuple[float, list[Aligned], list[FineResult | None], float | None] | None = None
    for turn in range(MOST_ROUNDS):
        kept = [a.piece for a in aligned]
        found = _waves(pair, rate, kept, beat)
        if before is not None and _height(found) < LEAST_KEPT * _height(before[2]):
            rate, aligned, found, error_ppm = before
            break
        if turn == 0:
            aligned, stepped = _split(aligned, found)
            if stepped:
                kept = [a.piece for a in aligned]
                found = _waves(pair, rate, kept, beat)
        fit = None if hold_rate else _fit(found, LEAST_MOVE_WAVES_S, WAVES_STEP_S)
        if fit is None:
            break
        before = rate, aligned, found, error_ppm
        error_ppm = error_ppm if fit.error_ppm is None else fit.error_ppm
        if not fit.is_slope:
            break
        rate, kept = _restretched(rate, kept, fit.slope)
        aligned = [replace(one, piece=piece) for one, piece in zip(aligned, kept, strict=True)]
        found = [None if f is None else _tilted(f, fit.slope) for f in found]
        if abs(fit.slope) * 1e6 < SMEARS_PPM or turn == MOST_ROUNDS - 1:
            break
    measured = []
    for one, f in zip(aligned, found, strict=True):
        matches = f is not None and is_match(f, support_of(f))
        placed = replace(one.piece, lag_s=_precise_lag_s(f)) if f is not None and matches else one.piece
        measured.append(replace(one, piece=placed, waves=f))
    by_waves = any(a.matches for a in measured)
    return replace(start, rate=rate, rate_error_ppm=error_ppm, pieces=tuple(measured), by_waves=by_waves)


def _height(found: Sequence[FineResult | None]) -> float:
    """Of all sums together."""
    return float(np.sqrt(sum(f.deviations**2 for f in found if f is not None)))


def _waves(pair: ChannelPair, rate: float, pieces: Sequence[Piece], beat: Beat) -> list[FineResult | None]:
    return [
        fine_search(pair, p.lag_s, part_of(beat, i, len(pieces)), rate=rate, span_s=(p.start_s, p.end_s))
        for i, p in enumerate(pieces)
    ]


def _split(aligned: Sequence[Aligned], found: Sequence[FineResult | None]) -> tuple[list[Aligned], bool]:
    """Pieces whose windows step from one lag to another: cuts that the survey's frames are too coarse for."""
    split: list[Aligned] = []
    for one, f in zip(aligned, found, strict=True):
        runs = [] if f is None else _steps(f, WAVES_STEP_S)
        if len(runs) < 2:
            split.append(one)
            continue
        split += [replace(one, piece=replace(one.piece, start_s=a, end_s=b, lag_s=lag_s)) for a, b, lag_s in runs]
    return split, len(split) > len(aligned)


def _steps(found: FineResult, step_s: float) -> list[tuple[float, float, float]]:
    """(start, end, lag) of runs of windows that keep a lag of their own, neighbours at one lag joined; s."""
    track = found.track
    half_s = track.window_s / 2
    joined: list[tuple[float, float, float, int]] = []
    for run in _runs(track, track.heard, step_s):
        if run.size < _windows_for_a_step(track, run):
            continue
        lag_s = float(np.median(track.lag_s[run]))
        start_s, end_s = float(track.dub_centre_s[run[0]]) - half_s, float(track.dub_centre_s[run[-1]]) + half_s
        ends_at_s = float(track.lag_s[run[0]])
        # Windows that are each sure and yet do not add up wander: they were stretched, not cut.
        sure = found.deviations >= THRESHOLDS.waves_sure_deviations
        least_s = step_s if sure else max(step_s, LEAST_FAINT_STEP_S)
        if joined and abs(ends_at_s - joined[-1][2]) <= least_s:
            first_s, _, _, windows = joined[-1]
            joined[-1] = (first_s, end_s, float(track.lag_s[run[-1]]), windows + run.size)
        else:
            joined.append((start_s, end_s, lag_s, int(run.size)))
    return [(start_s, end_s, lag_s) for start_s, end_s, lag_s, _ in joined]


def _windows_for_a_step(track: WindowTrack, run: NDArray[np.intp]) -> int:
    """Fewer where each is far beyond chance; more where they overlap by half and so repeat each other."""
    strong = bool(track.deviations[run].min() >= THRESHOLDS.jump_strong_deviations)
    apart = THRESHOLDS.jump_strong_windows if strong else THRESHOLDS.jump_windows
    step_s = float(np.median(np.diff(track.dub_centre_s))) if track.dub_centre_s.size > 1 else track.window_s
    return int(apart if step_s > 0.75 * track.window_s else 2 * apart - 1)


def _runs(track: WindowTrack, used: NDArray[np.bool_], step_s: float) -> list[NDArray[np.intp]]:
    """Windows in a row whose lags follow each other by less than a step, however far they wander in all."""
    at = np.flatnonzero(used)
    if at.size == 0:
        return []
    return np.split(at, np.flatnonzero(np.abs(np.diff(track.lag_s[at])) > step_s) + 1)


@dataclass(frozen=True)
class _Slope:
    """What the windows of all pieces say about the speed."""

    slope: float
    error: float
    """One standard error; infinite where there are too few windows."""

    @property
    def error_ppm(self) -> float | None:
        return 1.96e6 * self.error if np.isfinite(self.error) else None

    moves_s: float
    """How far it moves the lag over all windows."""
    least_move_s: float

    @property
    def is_slope(self) -> bool:
        beyond_chance = abs(self.slope) > 3.0 * self.error
        return beyond_chance and self.moves_s > self.least_move_s and abs(self.slope) < MOST_SLOPE


def _fit(found: Sequence[FineResult | None], least_move_s: float, step_s: float) -> _Slope | None:
    """Through the windows that speak for themselves and lie near their piece's lag.

    A step within a piece is no slope: each run of windows that follow each other has an intercept of its own.
    """
    samples = [s for f in found if f is not None for s in _runs_of(f, step_s)]
    fit = fit_lags(samples)
    if fit is None:
        return None
    span_s = max(float(s.times_s.max()) for s in samples) - min(float(s.times_s.min()) for s in samples)
    return _Slope(fit.slope, fit.slope_error, abs(fit.slope) * span_s, least_move_s)


def _runs_of(found: FineResult, step_s: float) -> list[Samples]:
    """The windows of each level that a piece steps between; of a piece without steps, all of them.

    Windows that merely wander stay together: cut apart at every stray, each part would have a slope of its own.
    """
    track = found.track
    used = _near(found)
    levels = _steps(found, step_s)
    inside = [used & (track.dub_centre_s >= a) & (track.dub_centre_s <= b) for a, b, _ in levels]
    parts = [part for part in inside if part.any()] if len(levels) > 1 else []
    return [_samples(track, part) for part in parts or [used] if part.any()]


def _near(found: FineResult) -> NDArray[np.bool_]:
    """The windows that speak for themselves and lie near the common lag."""
    reach_s = THRESHOLDS.fit_reach_ms / 1000.0
    return np.asarray(found.track.heard & (np.abs(found.track.lag_s - found.lag_s) <= reach_s))


def _samples(track: WindowTrack, used: NDArray[np.bool_]) -> Samples:
    weights = np.square(np.minimum(track.deviations[used], THRESHOLDS.fit_most_deviations))
    return Samples(track.dub_centre_s[used], track.lag_s[used], weights)


def _precise_lag_s(found: FineResult) -> float:
    """Where diffuse sound starts; else the windows' robust mean, or the peak of their sum where they are few."""
    if found.arrives_s is not None:
        return found.lag_s + found.arrives_s
    samples = _samples(found.track, _near(found))
    near = np.abs(samples.lags_s - found.lag_s) <= THRESHOLDS.window_agrees_ms / 1000.0
    if np.count_nonzero(near) < ENOUGH_WINDOWS:
        return found.lag_s
    fit = fit_lags([Samples(samples.times_s[near], samples.lags_s[near], samples.weights[near])], with_slope=False)
    return found.lag_s if fit is None else fit.intercepts_s[0]


def _restretched(rate: float, pieces: Sequence[Piece], slope: float) -> tuple[float, list[Piece]]:
    """The same places at a speed that is better by the slope: a lag becomes what its line is at time 0.

    What is known of a piece's lag is that of its middle: ``lag(t) = lag + slope * (t - middle)``.
    """
    factor = 1.0 + slope
    return rate * factor, [
        replace(
            piece,
            start_s=piece.start_s * factor,
            end_s=piece.end_s * factor,
            lag_s=piece.lag_s - slope * (piece.start_s + piece.end_s) / 2,
        )
        for piece in pieces
    ]


def _tilted(found: FineResult, slope: float) -> FineResult:
    """The same windows on the clock of the better speed; the common lag is read off them anew."""
    track = found.track
    lags_s = track.lag_s - slope * track.dub_centre_s
    used = _near(found)
    middle_s = float(np.mean(track.dub_centre_s)) if track.dub_centre_s.size else 0.0
    lag_s = float(np.median(lags_s[used])) if used.any() else found.lag_s - slope * middle_s
    return replace(
        found, lag_s=lag_s, track=replace(track, lag_s=lags_s, dub_centre_s=track.dub_centre_s * (1.0 + slope))
    )
