"""An edited dub conformed to its master: which of its samples go where. Pure, in whole samples at the dub's own rate.

The dub's samples are counted after its speed is undone, the places on the master's clock. What the dub has more is left
out; where master material is missing or replaced there is silence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from syncd.domain import Result, Segment, SegmentKind, Verdict
from syncd.reports.speed import shift_filters, speed_to_undo
from syncd.units import seconds_to_samples

MOST_PIECES: Final = 60
"""More pieces than a command line and a person bear."""
FADE_S: Final = 0.005
"""At each cut, out and in: no click."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the dub and where it begins on the master's clock."""

    start: int
    end: int | None
    """None: to the dub's end, however long it is."""
    place: int

    @property
    def place_end(self) -> int:
        """Where it ends; only of a piece whose end is known."""
        if self.end is None:
            raise ValueError("the last piece has no end")
        return self.place + self.end - self.start


def conform_pieces(result: Result) -> tuple[Piece, ...]:
    """The matching segments in order of time, as pieces that neither overlap nor move each other.

    The head before the first match is kept as far as it fits before it, and the tail after the last as it is.
    Neighbours that touch on both clocks are one piece. Empty unless the verdict is `edited`.
    """
    if result.verdict is not Verdict.EDITED:
        return ()
    ratio, rate_hz = speed_to_undo(result.rate, result.dub), result.dub.sample_rate_hz
    pieces: list[Piece] = []
    for segment in result.timeline:
        piece = _piece(segment, ratio, rate_hz)
        if piece is None:
            continue
        before = pieces[-1] if pieces else None
        piece = _with_head(piece) if before is None else _after(piece, before)
        if piece.end is None or piece.end <= piece.start:
            continue
        if before is not None and (before.end, before.place_end) == (piece.start, piece.place):
            pieces[-1] = replace(before, end=piece.end)
        else:
            pieces.append(piece)
    return (*pieces[:-1], replace(pieces[-1], end=None)) if pieces else ()


def silences(pieces: tuple[Piece, ...]) -> tuple[tuple[int, int], ...]:
    """What is silent in the conformed dub: from and to, in samples on the master's clock."""
    ends = (0, *(piece.place_end for piece in pieces[:-1])) if pieces else ()
    return tuple((end, piece.place) for end, piece in zip(ends, pieces, strict=True) if piece.place > end)


def conform_graph(pieces: tuple[Piece, ...], source: str, before: tuple[str, ...], sample_rate_hz: int) -> str:
    """ffmpeg's filter_complex from `source` (``0:a:1``) through the filters `before` to the pad ``[conformed]``."""
    count = len(pieces)
    taken = "".join(f"[take{i}]" for i in range(count))
    chains = [f"[{source}]{','.join(before)},asplit={count}{taken}"]
    ends = (*(piece.place for piece in pieces[1:]), None)
    for i, (piece, until) in enumerate(zip(pieces, ends, strict=True)):
        filters = [_trim(piece), "asetpts=PTS-STARTPTS", *_fades(piece, sample_rate_hz, is_first=i == 0)]
        if i == 0:
            filters += shift_filters(piece.place)
        if until is not None and until > piece.place_end:
            filters.append(f"apad=pad_len={until - piece.place_end}")
        chains.append(f"[take{i}]{','.join(filters)}[piece{i}]")
    joined = "".join(f"[piece{i}]" for i in range(count))
    chains.append(f"{joined}concat=n={count}:v=0:a=1[conformed]")
    return ";".join(chains)


def _piece(segment: Segment, ratio: float, rate_hz: int) -> Piece | None:
    dub_start_s, dub_end_s, offset_s = segment.dub_start_s, segment.dub_end_s, segment.offset_s
    if segment.kind is not SegmentKind.MATCH or dub_start_s is None or dub_end_s is None or offset_s is None:
        return None
    start, end = (seconds_to_samples(ratio * at_s, rate_hz) for at_s in (dub_start_s, dub_end_s))
    return Piece(start, end, start + seconds_to_samples(offset_s, rate_hz))


def _with_head(piece: Piece) -> Piece:
    """From the dub's first sample that has a place on the master's clock."""
    reach = min(piece.start, piece.place)
    return replace(piece, start=piece.start - reach, place=piece.place - reach)


def _after(piece: Piece, before: Piece) -> Piece:
    """Without what lies where the piece before it lies already, on either clock."""
    late = max(0, before.place_end - piece.place, (before.end or 0) - piece.start)
    return replace(piece, start=piece.start + late, place=piece.place + late)


def _trim(piece: Piece) -> str:
    end = "" if piece.end is None else f":end_sample={piece.end}"
    return f"atrim=start_sample={piece.start}{end}"


def _fades(piece: Piece, sample_rate_hz: int, *, is_first: bool) -> list[str]:
    fade = seconds_to_samples(FADE_S, sample_rate_hz)
    if piece.end is not None:
        fade = min(fade, (piece.end - piece.start) // 2)
    if fade == 0:
        return []
    fades = [] if is_first else [f"afade=t=in:ss=0:ns={fade}"]
    if piece.end is not None:
        fades.append(f"afade=t=out:ss={piece.end - piece.start - fade}:ns={fade}")
    return fades
