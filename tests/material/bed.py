"""Music and effects: what master and dub share. One scene at a time, from the seed and the scene's number alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.signal

from tests.material import instruments
from tests.material.instruments import Note, Timbre, add_decay, add_kick, add_note, timbre
from tests.material.noise import Colour, band, coloured_noise, random_curve, top_taps
from tests.material.scenes import Scene
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream

BED_RMS_DB: Final = -26.0
"""RMS of the bed over minutes, against full scale; seeds differ by 1 dB."""

_SCENE_RMS_DB: Final = -20.0
"""RMS of a scene whose level is 0 dB, before it comes and goes."""


_PEAK_LIMIT: Final = 0.6
_SCALES: Final = {False: (0, 2, 4, 5, 7, 9, 11), True: (0, 2, 3, 5, 7, 8, 10)}


@dataclass(frozen=True, slots=True)
class Remix:
    """Another mix of the same layers: gains in dB drawn for each scene, places between the sides, another room."""

    seed: int
    spread_db: float = 8.0
    """Each layer is up to this much louder or softer than in the first mix."""


def render_scene(seed: int, plan: Scene, remix: Remix | None = None) -> Samples:
    """The whole scene with its tail: ``(2, plan.rendered_samples)``."""
    mood = plan.mood
    desk = _Desk(remix, plan)
    dry = np.zeros((2, plan.rendered_samples), np.float32)
    if mood.music_db is not None:
        _add_scaled(dry, desk.placed(_music(seed, plan)), mood.music_db + desk.gain_db())
    if mood.percussion_db is not None:
        _add_scaled(dry, desk.placed(_percussion(seed, plan)), mood.percussion_db + desk.gain_db())
    foley = np.zeros_like(dry)
    _add_foley(foley, seed, plan)
    dry += desk.placed(foley) * np.float32(db_to_gain(desk.gain_db()))
    wet = _reverberate(dry, desk.room(seed), plan.reverb_s * desk.room_scale())
    _add_scaled(wet, desk.placed(_ambience(seed, plan)), mood.ambience_db + desk.gain_db())
    return _finish(wet, seed, plan)


class _Desk:
    """Where a scene's layers meet; without a remix it leaves them as they are."""

    def __init__(self, remix: Remix | None, plan: Scene) -> None:
        self._remix = remix
        self._index = plan.index
        self._rng = stream(remix.seed, "remix", plan.index) if remix is not None else None

    def gain_db(self) -> float:
        """Of the layer that is next."""
        if self._rng is None or self._remix is None:
            return 0.0
        return float(self._rng.uniform(-self._remix.spread_db, self._remix.spread_db))

    def placed(self, layer: Samples) -> Samples:
        """Narrower or turned about, and more to one side."""
        if self._rng is None:
            return layer
        width, turned = float(self._rng.uniform(0.2, 1.0)), bool(self._rng.uniform() < 0.3)
        pan = float(self._rng.uniform(-0.5, 0.5))
        middle, side = 0.5 * (layer[0] + layer[1]), 0.5 * (layer[0] - layer[1])
        side *= np.float32(-width if turned else width)
        return np.stack([(middle + side) * np.float32(1.0 - pan), (middle - side) * np.float32(1.0 + pan)])

    def room(self, seed: int) -> np.random.Generator:
        """What chooses the reverberation."""
        return stream(seed if self._remix is None else self._remix.seed, "reverb", self._index)

    def room_scale(self) -> float:
        return 1.0 if self._rng is None else float(self._rng.uniform(0.6, 1.6))


def _add_scaled(out: Samples, layer: Samples, level_db: float) -> None:
    """Add a layer at an RMS level in dB (against 1)."""
    rms = _rms(layer) + 1e-9
    out += layer * np.float32(db_to_gain(level_db) / rms)


# ---------------------------------------------------------------- music


@dataclass(frozen=True, slots=True)
class _Tone:
    """A written note: beats into the bar, pitch, beats long, amplitude."""

    beat: float
    frequency_hz: float
    beats: float
    gain: float


@dataclass(frozen=True, slots=True)
class _Bar:
    first_sample: int
    beat_samples: float
    degrees: tuple[int, ...]


def _bars(seed: int, plan: Scene) -> list[_Bar]:
    """Chords that wander and beats that breathe, so that no bar is another's copy; music and drums share them."""
    rng = stream(seed, "bars", plan.index)
    beat = 60.0 / plan.tempo_bpm * RATE_HZ
    position = float(rng.uniform(0.0, 1.0)) * beat
    degree = 0
    bars: list[_Bar] = []
    while position < plan.n_samples:
        beat *= float(np.exp(rng.normal(0.0, 0.012)))
        bars.append(_Bar(round(position), beat, (degree, degree + 2, degree + 4, degree + int(rng.choice([6, 7, 9])))))
        degree = int((degree + rng.choice([1, 2, 3, 4, 5])) % 7)
        position += beat * int(rng.choice([2, 3, 4, 4, 4]))
    return bars


