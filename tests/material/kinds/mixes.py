"""Kinds that share their bed and their clock: level, noise, channels, codecs, equalisers, rooms, other mixes."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from tests.material.dirt import (
    Bell,
    Compressor,
    Dirt,
    Equaliser,
    Level,
    Noise,
    Polarity,
    Reverb,
    Swapped,
)
from tests.material.kinds.start import Rng, new_seed, on_dub, plain, with_bed
from tests.material.recipes import Case, Layout
from tests.material.writers import ENCODINGS, Encoding


def level(rng: Rng, number: int) -> Case:
    """One side up to 40 dB softer than the other."""
    case = plain(rng, number)
    gain = Level(float(rng.uniform(-40.0, 12.0)))
    return on_dub(case, gain) if number % 2 else replace(case, master=replace(case.master, dirt=(gain,)))


def noise(rng: Rng, number: int) -> Case:
    """White or pink noise under one side or both."""
    case = on_dub(plain(rng, number), Noise(float(rng.uniform(-40.0, -20.0)), pink=number % 2 == 1))
    if number % 3 == 0:
        return replace(case, master=replace(case.master, dirt=(Noise(float(rng.uniform(-40.0, -20.0))),)))
    return case


def polarity(rng: Rng, number: int) -> Case:
    """All channels upside down, or one of them."""
    return on_dub(plain(rng, number), Polarity(None if number % 2 == 0 else number // 2 % 2))


def swapped(rng: Rng, number: int) -> Case:
    """Left is right."""
    return on_dub(plain(rng, number), Swapped())


def mono(rng: Rng, number: int) -> Case:
    """One side in mono, or both."""
    case = plain(rng, number)
    if number % 3 != 1:
        case = replace(case, dub=replace(case.dub, layout="mono"))
    if number % 3 != 0:
        case = replace(case, master=replace(case.master, layout="mono"))
    return case


def sample_rates(rng: Rng, number: int) -> Case:
    """8 to 96 kHz on either side; each rate comes about on one of them."""
    rates_hz = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000)
    case = plain(rng, number)
    other_hz = int(rng.choice([*rates_hz, 48_000]))
    master_hz, dub_hz = (rates_hz[number // 2 % 8], other_hz)[:: 1 if number % 2 else -1]
    return replace(
        case,
        master=replace(case.master, sample_rate_hz=master_hz),
        dub=replace(case.dub, sample_rate_hz=dub_hz),
    )


def formats(rng: Rng, number: int) -> Case:
    """24-bit, float, FLAC, and PCM in QuickTime."""
    names = ("wav-s24", "wav-float", "flac", "flac-s24", "mov", "mkv-flac")
    case = plain(rng, number)
    dub = replace(case.dub, encodings=(ENCODINGS[names[number % len(names)]],))
    return replace(case, dub=dub, master=replace(case.master, encodings=(ENCODINGS[str(rng.choice(names))],)))


def compression(rng: Rng, number: int) -> Case:
    """A compressor on the dub's mix, each third time another one on the master's."""
    case = on_dub(plain(rng, number), _compressor(rng))
    return replace(case, master=replace(case.master, dirt=(_compressor(rng),))) if number % 3 == 0 else case


def _compressor(rng: Rng) -> Compressor:
    return Compressor(
        threshold_db=float(rng.uniform(-12.0, 6.0)),
        ratio=float(rng.uniform(1.5, 8.0)),
        attack_s=float(rng.uniform(0.002, 0.03)),
        release_s=float(rng.uniform(0.05, 0.4)),
    )


def _bells(rng: Rng) -> tuple[Bell, ...]:
    """Some hills and dips, and shelves up or down."""
    hills = [
        Bell(
            float(np.exp(rng.uniform(np.log(60.0), np.log(12_000.0)))), float(rng.uniform(-9, 9)), rng.uniform(0.3, 1.5)
        )
        for _ in range(int(rng.integers(1, 5)))
    ]
    return (*hills, Bell(float(rng.uniform(1000.0, 8000.0)), float(rng.uniform(-12.0, 6.0)), 0.0))


def linear_eq(rng: Rng, number: int) -> Case:
    """A frequency curve that moves nothing."""
    return on_dub(plain(rng, number), Equaliser(_bells(rng)))


def minimum_eq(rng: Rng, number: int) -> Case:
    """A frequency curve as hardware makes it: its group delay is no part of the truth."""
    return replace(on_dub(plain(rng, number), Equaliser(_bells(rng), "minimum")), limit_ms=1.0)


def ducking(rng: Rng, number: int) -> Case:
    """The bed steps back 6 to 15 dB under each language's lines."""
    case = plain(rng, number)
    return replace(
        case,
        master=replace(case.master, duck_db=float(rng.uniform(6.0, 15.0)) if number % 2 else 0.0),
        dub=replace(case.dub, duck_db=float(rng.uniform(6.0, 15.0))),
    )


def quiet_bed(rng: Rng, number: int) -> Case:
    """The bed 20 dB under the dialogue."""
    return with_bed(plain(rng, number), float(rng.uniform(-24.0, -18.0)))


def loud_bed(rng: Rng, number: int) -> Case:
    """The bed as loud as the dialogue, or louder."""
    return with_bed(plain(rng, number), float(rng.uniform(0.0, 8.0)))


def remixed(rng: Rng, number: int) -> Case:
    """The same layers of the bed in another balance, at other places, in another room."""
    case = plain(rng, number)
    return replace(case, dub=replace(case.dub, remix_seed=new_seed(rng)), limit_ms=4.0)


