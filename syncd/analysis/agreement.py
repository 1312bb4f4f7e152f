"""How well the two sides agree at one lag, moment by moment: what places a cut, and finds a stretch that is foreign.

A frame's agreement is the sum of the cosines of its phase differences over the band (a correlation of whitened frames
at one lag), divided by what chance gives: about a standard normal variable where nothing is shared.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.evidence import Beat, ChannelPair, quietly
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
FRAMES_AT_ONCE: Final = 1024


@dataclass(frozen=True)
class Agreement:
    """A value a frame; frame i is centred on ``first_s + i * step_s`` (stretched time)."""

    first_s: float
    step_s: float
    values: NDArray[np.float64]
    """About standard normal where nothing is shared; 0 in silence."""
    sounding: NDArray[np.bool_]

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
    count = max(0, int((end_s - start_s) * SR_HZ) // hop_samples)
    start = round(start_s * SR_HZ)
    total = np.zeros(count)
    channels = np.zeros(count)

    def fill(first: int) -> None:
        frames = min(FRAMES_AT_ONCE, count - first)
        for pair in pairs:
            values, sounding = _frames(pair, rate, lag_s, start + first * hop_samples, frames, hop_samples)
            total[first : first + frames] += values
            channels[first : first + frames] += sounding

    with ThreadPoolExecutor(THREADS) as threads:
        firsts = range(0, count, FRAMES_AT_ONCE)
        for done, _ in enumerate(in_order(threads, fill, firsts)):
            beat(done, len(firsts))
    return Agreement(start / SR_HZ, hop_samples / SR_HZ, total / np.sqrt(np.maximum(channels, 1.0)), channels > 0)


def _frames(
    pair: ChannelPair, rate: float, lag_s: float, start: int, frames: int, hop_samples: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
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
    power = [np.mean(np.square(cut), axis=1) for cut in both]
    sounding = ((power[0] > SILENT_POWER) & (power[1] > SILENT_POWER)) | (np.maximum(*power) > AUDIBLE_POWER)
    bins_hz = np.arange(FRAME_SAMPLES // 2 + 1) * (SR_HZ / FRAME_SAMPLES)
    used = (bins_hz >= LOW_HZ) & (bins_hz <= HIGH_HZ)
    spectra = [scipy.fft.rfft(cut, axis=1)[:, used] for cut in both]
    cross = spectra[0] * np.conj(spectra[1])
    cross *= np.exp(2j * np.pi * early_samples * bins_hz[used] / SR_HZ).astype(np.complex64)
    cosines = cross.real / np.maximum(np.abs(cross), 1e-20)
    values = cosines.sum(axis=1) / np.sqrt(used.sum() * _EQUIVALENT)
    return np.where(sounding, values, 0.0), sounding


_EQUIVALENT: Final = 0.5 * 1.9
"""A cosine of a random phase has variance 1/2; neighbouring bins of a Hann frame repeat each other."""
