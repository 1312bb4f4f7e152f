"""What follows when an attempt failed. Pure: the failure and the count in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from syncd.domain import Failure
from syncd.errors import ErrorCode, ErrorKind, error_kind
from syncd.supervisor.ladder import FAULTS, FRESH, Standing

FIRST_DELAY_S: Final = 1.0
DELAY_FACTOR: Final = 5.0
MAX_DELAY_S: Final = 300.0
STEPS: Final = 10
"""By then the delay is the longest; a folder is waited for however many attempts it takes, and powers overflow."""
JITTER_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Back into the queue, not before the delay is over."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job fails."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """The job fails, and is a danger to others."""

    reason: str


FILE_CHANGED_DELAY_S: Final = 30.0
"""Whoever wrote the file is given time: its new version is then recorded, and supersedes the job before it is tried."""


def after_failure(
    failure: Failure, attempts: int, max_attempts: int, standing: Standing = FRESH
) -> TryAgain | GiveUp | Quarantine:
    """The machinery's failures are tried again, `max_attempts` times in all, each later than the last.

    After faults the ladder decides: `standing` is that after this one. Of the media's failures only FILE_CHANGED is
    tried again, for it is about to be another file. A folder that does not answer is waited for, however long.
    """
    if failure.code is ErrorCode.FOLDER_STALLED:
        return TryAgain(_delay_s(attempts))
    if failure.code in FAULTS:
        if standing.quarantine_reason is not None:
            return Quarantine(standing.quarantine_reason)
        return GiveUp() if max_attempts == 1 else TryAgain(_delay_s(attempts))
    if attempts >= max_attempts:
        return GiveUp()
    if failure.code is ErrorCode.FILE_CHANGED:
        return TryAgain(FILE_CHANGED_DELAY_S)
    if error_kind(failure.code) is not ErrorKind.MACHINERY:
        return GiveUp()
    return TryAgain(_delay_s(attempts))


def _delay_s(attempts: int) -> float:
    return float(min(MAX_DELAY_S, FIRST_DELAY_S * DELAY_FACTOR ** min(attempts - 1, STEPS)))


def jittered(delay_s: float, chance: float) -> float:
    """The delay, up to half longer, so that jobs that failed together do not return together; `chance`: 0 to 1."""
    return delay_s * (1.0 + JITTER_SHARE * chance)
