"""How well the two sides agree at one lag, moment by moment: what places a cut, and finds a stretch that is foreign.

A frame's agreement is the sum of the cosines of its phase differences over the band (a correlation of whitened frames
at one lag), divided by what chance gives: about a standard normal variable where nothing is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.evidence import NO_CENTRE, SIDE, Beat, ChannelPair, quietly
from syncd.analysis.features import periodic_hann
from syncd.analysis.stretch import SR_HZ, Stretched
from syncd.analysis.threads import THREADS, in_order

Floats = NDArray[np.float32]

FRAME_SAMPLES: Final = 1024
"""64 ms: a cut is placed within half of it."""
HOP_SAMPLES: Final = 160
LOW_HZ: Final = 80.0
HIGH_HZ: Final = 7_000.0
SILENT_POWER: Final = 1e-9
"""Mean square of a frame (-90 dB): there is nothing to compare in it."""
AUDIBLE_POWER: Final = 3e-6
"""Mean square of a frame (-55 dB) that is heard: silence on the other side is then disagreement."""
LOUD_QUANTILE: Final = 0.8
NOISE_FLOOR_SHARE: Final = 10.0**-3.5
"""Of a side's loud frames: what lies 35 dB below them is its noise, which no other side shares."""
WITHOUT_DIALOGUE: Final = frozenset({SIDE, NO_CENTRE})
FRAMES_TOLD: Final = 1024
FRAMES_AT_ONCE: Final = 256


@dataclass(frozen=True)
class Agreement:
    """A value a frame; frame i is centred on ``first_s + i * step_s`` (stretched time)."""

    first_s: float
    step_s: float
    values: NDArray[np.float64]
    """About standard normal where nothing is shared; 0 in silence."""
    sounding: NDArray[np.bool_]
    """Whether there is something to compare: more than either side's own noise floor."""
    bed_values: NDArray[np.float64]
    """The same of the channels that centred dialogue is not in."""
    bed_sounding: NDArray[np.bool_]
    bed_power: NDArray[np.float64]
    """Mean squares of those channels, (2, frames): master, dub."""
    alone: NDArray[np.bool_]
    """Whether one side is heard where the other has nothing at all."""

    def times_s(self) -> NDArray[np.float64]:
        """Centres of the frames."""
        return self.first_s + self.step_s * np.arange(self.values.size, dtype=np.float64)


def agreement(
    pairs: Sequence[ChannelPair],
    rate: float,
    lag_s: float,
    start_s: float,
    end_s: float,
    *,
    hop_samples: int = HOP_SAMPLES,
    beat: Beat = quietly,
) -> Agreement:
    """Of all channels together, from `start_s` to `end_s`. Two threads. `beat` counts a thousand frames at a time."""
    count = max(0, round((end_s - start_s) * SR_HZ) // hop_samples)
    start = round(start_s * SR_HZ)
    channels = [_Frames(np.zeros(count), np.zeros((2, count))) for _ in pairs]

    def fill(told: range) -> None:
        for first in told[::FRAMES_AT_ONCE]:
            frames = min(FRAMES_AT_ONCE, told.stop - first)
            for pair, channel in zip(pairs, channels, strict=True):
                values, power = _frames(pair, rate, lag_s, start + first * hop_samples, frames, hop_samples)
                channel.values[first : first + frames] = values
                channel.power[:, first : first + frames] = power

    with ThreadPoolExecutor(THREADS) as threads:
        parts = [range(first, min(first + FRAMES_TOLD, count)) for first in range(0, count, FRAMES_TOLD)]
        for done, _ in enumerate(in_order(threads, fill, parts)):
            beat(done, len(parts))
    beds = [channel for pair, channel in zip(pairs, channels, strict=True) if pair.name in WITHOUT_DIALOGUE]
    both = *_together(channels, count), *_together(beds, count)
    return Agreement(start / SR_HZ, hop_samples / SR_HZ, *both, _power(beds, count), _is_alone(_power(channels, count)))


@dataclass(frozen=True)
class _Frames:
    """One channel's."""

    values: NDArray[np.float64]
    power: NDArray[np.float64]
    """Mean squares, (2, frames): master, dub."""

    def sounding(self) -> NDArray[np.bool_]:
        """Above both sides' own noise floors; or heard on one side where the other has nothing."""
        sounding = _is_alone(self.power)
        floors = [max(SILENT_POWER, NOISE_FLOOR_SHARE * np.quantile(power, LOUD_QUANTILE)) for power in self.power]
        sounding |= (self.power[0] > floors[0]) & (self.power[1] > floors[1])
        return sounding


def _is_alone(power: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray((power.max(axis=0) > AUDIBLE_POWER) & (power.min(axis=0) <= SILENT_POWER))


def _power(channels: Sequence[_Frames], count: int) -> NDArray[np.float64]:
    return reduce(np.add, (channel.power for channel in channels)) if channels else np.zeros((2, count))


def _together(channels: Sequence[_Frames], count: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Values and whether anything sounds, of several channels."""
    if not channels or not count:
        return np.zeros(count), np.zeros(count, dtype=bool)
    heard = np.zeros(count, dtype=np.float32)
    for channel in channels:
        heard += channel.power.min(axis=0) > SILENT_POWER
    np.sqrt(np.maximum(heard, 1.0, out=heard), out=heard)
    values = reduce(np.add, (channel.values for channel in channels)) / heard
    return values, reduce(np.logical_or, (channel.sounding() for channel in channels))


def _frames(
    pair: ChannelPair, rate: float, lag_s: float, start: int, frames: int, hop_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Agreement, 0 in silence, and both sides' mean squares."""
    count = (frames - 1) * hop_samples + FRAME_SAMPLES
    first = start - FRAME_SAMPLES // 2
    theirs, late_samples = Stretched(pair.dub.sound, rate).read(first, count)
    exact = first + lag_s * SR_HZ
    ours = pair.master.sound.read(round(exact), count)
    # Master frames begin `early` samples before the place that answers the dub's: turned forward by as much.
    early_samples = exact + late_samples - round(exact)
    window = periodic_hann(FRAME_SAMPLES)
    both = [
        np.lib.stride_tricks.sliding_window_view(sound, FRAME_SAMPLES)[::hop_samples][:frames] * window
        for sound in (ours, theirs)
    ]
    power = np.stack([np.mean(np.square(cut), axis=1, dtype=np.float64) for cut in both])
    ours_spectra, theirs_spectra = (scipy.fft.rfft(cut, axis=1, overwrite_x=True)[:, _USED] for cut in both)
    cross = np.conj(theirs_spectra)
    cross *= ours_spectra
    if early_samples:
        cross *= np.exp(2j * np.pi * early_samples * _USED_HZ / SR_HZ).astype(np.complex64)
    cosines = cross.real / np.maximum(np.abs(cross), np.float32(1e-20))
    values = cosines.sum(axis=1, dtype=np.float64) / np.sqrt(_USED_HZ.size * _EQUIVALENT)
    return np.where(power.min(axis=0) > SILENT_POWER, values, 0.0), power


_USED: Final = slice(int(np.ceil(LOW_HZ * FRAME_SAMPLES / SR_HZ)), int(HIGH_HZ * FRAME_SAMPLES / SR_HZ) + 1)
_USED_HZ: Final = np.arange(FRAME_SAMPLES // 2 + 1)[_USED] * (SR_HZ / FRAME_SAMPLES)
_EQUIVALENT: Final = 0.5 * 1.9
"""A cosine of a random phase has variance 1/2; neighbouring bins of a Hann frame repeat each other."""
