"""How sure to be: from a method's evidence to the probability that its offset is right to half a frame.

The figures come from pairs of which the truth is known (``python -m tests.calibration`` makes them and writes
`calibration.json` beside this module, with a summary of what they were); nothing here is a matter of taste.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Final

import msgspec

from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Metadata, Verdict

_DEVIATIONS_A_HALF_INTERVAL: Final = 1.96
_SHARES: Final = (
    ("windows_agreeing", "windows_with_sound"),
    ("windows_bearing", "windows_with_sound"),
    ("chunks_agreeing", "chunks"),
    ("lines_matched", "lines_in_common_stretch"),
)


class Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic curve: log-odds of the right lag over the logarithm of the height and the share of windows."""

    intercept: float
    per_log_height: float
    per_share: float
    most: float
    """Probability beyond which the data say nothing: by Laplace's rule of succession, (right + 1) / (all + 2)."""

    def probability(self, height: float, share: float) -> float:
        """0 to `most`."""
        log_odds = self.intercept + self.per_log_height * math.log(max(height, 1.0)) + self.per_share * share
        return min(self.most, _probability(log_odds))


class Calibration(msgspec.Struct, frozen=True):
    """What `calibration.json` holds."""

    methods: Mapping[str, Curve]
    per_other: float
    """Share (0 to 1) of another method's log-odds that counts, once the best one is counted: they hear one sound."""
    per_dissenter: float
    """The same of a method that vouches for another offset; what it takes away."""
    alone: float
    """Log-odds that a method loses where no other one agrees: their silence says something."""
    most: float
    """Of several methods together, as `Curve.most`."""
    holds: Mapping[Verdict, Curve]
    """Where the offset is right, how often the verdict and every segment are, over the share of windows that agree."""
    no_match: Curve
    """Of «the two share no bed», over the seconds of the shorter side."""
    summary: Mapping[str, object]
    """What it was measured on."""


CALIBRATION: Final = msgspec.json.decode(
    resources.files(__package__).joinpath("calibration.json").read_bytes(), type=Calibration
)


def confidence_of(method: str, height: float, metadata: Metadata, uncertainty_ms: float) -> float:
    """Of a method's own offset: that the lag is the right one, and that it is right to half a frame."""
    return CALIBRATION.methods[method].probability(height, share_of(metadata)) * within_half_a_frame(uncertainty_ms)


def share_of(metadata: Metadata) -> float:
    """Of the windows (chunks, lines) that could agree with the lag, how many do: 0 to 1; 1 where none are counted."""
    for agreeing, all_of_them in _SHARES:
        some, whole = metadata.get(agreeing), metadata.get(all_of_them)
        if isinstance(some, int | float) and isinstance(whole, int) and whole > 0:
            return min(1.0, some / whole)
    return 1.0


def within_half_a_frame(uncertainty_ms: float) -> float:
    """Probability of an error below 20 ms, if it is normal and the 95 % interval is what is told."""
    deviation_ms = max(uncertainty_ms, 1e-6) / _DEVIATIONS_A_HALF_INTERVAL
    return math.erf(THRESHOLDS.agreement_ms / (deviation_ms * math.sqrt(2.0)))


def together(agreeing: Iterable[float], dissenting: Iterable[float], calibration: Calibration = CALIBRATION) -> float:
    """Probability that the lag is right, from what each method gives its own."""
    own = sorted((_log_odds(p) for p in agreeing), reverse=True)
    others = sum(max(0.0, one) for one in own[1:])
    against = sum(max(0.0, _log_odds(p)) for p in dissenting)
    alone = calibration.alone if len(own) == 1 else 0.0
    log_odds = own[0] + calibration.per_other * others - calibration.per_dissenter * against - alone
    return min(calibration.most, _probability(log_odds))


def share_that_holds(verdict: Verdict, support: float) -> float:
    """Of the reports with the right offset, how many are right in verdict and segments too.

    `support`: share (0 to 1) of the windows that agree; where many do not, there may be a cut that nothing shows.
    """
    return CALIBRATION.holds[verdict].probability(1.0, support)


def _log_odds(probability: float) -> float:
    kept = min(max(probability, 1e-6), 1.0 - 1e-6)
    return math.log(kept / (1.0 - kept))


def _probability(log_odds: float) -> float:
    return 0.5 * (1.0 + math.tanh(0.5 * log_odds))
