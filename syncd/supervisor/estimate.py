"""How long a job will still take. Pure: what was seen of its stages in, seconds out.

A job is a row of phases: reading (both sides at once), the survey, the methods one after another, the ends. For each
there is a figure of what it takes on a plain machine, by the length of the programme. Reading is judged by its own pace
as soon as it has one, for disks and networks differ a hundredfold. The phases after it are taken as the figures say,
scaled by how this very job has kept to them so far; the present one goes over from the figure to its own pace as it
gets on. What no figure can foresee (trying other speeds, say) counts while it lasts.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

MOST_S: Final = 48 * 3600.0
"""No estimate says more: beyond it there is nothing but a clock that stood still."""
SETTLED_S: Final = 2.0
"""A job's own pace counts as much as the figures after so many of their seconds."""
PACES: Final = (0.1, 30.0)
"""A job is believed to be so many times as slow as the figures, at least and at most."""
LEAST_SHARE: Final = 0.03
"""Of a stage done before its own pace says anything."""
SMOOTHING_S: Final = (0.5, 4.0)
"""A new estimate takes an old one's place in about a fifth of the time that is left, at least and at most this."""

READING: Final = 0.0026
"""Seconds a second of the longer side."""
_SIDES: Final = ("master", "dub")


@dataclass(frozen=True, slots=True)
class _Phase:
    """One step of a job: what it takes is ``base_s + share * (length of the longer side)``."""

    stages: tuple[str, ...]
    base_s: float
    share: float

    def usual_s(self, length_s: float) -> float:
        return self.base_s + self.share * length_s


_BEFORE_METHODS: Final = (
    _Phase(("curves",), 0.05, 0.0003),
    _Phase(("survey",), 0.05, 0.0004),
    _Phase(("speeds",), 0.0, 0.0),
    _Phase(("onsets",), 0.3, 0.0),
)
_METHODS: Final[dict[str, _Phase]] = {
    "correlation": _Phase(("correlation",), 0.25, 0.0),
    "mfcc": _Phase(("mfcc",), 0.15, 0.0001),
    "onset": _Phase(("onset",), 0.2, 0.0001),
    "spectral": _Phase(("spectral",), 0.05, 0.0),
    "chunked": _Phase(("chunked",), 0.2, 0.001),
    "chroma": _Phase(("chroma",), 0.2, 0.0001),
    "speech": _Phase(("speech",), 0.2, 0.008),
}
"""In the order in which they run."""
_AFTER_METHODS: Final = (
    _Phase(("timeline", "pieces"), 0.05, 0.0006),
    _Phase(("rivals",), 0.05, 0.0001),
    _Phase(("repetition",), 0.0, 0.0),
    _Phase(("draw",), 0.2, 0.0),
)
_MODELS: Final[dict[str, _Phase]] = {
    "wav2vec2": _Phase(("ai",), 3.0, 0.3),
    "yamnet": _Phase(("ai",), 2.5, 0.02),
    "spectral-embedding": _Phase(("ai",), 0.3, 0.004),
    "wav2vec2 on a card": _Phase(("ai",), 5.0, 0.004),
    "yamnet on a card": _Phase(("ai",), 5.0, 0.002),
}
"""After the methods, one at most."""
_END: Final = (_Phase(("report",), 0.1, 0.0),)


@dataclass(frozen=True, slots=True)
class Work:
    """What is known of a job beforehand."""

    master_s: float | None
    """Length of the side; None where the container does not say."""
    dub_s: float | None
    methods: tuple[str, ...]
    model: str | None = None
    """As in `_MODELS`; None: no model is asked."""


