"""The edits of a dub in words: what is missing, inserted or replaced, and what will be silent once it is conformed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from syncd.domain import MeasuredSide, Result, Segment, SegmentKind
from syncd.reports.conform import Piece, silences
from syncd.reports.master_clock import clock_words, master_timecode

MOST_TOLD: Final = 10
"""The timeline has them all."""
LEAST_S: Final = 0.001
"""A shorter silence is a rounding, and nobody fills it."""


def cut_list(result: Result) -> str | None:
    """The edits in order of time as one sentence; None where there is none to name."""
    told = []
    master_at_s = 0.0
    for segment in result.timeline:
        words = _edit(segment, result.master, master_at_s)
        if words is not None:
            told.append(words)
        if segment.master_end_s is not None:
            master_at_s = segment.master_end_s
    if not told:
        return None
    rest = f"; and {len(told) - MOST_TOLD} more in the timeline of this report" if len(told) > MOST_TOLD else ""
    return f"Cut list, in {clock_words(result.master)}: {'; '.join(told[:MOST_TOLD])}{rest}."


def silence_words(result: Result, pieces: tuple[Piece, ...]) -> str | None:
    """What a person has to fill in the conformed dub; None where nothing is silent."""
    rate_hz = result.dub.sample_rate_hz
    gaps_s = [(start / rate_hz, end / rate_hz) for start, end in silences(pieces) if end - start >= LEAST_S * rate_hz]
    if not gaps_s:
        return None
    told = [_span(result.master, *gap) for gap in gaps_s[:MOST_TOLD]]
    rest = f", and {len(gaps_s) - MOST_TOLD} more" if len(gaps_s) > MOST_TOLD else ""
    total_s = sum(end_s - start_s for start_s, end_s in gaps_s)
    return (
        f"The dub has nothing for {total_s:.3f} s of the master; there the conformed dub is silent, and a person has "
        f"to fill it: {', '.join(told)}{rest}."
    )


def _edit(segment: Segment, master: MeasuredSide, master_at_s: float) -> str | None:
    on_master = _known(segment.master_start_s, segment.master_end_s)
    on_dub = _known(segment.dub_start_s, segment.dub_end_s)
    match segment.kind, on_master, on_dub:
        case SegmentKind.MISSING, (start_s, end_s), _:
            return f"missing {_span(master, start_s, end_s)}"
        case SegmentKind.INSERTED, _, (start_s, end_s):
            where = f"at {master_timecode(master, master_at_s)}"
            return f"inserted {where} ({end_s - start_s:.3f} s, {_dub_span(start_s, end_s)})"
        case SegmentKind.REPLACED, (start_s, end_s), (dub_start_s, dub_end_s):
            instead = f"by {dub_end_s - dub_start_s:.3f} s, {_dub_span(dub_start_s, dub_end_s)}"
            return f"replaced {_span(master, start_s, end_s)} {instead}"
        case _:
            return None


def _known(*ends_s: float | None) -> Sequence[float]:
    return [end_s for end_s in ends_s if end_s is not None]


def _span(master: MeasuredSide, start_s: float, end_s: float) -> str:
    first, last = master_timecode(master, start_s), master_timecode(master, end_s)
    return f"from {first} to {last} ({end_s - start_s:.3f} s)"


def _dub_span(start_s: float, end_s: float) -> str:
    return f"from {_minutes(start_s)} to {_minutes(end_s)} of the dub"


def _minutes(at_s: float) -> str:
    """``1:02.345``: the dub's own clock, from its beginning."""
    thousandths = round(at_s * 1000.0)
    return f"{thousandths // 60_000}:{thousandths // 1000 % 60:02d}.{thousandths % 1000:03d}"
