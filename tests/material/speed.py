"""Sound played faster, slower or unsteadily: read at any moments between its samples.

Four times as dense by an FFT, then Lagrange's six-point formula: below -90 dB up to 16 kHz and -65 dB at 20 kHz, and
symmetric about every point, so that it moves nothing in time (tests/unit/test_corpus.py holds it against sines).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.fft
import scipy.signal

from tests.material.delay import fractional_delay_taps
from tests.material.recipes import Speed
from tests.material.seeds import RATE_HZ, Samples

_DENSER: Final = 4
_BLOCK: Final = 1 << 18
_MARGIN: Final = 2048


def played(sound: Samples, speed: Speed, n_samples: int) -> Samples:
    """Sample k of ``(channels, n_samples)`` is ``sound`` at ``rate * k / 48000 + phase_s`` and its wobble."""
    if speed.rate == 1.0 and not speed.wobble_share:
        return _shifted(sound, speed.phase_s * RATE_HZ, n_samples)
    out = np.empty((sound.shape[0], n_samples), np.float32)
    block = round(_BLOCK / speed.rate)
    for first in range(0, n_samples, block):
        end = min(n_samples, first + block)
        moments = _moments(speed, np.arange(first, end))
        out[:, first:end] = read_at(sound, moments)
    return out


def _shifted(sound: Samples, shift: float, n_samples: int) -> Samples:
    """Sample k is the sound at ``k + shift``."""
    whole = round(shift)
    taps = fractional_delay_taps(whole - shift)[np.newaxis].astype(np.float32)
    dense = scipy.signal.oaconvolve(sound, taps, axes=-1)
    out = np.zeros((sound.shape[0], n_samples), np.float32)
    first = whole + taps.shape[1] // 2
    begin, end = max(0, -first), min(n_samples, dense.shape[1] - first)
    out[:, begin:end] = dense[:, first + begin : first + end]
    return out


def _moments(speed: Speed, k: np.ndarray) -> np.ndarray:
    """Positions in samples."""
    position = speed.rate * k + speed.phase_s * RATE_HZ
    if speed.wobble_share:
        position += speed.wobble_s * RATE_HZ * np.sin(2.0 * np.pi * speed.wobble_hz * k / RATE_HZ)
    return np.asarray(position)


def read_at(sound: Samples, position: np.ndarray) -> Samples:
    """``sound`` ``(channels, n)`` at rising positions in samples, ``(channels, len(position))``; silence outside."""
    first = int(np.floor(position[0])) - _MARGIN
    end = int(np.ceil(position[-1])) + _MARGIN
    size = scipy.fft.next_fast_len(end - first, real=True)
    raw = np.zeros((sound.shape[0], size), np.float32)
    inside = slice(max(0, first), max(0, min(sound.shape[1], first + size)))
    if inside.stop > inside.start:
        raw[:, inside.start - first : inside.stop - first] = sound[:, inside]
    edge = np.sin(0.5 * np.pi * (np.arange(_MARGIN // 2, dtype=np.float32) + 0.5) / (_MARGIN // 2)) ** 2
    raw[:, : edge.size] *= edge
    raw[:, -edge.size :] *= edge[::-1]
    dense = scipy.fft.irfft(scipy.fft.rfft(raw, axis=-1), _DENSER * size, axis=-1) * np.float32(_DENSER)
    scaled = (position - first) * _DENSER
    whole = np.floor(scaled).astype(np.int64)
    weights = _lagrange((scaled - whole).astype(np.float32))
    out = np.zeros((sound.shape[0], position.size), np.float32)
    for step, weight in enumerate(weights):
        out += dense[:, whole + (step - 2)] * weight
    return out


def _lagrange(fraction: Samples) -> list[Samples]:
    """Weights of the six samples from two before to three after."""
    nodes = (-2, -1, 0, 1, 2, 3)
    weights = []
    for node in nodes:
        others = [other for other in nodes if other != node]
        weight = np.full(fraction.shape, 1.0 / np.prod([float(node - other) for other in others]), np.float32)
        for other in others:
            weight *= fraction - np.float32(other)
        weights.append(weight)
    return weights
