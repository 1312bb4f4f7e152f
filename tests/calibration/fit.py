"""From observations to curves: pure, by maximum likelihood with a light pull towards «we do not know»."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
import scipy.optimize
import scipy.special
from numpy.typing import NDArray

from syncd.analysis.calibration import Calibration, Curve, together, within_half_a_frame
from syncd.domain import Verdict
from tests.calibration.observed import METHODS, Observed, Twice, Voice
from tests.calibration.pairs import NEIGHBOURS
from tests.material.judging import RIGHT_MS

Floats = NDArray[np.float64]

PULL: Final = 0.02
"""Of each coefficient towards zero: it matters only where nothing was ever wrong."""
ALONE_STEPS: Final = tuple(round(0.25 * k, 2) for k in range(25))
WEIGHT_STEPS: Final = tuple(round(0.1 * k, 1) for k in range(11))
DISSENT_STEPS: Final = WEIGHT_STEPS[1:]
"""Whoever disagrees costs something, however few did among the pairs."""
SHARES_NOTHING: Final = frozenset({"unrelated", "title", "dialogue"})
EDGES: Final = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0001)
_CONSTANT: Final = frozenset({Verdict.IN_SYNC, Verdict.OFFSET})
_OFFSETS: Final = {
    Verdict.IN_SYNC: _CONSTANT,
    Verdict.OFFSET: _CONSTANT,
    Verdict.DRIFT: frozenset({Verdict.DRIFT}),
    Verdict.EDITED: frozenset({Verdict.EDITED}),
}
"""Verdicts, and those that are counted with them: whether a constant offset is tolerated does not make it right."""


@dataclass(frozen=True)
class Bin:
    """Of the offsets given with a confidence between two edges: how many, what was stated, how many were right."""

    low: float
    high: float
    number: int
    stated: float
    right: int

    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the share that is right (Wilson, 1927)."""
        z, n = 1.96, self.number
        share = self.right / n
        middle = (share + z * z / (2 * n)) / (1 + z * z / n)
        half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


def fit(lowered: Sequence[Observed], usual: Sequence[Observed]) -> Calibration:
    """All curves: of what the lowered thresholds let through, and the reports' own shares as they usually are."""
    methods = {name: method_curve([v for o in lowered for v in o.voices if v.method == name]) for name in METHODS}
    given = [o for o in usual if o.given]
    right = [o for o in given if is_right_lag(o)]
    kept = {v: [o for o in right if o.verdict in verdicts] for v, verdicts in _OFFSETS.items()}
    nothing = [o for o in usual if o.verdict == Verdict.NO_MATCH.value]
    apart = _Shares([o.shorter_s for o in nothing], [1.0] * len(nothing), [o.what in SHARES_NOTHING for o in nothing])
    sure = Calibration(
        methods=methods,
        per_other=0.0,
        per_dissenter=0.0,
        alone=0.0,
        most=laplace([is_right_lag(o) for o in given if sum(v.together for v in o.voices) > 1]),
        holds={
            verdict: _logistic(_Shares([1.0] * len(here), [support(o) for o in here], [o.all_right for o in here]))
            for verdict, here in kept.items()
        },
        no_match=_logistic(apart),
        summary=_summary(lowered, usual),
    )
    return _fit_together(sure, [o for o in lowered if o.given and o.voices])


def method_curve(voices: Sequence[Voice]) -> Curve:
    """Of one method's offsets."""
    return _logistic(_Shares([v.height for v in voices], [v.share for v in voices], [v.right_lag for v in voices]))


def is_right_lag(observed: Observed) -> bool:
    """The offset that was given is that of a true piece, as precisely as is told."""
    return observed.error_ms is not None and observed.error_ms <= max(RIGHT_MS, 2.0 * observed.uncertainty_ms)


def support(observed: Observed) -> float:
    """Share of the windows that agree, of the method that placed the pieces."""
    shares = {voice.method: voice.share for voice in observed.voices}
    return shares.get("correlation", shares.get("spectral", max(shares.values(), default=1.0)))


def laplace(rights: Sequence[bool]) -> float:
    """The rule of succession: what may be said of the next one."""
    return (sum(rights) + 1) / (len(rights) + 2)


def confidence(calibration: Calibration, observed: Observed) -> float:
    """What a report would say of the same evidence with this calibration."""
    own: list[float] = []
    others: list[float] = []
    for voice in observed.voices:
        (own if voice.together else others).append(
            calibration.methods[voice.method].probability(voice.height, voice.share)
        )
    return together(own, others, calibration) * within_half_a_frame(observed.uncertainty_ms)


