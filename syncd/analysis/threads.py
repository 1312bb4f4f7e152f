"""Work on two threads, its results in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

THREADS: Final = 2
"""A job uses no more: others run beside it."""

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_order(threads: ThreadPoolExecutor, work: Callable[[_In], _Out], items: Sequence[_In]) -> Iterator[_Out]:
    """`work` of each item, in order; never more than a few at once, so that whoever counts them can end it early."""
    ahead = 2 * THREADS
    waiting = [threads.submit(work, item) for item in items[:ahead]]
    for following in range(ahead, len(items) + ahead):
        if not waiting:
            return
        yield waiting.pop(0).result()
        if following < len(items):
            waiting.append(threads.submit(work, items[following]))
