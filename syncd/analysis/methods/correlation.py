"""`correlation`: the waveforms themselves, by GCC-PHAT in windows around the coarse search's candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from syncd.analysis.correlate import CoarsePeak, CoarseResult
from syncd.analysis.evidence import Beat
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.phat import fine_search
from syncd.analysis.steadiness import Support, is_match, spread_ms, support_of
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult
from syncd.domain import Estimate, Inconclusive, Metadata

MAX_TRIED = 5
"""Candidates that are looked at finely when none of them explains the whole overlap."""


class Correlation:
    """GCC-PHAT."""

    name = "correlation"
    text = "Comparing waveforms"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which the windows' waveforms agree."""
        best: MethodAnswer | None = None
        for coarse in evidence.coarse:
            answer = _on_channel(evidence, coarse, beat)
            if best is None or answer.quality_score > best.quality_score:
                best = answer
            if isinstance(answer.outcome, Estimate):
                break
        return best or MethodAnswer(Inconclusive(("there is nothing that both sides have",)), 0.0)


def _on_channel(evidence: Evidence, coarse: CoarseResult, beat: Beat) -> MethodAnswer:
    pair = evidence.pair(coarse.channel)

    def search(peak: CoarsePeak) -> FineResult | None:
        return fine_search(pair, peak.lag_s, beat)

    findings = _findings(coarse, search)
    if not findings:
        reason = "no lag of the whole files stands out enough to compare waveforms there"
        return MethodAnswer(Inconclusive((reason,)), 0.0, channel=coarse.channel)
    best = findings[0]
    support = support_of(best)
    if not is_match(best, support):
        reason = (
            f"the waveforms agree nowhere: the best lag stands {best.deviations:.1f} deviations over chance, "
            f"{THRESHOLDS.fine_match_deviations:g} are needed"
            if best.deviations < THRESHOLDS.fine_match_deviations
            else f"only {support.agreeing} of {support.with_sound} windows agree with the best lag"
        )
        return MethodAnswer(
            Inconclusive((reason,)), best.deviations, _metadata(best, support), findings, coarse.channel
        )
    estimate = Estimate(
        offset_s=best.lag_s,
        confidence=_confidence(best, support),
        uncertainty_ms=spread_ms(best),
    )
    return MethodAnswer(estimate, best.deviations, _metadata(best, support), findings, coarse.channel)


def _findings(coarse: CoarseResult, search: Callable[[CoarsePeak], FineResult | None]) -> tuple[FineResult, ...]:
    """Best first. Where the first candidate explains nearly all, only its equals are looked at."""
    tried = [p for p in coarse.peaks if p.deviations >= THRESHOLDS.candidate_deviations][:MAX_TRIED]
    if not tried:
        return ()
    first = search(tried[0])
    findings = [] if first is None else [first]
    whole = first is not None and is_match(first, support_of(first)) and support_of(first).share >= 0.9
    least = THRESHOLDS.ambiguous_ratio * tried[0].deviations if whole else 0.0
    findings.extend(found for p in tried[1:] if p.deviations >= least and (found := search(p)) is not None)
    return tuple(sorted(findings, key=lambda found: -found.deviations))


def _confidence(best: FineResult, support: Support) -> float:
    """Heuristic until it is calibrated: height over the floor, and the share of windows that agree."""
    height = 1.0 - float(np.exp(-(best.deviations - 5.0) / 4.0))
    return min(0.999, height * (0.5 + 0.5 * min(1.0, support.share / THRESHOLDS.doubtful_supporting_share)))


def _metadata(best: FineResult, support: Support) -> Metadata:
    return {
        "windows": int(best.track.lag_s.size),
        "windows_with_sound": support.with_sound,
        "windows_agreeing": support.agreeing,
        "window_seconds": round(best.track.window_s, 3),
        "polarity_inverted": best.inverted,
    }
