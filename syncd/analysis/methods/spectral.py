"""`spectral`: when the bands of the spectrum rise, over the whole file, then in windows at 2 ms a frame.

Does not need waveforms that agree: a remixed, reverberant or re-recorded bed keeps its onsets.
"""

from __future__ import annotations

from syncd.analysis.align import Aligned, Alignment, align_onsets
from syncd.analysis.calibration import confidence_of
from syncd.analysis.evidence import Beat
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.steadiness import support_of
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Estimate, Inconclusive, Metadata


class Spectral:
    """Log-mel flux."""

    name = "spectral"
    text = "Comparing onsets"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which the spectra rise together: of the longest piece where there are several."""
        height = evidence.survey_deviations
        if not evidence.starts or height < THRESHOLDS.coarse_match_deviations:
            reason = (
                f"the best of {evidence.lags_compared} lags stands {height:.1f} deviations over chance, "
                f"{THRESHOLDS.coarse_match_deviations:g} are needed"
            )
            return MethodAnswer(Inconclusive((reason,)), height, channel=evidence.channel)
        start = evidence.starts[0]
        measured = start if start.by_onsets else align_onsets(evidence.pair(start.channel), start, beat)
        return _answer(measured, height, evidence.lags_compared)


def _answer(alignment: Alignment, height: float, lags: int) -> MethodAnswer:
    heard = [one for one in alignment.pieces if one.onsets is not None]
    if not heard:
        reason = "the coarse lag is not borne out at 2 ms a frame"
        return MethodAnswer(Inconclusive((reason,)), height, channel=alignment.channel)
    one = max(heard, key=lambda one: one.piece.end_s - one.piece.start_s)
    onsets = one.onsets
    assert onsets is not None  # noqa: S101 - `heard` holds no other
    support = support_of(onsets.found)
    metadata: Metadata = {
        "lags_compared": lags,
        "windows": int(onsets.found.track.lag_s.size),
        "windows_with_sound": support.with_sound,
        "windows_agreeing": support.agreeing,
        "rate": alignment.rate,
        "rate_uncertainty_ppm": alignment.rate_error_ppm,
        "pieces": len(alignment.pieces),
    }
    uncertainty_ms = onsets.uncertainty_ms
    outcome: Estimate | Inconclusive
    if support.share < THRESHOLDS.least_onset_share:
        reason = f"only {support.agreeing} of {support.with_sound} windows agree with the best lag"
        outcome = Inconclusive((reason,))
    elif uncertainty_ms > THRESHOLDS.onset_uncertainty_ms:
        outcome = Inconclusive((f"the windows scatter too much to place the dub (±{uncertainty_ms:.0f} ms)",))
    else:
        confidence = confidence_of(Spectral.name, height, metadata, uncertainty_ms)
        outcome = Estimate(_lag_s(one), confidence, uncertainty_ms)
    return MethodAnswer(outcome, height, metadata, alignment.channel, alignment=alignment)


def _lag_s(one: Aligned) -> float:
    return one.onsets.found.lag_s if one.onsets is not None else one.piece.lag_s
