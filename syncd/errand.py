"""What may hang in a file system (a network folder whose server is gone), done beside the main loop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Errand(Generic[T]):
    """One piece of work in a thread of its own, which ends with the process if it hangs.

    `wake`: called from that thread when it is done.
    """

    def __init__(self, work: Callable[[], T], wake: Callable[[], None]) -> None:
        self._work = work
        self._wake = wake
        self._done = threading.Event()
        self._error: Exception | None = None
        self._answer: T
        threading.Thread(target=self._run, name="errand", daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Whether it is done, after so long at most."""
        return self._done.wait(timeout_s)

    def answer(self) -> T:
        """What came of it, once it is done; raises what the work raised."""
        if self._error is not None:
            raise self._error
        return self._answer

    def _run(self) -> None:
        try:
            self._answer = self._work()
        except Exception as error:  # noqa: BLE001 - raised again where the answer is wanted
            self._error = error
        self._done.set()
        self._wake()


class Question(Generic[T]):
    """An errand whose answer is waited for until then (monotonic seconds) at most; from then on it is `otherwise`."""

    def __init__(self, errand: Errand[T], until_s: float, otherwise: T) -> None:
        self._errand = errand
        self._until_s = until_s
        self._otherwise = otherwise

    def wait(self, timeout_s: float) -> None:
        """For the answer, and so long at most."""
        self._errand.wait(timeout_s)

    def is_over(self, now_s: float) -> bool:
        """Whether there is an answer."""
        return self._errand.wait(0.0) or now_s >= self._until_s

    def answer(self) -> T:
        """Once it is over; raises what the work raised."""
        return self._errand.answer() if self._errand.wait(0.0) else self._otherwise
