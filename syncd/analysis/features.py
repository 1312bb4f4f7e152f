"""The features that the methods compare: log-mel levels and chroma, made block by block, and what follows from them.

One spectrogram is kept, the levels; flux, onset strength and cepstrum are derived from it where they are needed.

Conventions are librosa's (Slaney mel scale and area normalisation, periodic Hann, centred frames over zero padding,
`power_to_db` with reference 1 and no `top_db`, half-wave rectified first difference, orthonormal DCT, its chroma filter
bank), so the figures can be checked against that library; librosa itself is not imported, which would cost seconds.

Glossary: `sr_hz` sample rate, `n_fft` samples a frame, `hop_samples` samples from frame to frame, `n_mels` bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LINEAR_HZ_PER_MEL: Final = 200.0 / 3.0
_LOG_FROM_HZ: Final = 1000.0
_LOG_STEP: Final = np.log(6.4) / 27.0

_A4_HZ: Final = 440.0

N_MFCC: Final = 13
PITCH_CLASSES: Final = 12


@dataclass(frozen=True)
class MelLayout:
    """Which curves are made of the sound."""

    sr_hz: int = 16_000
    n_fft: int = 512
    """32 ms: the lowest band still holds seven bins; twice as long costs twice as much and finds less."""
    hop_samples: int = 320
    """50 frames a second."""
    n_mels: int = 24
    low_hz: float = 60.0
    high_hz: float = 7_500.0
    """Below the edge of the 16 kHz resampler and of most codecs' lowpass."""
    floor_power: float = 1e-8
    """Mel power about that of 16-bit rounding: what lies below is silence, and its ripples are no events."""

    @property
    def frames_per_s(self) -> float:
        """Frames of the curve a second."""
        return self.sr_hz / self.hop_samples


COARSE_MEL: Final = MelLayout()
"""For the whole file."""

FINE_MEL: Final = MelLayout(hop_samples=32)
"""2 ms a frame, for a few windows."""


@dataclass(frozen=True)
class ChromaLayout:
    """How the twelve pitch classes are taken from the sound."""

    sr_hz: int = 16_000
    n_fft: int = 4_096
    """A quarter of a second: tells semitones apart from about 130 Hz on."""
    hop_samples: int = 1_600
    """Ten frames a second."""
    centre_octave: float = 5.0
    octave_width: float = 2.0
    """Octaves from A0 on are weighted by a bell of this deviation around the centre (880 Hz)."""

    @property
    def frames_per_s(self) -> float:
        """Frames of the curve a second."""
        return self.sr_hz / self.hop_samples


CHROMA: Final = ChromaLayout()


def hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    """Slaney's scale (Auditory Toolbox, 1998): linear to 1 kHz, logarithmic above."""
    mel = frequency_hz / _LINEAR_HZ_PER_MEL
    above = frequency_hz >= _LOG_FROM_HZ
    log_part = np.log(np.maximum(frequency_hz, _LOG_FROM_HZ) / _LOG_FROM_HZ) / _LOG_STEP
    return np.where(above, _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL + log_part, mel)


def mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inverse of `hz_to_mel`."""
    corner_mel = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
    return np.where(mel >= corner_mel, _LOG_FROM_HZ * np.exp(_LOG_STEP * (mel - corner_mel)), mel * _LINEAR_HZ_PER_MEL)


def mel_filters(layout: MelLayout) -> Floats:
    """Triangular filters of unit area, shape (n_mels, n_fft // 2 + 1)."""
    bins_hz = np.linspace(0.0, layout.sr_hz / 2, layout.n_fft // 2 + 1)
    ends = hz_to_mel(np.array([layout.low_hz, layout.high_hz]))
    corners_hz = mel_to_hz(np.linspace(ends[0], ends[1], layout.n_mels + 2))
    widths_hz = np.diff(corners_hz)
    ramps = corners_hz[:, None] - bins_hz[None, :]
    rising = -ramps[:-2] / widths_hz[:-1, None]
    falling = ramps[2:] / widths_hz[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights *= (2.0 / (corners_hz[2:] - corners_hz[:-2]))[:, None]
    return weights.astype(np.float32)


def chroma_filters(layout: ChromaLayout) -> Floats:
    """Bells around the notes of each pitch class, C first, shape (12, n_fft // 2 + 1).

    After Ellis, «Chroma feature analysis and synthesis» (2007), as librosa has it: A440, bins of unit norm, octaves
    weighted.
    """
    bins_hz = np.arange(1, layout.n_fft) * (layout.sr_hz / layout.n_fft)
    notes = PITCH_CLASSES * np.log2(bins_hz / (_A4_HZ / 16.0))
    # The bin at 0 Hz has no note; it stands one and a half octaves below the first, as broad as can be.
    notes = np.concatenate(([notes[0] - 1.5 * PITCH_CLASSES], notes))
    widths = np.append(np.maximum(np.diff(notes), 1.0), 1.0)
    half = PITCH_CLASSES // 2
    apart = notes[None, :] - np.arange(PITCH_CLASSES)[:, None]
    apart = np.remainder(apart + half + 10 * PITCH_CLASSES, PITCH_CLASSES) - half
    weights = np.exp(-0.5 * np.square(2.0 * apart / widths))
    weights /= np.sqrt(np.square(weights).sum(axis=0))
    octaves = notes / PITCH_CLASSES - layout.centre_octave
    weights *= np.exp(-0.5 * np.square(octaves / layout.octave_width))
    from_c = np.roll(weights, -3, axis=0)
    filters: Floats = from_c[:, : layout.n_fft // 2 + 1].astype(np.float32)
    return filters


def periodic_hann(n: int) -> Floats:
    """The window whose period is `n` samples."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n) / n)).astype(np.float32)


@dataclass(frozen=True)
class Activity:
    """How much happens in a sound: what decides whether there is anything to compare."""

    level_db: float
    """Mean mel power over time and bands, dB; -80 (`floor_power`) is silence."""
    modulation_db: float
    """Deviation of each band's level (half-second means) over time, mean over bands: a steady noise has about 1."""


class _Spectra:
    """Samples in, power spectra of centred frames out, across any cutting into blocks."""

    def __init__(self, n_fft: int, hop_samples: int) -> None:
        self._n_fft = n_fft
        self._hop_samples = hop_samples
        self._window = periodic_hann(n_fft)
        self._pending: Floats = np.zeros(n_fft // 2, dtype=np.float32)

    def feed(self, samples: Floats) -> Floats:
        """Of the frames that `samples` (shape (n,)) completes: shape (frames, n_fft // 2 + 1)."""
        joined = np.concatenate((self._pending, samples))
        count = max(0, (joined.size - self._n_fft) // self._hop_samples + 1)
        self._pending = joined[count * self._hop_samples :]
        if count == 0:
            return np.zeros((0, self._n_fft // 2 + 1), dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(joined, self._n_fft)
        frames = frames[:: self._hop_samples][:count] * self._window
        spectrum = scipy.fft.rfft(frames, axis=1, overwrite_x=True)
        power: Floats = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        return power

    def finish(self) -> Floats:
        """Of the last frames, which reach over the end."""
        return self.feed(np.zeros(self._n_fft // 2, dtype=np.float32))


class LevelMaker:
    """Samples in, levels out, across any cutting into blocks.

    Frame `t` is centred on sample ``t * hop_samples``; its level is the power of each band in dB, at least that of
    `floor_power`.
    """

    def __init__(self, layout: MelLayout) -> None:
        self._layout = layout
        self._spectra = _Spectra(layout.n_fft, layout.hop_samples)
        self._filters = np.ascontiguousarray(mel_filters(layout).T)
        self._activity = _ActivityMeter(layout)

    def feed(self, samples: Floats) -> Floats:
        """Levels of the frames that `samples` (shape (n,)) completes, dB: shape (n_mels, frames)."""
        return self._levels(self._spectra.feed(samples))

    def finish(self) -> Floats:
        """Levels of the last frames, which reach over the end."""
        return self._levels(self._spectra.finish())

    def activity(self) -> Activity:
        """Of all that was fed."""
        return self._activity.reading()

    def _levels(self, power: Floats) -> Floats:
        bands = power @ self._filters
        np.maximum(bands, np.float32(self._layout.floor_power), out=bands)
        np.log10(bands, out=bands)
        bands *= np.float32(10.0)
        self._activity.feed(bands)
        return np.ascontiguousarray(bands.T)


class ChromaMaker:
    """Samples in, chroma out, across any cutting into blocks.

    Frame `t` is centred on sample ``t * hop_samples``; the strongest of its pitch classes is 1, those of silence are 0.
    """

    def __init__(self, layout: ChromaLayout) -> None:
        self._spectra = _Spectra(layout.n_fft, layout.hop_samples)
        self._filters = np.ascontiguousarray(chroma_filters(layout).T)

    def feed(self, samples: Floats) -> Floats:
        """Chroma of the frames that `samples` (shape (n,)) completes, 0 to 1: shape (12, frames)."""
        return self._chroma(self._spectra.feed(samples))

    def finish(self) -> Floats:
        """Chroma of the last frames, which reach over the end."""
        return self._chroma(self._spectra.finish())

    def _chroma(self, power: Floats) -> Floats:
        classes = power @ self._filters
        strongest = classes.max(axis=1, initial=0.0, keepdims=True)
        classes /= np.where(strongest < np.finfo(np.float32).tiny, np.float32(1.0), strongest)
        return np.ascontiguousarray(classes.T)


def flux_of(levels: Floats) -> Floats:
    """Half-wave rectified first difference over time, dB; the first frame's is 0. Shape (…, frames), as given."""
    flux = np.zeros_like(levels)
    np.subtract(levels[..., 1:], levels[..., :-1], out=flux[..., 1:])
    return np.maximum(flux, 0.0, out=flux)


def mfcc_of(levels: Floats) -> Floats:
    """Mel-frequency cepstrum: the orthonormal DCT-II over the bands, shape (…, n_mels, frames) to (…, 13, frames)."""
    cepstrum = scipy.fft.dct(levels, type=2, norm="ortho", axis=-2)
    return np.asarray(cepstrum[..., :N_MFCC, :], dtype=np.float32)


def mfcc_weights(n_mels: int) -> Floats:
    """What `mfcc_of` does to a frame, as a matrix, shape (13, n_mels): for whoever reads the levels band by band."""
    return mfcc_of(np.eye(n_mels, dtype=np.float32))


def onset_strength_of(levels: Floats) -> Floats:
    """Mean flux of the bands, dB; librosa's onset strength at lag 1. Shape (…, n_mels, frames) to (…, frames)."""
    return np.asarray(flux_of(levels).mean(axis=-2), dtype=np.float32)


class _ActivityMeter:
    """Running mean and deviation of half-second levels: three numbers a band, however long the sound."""

    def __init__(self, layout: MelLayout) -> None:
        self._frames_a_mean = max(1, round(layout.frames_per_s / 2))
        self._pending = np.zeros((0, layout.n_mels), dtype=np.float32)
        self._count = 0
        self._sum = np.zeros(layout.n_mels)
        self._squares = np.zeros(layout.n_mels)
        self._floor_db = 10.0 * float(np.log10(layout.floor_power))

    def feed(self, level_db: Floats) -> None:
        joined = np.concatenate((self._pending, level_db))
        count = joined.shape[0] // self._frames_a_mean
        used = count * self._frames_a_mean
        means = joined[:used].reshape(count, self._frames_a_mean, joined.shape[1]).mean(axis=1, dtype=np.float64)
        self._pending = joined[used:]
        self._count += count
        self._sum += means.sum(axis=0)
        self._squares += np.square(means).sum(axis=0)

    def reading(self) -> Activity:
        if self._count == 0:
            return Activity(level_db=self._floor_db, modulation_db=0.0)
        mean = self._sum / self._count
        deviation = np.sqrt(np.maximum(0.0, self._squares / self._count - np.square(mean)))
        return Activity(level_db=float(mean.mean()), modulation_db=float(deviation.mean()))
