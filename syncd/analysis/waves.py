"""The lag of a stretch by its waveforms: GCC-PHAT in a few windows of it, at any speed.

At a speed the dub's window is as much shorter or longer; its transform's bins are then those of the master's window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, trimmed_rms
from syncd.analysis.echoes import echo_ms
from syncd.analysis.evidence import ChannelPair
from syncd.analysis.phat import FAINT, HIGH_HZ, LOW_HZ, is_silent, taper
from syncd.analysis.stretch import SR_HZ

Floats = NDArray[np.float32]

LONGEST_WINDOW_SAMPLES: Final = 65_536
"""4.1 s."""
SHORTEST_WINDOW_SAMPLES: Final = 8_192
WINDOWS: Final = 4
REACH_SAMPLES: Final = 1_000
"""62 ms: how far from the flux's lag the waveforms are compared."""


@dataclass(frozen=True)
class WaveLag:
    """Where the waveforms of a stretch agree."""

    lag_s: float
    """Of ``t_master = rate * t_dub + lag``."""
    deviations: float
    """Of the windows' sum, of either polarity, over its floor."""
    blur_ms: float
    """How far away another peak lies that is nearly as high."""


def wave_lag(pair: ChannelPair, lag_s: float, span_s: tuple[float, float], rate: float) -> WaveLag | None:
    """Search near `lag_s` within `span_s` (``rate * t_dub``); None where there is no sound or no room."""
    first = max(round(span_s[0] * SR_HZ), -round(lag_s * SR_HZ), 0)
    last = min(round(span_s[1] * SR_HZ), pair.master.sound.samples - round(lag_s * SR_HZ))
    length = LONGEST_WINDOW_SAMPLES
    while length > SHORTEST_WINDOW_SAMPLES and last - first < WINDOWS * length:
        length //= 2
    if last - first < length:
        return None
    total = np.zeros(2 * REACH_SAMPLES + 1, dtype=np.float64)
    for start in np.linspace(first, last - length, WINDOWS).round().astype(int):
        near = _window(pair, int(start), round(lag_s * SR_HZ), length, rate)
        if near is not None:
            total += near
    floor = trimmed_rms(total.astype(np.float32))
    if floor <= 0.0:
        return None
    top = int(np.argmax(np.abs(total)))
    shift = 0.0
    if 0 < top < total.size - 1:
        shift = parabola_top(*(float(v) for v in np.abs(total[top - 1 : top + 2])))
    found_s = (round(lag_s * SR_HZ) + top - REACH_SAMPLES + shift) / SR_HZ
    upright = np.sign(total[top]) * total / floor
    return WaveLag(found_s, float(upright[top]), echo_ms(upright, top))


def _window(pair: ChannelPair, start: int, lag_samples: int, length: int, rate: float) -> Floats | None:
    """Correlation in deviations, lags from -REACH to +REACH samples; None in silence."""
    ours = pair.master.sound.read(start + lag_samples, length)
    begins = round(start / rate)
    theirs = pair.dub.sound.read(begins, round(length / rate))
    if is_silent(ours, theirs):
        return None
    bins = length // 2 + 1
    cross = np.zeros(bins, dtype=np.complex64)
    spectrum = scipy.fft.rfft(theirs * taper(theirs.size))
    cross[: spectrum.size] = np.conj(spectrum[:bins])
    cross *= scipy.fft.rfft(ours * taper(length))
    magnitude = np.abs(cross)
    magnitude += np.float32(max(FAINT * float(magnitude.mean()), 1e-30))
    hz = np.arange(bins) * (SR_HZ / length)
    cross *= ((hz >= LOW_HZ) & (hz <= HIGH_HZ)) / magnitude
    # The dub's window begins on a whole sample of its own, so this much later than asked for on the master's clock.
    late_samples = begins * rate - start
    if late_samples:
        cross *= np.exp(2j * np.pi * hz / SR_HZ * late_samples).astype(np.complex64)
    circular = scipy.fft.irfft(cross, length)
    near = np.concatenate((circular[-REACH_SAMPLES:], circular[: REACH_SAMPLES + 1]))
    floor = trimmed_rms(near)
    return (near / np.float32(floor)).astype(np.float32) if floor > 0.0 else None
