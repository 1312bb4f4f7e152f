"""The GPUs of this machine, watched through a process that may hang: the daemon never asks a driver itself.

`poll` never waits. The process is started anew when it ends or falls silent, ever more rarely as that goes on; one that
does not die (state D, in the driver) is given up, and with a few of those nothing more is started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import structlog

from syncd.clock import monotonic_s
from syncd.devices.frames import Absent, Erred, Found, FromChild, Read, decode_from_child
from syncd.devices.readings import Heard
from syncd.devices.roster import Roster
from syncd.protocol import FrameBuffer, ProtocolError

log = structlog.get_logger()

INTERVAL_S: Final = 1.0
SILENT_S: Final = 15.0
"""A process that says nothing at all for so long is ended."""
FIRST_PAUSE_S: Final = 2.0
LONGEST_PAUSE_S: Final = 300.0
"""Between one process and the next: doubled from the first to the longest."""
SETTLED_S: Final = 60.0
"""After speaking for so long, a process has forgotten the failures of those before it."""
FRESH_S: Final = 10.0
"""With a card in trouble, a process is replaced only while every card spoke so lately: none of its calls hangs."""
DYING_S: Final = 10.0
"""After a kill; then a process counts as one that does not die."""
MOST_DYING: Final = 3
"""With so many that were killed and are not dead, no more are started."""
STOP_S: Final = 1.0
_READ_BYTES: Final = 1 << 16
_MOST_READS: Final = 8
"""At one question: whoever talks without end must not hold the daemon."""


@dataclass(frozen=True, slots=True)
class Pace:
    """When the next process may be started. Pure."""

    failures: int = 0
    start_at_s: float = 0.0

    @property
    def pause_s(self) -> float:
        """How long to wait after one more failure."""
        return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(self.failures, 16))

    def failed(self, now_s: float) -> Pace:
        """After one that ended, or had to be ended."""
        return Pace(self.failures + 1, now_s + self.pause_s)

    def look_again(self, now_s: float) -> Pace:
        """After one that found nothing to ask: rarely, whatever was before."""
        return Pace(self.failures, now_s + LONGEST_PAUSE_S)


class Child:
    """One process that asks the driver, and the daemon's end of its pipe."""

    def __init__(self, interval_s: float, now_s: float) -> None:
        self.started_at_s = now_s
        self.heard_at_s = now_s
        self.killed_at_s: float | None = None
        self.is_done = False
        """It found nothing to ask, and said so: its end is no failure."""
        self._frames = FrameBuffer()
        self.read_fd, write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self.read_fd, False)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - our own module, by our own interpreter
                [sys.executable, "-m", "syncd.devices.nvml_child", str(write_fd), str(interval_s)],
                pass_fds=(write_fd,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError:
            os.close(self.read_fd)
            raise
        finally:
            os.close(write_fd)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def receive(self, now_s: float) -> tuple[list[FromChild], bool]:
        """What has come, and whether the pipe is still open; raises `ProtocolError`."""
        messages: list[FromChild] = []
        for _ in range(_MOST_READS):
            try:
                chunk = os.read(self.read_fd, _READ_BYTES)
            except BlockingIOError:
                return messages, True
            if not chunk:
                return messages, False
            self.heard_at_s = now_s
            messages += [decode_from_child(body) for body in self._frames.feed(chunk)]
        return messages, True

    def end(self, now_s: float) -> None:
        """Close the pipe and kill the process; whether it dies is another matter."""
        os.close(self.read_fd)
        self.killed_at_s = now_s
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def is_dead(self, timeout_s: float = 0.0) -> bool:
        """Whether the process is gone and collected."""
        if timeout_s == 0.0:
            return self._process.poll() is not None
        try:
            self._process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True


class GpuWatch:
    """What the cards last said.

    To be polled in one thread that lives as long as it: the process is ended with the thread that started it.
    """

    def __init__(self, *, interval_s: float = INTERVAL_S, silent_s: float = SILENT_S) -> None:
        self.driver_version: str | None = None
        self.card_count: int | None = None
        """How many the driver lists; None: it has not said yet."""
        self.why_none: str | None = None
        """Why there are no cards, in one sentence; None: there are some, or nobody knows yet."""
        self._interval_s = interval_s
        self._silent_s = silent_s
        self._roster = Roster()
        self._child: Child | None = None
        self._dying: list[Child] = []
        self._undead: set[int] = set()
        self._pace: Pace | None = Pace()

    @property
    def filenos(self) -> tuple[int, ...]:
        """What becomes readable when there is something to poll for."""
        return () if self._child is None else (self._child.read_fd,)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come of it: there is no driver on this machine, or it was stopped."""
        return self._pace is None and self._child is None

    def poll(self, now_s: float) -> tuple[Heard, ...]:
        """The latest reading of each card, by PCI order, and its age; never waits."""
        self._bury(now_s)
        if self._child is not None:
            self._listen(self._child, now_s)
        if self._child is not None:
            self._judge(self._child, now_s)
        if self._child is None and self._pace is not None and now_s >= self._pace.start_at_s:
            self._start(self._pace, now_s)
        return self._roster.answer(now_s)

    def stop(self) -> None:
        """End the process, and wait a moment until it, and those before it, are gone."""
        self._pace = None
        if self._child is not None:
            self._end(self._child, monotonic_s())
        deadline_s = monotonic_s() + STOP_S
        for child in self._dying:
            child.is_dead(max(0.0, deadline_s - monotonic_s()))
        self._dying.clear()

    def _start(self, pace: Pace, now_s: float) -> None:
        if len(self._dying) >= MOST_DYING:
            return
        try:
            self._child = Child(self._interval_s, now_s)
        except OSError as error:
            log.warning("gpu_watch_not_started", reason=error.strerror)
            self._pace = pace.failed(now_s)

    def _listen(self, child: Child, now_s: float) -> None:
        try:
            messages, is_open = child.receive(now_s)
        except ProtocolError as error:
            log.warning("gpu_watch_not_understood", pid=child.pid, reason=str(error))
            messages, is_open = [], False
        for message in messages:
            self._take(message, now_s)
            child.is_done |= isinstance(message, Absent)
        if is_open:
            return
        self._end(child, now_s)
        if not child.is_done and self._pace is not None:
            log.warning("gpu_watch_ended", pid=child.pid)
            self._pace = self._pace.failed(now_s)

    def _take(self, message: FromChild, now_s: float) -> None:
        match message:
            case Found():
                if self.card_count != message.card_count:
                    log.info("gpus_listed", cards=message.card_count, driver=message.driver_version)
                self.driver_version, self.card_count, self.why_none = message.driver_version, message.card_count, None
                self._roster.set_count(message.card_count, now_s)
            case Read():
                self._roster.take(message)
            case Erred():
                log.warning("gpu_erred", index=message.index, xid=message.xid)
                self._roster.note_xid(message.index, message.xid)
            case Absent():
                if self.why_none != message.reason:
                    log.info("no_gpus", reason=message.reason)
                self.why_none, self.card_count = message.reason, 0
                self._roster.set_count(0, now_s)
                if self._pace is not None:
                    self._pace = None if message.for_good else self._pace.look_again(now_s)

    def _judge(self, child: Child, now_s: float) -> None:
        """End a process that is silent, and one whose driver may see more of its cards after a fresh start."""
        if self._pace is None:
            return
        if now_s - child.heard_at_s > self._silent_s:
            log.warning("gpu_watch_silent", pid=child.pid, seconds=round(now_s - child.heard_at_s, 1))
            if self.card_count is None:
                self.why_none = "The NVIDIA driver does not answer."
            self._end(child, now_s)
            self._pace = self._pace.failed(now_s)
            return
        age_s = now_s - child.started_at_s
        if not self._roster.is_in_trouble():
            if age_s > SETTLED_S:
                self._pace = Pace()
        elif self._roster.oldest_s(now_s) < FRESH_S and age_s > max(SETTLED_S, self._pace.pause_s):
            log.debug("gpu_watch_renewed", pid=child.pid)
            self._end(child, now_s)
            self._pace = Pace(self._pace.failures + 1, now_s)

    def _end(self, child: Child, now_s: float) -> None:
        child.end(now_s)
        self._child = None
        self._dying.append(child)

    def _bury(self, now_s: float) -> None:
        """Collect those that died; give up those that do not."""
        self._dying = [child for child in self._dying if not child.is_dead()]
        self._undead &= {child.pid for child in self._dying}
        for child in self._dying:
            if child.killed_at_s is not None and now_s - child.killed_at_s > DYING_S and child.pid not in self._undead:
                log.error("gpu_watch_does_not_die", pid=child.pid)
                self._undead.add(child.pid)
