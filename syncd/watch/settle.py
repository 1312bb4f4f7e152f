"""When is a file completely there? Decided from observations alone: no clock, no disk.

A file is *complete* when all of these hold:

- its stamp (device, inode, size, times, blocks) has not changed for the quiet time, on a clock that is never set back;
- nobody has it open for writing, as far as the system can say;
- it is not empty, and as long as its own header says;
- its stamp is still the same after its content was read (the caller checks this last one and observes again).

A file that is empty or too short, or that cannot be read for a passing reason, waits; after it lay unchanged for
`incomplete_after_s` it passes as it is, so that somebody hears of it. A file that is being written waits for ever. One
that this process may not read passes at once: time does not mend it.
"""

from __future__ import annotations

import heapq
import math
import struct
from collections import deque
from collections.abc import Collection
from enum import Enum
from typing import Final

from syncd.watch.stamps import PackedStamp

_TIME: Final = struct.Struct("<d")
_RECHECK_FLOOR_S: Final = 0.5
_RECHECK_CEILING_S: Final = 30.0
"""Bounds of the time between two looks at a file that waits: it grows with the time waited, as events cut it short."""


class Look(Enum):
    """What the inside of a quiet file showed."""

    WHOLE = "whole"
    """Nothing speaks against it."""
    WRITTEN = "written"
    """Somebody has it open for writing."""
    SHORT = "short"
    """Empty, or shorter than its header promises."""
    FAULTY = "faulty"
    """Reading failed; it may work later."""
    FORBIDDEN = "forbidden"
    """This process may not read it."""


class _Pending:
    """A file that has not settled."""

    __slots__ = ("due_s", "quiet_since_s", "stamp", "waits", "woken_s")

    def __init__(self, stamp: PackedStamp, now_s: float, due_s: float) -> None:
        self.stamp = stamp
        self.quiet_since_s = now_s
        self.due_s = due_s
        self.woken_s = due_s  # when the heap speaks of it next: never later than due_s
        self.waits = False  # was looked at after its quiet time, and not let through


