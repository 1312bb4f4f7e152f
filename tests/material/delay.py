"""Delays by any part of a sample, and other sample rates, exact and the same for every block size.

Two zero-phase filters do all of it. Their inputs hold nothing above 20 kHz, and up to there both are flat and linear in
phase to better than −90 dB (shown in tests/unit/test_material.py).
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import numpy as np
import scipy.fft
import scipy.signal

from tests.material.seeds import RATE_HZ, Samples

Render = Callable[[int, int], Samples]
"""``(first_sample, n_samples)`` at 48 kHz -> ``(2, n_samples)``; any whole ``first_sample``, also below zero."""

_HALF_TAPS: Final = 64
_TILE: Final = 1 << 17
_KAISER_BETA: Final = 10.06  # 100 dB


def fractional_delay_taps(fraction: float) -> Samples:
    """A windowed sinc of 2·64 + 1 taps that moves a signal **later** by ``fraction`` (−0.5…0.5) of a sample."""
    position = np.arange(-_HALF_TAPS, _HALF_TAPS + 1) - fraction
    window = np.i0(_KAISER_BETA * np.sqrt(np.clip(1.0 - (position / (_HALF_TAPS + 1)) ** 2, 0.0, 1.0)))
    taps = np.sinc(position) * window / np.i0(_KAISER_BETA)
    return np.asarray(taps / taps.sum(), np.float64)


class Shifted:
    """``source`` heard through a window that starts ``shift_s`` into it: sample k is the source at k/48000 + shift_s.

    Whole samples are only counted off; the rest is filtered on a fixed grid of tiles, so that the block size that
    somebody asks for changes nothing.
    """

    def __init__(self, source: Render, shift_s: float) -> None:
        self._source = source
        shift_samples = shift_s * RATE_HZ
        self._whole = round(shift_samples)
        fraction = shift_samples - self._whole
        # Below a millionth of a sample it is rounding in the caller's arithmetic: 20 picoseconds.
        self._is_whole = abs(fraction) < 1e-6
        self._taps = fractional_delay_taps(-fraction)
        self._tiles: OrderedDict[int, Samples] = OrderedDict()

    def __call__(self, first_sample: int, n_samples: int) -> Samples:
        """``(2, n_samples)`` float32."""
        if self._is_whole:
            return self._source(first_sample + self._whole, n_samples)
        out = np.empty((2, n_samples), np.float32)
        done = 0
        while done < n_samples:
            index, inside = divmod(first_sample + done, _TILE)
            take = min(_TILE - inside, n_samples - done)
            out[:, done : done + take] = self._tile(index)[:, inside : inside + take]
            done += take
        return out

    def _tile(self, index: int) -> Samples:
        tile = self._tiles.get(index)
        if tile is None:
            raw = self._source(index * _TILE + self._whole - _HALF_TAPS, _TILE + 2 * _HALF_TAPS)
            size = scipy.fft.next_fast_len(_TILE + 4 * _HALF_TAPS, real=True)
            spectrum = scipy.fft.rfft(raw.astype(np.float64), size) * scipy.fft.rfft(self._taps, size)
            tile = scipy.fft.irfft(spectrum, size)[:, 2 * _HALF_TAPS : 2 * _HALF_TAPS + _TILE].astype(np.float32)
            self._tiles[index] = tile
            if len(self._tiles) > 2:
                self._tiles.popitem(last=False)
        return tile


class Resampled:
    """``source`` (48 kHz) at another rate: sample k is the source at k/sample_rate_hz; first and count in that rate."""

    def __init__(self, source: Render, sample_rate_hz: int) -> None:
        self._source = source
        common = math.gcd(sample_rate_hz, RATE_HZ)
        self._up, self._down = sample_rate_hz // common, RATE_HZ // common

    def __call__(self, first_sample: int, n_samples: int) -> Samples:
        """``(2, n_samples)`` float32."""
        up, down = self._up, self._down
        if up == down:
            return self._source(first_sample, n_samples)
        taps, half_input = _resampling_taps(up, down)
        # The block starts where both grids meet, at least a filter's length early.
        early = -(-half_input // down)
        cycle = first_sample // up - early
        skip = first_sample - cycle * up
        n_input = -(-(skip + n_samples) * down // up) + half_input + 1
        raw = self._source(cycle * down, n_input)
        dense = scipy.signal.upfirdn(taps, raw, up, down, axis=-1)
        # The filter's own delay is a whole number of output samples by construction.
        first = skip + half_input * up // down
        return np.asarray(dense[:, first : first + n_samples], np.float32)


@functools.lru_cache(maxsize=8)
def _resampling_taps(up: int, down: int) -> tuple[Samples, int]:
    """The low-pass at the dense rate and its half length in input samples (a multiple of ``down``)."""
    ratio = max(1.0, down / up)
    half_input = down * math.ceil(_HALF_TAPS * ratio / down)
    half = half_input * up
    cutoff = min(1.0, up / down) * 0.955 / up
    taps = scipy.signal.firwin(2 * half + 1, cutoff, window=("kaiser", _KAISER_BETA)) * up
    return taps.astype(np.float32), half_input
