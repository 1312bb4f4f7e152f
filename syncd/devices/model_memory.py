"""How much of a card's memory a model will need: a prior by its size, corrected by what it really took here.

Pure. ``prior = context + weights + workspace + batch * window seconds * (bytes a second of window)``, all but the
context by the width of the numbers that it computes with. Every attempt says what it took against its own prior; an
upper quantile of the ratios of the last ones with the same model, number format, card and batch scales the next.
Another batch may raise a promise, never lower it: what is fixed weighs differently there. One that ran out of memory
counts as having needed a quarter more than it was promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import islice
from typing import Final

from syncd.devices.memory_model import VramNeed, upper_quantile
from syncd.domain import MemoryObservation, ModelUse

_MIB: Final = 1 << 20

CONTEXT_BYTES: Final = 512 * _MIB
"""What CUDA and its libraries take in every process, before anything is computed."""
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
    width = BYTES_A_NUMBER[use.dtype] / 4
    window_bytes = BYTES_A_WINDOW_SECOND[use.model] * use.window_s * use.batch
    return int(CONTEXT_BYTES + WORKSPACE_BYTES + (use.weights_bytes + window_bytes) * width)


def predict_vram_bytes(use: ModelUse, observations: Iterable[MemoryObservation]) -> int:
    """The promise to make for it; `observations`, newest first."""
    prior = prior_vram_bytes(use)
    seen = list(islice(_ratios(use, observations), SEEN_AT_MOST))
    same = [ratio for batch, ratio in seen if batch == use.batch]
    if len(same) >= MIN_OBSERVATIONS:
        return int(prior * upper_quantile(same, QUANTILE) * SAFETY)
    highest = max((ratio for _, ratio in seen), default=0.0)
    return int(prior * max(1.0, highest * SAFETY))


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


def _ratios(use: ModelUse, observations: Iterable[MemoryObservation]) -> Iterable[tuple[int, float]]:
    """(batch, share of the prior) of what such a model took, or was short of."""
    for seen in observations:
        if seen.model is None or _kind(seen.model) != _kind(use):
            continue
        took = max(seen.peak_vram_bytes, seen.predicted_vram_bytes * OUT_OF_MEMORY_FACTOR if seen.ran_out else 0.0)
        if took > 0:
            yield seen.model.batch, took / prior_vram_bytes(seen.model)


def _kind(use: ModelUse) -> tuple[str, str, str, int]:
    return use.model, use.dtype, use.card, use.weights_bytes
