"""Time, by its two uses: monotonic seconds for durations, aware UTC for records."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def monotonic_s() -> float:
    """Seconds on a clock that is never set back; only differences mean anything."""
    return time.monotonic()


def utc_now() -> datetime:
    """The present moment, aware."""
    return datetime.now(UTC)


def utc_to_text(moment: datetime) -> str:
    """ISO 8601 with milliseconds and a final ``Z``: sorts as text in the order of time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text_to_utc(text: str) -> datetime:
    """The inverse of `utc_to_text`."""
    return datetime.fromisoformat(text)
