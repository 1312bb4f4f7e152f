"""From a case to its two sounds."""

from __future__ import annotations

import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

import av
import numpy as np

from tests.material.bed import BED_RMS_DB, Remix
from tests.material.delay import Resampled
from tests.material.dirt import treat
from tests.material.programme import PlanScene, Programme
from tests.material.recipes import Case, Piece, Side
from tests.material.scenes import scene, styled_scene
from tests.material.script import JITTER_S, render_line
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream
from tests.material.speech import SPEECH_RMS_DB
from tests.material.speed import played
from tests.material.spoken import say_line
from tests.material.stretch import stretched
from tests.material.surround import folded, spread
from tests.material.writers import Encoding, write_audio

_PEAK: Final = 0.89
_JOINT_S: Final = 0.003
_BLACK_FADE_S: Final = 0.08
_CHANNELS: Final = {"mono": 1, "stereo": 2, "5.1": 6, "7.1": 8}


class Rendered(NamedTuple):
    """Two sounds ``(channels, n)`` and their rates in Hz, master first."""

    master: Samples
    dub: Samples
    sample_rates: tuple[int, int]


def render_case(case: Case) -> Rendered:
    """Both sides as they are handed to their last encoder."""
    dub_needs, both_need = _needed(case)
    beds = _Beds(case)
    master = _mixed(case, case.master, both_need, beds)[:, -both_need.first :][:, : round(case.duration_s * RATE_HZ)]
    master = _finished(_treated(master, case.master, case.seed), case.master)
    dub = _assembled(case, _mixed(case, case.dub, dub_needs, beds), dub_needs)
    dub = _treated(dub, case.dub, case.seed + 1)
    dub = _finished(_sped(case, dub), case.dub)
    return Rendered(master, dub, (case.master.sample_rate_hz, case.dub.sample_rate_hz))


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Of the programme, in samples at 48 kHz."""

    first: int
    end: int

    @property
    def n_samples(self) -> int:
        return self.end - self.first


def _needed(case: Case) -> tuple[_Stretch, _Stretch]:
    """What the dub, and what dub and master together need of the programme; the second holds time zero."""
    own = [piece for piece in case.pieces if piece.source == "programme"]
    first = min((piece.first_sample for piece in own), default=0)
    end = max((piece.first_sample + piece.n_samples for piece in own), default=0)
    return _Stretch(first, end), _Stretch(min(0, first), max(round(case.duration_s * RATE_HZ), end))


# ---------------------------------------------------------------- the mix


def _programme(case: Case, side: Side, *, remix_seed: int | None = None, seed: int | None = None) -> Programme:
    return Programme(
        case.seed if seed is None else seed,
        case.duration_s,
        outside=case.outside,
        remix=None if remix_seed is None else Remix(remix_seed),
        jitter_s=JITTER_S if side.jitter_s is None else side.jitter_s,
        say=say_line if side.speech == "espeak" else render_line,
        plan=_plan(case),
    )


def _plan(case: Case) -> PlanScene:
    return scene if case.style is None else functools.partial(styled_scene, case.style)


def _mixed(case: Case, side: Side, stretch: _Stretch, beds: _Beds) -> Samples:
    """One side's mix over the stretch, ``(channels, n)``."""
    if side.only is not None:
        return _foreign(case, Piece(side.only, stretch.n_samples, seed=case.seed), 2)
    programme = _programme(case, side)
    where = stretch.first, stretch.n_samples
    silence = np.zeros((2, stretch.n_samples), np.float32)
    dialogue = silence if side.language is None else programme.dialogue(side.language, *where)
    wide = side.layout in {"5.1", "7.1"} or side.fold_down
    bed = around = silence
    if side.bed_db is not None:
        gain = np.float32(db_to_gain(side.bed_db + SPEECH_RMS_DB - BED_RMS_DB))
        bed = gain * beds.of(side, stretch, side.remix_seed)
        if wide:
            around = gain * beds.of(side, stretch, (side.remix_seed or case.seed) + 17)
        if side.duck_db and side.language is not None:
            ducking = programme.ducking(side.language, side.duck_db, *where)
            bed, around = bed * ducking, around * ducking
    sound = (
        spread(bed, around, dialogue, _CHANNELS[side.layout] if not side.fold_down else 6) if wide else bed + dialogue
    )
    if case.blacks:
        sound = sound * _blackened(case.blacks, stretch)
    return folded(sound) if side.fold_down else sound


class _Beds:
    """Beds by how they are made, each rendered once for both sides (the longer stretch is asked for first)."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._made: dict[tuple[int | None, int | None, float | None], tuple[int, Samples]] = {}

    def of(self, side: Side, stretch: _Stretch, remix_seed: int | None) -> Samples:
        """``(2, n)`` over the stretch."""
        key = side.bed_seed, remix_seed, side.loop_s
        if key not in self._made:
            self._made[key] = stretch.first, self._rendered(side, stretch, remix_seed)
        first, sound = self._made[key]
        return sound[:, stretch.first - first : stretch.end - first]

    def _rendered(self, side: Side, stretch: _Stretch, remix_seed: int | None) -> Samples:
        programme = _programme(self._case, side, remix_seed=remix_seed, seed=side.bed_seed)
        if side.loop_s is None:
            return programme.bed(stretch.first, stretch.n_samples)
        loop = _loop(programme, side.loop_s)
        return loop[:, np.arange(stretch.first, stretch.end) % loop.shape[1]]


def _loop(programme: Programme, loop_s: float) -> Samples:
    """The bed's first seconds, their end faded into what came before their start."""
    n, fade = round(loop_s * RATE_HZ), round(0.2 * RATE_HZ)
    first = 8 * RATE_HZ
    loop = programme.bed(first, n)
    rise = np.linspace(0.0, 1.0, fade, dtype=np.float32)
    loop[:, -fade:] = loop[:, -fade:] * (1.0 - rise) + programme.bed(first - fade, fade) * rise
    return loop


