"""What befalls a mix on its way: each a small value, and how it changes sound ``(channels, n)`` at 48 kHz.

None of it moves the sound in time, except `Equaliser(phase="minimum")` (a group delay below 1 ms where the curve is
steep) and `Reverb(direct=False)` (the room's first milliseconds stand for the direct sound).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal

from tests.material.noise import band, coloured_noise
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream

_EQUALISER_TAPS: Final = 4095
_FRAME: Final = 48


@dataclass(frozen=True, slots=True)
class Level:
    """Louder or softer."""

    gain_db: float


@dataclass(frozen=True, slots=True)
class Noise:
    """Hiss beneath the mix, different on every channel."""

    level_db: float
    """Against the mix."""
    pink: bool = False


@dataclass(frozen=True, slots=True)
class Polarity:
    """Turned upside down; ``channel`` None: all of them."""

    channel: int | None = None


@dataclass(frozen=True, slots=True)
class Swapped:
    """Left is right."""


@dataclass(frozen=True, slots=True)
class Compressor:
    """A feed-forward compressor on the whole mix, all channels alike."""

    threshold_db: float
    """Against the mix's RMS."""
    ratio: float
    attack_s: float = 0.005
    release_s: float = 0.12


@dataclass(frozen=True, slots=True)
class Bell:
    """A hill or a dip of a frequency curve, Gaussian over octaves; a width of 0 is a shelf above ``centre_hz``."""

    centre_hz: float
    gain_db: float
    octaves: float


@dataclass(frozen=True, slots=True)
class Equaliser:
    """A frequency curve; linear phase moves nothing, minimum phase is what hardware does."""

    bells: tuple[Bell, ...]
    phase: Literal["linear", "minimum"] = "linear"


@dataclass(frozen=True, slots=True)
class Reverb:
    """A room: the direct sound stays at time zero (``direct``), the tail differs from channel to channel."""

    t60_s: float
    direct_db: float
    """Energy of the direct sound against the tail's."""
    pre_delay_s: float = 0.01
    direct: bool = True


Dirt = Level | Noise | Polarity | Swapped | Compressor | Equaliser | Reverb


def treat(sound: Samples, dirt: Dirt, seed: int) -> Samples:
    """``(channels, n)`` in and out; ``seed`` chooses noises and rooms."""
    rng = stream(seed, type(dirt).__name__)
    match dirt:
        case Level():
            return np.asarray(sound * np.float32(db_to_gain(dirt.gain_db)), np.float32)
        case Noise():
            return _noisy(sound, dirt, rng)
        case Polarity():
            signs = np.full((sound.shape[0], 1), -1.0 if dirt.channel is None else 1.0, np.float32)
            if dirt.channel is not None:
                signs[dirt.channel] = -1.0
            return sound * signs
        case Swapped():
            return np.ascontiguousarray(sound[[1, 0, *range(2, sound.shape[0])]])
        case Compressor():
            return _compressed(sound, dirt)
        case Equaliser():
            return _filtered(sound, dirt)
        case Reverb():
            return _in_a_room(sound, dirt, rng)


def _noisy(sound: Samples, dirt: Noise, rng: np.random.Generator) -> Samples:
    colour = band(20.0, 20_000.0, -3.0 if dirt.pink else 0.0)
    gain = np.float32(_rms(sound) * db_to_gain(dirt.level_db))
    return np.stack([channel + gain * coloured_noise(rng, channel.size, colour) for channel in sound])


