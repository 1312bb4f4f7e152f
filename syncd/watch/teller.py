"""The watcher's voice: events go to the daemon as they come, troubles at most once a minute each."""

from __future__ import annotations

from collections.abc import Callable

from syncd.clock import monotonic_s
from syncd.errors import ErrorCode
from syncd.telemetry import Seldom
from syncd.watch.events import WatchEvent, WatchTrouble

Emit = Callable[[WatchEvent], None]


class Teller:
    """Passes on what one watched folder has to say."""

    def __init__(self, index: int, emit: Emit) -> None:
        self.index = index
        self._emit = emit
        self._seldom = Seldom()

    def say(self, event: WatchEvent) -> None:
        """Pass on an event."""
        self._emit(event)

    def trouble(self, code: ErrorCode, message: str, *, is_folder_lost: bool = False) -> None:
        """Pass on a trouble, unless the same one was told of within a minute."""
        if self._seldom.is_due((code, message), monotonic_s()):
            self._emit(WatchTrouble(self.index, code, message, is_folder_lost))
