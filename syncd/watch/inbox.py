"""Hints on their way from the observer's threads to the watcher's."""

from __future__ import annotations

import threading
from typing import Final

_MAX_HINTS: Final = 100_000
"""Beyond this a rescan is cheaper than following each."""


class Inbox:
    """Paths in the order of their first mention, each once."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._paths: dict[str, None] = {}
        self._woken = False
        self._lost = False

    def put(self, path: str) -> None:
        """Something may have happened there."""
        with self._condition:
            if len(self._paths) >= _MAX_HINTS:
                self._paths.clear()
                self._lost = True
            self._paths[path] = None
            self._condition.notify()

    def lose(self) -> None:
        """Something happened, nobody knows where."""
        with self._condition:
            self._lost = True
            self._condition.notify()

    def wake(self) -> None:
        """End the waiting of `take`."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def take(self, timeout_s: float) -> tuple[list[str], bool]:
        """All hints, waiting at most so long for the first; and whether some were lost since the last call."""
        with self._condition:
            self._condition.wait_for(lambda: self._paths or self._woken or self._lost, timeout_s)
            paths, lost = list(self._paths), self._lost
            self._paths.clear()
            self._woken = self._lost = False
            return paths, lost

    def __bool__(self) -> bool:
        """Whether a hint is waiting."""
        with self._condition:
            return bool(self._paths) or self._lost
