"""Logs: one event a line, in words of the six steps; coloured for a person, fields for the journal, else JSON."""

from __future__ import annotations

import logging
import sys
from collections.abc import Hashable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, TextIO

import structlog

from syncd.journal import SOCKET, Journal, field_name, is_ours

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


def configure_logs(level: str = "info", *, journal_socket: Path = SOCKET) -> None:
    """Events of this level and above: to standard error, or to the journal where standard error is the journal's."""
    render: list[structlog.typing.Processor] = (
        [structlog.dev.ConsoleRenderer()]
        if sys.stderr.isatty()
        else [structlog.processors.format_exc_info, _to_journal(journal_socket), _render_line]
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _printable,
            *render,
        ],
        logger_factory=structlog.WriteLoggerFactory(file=_Unfailing(sys.stderr)),  # type: ignore[arg-type]
        cache_logger_on_first_use=False,
    )
    set_log_level(level)


def set_log_level(level: str) -> None:
    """From now on events of this level and above."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())))


def priority_mark(level: str) -> str:
    """What the journal takes off the front of a line and files it by (sd-daemon(3)); nothing where nobody would."""
    return f"<{_PRIORITIES[level]}>" if _is_journals(sys.stderr) else ""


def journal_fields(event: Mapping[str, object]) -> dict[str, str]:
    """An event as the journal's fields: a line to read, how grave it is, and each value under a name of its own."""
    apart = {"event", "level", "timestamp"}
    named = {key: value for key, value in event.items() if key not in apart and value is not None}
    words = [str(event["event"]), *(f"{key}={value}" for key, value in named.items() if key != "exception")]
    return {
        "MESSAGE": " ".join(words),
        "PRIORITY": str(_PRIORITIES[str(event["level"])]),
        "SYSLOG_IDENTIFIER": "syncd",
        "SYNCD_EVENT": str(event["event"]),
        **{field_name(key): str(value) for key, value in named.items()},
    }


def _to_journal(path: Path) -> structlog.typing.Processor:
    """Ends the way of an event there; one that the journal does not take goes on, to standard error."""
    journal = Journal(path) if _is_journals(sys.stderr) else None

    def send(
        _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        if journal is not None and journal.send(journal_fields(event)):
            raise structlog.DropEvent
        return event

    return send


def _is_journals(stream: TextIO) -> bool:
    try:
        return is_ours(stream.fileno())
    except (OSError, ValueError):
        return False


def _render_line(logger: structlog.typing.WrappedLogger, name: str, event: structlog.typing.EventDict) -> str:
    return f"{priority_mark(event['level'])}{_AS_JSON(logger, name, event)!s}"


class _Unfailing:
    """The part of a text file that a log needs; what cannot be written (a full disk, a closed file) is lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write it, or not."""
        with suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Have it written, or not."""
        with suppress(OSError, ValueError):
            self._stream.flush()


def _printable(
    _logger: structlog.typing.WrappedLogger, _name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """File names are bytes: what cannot be printed is escaped, so that no name breaks a line or the encoder."""
    return {key: _escape(value) if isinstance(value, str) else value for key, value in event.items()}


def _escape(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8").replace("\n", "\\n").replace("\r", "\\r")
