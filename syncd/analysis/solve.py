"""From curves and sounds to pieces with ends: survey, alignment, cuts, and again where a gap is left on both sides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from syncd.analysis.agreement import agreement
from syncd.analysis.align import Aligned, Alignment
from syncd.analysis.cuts import bearing_s
from syncd.analysis.evidence import Beat, ChannelPair, part_of, quietly
from syncd.analysis.steadiness import support_of
from syncd.analysis.survey import Gap, Piece, Surveyor
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.timeline import WHOLE_HOP_SAMPLES, Stretch, find_stretches, gaps_between
from syncd.analysis.wide import wide_within

LEAST_GAP_S: Final = 1.0
"""A gap shorter than this on either side holds no piece that could be told from chance."""
MOST_ROUNDS: Final = 3
SAME_LAG_S: Final = 0.03
LEAST_BEARING_S: Final = 2.5
LEAST_BEARING_SHARE: Final = 0.1
"""Of what is found in a gap: so long, and so much of it, must bear the agreement. A library's effect lasts a second."""

Align = Callable[[Alignment], Alignment]


@dataclass(frozen=True)
class Solution:
    """Pieces and the stretches in which they hold."""

    alignment: Alignment
    stretches: tuple[Stretch, ...]


def solve(
    surveyor: Surveyor,
    pairs: Sequence[ChannelPair],
    start: Alignment,
    align: Align,
    sides_s: tuple[float, float],
    beat: Beat = quietly,
) -> Solution:
    """Complete an alignment: look into every gap, align what is found there, until nothing more is found.

    `align` measures pieces at the alignment's rate; `sides_s`: lengths of master and dub (its own clock).
    """
    master_s, dub_s = sides_s
    alignment = start

    def stretches_of(known: Alignment, turn: int) -> tuple[Stretch, ...]:
        told = part_of(beat, turn, MOST_ROUNDS + 1)
        return find_stretches(known, pairs, surveyor, master_s, dub_s * known.rate, told)

    beat(0, MOST_ROUNDS + 1)
    stretches = stretches_of(alignment, 0)
    seen: set[tuple[int, ...]] = set()
    for turn in range(MOST_ROUNDS):
        beat(turn + 1, MOST_ROUNDS + 1)
        gaps = [gap for gap in gaps_between(stretches, master_s, dub_s * alignment.rate) if _is_worth(gap)]
        new = [gap for gap in gaps if _rounded(gap) not in seen]
        seen.update(_rounded(gap) for gap in new)
        borne = tuple(one for gap in new for one in _pieces_within(gap, surveyor, pairs, alignment, align))
        if not borne:
            break
        alignment = replace(alignment, pieces=_laid_into(alignment.pieces, borne))
        stretches = stretches_of(alignment, turn + 1)
    return Solution(alignment, stretches)


def _pieces_within(
    gap: Gap, surveyor: Surveyor, pairs: Sequence[ChannelPair], alignment: Alignment, align: Align
) -> tuple[Aligned, ...]:
    """What is borne out there, by the alignment's own channel or else by another: a bed may be heard in one of them."""
    known_s = [one.piece.lag_s for one in alignment.pieces]
    others = [pair.name for pair in pairs if pair.name != alignment.channel]
    for channel in (alignment.channel, *others):
        pieces = tuple(
            _unaligned(piece)
            for piece in surveyor.within(channel, alignment.rate, gap)
            if all(abs(piece.lag_s - lag_s) > SAME_LAG_S for lag_s in known_s)
        )
        found = align(replace(alignment, channel=channel, pieces=pieces)).pieces if pieces else ()
        borne = tuple(
            one
            for one in found
            if (one.matches and _lasts(one, pairs, alignment.rate) if alignment.by_waves else one.is_borne_out)
        )
        if borne:
            return borne
    return _by_waveforms_within(gap, pairs, alignment, align) if alignment.by_waves else ()


def _by_waveforms_within(
    gap: Gap, pairs: Sequence[ChannelPair], alignment: Alignment, align: Align
) -> tuple[Aligned, ...]:
    """The piece that one long correlation finds there, if its windows bear it out."""
    for wide in wide_within(pairs, alignment.rate, gap):
        piece = Piece(*wide.span_s, wide.lag_s, wide.deviations**2 / 2.0)
        found = align(replace(alignment, channel=wide.channel, pieces=(_unaligned(piece),))).pieces
        if all(_is_borne_alone(one) and _lasts(one, pairs, alignment.rate) for one in found):
            return found
    return ()


def _is_borne_alone(one: Aligned) -> bool:
    """Whether the windows bear out a lag that one correlation chose among many, and that nothing else suggests."""
    return (
        one.matches
        and one.waves is not None
        and one.waves.deviations >= THRESHOLDS.wide_fine_deviations
        and support_of(one.waves).agreeing >= THRESHOLDS.wide_least_windows
    )


def _lasts(one: Aligned, pairs: Sequence[ChannelPair], rate: float) -> bool:
    """Whether it agrees for longer than a sound effect that happens to be used twice."""
    piece = one.piece
    found = agreement(pairs, rate, piece.lag_s, piece.start_s, piece.end_s, hop_samples=WHOLE_HOP_SAMPLES)
    least_s = max(LEAST_BEARING_S, LEAST_BEARING_SHARE * (piece.end_s - piece.start_s))
    return bearing_s(found.values, found.step_s) >= least_s


def _laid_into(known: Sequence[Aligned], new: Sequence[Aligned]) -> tuple[Aligned, ...]:
    """In order of time; of a known piece with a new one in it is left what lies before it and after it."""
    laid = list(known)
    for one in new:
        first_s, last_s = one.piece.start_s, one.piece.end_s
        laid = [part for whole in laid for part in _around(whole, first_s, last_s)]
    return tuple(sorted((*laid, *new), key=lambda one: one.piece.start_s + one.piece.end_s))


def _around(whole: Aligned, first_s: float, last_s: float) -> list[Aligned]:
    piece = whole.piece
    if not piece.start_s < first_s < last_s < piece.end_s:
        return [whole]
    parts = replace(piece, end_s=first_s), replace(piece, start_s=last_s)
    return [replace(whole, piece=part) for part in parts if part.end_s - part.start_s >= LEAST_GAP_S]


def _unaligned(piece: Piece) -> Aligned:
    return Aligned(piece, None, None)


def _is_worth(gap: Gap) -> bool:
    return min(gap.dub_s[1] - gap.dub_s[0], gap.master_s[1] - gap.master_s[0]) >= LEAST_GAP_S


def _rounded(gap: Gap) -> tuple[int, ...]:
    return tuple(round(2 * v) for v in (*gap.dub_s, *gap.master_s))
