"""The watcher's voice: events go to the daemon as they come, troubles at most once a minute each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from syncd.clock import monotonic_s
from syncd.errors import ErrorCode
from syncd.watch.events import WatchEvent, WatchTrouble

Emit = Callable[[WatchEvent], None]

_REPEAT_S: Final = 60.0
_REMEMBERED: Final = 1000


class Teller:
    """Passes on what one watched folder has to say."""

    def __init__(self, index: int, emit: Emit) -> None:
        self.index = index
        self._emit = emit
        self._told_s: dict[tuple[ErrorCode, str], float] = {}

    def say(self, event: WatchEvent) -> None:
        """Pass on an event."""
        self._emit(event)

    def trouble(self, code: ErrorCode, message: str, *, is_folder_lost: bool = False) -> None:
        """Pass on a trouble, unless the same one was told of within a minute."""
        now_s = monotonic_s()
        key = (code, message)
        if now_s - self._told_s.get(key, -_REPEAT_S) < _REPEAT_S:
            return
        if len(self._told_s) >= _REMEMBERED:
            self._told_s.clear()
        self._told_s[key] = now_s
        self._emit(WatchTrouble(self.index, code, message, is_folder_lost))
