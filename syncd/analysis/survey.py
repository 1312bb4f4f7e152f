"""The survey: at which speed, and in which pieces, the dub lies in the master; to a frame of 20 ms.

Blocks of the dub against the whole master (`lagmap`), the line their lags keep (`rate`), their best path (`path`). What
is found here is where the fine measurement looks; nothing here claims a match by itself.

Internal time is the dub's, stretched to the master's speed: ``t_master = t_stretched + lag``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import scipy.fft
import scipy.special
from numpy.typing import NDArray

from syncd.analysis.correlate import CLIP_DEVIATIONS, prepare_bands, trimmed_rms
from syncd.analysis.evidence import BandSource, Beat, ChannelPair, part_of, quietly
from syncd.analysis.features import COARSE_MEL, MelLayout, flux_of
from syncd.analysis.lagmap import BlockPeak, Blocks, Curves, LagCurve, LagMap, MasterSegments
from syncd.analysis.path import best_path
from syncd.analysis.rate import (
    NO_LINE,
    WELL_KNOWN_HYPOTHESES,
    Line,
    find_line,
    scan_hypotheses,
)
from syncd.analysis.thresholds import THRESHOLDS

BLOCK_S: Final = 24.0
STEPS_A_DEVIATION: Final = 127.0 / CLIP_DEVIATIONS
MOST_COMPARED: Final = 16_000_000
"""Blocks times places: bounds time and memory, however long the sides are."""
MOST_BLOCKS: Final = 2_000
ANCHORS_SHARE: Final = 0.15
"""Of the blocks that are compared where every speed is tried."""
LEAST_ANCHORS: Final = 24
SHORTEST_BLOCK_S: Final = 1.0
MOST_FRAMES: Final = 270_000
"""Of the longer side: an hour and a half. Longer ones are surveyed at fewer frames a second."""

PEAKS_A_BLOCK: Final = 6
LEAST_PLACES: Final = 600
"""With fewer places the last peak of a block may be the flank of its first."""
APART_S: Final = 0.3
SECTION_BLOCKS: Final = 8
CANDIDATE_DEVIATIONS: Final = 4.0
MOST_CANDIDATES: Final = 64
NEAR_FRAMES: Final = 2
MOST_SHOWN: Final = 800
"""Values of a curve that is kept to be looked at."""
AT_REACH: Final = 1
"""Frames: a block's lag may lie between two, or a little beside its piece's."""

SURE_SCORE: Final = 40.0
SURE_SHARE: Final = 0.25
"""A line this far beyond chance, through so many of the blocks, ends the search for another speed: at a speed that is
half a percent off, two blocks that stand high may lie on a line by chance."""
MOST_AMBIGUOUS_S: Final = 0.4
LEAST_SPEED_SCORE: Final = 12.0
"""A line that says less says nothing about the speed."""
SPEED_GAIN: Final = 1.3
SPEED_MARGIN: Final = 8.0
"""Another speed must beat «no change» by both."""


FITS_REACH_S: Final = 6.0
FITS_DEVIATIONS: Final = 3.5
"""Of three lags about the one that is asked for; chance seldom gets there."""
FITS_BEST: Final = 0.95
"""Of the best of those neighbours: rhythm fits a beat farther on as well, but where it belongs it fits best."""
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
    """Log-likelihood ratio against chance, less the choice of where it begins and ends."""
    rivals_s: tuple[float, ...] = ()
    """Other lags at which it stands nearly as high."""


@dataclass(frozen=True)
class Gap:
    """A rectangle that lies between pieces: what each side has there, from and to, on the stretched clock."""

    dub_s: tuple[float, float]
    master_s: tuple[float, float]


@dataclass(frozen=True)
class LagProfile:
    """A curve over lags, in deviations, thinned to what an eye can tell apart: of each step its highest value."""

    first_s: float
    step_s: float
    deviations: NDArray[np.float32]

    @classmethod
    def of(cls, curve: LagCurve, frames_per_s: float) -> LagProfile:
        """At most `MOST_SHOWN` values."""
        step = -(-curve.deviations.size // MOST_SHOWN)
        padded = np.pad(curve.deviations, (0, -curve.deviations.size % step), mode="edge")
        return cls(curve.first_lag / frames_per_s, step / frames_per_s, padded.reshape(-1, step).max(axis=1))


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
    profile: LagProfile | None = None
    """How every lag of the whole programme stands; None where the channel was not looked at closely."""

    @property
    def span_s(self) -> float:
        """From the start of the first piece to the end of the last."""
        return self.pieces[-1].end_s - self.pieces[0].start_s if self.pieces else 0.0

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

        `speeds_beat` counts the speeds, where it takes trying them.
        """
        if not self._sides:
            return ()
        if speeds_beat is not None:
            beat(0, 2)
        hypothesis, rate = _speed(self._sides, speeds_beat or beat)
        if speeds_beat is not None:
            beat(1, 2)
        found: list[Survey] = []
        for side in sorted(self._sides, key=lambda side: -side.lines[hypothesis].score):
            if found and found[0].deviations >= THRESHOLDS.coarse_match_deviations and found[0].pieces:
                # One channel's pieces suffice.
                found.append(Survey(side.name, rate, (), 0.0, side.lines[hypothesis], (), 0))
            else:
                found.append(side.survey(rate))
        front = found[0]
        if rate != hypothesis and abs(rate / hypothesis - 1.0) * front.span_s < MOST_AMBIGUOUS_S:
            # So small a slope may be a step: the other reading is looked at as well.
            channel = self._side(front.channel)
            found.append(channel.survey(hypothesis))
        for side in self._sides:
            side.let_go()
        return tuple(sorted(found, key=lambda result: (-result.score, -result.best_deviations)))

    def within(self, channel: str, rate: float, gap: Gap) -> tuple[Piece, ...]:
        """Pieces, by short blocks, where dub and master both still have something that lies nowhere."""
        return self._side(channel).within(rate, gap)

    def fits(self, channel: str, rate: float, lag_s: float, start_s: float, end_s: float) -> bool:
        """Whether a stretch of the dub stands out at a lag, by any channel's onsets, among its neighbours."""
        first = self._side(channel)
        others = [side for side in self._sides if side is not first]
        return any(side.fits(rate, lag_s, start_s, end_s) for side in (first, *others))

    def along(self, rate: float, lag_s: float, start_s: float, end_s: float) -> tuple[float, NDArray[np.float64]]:
        """How well onsets agree at a lag, frame by frame, by all channels: seconds a frame, and shape (frames,).

        What waveforms say more finely, for beds whose waveforms were made anew.
        """
        found = [side.along(rate, lag_s, start_s, end_s) for side in self._sides]
        return self._sides[0].frame_s, np.sum(found, axis=0, dtype=np.float64)

    def repeating(self, beat: Beat = quietly) -> tuple[str, ...]:
        """The sides that fit themselves elsewhere."""
        return self._sides[0].repeating(beat) if self._sides else ()

    def _side(self, channel: str) -> _Channel:
        """The channel itself, or, of one that only the fine stages know, the best that was surveyed."""
        return next((side for side in self._sides if side.name == channel), self._sides[0])


