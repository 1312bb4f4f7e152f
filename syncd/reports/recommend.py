"""The report's sentences for people: what is so (`sync_status`) and what to do about it (`recommendations`).

Words say early or late, never plus or minus.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from syncd.domain import (
    AnalysisSettings,
    Estimate,
    Failure,
    MeasuredSide,
    Rate,
    Result,
    SegmentKind,
    Tolerance,
    Verdict,
)
from syncd.errors import error_advice
from syncd.reports.conform import MOST_PIECES, conform_pieces
from syncd.reports.cutlist import cut_list, silence_words
from syncd.reports.master_clock import native_rate
from syncd.reports.plain import one_line
from syncd.reports.speed import PITCH_FOLLOWS_SEMITONES, SpeedMeans, semitones_of, speed_means, speed_to_undo
from syncd.units import rate_to_ppm, seconds_to_frames, seconds_to_ms, seconds_to_samples

_TOLERANCE_NAMES: Final = {
    "ebu-r37": "EBU R37",
    "itu-bt1359": "ITU-R BT.1359",
    "atsc-is191": "ATSC IS-191",
    "custom": "the tolerance of this profile",
}


def sync_status(result: Result, tolerance: Tolerance) -> str:
    """One line that says how the dub lies."""
    reasons = _joined(result.reasons)
    limits = tolerance_words(tolerance)
    match result.verdict:
        case Verdict.INCONCLUSIVE:
            return one_line(f"No offset can be given{f': {reasons}' if reasons else ''}.")
        case Verdict.NO_MATCH:
            return one_line(f"These do not seem to be the same programme{f': {reasons}' if reasons else ''}.")
        case Verdict.EDITED:
            return _edited_status(result)
        case Verdict.DRIFT:
            return _drift_status(result)
        case Verdict.OFFSET:
            offset_s = _consensus(result).offset_s
            lie = f"{early_or_late(offset_s)} ({_frames(offset_s, result.master)})"
            return f"The dub is {lie}: outside {limits}."
        case Verdict.IN_SYNC:
            return f"The dub is in sync: {early_or_late(_consensus(result).offset_s)}, within {limits}."


def failure_status(failure: Failure) -> str:
    """One line that says why there is no answer."""
    return one_line(f"The pair could not be analysed: {failure.message}")


def recommendations(result: Result, settings: AnalysisSettings, correction: dict[str, Any] | None) -> list[str]:
    """What a person can do, most useful first; never empty."""
    advice = _verdict_advice(result, has_command=correction is not None)
    if correction is not None:
        advice.append(f"This does it, into a new file beside the dub: {correction['shell']}")
    if result.review:
        advice.append(_review_advice(result, settings))
    if result.consensus is not None:
        advice += [_delay_advice(side, name) for side, name in _sides_with_codec_delay(result)]
    return advice or ["Nothing needs to be done."]


def failure_recommendations(failure: Failure) -> list[str]:
    """What to do about a failed job."""
    return [error_advice(failure.code)]


def early_or_late(offset_s: float) -> str:
    """How far and which way, in words.

    >>> early_or_late(-2.456)
    '2.456 s late'
    >>> early_or_late(0.0412)
    '41.2 ms early'
    """
    size = amount(offset_s)
    if size == "0.0 ms":
        return "less than 0.1 ms off"
    return f"{size} {'late' if offset_s < 0 else 'early'}"


def amount(seconds: float) -> str:
    """A duration without its direction: seconds to the millisecond, below one second milliseconds to the tenth."""
    size_s = abs(seconds)
    return f"{size_s:.3f} s" if size_s >= 1.0 else f"{seconds_to_ms(size_s):.1f} ms"


def tolerance_words(tolerance: Tolerance) -> str:
    """``EBU R37 (40 ms early, 60 ms late)``."""
    name = _TOLERANCE_NAMES.get(tolerance.name, one_line(tolerance.name))
    return f"{name} ({tolerance.early_ms:g} ms early, {tolerance.late_ms:g} ms late)"


def _consensus(result: Result) -> Estimate:
    if result.consensus is None:
        raise ValueError(f"verdict {result.verdict} without an offset")
    return result.consensus


def _frames(offset_s: float, master: MeasuredSide) -> str:
    name, value = native_rate(master.frame_rate)
    return f"{abs(seconds_to_frames(offset_s, value)):.1f} frames at {name.removesuffix('.0')} fps"


def _joined(reasons: tuple[str, ...]) -> str:
    return "; ".join(reason.strip().rstrip(".") for reason in reasons)


def _faster_or_slower(rate: Rate) -> str:
    ppm = rate_to_ppm(rate.ratio)
    size = f"{abs(ppm) / 1e4:.3f} %" if abs(ppm) >= 1000.0 else f"{abs(ppm):.1f} ppm"
    named = f" ({rate.name})" if rate.name else ""
    return f"{size} {'faster' if ppm > 0 else 'slower'} than the master{named}{_pitch(rate)}"


def _pitch(rate: Rate) -> str:
    """What became of the pitch, where the speed alone would have moved it by more than is told apart."""
    semitones = rate.pitch_semitones
    if semitones is None or abs(semitones_of(rate.ratio)) < PITCH_FOLLOWS_SEMITONES:
        return ""
    if abs(semitones) < PITCH_FOLLOWS_SEMITONES:
        return ", its pitch kept"
    return f", its pitch {_raised(semitones)}"


def _raised(semitones: float) -> str:
    return f"{'raised' if semitones > 0 else 'lowered'} by {abs(semitones):.2f} semitones"


def _drift_status(result: Result) -> str:
    start = early_or_late(_consensus(result).offset_s)
    speed = _faster_or_slower(result.rate) if result.rate else "at another speed than the master"
    comma = "," if "," in speed else ""
    return f"The dub drifts: it plays {speed}{comma} and is {start} at its start."


def _edited_status(result: Result) -> str:
    count = Counter(segment.kind for segment in result.timeline)
    parts = [f"{count[SegmentKind.MATCH]} matching"] + [
        f"{count[kind]} {kind.value}"
        for kind in (SegmentKind.MISSING, SegmentKind.INSERTED, SegmentKind.REPLACED)
        if count[kind]
    ]
    other_speed = result.rate is not None and speed_to_undo(result.rate, result.dub) != 1.0
    speed = f" and plays {_faster_or_slower(result.rate)}" if result.rate and other_speed else ""
    longest = early_or_late(_consensus(result).offset_s)
    return f"The dub is edited ({', '.join(parts)}){speed}: no single offset fits it; its longest match is {longest}."


def _verdict_advice(result: Result, *, has_command: bool) -> list[str]:
    match result.verdict:
        case Verdict.IN_SYNC:
            return _repitched_advice(result)
        case Verdict.OFFSET:
            move = _move_advice(_consensus(result).offset_s, result.dub.sample_rate_hz)
            return [move, *_repitched_advice(result)]
        case Verdict.DRIFT:
            offset_s = _consensus(result).offset_s
            moved = [_move_advice(offset_s, result.dub.sample_rate_hz, "Then move")] if abs(offset_s) >= 5e-5 else []
            return ["Shifting alone does not mend it.", *_speed_advice(result), *moved]
        case Verdict.EDITED:
            return _edited_advice(result, has_command=has_command)
        case Verdict.NO_MATCH:
            return ["Check that the right two files were paired: title, episode, reel and audio track."]
        case Verdict.INCONCLUSIVE:
            return [_undecided_advice(result)]


def _speed_advice(result: Result) -> list[str]:
    """What undoes the speed, and why that; nothing where the dub runs as fast as its master."""
    rate, ratio = result.rate, speed_to_undo(result.rate, result.dub)
    if rate is None or ratio == 1.0:
        return []
    length = f"{ratio:.9f} times as long (rate.ratio)"
    if speed_means(rate) is SpeedMeans.RESAMPLE:
        kept = abs(semitones_of(ratio)) < PITCH_FOLLOWS_SEMITONES
        pitch = "too little to move its pitch" if kept else "its pitch moved with its speed, and comes back with it"
        return [f"Resample the dub to be {length}: {pitch}."]
    stretch = (
        f"Time-stretch the dub to be {length}, its pitch as it is: {_why_stretched(rate)}. A stretch moves single "
        "sounds by some milliseconds. ffmpeg's atempo moves all of them by some 10 ms, which the command takes off."
    )
    return [stretch, *_other_pitch(rate)]


def _why_stretched(rate: Rate) -> str:
    if rate.pitch_semitones is None:
        return "its pitch could not be told, so nothing says that it moved with the speed"
    if abs(rate.pitch_semitones) < PITCH_FOLLOWS_SEMITONES:
        return "it was kept when the speed was changed"
    return "it did not move as the speed alone would have moved it"


def _repitched_advice(result: Result) -> list[str]:
    """Where the dub runs as fast as its master and yet lies higher or lower."""
    return [] if result.rate is None else _other_pitch(result.rate, "")


def _other_pitch(rate: Rate, besides: str = " besides") -> list[str]:
    semitones = rate.pitch_semitones
    if semitones is None or abs(semitones) < PITCH_FOLLOWS_SEMITONES:
        return []
    return [f"The dub's pitch is {_raised(semitones)}{besides}; no command here changes that."]


def _edited_advice(result: Result, *, has_command: bool) -> list[str]:
    pieces = conform_pieces(result)
    advice = ["Conform the dub segment by segment along the timeline of this report.", *_speed_advice(result)]
    told = (cut_list(result), silence_words(result, pieces) if has_command else None)
    advice += [words for words in told if words is not None]
    if len(pieces) > MOST_PIECES:
        advice.append(
            f"No command is offered: the dub lies in {len(pieces)} pieces, more than the {MOST_PIECES} that one "
            "command holds. Conform it in an editor."
        )
    return advice


def _move_advice(offset_s: float, sample_rate_hz: int, verb: str = "Move") -> str:
    samples = abs(seconds_to_samples(offset_s, sample_rate_hz))
    counted = f"{amount(offset_s)} ({samples} samples at {sample_rate_hz} Hz)"
    if offset_s < 0:
        return f"{verb} the dub {counted} earlier: cut that much from its head."
    return f"{verb} the dub {counted} later: put that much silence in front of it."


def _undecided_advice(result: Result) -> str:
    if result.candidates:
        fitting = ", ".join(early_or_late(candidate.offset_s) for candidate in result.candidates)
        places = "Several places fit, these among them" if len(result.candidates) > 1 else "One place fits in part"
        return f"{places}; compare by ear: {fitting}."
    return "Align this pair by hand, or deliver a longer excerpt with music and effects in it and drop it again."


def _review_advice(result: Result, settings: AnalysisSettings) -> str:
    if result.overall_confidence < settings.confidence_threshold:
        asked = f"below the {settings.confidence_threshold:g} that the profile asks for"
        return f"Check it by eye and ear: the confidence is {result.overall_confidence:.2f}, {asked}."
    if result.consensus is not None and _crosses_a_limit(result.consensus, settings.tolerance):
        margin = f"{result.consensus.uncertainty_ms:.1f} ms either way"
        return f"Check it by eye and ear: the offset is known to {margin}, which crosses a limit of the tolerance."
    if result.warnings:
        return "Check it by eye and ear: the warnings say why."
    return "Check it by eye and ear before relying on it."


def _crosses_a_limit(estimate: Estimate, tolerance: Tolerance) -> bool:
    earliest_ms, latest_ms = (1000.0 * estimate.offset_s + sign * estimate.uncertainty_ms for sign in (1.0, -1.0))
    return any(latest_ms <= limit_ms <= earliest_ms for limit_ms in (tolerance.early_ms, -tolerance.late_ms))


def _sides_with_codec_delay(result: Result) -> list[tuple[MeasuredSide, str]]:
    sides = ((result.master, "master"), (result.dub, "dub"))
    return [(side, name) for side, name in sides if side.codec_delay_ms]


def _delay_advice(side: MeasuredSide, name: str) -> str:
    where = f"{side.codec} in {one_line(side.container)}"
    return (
        f"Some {side.codec_delay_ms:.1f} ms of the {name}'s sound ({where}) are probably its codec's delay, which the "
        "container does not signal; every player hears it, so it is part of the offset."
    )
