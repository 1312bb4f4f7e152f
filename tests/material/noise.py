"""Coloured noise that never repeats, and slow random curves to move it with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
import scipy.fft
import scipy.signal

from tests.material.seeds import RATE_HZ, Samples

Colour = Callable[[np.ndarray], np.ndarray]
"""Amplitude by frequency: takes frequencies in Hz, gives factors of the same shape."""

TOP_HZ: Final = 20_000.0
"""Sounds are made up to here, so that a delay by parts of a sample is exact (see delay.py)."""

_GRAIN: Final = 1 << 16
_CROSSFADE: Final = 2048


def band(low_hz: float, high_hz: float, tilt_db_per_octave: float = 0.0) -> Colour:
    """A band with soft edges (12 dB an octave), tilted about its geometric middle."""
    middle_hz = float(np.sqrt(low_hz * high_hz))

    def colour(frequency_hz: np.ndarray) -> np.ndarray:
        safe_hz = np.maximum(frequency_hz, 1.0)
        edges = 1.0 / np.sqrt((1.0 + (low_hz / safe_hz) ** 4) * (1.0 + (safe_hz / high_hz) ** 4))
        return np.asarray(edges * (safe_hz / middle_hz) ** (tilt_db_per_octave / 6.02))

    return colour


def coloured_noise(rng: np.random.Generator, n_samples: int, colour: Colour) -> Samples:
    """Gaussian noise of RMS 1, ``(n_samples,)``, made of grains that are joined by equal-power crossfades."""
    if n_samples <= 0:
        return np.zeros(0, np.float32)
    grain = min(_GRAIN, scipy.fft.next_fast_len(max(n_samples, 64), real=True))
    amplitude = _amplitudes(grain, colour)
    if grain >= n_samples:
        return _grain(rng, grain, amplitude)[:n_samples]
    hop = grain - _CROSSFADE
    rise = np.sin(0.5 * np.pi * (np.arange(_CROSSFADE, dtype=np.float32) + 0.5) / _CROSSFADE).astype(np.float32)
    out = np.zeros(n_samples + grain, np.float32)
    for start in range(0, n_samples, hop):
        piece = _grain(rng, grain, amplitude)
        piece[:_CROSSFADE] *= rise
        piece[-_CROSSFADE:] *= rise[::-1]
        out[start : start + grain] += piece
    return out[:n_samples]


def _amplitudes(n_samples: int, colour: Colour) -> Samples:
    """Of each bin of a grain's spectrum, such that its RMS is 1."""
    frequency_hz = np.arange(n_samples // 2 + 1) * (RATE_HZ / n_samples)
    amplitude = np.where((frequency_hz > 15.0) & (frequency_hz < TOP_HZ), colour(frequency_hz), 0.0)
    amplitude *= n_samples / (2.0 * np.sqrt(float(np.sum(amplitude**2)) + 1e-30))
    return np.asarray(amplitude, np.float32)


def _grain(rng: np.random.Generator, n_samples: int, amplitude: Samples) -> Samples:
    spectrum = rng.standard_normal(2 * amplitude.size, dtype=np.float32).view(np.complex64)
    spectrum *= amplitude
    return np.asarray(scipy.fft.irfft(spectrum, n_samples), np.float32)


@functools.lru_cache(maxsize=1)
def top_taps() -> Samples:
    """A low-pass ``(129,)``, flat to 20 kHz and shut (−100 dB) from 22.4: hard edges splash above their sound."""
    return np.asarray(scipy.signal.firwin(129, 21_200.0, fs=RATE_HZ, window=("kaiser", 10.06)), np.float32)


def random_curve(rng: np.random.Generator, n_samples: int, points_per_s: float, low: float, high: float) -> Samples:
    """A curve through uniformly random points between ``low`` and ``high``, ``(n_samples,)``, straight in between."""
    n_points = int(n_samples / RATE_HZ * points_per_s) + 3
    points = rng.uniform(low, high, n_points)
    position = np.arange(n_samples) * (points_per_s / RATE_HZ) + rng.uniform()
    return np.asarray(np.interp(position, np.arange(n_points), points), np.float32)
