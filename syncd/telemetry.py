"""Logs: one event a line, in words of the six steps; readable on a terminal, JSON for the journal."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Hashable
from contextlib import suppress
from typing import Final, TextIO

import structlog

LEVELS: Final = ("debug", "info", "warning", "error")
TELL_AGAIN_S: Final = 60.0
_REMEMBERED: Final = 1000
_PRIORITIES: Final = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}
_AS_JSON: Final = structlog.processors.JSONRenderer()


class Seldom:
    """Which troubles are to be told: each at first, and every minute while it lasts.

    Met at every turn and told each time, they would fill a disk that may be full already.
    """

    def __init__(self) -> None:
        self._told_s: dict[Hashable, float] = {}

    def is_due(self, trouble: Hashable, now_s: float) -> bool:
        """Whether it is time to tell of this one (monotonic seconds); who asks, tells."""
        if now_s - self._told_s.get(trouble, -TELL_AGAIN_S) < TELL_AGAIN_S:
            return False
        if len(self._told_s) >= _REMEMBERED:
            self._told_s.clear()
        self._told_s[trouble] = now_s
        return True


def configure_logs(level: str = "info") -> None:
    """Send structured events to standard error: coloured for a person, JSON lines for a machine."""
    person = sys.stderr.isatty()
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()] if person else [structlog.processors.format_exc_info, _render_line]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=_Unfailing(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )


def priority_mark(level: str) -> str:
    """What the journal takes off the front of a line and files it by (sd-daemon(3)); nothing where nobody would."""
    stream = os.environ.get("JOURNAL_STREAM")
    try:
        status = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return ""
    return f"<{_PRIORITIES[level]}>" if stream == f"{status.st_dev}:{status.st_ino}" else ""


def _render_line(logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict) -> str:
    return f"{priority_mark(event['level'])}{_AS_JSON(logger, name, event)!s}"


class _Unfailing:
    """The part of a text file that a log needs; what cannot be written (a full disk, a closed pipe) is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, or not."""
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Have it written, or not."""
        with suppress(OSError):
            self._stream.flush()


def _printable(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """File names are bytes: what cannot be printed is escaped, so that no name breaks a line or the encoder."""
    return {key: _escape(value) if isinstance(value, str) else value for key, value in event.items()}


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n").replace("\r", "\\r")
