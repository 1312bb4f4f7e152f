"""The coarse search: every lag of two whole files, compared by their flux, in noise units.

Each band of each side is freed of its slow swell and scaled to deviation 1, the bands' correlations are added in the
frequency domain, and the value at every lag is divided by the root of what chance would give there: the sum of the
products of both sides' energies over that lag's overlap. A short overlap is so neither favoured nor shut out. The floor
is a trimmed RMS over all lags (a median would make sparse curves look strong).

Glossary: a `lag` is master minus dub: the `offset_s` of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final

import numpy as np
import scipy.fft
import scipy.ndimage
from numpy.typing import NDArray

from syncd.analysis.evidence import BandSource, Beat
from syncd.analysis.features import MelLayout
from syncd.analysis.threads import THREADS

Floats = NDArray[np.float32]

EDGE_FRAMES: Final = 4
"""Left out at both ends of a file: frames that reach over its edge rise for no reason in the programme."""

SWELL_S: Final = 1.5
"""What changes more slowly than this (loudness, density) is taken out: unrelated programmes share it."""

CLIP_DEVIATIONS: Final = 4.0
"""A single bang counts no more than this."""

MIN_OVERLAP_S: Final = 4.0
"""Lags that leave less in common are not looked at, unless a file is so short that half of it is less."""

SEPARATION_S: Final = 0.4
"""Two candidates are at least this far apart."""

MAX_CANDIDATES: Final = 8

MOST_FRAMES: Final = 1_000_000
"""Of both files together, five and a half hours. Longer ones are compared at fewer frames a second, so that memory
stays bounded; the fine search reaches much farther than the lag then blurs."""

MOST_FRAMES_SIDE_BY_SIDE: Final = 500_000
"""Beyond it the two sides are transformed in turn: at once they take twice the memory."""

WIDEST_RATE: Final = 1.05
"""Room for every known speed: one length of transform for all, because each length keeps its tables in memory."""

STRETCHED_AT_ONCE: Final = 1 << 16
FILTERED_AT_ONCE: Final = 1 << 17

TRIMMED_SHARE: Final = 0.02
_RMS_LEFT_AFTER_TRIMMING: Final = 0.936
"""RMS of a normal variable without its largest 2 %."""


@dataclass(frozen=True)
class CoarsePeak:
    """A lag that stands out."""

    lag_s: float
    deviations: float
    """Over the floor, in deviations of chance."""


@dataclass(frozen=True)
class CoarseResult:
    """The best lags of one channel, best first; `lags` is how many were compared."""

    channel: str
    peaks: tuple[CoarsePeak, ...]
    lags: int

    @property
    def best_deviations(self) -> float:
        """Of the best peak; 0 where there is none."""
        return self.peaks[0].deviations if self.peaks else 0.0


@dataclass(frozen=True)
class Compared:
    """What `search_lags` is given: so many bands a frame, and how each is made ready."""

    bands: int
    frames_per_s: float
    prepare: Callable[[Floats, float], Floats] | None = None
    """Of one band and its frames a second; None: `prepare_curve`."""
    most_frames: int = MOST_FRAMES
    """Of both sides together; longer ones are compared at fewer frames a second."""

    def prepared(self, curve: Floats) -> Floats:
        """One band as it is compared, shape (frames,)."""
        return (self.prepare or prepare_curve)(curve, self.frames_per_s)


def search_lags(
    channel: str,
    master: BandSource,
    dub: BandSource,
    compared: Compared,
    beat: Beat,
    *,
    rate: Fraction | float = Fraction(1),
) -> CoarseResult:
    """Compare all lags; with `rate` the dub's curve is stretched to the master's time first (t_master = rate * t_dub).

    Two threads; memory: a few arrays as long as both curves together, whatever the number of bands.
    """
    meeting = _Meeting.of(master, dub, compared, rate)
    if meeting is None:
        return CoarseResult(channel, (), 0)
    cross = np.zeros(meeting.n_fft // 2 + 1, dtype=np.complex64)
    for ours, theirs in meeting.spectra(beat):
        np.conjugate(theirs, out=theirs)
        np.multiply(ours, theirs, out=theirs)
        cross += theirs
    return meeting.result(channel, cross, meeting.expected())


def search_rotations(
    channel: str,
    master: BandSource,
    dub: BandSource,
    compared: Compared,
    beat: Beat,
    *,
    rate: Fraction | float = Fraction(1),
) -> tuple[CoarseResult, ...]:
    """`search_lags` once for each rotation of the bands: in result `r` the master's band `b` meets the dub's `b + r`.

    Memory: the spectra of all bands of both sides.
    """
    meeting = _Meeting.of(master, dub, compared, rate)
    if meeting is None:
        return (CoarseResult(channel, (), 0),)
    spectra = list(meeting.spectra(beat))
    for _, theirs in spectra:
        np.conjugate(theirs, out=theirs)
    expected = meeting.expected()
    results = []
    for rotation in range(compared.bands):
        cross = np.zeros(meeting.n_fft // 2 + 1, dtype=np.complex64)
        for band, (ours, _) in enumerate(spectra):
            cross += ours * spectra[(band + rotation) % compared.bands][1]
        results.append(meeting.result(channel, cross, expected))
    return tuple(results)


def prepare_bands(flux: Floats, layout: MelLayout) -> Floats:
    """`prepare_curve` for curves of this layout. Shape (…, frames)."""
    return prepare_curve(flux, layout.frames_per_s)


def prepare_curve(curves: Floats, frames_per_s: float, swell_s: float = SWELL_S) -> Floats:
    """Without edges and without what changes more slowly than `swell_s`, deviation 1, single events clipped.

    Zeros where there is nothing. Shape (…, frames).
    """
    curves = curves.astype(np.float32)
    _without_edges(curves)
    width = max(3, round(swell_s * frames_per_s))
    _subtract_mean(curves, width)
    _without_edges(curves)
    mean_square = np.einsum("...t,...t->...", curves, curves, dtype=np.float64)[..., None] / curves.shape[-1]
    deviation = np.sqrt(mean_square)
    curves *= np.where(deviation > 1e-6, 1.0 / np.maximum(deviation, 1e-6), 0.0).astype(np.float32)
    return np.clip(curves, -CLIP_DEVIATIONS, CLIP_DEVIATIONS, out=curves)


def _subtract_mean(curves: Floats, width: int) -> None:
    """The mean of so many frames around, from each; a piece at a time, since scipy keeps a line in doubles, twice."""
    frames = curves.shape[-1]
    before = curves[..., :0]
    for first in range(0, frames, FILTERED_AT_ONCE):
        last = min(first + FILTERED_AT_ONCE, frames)
        piece = np.concatenate((before, curves[..., first : last + width]), axis=-1)
        inside = slice(before.shape[-1], before.shape[-1] + last - first)
        before = curves[..., max(0, last - width) : last].copy()
        curves[..., first:last] -= scipy.ndimage.uniform_filter1d(piece, width, axis=-1, mode="nearest")[..., inside]


def trimmed_rms(values: Floats) -> float:
    """RMS without the largest 2 %, as the deviation of the normal variable that has it; 0 for nothing."""
    if values.size == 0:
        return 0.0
    magnitudes = np.abs(values)
    kept = max(1, int(magnitudes.size * (1.0 - TRIMMED_SHARE)))
    smallest = np.partition(magnitudes, kept - 1)[:kept]
    return float(np.sqrt(np.mean(np.square(smallest), dtype=np.float64))) / _RMS_LEFT_AFTER_TRIMMING


def parabola_top(left: float, middle: float, right: float) -> float:
    """Where between the neighbours (-0.5 to 0.5 steps) the parabola through three values peaks."""
    bend = left - 2.0 * middle + right
    return 0.0 if bend >= 0.0 else float(np.clip(0.5 * (left - right) / bend, -0.5, 0.5))


@dataclass(frozen=True)
class _Overlap:
    """Which lags (in frames) are looked at."""

    master_frames: int
    dub_frames: int
    frames_per_s: float

    @property
    def least_frames(self) -> int:
        shorter = min(self.master_frames, self.dub_frames)
        return max(1, min(round(MIN_OVERLAP_S * self.frames_per_s), shorter // 2))

    @property
    def first_lag(self) -> int:
        return self.least_frames - self.dub_frames

    @property
    def last_lag(self) -> int:
        return self.master_frames - self.least_frames

    def by_lag(self, circular: Floats) -> Floats:
        """From the order of the transform (0, 1, …, -2, -1) to that of the lags, first to last."""
        return np.concatenate((circular[self.first_lag :], circular[: self.last_lag + 1]))


@dataclass(frozen=True)
class _Thinned:
    """A `BandSource` of fewer frames: neighbours added up."""

    source: BandSource
    step: int

    @property
    def frames(self) -> int:
        return self.source.frames // self.step

    def read_band(self, band: int) -> Floats:
        curve = self.source.read_band(band)[: self.frames * self.step]
        return np.asarray(curve.reshape(-1, self.step).sum(axis=1), dtype=np.float32)


class _Transformer:
    """One side, band after band; the energy of all bands adds up on the way."""

    def __init__(self, source: BandSource, rate: Fraction | float, compared: Compared, n_fft: int) -> None:
        self._source = source
        self._rate = rate
        self._compared = compared
        self._padded: Floats = np.zeros(n_fft, dtype=np.float32)
        self.energy: Floats = np.zeros(int(source.frames * rate), dtype=np.float32)

    def spectrum(self, band: int) -> NDArray[np.complex64]:
        curve = self._compared.prepared(stretched(self._source.read_band(band), self._rate))
        self._padded[: curve.size] = curve
        np.square(curve, out=curve)
        self.energy += curve
        del curve
        transformed: NDArray[np.complex64] = scipy.fft.rfft(self._padded)
        return transformed


@dataclass(frozen=True)
class _Meeting:
    """Two sides that are compared."""

    master: _Transformer
    dub: _Transformer
    overlap: _Overlap
    bands: int
    n_fft: int

    @classmethod
    def of(cls, master: BandSource, dub: BandSource, compared: Compared, rate: Fraction | float) -> _Meeting | None:
        """None where a side has too few frames."""
        step = 1 + (master.frames + dub.frames) // compared.most_frames
        if step > 1:
            thinned = replace(compared, frames_per_s=compared.frames_per_s / step)
            return cls.of(_Thinned(master, step), _Thinned(dub, step), thinned, rate)
        dub_frames = int(dub.frames * rate)
        if min(master.frames, dub_frames) <= 2 * EDGE_FRAMES + 1:
            return None
        n_fft = scipy.fft.next_fast_len(master.frames + max(dub_frames, int(dub.frames * WIDEST_RATE)), real=True)
        return cls(
            _Transformer(master, Fraction(1), compared, n_fft),
            _Transformer(dub, rate, compared, n_fft),
            _Overlap(master.frames, dub_frames, compared.frames_per_s),
            compared.bands,
            n_fft,
        )

    def spectra(self, beat: Beat) -> Iterator[tuple[NDArray[np.complex64], NDArray[np.complex64]]]:
        """Of both sides, band after band."""
        sides = (self.master, self.dub)
        with ThreadPoolExecutor(THREADS if self.n_fft <= MOST_FRAMES_SIDE_BY_SIDE else 1) as threads:
            for band in range(self.bands):
                beat(band, self.bands)
                ours, theirs = threads.map(lambda side, band=band: side.spectrum(band), sides)
                yield ours, theirs

    def expected(self) -> Floats | None:
        """What chance would give at every lag, up to a factor; to be asked for after all spectra. None in silence."""
        master_energy, dub_energy = self.master.energy, self.dub.energy
        # Where an overlap is all but silent its own energy says nothing; a tenth of the usual stands in.
        usual = self.overlap.least_frames * float(master_energy.mean()) * float(dub_energy.mean())
        if usual <= 0.0:
            return None
        cross = _cross_spectrum(master_energy, dub_energy, self.n_fft)
        chance = self.overlap.by_lag(scipy.fft.irfft(cross, self.n_fft))
        np.maximum(chance, np.float32(0.1 * usual), out=chance)
        return np.sqrt(chance, out=chance)

    def result(self, channel: str, cross: NDArray[np.complex64], expected: Floats | None) -> CoarseResult:
        """The peaks of the correlation whose spectrum is `cross`, which is overwritten."""
        deviations = self.overlap.by_lag(scipy.fft.irfft(cross, self.n_fft, overwrite_x=True))
        if expected is None:
            return CoarseResult(channel, (), deviations.size)
        deviations /= expected
        floor = trimmed_rms(deviations)
        if floor > 0.0:
            deviations /= np.float32(floor)
        return CoarseResult(channel, _peaks(deviations, self.overlap), deviations.size)


def _cross_spectrum(master: Floats, dub: Floats, n_fft: int) -> NDArray[np.complex64]:
    spectrum: NDArray[np.complex64] = scipy.fft.rfft(dub, n_fft)
    np.conjugate(spectrum, out=spectrum)
    spectrum *= scipy.fft.rfft(master, n_fft)
    return spectrum


def _peaks(deviations: Floats, overlap: _Overlap) -> tuple[CoarsePeak, ...]:
    apart = max(1, round(SEPARATION_S * overlap.frames_per_s))
    left = deviations.copy()
    peaks: list[CoarsePeak] = []
    for _ in range(MAX_CANDIDATES):
        top = int(np.argmax(left))
        if left[top] <= 0.0:
            break
        shift = 0.0
        if 0 < top < deviations.size - 1:
            shift = parabola_top(*(float(v) for v in deviations[top - 1 : top + 2]))
        lag_s = (overlap.first_lag + top + shift) / overlap.frames_per_s
        peaks.append(CoarsePeak(lag_s, float(deviations[top])))
        left[max(0, top - apart) : top + apart + 1] = 0.0
    return tuple(peaks)


def _without_edges(curves: Floats) -> None:
    curves[..., :EDGE_FRAMES] = 0.0
    curves[..., -EDGE_FRAMES:] = 0.0


def stretched(curve: Floats, rate: Fraction | float) -> Floats:
    """Linear interpolation, a piece at a time: indices of a whole long file would be many times the file."""
    if rate == 1:
        return curve
    stretched = np.empty(int(curve.size * rate), dtype=np.float32)
    for first in range(0, stretched.size, STRETCHED_AT_ONCE):
        piece = stretched[first : first + STRETCHED_AT_ONCE]
        times = np.arange(first, first + piece.size) / float(rate)
        start = int(times[0])
        around = curve[start : int(times[-1]) + 2]
        piece[:] = np.interp(times, np.arange(start, start + around.size), around)
    return stretched
