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
from syncd.analysis.evidence import Beat, quietly
from syncd.analysis.threads import THREADS

Floats = NDArray[np.float32]

LEAST_INSIDE_SHARE: Final = 0.5
"""Of a block that must lie within the master for a place to count."""

FAINT_SHARE: Final = 0.1
"""Where a stretch is all but silent its own energy says nothing; this share of the usual one stands in."""

BLOCKS_AT_ONCE: Final = 16
"""Of the dub: bounds the memory that the matrix product needs."""


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
    deviations: NDArray[np.float16]
    """Shape (blocks, places)."""

    @property
    def places(self) -> int:
        """How many there are to choose from: what chance has to try."""
        return int(self.deviations.shape[1])

    def at(self, lag: float, reach: int) -> Floats:
        """The highest value of each block within `reach` frames of a lag; 0 beyond the map. Shape (blocks,)."""
        columns = np.asarray(self.blocks.starts)[:, None] + round(lag) + np.arange(-reach, reach + 1) - self.first_place
        inside = (columns >= 0) & (columns < self.places)
        rows = np.arange(len(self.blocks.starts))[:, None]
        found = np.where(inside, self.deviations[rows, np.clip(columns, 0, self.places - 1)], np.float16(0.0))
        return np.asarray(found.max(axis=1), dtype=np.float32)

    def summed(self, rows: slice) -> LagCurve:
        """Neighbouring rows added up lag by lag, in deviations of the sum."""
        starts = np.asarray(self.blocks.starts[rows])
        first_lag = int(self.first_place - starts.max())
        total = np.zeros(int(self.first_place + self.places - starts.min()) - first_lag, dtype=np.float32)
        count = np.zeros_like(total)
        for start, row in zip(starts, self.deviations[rows], strict=True):
            column = int(self.first_place - start) - first_lag
            total[column : column + self.places] += row
            count[column : column + self.places] += 1.0
        total /= np.sqrt(np.maximum(count, 1.0))
        floor = trimmed_rms(total)
        return LagCurve(first_lag, total / np.float32(floor) if floor > 0.0 else total)


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

    `curves` has shape (bands, frames), prepared (`correlate.prepare_bands`).
    """

    def __init__(self, curves: Floats, block_frames: int) -> None:
        self.frames = int(curves.shape[1])
        self.block_frames = block_frames
        self._n_fft = scipy.fft.next_fast_len(max(4 * block_frames, 256), real=True)
        self._step = self._n_fft - block_frames + 1
        self.first_place = -int(block_frames * (1.0 - LEAST_INSIDE_SHARE))
        self.places = self.frames - self.first_place - int(block_frames * LEAST_INSIDE_SHARE)
        energy = np.square(curves).sum(axis=0)
        self._usual_energy = float(energy.mean(dtype=np.float64))
        self._spectra = self._transformed(curves)
        self._energy_spectra = self._transformed(energy[None, :])

    def _transformed(self, curves: Floats) -> NDArray[np.complex64]:
        """Shape (bins, bands, segments); segment s holds the places from ``first_place + s * step`` on."""
        count = -(-max(self.places, 1) // self._step)
        before = -self.first_place
        padded = np.zeros((curves.shape[0], (count - 1) * self._step + self._n_fft), dtype=np.float32)
        kept = min(self.frames, padded.shape[1] - before)
        padded[:, before : before + kept] = curves[:, :kept]
        segments = np.lib.stride_tricks.sliding_window_view(padded, self._n_fft, axis=1)[:, :: self._step]
        spectra = np.empty((self._n_fft // 2 + 1, curves.shape[0], count), dtype=np.complex64)
        for band in range(curves.shape[0]):
            spectra[:, band, :] = scipy.fft.rfft(segments[band], axis=1).T
        return spectra

    def compare(self, dub: Floats, blocks: Blocks, beat: Beat = quietly) -> LagMap:
        """The map of the dub's blocks (`dub`: prepared curves, shape (bands, frames)). Two threads.

        `beat` counts groups of blocks, from the calling thread.
        """
        deviations = np.zeros((len(blocks.starts), max(self.places, 0)), dtype=np.float16)
        if self.places > 0:
            groups = range(0, len(blocks.starts), BLOCKS_AT_ONCE)

            def fill(first: int) -> None:
                rows = slice(first, first + BLOCKS_AT_ONCE)
                deviations[rows] = self._rows(dub, blocks.starts[rows])

            with ThreadPoolExecutor(THREADS) as threads:
                for done, _ in enumerate(threads.map(fill, groups), start=1):
                    beat(done, len(groups))
        return LagMap(blocks, self.first_place, deviations)

    def _rows(self, dub: Floats, starts: Sequence[int]) -> NDArray[np.float16]:
        cut = np.stack([dub[:, start : start + self.block_frames] for start in starts])
        agreement = self._correlated(cut, self._spectra)
        energy = np.square(cut).sum(axis=1, keepdims=True)
        chance = self._correlated(energy, self._energy_spectra)
        usual = energy.sum(axis=(1, 2)) * self._usual_energy
        np.maximum(chance, (FAINT_SHARE * usual)[:, None], out=chance)
        agreement /= np.sqrt(np.maximum(chance, 1e-12))
        floors = np.array([trimmed_rms(row) for row in agreement], dtype=np.float32)
        agreement *= np.where(floors > 1e-6, 1.0 / np.maximum(floors, 1e-6), 0.0)[:, None]
        return agreement.astype(np.float16)

    def _correlated(self, cut: Floats, spectra: NDArray[np.complex64]) -> Floats:
        """`cut`: shape (blocks, bands, block frames). A value a block and place."""
        blocks = np.conj(scipy.fft.rfft(cut, self._n_fft, axis=2)).transpose(2, 0, 1)
        products = np.matmul(np.ascontiguousarray(blocks), spectra)
        circular = scipy.fft.irfft(products.transpose(1, 2, 0), self._n_fft, axis=2)[:, :, : self._step]
        return np.ascontiguousarray(circular.reshape(cut.shape[0], -1)[:, : self.places])


def block_peaks(found: LagMap, most: int, apart: int) -> list[BlockPeak]:
    """The highest places of each block, at least `apart` frames from each other."""
    return [
        BlockPeak(block, found.first_place + at - start, height)
        for block, (start, row) in enumerate(zip(found.blocks.starts, found.deviations, strict=True))
        for at, height in _tops(row.astype(np.float32), most, apart)
    ]


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