class _Fresh:
    """Files in their first quiet time, in the order of their coming: at a start half a million of them, so bytes."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._files: dict[str, bytes] = {}  # when it came, and its stamp
        self._order: deque[str] = deque()
        self._left: set[str] = set()
        """Paths whose files left, and which the order still has."""
        self._newest_s = -math.inf

    def __len__(self) -> int:
        return len(self._files)

    def __contains__(self, path: str) -> bool:
        return path in self._files

    def takes(self, path: str, now_s: float) -> bool:
        """Whether the file would come last."""
        return now_s >= self._newest_s and path not in self._left

    def put(self, path: str, stamp: PackedStamp, now_s: float) -> None:
        """A file that it takes."""
        self._files[path] = _TIME.pack(now_s) + stamp
        self._order.append(path)
        self._newest_s = now_s

    def is_same(self, path: str, stamp: PackedStamp) -> bool:
        """Whether the file, which is here, has this stamp."""
        return self._files[path][_TIME.size :] == stamp

    def pop(self, path: str) -> bool:
        """The file has changed or vanished. Whether it was here."""
        if self._files.pop(path, None) is None:
            return False
        self._left.add(path)
        if not self._files:
            # What once held half a million keeps the room for them.
            self._files, self._order, self._left = {}, deque(), set()
        return True

    def next_due_s(self) -> float | None:
        """When the first one has been quiet for its time."""
        while self._order and self._order[0] in self._left:
            self._left.remove(self._order.popleft())
        return self._came_s(self._order[0]) + self._settle_s if self._order else None

    def pop_due(self, now_s: float) -> tuple[str, PackedStamp, float] | None:
        """The first one if its time has come: path, stamp, and since when it is quiet."""
        due_s = self.next_due_s()
        if due_s is None or due_s > now_s:
            return None
        path = self._order[0]
        since_s, stamp = self._came_s(path), self._files[path][_TIME.size :]
        self.pop(path)
        return path, stamp, since_s

    def _came_s(self, path: str) -> float:
        came_s: float = _TIME.unpack_from(self._files[path])[0]
        return came_s


class SettleTracker:
    """The files that are still arriving, and when to look at which.

    Paths are any strings, times monotonic seconds. Files that settled are forgotten here: what is idle costs nothing.
    """

    def __init__(self, *, settle_s: float, incomplete_after_s: float) -> None:
        self._settle_s = settle_s
        self._incomplete_after_s = incomplete_after_s
        self._fresh = _Fresh(settle_s)
        self._pending: dict[str, _Pending] = {}
        self._heap: list[tuple[float, str]] = []

    def __len__(self) -> int:
        """How many files are still arriving."""
        return len(self._pending) + len(self._fresh)

    def __contains__(self, path: str) -> bool:
        return path in self._pending or path in self._fresh

    @property
    def held_up(self) -> Collection[str]:
        """Those that grew since they came, or were not let through after their quiet time."""
        return self._pending.keys()

    def observe(self, path: str, stamp: PackedStamp, now_s: float) -> bool:
        """Somebody looked at the file from outside. True if it is new or has changed: its quiet time begins now.

        An unchanged file that has waited past its quiet time is due at once: this is how a hint («closed») cuts the
        wait short.
        """
        if path in self._fresh:
            if self._fresh.is_same(path, stamp):
                return False
            self._fresh.pop(path)
        pending = self._pending.get(path)
        if pending is None:
            if self._fresh.takes(path, now_s):
                self._fresh.put(path, stamp, now_s)
            else:
                pending = self._pending[path] = _Pending(stamp, now_s, now_s + self._settle_s)
                heapq.heappush(self._heap, (pending.woken_s, path))
            return True
        if pending.stamp != stamp:
            pending.stamp = stamp
            pending.quiet_since_s = now_s
            pending.waits = False
            self._set_due(path, pending, now_s + self._settle_s)
            return True
        if pending.waits:
            self._set_due(path, pending, now_s)
        return False

    def next_due_s(self) -> float | None:
        """When `pop_due` may have something; None: nothing is arriving. Never too late, now and then too early."""
        fresh_s = self._fresh.next_due_s()
        if not self._heap:
            return fresh_s
        return self._heap[0][0] if fresh_s is None else min(fresh_s, self._heap[0][0])

    def pop_due(self, now_s: float) -> str | None:
        """One file to look at now, or None. The caller must `observe` and `judge` it, or `forget` it."""
        while self._heap and self._heap[0][0] <= now_s:
            woken_s, path = heapq.heappop(self._heap)
            pending = self._pending.get(path)
            if pending is None or pending.woken_s != woken_s:
                continue  # forgotten, or spoken of by another entry
            if pending.due_s > now_s:
                pending.woken_s = pending.due_s
                heapq.heappush(self._heap, (pending.woken_s, path))
                continue
            pending.due_s = pending.woken_s = math.inf
            return path
        if (fresh := self._fresh.pop_due(now_s)) is None:
            return None
        path, stamp, since_s = fresh
        self._pending[path] = _Pending(stamp, since_s, math.inf)
        return path

    def judge(self, path: str, look: Look, now_s: float) -> bool:
        """Whether a quiet file passes; if not, it is due again later (sooner if a hint comes)."""
        pending = self._pending[path]
        settled_s = pending.quiet_since_s + self._settle_s
        if now_s < settled_s:
            self._set_due(path, pending, settled_s)
            return False
        if look in {Look.WHOLE, Look.FORBIDDEN}:
            return True
        lapses = look in {Look.SHORT, Look.FAULTY}
        lapse_s = pending.quiet_since_s + self._incomplete_after_s
        if lapses and now_s >= lapse_s:
            return True
        pending.waits = True
        again_s = now_s + min(max((now_s - pending.quiet_since_s) / 2, _RECHECK_FLOOR_S), _RECHECK_CEILING_S)
        self._set_due(path, pending, min(again_s, lapse_s) if lapses else again_s)
        return False

    def forget(self, path: str) -> bool:
        """The file settled or vanished. Whether it was arriving."""
        return self._pending.pop(path, None) is not None or self._fresh.pop(path)

    def _set_due(self, path: str, pending: _Pending, due_s: float) -> None:
        pending.due_s = due_s
        if due_s < pending.woken_s:
            pending.woken_s = due_s
            heapq.heappush(self._heap, (due_s, path))
