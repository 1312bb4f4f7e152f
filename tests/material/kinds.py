"""The kinds of the corpus: each draws its cases from a random stream, every parameter of them.

Limits are those that the analysis is held to: 0.1 ms wherever music and effects are shared and nothing moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
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
from tests.material.recipes import Case, Layout, Piece, Side, Source, Speech, Stretcher
from tests.material.scenes import MOODS, Style
from tests.material.seeds import RATE_HZ
from tests.material.writers import ENCODINGS, Encoding

Rng = np.random.Generator

PAL: Final = 25.0 * 1001.0 / 24_000.0
FILM: Final = 25.0 / 24.0
NTSC: Final = 1001.0 / 1000.0


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind's cases are drawn (from a stream and the number within the kind), and how many there usually are."""

    draw: Callable[[Rng, int], Case]
    usual_number: int


# ---------------------------------------------------------------- what all kinds begin with


def _plain(rng: Rng, number: int, *, duration_s: float | None = None) -> Case:
    """Shared bed, two languages (each third case as espeak-ng speaks them), an offset of some seconds, WAV."""
    length_s = float(rng.uniform(90.0, 240.0)) if duration_s is None else duration_s
    offset_s = float(rng.uniform(-12.0, 12.0)) if number % 4 else float(rng.uniform(-0.3, 0.3))
    speech: Speech = "espeak" if number % 3 == 1 else "formants"
    case = Case(
        name="",
        kind="",
        seed=_seed(rng),
        duration_s=round(length_s, 2),
        master=Side(language=_seed(rng), speech=speech),
        dub=Side(language=_seed(rng), speech=speech),
        pieces=(),
        outside="programme" if rng.uniform() < 0.5 else "silence",
    )
    return _whole(case, offset_s)


def _whole(case: Case, offset_s: float, *, rate: float = 1.0, dub_s: float | None = None) -> Case:
    """The dub in one piece on the line; as long as the master (at its speed) unless ``dub_s`` says otherwise."""
    first = int(np.floor(offset_s * RATE_HZ))
    n_samples = round((case.duration_s if dub_s is None else dub_s * rate) * RATE_HZ)
    speed = replace(case.speed, rate=rate, phase_s=offset_s - first / RATE_HZ)
    return replace(case, pieces=(Piece("programme", n_samples, first),), speed=speed)


def _offset_s(case: Case) -> float:
    """Of a case in one piece."""
    return case.pieces[0].first_sample / RATE_HZ + case.speed.phase_s


def _seed(rng: Rng) -> int:
    return int(rng.integers(1, 1 << 30))


# ---------------------------------------------------------------- shared bed: level, noise, channels, formats


def _on_dub(case: Case, *dirt: Dirt) -> Case:
    return replace(case, dub=replace(case.dub, dirt=(*case.dub.dirt, *dirt)))


def _level(rng: Rng, number: int) -> Case:
    """One side up to 40 dB softer than the other."""
    case = _plain(rng, number)
    gain = Level(float(rng.uniform(-40.0, 12.0)))
    return _on_dub(case, gain) if number % 2 else replace(case, master=replace(case.master, dirt=(gain,)))


def _noise(rng: Rng, number: int) -> Case:
    """White or pink noise under one side or both."""
    case = _on_dub(_plain(rng, number), Noise(float(rng.uniform(-40.0, -20.0)), pink=number % 2 == 1))
    if number % 3 == 0:
        return replace(case, master=replace(case.master, dirt=(Noise(float(rng.uniform(-40.0, -20.0))),)))
    return case


