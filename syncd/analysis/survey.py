"""The survey: at which speed, and in which pieces, the dub lies in the master; to a frame of 20 ms.

Blocks of the dub against the whole master (`lagmap`), the line their lags keep (`rate`), their best path (`path`). What
is found here is where the fine measurement looks; nothing here claims a match by itself.

Internal time is the dub's, stretched to the master's speed: ``t_master = t_stretched + lag``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.correlate import prepare_bands
from syncd.analysis.evidence import BandSource, Beat, ChannelPair, part_of, quietly
from syncd.analysis.features import COARSE_MEL, flux_of
from syncd.analysis.lagmap import Blocks, LagMap, MasterSegments, block_peaks
from syncd.analysis.path import best_path
from syncd.analysis.rate import (
    NO_LINE,
    WELL_KNOWN_HYPOTHESES,
    Line,
    find_line,
    scan_hypotheses,
)
from syncd.analysis.thresholds import THRESHOLDS

Floats = NDArray[np.float32]

BLOCK_S: Final = 24.0
MOST_COMPARED: Final = 20_000_000
"""Blocks times places: bounds time and memory, however long the sides are."""
MOST_BLOCKS: Final = 2_000
ANCHORS_SHARE: Final = 0.15
"""Of the blocks that are compared where every speed is tried."""
LEAST_ANCHORS: Final = 24
SHORTEST_BLOCK_S: Final = 3.0
MOST_FRAMES: Final = 270_000
"""Of the longer side: an hour and a half. Longer ones are surveyed at fewer frames a second."""

PEAKS_A_BLOCK: Final = 6
APART_S: Final = 0.3
SECTION_BLOCKS: Final = 8
CANDIDATE_DEVIATIONS: Final = 4.0
MOST_CANDIDATES: Final = 64
NEAR_FRAMES: Final = 2

SURE_SCORE: Final = 40.0
"""A line this far beyond chance ends the search for another speed."""
SPEED_GAIN: Final = 1.3
SPEED_MARGIN: Final = 8.0
"""Another speed must beat «no change» by both."""


LEAST_MOVE_FRAMES: Final = 1.0
"""A line that moves the lag by less from end to end may be flat: the fine stages see whether it is."""


@dataclass(frozen=True)
class Piece:
    """A stretch of the dub that lies at one lag."""

    start_s: float
    """Stretched time, both."""
    end_s: float
    lag_s: float
    score: float
    """Log-likelihood ratio against chance."""


@dataclass(frozen=True)
class Gap:
    """A rectangle that lies between pieces: what each side has there, from and to, on the stretched clock."""

    dub_s: tuple[float, float]
    master_s: tuple[float, float]


@dataclass(frozen=True)
class Survey:
    """What one channel says."""

    channel: str
    rate: float
    pieces: tuple[Piece, ...]
    score: float
    """Of all pieces, prices paid."""
    line: Line
    candidates: tuple[tuple[float, float], ...]
    """Lags (s) of the whole programme that stand out, with their deviations, best first."""
    lags: int
    """How many were compared."""

    @property
    def deviations(self) -> float:
        """Of the best lag of the whole programme or the best piece, whichever stands higher."""
        best_piece = max((piece.score for piece in self.pieces), default=0.0)
        return max(self.best_deviations, float(np.sqrt(2.0 * max(0.0, best_piece))))

    @property
    def best_deviations(self) -> float:
        """Of the best lag of the whole programme."""
        return self.candidates[0][1] if self.candidates else 0.0


class Surveyor:
    """Every channel's curves, ready to be asked."""

    def __init__(self, pairs: tuple[ChannelPair, ...], beat: Beat = quietly) -> None:
        sides = [_Channel.of(pair, part_of(beat, i, len(pairs))) for i, pair in enumerate(pairs)]
        self._sides = [side for side in sides if side is not None]

    def survey(self, beat: Beat, speeds_beat: Beat | None = None) -> tuple[Survey, ...]:
        """Every channel, the one with the most evidence first; all at the speed that the best of them finds.

        `speeds_beat` counts the speeds, where it takes trying them; without it that is part of what `beat` counts.
        """
        if not self._sides:
            return ()
        rate = _speed(self._sides, part_of(beat, 0, 2), speeds_beat or part_of(beat, 0, 2))
        last = part_of(beat, 1, 2)
        parts = len(self._sides)
        found = [side.survey(rate, part_of(last, i, parts)) for i, side in enumerate(self._sides)]
        return tuple(sorted(found, key=lambda result: (-result.score, -result.best_deviations)))

    def within(self, channel: str, rate: float, gap: Gap, beat: Beat = quietly) -> tuple[Piece, ...]:
        """Pieces, by short blocks, where dub and master both still have something that lies nowhere."""
        return self._side(channel).within(rate, gap, beat)

    def rivals(self, channel: str, rate: float, piece: Piece, beat: Beat = quietly) -> tuple[float, ...]:
        """Other lags that the same blocks of the dub fit nearly as well."""
        return self._side(channel).rivals(rate, piece, beat)

    def repeating(self, beat: Beat = quietly) -> tuple[str, ...]:
        """The sides that fit themselves elsewhere."""
        return self._sides[0].repeating(beat) if self._sides else ()

    def _side(self, channel: str) -> _Channel:
        return next(side for side in self._sides if side.name == channel)


