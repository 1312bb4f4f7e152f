"""Speech-like sound: a glottal pulse train through moving formants, with hiss, bursts and pauses. Nobody says anything.

Source and filter after G. Fant, «Acoustic Theory of Speech Production»; vowel targets after Peterson and Barney (1952).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.ndimage
import scipy.signal
from scipy.signal._sosfilt import _sosfilt

from tests.material.noise import band, coloured_noise, top_taps
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream

SPEECH_RMS_DB: Final = -20.0
"""RMS of a line while somebody speaks, against full scale."""

_PEAK_LIMIT: Final = 0.5
_FRAME: Final = 240
_FRAMES_PER_S: Final = RATE_HZ / _FRAME
_VOWELS_HZ: Final = (
    (270, 2290, 3010),
    (390, 1990, 2550),
    (530, 1840, 2480),
    (660, 1720, 2410),
    (730, 1090, 2440),
    (570, 840, 2410),
    (440, 1020, 2240),
    (300, 870, 2240),
    (640, 1190, 2390),
    (490, 1350, 1690),
    (280, 1750, 2300),
    (370, 1500, 2250),
)
_SONORANTS_HZ: Final = ((280, 1100, 2300), (300, 1600, 2600), (360, 1050, 2700), (320, 1250, 1650), (290, 2200, 2900))
_BANDWIDTHS_HZ: Final = (70.0, 100.0, 140.0, 220.0)


@dataclass(frozen=True, slots=True)
class Language:
    """A phoneme inventory and a rhythm."""

    vowels_hz: tuple[tuple[float, float, float], ...]
    sonorants_hz: tuple[tuple[float, float, float], ...]
    fricatives_hz: tuple[float, ...]
    plosives_hz: tuple[float, ...]
    syllables_per_s: float
    stress_contrast: float
    """0: every syllable alike; 1: long stressed ones, short others."""
    coda_share: float
    falling_st: float
    """How far the pitch falls over a phrase, in semitones."""


@dataclass(frozen=True, slots=True)
class Voice:
    """A speaker."""

    pitch_hz: float
    formant_scale: float
    jitter: float
    breath: float


def language(seed: int) -> Language:
    """The language of a seed."""
    rng = stream(seed, "language")
    vowels = rng.permutation(len(_VOWELS_HZ))[: int(rng.integers(5, 10))]
    sonorants = rng.permutation(len(_SONORANTS_HZ))[: int(rng.integers(2, 5))]
    return Language(
        vowels_hz=tuple(_accented(rng, _VOWELS_HZ[int(index)]) for index in vowels),
        sonorants_hz=tuple(_accented(rng, _SONORANTS_HZ[int(index)]) for index in sonorants),
        fricatives_hz=tuple(float(hz) for hz in rng.uniform(1800.0, 8500.0, int(rng.integers(2, 6)))),
        plosives_hz=tuple(float(hz) for hz in rng.uniform(700.0, 4500.0, int(rng.integers(3, 6)))),
        syllables_per_s=float(rng.uniform(4.2, 7.4)),
        stress_contrast=float(rng.uniform(0.05, 0.7)),
        coda_share=float(rng.uniform(0.1, 0.6)),
        falling_st=float(rng.uniform(2.0, 7.0)),
    )


def voice(rng: np.random.Generator) -> Voice:
    """Some speaker, low or high."""
    high = bool(rng.uniform() < 0.5)
    return Voice(
        pitch_hz=float(rng.uniform(165.0, 240.0) if high else rng.uniform(85.0, 140.0)),
        formant_scale=float(rng.uniform(1.05, 1.2) if high else rng.uniform(0.9, 1.03)),
        jitter=float(rng.uniform(0.006, 0.02)),
        breath=float(rng.uniform(0.01, 0.06)),
    )


def _accented(rng: np.random.Generator, formants_hz: tuple[int, int, int]) -> tuple[float, float, float]:
    first_hz, second_hz, third_hz = (float(hz * rng.uniform(0.94, 1.06)) for hz in formants_hz)
    return first_hz, second_hz, third_hz


@dataclass(slots=True)
class _Tracks:
    """What the articulators do, a value per frame of 5 ms."""

    voicing: np.ndarray
    stress: np.ndarray
    formants_hz: np.ndarray
    hisses: list[_Hiss]


@dataclass(frozen=True, slots=True)
class _Beat:
    """Where a syllable begins, about how long it is, and how heavy (1: plain)."""

    frame: int
    n_frames: float
    weight: float


@dataclass(frozen=True, slots=True)
class _Hiss:
    """Noise of a consonant, in frames."""

    frame: int
    n_frames: int
    centre_hz: float
    gain: float


def speak(tongue: Language, speaker: Voice, duration_s: float, rng: np.random.Generator) -> Samples:
    """A line of about ``duration_s``, ``(n,)``, at ``SPEECH_RMS_DB`` while it sounds, peaks held below −6 dBFS."""
    n_frames = max(40, round(duration_s * _FRAMES_PER_S))
    tracks = _articulate(tongue, n_frames, rng)
    source = _glottis(tongue, speaker, tracks, rng)
    sound = _vocal_tract(source, tracks.formants_hz * speaker.formant_scale)
    sound /= np.float32(np.sqrt(np.mean(np.square(sound))) + 1e-9)
    for hiss in tracks.hisses:
        _add_hiss(sound, hiss, rng)
    return _level(sound)


def _articulate(tongue: Language, n_frames: int, rng: np.random.Generator) -> _Tracks:
    voicing, stress = np.zeros(n_frames), np.ones(n_frames)
    formants_hz = np.tile(np.array(tongue.vowels_hz[0]), (n_frames, 1))
    tracks = _Tracks(voicing, stress, formants_hz, [])
    frame, syllable, target_frames = 2, 0, _FRAMES_PER_S / tongue.syllables_per_s
    pause_after = int(rng.integers(4, 12))
    while frame < n_frames - 8:
        weight = 1.0 + tongue.stress_contrast * float(rng.choice([0.8, -0.5, -0.3]))
        length = max(14.0, target_frames * weight * rng.uniform(0.8, 1.25))
        frame = _syllable(tongue, tracks, _Beat(frame, length, weight), rng)
        syllable += 1
        if syllable == pause_after:
            frame += round(rng.uniform(0.12, 0.4) * _FRAMES_PER_S)
            syllable, pause_after = 0, int(rng.integers(4, 12))
    tracks.voicing = scipy.ndimage.gaussian_filter1d(voicing, 1.6)
    tracks.formants_hz = scipy.ndimage.gaussian_filter1d(formants_hz, 4.0, axis=0)
    return tracks


def _syllable(tongue: Language, tracks: _Tracks, beat: _Beat, rng: np.random.Generator) -> int:
    """Onset, vowel, perhaps a coda; returns the frame after it."""
    frame = _consonant(tongue, tracks, beat.frame, rng)
    vowel = tongue.vowels_hz[int(rng.integers(len(tongue.vowels_hz)))]
    length = max(8, round(beat.n_frames - 9))
    tracks.voicing[frame : frame + length] = 0.75 * beat.weight * rng.uniform(0.8, 1.1)
    tracks.stress[frame : frame + length] = beat.weight
    tracks.formants_hz[frame : frame + length] = vowel
    frame += length
    return _consonant(tongue, tracks, frame, rng) if rng.uniform() < tongue.coda_share else frame


def _consonant(tongue: Language, tracks: _Tracks, frame: int, rng: np.random.Generator) -> int:
    kind = rng.choice(4, p=[0.35, 0.27, 0.28, 0.1])
    if kind == 0:
        closure = int(rng.integers(7, 14))
        burst_hz = tongue.plosives_hz[int(rng.integers(len(tongue.plosives_hz)))]
        tracks.hisses.append(_Hiss(frame + closure, int(rng.integers(2, 6)), burst_hz, float(rng.uniform(0.5, 1.3))))
        return frame + closure + 2
    if kind == 1:
        length = int(rng.integers(10, 24))
        centre_hz = tongue.fricatives_hz[int(rng.integers(len(tongue.fricatives_hz)))]
        tracks.hisses.append(_Hiss(frame, length, centre_hz, float(rng.uniform(0.15, 0.6))))
        return frame + length - 2
    if kind == 2:
        length = int(rng.integers(8, 16))
        tracks.formants_hz[frame : frame + length] = tongue.sonorants_hz[int(rng.integers(len(tongue.sonorants_hz)))]
        tracks.voicing[frame : frame + length] = 0.3
        return frame + length
    return frame


def _glottis(tongue: Language, speaker: Voice, tracks: _Tracks, rng: np.random.Generator) -> Samples:
    """Pulses with intonation, stress and jitter, and breath."""
    n_frames = tracks.voicing.size
    fall_st = tongue.falling_st * (0.5 - np.linspace(0.0, 1.0, n_frames))
    wander_st = scipy.ndimage.gaussian_filter1d(rng.normal(0.0, 1.0, n_frames), 30.0) * 9.0
    lift_st = scipy.ndimage.gaussian_filter1d(3.0 * (tracks.stress - 1.0), 8.0)
    wobble = rng.normal(0.0, speaker.jitter, n_frames)
    pitch_hz = speaker.pitch_hz * 2.0 ** ((fall_st + wander_st + lift_st) / 12.0) * (1.0 + wobble)
    cycle = np.cumsum(np.repeat(pitch_hz, _FRAME)) / RATE_HZ
    table = _pulse_table()
    pulse = table[((cycle % 1.0) * table.size).astype(np.int64)]
    position = (np.arange(n_frames * _FRAME) + 0.5) / _FRAME - 0.5
    voicing = np.interp(position, np.arange(n_frames), tracks.voicing)
    breath = coloured_noise(rng, pulse.size, band(400.0, 8000.0)) * speaker.breath
    # Four resonators fall off faster than a throat, which has many: the lift stands for the missing ones.
    return np.asarray(scipy.signal.lfilter([1.0, -0.8], [1.0], (pulse + breath) * voicing), np.float32)


def _pulse_table() -> Samples:
    """Derivative of a glottal pulse (Rosenberg's: opens over 40 % of the cycle, shuts over 16 %), ``(2048,)``."""
    t = np.arange(2048) / 2048.0
    opening, closing = 0.4, 0.16
    rising = 0.5 * (1.0 - np.cos(np.pi * t / opening))
    falling = np.cos(0.5 * np.pi * (t - opening) / closing)
    flow = np.where(t < opening, rising, np.where(t < opening + closing, falling, 0.0))
    slope = np.diff(flow, append=flow[:1])
    return np.asarray(slope / np.sqrt(np.mean(slope**2)), np.float32)


def _vocal_tract(source: Samples, formants_hz: np.ndarray) -> Samples:
    """Four resonators in a row whose places move every 5 ms."""
    fourth_hz = np.full((formants_hz.shape[0], 1), 3500.0) * (formants_hz[:, 2:3] / 2400.0) ** 0.3
    sections = _resonators(np.concatenate([formants_hz, fourth_hz], axis=1))
    state = np.zeros((1, 4, 2), np.float64)
    out = source.astype(np.float64)[np.newaxis]
    for frame, sos in enumerate(sections):
        # What scipy.signal.sosfilt does, without the checks that cost ten times as much for 240 samples.
        _sosfilt(sos, out[:, frame * _FRAME : (frame + 1) * _FRAME], state)
    return np.asarray(out[0], np.float32)


def _resonators(centres_hz: np.ndarray) -> np.ndarray:
    """Second-order sections ``(frames, 4, 6)`` of gain 1 at 0 Hz."""
    radius = np.exp(-np.pi * np.array(_BANDWIDTHS_HZ) / RATE_HZ)
    a1 = -2.0 * radius * np.cos(2.0 * np.pi * np.clip(centres_hz, 150.0, 8000.0) / RATE_HZ)
    a2 = np.broadcast_to(radius**2, a1.shape)
    zero, one = np.zeros_like(a1), np.ones_like(a1)
    return np.stack([1.0 + a1 + a2, zero, zero, one, a1, a2], axis=-1)


def _add_hiss(out: Samples, hiss: _Hiss, rng: np.random.Generator) -> None:
    first_sample = hiss.frame * _FRAME
    n = min(hiss.n_frames * _FRAME, out.size - first_sample)
    if n < 64:
        return
    edge = min(n // 2, max(24, n // 3))
    envelope = np.ones(n, np.float32)
    envelope[:edge] = np.linspace(0.0, 1.0, edge)
    envelope[-edge:] *= np.linspace(1.0, 0.0, edge, dtype=np.float32)
    noise = coloured_noise(rng, n, band(0.7 * hiss.centre_hz, min(14_000.0, 1.8 * hiss.centre_hz)))
    out[first_sample : first_sample + n] += noise * envelope * np.float32(hiss.gain)


def _level(sound: Samples) -> Samples:
    """Set the RMS of what sounds, and bend the peaks softly (languages share no line, so nothing shared is bent)."""
    power = np.square(sound).reshape(-1, _FRAME).mean(axis=1)
    sounding = power > 0.01 * power.max()
    sound = sound * np.float32(db_to_gain(SPEECH_RMS_DB) / np.sqrt(power[sounding].mean()))
    edge = 4 * _FRAME
    sound[:edge] *= np.linspace(0.0, 1.0, edge, dtype=np.float32)
    sound[-edge:] *= np.linspace(1.0, 0.0, edge, dtype=np.float32)
    bent = _PEAK_LIMIT * np.tanh(sound / _PEAK_LIMIT)
    return np.asarray(scipy.signal.oaconvolve(bent, top_taps()), np.float32)
