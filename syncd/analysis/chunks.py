"""The dub in chunks, each compared with the master by its flux: near given lags, or far and wide.

Everything runs band by band or chunk by chunk, so memory stays a few curves long. Lags are in seconds, on the master's
clock (the dub stretched to it: ``t_master = rate * t_dub + lag``); deviations are over the chunk's own floor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, prepare_curve, stretched, trimmed_rms
from syncd.analysis.evidence import BandSource, Beat
from syncd.analysis.features import COARSE_MEL, flux_of
from syncd.analysis.threads import THREADS

Floats = NDArray[np.float32]
Spectra = NDArray[np.complex64]

CHUNK_S: Final = 120.0
OVERLAP_SHARE: Final = 1.0 / 12.0
"""Ten seconds of a whole chunk."""
CHUNKS_WANTED: Final = 3
"""Chunks shrink with the dub until there are so many of them."""
SHORTEST_CHUNK_S: Final = 8.0
NEAR_S: Final = 4.0
"""How far from a suggested lag a chunk is searched; these lags are its floor, too."""
FAR_S: Final = 1800.0
"""How far from where it is expected a chunk is searched if it fits nowhere near."""
LEAST_INSIDE_SHARE: Final = 0.5
"""Of a chunk that must lie within the master."""
FOLDED_BANDS: Final = 6
"""Neighbouring bands are added up for the far search: a quarter of the cost for four fifths of the height."""
FAR_PEAKS: Final = 2
BLOCKS_KEPT: Final = 36
"""What one chunk meets in an hour."""
MOST_FAR_FRAMES: Final = 400_000
"""Of both files together, two and a quarter hours; longer ones are searched far at fewer frames a second."""


@dataclass(frozen=True)
class ChunkPlan:
    """Where the chunks start, in frames of the stretched dub; all of one length."""

    starts: tuple[int, ...]
    length: int
    frames_per_s: float

    @property
    def length_s(self) -> float:
        """Of each chunk."""
        return self.length / self.frames_per_s

    def span_s(self, chunk: int) -> tuple[float, float]:
        """Start and end of a chunk, on the master's clock."""
        return self.starts[chunk] / self.frames_per_s, (self.starts[chunk] + self.length) / self.frames_per_s


@dataclass(frozen=True)
class ChunkPeak:
    """Where a chunk stands out."""

    chunk: int
    lag_s: float
    deviations: float


def plan_chunks(frames: int, frames_per_s: float) -> ChunkPlan:
    """Two minutes each, ten seconds shared with the next, the last one moved back to the end; shorter in short dubs."""
    whole_s = frames / frames_per_s
    third_s = whole_s / (CHUNKS_WANTED - (CHUNKS_WANTED - 1) * OVERLAP_SHARE)
    length_s = min(CHUNK_S, max(SHORTEST_CHUNK_S, third_s), whole_s)
    length = int(length_s * frames_per_s)
    if length < 1.0 * frames_per_s:
        return ChunkPlan((), length, frames_per_s)
    step = length - round(OVERLAP_SHARE * length)
    starts = list(range(0, frames - length + 1, step))
    if starts[-1] + length < frames - step // 8:
        starts.append(frames - length)
    return ChunkPlan(tuple(starts), length, frames_per_s)