def _speed(sides: list[_Channel], beat: Beat, speeds_beat: Beat) -> float:
    tried, total = 0, len(WELL_KNOWN_HYPOTHESES) - 1 + len(scan_hypotheses())
    best_rate, best = 1.0, _best_line(sides, 1.0, beat)
    if best.score < SURE_SCORE:
        plain = max(best.score, 0.0)
        for hypotheses in (WELL_KNOWN_HYPOTHESES[1:], scan_hypotheses()):
            for rate in hypotheses:
                line = _best_line(sides, rate, part_of(speeds_beat, tried, total))
                tried += 1
                if line.score > max(best.score, SPEED_GAIN * plain + SPEED_MARGIN):
                    best_rate, best = rate, line
            if best.score >= SURE_SCORE:
                break
    if best_rate == 1.0 and abs(best.slope) * best.span < LEAST_MOVE_FRAMES:
        return 1.0
    return best_rate * (1.0 + best.slope)


def _best_line(sides: list[_Channel], rate: float, beat: Beat) -> Line:
    lines = (side.line(rate, part_of(beat, i, len(sides))) for i, side in enumerate(sides))
    return max(lines, key=lambda line: line.score)


class _Channel:
    """One channel pair's curves, and the master's side of the map made once."""

    def __init__(self, name: str, master: Floats, dub: Floats, frames_per_s: float, longest: int | None = None) -> None:
        self.name = name
        self._master, self._dub = master, dub
        self._fps = frames_per_s
        longest = longest or round(BLOCK_S * frames_per_s)
        self._length = max(2, min(longest, dub.shape[1], master.shape[1]))
        self._segments = MasterSegments(master, self._length)
        self._plain: LagMap | None = None

    @classmethod
    def of(cls, pair: ChannelPair, beat: Beat) -> _Channel | None:
        frames = max(pair.master.levels.frames, pair.dub.levels.frames)
        step = 1 + frames // MOST_FRAMES
        layout = replace(COARSE_MEL, hop_samples=COARSE_MEL.hop_samples * step)
        curves = [
            prepare_bands(_curves(side.levels, step, part_of(beat, i, 2)), layout)
            for i, side in enumerate((pair.master, pair.dub))
        ]
        if min(curve.shape[1] for curve in curves) < 16:
            return None
        return cls(pair.name, curves[0], curves[1], layout.frames_per_s)

    def _blocks(self, frames: int, length: int, share: float = 1.0) -> Blocks:
        most = int(share * min(MOST_BLOCKS, MOST_COMPARED // max(1, self._segments.places)))
        most = max(most, LEAST_ANCHORS)
        hop = max(1, length // 2)
        count = max(1, (frames - length) // hop + 1)
        last = max(0, frames - length)
        if count > most or last - (count - 1) * hop > hop // 3:
            count = min(most, count + 1)
        starts = np.unique(np.linspace(0, last, count).round().astype(int))
        return Blocks(tuple(int(s) for s in starts), length)

    def line(self, rate: float, beat: Beat) -> Line:
        """The best line near a speed."""
        dub = _stretched(self._dub, rate)
        if dub.shape[1] < self._length:
            return NO_LINE
        if rate == 1.0:
            return self._line(self._map(dub, rate, beat))
        return self._line(self._segments.compare(dub, self._blocks(dub.shape[1], self._length, ANCHORS_SHARE), beat))

    def _map(self, dub: Floats, rate: float, beat: Beat) -> LagMap:
        """Of all blocks; the one without a change of speed is kept, since it is asked for twice."""
        if rate == 1.0 and self._plain is not None:
            return self._plain
        length = min(self._length, dub.shape[1])
        segments = self._segments if length == self._length else MasterSegments(self._master, length)
        found = segments.compare(dub, self._blocks(dub.shape[1], length), beat)
        if rate == 1.0:
            self._plain = found
        return found

    def _line(self, found: LagMap) -> Line:
        peaks = block_peaks(found, PEAKS_A_BLOCK, round(APART_S * self._fps))
        return find_line(peaks, _centres(found.blocks), places=found.places, weight=_weight(found.blocks))

    def survey(self, rate: float, beat: Beat) -> Survey:
        """Pieces at a speed."""
        dub = _stretched(self._dub, rate)
        found = self._map(dub, rate, beat)
        self._plain = None
        line = self._line(found)
        whole = found.summed(slice(None))
        peaks = whole.peaks(8, round(APART_S * self._fps))
        pieces, score = self._pieces(found)
        candidates = tuple((lag / self._fps, height) for lag, height in peaks)
        return Survey(self.name, rate, pieces, score, line, candidates, whole.deviations.size)

    def _pieces(self, found: LagMap) -> tuple[tuple[Piece, ...], float]:
        lags = self._candidate_lags(found)
        if not lags:
            return (), 0.0
        deviations = np.stack([found.at(lag, 1) for lag in lags], axis=1)
        centres = _centres(found.blocks)
        weight = _weight(found.blocks)
        path = best_path(deviations, centres, np.asarray(lags), places=found.places, weight=weight)
        starts, length = found.blocks.starts, found.blocks.length
        pieces = tuple(
            Piece(
                starts[run.first] / self._fps,
                (starts[run.last] + length) / self._fps,
                lags[run.candidate] / self._fps,
                run.score,
            )
            for run in path.runs
        )
        return pieces, path.score

    def _candidate_lags(self, found: LagMap) -> list[float]:
        apart = round(APART_S * self._fps)
        rows = len(found.blocks.starts)
        peaks = [(p.lag, p.deviations) for p in block_peaks(found, 3, apart)]
        sections = [slice(None)]
        if rows > SECTION_BLOCKS:
            firsts = range(0, rows - SECTION_BLOCKS // 2, SECTION_BLOCKS // 2)
            sections += [slice(first, min(rows, first + SECTION_BLOCKS)) for first in firsts]
        for section in sections:
            peaks += found.summed(section).peaks(4, apart)
        return _clustered([p for p in peaks if p[1] >= CANDIDATE_DEVIATIONS])

    def within(self, rate: float, gap: Gap, beat: Beat) -> tuple[Piece, ...]:
        """Pieces of a stretch of the dub within a stretch of the master."""
        dub = _stretched(self._dub, rate)
        d0, d1 = (min(dub.shape[1], max(0, round(v * self._fps))) for v in gap.dub_s)
        m0, m1 = (min(self._master.shape[1], max(0, round(v * self._fps))) for v in gap.master_s)
        length = min(max(round(SHORTEST_BLOCK_S * self._fps), (d1 - d0) // 4), self._length, d1 - d0)
        if min(d1 - d0, m1 - m0) < round(SHORTEST_BLOCK_S * self._fps):
            return ()
        inner = _Channel(self.name, self._master[:, m0:m1], dub[:, d0:d1], self._fps, length)
        found = inner._segments.compare(inner._dub, inner._blocks(d1 - d0, inner._length), beat)
        pieces, _ = inner._pieces(found)
        start_s, shift_s = d0 / self._fps, (m0 - d0) / self._fps
        return tuple(
            replace(p, start_s=p.start_s + start_s, end_s=p.end_s + start_s, lag_s=p.lag_s + shift_s) for p in pieces
        )

    def rivals(self, rate: float, piece: Piece, beat: Beat) -> tuple[float, ...]:
        """Lags (s) other than the piece's at which its blocks stand nearly as high."""
        dub = _stretched(self._dub, rate)
        d0, d1 = (min(dub.shape[1], max(0, round(v * self._fps))) for v in (piece.start_s, piece.end_s))
        length = min(self._length, d1 - d0)
        if length < 2:
            return ()
        segments = self._segments if length == self._length else MasterSegments(self._master, length)
        found = segments.compare(dub[:, d0:d1], self._blocks(d1 - d0, length), beat)
        peaks = found.summed(slice(None)).peaks(4, round(APART_S * self._fps))
        moved = [(lag - d0, height) for lag, height in peaks]
        least = THRESHOLDS.ambiguous_ratio * max((height for _, height in moved), default=0.0)
        own = piece.lag_s * self._fps
        return tuple(lag / self._fps for lag, height in moved if height >= least and abs(lag - own) > 2 * NEAR_FRAMES)

    def repeating(self, beat: Beat) -> tuple[str, ...]:
        """Which of master and dub fit themselves elsewhere nearly as well as in place."""
        names = []
        for i, (name, curves) in enumerate((("master", self._master), ("dub", self._dub))):
            length = min(self._length, curves.shape[1])
            blocks = self._blocks(curves.shape[1], length, ANCHORS_SHARE)
            found = MasterSegments(curves, length).compare(curves, blocks, part_of(beat, i, 2))
            peaks = found.summed(slice(None)).peaks(2, round(APART_S * self._fps))
            if len(peaks) > 1 and peaks[1][1] >= THRESHOLDS.repeats_ratio * peaks[0][1]:
                names.append(name)
        return tuple(names)


def _curves(source: BandSource, step: int, beat: Beat) -> Floats:
    rows = []
    for band in range(COARSE_MEL.n_mels):
        beat(band, COARSE_MEL.n_mels)
        curve = flux_of(source.read_band(band))
        if step > 1:
            curve = curve[: curve.size // step * step].reshape(-1, step).sum(axis=1)
        rows.append(curve)
    return np.stack(rows).astype(np.float32, copy=False)


def _stretched(curves: Floats, rate: float) -> Floats:
    """To the master's time, by linear interpolation."""
    if rate == 1.0:
        return curves
    frames = int(curves.shape[1] * rate)
    times = np.arange(frames) / rate
    left = np.minimum(times.astype(np.int64), curves.shape[1] - 2)
    part = (times - left).astype(np.float32)
    stretched = np.empty((curves.shape[0], frames), dtype=np.float32)
    for row, curve in zip(stretched, curves, strict=True):
        row[:] = curve[left] * (1.0 - part) + curve[left + 1] * part
    return stretched


def _centres(blocks: Blocks) -> NDArray[np.float64]:
    return np.asarray(blocks.starts, dtype=np.float64) + blocks.length / 2


def _weight(blocks: Blocks) -> float:
    """Blocks that overlap repeat each other."""
    if len(blocks.starts) < 2:
        return 1.0
    step = float(np.median(np.diff(blocks.starts)))
    return min(1.0, step / blocks.length)


def _clustered(peaks: list[tuple[float, float]]) -> list[float]:
    """Lags at least two frames apart, strongest first."""
    kept: list[float] = []
    for lag, _ in sorted(peaks, key=lambda peak: -peak[1]):
        if all(abs(lag - other) > NEAR_FRAMES for other in kept):
            kept.append(lag)
        if len(kept) == MOST_CANDIDATES:
            break
    return kept
