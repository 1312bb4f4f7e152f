"""How much of a card's memory a model will need: a prior by its size, corrected by what it really took here.

Pure. ``prior = context + weights + workspace + batch * window seconds * (bytes a second of window)``, all but the
context by the width of the numbers that it computes with. Context and weights are known; the rest is a guess. Every
attempt says what it took beyond them against what was believed; an upper quantile of these ratios, of the last ones
with the same model, number format and card, scales the rest of the next. One that ran out of memory counts as having
needed a quarter more than it was promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

from syncd.devices.memory_model import VramNeed, upper_quantile
from syncd.domain import MemoryObservation, ModelUse

_MIB: Final = 1 << 20

CONTEXT_BYTES: Final = 700 * _MIB
"""What CUDA and its libraries take in every process beside the allocator, generously; the cap counts it too."""
WORKSPACE_BYTES: Final = 256 * _MIB
"""Of the libraries, whatever the batch."""
BYTES_A_WINDOW_SECOND: Final[dict[str, int]] = {"wav2vec2": 16 * _MIB, "yamnet": 2 * _MIB}
"""In float32. Of wav2vec2 the convolutions before the transformer are the peak, so large models take no more."""
BYTES_A_NUMBER: Final[dict[str, int]] = {"float32": 4, "float16": 2, "bfloat16": 2}
LARGEST_BATCH: Final = 8
SEEN_AT_MOST: Final = 20
QUANTILE: Final = 0.95
SAFETY: Final = 1.1
MIN_OBSERVATIONS: Final = 3
"""Below it nothing is promised less than the prior."""
OUT_OF_MEMORY_FACTOR: Final = 1.25


def prior_vram_bytes(use: ModelUse) -> int:
    """What the model is believed to take before anybody has seen it here."""
    return _known_bytes(use) + _guessed_bytes(use)


def predict_vram_bytes(use: ModelUse, observations: Iterable[MemoryObservation]) -> int:
    """The promise to make for it; `observations`, newest first."""
    ratios = list(islice(_ratios(use, observations), SEEN_AT_MOST))
    if not ratios:
        return prior_vram_bytes(use)
    learnt = upper_quantile(ratios, QUANTILE)
    if len(ratios) < MIN_OBSERVATIONS:
        learnt = max(1.0, learnt)
    return int((_known_bytes(use) + _guessed_bytes(use) * learnt) * SAFETY)


def _known_bytes(use: ModelUse) -> int:
    return CONTEXT_BYTES + int(use.weights_bytes * BYTES_A_NUMBER[use.dtype] / 4)


def _guessed_bytes(use: ModelUse) -> int:
    window_bytes = BYTES_A_WINDOW_SECOND[use.model] * use.window_s * use.batch
    return int((WORKSPACE_BYTES + window_bytes) * BYTES_A_NUMBER[use.dtype] / 4)


def vram_need(use: ModelUse, observations: Iterable[MemoryObservation], *, safety: float = 1.0) -> VramNeed:
    """The promises for the batch of `use` and for each half of it, down to a window at a time."""
    seen = list(observations)
    choices: list[tuple[int, int]] = []
    batch = use.batch
    while batch >= 1:
        promised = int(predict_vram_bytes(replace(use, batch=batch), seen) * safety)
        # Fewer windows never need more, whatever is known of them.
        choices.append((batch, min(promised, choices[-1][1]) if choices else promised))
        batch //= 2
    return VramNeed(tuple(choices))


def _ratios(use: ModelUse, observations: Iterable[MemoryObservation]) -> Iterable[float]:
    """What such models took beyond what is known, or were short of, as a share of what was guessed."""
    for seen in observations:
        if seen.model is None or _kind(seen.model) != _kind(use):
            continue
        took = max(seen.peak_vram_bytes, seen.predicted_vram_bytes * OUT_OF_MEMORY_FACTOR if seen.ran_out else 0.0)
        if took > 0:
            yield max(0.0, took - _known_bytes(seen.model)) / _guessed_bytes(seen.model)


def _kind(use: ModelUse) -> tuple[str, str, str, int]:
    return use.model, use.dtype, use.card, use.weights_bytes
