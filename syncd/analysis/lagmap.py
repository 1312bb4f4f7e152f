"""The lag map: every block of the dub against every place in the master, by their flux, in noise units.

One whole-file correlation finds one offset. A dub that was cut has several, and one that runs at another speed has as
many as it has blocks: so each block is compared by itself. Blocks and master segments are transformed once and meet in
one matrix product a frequency (bands are its inner dimension), so the whole map costs little more than one correlation.

Glossary: a `place` is the frame of the master at which a block's first frame lies; its `lag` is place minus start.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, trimmed_rms
from syncd.analysis.threads import THREADS

Floats = NDArray[np.float32]
Curves = NDArray[np.int8]
"""Prepared flux in whole steps: an eighth of the memory of numbers, and finer than what it says."""

LEAST_INSIDE_SHARE: Final = 0.5
"""Of a block that must lie within the master for a place to count."""

FAINT_SHARE: Final = 0.1
"""Where a stretch is all but silent its own energy says nothing; this share of the usual one stands in."""

FLOOR_EVERY: Final = 5
"""Neighbouring lags are alike: every fifth says what the floor is."""

STEPS: Final = 256
"""A deviation is stored in so many steps, up to 127 of them."""
MOST_STORED: Final = 32_767

LEAST_TRANSFORMED: Final = 2_048
"""Frames of the master: the shorter they are next to a block, the more of them are transformed twice."""
BLOCKS_AT_ONCE: Final = 16
COMPARED_AT_ONCE: Final = 600_000
"""Blocks of the dub, and blocks times places: bound the memory that the matrix product needs."""


@dataclass(frozen=True)
class Blocks:
    """Stretches of the dub, all of one length, in frames."""

    starts: tuple[int, ...]
    length: int


@dataclass(frozen=True)
class LagMap:
    """One row a block, one column a place."""

    blocks: Blocks
    first_place: int
    """Of column 0; negative: the block begins before the master."""
    stored: NDArray[np.int16]
    """Deviations times `STEPS`, shape (blocks, places)."""

    @property
    def places(self) -> int:
        """How many there are to choose from: what chance has to try."""
        return int(self.stored.shape[1])

    def at(self, lag: float, reach: int) -> Floats:
        """The highest deviation of each block within `reach` frames of a lag; 0 beyond the map. Shape (blocks,)."""
        columns = np.asarray(self.blocks.starts)[:, None] + round(lag) + np.arange(-reach, reach + 1) - self.first_place
        inside = (columns >= 0) & (columns < self.places)
        rows = np.arange(len(self.blocks.starts))[:, None]
        found = np.where(inside, self.stored[rows, np.clip(columns, 0, self.places - 1)], np.int16(0))
        return np.asarray(found.max(axis=1) / np.float32(STEPS), dtype=np.float32)

    def summed(self, rows: slice) -> LagCurve:
        """Neighbouring rows added up lag by lag, in deviations of the sum."""
        starts = np.asarray(self.blocks.starts[rows])
        first_lag = int(self.first_place - starts.max())
        total = np.zeros(int(self.first_place + self.places - starts.min()) - first_lag, dtype=np.int32)
        edges = np.zeros(total.size + 1, dtype=np.int32)
        for start, row in zip(starts, self.stored[rows], strict=True):
            column = int(self.first_place - start) - first_lag
            total[column : column + self.places] += row
            edges[column] += 1
            edges[column + self.places] -= 1
        count = np.cumsum(edges[:-1], dtype=np.int32)
        curve = total.astype(np.float32)
        curve /= np.sqrt(np.maximum(count, 1)).astype(np.float32)
        floor = trimmed_rms(curve[::FLOOR_EVERY])
        return LagCurve(first_lag, curve / np.float32(floor) if floor > 0.0 else curve)

    def peaks(self, most: int, apart: int) -> list[BlockPeak]:
        """The highest places of each block, best first, at least `apart` frames from each other."""
        return [
            BlockPeak(block, self.first_place + _refined(row, top) - start, row[top] / STEPS)
            for block, (start, row) in enumerate(zip(self.blocks.starts, self.stored, strict=True))
            for top in _highest(row, most, apart)
        ]


@dataclass(frozen=True)
class LagCurve:
    """A value a lag, from `first_lag` (frames) on, in deviations."""

    first_lag: int
    deviations: Floats

    def peaks(self, most: int, apart: int) -> list[tuple[float, float]]:
        """The highest lags (frames, between them too) with their deviations, best first."""
        return [(self.first_lag + at, height) for at, height in _tops(self.deviations, most, apart)]


@dataclass(frozen=True)
class BlockPeak:
    """A place that stands out for one block; `lag` in frames, between them too."""

    block: int
    lag: float
    deviations: float


class MasterSegments:
    """The master's side of the map: made once, met by the dub at one speed after another.

    `curves` has shape (bands, frames), prepared (`correlate.prepare_bands`), in whole steps of any size: what the map
    says is relative.
    """

    def __init__(self, curves: Curves, block_frames: int) -> None:
        self.frames = int(curves.shape[1])
        self.block_frames = block_frames
        self._n_fft = scipy.fft.next_fast_len(max(4 * block_frames, LEAST_TRANSFORMED), real=True)
        self._step = self._n_fft - block_frames + 1
        self.first_place = -int(block_frames * (1.0 - LEAST_INSIDE_SHARE))
        self.places = self.frames - self.first_place - int(block_frames * LEAST_INSIDE_SHARE)
        energy = np.zeros(self.frames, dtype=np.float32)
        for curve in curves:
            energy += np.square(curve, dtype=np.float32)
        self._usual_energy = float(energy.mean(dtype=np.float64))
        self._spectra = self._transformed(curves)
        self._energy_spectra = self._transformed(energy[None, :])

    def _transformed(self, curves: Curves | Floats) -> NDArray[np.complex64]:
        """Shape (bins, bands, segments); segment s holds the places from ``first_place + s * step`` on."""
        count = -(-max(self.places, 1) // self._step)
        before = -self.first_place
        padded = np.zeros((count - 1) * self._step + self._n_fft, dtype=np.float32)
        kept = min(self.frames, padded.size - before)
        segments = np.lib.stride_tricks.sliding_window_view(padded, self._n_fft)[:: self._step]
        spectra = np.empty((self._n_fft // 2 + 1, curves.shape[0], count), dtype=np.complex64)
        for band, curve in enumerate(curves):
            padded[before : before + kept] = curve[:kept]
            spectra[:, band, :] = scipy.fft.rfft(segments, axis=1).T
        return spectra

    def compare(self, dub: Curves, blocks: Blocks) -> LagMap:
        """The map of the dub's blocks (`dub`: prepared curves, shape (bands, frames)). Two threads."""
        stored = np.zeros((len(blocks.starts), max(self.places, 0)), dtype=np.int16)
        if self.places > 0:
            at_once = min(BLOCKS_AT_ONCE, max(2, COMPARED_AT_ONCE // self.places))
            groups = range(0, len(blocks.starts), at_once)

            def fill(first: int) -> None:
                rows = slice(first, first + at_once)
                stored[rows] = self._rows(dub, blocks.starts[rows])

            with ThreadPoolExecutor(THREADS) as threads:
                list(threads.map(fill, groups))
        return LagMap(blocks, self.first_place, stored)

    def _rows(self, dub: Curves, starts: Sequence[int]) -> NDArray[np.int16]:
        cut = np.stack([dub[:, start : start + self.block_frames] for start in starts]).astype(np.float32)
        agreement = self._correlated(cut, self._spectra)
        energy = np.square(cut).sum(axis=1, keepdims=True)
        chance = self._correlated(energy, self._energy_spectra)
        usual = energy.sum(axis=(1, 2)) * self._usual_energy
        np.maximum(chance, (FAINT_SHARE * usual)[:, None], out=chance)
        agreement /= np.sqrt(np.maximum(chance, 1e-12))
        floors = np.array([trimmed_rms(row[::FLOOR_EVERY]) for row in agreement], dtype=np.float32)
        agreement *= np.where(floors > 1e-6, STEPS / np.maximum(floors, 1e-6), 0.0)[:, None]
        np.clip(agreement, -MOST_STORED, MOST_STORED, out=agreement)
        return agreement.astype(np.int16)

    def _correlated(self, cut: Floats, spectra: NDArray[np.complex64]) -> Floats:
        """`cut`: shape (blocks, bands, block frames). A value a block and place."""
        blocks = np.conj(scipy.fft.rfft(cut, self._n_fft, axis=2)).transpose(2, 0, 1)
        products = np.matmul(np.ascontiguousarray(blocks), spectra)
        circular = scipy.fft.irfft(products.transpose(1, 2, 0), self._n_fft, axis=2)[:, :, : self._step]
        return np.ascontiguousarray(circular.reshape(cut.shape[0], -1)[:, : self.places])


def _highest(row: NDArray[np.int16], most: int, apart: int) -> list[int]:
    cells = -(-row.size // apart)
    highest = np.pad(row, (0, cells * apart - row.size), constant_values=-MOST_STORED).reshape(cells, apart)
    # A peak at a cell's edge may show in two cells: twice as many are looked at as are wanted.
    kept = min(cells, 2 * most)
    # Turned over, since numpy takes a maximum along many numbers at once, but not along few.
    tops_of_cells = np.ascontiguousarray(highest.T).max(axis=0)
    best = np.argpartition(tops_of_cells, cells - kept)[cells - kept :]
    tops = best * apart + highest[best].argmax(axis=1)
    taken: list[int] = []
    tops = tops[tops < row.size]
    for top in tops[np.argsort(-row[tops].astype(np.int32), kind="stable")].tolist():
        if len(taken) == most or row[top] <= 0:
            break
        if all(abs(top - other) >= apart for other in taken):
            taken.append(top)
    return taken


def _refined(row: NDArray[np.int16], top: int) -> float:
    if not 0 < top < row.size - 1:
        return float(top)
    return top + parabola_top(*(float(v) for v in row[top - 1 : top + 2]))


def _tops(curve: Floats, most: int, apart: int) -> list[tuple[float, float]]:
    left = curve.copy()
    tops = []
    for _ in range(min(most, left.size)):
        top = int(np.argmax(left))
        if left[top] <= 0.0:
            break
        shift = 0.0
        if 0 < top < left.size - 1:
            shift = parabola_top(*(float(v) for v in curve[top - 1 : top + 2]))
        tops.append((top + shift, float(curve[top])))
        left[max(0, top - apart) : top + apart + 1] = 0.0
    return tops
