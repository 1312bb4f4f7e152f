"""What speaks against one offset for the whole programme: drift, cuts, repetition, stretches that bear nothing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.correlate import CoarseResult
from syncd.analysis.ends import MovedEnd
from syncd.analysis.speeds import name_speed
from syncd.analysis.steadiness import Steadiness, agreeing, is_match, judge_track, support_of
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult
from syncd.domain import Candidate

LONG_STRETCH_S = 20.0
LONG_STRETCH_SHARE = 0.25
"""An end of the overlap this long without agreement asks for a person: something may be missing or replaced there."""


class DoubtKind(StrEnum):
    """Why one offset may not be the answer."""

    DRIFTS = "drifts"
    JUMPS = "jumps"
    AMBIGUOUS = "ambiguous"
    PART_BEARS_NOTHING = "part_bears_nothing"
    SPARSE = "sparse"
    """Fewer windows agree than a shared programme lets expect."""
    END_MOVED = "end_moved"
    """The first or last seconds keep another offset."""
    THIN = "thin"
    """Only a small share of the windows agrees."""


@dataclass(frozen=True)
class Doubt:
    """One objection, in a sentence."""

    kind: DoubtKind
    sentence: str
    candidates: tuple[Candidate, ...] = ()

    @property
    def grave(self) -> bool:
        """Whether it forbids to give one offset; the others ask for a look."""
        return self.kind not in {DoubtKind.PART_BEARS_NOTHING, DoubtKind.SPARSE, DoubtKind.END_MOVED}


def find_doubts(findings: tuple[FineResult, ...], coarse: tuple[CoarseResult, ...]) -> tuple[Doubt, ...]:
    """All objections. `findings` (best first) come from windows, `coarse` (strongest first) from whole files."""
    if not findings or not is_match(findings[0], support_of(findings[0])):
        return (
            thin_match(findings, THRESHOLDS.fine_match_deviations)
            or _moving_without_match(findings)
            or _coarse_ambiguity(coarse)
        )
    best = findings[0]
    moving = _movement(best) or _elsewhere(best, findings[1:])
    if moving is not None:
        return (moving,)
    ambiguous = _ambiguity(best, findings[1:], coarse)
    return (ambiguous,) if ambiguous is not None else _silent_ends(best)


def _movement(best: FineResult) -> Doubt | None:
    judgement = judge_track(best.track, best.lag_s)
    if judgement.steadiness is Steadiness.DRIFTS:
        name = name_speed(judgement.ppm)
        called = f" ({name})" if name else ""
        return Doubt(
            DoubtKind.DRIFTS,
            f"The two do not keep one offset: it moves by {abs(judgement.ppm):.1f} ppm over the programme{called}. "
            "Speed differences are measured from the next version on.",
            (Candidate(best.lag_s, best.deviations),),
        )
    if judgement.other_lag_s is not None and judgement.other_from_s is not None:
        return _cut(best, judgement.other_lag_s, judgement.other_from_s, 0.0)
    return None


def _cut(best: FineResult, other_lag_s: float, from_s: float, deviations: float) -> Doubt:
    return Doubt(
        DoubtKind.JUMPS,
        f"The two do not keep one offset: the dub is {early_or_late(best.lag_s)} in one part and "
        f"{early_or_late(other_lag_s)} in another (from {clock(from_s)} of the dub). Edits are measured from the next "
        "version on.",
        (Candidate(best.lag_s, best.deviations), Candidate(other_lag_s, deviations)),
    )


def _elsewhere(best: FineResult, others: tuple[FineResult, ...]) -> Doubt | None:
    """Another lag that holds where the best one does not."""
    for other in others:
        own = agreeing(other.track, other.lag_s) & other.track.heard
        if other.deviations < THRESHOLDS.fine_match_deviations or np.count_nonzero(own) < THRESHOLDS.jump_windows:
            continue
        if abs(other.lag_s - best.lag_s) * 1000.0 <= THRESHOLDS.window_agrees_ms:
            continue
        times_s = other.track.dub_centre_s[own]
        if np.mean(_holds_at(best, times_s)) < 0.5:
            return _cut(best, other.lag_s, float(times_s[0]) - other.track.window_s / 2, other.deviations)
    return None


def _ambiguity(best: FineResult, others: tuple[FineResult, ...], coarse: tuple[CoarseResult, ...]) -> Doubt | None:
    """Another lag that holds in the same windows, nearly as high."""
    rivals = [
        other
        for other in others
        if other.deviations >= THRESHOLDS.ambiguous_ratio * best.deviations
        and abs(other.lag_s - best.lag_s) * 1000.0 > THRESHOLDS.agreement_ms
        and is_match(other, support_of(other))
        and _coarse_height(coarse, other.lag_s) >= THRESHOLDS.ambiguous_ratio * _coarse_height(coarse, best.lag_s)
    ]
    if not rivals:
        return None
    return _ambiguous(tuple(Candidate(found.lag_s, found.deviations) for found in (best, *rivals)))


def _ambiguous(candidates: tuple[Candidate, ...]) -> Doubt:
    listed = ", ".join(early_or_late(candidate.offset_s) for candidate in candidates[:4])
    sentence = f"The programme repeats itself: several offsets fit about equally well ({listed})."
    return Doubt(DoubtKind.AMBIGUOUS, sentence, candidates)


def _coarse_ambiguity(coarse: tuple[CoarseResult, ...]) -> tuple[Doubt, ...]:
    peaks = coarse[0].peaks if coarse else ()
    if not peaks or peaks[0].deviations < THRESHOLDS.coarse_match_deviations:
        return ()
    fitting = [p for p in peaks if p.deviations >= THRESHOLDS.ambiguous_ratio * peaks[0].deviations]
    if len(fitting) < 2:
        return ()
    return (_ambiguous(tuple(Candidate(p.lag_s, p.deviations) for p in fitting)),)


def _moving_without_match(findings: tuple[FineResult, ...]) -> tuple[Doubt, ...]:
    """Windows that speak, each for another lag, along a line: too spread to add up to a match."""
    for found in findings:
        doubt = _movement(found)
        if doubt is not None and doubt.kind is DoubtKind.DRIFTS:
            return (doubt,)
    return ()


def thin_match(findings: tuple[FineResult, ...], least_deviations: float) -> tuple[Doubt, ...]:
    """Beyond chance, but borne by a few windows only: a shared jingle, or a shared programme with little in common."""
    for found in findings:
        support = support_of(found)
        own = agreeing(found.track, found.lag_s) & found.track.heard
        certain = found.deviations >= THRESHOLDS.thin_certain_deviations
        fewest = THRESHOLDS.least_supporting_windows if certain else THRESHOLDS.jump_windows
        if found.deviations < least_deviations or np.count_nonzero(own) < fewest:
            continue
        if not is_match(found, support):
            return (
                Doubt(
                    DoubtKind.THIN,
                    f"Only {support.agreeing} of {support.with_sound} stretches agree on one offset "
                    f"({early_or_late(found.lag_s)}): the two may share a title sequence rather than a programme.",
                    (Candidate(found.lag_s, found.deviations),),
                ),
            )
    return ()


def sparse_match(best: FineResult) -> tuple[Doubt, ...]:
    """An offset that stands on fewer windows than a person would take on trust."""
    support = support_of(best)
    if support.share >= THRESHOLDS.doubtful_supporting_share:
        return ()
    return (
        Doubt(
            DoubtKind.SPARSE,
            f"Only {support.agreeing} of {support.with_sound} stretches agree with the offset: the bed may be faint, "
            "or only a part of the programme shared.",
        ),
    )


def moved_end(end: MovedEnd, lag_s: float) -> Doubt:
    """The first or last seconds were moved: a cut or an insertion shortly after the start or before the end."""
    return Doubt(
        DoubtKind.END_MOVED,
        f"From {clock(end.dub_start_s)} to {clock(end.dub_end_s)} the dub is {early_or_late(end.lag_s)}, and elsewhere "
        f"{early_or_late(lag_s)}: material was cut or put in near there.",
        (Candidate(end.lag_s, 0.0),),
    )


def _silent_ends(best: FineResult) -> tuple[Doubt, ...]:
    """A long head or tail of the overlap in which nothing agrees."""
    track = best.track
    sounding = track.sounding
    holds = agreeing(track, best.lag_s)[sounding]
    times_s = track.dub_centre_s[sounding]
    if not holds.any():
        return ()
    span_s = float(times_s[-1] - times_s[0]) + track.window_s
    needed_s = max(LONG_STRETCH_S, LONG_STRETCH_SHARE * span_s)
    first, last = int(np.argmax(holds)), holds.size - 1 - int(np.argmax(holds[::-1]))
    doubts = []
    if times_s[first] - times_s[0] >= needed_s:
        doubts.append(
            _bears_nothing(float(times_s[0]) - track.window_s / 2, float(times_s[first]) - track.window_s / 2)
        )
    if times_s[-1] - times_s[last] >= needed_s:
        doubts.append(
            _bears_nothing(float(times_s[last]) + track.window_s / 2, float(times_s[-1]) + track.window_s / 2)
        )
    return tuple(doubts)


def _bears_nothing(start_s: float, end_s: float) -> Doubt:
    return Doubt(
        DoubtKind.PART_BEARS_NOTHING,
        f"From {clock(max(0.0, start_s))} to {clock(end_s)} of the dub nothing agrees with the master: material may be "
        "missing, inserted or replaced there.",
    )


def early_or_late(offset_s: float) -> str:
    """``1.250 s late``: words for people never say plus or minus."""
    if abs(offset_s) < 0.0005:
        return "in place"
    return f"{abs(offset_s):.3f} s {'late' if offset_s < 0.0 else 'early'}"


def clock(seconds: float) -> str:
    """``H:MM:SS`` or ``M:SS``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}" if hours else f"{minute}:{second:02d}"


def _holds_at(found: FineResult, times_s: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether the lag holds in the window nearest to each time; false beyond its overlap."""
    centres_s = found.track.dub_centre_s
    nearest = np.abs(centres_s[:, None] - times_s[None, :]).argmin(axis=0)
    inside = np.abs(centres_s[nearest] - times_s) <= found.track.window_s
    return np.asarray(agreeing(found.track, found.lag_s)[nearest] & inside)


def _coarse_height(coarse: tuple[CoarseResult, ...], lag_s: float) -> float:
    near = [p.deviations for result in coarse for p in result.peaks if abs(p.lag_s - lag_s) <= 0.3]
    return max(near, default=0.0)
