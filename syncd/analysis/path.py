"""The best path of the dub's blocks through the lags: which stretch lies where, and which nowhere.

Staying at a lag is free, another lag costs what chance had to choose from, and «nowhere» is a state of its own, so a
block that speaks for nothing (dialogue over a faint bed, an advertisement) neither breaks a run nor invents one. The
evidence of a block at a lag is the log-likelihood ratio of «a shared bed of the usual strength» against chance:
``weight * (strength * z - strength² / 2 - log(tries))`` for a deviation of z that is the highest of so many, with
`weight` for blocks that overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

LEAST_STRENGTH: Final = 2.5
MOST_STRENGTH: Final = 7.0
"""How far a shared bed usually stands over chance; beyond it a single block would outvote many."""

RETURN_COST: Final = 2.0
"""To come back to the same lag after a stretch of nowhere."""

ROUNDS: Final = 3
"""Path and strength are found in turn; three settle."""


@dataclass(frozen=True)
class Run:
    """Blocks first to last (inclusive) that lie at one candidate lag."""

    candidate: int
    first: int
    last: int
    score: float
    """Log-likelihood ratio against chance, before the price of its lag."""


@dataclass(frozen=True)
class Path:
    """Runs in order of time; `score` less all prices: above 0 it is worth more than nowhere at all."""

    runs: tuple[Run, ...]
    score: float
    strength: float


def best_path(
    deviations: NDArray[np.float32],
    centres: NDArray[np.float64],
    lags: NDArray[np.float64],
    *,
    places: int,
    weight: float,
    tries: int = 1,
    margin: float = 3.0,
) -> Path:
    """The path of the highest score.

    `deviations`: shape (blocks, candidates), each block at each lag; `centres` of the blocks and `lags` in the same
    unit; `places`: how many lags chance could choose from; `tries`: of how many neighbours each deviation is the
    highest; `margin`: what a new lag must be worth beyond `places`. The master only runs forward: a later block never
    lies before an earlier one.
    """
    if deviations.size == 0:
        return Path((), 0.0, LEAST_STRENGTH)
    chance = float(np.log(tries))
    price = float(np.log(max(places, 2))) + margin
    strength = float(np.clip(np.median(deviations.max(axis=1, initial=0.0)), LEAST_STRENGTH, MOST_STRENGTH))
    path = Path((), 0.0, strength)
    for _ in range(ROUNDS):
        capped = np.minimum(deviations, 2.0 * strength)
        gains = weight * (strength * capped - strength * strength / 2.0 - chance)
        path = _traced(gains.astype(np.float64), centres, lags, price, strength)
        held = [float(np.median(deviations[run.first : run.last + 1, run.candidate])) for run in path.runs]
        spans = [run.last - run.first + 1 for run in path.runs]
        if not held:
            break
        settled = float(np.clip(np.average(held, weights=spans), LEAST_STRENGTH, MOST_STRENGTH))
        if abs(settled - strength) < 0.1:
            break
        strength = settled
    return path


def _traced(
    gains: NDArray[np.float64],
    centres: NDArray[np.float64],
    lags: NDArray[np.float64],
    price: float,
    strength: float,
) -> Path:
    """Viterbi over (block, candidate); nowhere is skipped over. `best[j, c]`: of paths whose last block is j at c."""
    blocks, candidates = gains.shape
    best = np.full((blocks, candidates), -np.inf)
    came_from = np.full((blocks, candidates, 2), -1, dtype=np.int64)
    # Of all blocks up to j: the best score at each candidate and where it was reached.
    upto = np.full((blocks, candidates), -np.inf)
    upto_block = np.zeros((blocks, candidates), dtype=np.int64)
    others = np.arange(candidates)
    for j in range(blocks):
        start = -price + gains[j]
        best[j] = start
        if j:
            # Another lag: from the last block that still lies before this one in the master.
            limit = centres[j] + lags[None, :] - lags[:, None]
            last = np.minimum(np.searchsorted(centres, limit, side="left") - 1, j - 1)
            known = last >= 0
            before = np.where(known, upto[np.maximum(last, 0), others[:, None]], -np.inf)
            np.fill_diagonal(before, -np.inf)
            source = before.argmax(axis=0)
            jumped = before[source, others] - price + gains[j]
            stayed = best[j - 1] + gains[j]
            returned = upto[j - 1] - RETURN_COST + gains[j]
            for total, block_of, candidate_of in (
                (jumped, upto_block[np.maximum(last[source, others], 0), source], source),
                (returned, upto_block[j - 1], others),
                (stayed, np.full(candidates, j - 1), others),
            ):
                better = total >= best[j]
                best[j][better] = total[better]
                came_from[j, better, 0] = block_of[better]
                came_from[j, better, 1] = candidate_of[better]
            keep = upto[j - 1] > best[j]
            upto[j] = np.where(keep, upto[j - 1], best[j])
            upto_block[j] = np.where(keep, upto_block[j - 1], j)
        else:
            upto[0], upto_block[0] = best[0], 0
    return _runs(best, came_from, gains, strength)


def _runs(best: NDArray[np.float64], came_from: NDArray[np.int64], gains: NDArray[np.float64], strength: float) -> Path:
    block, candidate = (int(v) for v in np.unravel_index(int(best.argmax()), best.shape))
    score = float(best[block, candidate])
    if score <= 0.0:
        return Path((), 0.0, strength)
    steps: list[tuple[int, int]] = []
    while block >= 0:
        steps.append((block, candidate))
        block, candidate = (int(v) for v in came_from[block, candidate])
    steps.reverse()
    runs: list[Run] = []
    for at, c in steps:
        gain = float(gains[at, c])
        if runs and runs[-1].candidate == c:
            runs[-1] = Run(c, runs[-1].first, at, runs[-1].score + gain)
        else:
            runs.append(Run(c, at, at, gain))
    return Path(tuple(runs), score, strength)