def _speed(sides: list[_Channel], beat: Beat) -> tuple[float, float]:
    """The hypothesis that gathers the most, and the speed that its line says."""
    total = len(WELL_KNOWN_HYPOTHESES) + len(scan_hypotheses())
    tried = 0
    beat(tried, total)
    best_rate, best = 1.0, NO_LINE
    for side in sides:
        line = side.line(1.0)
        if line.score > best.score:
            best = line
            for other in sides:
                if other is not side:
                    other.forget()
        else:
            side.forget()
    if not _is_sure(best):
        plain = max(best.score, 0.0)
        for hypotheses in (WELL_KNOWN_HYPOTHESES[1:], scan_hypotheses()):
            for rate in hypotheses:
                tried += 1
                beat(tried, total)
                line = max((side.line(rate) for side in sides), key=lambda line: line.score)
                if line.score > max(best.score, SPEED_GAIN * plain + SPEED_MARGIN):
                    best_rate, best = rate, line
            if _is_sure(best):
                break
    if best.score < LEAST_SPEED_SCORE:
        return 1.0, 1.0
    if best_rate == 1.0 and abs(best.slope) * best.span < LEAST_MOVE_FRAMES:
        return best_rate, 1.0
    return best_rate, best_rate * (1.0 + best.slope)


def _is_sure(line: Line) -> bool:
    return line.score >= SURE_SCORE and line.share >= SURE_SHARE


