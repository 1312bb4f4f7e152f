"""Kinds that share little or nothing: the script alone, loops, other programmes, silence."""

from __future__ import annotations

from dataclasses import replace

from tests.material.kinds.start import FILM, NTSC, PAL, Rng, in_one_piece, new_seed, offset_of, plain
from tests.material.recipes import Case, Piece, Source
from tests.material.scenes import MOODS, Style
from tests.material.seeds import RATE_HZ


def dialogue_only(rng: Rng, number: int) -> Case:
    """No bed: the same script in two languages; lines start at their slots, or up to 40 or 80 ms beside them."""
    case = plain(rng, number, duration_s=float(rng.uniform(150.0, 240.0)))
    jitter_s = (0.0, 0.04, 0.08)[number % 3]
    return replace(
        case,
        master=replace(case.master, bed_db=None, jitter_s=0.0),
        dub=replace(case.dub, bed_db=None, jitter_s=jitter_s),
        limit_ms=40.0,
        rate_limit_ppm=1000.0,
        interval_counts=True,
    )


def dialogue_speed(rng: Rng, number: int) -> Case:
    """The script alone at television's and cinema's speeds: a dub made for another frame rate, without its bed."""
    drawn = dialogue_only(rng, number)
    speeds = (PAL, 1.0 / PAL, FILM, 1.0 / FILM, NTSC, 1.0 / NTSC)
    case = replace(drawn, duration_s=float(rng.uniform(400.0, 600.0)), rate_limit_ppm=2.0)
    return in_one_piece(case, offset_of(drawn), rate=speeds[number % len(speeds)])


def other_bed(rng: Rng, number: int) -> Case:
    """The same script over another programme's bed."""
    case = dialogue_only(rng, number)
    bed_db = float(rng.uniform(-25.0, -15.0))
    return replace(
        case,
        master=replace(case.master, bed_db=bed_db),
        dub=replace(case.dub, bed_db=bed_db, bed_seed=new_seed(rng)),
    )


def loops(rng: Rng, number: int) -> Case:
    """The bed is a loop: many offsets fit the bed alike, and whoever names one must know better."""
    case = plain(rng, number)
    loop_s = float(rng.uniform(2.0, 9.0))
    return replace(
        case,
        master=replace(case.master, loop_s=loop_s),
        dub=replace(case.dub, loop_s=loop_s),
        expects="ambiguous",
        limit_ms=1.0,
    )


def nothing(rng: Rng, number: int) -> Case:
    """Silence, a tone or noise on one side or both: there is nothing to decide on."""
    case = plain(rng, number, duration_s=float(rng.uniform(20.0, 120.0)))
    sources: tuple[Source, ...] = ("silence", "tone", "noise")
    master, dub = sources[number % 3], sources[number // 3 % 3]
    pieces = (Piece(dub, round(float(rng.uniform(20.0, 120.0)) * RATE_HZ), seed=new_seed(rng)),)
    if number % 4 == 3:
        return replace(case, pieces=pieces, expects="refusal")
    return replace(case, master=replace(case.master, only=master), pieces=pieces, expects="refusal")


def unrelated(rng: Rng, number: int) -> Case:
    """Two programmes that have nothing to do with each other; each fourth speaks the same language."""
    case = plain(rng, number)
    length = round(float(rng.uniform(20.0, 240.0)) * RATE_HZ)
    dub = case.dub if number % 4 else replace(case.dub, language=case.master.language)
    return replace(case, dub=dub, pieces=(Piece("foreign", length, seed=new_seed(rng)),), expects="refusal")


def unrelated_hard(rng: Rng, number: int) -> Case:
    """Two programmes of one style: tempo, key and moods are shared, and here and there the language."""
    case = unrelated(rng, number)
    return replace(case, style=_style(rng))


def _style(rng: Rng) -> Style:
    return Style(
        tempo_bpm=float(rng.uniform(80.0, 140.0)),
        root_midi=int(rng.integers(43, 55)),
        minor=bool(rng.uniform() < 0.5),
        moods=tuple(int(mood) for mood in rng.permutation(len(MOODS))[:2]),
    )


def shared_title(rng: Rng, number: int) -> Case:
    """Two episodes of a series: a jingle of 5 s or a title of 20 to 45 s is the same, at different places."""
    case = replace(plain(rng, number), style=_style(rng))
    length_s = 5.0 if number % 2 else float(rng.uniform(20.0, 45.0))
    before, after = (round(float(rng.uniform(5.0, 80.0)) * RATE_HZ) for _ in range(2))
    title = Piece(
        "programme",
        round(length_s * RATE_HZ),
        round(float(rng.uniform(0.0, case.duration_s - length_s)) * RATE_HZ),
    )
    pieces = (Piece("foreign", before, seed=new_seed(rng)), title, Piece("foreign", after, seed=new_seed(rng)))
    return replace(case, pieces=pieces, expects="title", limit_ms=1.0)
