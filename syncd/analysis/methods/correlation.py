"""`correlation`: the waveforms themselves, by GCC-PHAT in windows along the pieces that the survey found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from syncd.analysis.align import Aligned, Alignment, align_onsets, align_waves
from syncd.analysis.calibration import confidence_of
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.pitch import pitch_shift_semitones, semitones_of_rate
from syncd.analysis.steadiness import Support, spread_ms, support_of
from syncd.analysis.stretch import SR_HZ
from syncd.analysis.survey import Piece
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult
from syncd.analysis.wide import wide_search
from syncd.domain import Estimate, Inconclusive, Metadata

MOST_WIDE: Final = 3
"""Lags of the wide search that are looked at closely."""
LEAST_SEMITONES: Final = 0.12
"""A shift in pitch that is told beyond doubt."""


class Correlation:
    """GCC-PHAT."""

    name = "correlation"
    text = "Comparing waveforms"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which the windows' waveforms agree: of the longest piece where there are several."""
        best = _best_of(evidence, evidence.starts, beat)
        if best is not None and (isinstance(best.outcome, Estimate) or evidence.starts[0].is_sure):
            return best
        # The curves are not sure of anything: the waveforms may be.
        wide = _best_of(evidence, _wide_starts(evidence, beat), beat)
        best = wide if wide is not None and _is_borne(wide) else best
        reason = "no lag of the whole files stands out enough to compare waveforms there"
        return best or MethodAnswer(Inconclusive((reason,)), 0.0)


def _best_of(evidence: Evidence, starts: Sequence[Alignment], beat: Beat) -> MethodAnswer | None:
    best: MethodAnswer | None = None
    for start in starts:
        pair = evidence.pair(start.channel)
        known = start if start.by_onsets or not start.is_sure else align_onsets(pair, start, beat)
        answer = _unless_repitched(_answer(align_waves(pair, known, beat)), pair)
        if best is None or _rank(answer) > _rank(best):
            best = answer
        sure = answer.quality_score >= THRESHOLDS.waves_sure_deviations
        if isinstance(answer.outcome, Estimate) and start.is_sure and sure:
            break
    return best


def _wide_starts(evidence: Evidence, beat: Beat) -> list[Alignment]:
    """What one long correlation finds: the whole dub at that lag, or the stretch that it was found by."""
    lags = wide_search(evidence.pairs, beat)
    starts = []
    for found in lags[:MOST_WIDE]:
        rivals_s = tuple(
            other.lag_s
            for other in lags
            if other is not found
            and other.rate == found.rate
            and other.deviations >= THRESHOLDS.ambiguous_ratio * found.deviations
        )
        whole_s = 0.0, evidence.pair(found.channel).dub.sound.samples * found.rate / SR_HZ
        for start_s, end_s in {whole_s, found.span_s}:
            piece = Piece(start_s, end_s, found.lag_s, found.deviations**2 / 2.0, rivals_s)
            starts.append(Alignment(found.channel, found.rate, None, (Aligned(piece, None, None),)))
    return starts


def _is_borne(answer: MethodAnswer) -> bool:
    """By more than a bang or two, which fit each other wherever they are.

    Voices fit themselves at many places, by a few windows at each: where others stand as high, most must agree.
    """
    agreeing = answer.metadata["windows_agreeing"]
    enough = isinstance(agreeing, int) and agreeing >= THRESHOLDS.wide_least_windows
    return enough and answer.quality_score >= THRESHOLDS.wide_fine_deviations and not _is_one_of_many(answer)


def _is_one_of_many(answer: MethodAnswer) -> bool:
    measured = [] if answer.alignment is None else [one for one in answer.alignment.pieces if one.waves is not None]
    return any(one.piece.rivals_s for one in measured) and all(
        support_of(one.waves).share < THRESHOLDS.doubtful_supporting_share for one in measured if one.waves is not None
    )


def _unless_repitched(answer: MethodAnswer, pair: ChannelPair) -> MethodAnswer:
    """A faint agreement of waveforms whose pitch differs otherwise than by the speed is an accident."""
    alignment = answer.alignment
    faint = isinstance(answer.outcome, Estimate) and answer.quality_score < THRESHOLDS.waves_sure_deviations
    if alignment is None or not faint:
        return answer
    matches = [(a.piece.start_s, a.piece.end_s, a.piece.lag_s) for a in alignment.pieces]
    shift = pitch_shift_semitones(pair, alignment.rate, matches)
    due = semitones_of_rate(alignment.rate)
    if shift is None or abs(shift - due) <= LEAST_SEMITONES:
        return answer
    reason = (
        f"the dub's pitch lies {shift - due:+.2f} semitones from where its speed puts it: its waveforms were made anew "
        "and cannot agree"
    )
    return replace(answer, outcome=Inconclusive((reason,)), alignment=None)


def _rank(answer: MethodAnswer) -> tuple[bool, float]:
    return isinstance(answer.outcome, Estimate), answer.quality_score


def _answer(alignment: Alignment) -> MethodAnswer:
    heard = [one for one in alignment.pieces if one.waves is not None]
    if not heard:
        reason = "there is no stretch with sound on both sides at the lag that the survey found"
        return MethodAnswer(Inconclusive((reason,)), 0.0, channel=alignment.channel)
    matching = [one for one in heard if one.matches]
    one = max(matching or heard, key=lambda one: one.piece.end_s - one.piece.start_s)
    found = one.waves
    assert found is not None  # noqa: S101 - `heard` holds no other
    support = support_of(found)
    metadata = _metadata(found, support, alignment)
    if not matching:
        reason = (
            f"the waveforms agree nowhere: the best lag stands {found.deviations:.1f} deviations over chance, "
            f"{THRESHOLDS.fine_match_deviations:g} are needed"
            if found.deviations < THRESHOLDS.fine_match_deviations
            else f"only {support.agreeing} of {support.with_sound} windows agree with the best lag"
        )
        return MethodAnswer(Inconclusive((reason,)), found.deviations, metadata, alignment.channel, alignment=alignment)
    uncertainty_ms = spread_ms(found)
    if uncertainty_ms > THRESHOLDS.onset_uncertainty_ms:
        reason = f"the windows scatter too much to place the dub (±{uncertainty_ms:.0f} ms)"
        scattered = Inconclusive((reason,))
        return MethodAnswer(scattered, found.deviations, metadata, alignment.channel, alignment=alignment)
    confidence = confidence_of(Correlation.name, found.deviations, metadata, uncertainty_ms)
    estimate = Estimate(one.piece.lag_s, confidence, uncertainty_ms)
    return MethodAnswer(estimate, found.deviations, metadata, alignment.channel, alignment=alignment)


def _metadata(best: FineResult, support: Support, alignment: Alignment) -> Metadata:
    return {
        "windows": int(best.track.lag_s.size),
        "windows_with_sound": support.with_sound,
        "windows_agreeing": support.agreeing,
        "window_seconds": round(best.track.window_s, 3),
        "polarity_inverted": best.inverted,
        "diffuse": best.arrives_s is not None,
        "rate": alignment.rate,
        "rate_uncertainty_ppm": alignment.rate_error_ppm,
        "pieces": len(alignment.pieces),
        "pieces_borne_out": sum(one.matches for one in alignment.pieces),
    }
