"""The pairs whose reports are kept: one of each thing that a report can say, as short as it can be said of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.material.kinds.start import PAL, in_one_piece
from tests.material.recipes import Case, Piece, Side, Speed
from tests.material.seeds import RATE_HZ
from tests.material.writers import ENCODINGS


def _programme(name: str, seed: int, seconds: float, offset_s: float = 0.0) -> Case:
    """A programme in two languages, as the synthesis speaks them: it needs nothing installed."""
    plain = Case(
        name=name,
        kind="golden",
        seed=seed,
        duration_s=seconds,
        master=Side(language=1),
        dub=Side(language=2),
        pieces=(),
    )
    return in_one_piece(plain, offset_s)


def _pieces(*spans: tuple[float, float] | Piece) -> tuple[Piece, ...]:
    """Stretches of the programme (start and end in seconds), and what is none of it."""
    return tuple(span if isinstance(span, Piece) else _own(*span) for span in spans)


def _own(start_s: float, end_s: float) -> Piece:
    return Piece("programme", round((end_s - start_s) * RATE_HZ), round(start_s * RATE_HZ))


def _foreign(seconds: float, seed: int) -> Piece:
    return Piece("foreign", round(seconds * RATE_HZ), seed=seed)


def _cases() -> tuple[Case, ...]:
    late = _programme("late", 1, 25.0, -2.4567)
    aac = _programme("aac", 2, 25.0, -1.2345678)
    pal = in_one_piece(_programme("pal", 3, 30.0), 0.7431, rate=PAL)
    ad_break = _programme("ad_break", 4, 40.0)
    pal_cut = _programme("pal_cut", 5, 70.0)
    partial = in_one_piece(_programme("partial", 6, 30.0), 8.4567, dub_s=12.0)
    dialogue = _programme("dialogue", 7, 110.0, -0.6543)
    loop = _programme("loop", 8, 30.0, 1.2342)
    unrelated = _programme("unrelated", 9, 20.0)
    silence = _programme("silence", 10, 12.0)
    return (
        late,
        replace(aac, dub=replace(aac.dub, encodings=(ENCODINGS["mp4"],)), limit_ms=0.5),
        pal,
        replace(ad_break, pieces=_pieces((1.5, 24.0), _foreign(12.0, 41), (24.0, 38.0)), expects="segments"),
        replace(pal_cut, pieces=_pieces((2.5, 40.0), (46.0, 68.0)), speed=Speed(rate=PAL), expects="segments"),
        partial,
        replace(
            dialogue,
            master=replace(dialogue.master, bed_db=None, jitter_s=0.0),
            dub=replace(dialogue.dub, bed_db=None, jitter_s=0.04),
            limit_ms=40.0,
        ),
        replace(
            loop,
            master=replace(loop.master, loop_s=4.0),
            dub=replace(loop.dub, loop_s=4.0),
            expects="ambiguous",
        ),
        replace(unrelated, pieces=(_foreign(20.0, 91),), expects="refusal"),
        replace(silence, pieces=(Piece("silence", 12 * RATE_HZ),), expects="refusal"),
    )


CASES: Final = _cases()