def lossy(rng: Rng, number: int) -> Case:
    """mp3, AAC, Opus, AC-3, E-AC-3 and Vorbis, low bit rates and high; every third time on both sides."""
    case = plain(rng, number, duration_s=float(rng.uniform(90.0, 150.0)))
    dub = replace(case.dub, encodings=(LOSSY[number % len(LOSSY)],))
    if number % 3 == 0:
        case = replace(case, master=replace(case.master, encodings=(LOSSY[int(rng.integers(len(LOSSY)))],)))
    return replace(case, dub=dub, limit_ms=0.5)


def double_encoded(rng: Rng, number: int) -> Case:
    """A second generation."""
    case = lossy(rng, number)
    earlier = tuple(LOSSY[int(index)] for index in rng.integers(len(LOSSY), size=1 + number % 2))
    return replace(case, dub=replace(case.dub, encodings=(*earlier, *case.dub.encodings)))


LOSSY: Final = (
    Encoding(".mp3", "mp3", "libmp3lame", bit_rate=64_000),
    Encoding(".mp3", "mp3", "libmp3lame", bit_rate=128_000),
    Encoding(".mp3", "mp3", "libmp3lame", bit_rate=320_000),
    Encoding(".mp4", "mp4", "aac", bit_rate=48_000),
    Encoding(".m4a", "ipod", "aac", bit_rate=96_000),
    Encoding(".mp4", "mp4", "aac", bit_rate=256_000),
    Encoding(".opus", "ogg", "libopus", bit_rate=24_000),
    Encoding(".opus", "ogg", "libopus", bit_rate=64_000),
    Encoding(".opus", "ogg", "libopus", bit_rate=160_000),
    Encoding(".mkv", "matroska", "ac3", bit_rate=128_000),
    Encoding(".mkv", "matroska", "ac3", bit_rate=448_000),
    Encoding(".mp4", "mp4", "eac3", bit_rate=128_000),
    Encoding(".ogg", "ogg", "vorbis", bit_rate=64_000),
    Encoding(".ogg", "ogg", "vorbis", bit_rate=192_000),
)
"""Only containers that signal their codec's delay, or codecs whose decoder takes it off."""


def dirty(rng: Rng, number: int) -> Case:
    """Several of the above at once, as they come in life."""
    case = plain(rng, number)
    master = tuple(dirt for dirt in _some_dirt(rng) if rng.uniform() < 0.5)
    case = replace(case, master=replace(case.master, dirt=master), limit_ms=0.5)
    case = on_dub(case, *_some_dirt(rng))
    if rng.uniform() < 0.5:
        case = replace(case, dub=replace(case.dub, encodings=(LOSSY[int(rng.integers(len(LOSSY)))],)))
    elif rng.uniform() < 0.5:
        case = replace(case, dub=replace(case.dub, sample_rate_hz=int(rng.choice([16_000, 32_000, 44_100]))))
    if rng.uniform() < 0.3:
        case = replace(case, dub=replace(case.dub, duck_db=float(rng.uniform(4.0, 12.0))))
    return with_bed(case, float(rng.uniform(-15.0, -3.0)))


def _some_dirt(rng: Rng) -> tuple[Dirt, ...]:
    every: tuple[Dirt, ...] = (
        Equaliser(_bells(rng)),
        _compressor(rng),
        Noise(float(rng.uniform(-45.0, -22.0)), pink=True),
        Polarity(),
        Level(float(rng.uniform(-15.0, 6.0))),
    )
    return tuple(dirt for dirt in every if rng.uniform() < 0.6)


def surround(rng: Rng, number: int) -> Case:
    """5.1 against 5.1, against its stereo fold-down, and against a stereo mix."""
    return _wide(rng, number, "5.1")


def surround_7(rng: Rng, number: int) -> Case:
    """7.1 against 5.1, against stereo, and against itself."""
    return _wide(rng, number, "7.1")


def _wide(rng: Rng, number: int, layout: Layout) -> Case:
    case = plain(rng, number, duration_s=float(rng.uniform(90.0, 150.0)))
    wide = Encoding(".wav", "wav", "pcm_s24le") if number % 2 else ENCODINGS["flac"]
    master = replace(case.master, layout=layout, encodings=(wide,))
    dub = (
        replace(case.dub, layout="5.1", encodings=(ENCODINGS["mkv-ac3"] if number % 2 else wide,)),
        replace(case.dub, fold_down=True),
        case.dub if layout == "5.1" else replace(case.dub, layout=layout, encodings=(wide,)),
    )[number % 3]
    return replace(case, master=master, dub=dub, limit_ms=0.5 if dub.encodings[0].codec == "ac3" else 0.1)


def reverb(rng: Rng, number: int) -> Case:
    """The dub (or, each fourth, the master) in a room whose direct sound is heard."""
    case = plain(rng, number)
    room = Reverb(float(rng.uniform(0.3, 1.8)), float(rng.uniform(-6.0, 6.0)), float(rng.uniform(0.004, 0.03)))
    if number % 4 == 3:
        return replace(case, master=replace(case.master, dirt=(room,)), limit_ms=4.0)
    return replace(case, dub=replace(case.dub, dirt=(room,)), limit_ms=4.0)


def reverb_wet(rng: Rng, number: int) -> Case:
    """The room alone, on the dub or, each fourth, on the master: no direct sound stands out."""
    case = plain(rng, number)
    room = Reverb(float(rng.uniform(0.3, 1.2)), 0.0, direct=False)
    if number % 4 == 3:
        return replace(case, master=replace(case.master, dirt=(room,)), limit_ms=4.0)
    return replace(case, dub=replace(case.dub, dirt=(room,)), limit_ms=4.0)
