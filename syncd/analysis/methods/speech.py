"""`speech`: where people speak, for dubs that share no music and effects with their master.

It rests on the dialogue's timing and on nothing else: lines of a dub start where the master's do, within a few frames.
Where no bed has told the speed, it looks for that too, among the well-known ones.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from syncd.analysis.calibration import confidence_of
from syncd.analysis.correlate import CoarseResult
from syncd.analysis.dialogue import place_by_starts, run_apart, search_dialogue, search_speeds, speed_by_starts
from syncd.analysis.evidence import Beat, ChannelPair, quietly
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.silero import ModelUnavailable, load_silero
from syncd.analysis.speech import Lines, Times, hear_lines
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Estimate, Inconclusive, Metadata, Rate

RESTS_ON: Final = "dialogue timing"


class Speech:
    """Silero VAD, and the starts of the lines."""

    name = "speech"
    text = "Listening for dialogue"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which people start to speak together."""
        try:
            model = load_silero()
        except ModelUnavailable as missing:
            return MethodAnswer(Inconclusive((f"dialogue cannot be heard: {missing}",)), 0.0, skipped=True)
        pair = _with_sound(evidence)
        if pair is None:
            return MethodAnswer(Inconclusive(("there is nothing that both sides have",)), 0.0)
        blocks = 0

        def listening(done: int, total: int) -> None:
            nonlocal blocks
            blocks = total
            beat(done, total + 1)

        master, dub = hear_lines(model, (pair.master.sound, pair.dub.sound), listening)
        return place_dialogue(evidence, pair.name, (master, dub), lambda _done, _total: beat(blocks, blocks + 1))


def place_dialogue(evidence: Evidence, channel: str, lines: tuple[Lines, Lines], beat: Beat = quietly) -> MethodAnswer:
    """Where the dub lies by the lines that are heard on both sides."""
    metadata = _metadata(*lines)
    short = tuple(
        reason for name, side in zip(("master", "dub"), lines, strict=True) if (reason := too_little(name, side))
    )
    if short:
        return MethodAnswer(Inconclusive(short), 0.0, metadata, channel=channel, lines=lines)
    own, coarse = _searched(evidence, channel, lines, beat)
    return replace(answer_at(own or Rate(evidence.rate), coarse, *lines, metadata), lines=lines, rate=own)


def too_little(name: str, lines: Lines) -> str | None:
    """Why a side's dialogue cannot place anything, in words; None where it can."""
    count = int(lines.starts_s.size)
    if count == 0:
        return f"nobody is heard to speak on the {name}"
    if count >= THRESHOLDS.speech_least_lines and lines.spoken_s >= THRESHOLDS.speech_least_spoken_s:
        return None
    return (
        f"only {count} lines and {lines.spoken_s:.0f} s of dialogue are heard on the {name}; "
        f"{THRESHOLDS.speech_least_lines} lines and {THRESHOLDS.speech_least_spoken_s:g} s are needed"
    )


def _with_sound(evidence: Evidence) -> ChannelPair | None:
    """The first channel that is silent on neither side."""
    sounding = (
        pair
        for pair in evidence.pairs
        if min(pair.master.activity.level_db, pair.dub.activity.level_db) > THRESHOLDS.silent_level_db
    )
    return next(sounding, evidence.pairs[0] if evidence.pairs else None)


def _searched(
    evidence: Evidence, channel: str, lines: tuple[Lines, Lines], beat: Beat
) -> tuple[Rate | None, CoarseResult]:
    """All lags, at the speed that the bed gave; where none did, at the one that the lines themselves keep."""
    if evidence.speed_is_known:
        return None, search_dialogue(channel, *lines, evidence.rate, beat)
    rate, coarse = search_speeds(channel, *lines, evidence.rate, beat)
    if _unclear(coarse) is not None:
        return None, coarse
    lag_s = coarse.peaks[0].lag_s
    own = speed_by_starts(*starts_in_common(*lines, rate, lag_s), rate, lag_s)
    return own, coarse if own.ratio == rate else search_dialogue(channel, *lines, own.ratio, beat)