@dataclass(frozen=True, slots=True)
class StageSeen:
    """A stage that has begun."""

    name: str
    began_at_s: float
    """Monotonic seconds."""
    done: int
    total: int
    moved_at_s: float
    """When `done` was told last."""

    @property
    def share(self) -> float:
        """Of it that is done, 0 to 1."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 0.0

    @property
    def left_by_pace_s(self) -> float | None:
        """Seconds left at the pace that it had; None while it has none."""
        if self.share < LEAST_SHARE or self.moved_at_s <= self.began_at_s:
            return None
        return (self.moved_at_s - self.began_at_s) * (1.0 - self.share) / self.share


def seconds_left(seen: Sequence[StageSeen], work: Work, now_s: float) -> float | None:
    """From `now_s` on, 0 to `MOST_S`; None where nothing is known. `seen`: in the order of their beginnings."""
    if work.master_s is None or work.dub_s is None or not seen:
        return None
    length_s = max(work.master_s, work.dub_s)
    if not (math.isfinite(length_s) and length_s > 0.0):
        return None
    phases = _phases(work)
    places = [(_place(stage.name, phases), stage) for stage in seen]
    here = max((place for place, _ in places if place is not None), default=None)
    if here is None:
        reading = _reading_left_s(seen, work, now_s)
        return None if reading is None else _bounded(reading + sum(phase.usual_s(length_s) for phase in phases))
    present = [stage for place, stage in places if place == here]
    pace = _pace([(place, stage) for place, stage in places if place is not None], phases, here, length_s)
    left_s = _present_left_s(present[-1], phases[here].usual_s(length_s) * pace, now_s)
    if left_s is None:
        return None
    return _bounded(left_s + pace * sum(phase.usual_s(length_s) for phase in phases[here + 1 :]))


def smoothed(before: tuple[float, float] | None, raw_s: float, now_s: float) -> float:
    """The estimate to show: the one before (seconds left, when) counted down, moved some way towards the new one."""
    if before is None:
        return _bounded(raw_s)
    old_s = counted_down(before, now_s)
    shortest_s, longest_s = SMOOTHING_S
    time_s = min(longest_s, max(shortest_s, raw_s / 5.0))
    return _bounded(old_s + (raw_s - old_s) * -math.expm1(-max(0.0, now_s - before[1]) / time_s))


def counted_down(before: tuple[float, float], now_s: float) -> float:
    """What is left of an estimate (seconds left, when it was made)."""
    left_s, at_s = before
    return _bounded(left_s - max(0.0, now_s - at_s))


def usual_s(work: Work) -> float:
    """How long such a job takes, as the figures say; `MOST_S` where nothing is known of its length."""
    if work.master_s is None or work.dub_s is None:
        return MOST_S
    length_s = max(work.master_s, work.dub_s)
    return _bounded(READING * length_s + sum(phase.usual_s(length_s) for phase in _phases(work)))


def _phases(work: Work) -> tuple[_Phase, ...]:
    """What comes after reading."""
    methods = (phase for name, phase in _METHODS.items() if name in work.methods)
    model = () if work.model is None else (_MODELS[work.model],)
    return (*_BEFORE_METHODS, *methods, *_AFTER_METHODS, *model, *_END)


def _place(stage: str, phases: Sequence[_Phase]) -> int | None:
    return next((i for i, phase in enumerate(phases) if stage in phase.stages), None)


def _reading_left_s(seen: Sequence[StageSeen], work: Work, now_s: float) -> float | None:
    """Until both sides are there: they are read side by side."""
    lefts_s: list[float | None] = []
    for role, length_s in zip(_SIDES, (work.master_s, work.dub_s), strict=True):
        stages = [stage for stage in seen if stage.name.endswith(f"_{role}")]
        if not stages:
            lefts_s.append(READING * (length_s or 0.0))
        elif stages[-1].name.startswith("decode_"):
            lefts_s.append(_present_left_s(stages[-1], None, now_s))
        # Taking it from the cache, or putting it there, is over in a moment.
    known_s = [left_s for left_s in lefts_s if left_s is not None]
    return None if len(known_s) < len(lefts_s) else max(known_s, default=0.0)


def _present_left_s(stage: StageSeen, usual_s: float | None, now_s: float) -> float | None:
    by_pace_s = stage.left_by_pace_s
    since_s = max(0.0, now_s - stage.moved_at_s)
    if usual_s is None or usual_s <= 0.0:
        return None if by_pace_s is None else max(0.0, by_pace_s - since_s)
    by_figure_s = max(0.0, usual_s * (1.0 - stage.share))
    if by_pace_s is None:
        return by_figure_s
    return stage.share * max(0.0, by_pace_s - since_s) + (1.0 - stage.share) * by_figure_s


def _pace(places: Sequence[tuple[int, StageSeen]], phases: Sequence[_Phase], here: int, length_s: float) -> float:
    """How many times as long as the figures say the phases before the present one took."""
    starts_s: dict[int, float] = {}
    for place, stage in places:
        starts_s[place] = min(starts_s.get(place, math.inf), stage.began_at_s)
    order = sorted(starts_s)
    took_s = usual_s = 0.0
    for place, following in itertools.pairwise(order):
        expected_s = sum(phases[i].usual_s(length_s) for i in range(place, min(following, here)))
        if phases[place].usual_s(length_s) > 0.0:
            took_s += max(0.0, starts_s[following] - starts_s[place])
            usual_s += expected_s
    low, high = PACES
    return min(high, max(low, (took_s + SETTLED_S) / (usual_s + SETTLED_S)))


def _bounded(left_s: float) -> float:
    return min(MOST_S, max(0.0, left_s)) if math.isfinite(left_s) else MOST_S