def _compressed(sound: Samples, dirt: Compressor) -> Samples:
    """Gain from the envelope of the loudest channel, a value a millisecond, straight in between."""
    n_frames = -(-sound.shape[1] // _FRAME)
    padded = np.zeros((sound.shape[0], n_frames * _FRAME), np.float32)
    padded[:, : sound.shape[1]] = sound
    power = np.square(padded).reshape(sound.shape[0], n_frames, _FRAME).mean(axis=2).max(axis=0)
    over_db = 10.0 * np.log10(power + 1e-12) - 20.0 * np.log10(_rms(sound) + 1e-9) - dirt.threshold_db
    wanted_db = np.maximum(over_db, 0.0) * (1.0 - 1.0 / dirt.ratio)
    reduction_db = _followed(wanted_db, dirt.attack_s, dirt.release_s)
    position = np.arange(sound.shape[1]) / _FRAME
    gain_db = np.interp(position, np.arange(n_frames) + 0.5, -reduction_db)
    return np.asarray(sound * (10.0 ** (gain_db / 20.0)).astype(np.float32), np.float32)


def _followed(wanted_db: np.ndarray, attack_s: float, release_s: float) -> np.ndarray:
    """Up by the attack's time constant, down by the release's; a value a millisecond."""
    up, down = 1.0 - np.exp(-0.001 / attack_s), 1.0 - np.exp(-0.001 / release_s)
    level, followed = 0.0, np.empty(wanted_db.size)
    for frame, wanted in enumerate(wanted_db.tolist()):
        level += (up if wanted > level else down) * (wanted - level)
        followed[frame] = level
    return followed


def _filtered(sound: Samples, dirt: Equaliser) -> Samples:
    taps, delay = _equaliser_taps(dirt)
    dense = scipy.signal.oaconvolve(sound, taps[np.newaxis], axes=-1)
    return np.asarray(dense[:, delay : delay + sound.shape[1]], np.float32)


@functools.lru_cache(maxsize=8)
def _equaliser_taps(dirt: Equaliser) -> tuple[Samples, int]:
    """The impulse response and where in it time zero lies."""
    size = 1 << 14
    frequency_hz = np.maximum(np.arange(size // 2 + 1) * (RATE_HZ / size), 1.0)
    gain_db = np.zeros(frequency_hz.size)
    for bell in dirt.bells:
        octaves = np.log2(frequency_hz / bell.centre_hz)
        if bell.octaves:
            gain_db += bell.gain_db * np.exp(-0.5 * np.square(octaves / bell.octaves))
        else:
            gain_db += bell.gain_db / (1.0 + np.exp(-3.0 * octaves))
    half = _EQUALISER_TAPS // 2
    if dirt.phase == "linear":
        response = np.roll(scipy.fft.irfft(10.0 ** (gain_db / 20.0), size), half)[:_EQUALISER_TAPS]
        return (response * np.hanning(_EQUALISER_TAPS)).astype(np.float32), half
    # The cepstrum of a minimum-phase response is causal: fold the even one (Oppenheim and Schafer).
    cepstrum = scipy.fft.irfft(gain_db * (np.log(10.0) / 20.0), size)
    cepstrum[1 : size // 2] *= 2.0
    cepstrum[size // 2 + 1 :] = 0.0
    response = scipy.fft.irfft(np.exp(scipy.fft.rfft(cepstrum)), size)[:_EQUALISER_TAPS]
    return response.astype(np.float32), 0


def _in_a_room(sound: Samples, dirt: Reverb, rng: np.random.Generator) -> Samples:
    n = round(1.2 * dirt.t60_s * RATE_HZ)
    gap = round(dirt.pre_delay_s * RATE_HZ) if dirt.direct else 0
    decay = np.exp(np.arange(n, dtype=np.float32) * np.float32(-6.91 / (dirt.t60_s * RATE_HZ)))
    wet = np.empty_like(sound)
    for index, channel in enumerate(sound):
        tail = coloured_noise(rng, n, band(100.0, 6000.0, -2.0)) * decay
        tail *= np.float32(db_to_gain(-dirt.direct_db)) / np.sqrt(np.sum(np.square(tail)))
        response = np.concatenate([np.zeros(gap, np.float32), tail])
        if dirt.direct:
            response[0] += 1.0
        wet[index] = scipy.signal.oaconvolve(channel, response)[: channel.size]
    return wet


def _rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound, dtype=np.float64))))
