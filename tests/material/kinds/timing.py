"""Kinds whose clocks differ: more or less programme, edits, other speeds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tests.material.kinds.start import FILM, NTSC, PAL, Rng, in_one_piece, new_seed, offset_of, plain
from tests.material.recipes import Case, Piece, Source, Stretcher
from tests.material.seeds import RATE_HZ


def leader(rng: Rng, number: int) -> Case:
    """Slate, tone, black or silence of 3 to 90 s before the dub's programme."""
    case = plain(rng, number)
    source: Source = ("slate", "tone", "silence", "noise")[number % 4]
    head = Piece(source, round(float(np.exp(rng.uniform(np.log(3.0), np.log(90.0)))) * RATE_HZ), seed=new_seed(rng))
    own = replace(case.pieces[0], first_sample=round(float(rng.choice([0.0, rng.uniform(0.0, 20.0)])) * RATE_HZ))
    own = replace(own, n_samples=round(case.duration_s * RATE_HZ) - own.first_sample)
    return replace(case, pieces=(head, own))


def excerpt(rng: Rng, number: int) -> Case:
    """30 s of a dub somewhere in a master of 20 to 40 minutes."""
    case = plain(rng, number, duration_s=float(rng.uniform(1200.0, 2400.0)))
    return in_one_piece(case, float(rng.uniform(0.0, case.duration_s - 30.0)), dub_s=30.0)


def trailer(rng: Rng, number: int) -> Case:
    """Another programme before the dub's own, or after it."""
    case = plain(rng, number)
    other = Piece("foreign", round(float(rng.uniform(10.0, 90.0)) * RATE_HZ), seed=new_seed(rng))
    own = case.pieces[0]
    return replace(case, pieces=(other, own) if number % 2 else (own, other))


def partial(rng: Rng, number: int) -> Case:
    """Only a part of the programme was dubbed."""
    case = plain(rng, number)
    length_s = float(rng.uniform(0.25, 0.7)) * case.duration_s
    return in_one_piece(case, float(rng.uniform(0.0, case.duration_s - length_s)), dub_s=length_s)


def clip(rng: Rng, number: int) -> Case:
    """12 s out of some minutes; each third case a little more than that, at the master's very end or start."""
    case = plain(rng, number, duration_s=float(rng.uniform(120.0, 300.0)))
    place_s = float(rng.uniform(0.0, case.duration_s - 12.0))
    if number % 3 == 2:
        place_s = 0.0 if number % 2 else case.duration_s - 12.0
    return in_one_piece(case, place_s, dub_s=12.0)


def _rate(rng: Rng, number: int) -> float:
    """Television's and cinema's speeds, arbitrary ones, and clocks that drift."""
    named = (PAL, 1.0 / PAL, FILM, 1.0 / FILM, NTSC, 1.0 / NTSC)
    if number % 3 == 0:
        return named[(number // 3) % len(named)]
    if number % 3 == 1:
        sign = 1.0 if rng.uniform() < 0.5 else -1.0
        return 1.0 + sign * 1e-6 * float(np.exp(rng.uniform(np.log(2.0), np.log(300.0))))
    return 1.0 + float(rng.uniform(-0.06, 0.06))


def rates(rng: Rng, number: int) -> Case:
    """The dub faster or slower, its pitch with it."""
    case = plain(rng, number, duration_s=240.0)
    return in_one_piece(case, offset_of(case), rate=_rate(rng, number))


def half_an_hour(rng: Rng, number: int) -> Case:
    """Half an hour, so that a rate can be told to 1 ppm."""
    case = plain(rng, number, duration_s=1800.0)
    return replace(in_one_piece(case, offset_of(case), rate=_rate(rng, number + 1)), rate_limit_ppm=1.0)


def pal_edits(rng: Rng, number: int) -> Case:
    """Another speed and edits at once."""
    case = rates(rng, 3 * number) if number % 3 else rates(rng, 3 * number + 1)
    return _edited(case, rng, n_edits=1 + number % 3, at_blacks=number % 3 == 2)


def wow(rng: Rng, number: int) -> Case:
    """The speed wobbles slowly about 1 or about another rate; the truth is the mean line."""
    case = plain(rng, number, duration_s=240.0)
    case = in_one_piece(case, offset_of(case), rate=1.0 if number % 2 else _rate(rng, 3 * number))
    speed = replace(
        case.speed,
        wobble_share=float(rng.uniform(0.0005, 0.002)),
        wobble_hz=float(np.exp(rng.uniform(np.log(0.05), np.log(1.5)))),
    )
    return replace(case, speed=speed, limit_ms=1.0 + 1000.0 * speed.wobble_s, rate_limit_ppm=40.0)


def pitch_kept(rng: Rng, number: int) -> Case:
    """Another speed at the old pitch, by each of the stretchers."""
    case = plain(rng, number, duration_s=240.0)
    rates = (PAL, 1.0 / PAL, FILM, 1.0 / FILM, 1.0 + float(rng.uniform(-0.06, 0.06)))
    case = in_one_piece(case, offset_of(case), rate=rates[number // 3 % len(rates)])
    return _stretched(case, number, 0.0)


def repitched(rng: Rng, number: int) -> Case:
    """The old speed at another pitch."""
    semitones = float(rng.uniform(0.3, 2.0)) * (1.0 if rng.uniform() < 0.5 else -1.0)
    return _stretched(plain(rng, number), number, semitones)


def _stretched(case: Case, number: int, semitones: float) -> Case:
    stretchers: tuple[Stretcher, ...] = ("atempo", "vocoder", "wsola")
    speed = replace(case.speed, stretcher=stretchers[number % 3], semitones=semitones)
    return replace(case, speed=speed, limit_ms=4.0, rate_limit_ppm=20.0)


LEAST_REPLACED_S = 7.0
"""A shorter stretch replaced by one of the same length cannot be told from a line over a faint bed, nor does it move
anything."""


def edits(rng: Rng, number: int) -> Case:
    """One to four cuts, insertions or replacements; every third case has them at blacks."""
    case = plain(rng, number, duration_s=float(rng.uniform(150.0, 300.0)))
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
        if what == "replace":
            length = max(length, round(LEAST_REPLACED_S * RATE_HZ))
        pieces.append(Piece("programme", at - done, own.first_sample + done))
        done = at
        if what != "insert":
            done += min(length, round(0.5 * own.n_samples / (n_edits + 1)))
        if what != "cut":
            source: Source = "foreign" if rng.uniform() < 0.7 else "silence"
            gone = done - at if what == "replace" else length
            pieces.append(Piece(source, gone, seed=new_seed(rng)))
    pieces.append(Piece("programme", own.n_samples - done, own.first_sample + done))
    return replace(case, pieces=tuple(pieces), blacks=tuple(blacks), expects="segments", limit_ms=1.0)


def _places(rng: Rng, length_s: float, count: int) -> list[float]:
    """Moments with room between them and to the ends."""
    step_s = length_s / (count + 1)
    return [step_s * (index + 1) + float(rng.uniform(-0.2, 0.2)) * step_s for index in range(count)]


def _edit_s(rng: Rng, duration_s: float) -> float:
    return min(float(np.exp(rng.uniform(0.0, np.log(90.0)))), 0.3 * duration_s)
