"""The features that the methods compare: log-mel levels, made block by block, and what follows from them.

One spectrogram is kept; flux is derived from it where it is needed.

Conventions are librosa's (Slaney mel scale and area normalisation, periodic Hann, centred frames over zero padding,
`power_to_db` with reference 1 and no `top_db`, half-wave rectified first difference), so its figures can be checked
against that library; librosa itself is not imported, which would cost seconds.

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

_FRAMES_A_PRODUCT: Final = 16


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


class LevelMaker:
    """Samples in, levels out, across any cutting into blocks.

    Frame `t` is centred on sample ``t * hop_samples``; its level is the power of each band in dB, at least that of
    `floor_power`.
    """

    def __init__(self, layout: MelLayout) -> None:
        self._layout = layout
        self._window = periodic_hann(layout.n_fft)
        self._filters = np.ascontiguousarray(mel_filters(layout).T)
        self._pending: Floats = np.zeros(layout.n_fft // 2, dtype=np.float32)
        self._activity = _ActivityMeter(layout)

    def feed(self, samples: Floats) -> Floats:
        """Levels of the frames that `samples` (shape (n,)) completes, dB: shape (n_mels, frames)."""
        joined = np.concatenate((self._pending, samples))
        count = max(0, (joined.size - self._layout.n_fft) // self._layout.hop_samples + 1)
        self._pending = joined[count * self._layout.hop_samples :]
        return self._levels(joined, count)

    def finish(self) -> Floats:
        """Levels of the last frames, which reach over the end."""
        return self.feed(np.zeros(self._layout.n_fft // 2, dtype=np.float32))

    def activity(self) -> Activity:
        """Of all that was fed."""
        return self._activity.reading()

    def _band_power(self, power: Floats) -> Floats:
        bands = np.empty((power.shape[0], self._layout.n_mels), dtype=np.float32)
        # A whole block at once would be large enough for BLAS to spread it over threads, and on cores that the other
        # decoder uses too, waking them costs a hundred times the product itself.
        for start in range(0, power.shape[0], _FRAMES_A_PRODUCT):
            stop = start + _FRAMES_A_PRODUCT
            np.matmul(power[start:stop], self._filters, out=bands[start:stop])
        return bands

    def _levels(self, joined: Floats, count: int) -> Floats:
        if count == 0:
            return np.zeros((self._layout.n_mels, 0), dtype=np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(joined, self._layout.n_fft)
        frames = frames[:: self._layout.hop_samples][:count] * self._window
        spectrum = scipy.fft.rfft(frames, axis=1, overwrite_x=True)
        power = np.square(spectrum.real)
        power += np.square(spectrum.imag)
        audible = np.maximum(self._band_power(power), np.float32(self._layout.floor_power))
        level_db: Floats = np.float32(10.0) * np.log10(audible)
        self._activity.feed(level_db)
        return np.ascontiguousarray(level_db.T)


def flux_of(levels: Floats) -> Floats:
    """Half-wave rectified first difference over time, dB; the first frame's is 0. Shape (…, frames), as given."""
    flux = np.zeros_like(levels)
    np.subtract(levels[..., 1:], levels[..., :-1], out=flux[..., 1:])
    return np.maximum(flux, 0.0, out=flux)


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