class _Channel:
    """One channel pair's curves, and the master's side of the map made once."""

    def __init__(self, name: str, master: Curves, dub: Curves, frames_per_s: float, longest: int | None = None) -> None:
        self.name = name
        self._master, self._dub = master, dub
        self._fps = frames_per_s
        longest = longest or round(BLOCK_S * frames_per_s)
        self._length = max(2, min(longest, dub.shape[1], master.shape[1]))
        self._made: MasterSegments | None = None
        self._kept: tuple[LagMap, list[BlockPeak]] | None = None
        self._kept_rate = 1.0
        self.lines: dict[float, Line] = {}

    @classmethod
    def of(cls, pair: ChannelPair, beat: Beat) -> _Channel | None:
        frames = max(pair.master.levels.frames, pair.dub.levels.frames)
        step = 1 + frames // MOST_FRAMES
        layout = replace(COARSE_MEL, hop_samples=COARSE_MEL.hop_samples * step)
        curves = [
            _curves(side.levels, step, layout, part_of(beat, i, 2)) for i, side in enumerate((pair.master, pair.dub))
        ]
        if min(curve.shape[1] for curve in curves) < 16:
            return None
        return cls(pair.name, curves[0], curves[1], layout.frames_per_s)

    @property
    def _segments(self) -> MasterSegments:
        """Made once, and kept until they are let go."""
        if self._made is None:
            self._made = MasterSegments(self._master, self._length)
        return self._made

    def let_go(self) -> None:
        """Give back what only a survey needs."""
        self._made = self._kept = None

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

    def line(self, rate: float) -> Line:
        """The best line near a speed: by all blocks where nothing changes, else by a share of them."""
        self.lines[rate] = self._line_at(rate)
        return self.lines[rate]

    def _line_at(self, rate: float) -> Line:
        if rate == 1.0:
            return self._line(*self._map(rate))
        dub = _stretched(self._dub, rate)
        if dub.shape[1] < self._length:
            return NO_LINE
        found = self._segments.compare(dub, self._blocks(dub.shape[1], self._length, ANCHORS_SHARE))
        return self._line(found, found.peaks(PEAKS_A_BLOCK, round(APART_S * self._fps)))

    def _map(self, rate: float) -> tuple[LagMap, list[BlockPeak]]:
        """Of all blocks; the last one is kept, since it is asked for again."""
        if self._kept is None or self._kept_rate != rate:
            self.forget()
            dub = _stretched(self._dub, rate)
            length = min(self._length, dub.shape[1])
            segments = self._segments if length == self._length else MasterSegments(self._master, length)
            found = segments.compare(dub, self._blocks(dub.shape[1], length))
            self._kept_rate = rate
            self._kept = found, found.peaks(PEAKS_A_BLOCK, round(APART_S * self._fps))
        return self._kept

    def forget(self) -> None:
        """Give the kept map's memory back."""
        self._kept = None

    def _line(self, found: LagMap, peaks: list[BlockPeak]) -> Line:
        return find_line(peaks, _centres(found.blocks), places=found.places, weight=_weight(found.blocks))

    def survey(self, rate: float) -> Survey:
        """Lags of the whole, and pieces, at a speed."""
        found, peaks = self._map(rate)
        self.let_go()
        line = self._line(found, peaks)
        whole = found.summed(slice(None))
        tops = whole.peaks(8, round(APART_S * self._fps))
        pieces, score = self._pieces(found, peaks, tops)
        candidates = tuple((lag / self._fps, height) for lag, height in tops)
        profile = LagProfile.of(whole, self._fps)
        return Survey(self.name, rate, pieces, score, line, candidates, whole.deviations.size, profile)

    def _pieces(
        self, found: LagMap, peaks: list[BlockPeak], tops: list[tuple[float, float]]
    ) -> tuple[tuple[Piece, ...], float]:
        lags = self._candidate_lags(found, peaks, tops)
        if not lags:
            return (), 0.0
        deviations = np.stack([found.at(lag, AT_REACH) for lag in lags], axis=1) / _chance(found, peaks)[:, None]
        centres = _centres(found.blocks)
        weight = _weight(found.blocks)
        tries = 2 * AT_REACH + 1
        path = best_path(deviations, centres, np.asarray(lags), places=found.places, weight=weight, tries=tries)
        starts, length = found.blocks.starts, found.blocks.length
        ends = float(np.log(len(starts) * (len(starts) + 1) / 2))
        pieces = tuple(
            Piece(
                starts[run.first] / self._fps,
                (starts[run.last] + length) / self._fps,
                lags[run.candidate] / self._fps,
                run.score - ends,
                self._rivals(found, run.first, run.last, lags[run.candidate]),
            )
            for run in path.runs
        )
        return pieces, path.score

    def _candidate_lags(self, found: LagMap, peaks: list[BlockPeak], tops: list[tuple[float, float]]) -> list[float]:
        apart = round(APART_S * self._fps)
        rows = len(found.blocks.starts)
        known = [*tops, *((p.lag, p.deviations) for p in peaks)]
        if rows > SECTION_BLOCKS:
            for first in range(0, rows - SECTION_BLOCKS // 2, SECTION_BLOCKS // 2):
                known += found.summed(slice(first, min(rows, first + SECTION_BLOCKS))).peaks(4, apart)
        return _clustered([p for p in known if p[1] >= CANDIDATE_DEVIATIONS])

    def _rivals(self, found: LagMap, first: int, last: int, lag: float) -> tuple[float, ...]:
        """Other lags at which the same blocks stand nearly as high."""
        tops = found.summed(slice(first, last + 1)).peaks(4, round(APART_S * self._fps))
        least = THRESHOLDS.ambiguous_ratio * max((height for _, height in tops), default=0.0)
        return tuple(at / self._fps for at, height in tops if height >= least and abs(at - lag) > 2 * NEAR_FRAMES)

    def within(self, rate: float, gap: Gap) -> tuple[Piece, ...]:
        """Pieces of a stretch of the dub within a stretch of the master."""
        dub = _stretched(self._dub, rate)
        d0, d1 = (min(dub.shape[1], max(0, round(v * self._fps))) for v in gap.dub_s)
        m0, m1 = (min(self._master.shape[1], max(0, round(v * self._fps))) for v in gap.master_s)
        length = min(max(round(SHORTEST_BLOCK_S * self._fps), (d1 - d0) // 4), self._length, d1 - d0)
        if min(d1 - d0, m1 - m0) < round(SHORTEST_BLOCK_S * self._fps):
            return ()
        inner = _Channel(self.name, self._master[:, m0:m1], dub[:, d0:d1], self._fps, length)
        found = inner._segments.compare(inner._dub, inner._blocks(d1 - d0, inner._length))
        apart = round(APART_S * self._fps)
        pieces, _ = inner._pieces(found, found.peaks(PEAKS_A_BLOCK, apart), found.summed(slice(None)).peaks(8, apart))
        start_s, shift_s = d0 / self._fps, (m0 - d0) / self._fps
        return tuple(
            replace(p, start_s=p.start_s + start_s, end_s=p.end_s + start_s, lag_s=p.lag_s + shift_s) for p in pieces
        )

    @property
    def frame_s(self) -> float:
        """Seconds a frame."""
        return 1.0 / self._fps

    def along(self, rate: float, lag_s: float, start_s: float, end_s: float) -> NDArray[np.float32]:
        """Products of the curves at a lag, summed over the bands; 0 where a side has nothing. Shape (frames,)."""
        first, frames = round(start_s * self._fps), round((end_s - start_s) * self._fps)
        values = np.zeros(max(0, frames), dtype=np.float32)
        shift = round(lag_s * self._fps)
        from_frame = max(first, 0, -shift)
        to_frame = min(first + frames, int(self._dub.shape[1] * rate), self._master.shape[1] - shift)
        if to_frame > from_frame:
            dub = _stretched_part(self._dub, rate, from_frame, to_frame).astype(np.float32)
            master = self._master[:, from_frame + shift : to_frame + shift].astype(np.float32)
            values[from_frame - first : to_frame - first] = (dub * master).sum(axis=0) / STEPS_A_DEVIATION**2
        return values

    def fits(self, rate: float, lag_s: float, start_s: float, end_s: float) -> bool:
        """Whether the stretch agrees with the master at the lag more than at those within some seconds of it."""
        d0, d1 = (min(int(self._dub.shape[1] * rate), max(0, round(v * self._fps))) for v in (start_s, end_s))
        reach = round(FITS_REACH_S * self._fps)
        if d1 - d0 < 2:
            return False
        dub = _stretched_part(self._dub, rate, d0, d1)
        first = d0 + round(lag_s * self._fps) - reach
        master = np.zeros((dub.shape[0], d1 - d0 + 2 * reach), dtype=np.float32)
        a, b = max(0, first), min(self._master.shape[1], first + master.shape[1])
        if a >= b:
            return False
        master[:, a - first : b - first] = self._master[:, a:b]
        n_fft = scipy.fft.next_fast_len(master.shape[1], real=True)
        cross = scipy.fft.rfft(master, n_fft) * np.conj(scipy.fft.rfft(dub.astype(np.float32), n_fft))
        curve = scipy.fft.irfft(cross.sum(axis=0), n_fft)[: 2 * reach + 1].astype(np.float32)
        floor = trimmed_rms(curve)
        here = curve[reach - 1 : reach + 2].max()
        return bool(floor > 0.0 and here >= FITS_DEVIATIONS * floor and here >= FITS_BEST * curve.max())

    def repeating(self, beat: Beat) -> tuple[str, ...]:
        """Which of master and dub fit themselves elsewhere nearly as well as in place."""
        names = []
        for i, (name, curves) in enumerate((("master", self._master), ("dub", self._dub))):
            beat(i, 2)
            length = min(self._length, curves.shape[1])
            found = MasterSegments(curves, length).compare(curves, self._blocks(curves.shape[1], length, ANCHORS_SHARE))
            peaks = found.summed(slice(None)).peaks(2, round(APART_S * self._fps))
            if len(peaks) > 1 and peaks[1][1] >= THRESHOLDS.repeats_ratio * peaks[0][1]:
                names.append(name)
        return tuple(names)


def _curves(source: BandSource, step: int, layout: MelLayout, beat: Beat) -> Curves:
    """Prepared flux in whole steps, shape (bands, frames); `step` frames of the source become one."""
    curves = np.zeros((layout.n_mels, source.frames // step), dtype=np.int8)
    for row, band in zip(curves, range(layout.n_mels), strict=True):
        beat(band, layout.n_mels)
        flux = flux_of(source.read_band(band))
        if step > 1:
            flux = flux[: row.size * step].reshape(-1, step).sum(axis=1)
        row[:] = np.rint(prepare_bands(flux, layout) * STEPS_A_DEVIATION)
    return curves


def _stretched(curves: Curves, rate: float) -> Curves:
    """To the master's time, by linear interpolation."""
    return curves if rate == 1.0 else _stretched_part(curves, rate, 0, int(curves.shape[1] * rate))


def _stretched_part(curves: Curves, rate: float, first: int, last: int) -> Curves:
    """The stretched frames from `first` to before `last`."""
    times = np.arange(first, last) / rate
    left = np.minimum(times.astype(np.int64), curves.shape[1] - 2)
    part = (times - left).astype(np.float32)
    stretched = np.empty((curves.shape[0], last - first), dtype=np.int8)
    for row, curve in zip(stretched, curves, strict=True):
        row[:] = np.rint(curve[left] * (1.0 - part) + curve[left + 1] * part)
    return stretched


def _centres(blocks: Blocks) -> NDArray[np.float64]:
    return np.asarray(blocks.starts, dtype=np.float64) + blocks.length / 2


def _chance(found: LagMap, peaks: list[BlockPeak]) -> NDArray[np.float32]:
    """How much higher than a normal variable chance stands for each block, at least 1. Shape (blocks,).

    A block of few or regular events fits many places by halves. The last of its peaks tells: that one is chance's.
    """
    rows = len(found.blocks.starts)
    if found.places < LEAST_PLACES:
        return np.ones(rows, dtype=np.float32)
    blocks, heights = np.array([p.block for p in peaks], dtype=np.intp), np.array([p.deviations for p in peaks])
    last = np.full(rows, np.inf)
    np.minimum.at(last, blocks, heights)
    due = float(scipy.special.ndtri(1.0 - PEAKS_A_BLOCK / found.places))
    known = np.bincount(blocks, minlength=rows) == PEAKS_A_BLOCK
    return np.where(known, np.maximum(last / due, 1.0), 1.0).astype(np.float32)


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