def _blackened(blacks: tuple[tuple[float, float], ...], stretch: _Stretch) -> Samples:
    """0 in the blacks, 1 outside, short ramps between."""
    moment_s = np.arange(stretch.first, stretch.end) / RATE_HZ
    gain = np.ones(stretch.n_samples, np.float32)
    for start_s, end_s in blacks:
        outside_s = np.maximum(start_s - moment_s, moment_s - end_s)
        gain = np.minimum(gain, np.clip(outside_s / _BLACK_FADE_S, 0.0, 1.0))
    return gain.astype(np.float32)


# ---------------------------------------------------------------- the dub's own way


def _assembled(case: Case, mix: Samples, stretch: _Stretch) -> Samples:
    """The dub before its speed is changed: pieces joined with short fades where they do not go on."""
    out = np.empty((mix.shape[0], sum(piece.n_samples for piece in case.pieces)), np.float32)
    first, due = 0, None
    for piece in case.pieces:
        part = out[:, first : first + piece.n_samples]
        if piece.source == "programme":
            begin = piece.first_sample - stretch.first
            part[:] = mix[:, begin : begin + piece.n_samples]
        else:
            part[:] = _foreign(case, piece, mix.shape[0])
        if first and due != (piece.source, piece.first_sample):
            fade = min(round(_JOINT_S * RATE_HZ), piece.n_samples, first)
            rise = np.linspace(0.0, 1.0, fade, dtype=np.float32)
            part[:, :fade] *= rise
            out[:, first - fade : first] *= rise[::-1]
        first += piece.n_samples
        due = (piece.source, piece.first_sample + piece.n_samples)
    return out


def _foreign(case: Case, piece: Piece, n_channels: int) -> Samples:
    """What is no part of the programme, ``(channels, n)``: left and right have it, other channels are silent."""
    n = min(2, n_channels)
    out = np.zeros((n_channels, piece.n_samples), np.float32)
    out[:n] = _foreign_stereo(case, piece)[:n]
    return out


def _foreign_stereo(case: Case, piece: Piece) -> Samples:
    n, k = piece.n_samples, np.arange(piece.n_samples)
    beep = np.sin(2.0 * np.pi * 1000.0 / RATE_HZ * k).astype(np.float32)
    match piece.source:
        case "foreign":
            say = say_line if case.dub.speech == "espeak" else render_line
            other = Programme(piece.seed, n / RATE_HZ, outside="programme", say=say, plan=_plan(case))
            return other.mix(case.dub.language, bed_level_db=-6.0)(piece.first_sample, n)
        case "tone":
            return np.tile(np.float32(0.1) * beep, (2, 1))
        case "slate":
            return np.tile(np.float32(0.15) * beep * (k % RATE_HZ < RATE_HZ // 12), (2, 1))
        case "noise":
            return np.float32(0.05) * stream(piece.seed, "hiss").standard_normal((2, n), dtype=np.float32)
        case _:
            return np.zeros((2, n), np.float32)


def _sped(case: Case, assembled: Samples) -> Samples:
    n_samples = round(case.dub_duration_s * RATE_HZ)
    speed = case.speed
    if speed.stretcher is not None:
        return stretched(assembled, speed, n_samples)
    if speed.rate == 1.0 and not speed.phase_s and not speed.wobble_share:
        return assembled[:, :n_samples]
    return played(assembled, speed, n_samples)


# ---------------------------------------------------------------- the way to the file


def _treated(sound: Samples, side: Side, seed: int) -> Samples:
    for number, dirt in enumerate(side.dirt):
        sound = treat(sound, dirt, 1000 * seed + number)
    return sound


def _finished(sound: Samples, side: Side) -> Samples:
    """Channels, earlier generations, sample rate, and a peak that fits."""
    if side.layout == "mono":
        sound = sound.mean(axis=0, keepdims=True)
    peak = float(np.max(np.abs(sound), initial=0.0))
    if peak > _PEAK:
        sound = sound * np.float32(_PEAK / peak)
    for encoding in side.encodings[:-1]:
        sound = through_codec(sound, encoding)
    return _at_rate(sound, side.sample_rate_hz)


def _at_rate(sound: Samples, sample_rate_hz: int) -> Samples:
    if sample_rate_hz == RATE_HZ:
        return sound

    def padded(first_sample: int, n_samples: int) -> Samples:
        out = np.zeros((sound.shape[0], n_samples), np.float32)
        begin, end = max(0, first_sample), min(sound.shape[1], first_sample + n_samples)
        out[:, begin - first_sample : end - first_sample] = sound[:, begin:end]
        return out

    return Resampled(padded, sample_rate_hz)(0, round(sound.shape[1] * sample_rate_hz / RATE_HZ))


def through_codec(sound: Samples, encoding: Encoding) -> Samples:
    """Through an encoder and its decoder, at 48 kHz, cut to the length it had."""
    with tempfile.TemporaryDirectory() as folder:
        path = write_audio(Path(folder) / f"x{encoding.suffix}", sound, RATE_HZ, encoding=encoding)
        blocks = []
        with av.open(str(path)) as container:
            resampler = av.AudioResampler(format="fltp")
            for frame in container.decode(audio=0):
                blocks += [part.to_ndarray() for part in resampler.resample(frame)]
    decoded = np.concatenate(blocks, axis=1)[:, : sound.shape[1]]
    return np.pad(decoded, ((0, 0), (0, sound.shape[1] - decoded.shape[1]))).astype(np.float32)
