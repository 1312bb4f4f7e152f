"""What follows when an attempt failed. Pure: the failure and the count in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from syncd.domain import Failure
from syncd.errors import ErrorKind, error_kind

FIRST_DELAY_S: Final = 1.0
DELAY_FACTOR: Final = 5.0
MAX_DELAY_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class TryAgain:
    """Back into the queue, not before the delay is over."""

    delay_s: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job fails."""


def after_failure(failure: Failure, attempts: int, max_attempts: int) -> TryAgain | GiveUp:
    """Only the machinery's failures are tried again, `max_attempts` times in all, each later than the last."""
    if error_kind(failure.code) is not ErrorKind.MACHINERY or attempts >= max_attempts:
        return GiveUp()
    return TryAgain(min(MAX_DELAY_S, FIRST_DELAY_S * DELAY_FACTOR ** (attempts - 1)))
