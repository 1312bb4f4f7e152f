"""One speed for all pieces: a robust line through the lags of windows, each piece with an intercept of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

ROUNDS: Final = 12
TUNING: Final = 4.685
"""Of Tukey's biweight: 95 % as efficient as least squares where the noise is normal (Huber, «Robust Statistics»)."""
NORMAL_MAD: Final = 1.4826
LEAST_SCATTER_S: Final = 2e-6
"""Lags agree no better than this, whatever they say: decoders and resamplers differ by as much."""
MOST_FOR_PAIRS: Final = 200


@dataclass(frozen=True)
class Samples:
    """Window lags of one piece. All shape (windows,)."""

    times_s: NDArray[np.float64]
    lags_s: NDArray[np.float64]
    weights: NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """``lag = intercept[piece] + slope * time``."""

    slope: float
    slope_error: float
    """One standard error."""
    intercepts_s: tuple[float, ...]
    """At time 0."""
    errors_s: tuple[float, ...]
    """One standard error of each piece's lag at its own middle."""
    middles_s: tuple[float, ...]
    scatter_s: float
    """Of single windows about the line (robust standard deviation)."""
    windows: int


def fit_lags(pieces: Sequence[Samples], *, with_slope: bool = True) -> Fit | None:
    """Iteratively reweighted least squares from a median start; None where there is not a single window.

    The slope is held at zero where no piece has three windows (or `with_slope` is false).
    """
    used = [piece for piece in pieces if piece.times_s.size]
    if len(used) != len(pieces) or not used:
        return None
    sloped = with_slope and max(piece.times_s.size for piece in used) >= 3
    owner = np.concatenate([np.full(piece.times_s.size, i) for i, piece in enumerate(used)])
    times = np.concatenate([piece.times_s for piece in used])
    lags = np.concatenate([piece.lags_s for piece in used])
    prior = np.concatenate([piece.weights for piece in used])
    slope = _pairwise_slope(used) if sloped else 0.0
    intercepts = np.array([_weighted_median((p.lags_s - slope * p.times_s), p.weights) for p in used])
    weights = prior
    scatter = LEAST_SCATTER_S
    for _ in range(ROUNDS):
        rest = lags - intercepts[owner] - slope * times
        scatter = max(LEAST_SCATTER_S, NORMAL_MAD * _weighted_median(np.abs(rest), prior))
        weights = prior * np.square(np.maximum(0.0, 1.0 - np.square(rest / (TUNING * scatter))))
        total = np.bincount(owner, weights, len(used))
        if (total <= 0.0).any():
            weights, total = prior, np.bincount(owner, prior, len(used))
        mean_time = np.bincount(owner, weights * times, len(used)) / total
        mean_lag = np.bincount(owner, weights * lags, len(used)) / total
        if sloped:
            apart = times - mean_time[owner]
            spread = float(np.sum(weights * np.square(apart)))
            slope = float(np.sum(weights * apart * (lags - mean_lag[owner]))) / spread if spread > 0.0 else 0.0
        intercepts = mean_lag - slope * mean_time
    total = np.bincount(owner, weights, len(used))
    middles = np.bincount(owner, weights * times, len(used)) / total
    spread = float(np.sum(weights * np.square(times - middles[owner])))
    counted = np.square(total) / np.maximum(np.bincount(owner, np.square(weights), len(used)), 1e-30)
    mean_weight = float(np.sum(weights)) / max(1.0, float(np.sum(counted)))
    slope_error = scatter * float(np.sqrt(mean_weight / spread)) if sloped and spread > 0.0 else float("inf")
    # Neighbours that wander together tell less than their number (Bayley and Hammersley, 1946).
    rest = lags - intercepts[owner] - slope * times
    near = np.clip(rest, -3.0 * scatter, 3.0 * scatter)
    power = float(np.dot(near, near))
    together = float(np.clip(np.dot(near[:-1], near[1:]) / power, 0.0, 0.95)) if power > 0.0 else 0.0
    slope_error *= float(np.sqrt((1.0 + together) / (1.0 - together)))
    return Fit(
        slope=slope,
        slope_error=slope_error,
        intercepts_s=tuple(float(v) for v in intercepts),
        errors_s=tuple(float(scatter / np.sqrt(max(1.0, n))) for n in counted),
        middles_s=tuple(float(v) for v in middles),
        scatter_s=scatter,
        windows=int(times.size),
    )


def _pairwise_slope(pieces: Sequence[Samples]) -> float:
    """Theil and Sen's: the median of the slopes of pairs of windows within a piece that lie well apart."""
    slopes, weights = [], []
    for piece in pieces:
        if piece.times_s.size < 2:
            continue
        step = -(-piece.times_s.size // MOST_FOR_PAIRS)
        times, lags = piece.times_s[::step], piece.lags_s[::step]
        first, second = np.triu_indices(times.size, k=1)
        apart = times[second] - times[first]
        far = apart >= 0.3 * float(times[-1] - times[0])
        slopes.append((lags[second] - lags[first])[far] / apart[far])
        weights.append(np.square(apart[far]))
    if not slopes:
        return 0.0
    return _weighted_median(np.concatenate(slopes), np.concatenate(weights))


def _weighted_median(values: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    order = np.argsort(values)
    reached = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(reached, 0.5 * reached[-1])]])