def answer_at(speed: Rate, coarse: CoarseResult, master: Lines, dub: Lines, metadata: Metadata) -> MethodAnswer:
    """From the lags of the whole files at that speed to one offset, or to a reason."""
    rate = speed.ratio
    height = coarse.best_deviations
    metadata["lags_compared"] = coarse.lags
    metadata["rate"] = rate
    unclear = _unclear(coarse)
    if unclear is not None:
        return MethodAnswer(Inconclusive((unclear,)), height, metadata, channel=coarse.channel)
    lag_s = coarse.peaks[0].lag_s
    metadata["coarse_offset_seconds"] = lag_s
    placed = place_by_starts(master.starts_s, dub.starts_s, rate, lag_s)
    ours_s, theirs_s = starts_in_common(master, dub, rate, lag_s)
    common = min(ours_s.size, theirs_s.size)
    metadata["lines_in_common_stretch"] = common
    if placed is not None:
        metadata["lines_matched"] = placed.matched
        metadata["lines_scatter_ms"] = round(placed.scatter_ms, 1)
    outcome: Estimate | Inconclusive
    if placed is None or placed.matched < THRESHOLDS.speech_least_share * common:
        matched = placed.matched if placed else 0
        outcome = Inconclusive((f"only {matched} of {common} lines start together at the best lag",))
    elif placed.matched < THRESHOLDS.speech_least_lines:
        reason = f"only {placed.matched} lines start together; {THRESHOLDS.speech_least_lines} are needed"
        outcome = Inconclusive((reason,))
    elif placed.uncertainty_ms > THRESHOLDS.speech_uncertainty_ms:
        reason = f"the lines' starts scatter too much to place the dub (±{placed.uncertainty_ms:.0f} ms)"
        outcome = Inconclusive((reason,))
    elif (apart := run_apart(ours_s, theirs_s, rate, placed.lag_s)) is not None:
        first_s, last_s = apart
        reason = (
            f"between {first_s:.0f} s and {last_s:.0f} s of the master the lines do not start together as elsewhere"
        )
        outcome = Inconclusive((reason,))
    else:
        uncertainty_ms = float(np.hypot(placed.uncertainty_ms, _by_speed_ms(speed, theirs_s)))
        confidence = confidence_of(Speech.name, height, metadata, uncertainty_ms)
        outcome = Estimate(placed.lag_s, confidence, uncertainty_ms)
    return MethodAnswer(outcome, height, metadata, channel=coarse.channel)


def _by_speed_ms(speed: Rate, starts_s: Times) -> float:
    """How far a measured speed may move the offset, which is the dub's first moment's, from where the lines are."""
    is_exact = speed.ratio == 1.0 or speed.name is not None
    return 0.0 if is_exact or speed.uncertainty_ppm is None else float(np.mean(starts_s)) * speed.uncertainty_ppm / 1e3


def _unclear(coarse: CoarseResult) -> str | None:
    height = coarse.best_deviations
    if height < THRESHOLDS.speech_match_deviations:
        return (
            f"the dialogue fits nowhere: the best of {coarse.lags} lags stands {height:.1f} deviations over chance, "
            f"{THRESHOLDS.speech_match_deviations:g} are needed"
        )
    if len(coarse.peaks) > 1 and coarse.peaks[1].deviations >= THRESHOLDS.ambiguous_ratio * height:
        first, second = coarse.peaks[:2]
        return f"the dialogue fits about as well at {first.lag_s:.2f} s as at {second.lag_s:.2f} s"
    return None


def starts_in_common(master: Lines, dub: Lines, rate: float, lag_s: float) -> tuple[Times, Times]:
    """The starts of both sides' lines (each in its own time) in the stretch that both cover at that lag."""
    moved_s = rate * dub.starts_s + lag_s
    ours = (master.starts_s >= lag_s) & (master.starts_s <= rate * dub.duration_s + lag_s)
    theirs = (moved_s >= 0.0) & (moved_s <= master.duration_s)
    return master.starts_s[ours], dub.starts_s[theirs]


def _metadata(master: Lines, dub: Lines) -> Metadata:
    return {
        "rests_on": RESTS_ON,
        "lines_master": int(master.starts_s.size),
        "lines_dub": int(dub.starts_s.size),
        "lines_matched": 0,
        "speech_seconds_master": round(master.spoken_s, 1),
        "speech_seconds_dub": round(dub.spoken_s, 1),
    }
