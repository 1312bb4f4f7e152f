"""What follows when an attempt failed. Pure: the failure and the count in, a decision out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from syncd.domain import Failure
from syncd.errors import ErrorCode, ErrorKind, error_kind

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


FILE_CHANGED_DELAY_S: Final = 30.0
"""Whoever wrote the file is given time: its new version is then recorded, and supersedes the job before it is tried."""


def after_failure(failure: Failure, attempts: int, max_attempts: int) -> TryAgain | GiveUp:
    """The machinery's failures are tried again, `max_attempts` times in all, each later than the last.

    Of the media's only FILE_CHANGED is, for it is about to be another file.
    """
    if attempts >= max_attempts:
        return GiveUp()
    if failure.code is ErrorCode.FILE_CHANGED:
        return TryAgain(FILE_CHANGED_DELAY_S)
    if error_kind(failure.code) is not ErrorKind.MACHINERY:
        return GiveUp()
    return TryAgain(min(MAX_DELAY_S, FIRST_DELAY_S * DELAY_FACTOR ** (attempts - 1)))