def _frequency_hz(plan: Scene, degree: int, octave: int) -> float:
    scale = _SCALES[plan.minor]
    midi = plan.root_midi + 12 * (octave + degree // 7) + scale[degree % 7]
    return float(440.0 * 2.0 ** ((midi - 69) / 12.0))


def _music(seed: int, plan: Scene) -> Samples:
    rng = stream(seed, "music", plan.index)
    out = np.zeros((2, plan.rendered_samples), np.float32)
    family = [timbre(int(rng.integers(1 << 30)), shape, rng) for shape in _ensemble(rng)]
    bass = timbre(int(rng.integers(1 << 30)), instruments.BASS, rng)
    for bar in _bars(seed, plan):
        for degree in bar.degrees:
            _strike(out, bar, _Tone(0.0, _frequency_hz(plan, degree, 0), 4.0, 0.3), family[0], rng)
        _strike(out, bar, _Tone(0.0, _frequency_hz(plan, bar.degrees[0], -2), 2.5, 0.9), bass, rng)
        if rng.uniform() < 0.6:
            _strike(out, bar, _Tone(2.5, _frequency_hz(plan, bar.degrees[2], -2), 1.2, 0.7), bass, rng)
        for sound in family[1:]:
            _phrase(out, plan, bar, sound, rng)
    return out


def _ensemble(rng: np.random.Generator) -> list[tuple[float, float, float, float, float]]:
    leads = [instruments.PLUCK, instruments.STRING, instruments.BELL]
    chosen = rng.permutation(len(leads))[: int(rng.integers(1, 3))]
    return [instruments.PAD, *(leads[int(index)] for index in chosen)]


def _phrase(out: Samples, plan: Scene, bar: _Bar, sound: Timbre, rng: np.random.Generator) -> None:
    """A few notes of a line over the bar's chord, at irregular places of it."""
    beat = 0.0
    while beat < 3.9:
        if rng.uniform() < 0.7:
            degree = int(rng.choice(bar.degrees)) + int(rng.choice([0, 0, 0, 1, -1]))
            octave = int(rng.choice([1, 1, 2]))
            frequency_hz = _frequency_hz(plan, degree, octave)
            tone = _Tone(beat, frequency_hz, float(rng.uniform(0.4, 1.8)), float(rng.uniform(0.2, 0.6)))
            _strike(out, bar, tone, sound, rng)
        beat += float(rng.choice([0.5, 0.5, 1.0, 1.0, 1.5, 0.25]))


def _strike(out: Samples, bar: _Bar, tone: _Tone, sound: Timbre, rng: np.random.Generator) -> None:
    """Play a tone, a little early or late and a little louder or softer than written."""
    late_s = float(rng.normal(0.0, 0.012))
    sounding = min(tone.beats * bar.beat_samples, 5.0 * sound.decay_s * RATE_HZ, 4.0 * RATE_HZ)
    note = Note(
        first_sample=bar.first_sample + round(tone.beat * bar.beat_samples + late_s * RATE_HZ),
        frequency_hz=tone.frequency_hz,
        n_samples=round(sounding),
        gain=tone.gain * float(rng.uniform(0.6, 1.2)),
        pan=float(rng.uniform(-1.0, 1.0)),
    )
    add_note(out, note, sound, rng)


# ---------------------------------------------------------------- percussion, foley, ambience


def _percussion(seed: int, plan: Scene) -> Samples:
    """Kick, snare and hats over one stream of noise each, so that no two strokes are the same sound."""
    rng = stream(seed, "percussion", plan.index)
    n = plan.rendered_samples
    out = np.zeros((2, n), np.float32)
    snare, hat = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for bar in _bars(seed, plan):
        for eighth in range(8):
            at = bar.first_sample + round((eighth * 0.5 + rng.normal(0.0, 0.02)) * bar.beat_samples)
            strength = float(rng.uniform(0.5, 1.0))
            if rng.uniform() < (0.85 if eighth in {0, 4} else 0.16):
                add_kick(out, at, 0.9 * strength, rng)
            if rng.uniform() < (0.85 if eighth in {2, 6} else 0.08):
                add_decay(snare, at, 0.8 * strength, float(rng.uniform(0.03, 0.09)))
            if rng.uniform() < 0.75:
                add_decay(hat, at, 0.35 * strength, float(rng.choice([0.015, 0.025, 0.09])))
    out += snare * _stereo_noise(rng, n, band(180.0, 7000.0, -2.0), width=0.4)
    out += hat * _stereo_noise(rng, n, band(6000.0, 17000.0), width=0.7)
    return out


def _add_foley(out: Samples, seed: int, plan: Scene) -> None:
    """Steps, doors, cloth, glass: short coloured strokes at times that follow no grid."""
    rng = stream(seed, "foley", plan.index)
    count = int(rng.poisson(plan.mood.foley_per_s * plan.n_samples / RATE_HZ))
    for first_sample in rng.integers(0, plan.n_samples, count):
        decay_s = float(np.exp(rng.uniform(np.log(0.008), np.log(0.2))))
        n = round(6 * decay_s * RATE_HZ)
        low_hz = float(np.exp(rng.uniform(np.log(80.0), np.log(4000.0))))
        envelope = np.zeros(n, np.float32)
        for stroke in range(int(rng.integers(1, 4))):
            add_decay(
                envelope, round(stroke * rng.uniform(0.3, 2.0) * decay_s * RATE_HZ), rng.uniform(0.3, 1.0), decay_s
            )
        colour = band(low_hz, min(16_000.0, low_hz * float(rng.uniform(2.0, 30.0))), float(rng.uniform(-6.0, 0.0)))
        sound = envelope * _stereo_noise(rng, n, colour, width=float(rng.uniform(0.1, 0.8)))
        room = min(n, out.shape[1] - int(first_sample))
        out[:, first_sample : first_sample + room] += sound[:, :room] * np.float32(rng.uniform(0.5, 3.0))


def _ambience(seed: int, plan: Scene) -> Samples:
    """Wind, a room's air, or a murmuring crowd, wide and moving, over the whole scene and its tail."""
    rng = stream(seed, "ambience", plan.index)
    n = plan.rendered_samples
    air = _stereo_noise(rng, n, band(120.0, 15_000.0, float(rng.uniform(-6.0, -3.0))), width=0.8)
    for channel in range(2):
        air[channel] *= random_curve(rng, n, float(rng.uniform(0.3, 1.5)), 0.35, 1.0)
    if plan.mood.name in {"crowd", "street"}:
        murmur = _stereo_noise(rng, n, band(250.0, 3400.0, -4.0), width=0.9)
        for channel in range(2):
            murmur[channel] *= random_curve(rng, n, float(rng.uniform(4.0, 7.0)), 0.0, 1.0) ** 2
        air += 1.5 * murmur
    return air


def _stereo_noise(rng: np.random.Generator, n_samples: int, colour: Colour, *, width: float) -> Samples:
    """``(2, n_samples)`` of RMS 1; ``width`` 0 is mono, 1 is two independent sides."""
    middle, side = coloured_noise(rng, n_samples, colour), coloured_noise(rng, n_samples, colour)
    near, far = np.float32(np.sqrt(1.0 - width / 2)), np.float32(np.sqrt(width / 2))
    return np.stack([near * middle + far * side, near * middle - far * side])


# ---------------------------------------------------------------- the whole scene


def _reverberate(dry: Samples, rng: np.random.Generator, reverb_s: float) -> Samples:
    """Add a decaying tail that differs left and right (60 dB in ``reverb_s``), and take off what lies above the top."""
    n = round(min(reverb_s, 1.0) * RATE_HZ)
    decay = np.exp(np.arange(n, dtype=np.float32) * np.float32(-6.9 / (reverb_s * RATE_HZ)))
    response = np.stack([coloured_noise(rng, n, band(150.0, 7000.0, -3.0)) * decay for _ in range(2)])
    response *= np.float32(rng.uniform(0.15, 0.5)) / np.sqrt(np.sum(np.square(response), axis=1, keepdims=True))
    response[:, : top_taps().size] += top_taps()  # the direct sound
    return np.asarray(scipy.signal.oaconvolve(dry, response, axes=-1)[:, : dry.shape[1]], np.float32)


def _finish(sound: Samples, seed: int, plan: Scene) -> Samples:
    """Set the scene's level, let it come and go, and keep its peaks below the limit."""
    rng = stream(seed, "finish", plan.index)
    rms = _rms(sound[:, : plan.n_samples]) + 1e-9
    sound *= np.float32(db_to_gain(_SCENE_RMS_DB + plan.level_db) / rms)
    sound *= random_curve(rng, sound.shape[1], 0.15, 0.5, 1.0)
    rise = round(float(rng.choice([0.02, 0.1, 0.8, 2.0])) * RATE_HZ)
    fall = round(float(rng.uniform(0.3, 2.4)) * RATE_HZ)
    rise = min(rise, plan.n_samples // 2)
    sound[:, :rise] *= _half_cosine(rise)
    end = plan.n_samples + fall
    sound[:, plan.n_samples : end] *= _half_cosine(fall)[::-1]
    sound[:, end:] = 0.0
    peak = float(np.max(np.abs(sound)))
    return sound * np.float32(min(1.0, _PEAK_LIMIT / (peak + 1e-9)))


def _rms(sound: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(sound))))


def _half_cosine(n_samples: int) -> Samples:
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(n_samples, dtype=np.float32) + 0.5) / n_samples)).astype(np.float32)