def reliability(stated: Sequence[float], right: Sequence[bool]) -> list[Bin]:
    """Binned by what was stated; empty bins are left out."""
    bins = []
    for low, high in itertools.pairwise(EDGES):
        inside = [(s, r) for s, r in zip(stated, right, strict=True) if low <= s < high]
        if inside:
            mean = sum(s for s, _ in inside) / len(inside)
            bins.append(Bin(low, high, len(inside), mean, sum(r for _, r in inside)))
    return bins


def cross_checked(seen: Sequence[Twice]) -> tuple[list[float], list[bool]]:
    """What is stated of each offset by curves fitted on the other half of the programmes, and whether it is right."""
    stated, right = [], []
    for half in (0, 1):
        fitted = fit(*split([one for one in seen if _half(one) != half]))
        lowered, usual = split([one for one in seen if _half(one) == half])
        for observed in (*lowered, *usual):
            if observed.given and observed.voices:
                stated.append(confidence(fitted, observed))
                right.append(observed.error_ms is not None and observed.error_ms <= RIGHT_MS)
    return stated, right


def _half(one: Twice) -> int:
    return one.usual.number // NEIGHBOURS % 2


def split(seen: Sequence[Twice]) -> tuple[list[Observed], list[Observed]]:
    """With lowered thresholds, and as they are."""
    return [one.lowered for one in seen], [one.usual for one in seen]


# ---------------------------------------------------------------- maximum likelihood


@dataclass(frozen=True)
class _Shares:
    heights: Sequence[float]
    shares: Sequence[float]
    right: Sequence[bool]


def _logistic(seen: _Shares) -> Curve:
    """Height and share never speak against an offset: their coefficients are no less than zero."""
    if not seen.right:
        return Curve(0.0, 0.0, 0.0, 0.5)
    log_heights = np.log(np.maximum(np.asarray(seen.heights, np.float64), 1.0))
    evidence = np.stack((np.ones_like(log_heights), log_heights, np.asarray(seen.shares, np.float64)))
    signs = np.where(np.asarray(seen.right), 1.0, -1.0)

    def loss(weights: Floats) -> float:
        likelihood = scipy.special.log_expit(signs * (weights @ evidence)).sum()
        return float(PULL * np.dot(weights, weights) - likelihood)

    best = scipy.optimize.minimize(
        loss, np.array([0.0, 1.0, 0.0]), method="L-BFGS-B", bounds=((None, None), (0.0, None), (0.0, None))
    ).x
    # The strongest quarter says how sure one can be at most.
    likeliest = best @ evidence
    strong = likeliest >= np.quantile(likeliest, 0.75)
    most = laplace([bool(r) for r in np.asarray(seen.right)[strong]])
    intercept, per_log_height, per_share = (round(float(weight), 4) for weight in best)
    return Curve(intercept, per_log_height, per_share, most=round(most, 4))


def _fit_together(curves: Calibration, given: Sequence[Observed]) -> Calibration:
    def loss(tried: Calibration) -> float:
        total = 0.0
        for observed in given:
            probability = confidence(tried, observed) / within_half_a_frame(observed.uncertainty_ms)
            kept = min(max(probability, 1e-6), 1.0 - 1e-6)
            total -= math.log(kept if is_right_lag(observed) else 1.0 - kept)
        return total

    best = curves
    weights = {"per_other": WEIGHT_STEPS, "per_dissenter": DISSENT_STEPS}
    for names, choices in ((("alone",), zip(ALONE_STEPS)), (tuple(weights), itertools.product(*weights.values()))):
        tried = [msgspec.structs.replace(best, **dict(zip(names, choice, strict=True))) for choice in choices]
        best = min(tried, key=loss)
    return best


def _summary(lowered: Sequence[Observed], usual: Sequence[Observed]) -> dict[str, object]:
    """What it was measured on, in figures."""
    by_what = {
        what: {
            "pairs": len(here := [o for o in usual if o.what == what]),
            "offsets": len(given := [o for o in here if o.given]),
            "right": sum(is_right_lag(o) for o in given),
            "offsets_with_lowered_thresholds": len(low := [o for o in lowered if o.what == what and o.given]),
            "right_with_lowered_thresholds": sum(is_right_lag(o) for o in low),
        }
        for what in sorted({o.what for o in usual})
    }
    voices = [v for o in lowered for v in o.voices]
    by_method = {
        name: {
            "offsets": len(own := [v for v in voices if v.method == name]),
            "right": sum(v.right_lag for v in own),
        }
        for name in METHODS
    }
    return {"pairs": len(usual), "by_kind": by_what, "by_method_with_lowered_thresholds": by_method}