class ChunkSearch:
    """The chunks of one dub against one master, both as levels (`COARSE_MEL`). Two threads."""

    def __init__(self, master: BandSource, dub: BandSource, plan: ChunkPlan, rate: float) -> None:
        self._master = master
        self._dub = dub
        self._plan = plan
        self._rate = rate
        self._fps = plan.frames_per_s
        self._reach = round(NEAR_S * self._fps)

    def near(self, asked: Sequence[tuple[int, float]], beat: Beat) -> list[ChunkPeak]:
        """The best lag of each (chunk, lag_s) that was asked for, within `NEAR_S` of it. `beat` counts bands."""
        length = self._plan.length
        jobs = [(chunk, round(lag_s * self._fps)) for chunk, lag_s in asked]
        jobs = [(chunk, lag) for chunk, lag in jobs if self._is_inside(self._plan.starts[chunk] + lag)]
        if not jobs:
            return []
        n_fft = scipy.fft.next_fast_len(length + 2 * self._reach, real=True)
        cross = np.zeros((len(jobs), n_fft // 2 + 1), dtype=np.complex64)

        def add(master: Floats, dub: Floats, first: int) -> None:
            for job in range(first, len(jobs), THREADS):
                chunk, lag = jobs[job]
                start = self._plan.starts[chunk]
                spectrum = scipy.fft.rfft(dub[start : start + length], n_fft)
                np.conjugate(spectrum, out=spectrum)
                spectrum *= scipy.fft.rfft(_cut(master, start + lag - self._reach, length + 2 * self._reach), n_fft)
                cross[job] += spectrum

        with ThreadPoolExecutor(THREADS) as threads:
            for band in range(COARSE_MEL.n_mels):
                beat(band, COARSE_MEL.n_mels)
                master, dub = self._master_curve(band), self._dub_curve(band)
                list(threads.map(partial(add, master, dub), range(THREADS)))
                del master, dub  # Before the next ones are made: curves of a whole long file.
        found = []
        for job, (chunk, lag) in enumerate(jobs):
            curve = scipy.fft.irfft(cross[job], n_fft)[: 2 * self._reach + 1]
            floor = trimmed_rms(curve)
            top = int(np.argmax(curve))
            if floor > 0.0 and 0 < top < curve.size - 1:
                shift = parabola_top(*(float(v) for v in curve[top - 1 : top + 2]))
                lag_s = (lag + top - self._reach + shift) / self._fps
                found.append(ChunkPeak(chunk, lag_s, float(curve[top]) / floor))
        return found

    def far(self, around: Mapping[int, float], beat: Beat) -> list[tuple[int, float]]:
        """Lags (chunk, lag_s) that stand out within `FAR_S` of where each chunk is expected. `beat` counts chunks."""
        if not around:
            return []
        step = 1 + (self._master.frames + self._dub.frames) // MOST_FAR_FRAMES
        master, dub = self._folded(self._master_curve, step), self._folded(self._dub_curve, step)
        field = _Field(master, self._plan.length // step, self._fps / step)
        found: list[tuple[int, float]] = []
        for done, (chunk, lag_s) in enumerate(around.items()):
            beat(done, len(around))
            start = self._plan.starts[chunk] // step
            found.extend((chunk, lag) for lag in field.lags(dub, start, lag_s))
        return found

    def _is_inside(self, place: int) -> bool:
        inside = min(place + self._plan.length, self._master.frames) - max(place, 0)
        return inside >= LEAST_INSIDE_SHARE * self._plan.length

    def _master_curve(self, band: int) -> Floats:
        return prepare_curve(flux_of(self._master.read_band(band)), self._fps)

    def _dub_curve(self, band: int) -> Floats:
        return prepare_curve(stretched(flux_of(self._dub.read_band(band)), self._rate), self._fps)

    def _folded(self, curve_of: Callable[[int], Floats], step: int) -> Floats:
        """Neighbouring bands added up, and `step` frames as well: shape (FOLDED_BANDS, frames)."""
        together = COARSE_MEL.n_mels // FOLDED_BANDS
        folded = []
        for first in range(0, COARSE_MEL.n_mels, together):
            total = curve_of(first)
            for band in range(first + 1, first + together):
                total += curve_of(band)
            folded.append(total[: total.size // step * step].reshape(-1, step).sum(axis=1))
        return np.stack(folded)


class _Field:
    """The master's side of the far search: its blocks are transformed once and met by one chunk after another."""

    def __init__(self, master: Floats, length: int, frames_per_s: float) -> None:
        self._master = master
        self._length = length
        self._fps = frames_per_s
        self._n_fft = scipy.fft.next_fast_len(2 * length, real=True)
        self._energy = np.concatenate(([0.0], np.cumsum(np.square(master).sum(axis=0, dtype=np.float64))))
        self._block = lru_cache(maxsize=BLOCKS_KEPT)(self._transformed_block)

    def lags(self, dub: Floats, start: int, around_s: float) -> list[float]:
        """Where the chunk that starts at this frame of the dub stands out, in seconds, best first."""
        length = self._length
        first, last = self._places(start + round(around_s * self._fps))
        if last < first:
            return []
        theirs = _transformed([_cut(curve, start, length) for curve in dub], self._n_fft)
        np.conjugate(theirs, out=theirs)
        numbers = range(first // length, last // length + 1)
        cross = np.stack([np.einsum("bf,bf->f", self._block(number), theirs) for number in numbers])
        places = scipy.fft.irfft(cross, self._n_fft, axis=1)[:, :length].ravel()
        curve = places[first - numbers[0] * length :][: last + 1 - first]
        curve = curve / np.sqrt(self._energy_held(np.arange(first, last + 1)))
        apart = round(NEAR_S * self._fps)
        return [(place + first - start) / self._fps for place in _tops(curve, apart)]

    def _transformed_block(self, number: int) -> Spectra:
        """For the places from ``number * length`` on."""
        first = number * self._length
        return _transformed([_cut(curve, first, 2 * self._length) for curve in self._master], self._n_fft)

    def _places(self, expected: int) -> tuple[int, int]:
        """First and last frame of the master at which a chunk is looked for."""
        hidden = int((1.0 - LEAST_INSIDE_SHARE) * self._length)
        reach = round(FAR_S * self._fps)
        last = self._master.shape[1] - self._length + hidden
        return max(-hidden, min(expected, last) - reach), min(last, max(expected, -hidden) + reach)

    def _energy_held(self, places: NDArray[np.int_]) -> NDArray[np.float64]:
        """Of the master under a chunk at each place; a tenth of the usual stands in for silence."""
        most = self._energy.size - 1
        held = self._energy[np.clip(places + self._length, 0, most)] - self._energy[np.clip(places, 0, most)]
        usual = float(self._energy[-1]) * self._length / max(most, 1)
        return np.asarray(np.maximum(held, 0.1 * usual + 1e-9))


def _cut(curve: Floats, first: int, count: int) -> Floats:
    """Zeros before the start and beyond the end."""
    piece = np.zeros(count, dtype=np.float32)
    begin, end = max(0, first), min(curve.size, first + count)
    if begin < end:
        piece[begin - first : end - first] = curve[begin:end]
    return piece


def _transformed(pieces: Sequence[Floats], n_fft: int) -> Spectra:
    spectra: Spectra = scipy.fft.rfft(np.stack(pieces), n_fft, axis=1)
    return spectra


def _tops(curve: NDArray[np.floating], apart: int) -> list[int]:
    left = curve.copy()
    tops = []
    for _ in range(FAR_PEAKS):
        top = int(np.argmax(left))
        if left[top] <= 0.0:
            break
        tops.append(top)
        left[max(0, top - apart) : top + apart + 1] = 0.0
    return tops
