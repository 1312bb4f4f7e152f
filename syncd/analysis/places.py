"""Which moments of a pair are worth a look, and which part of the dub belongs there. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from syncd.domain import Segment, SegmentKind

MOST_CUTS: Final = 3
FROM_ENDS_S: Final = 4.0
"""How far from the ends of what matches the first and last look are taken."""
APART_S: Final = 4.0
MOST_STEPS: Final = 4
LONGEST_STEP_S: Final = 6.0
STEPS_IN_ALL: Final = 40
"""No step is longer than this share of what there is: places keep their order."""


@dataclass(frozen=True)
class Stretch:
    """A part of the master that the dub has too."""

    start_s: float
    """Of the master."""
    end_s: float
    offset_s: float
    """``t_master = rate * t_dub + offset_s``."""


@dataclass(frozen=True)
class Marked:
    """A moment to be looked at."""

    label: str
    centre_s: float
    """Of the master."""
    step_s: float
    """Livelier moments so much later (negative: earlier), up to `MOST_STEPS`, will do as well; 0: this one alone."""


def stretches_of(timeline: Sequence[Segment]) -> tuple[Stretch, ...]:
    """The matching segments."""
    return tuple(
        Stretch(segment.master_start_s, segment.master_end_s, segment.offset_s)
        for segment in timeline
        if segment.kind is SegmentKind.MATCH
        and segment.master_start_s is not None
        and segment.master_end_s is not None
        and segment.offset_s is not None
    )


def marked_places(stretches: Sequence[Stretch], master_s: float, dub_s: float) -> tuple[Marked, ...]:
    """Start, the first few cuts, middle and end of what matches; of the shorter side where nothing does."""
    if not stretches:
        length_s = min(master_s, dub_s)
        return _apart(
            [
                Marked(name, share * length_s, sign * _step_s(length_s))
                for name, share, sign in (("start", 0.1, 1.0), ("middle", 0.5, 1.0), ("end", 0.9, -1.0))
            ]
        )
    first_s, last_s = stretches[0].start_s, stretches[-1].end_s
    longest = max(stretches, key=lambda each: each.end_s - each.start_s)
    step_s = _step_s(longest.end_s - longest.start_s)
    cuts = [
        Marked("cut", (a.end_s + b.start_s) / 2 if b.start_s - a.end_s < APART_S else a.end_s, 0.0)
        for a, b in itertools.pairwise(stretches)
    ]
    wanted = [
        *cuts[:MOST_CUTS],
        Marked("start", min(first_s + FROM_ENDS_S, (first_s + last_s) / 2), step_s),
        Marked("end", max(last_s - FROM_ENDS_S, (first_s + last_s) / 2), -step_s),
        Marked("middle", (longest.start_s + longest.end_s) / 2, step_s),
    ]
    return _apart(wanted)


def span_pieces(stretches: Sequence[Stretch], from_s: float, to_s: float) -> Iterator[tuple[float, float, float]]:
    """The parts of a span of the master that the dub has: from, to (s of the master) and the offset there (s)."""
    for stretch in stretches:
        start_s, end_s = max(from_s, stretch.start_s), min(to_s, stretch.end_s)
        if start_s < end_s:
            yield start_s, end_s, stretch.offset_s


def _step_s(length_s: float) -> float:
    return min(LONGEST_STEP_S, length_s / STEPS_IN_ALL)


def _apart(wanted: Sequence[Marked]) -> tuple[Marked, ...]:
    """Without those that would show what an earlier one shows, in order of time."""
    kept: list[Marked] = []
    for one in wanted:
        if all(abs(one.centre_s - other.centre_s) >= APART_S for other in kept):
            kept.append(one)
    return tuple(sorted(kept, key=lambda one: one.centre_s))
