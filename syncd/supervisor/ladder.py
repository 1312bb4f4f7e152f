"""What an attempt gives up after faults, and when a job is given up for good. Pure: past attempts in, a standing out.

A worker that dies or hangs may do so of what is large and rare: the models, a device, features from the cache. So the
job goes down a ladder on which each rung does without more of that. One that still brings workers down on the last rung
is a danger to the others and is quarantined. Interruptions (the daemon died while the job ran) are no faults of it,
until there are too many of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from syncd.errors import ErrorCode


class Rung(IntEnum):
    """From everything to the least that gives an answer."""

    FULL = 0
    SMALLER_BATCH = 1
    CPU = 2
    LAST = 3
    """On the CPU, without models and without features from the cache."""


FAULTS: Final = frozenset(
    {
        ErrorCode.WORKER_CRASHED,
        ErrorCode.WORKER_STALLED,
        ErrorCode.OUT_OF_MEMORY,
        ErrorCode.GPU_OUT_OF_MEMORY,
        ErrorCode.GPU_FAILED,
        ErrorCode.TIME_LIMIT,
    }
)
"""Ends of an attempt that say something of the job; after any other it is tried again as it was."""
OF_THE_CARD: Final = frozenset({ErrorCode.GPU_OUT_OF_MEMORY, ErrorCode.GPU_FAILED})
AI_STAGE: Final = "ai"
KILLS_ON_LAST_RUNG: Final = 2
INTERRUPTIONS_BEFORE_ALONE: Final = 5
INTERRUPTIONS_BEFORE_QUARANTINE: Final = 10


@dataclass(frozen=True, slots=True)
class Fault:
    """One attempt that ended in a fault."""

    rung: Rung
    code: ErrorCode
    stage: str | None
    """Where it stood."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a job stands on the ladder."""

    rung: Rung = Rung.FULL
    is_alone: bool = False
    """Nothing else runs beside it: it may have brought the host down."""
    quarantine_reason: str | None = None
    """Not to be tried again."""
    quarantine_code: ErrorCode = ErrorCode.WORKER_CRASHED
    """What the job ended of, where it is not tried again."""
    ram_factor: int = 1
    """So many times the memory that is predicted is promised to it: each time that it had too little, twice as much."""


FRESH: Final = Standing()
"""Of a job that met no fault yet."""


def standing(faults: Sequence[Fault], interruptions: int = 0) -> Standing:
    """Of the job's next attempt, after its faults (oldest first) and interruptions."""
    rung = Rung.FULL
    for fault in faults:
        rung = max(rung, _below(fault))
    ram_factor = 2 ** sum(fault.code is ErrorCode.OUT_OF_MEMORY for fault in faults)
    kills = sum(fault.rung is Rung.LAST for fault in faults)
    if kills >= KILLS_ON_LAST_RUNG:
        return Standing(rung, quarantine_reason=f"It brought down {len(faults)} workers, {kills} with all care taken.")
    if interruptions >= INTERRUPTIONS_BEFORE_QUARANTINE:
        reason = f"The service died {interruptions} times while it ran."
        return Standing(rung, quarantine_reason=reason, quarantine_code=ErrorCode.INTERRUPTED)
    if interruptions >= INTERRUPTIONS_BEFORE_ALONE:
        return Standing(Rung.LAST, is_alone=True, ram_factor=ram_factor)
    return Standing(rung, ram_factor=ram_factor)


def _below(fault: Fault) -> Rung:
    is_of_the_models = fault.code in OF_THE_CARD or (fault.code is ErrorCode.WORKER_STALLED and fault.stage == AI_STAGE)
    return Rung(min(Rung.LAST, fault.rung + 1)) if is_of_the_models else Rung.LAST


def given_up(rung: Rung, *, models: bool, cache: bool) -> tuple[str, ...]:
    """In words, for the report; `models`, `cache`: whether the job would use them on the first rung."""
    if rung is Rung.FULL:
        return ()
    parts = []
    if models:
        words = {
            Rung.SMALLER_BATCH: "the models' full batch size",
            Rung.CPU: "the GPU for the models",
            Rung.LAST: "the models",
        }
        parts.append(words[rung])
    if cache and rung is Rung.LAST:
        parts.append("features from the cache")
    return tuple(parts)