def _polarity(rng: Rng, number: int) -> Case:
    """All channels upside down, or one of them."""
    return _on_dub(_plain(rng, number), Polarity(None if number % 2 == 0 else number // 2 % 2))


def _swapped(rng: Rng, number: int) -> Case:
    """Left is right."""
    return _on_dub(_plain(rng, number), Swapped())


def _mono(rng: Rng, number: int) -> Case:
    """One side in mono, or both."""
    case = _plain(rng, number)
    if number % 3 != 1:
        case = replace(case, dub=replace(case.dub, layout="mono"))
    if number % 3 != 0:
        case = replace(case, master=replace(case.master, layout="mono"))
    return case


def _sample_rates(rng: Rng, number: int) -> Case:
    """8 to 96 kHz on either side; each rate comes about on one of them."""
    rates_hz = (8000, 11_025, 16_000, 22_050, 32_000, 44_100, 88_200, 96_000)
    case = _plain(rng, number)
    other_hz = int(rng.choice([*rates_hz, 48_000]))
    master_hz, dub_hz = (rates_hz[number // 2 % 8], other_hz)[:: 1 if number % 2 else -1]
    return replace(
        case,
        master=replace(case.master, sample_rate_hz=master_hz),
        dub=replace(case.dub, sample_rate_hz=dub_hz),
    )


def _formats(rng: Rng, number: int) -> Case:
    """24-bit, float, FLAC, and PCM in QuickTime."""
    names = ("wav-s24", "wav-float", "flac", "flac-s24", "mov", "mkv-flac")
    case = _plain(rng, number)
    dub = replace(case.dub, encodings=(ENCODINGS[names[number % len(names)]],))
    return replace(case, dub=dub, master=replace(case.master, encodings=(ENCODINGS[str(rng.choice(names))],)))


# ---------------------------------------------------------------- shared bed: treated


def _compression(rng: Rng, number: int) -> Case:
    """A compressor on the dub's mix, each third time another one on the master's."""
    case = _on_dub(_plain(rng, number), _compressor(rng))
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


def _linear_eq(rng: Rng, number: int) -> Case:
    """A frequency curve that moves nothing."""
    return _on_dub(_plain(rng, number), Equaliser(_bells(rng)))


def _minimum_eq(rng: Rng, number: int) -> Case:
    """A frequency curve as hardware makes it: its group delay is no part of the truth."""
    return replace(_on_dub(_plain(rng, number), Equaliser(_bells(rng), "minimum")), limit_ms=1.0)


def _ducking(rng: Rng, number: int) -> Case:
    """The bed steps back 6 to 15 dB under each language's lines."""
    case = _plain(rng, number)
    return replace(
        case,
        master=replace(case.master, duck_db=float(rng.uniform(6.0, 15.0)) if number % 2 else 0.0),
        dub=replace(case.dub, duck_db=float(rng.uniform(6.0, 15.0))),
    )


def _quiet_bed(rng: Rng, number: int) -> Case:
    """The bed 20 dB under the dialogue."""
    return _with_bed(_plain(rng, number), float(rng.uniform(-24.0, -18.0)))


def _loud_bed(rng: Rng, number: int) -> Case:
    """The bed as loud as the dialogue, or louder."""
    return _with_bed(_plain(rng, number), float(rng.uniform(0.0, 8.0)))


def _with_bed(case: Case, bed_db: float) -> Case:
    return replace(case, master=replace(case.master, bed_db=bed_db), dub=replace(case.dub, bed_db=bed_db))


def _remixed(rng: Rng, number: int) -> Case:
    """The same layers of the bed in another balance, at other places, in another room."""
    case = _plain(rng, number)
    return replace(case, dub=replace(case.dub, remix_seed=_seed(rng)), limit_ms=4.0)


# ---------------------------------------------------------------- codecs


def _lossy(rng: Rng, number: int) -> Case:
    """mp3, AAC, Opus, AC-3, E-AC-3 and Vorbis, low bit rates and high; every third time on both sides."""
    case = _plain(rng, number, duration_s=float(rng.uniform(90.0, 150.0)))
    dub = replace(case.dub, encodings=(LOSSY[number % len(LOSSY)],))
    if number % 3 == 0:
        case = replace(case, master=replace(case.master, encodings=(LOSSY[int(rng.integers(len(LOSSY)))],)))
    return replace(case, dub=dub, limit_ms=0.5)


def _double_encoded(rng: Rng, number: int) -> Case:
    """A second generation."""
    case = _lossy(rng, number)
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


# ---------------------------------------------------------------- shared bed: more and less programme


def _leader(rng: Rng, number: int) -> Case:
    """Slate, tone, black or silence of 3 to 90 s before the dub's programme."""
    case = _plain(rng, number)
    source: Source = ("slate", "tone", "silence", "noise")[number % 4]  # type: ignore[assignment] # all of them sources
    head = Piece(source, round(float(np.exp(rng.uniform(np.log(3.0), np.log(90.0)))) * RATE_HZ), seed=_seed(rng))
    own = replace(case.pieces[0], first_sample=round(float(rng.choice([0.0, rng.uniform(0.0, 20.0)])) * RATE_HZ))
    own = replace(own, n_samples=round(case.duration_s * RATE_HZ) - own.first_sample)
    return replace(case, pieces=(head, own))


def _excerpt(rng: Rng, number: int) -> Case:
    """30 s of a dub somewhere in a master of 20 to 40 minutes."""
    case = _plain(rng, number, duration_s=float(rng.uniform(1200.0, 2400.0)))
    return _whole(case, float(rng.uniform(0.0, case.duration_s - 30.0)), dub_s=30.0)


def _trailer(rng: Rng, number: int) -> Case:
    """Another programme before the dub's own, or after it."""
    case = _plain(rng, number)
    other = Piece("foreign", round(float(rng.uniform(10.0, 90.0)) * RATE_HZ), seed=_seed(rng))
    own = case.pieces[0]
    return replace(case, pieces=(other, own) if number % 2 else (own, other))


def _partial(rng: Rng, number: int) -> Case:
    """Only a part of the programme was dubbed."""
    case = _plain(rng, number)
    length_s = float(rng.uniform(0.25, 0.7)) * case.duration_s
    return _whole(case, float(rng.uniform(0.0, case.duration_s - length_s)), dub_s=length_s)


def _clip(rng: Rng, number: int) -> Case:
    """12 s out of some minutes; each third case a little more than that, at the master's very end or start."""
    case = _plain(rng, number, duration_s=float(rng.uniform(120.0, 300.0)))
    place_s = float(rng.uniform(0.0, case.duration_s - 12.0))
    if number % 3 == 2:
        place_s = 0.0 if number % 2 else case.duration_s - 12.0
    return _whole(case, place_s, dub_s=12.0)


def _dirty(rng: Rng, number: int) -> Case:
    """Several of the above at once, as they come in life."""
    case = _plain(rng, number)
    master = tuple(dirt for dirt in _some_dirt(rng) if rng.uniform() < 0.5)
    case = replace(case, master=replace(case.master, dirt=master), limit_ms=0.5)
    case = _on_dub(case, *_some_dirt(rng))
    if rng.uniform() < 0.5:
        case = replace(case, dub=replace(case.dub, encodings=(LOSSY[int(rng.integers(len(LOSSY)))],)))
    elif rng.uniform() < 0.5:
        case = replace(case, dub=replace(case.dub, sample_rate_hz=int(rng.choice([16_000, 32_000, 44_100]))))
    if rng.uniform() < 0.3:
        case = replace(case, dub=replace(case.dub, duck_db=float(rng.uniform(4.0, 12.0))))
    return _with_bed(case, float(rng.uniform(-15.0, -3.0)))


def _some_dirt(rng: Rng) -> tuple[Dirt, ...]:
    every: tuple[Dirt, ...] = (
        Equaliser(_bells(rng)),
        _compressor(rng),
        Noise(float(rng.uniform(-45.0, -22.0)), pink=True),
        Polarity(),
        Level(float(rng.uniform(-15.0, 6.0))),
    )
    return tuple(dirt for dirt in every if rng.uniform() < 0.6)


def _surround(rng: Rng, number: int) -> Case:
    """5.1 against 5.1, against its stereo fold-down, and against a stereo mix."""
    return _wide(rng, number, "5.1")


def _surround_7(rng: Rng, number: int) -> Case:
    """7.1 against 5.1, against stereo, and against itself."""
    return _wide(rng, number, "7.1")


def _wide(rng: Rng, number: int, layout: Layout) -> Case:
    case = _plain(rng, number, duration_s=float(rng.uniform(90.0, 150.0)))
    wide = Encoding(".wav", "wav", "pcm_s24le") if number % 2 else ENCODINGS["flac"]
    master = replace(case.master, layout=layout, encodings=(wide,))
    dub = (
        replace(case.dub, layout="5.1", encodings=(ENCODINGS["mkv-ac3"] if number % 2 else wide,)),
        replace(case.dub, fold_down=True),
        case.dub if layout == "5.1" else replace(case.dub, layout=layout, encodings=(wide,)),
    )[number % 3]
    return replace(case, master=master, dub=dub, limit_ms=0.5 if dub.encodings[0].codec == "ac3" else 0.1)


# ---------------------------------------------------------------- rooms


def _reverb(rng: Rng, number: int) -> Case:
    """The dub (or, each fourth, the master) in a room whose direct sound is heard."""
    case = _plain(rng, number)
    room = Reverb(float(rng.uniform(0.3, 1.8)), float(rng.uniform(-6.0, 6.0)), float(rng.uniform(0.004, 0.03)))
    if number % 4 == 3:
        return replace(case, master=replace(case.master, dirt=(room,)), limit_ms=4.0)
    return replace(case, dub=replace(case.dub, dirt=(room,)), limit_ms=4.0)


def _reverb_wet(rng: Rng, number: int) -> Case:
    """The room alone: no direct sound stands out, and where the truth lies is fuzzy to some milliseconds."""
    case = _plain(rng, number)
    room = Reverb(float(rng.uniform(0.3, 1.2)), 0.0, direct=False)
    return replace(_on_dub(case, room), limit_ms=20.0)


# ---------------------------------------------------------------- speeds


def _rate(rng: Rng, number: int) -> float:
    """Television's and cinema's speeds, arbitrary ones, and clocks that drift."""
    named = (PAL, 1.0 / PAL, FILM, 1.0 / FILM, NTSC, 1.0 / NTSC)
    if number % 3 == 0:
        return named[(number // 3) % len(named)]
    if number % 3 == 1:
        sign = 1.0 if rng.uniform() < 0.5 else -1.0
        return 1.0 + sign * 1e-6 * float(np.exp(rng.uniform(np.log(2.0), np.log(300.0))))
    return 1.0 + float(rng.uniform(-0.06, 0.06))


def _rates(rng: Rng, number: int) -> Case:
    """The dub faster or slower, its pitch with it."""
    case = _plain(rng, number, duration_s=240.0)
    return _whole(case, _offset_s(case), rate=_rate(rng, number))


def _long(rng: Rng, number: int) -> Case:
    """Half an hour, so that a rate can be told to 1 ppm."""
    case = _plain(rng, number, duration_s=1800.0)
    return replace(_whole(case, _offset_s(case), rate=_rate(rng, number + 1)), rate_limit_ppm=1.0)


def _pal_edits(rng: Rng, number: int) -> Case:
    """Another speed and edits at once."""
    case = _rates(rng, 3 * number) if number % 3 else _rates(rng, 3 * number + 1)
    return _edited(case, rng, n_edits=1 + number % 3, at_blacks=number % 3 == 2)


def _wow(rng: Rng, number: int) -> Case:
    """The speed wobbles slowly about 1 or about another rate; the truth is the mean line."""
    case = _plain(rng, number, duration_s=240.0)
    case = _whole(case, _offset_s(case), rate=1.0 if number % 2 else _rate(rng, 3 * number))
    speed = replace(
        case.speed,
        wobble_share=float(rng.uniform(0.0005, 0.002)),
        wobble_hz=float(np.exp(rng.uniform(np.log(0.05), np.log(1.5)))),
    )
    return replace(case, speed=speed, limit_ms=1.0 + 1000.0 * speed.wobble_s, rate_limit_ppm=40.0)


def _pitch_kept(rng: Rng, number: int) -> Case:
    """Another speed at the old pitch, by each of the stretchers."""
    case = _plain(rng, number, duration_s=240.0)
    rates = (PAL, 1.0 / PAL, FILM, 1.0 / FILM, 1.0 + float(rng.uniform(-0.06, 0.06)))
    case = _whole(case, _offset_s(case), rate=rates[number // 3 % len(rates)])
    return _stretched(case, number, 0.0)


def _repitched(rng: Rng, number: int) -> Case:
    """The old speed at another pitch."""
    semitones = float(rng.uniform(0.3, 2.0)) * (1.0 if rng.uniform() < 0.5 else -1.0)
    return _stretched(_plain(rng, number), number, semitones)


def _stretched(case: Case, number: int, semitones: float) -> Case:
    stretchers: tuple[Stretcher, ...] = ("atempo", "vocoder", "wsola")
    speed = replace(case.speed, stretcher=stretchers[number % 3], semitones=semitones)
    return replace(case, speed=speed, limit_ms=4.0, rate_limit_ppm=20.0)


# ---------------------------------------------------------------- edits


def _edits(rng: Rng, number: int) -> Case:
    """One to four cuts, insertions or replacements; every third case has them at blacks."""
    case = _plain(rng, number, duration_s=float(rng.uniform(150.0, 300.0)))
    return _edited(case, rng, n_edits=1 + number % 4, at_blacks=number % 3 == 2)


def _edited(case: Case, rng: Rng, *, n_edits: int, at_blacks: bool) -> Case:
    """Cut the one piece of a case up; 15 s or more remain between edits."""
    own = case.pieces[0]
    places = _places(rng, own.n_samples / RATE_HZ, n_edits)
    blacks: list[tuple[float, float]] = []
    pieces: list[Piece] = []
    done = 0
    for place_s in places:
        at = round(place_s * RATE_HZ)
        if at_blacks:
            middle_s = (own.first_sample + at) / RATE_HZ
            half_s = float(rng.uniform(0.3, 1.5))
            blacks.append((middle_s - half_s, middle_s + half_s))
        what = ("cut", "insert", "replace")[int(rng.choice(3, p=[0.4, 0.4, 0.2]))]
        length = round(_edit_s(rng, case.duration_s) * RATE_HZ)
        pieces.append(Piece("programme", at - done, own.first_sample + done))
        done = at
        if what != "insert":
            done += min(length, round(0.5 * own.n_samples / (n_edits + 1)))
        if what != "cut":
            source: Source = "foreign" if rng.uniform() < 0.7 else "silence"
            gone = done - at if what == "replace" else length
            pieces.append(Piece(source, gone, seed=_seed(rng)))
    pieces.append(Piece("programme", own.n_samples - done, own.first_sample + done))
    return replace(case, pieces=tuple(pieces), blacks=tuple(blacks), expects="segments", limit_ms=1.0)


def _places(rng: Rng, length_s: float, count: int) -> list[float]:
    """Moments with room between them and to the ends."""
    step_s = length_s / (count + 1)
    return [step_s * (index + 1) + float(rng.uniform(-0.2, 0.2)) * step_s for index in range(count)]


def _edit_s(rng: Rng, duration_s: float) -> float:
    return min(float(np.exp(rng.uniform(0.0, np.log(90.0)))), 0.3 * duration_s)


# ---------------------------------------------------------------- little or nothing shared


def _dialogue_only(rng: Rng, number: int) -> Case:
    """No bed: the same script in two languages; lines start at their slots, or up to 40 or 80 ms beside them."""
    case = _plain(rng, number, duration_s=float(rng.uniform(150.0, 240.0)))
    jitter_s = (0.0, 0.04, 0.08)[number % 3]
    return replace(
        case,
        master=replace(case.master, bed_db=None, jitter_s=0.0),
        dub=replace(case.dub, bed_db=None, jitter_s=jitter_s),
        limit_ms=40.0,
        rate_limit_ppm=1000.0,
        interval_counts=True,
    )


def _other_bed(rng: Rng, number: int) -> Case:
    """The same script over another programme's bed."""
    case = _dialogue_only(rng, number)
    bed_db = float(rng.uniform(-25.0, -15.0))
    return replace(
        case,
        master=replace(case.master, bed_db=bed_db),
        dub=replace(case.dub, bed_db=bed_db, bed_seed=_seed(rng)),
    )


def _loops(rng: Rng, number: int) -> Case:
    """The bed is a loop: many offsets fit the bed alike, and whoever names one must know better."""
    case = _plain(rng, number)
    loop_s = float(rng.uniform(2.0, 9.0))
    return replace(
        case,
        master=replace(case.master, loop_s=loop_s),
        dub=replace(case.dub, loop_s=loop_s),
        expects="ambiguous",
        limit_ms=1.0,
    )


def _nothing(rng: Rng, number: int) -> Case:
    """Silence, a tone or noise on one side or both: there is nothing to decide on."""
    case = _plain(rng, number, duration_s=float(rng.uniform(20.0, 120.0)))
    sources: tuple[Source, ...] = ("silence", "tone", "noise")
    master, dub = sources[number % 3], sources[number // 3 % 3]
    pieces = (Piece(dub, round(float(rng.uniform(20.0, 120.0)) * RATE_HZ), seed=_seed(rng)),)
    if number % 4 == 3:
        return replace(case, pieces=pieces, expects="refusal")
    return replace(case, master=replace(case.master, only=master), pieces=pieces, expects="refusal")


def _unrelated(rng: Rng, number: int) -> Case:
    """Two programmes that have nothing to do with each other; each fourth speaks the same language."""
    case = _plain(rng, number)
    length = round(float(rng.uniform(20.0, 240.0)) * RATE_HZ)
    dub = case.dub if number % 4 else replace(case.dub, language=case.master.language)
    return replace(case, dub=dub, pieces=(Piece("foreign", length, seed=_seed(rng)),), expects="refusal")


def _unrelated_hard(rng: Rng, number: int) -> Case:
    """Two programmes of one style: tempo, key and moods are shared, and here and there the language."""
    case = _unrelated(rng, number)
    return replace(case, style=_style(rng))


def _style(rng: Rng) -> Style:
    return Style(
        tempo_bpm=float(rng.uniform(80.0, 140.0)),
        root_midi=int(rng.integers(43, 55)),
        minor=bool(rng.uniform() < 0.5),
        moods=tuple(int(mood) for mood in rng.permutation(len(MOODS))[:2]),
    )


def _shared_title(rng: Rng, number: int) -> Case:
    """Two episodes of a series: a jingle of 5 s or a title of 20 to 45 s is the same, at different places."""
    case = replace(_plain(rng, number), style=_style(rng))
    length_s = 5.0 if number % 2 else float(rng.uniform(20.0, 45.0))
    before, after = (round(float(rng.uniform(5.0, 80.0)) * RATE_HZ) for _ in range(2))
    title = Piece(
        "programme",
        round(length_s * RATE_HZ),
        round(float(rng.uniform(0.0, case.duration_s - length_s)) * RATE_HZ),
    )
    pieces = (Piece("foreign", before, seed=_seed(rng)), title, Piece("foreign", after, seed=_seed(rng)))
    return replace(case, pieces=pieces, expects="title", limit_ms=1.0)


KINDS: Final[dict[str, Kind]] = {
    "plain": Kind(_plain, 8),
    "level": Kind(_level, 6),
    "noise": Kind(_noise, 9),
    "polarity": Kind(_polarity, 4),
    "swapped": Kind(_swapped, 4),
    "mono": Kind(_mono, 6),
    "sample_rates": Kind(_sample_rates, 16),
    "formats": Kind(_formats, 6),
    "compression": Kind(_compression, 9),
    "linear_eq": Kind(_linear_eq, 8),
    "minimum_eq": Kind(_minimum_eq, 8),
    "ducking": Kind(_ducking, 8),
    "quiet_bed": Kind(_quiet_bed, 10),
    "loud_bed": Kind(_loud_bed, 4),
    "dirty": Kind(_dirty, 20),
    "remixed": Kind(_remixed, 14),
    "reverb": Kind(_reverb, 14),
    "reverb_wet": Kind(_reverb_wet, 6),
    "lossy": Kind(_lossy, 28),
    "double_encoded": Kind(_double_encoded, 8),
    "5.1": Kind(_surround, 9),
    "7.1": Kind(_surround_7, 3),
    "leader": Kind(_leader, 12),
    "trailer": Kind(_trailer, 6),
    "partial": Kind(_partial, 6),
    "edits": Kind(_edits, 32),
    "rates": Kind(_rates, 30),
    "long": Kind(_long, 3),
    "pal_edits": Kind(_pal_edits, 12),
    "wow": Kind(_wow, 6),
    "pitch_kept": Kind(_pitch_kept, 15),
    "repitched": Kind(_repitched, 6),
    "excerpt": Kind(_excerpt, 6),
    "clip": Kind(_clip, 12),
    "dialogue_only": Kind(_dialogue_only, 15),
    "other_bed": Kind(_other_bed, 6),
    "loops": Kind(_loops, 6),
    "nothing": Kind(_nothing, 9),
    "unrelated": Kind(_unrelated, 24),
    "unrelated_hard": Kind(_unrelated_hard, 12),
    "shared_title": Kind(_shared_title, 8),
}
