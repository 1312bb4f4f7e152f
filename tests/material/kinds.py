"""The kinds of the corpus: each draws its cases from a random stream, every parameter of them.

Limits are those that the analysis is held to: 0.1 ms wherever music and effects are shared and nothing moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from tests.material.dirt import Reverb
from tests.material.recipes import Case, Piece, Side, Source
from tests.material.seeds import RATE_HZ

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
    """Shared bed, two languages, an offset of some seconds either way, WAV."""
    length_s = float(rng.uniform(90.0, 240.0)) if duration_s is None else duration_s
    offset_s = float(rng.uniform(-12.0, 12.0)) if number % 4 else float(rng.uniform(-0.3, 0.3))
    case = Case(
        name="",
        kind="",
        seed=_seed(rng),
        duration_s=round(length_s, 2),
        master=Side(language=_seed(rng)),
        dub=Side(language=_seed(rng)),
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


def _seed(rng: Rng) -> int:
    return int(rng.integers(1, 1 << 30))


# ---------------------------------------------------------------- shared bed, untouched time


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


def _surround(rng: Rng, number: int) -> Case:
    """5.1 against 5.1, against a stereo fold-down, and against stereo."""
    case = _plain(rng, number, duration_s=float(rng.uniform(90.0, 150.0)))
    master = replace(case.master, layout="5.1", encodings=(replace(case.master.encodings[0]),))
    dub = (
        replace(case.dub, layout="5.1"),
        replace(case.dub, fold_down=True),
        case.dub,
    )[number % 3]
    return replace(case, master=master, dub=dub, limit_ms=0.1 if number % 3 == 0 else 4.0)


# ---------------------------------------------------------------- rooms


def _reverb(rng: Rng, number: int) -> Case:
    """The dub (or, each fourth, the master) in a room whose direct sound is heard."""
    case = _plain(rng, number)
    room = Reverb(float(rng.uniform(0.3, 1.8)), float(rng.uniform(-6.0, 6.0)), float(rng.uniform(0.004, 0.03)))
    if number % 4 == 3:
        return replace(case, master=replace(case.master, dirt=(room,)), limit_ms=4.0)
    return replace(case, dub=replace(case.dub, dirt=(room,)), limit_ms=4.0)


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
    case = _plain(rng, number, duration_s=float(rng.uniform(150.0, 240.0)))
    return _whole(case, case.truth().offset_s or 0.0, rate=_rate(rng, number))


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


def _unrelated(rng: Rng, number: int) -> Case:
    """Two programmes that have nothing to do with each other; each fourth speaks the same language."""
    case = _plain(rng, number)
    length = round(float(rng.uniform(20.0, 240.0)) * RATE_HZ)
    dub = case.dub if number % 4 else replace(case.dub, language=case.master.language)
    return replace(case, dub=dub, pieces=(Piece("foreign", length, seed=_seed(rng)),), expects="refusal")


KINDS: Final[dict[str, Kind]] = {
    "plain": Kind(_plain, 12),
    "leader": Kind(_leader, 8),
    "excerpt": Kind(_excerpt, 6),
    "5.1": Kind(_surround, 9),
    "reverb": Kind(_reverb, 12),
    "rates": Kind(_rates, 24),
    "edits": Kind(_edits, 24),
    "dialogue_only": Kind(_dialogue_only, 15),
    "unrelated": Kind(_unrelated, 20),
}
