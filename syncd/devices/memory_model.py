"""How much memory a job will need: a prior by method, corrected by what this machine's jobs really took.

Pure: values in, a figure out. The prior is the table of SPEC 2.3 (peak per method in the systems that syncd replaces,
far above what its own methods take); every finished job says what it took against its own prior, and an upper quantile
of those ratios scales the next prediction. So the first jobs are admitted carefully and the rest as experience allows.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from syncd.domain import MemoryObservation

_MIB: Final = 1024 * 1024

PRIOR_RAM_BYTES: Final[dict[str, int]] = {
    "correlation": 600 * _MIB,
    "mfcc": 600 * _MIB,
    "onset": 700 * _MIB,
    "spectral": 800 * _MIB,
    "chroma": 800 * _MIB,
    "speech": 1000 * _MIB,
    "chunked": 1200 * _MIB,
    "spectral-embedding": 800 * _MIB,
    "yamnet": 1800 * _MIB,
    "wav2vec2": 2600 * _MIB,
}
"""By method, and by model: of those most is torch and what it keeps for its threads."""
MODELS: Final = frozenset({"yamnet", "wav2vec2"})
"""Those that bring torch along."""
UNKNOWN_DURATION_S: Final = 2 * 3600.0
"""What is assumed until a probe has spoken."""
GROWTH_PER_HOUR: Final = 0.05
"""How much more than the prior an hour of programme takes, as a share: scratch tables, not samples."""
SAFETY: Final = 1.15
LEAST_SLACK_BYTES: Final = 512 * _MIB
QUANTILE: Final = 0.95
MIN_OBSERVATIONS: Final = 5


@dataclass(frozen=True, slots=True)
class Workload:
    """What is known of a job before it runs."""

    duration_s: float | None
    """Of the longer side."""
    methods: tuple[str, ...]


def prior_ram_bytes(load: Workload) -> int:
    """What the table says for the hungriest method (they run one after another)."""
    hours = (UNKNOWN_DURATION_S if load.duration_s is None else load.duration_s) / 3600.0
    base = max((PRIOR_RAM_BYTES.get(method, 800 * _MIB) for method in load.methods), default=600 * _MIB)
    return int(base * (1.0 + GROWTH_PER_HOUR * hours))


@dataclass(frozen=True, slots=True)
class VramNeed:
    """What a job may be promised of a card: ``(batch, bytes)``, the largest batch first."""

    choices: tuple[tuple[int, int], ...]

    @property
    def full(self) -> tuple[int, int]:
        """With the batch that is wanted."""
        return self.choices[0]

    @property
    def least(self) -> tuple[int, int]:
        """With the smallest batch there is."""
        return self.choices[-1]


@dataclass(frozen=True, slots=True)
class Need:
    """What to promise a job."""

    ram_bytes: int
    is_learnt: bool
    """From what this machine's jobs took, of a job whose length is known; a guess refuses nothing for good."""
    vram: VramNeed | None = None
    """Of a card, where the job has a model that computes on one."""


def predict_ram(load: Workload, observations: Iterable[MemoryObservation]) -> Need:
    """The promise to make for this job."""
    prior = prior_ram_bytes(load)
    ratios = [
        seen.peak_ram_bytes / prior_ram_bytes(Workload(seen.duration_s, seen.methods))
        for seen in observations
        if seen.peak_ram_bytes and _has_model(seen.methods) == _has_model(load.methods)
    ]
    if len(ratios) < MIN_OBSERVATIONS:
        return Need(prior, is_learnt=False)
    ram_bytes = int(prior * upper_quantile(ratios, QUANTILE) * SAFETY)
    return Need(ram_bytes, is_learnt=load.duration_s is not None)


def _has_model(methods: tuple[str, ...]) -> bool:
    """Jobs with a model teach nothing about those without: what they take is another library's."""
    return any(method in MODELS for method in methods)


def ram_cap_bytes(promised_bytes: int) -> int:
    """More than this a worker may not hold: half as much again as it was promised, or 512 MiB more.

    Predictions are upper quantiles, so one job in twenty outgrows its own by a little; the host bears that.
    """
    return promised_bytes + max(promised_bytes // 2, LEAST_SLACK_BYTES)


def upper_quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the values that at least `share` of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
