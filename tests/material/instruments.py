"""Tones and drums: single events, added in place into a stereo buffer."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np

from tests.material.noise import TOP_HZ
from tests.material.seeds import RATE_HZ, Samples, stream

_TABLE: Final = 1 << 14


@dataclass(frozen=True, slots=True)
class Timbre:
    """How an instrument sounds: the slope of its partials, its envelope, its unsteadiness."""

    seed: int
    slope: float
    attack_s: float
    decay_s: float
    """Time constant; long ones sustain."""
    vibrato_cents: float
    detune_cents: float
    width: float


@dataclass(frozen=True, slots=True)
class Note:
    """When (samples into the buffer), how high, how long, how loud, and where between left (−1) and right (1)."""

    first_sample: int
    frequency_hz: float
    n_samples: int
    gain: float
    pan: float


PAD: Final = (1.35, 0.35, 6.0, 9.0, 9.0)
PLUCK: Final = (1.1, 0.004, 0.45, 0.0, 5.0)
STRING: Final = (1.15, 0.09, 4.0, 28.0, 7.0)
BELL: Final = (1.6, 0.002, 1.2, 0.0, 3.0)
BASS: Final = (1.7, 0.015, 1.1, 4.0, 3.0)


def timbre(seed: int, shape: tuple[float, float, float, float, float], rng: np.random.Generator) -> Timbre:
    """An individual of a family of instruments."""
    slope, attack_s, decay_s, vibrato_cents, detune_cents = shape
    return Timbre(
        seed=seed,
        slope=slope * float(rng.uniform(0.85, 1.15)),
        attack_s=attack_s * float(rng.uniform(0.7, 1.4)),
        decay_s=decay_s * float(rng.uniform(0.7, 1.4)),
        vibrato_cents=vibrato_cents * float(rng.uniform(0.6, 1.3)),
        detune_cents=detune_cents * float(rng.uniform(0.6, 1.5)),
        width=float(rng.uniform(0.3, 0.9)),
    )


def add_note(out: Samples, note: Note, sound: Timbre, rng: np.random.Generator) -> None:
    """Add a note to ``out`` ``(2, n)``; what does not fit is left off. No two notes are alike."""
    n = min(note.n_samples, out.shape[1] - note.first_sample)
    if n < 64 or note.first_sample < 0:
        return
    warm, bright = _tables(sound.seed, round(sound.slope, 3), _top_partial(note.frequency_hz))
    t_s = np.arange(n, dtype=np.float32) * np.float32(1.0 / RATE_HZ)
    cycles = t_s * np.float64(note.frequency_hz)
    if sound.vibrato_cents > 1.0:
        rate_hz = rng.uniform(4.3, 6.4)
        depth = note.frequency_hz * (2.0 ** (sound.vibrato_cents / 1200.0) - 1.0) / (2.0 * np.pi * rate_hz)
        swell = np.minimum(t_s * np.float32(2.5), np.float32(1.0))
        cycles += swell * np.sin(t_s * np.float32(2.0 * np.pi * rate_hz) + np.float32(rng.uniform(0, 6.28))) * depth
    envelope = np.exp(t_s * np.float32(-1.0 / sound.decay_s)) * np.float32(note.gain)
    brightness = np.exp(t_s * np.float32(-2.5 / sound.decay_s))
    _fade(envelope, sound.attack_s, min(0.12, 0.3 * n / RATE_HZ))
    for channel, side in enumerate((-1.0, 1.0)):
        cents = rng.normal() * 0.5 * sound.detune_cents + side * 0.5 * sound.detune_cents
        scaled = cycles * (_TABLE * 2.0 ** (cents / 1200.0)) + rng.uniform(0, _TABLE)
        position = scaled.astype(np.int64) & (_TABLE - 1)
        wave = warm[position] + brightness * bright[position]
        wave *= envelope
        wave *= np.float32(np.sqrt(0.5 * (1.0 + side * note.pan * sound.width)))
        out[channel, note.first_sample : note.first_sample + n] += wave


def _top_partial(frequency_hz: float) -> int:
    """How many partials fit below the top, in coarse steps so that tables are shared."""
    fitting = max(1.0, 0.8 * TOP_HZ / frequency_hz)
    return int(2 ** (np.floor(np.log2(fitting) * 2.0) / 2.0))


@functools.lru_cache(maxsize=64)
def _tables(seed: int, slope: float, top_partial: int) -> tuple[Samples, Samples]:
    """One cycle of the steady sound, and of what is added at the attack."""
    rng = stream(seed, "timbre")
    partial = np.arange(1, top_partial + 1)
    strength = rng.uniform(0.25, 1.0, 64)[np.minimum(partial - 1, 63)]
    phase = rng.uniform(0, 2 * np.pi, 64)[(partial - 1) % 64]
    return _cycle(strength * partial**-slope, phase), _cycle(0.5 * strength * partial ** -(0.6 * slope), phase)


def _cycle(amplitude: np.ndarray, phase: np.ndarray) -> Samples:
    spectrum = np.zeros(_TABLE // 2 + 1, np.complex128)
    spectrum[1 : amplitude.size + 1] = amplitude * np.exp(1j * phase) * (_TABLE / 2)
    return np.fft.irfft(spectrum, _TABLE).astype(np.float32)


def _fade(envelope: Samples, attack_s: float, release_s: float) -> None:
    attack = min(envelope.size // 2, max(16, round(attack_s * RATE_HZ)))
    release = min(envelope.size // 2, max(16, round(release_s * RATE_HZ)))
    envelope[:attack] *= np.linspace(0.0, 1.0, attack, dtype=np.float32)
    envelope[-release:] *= np.linspace(1.0, 0.0, release, dtype=np.float32)


def add_kick(out: Samples, first_sample: int, gain: float, rng: np.random.Generator) -> None:
    """A falling sine, the same on both sides."""
    n = min(round(0.28 * RATE_HZ), out.shape[1] - first_sample)
    if n < 64 or first_sample < 0:
        return
    t_s = np.arange(n, dtype=np.float32) / np.float32(RATE_HZ)
    sweep_hz, floor_hz = rng.uniform(90, 160), rng.uniform(42, 60)
    phase = 2 * np.pi * (floor_hz * t_s + sweep_hz * 0.03 * (1.0 - np.exp(t_s / np.float32(-0.03))))
    hit = np.sin(phase) * np.exp(t_s / np.float32(-rng.uniform(0.06, 0.11))) * np.float32(gain)
    _fade(hit, 0.001, 0.02)
    out[:, first_sample : first_sample + n] += hit.astype(np.float32)


def add_decay(envelope: Samples, first_sample: int, gain: float, decay_s: float) -> None:
    """Add an exponential decay (5 time constants) to a gain curve ``(n,)``: what a stroke does to a noise."""
    n = min(round(5 * decay_s * RATE_HZ), envelope.size - first_sample)
    if n < 32 or first_sample < 0:
        return
    decay = np.exp(np.arange(n, dtype=np.float32) * np.float32(-1.0 / (decay_s * RATE_HZ))) * np.float32(gain)
    _fade(decay, 0.0008, 0.3 * decay_s)
    envelope[first_sample : first_sample + n] += decay
