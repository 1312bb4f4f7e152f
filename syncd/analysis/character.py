"""What kind of music a side holds: its tempo and its key, as evidence on speed and pitch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.features import PITCH_CLASSES, periodic_hann

Floats = NDArray[np.float32]

_TEMPO_WINDOW_S: Final = 8.0
_FRAMES_APART: Final = 25
"""Half a second from one window of the tempogram to the next: the mean over time needs no more."""
_WINDOWS_AT_ONCE: Final = 256
_USUAL_BPM: Final = 120.0
_FASTEST_BPM: Final = 320.0
_LEAST_STRENGTH_DB: Final = 1e-4
"""Of an onset, in the mean: what is weaker has no beat."""

_NAMES: Final = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
_MAJOR: Final = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR: Final = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


def tempo_bpm(onset_strength: Floats, frames_per_s: float, *, frames_apart: int = _FRAMES_APART) -> float | None:
    """Beats a minute of an onset strength curve, shape (frames,); None where nothing begins.

    librosa's definition: the mean over time of the normalised autocorrelations of eight-second windows, times a
    log-normal prior around 120 (one octave wide), its highest value below 320.
    """
    if onset_strength.size < 2 or float(onset_strength.max()) < _LEAST_STRENGTH_DB:
        return None
    width = int(_TEMPO_WINDOW_S * frames_per_s)
    mean = _mean_autocorrelation(onset_strength.astype(np.float32), width, frames_apart)
    lags = np.arange(1, width)
    bpm = 60.0 * frames_per_s / lags
    log_prior = -0.5 * np.square(np.log2(bpm / _USUAL_BPM))
    log_prior[bpm >= _FASTEST_BPM] = -np.inf
    return float(bpm[np.argmax(np.log1p(1e6 * mean[1:]) + log_prior)])


def _mean_autocorrelation(curve: Floats, width: int, frames_apart: int) -> NDArray[np.float64]:
    padded = np.pad(curve, width // 2, mode="linear_ramp", end_values=0.0)
    windows = np.lib.stride_tricks.sliding_window_view(padded, width)[: curve.size : frames_apart]
    bell = periodic_hann(width)
    n_fft = scipy.fft.next_fast_len(2 * width - 1, real=True)
    total = np.zeros(width)
    for first in range(0, windows.shape[0], _WINDOWS_AT_ONCE):
        spectrum = scipy.fft.rfft(windows[first : first + _WINDOWS_AT_ONCE] * bell, n_fft, axis=1)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        correlated = scipy.fft.irfft(power, n_fft, axis=1)[:, :width]
        highest = np.abs(correlated).max(axis=1, keepdims=True)
        total += (correlated / np.where(highest > 0.0, highest, 1.0)).sum(axis=0, dtype=np.float64)
    total /= windows.shape[0]
    return total


@dataclass(frozen=True)
class Key:
    """The key whose profile a side's chroma resembles most."""

    name: str
    """«Eb major», «A minor»."""
    likeness: float
    """Pearson's correlation with the profile, -1 to 1."""


def key_of(mean_chroma: NDArray[np.floating]) -> Key | None:
    """Krumhansl and Kessler's probe-tone profiles (1982) over mean chroma, shape (12,), C first; None without any."""
    heard = np.asarray(mean_chroma, dtype=np.float64) - float(np.mean(mean_chroma))
    length = float(np.linalg.norm(heard))
    if length < 1e-6:
        return None
    found = []
    for mode, profile in (("major", _MAJOR), ("minor", _MINOR)):
        centred = np.asarray(profile) - np.mean(profile)
        centred /= np.linalg.norm(centred)
        for tonic in range(PITCH_CLASSES):
            likeness = float(np.roll(centred, tonic) @ heard) / length
            found.append(Key(f"{_NAMES[tonic]} {mode}", likeness))
    return max(found, key=lambda key: key.likeness)
