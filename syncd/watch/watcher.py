"""The watcher of one drop folder: the thread in which hints, rescans and deadlines meet."""

from __future__ import annotations

import errno
import math
import os
import stat
import threading
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import structlog

from syncd.clock import monotonic_s
from syncd.config import WatchSection
from syncd.errors import ErrorCode
from syncd.watch.catalogue import Settled
from syncd.watch.events import EventsLost, FilesSettled, FilesUnsettled, FolderUnwritable, FolderWritable
from syncd.watch.folder import Folder
from syncd.watch.inbox import Inbox
from syncd.watch.known import NOTHING_KNOWN, KnownFiles
from syncd.watch.mounts import needs_polling
from syncd.watch.observer import FolderObserver
from syncd.watch.pace import rescan_interval_s
from syncd.watch.rescan import Tree
from syncd.watch.teller import Emit, Teller
from syncd.watch.wording import printable, unwritable_message

log = structlog.get_logger()

_IDLE_S: Final = 1.0
"""The longest sleep: after it the folder itself is looked at, and the daemon's watchdog sees that the thread lives."""
_RETRY_EVENTS_S: Final = 300.0
"""After the system's limits were reached: when to ask for events again."""
_STOP_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0


def pause_after_s(faults: int) -> float:
    """After so many faults in a row."""
    return float(min(2.0 ** min(faults - 1, 10), _LONGEST_PAUSE_S))


class Watcher:
    """Watches one folder and tells the daemon of pairs, orphans and troubles.

    `known`: what the ledger holds, by path; files whose stamp is still the same are not waited for and not read.
    `excluded`: folders that do not count even if they lie below. `writes_reports`: whether they must be written beside
    the media, for want of another place. `emit` is called from the watcher's own thread and
    must not block. Nothing is read before `start`.
    """

    def __init__(
        self,
        section: WatchSection,
        *,
        index: int,
        known: KnownFiles,
        emit: Emit,
        excluded: Collection[Path] = (),
        writes_reports: bool = True,
    ) -> None:
        self._section = section
        self._known = known
        self._excluded = tuple(excluded)
        self._writes_reports = writes_reports
        self._is_writable = True
        self._teller = Teller(index, emit)
        self._inbox = Inbox()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"watch-{index}", daemon=True)
        self._folder: Folder | None = None
        self._root = ""
        self._root_id: tuple[int, int] | None = None
        self._observer: FolderObserver | None = None
        self._events_again_s = 0.0
        self._polls = False
        self._rescan_began_s = 0.0
        self._rescan_at_s = 0.0  # infinity while one is under way
        self._rescan_wanted = False
        self._told_settled = False
        self._faults = 0
        self._tick_s = monotonic_s()
        self._tended_s = -_IDLE_S

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread; returns within a second or so."""
        stop_all([self])

    def begin_to_stop(self) -> None:
        """Have the thread end as soon as the file system lets it; returns at once."""
        self._stopping.set()
        self._inbox.wake()

    def wait_for_end(self, until_s: float) -> None:
        """Until the thread has ended, or until then (monotonic)."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, until_s - monotonic_s()))

    def rescan_now(self) -> None:
        """Read the whole folder soon."""
        self._rescan_wanted = True
        self._inbox.wake()

    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def last_tick_s(self) -> float:
        """When the thread last came round (monotonic); it does so every second unless the file system hangs."""
        return self._tick_s

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    self._turn()
                except Exception as error:  # a thread that died in silence would be noticed by nobody
                    log.exception("watch.fault", folder=os.fspath(self._section.path))
                    self._recover(error)
        finally:
            self._stop_observer()

    def _turn(self) -> None:
        self._tick_s = now_s = monotonic_s()
        if now_s - self._tended_s >= _IDLE_S or self._folder is None:
            self._tended_s = now_s
            self._tend(now_s)
        folder = self._folder
        if folder is None:
            self._inbox.take(_IDLE_S)
            return
        if (self._rescan_wanted or now_s >= self._rescan_at_s) and not folder.is_rescanning:
            self._rescan_wanted = False
            self._rescan_began_s, self._rescan_at_s = now_s, math.inf
            folder.begin_rescan(counts_missed=self._observer is not None)
        hints, lost = self._inbox.take(self._sleep_s(folder))
        if lost:
            self._rescan_wanted = True
            self._teller.say(EventsLost(self._teller.index))
        for hint in hints:
            if hint.startswith(self._root):
                folder.note(hint[len(self._root) :].strip("/"))
        folder.work()
        if self._rescan_at_s == math.inf and not folder.is_rescanning:
            self._rescan_at_s = self._rescan_began_s + self._rescan_interval_s(folder)
        self._tell_settled(folder)
        self._faults = 0

    def _sleep_s(self, folder: Folder) -> float:
        due_s = folder.next_due_s()
        wake_s = min(self._rescan_at_s, self._rescan_at_s if due_s is None else due_s)
        return min(max(0.0, wake_s - monotonic_s()), _IDLE_S)

    def _rescan_interval_s(self, folder: Folder) -> float:
        return rescan_interval_s(
            self._section.rescan_seconds, polls=self._polls, took_s=folder.scan_s, worked_s=folder.scan_worked_s
        )

    def _tell_settled(self, folder: Folder) -> None:
        if self._told_settled and not folder.is_settled:
            self._told_settled = False
            self._teller.say(FilesUnsettled(self._teller.index))
        elif not self._told_settled and folder.is_settled and not folder.is_walking and not self._inbox:
            self._told_settled = True
            self._known = NOTHING_KNOWN
            self._teller.say(FilesSettled(self._teller.index))

    def _recover(self, error: Exception) -> None:
        """Say what happened and begin anew, after a pause that grows with every fault in a row."""
        self._faults += 1
        self._folder, self._root_id = None, None
        self._stop_observer()
        try:
            self._teller.trouble(
                ErrorCode.INTERNAL, f"The watcher of {self._name()} met a fault and begins anew: {error!r}."
            )
            self._lose_settled()
        except Exception:  # whoever listens is at fault; the thread must outlive that too
            log.exception("watch.unheard")
        self._stopping.wait(pause_after_s(self._faults))

    def _lose_settled(self) -> None:
        if self._told_settled:
            self._told_settled = False
            self._teller.say(FilesUnsettled(self._teller.index))

    # --- the folder itself -----------------------------------------------------------------------------------------

    def _tend(self, now_s: float) -> None:
        """See whether the folder is still the one that is listened to, and whether events still come."""
        try:
            status = os.stat(self._section.path)  # noqa: PTH116 (the same call, without a second look-up for is_dir)
        except OSError as error:
            self._detach(ErrorCode.FILE_NOT_FOUND, f"The folder {self._name()} cannot be reached: {error.strerror}.")
            return
        if not stat.S_ISDIR(status.st_mode):
            self._detach(ErrorCode.FILE_NOT_FOUND, f"{self._name()} is not a folder.")
            return
        if not os.access(self._section.path, os.R_OK | os.X_OK):
            self._detach(ErrorCode.PERMISSION_DENIED, f"The folder {self._name()} may not be read by this user.")
            return
        self._look_for_rights()
        root_id = (status.st_dev, status.st_ino)
        if root_id != self._root_id:
            self._attach(root_id, now_s)
        elif self._observer is not None and not self._observer.is_alive:
            self._stop_observer()
            self._listen(now_s)
            self._rescan_wanted = True
        elif self._observer is not None and self._observer.is_limited and not self._polls:
            self._polls = True
            self._tell_limit("watches", "max_user_watches")
        elif self._polls and self._events_again_s and now_s >= self._events_again_s:
            self._stop_observer()
            self._listen(now_s)
            self._rescan_wanted = True

    def _look_for_rights(self) -> None:
        """Say at once what the first report would meet."""
        is_writable = not self._writes_reports or os.access(self._section.path, os.W_OK)
        if is_writable == self._is_writable:
            return
        self._is_writable = is_writable
        if is_writable:
            self._teller.say(FolderWritable(self._teller.index))
            return
        is_read_only = bool(os.statvfs(self._section.path).f_flag & os.ST_RDONLY)
        message, advice = unwritable_message(self._name(), is_read_only=is_read_only)
        self._teller.say(FolderUnwritable(self._teller.index, message, advice))

    def _attach(self, root_id: tuple[int, int], now_s: float) -> None:
        """The folder is new, or another one: listen first, then read, so that nothing falls between."""
        self._detach()
        self._root = os.path.realpath(self._section.path)
        tree = Tree(self._root, self._section.recursive, self._relative(self._excluded))
        self._root_id = root_id
        self._listen(now_s)
        self._folder = Folder(tree, self._section, teller=self._teller, recall=self._recall)
        self._rescan_wanted = True

    def _detach(self, code: ErrorCode | None = None, message: str = "") -> None:
        self._stop_observer()
        folder, self._folder, self._root_id = self._folder, None, None
        if folder is not None:
            folder.forget_all()
            self._lose_settled()
        if code is not None:
            self._teller.trouble(code, message, is_folder_lost=True)

    def _listen(self, now_s: float) -> None:
        """Ask for events; where they cannot be had, rescans come more often."""
        self._polls, self._events_again_s = True, 0.0
        if self._section.polling == "always" or (self._section.polling == "auto" and self._is_silent()):
            return
        try:
            self._observer = FolderObserver(
                self._root, recursive=self._section.recursive, on_hint=self._inbox.put, on_lost=self._inbox.lose
            )
        except OSError as error:
            self._events_again_s = now_s + _RETRY_EVENTS_S
            if error.errno == errno.ENOSPC:
                self._tell_limit("watches", "max_user_watches")
            elif error.errno == errno.EMFILE:
                self._tell_limit("instances", "max_user_instances")
            else:
                self._teller.trouble(
                    ErrorCode.INTERNAL, f"The system gives no events for {self._name()}: {error.strerror}."
                )
            return
        self._polls = False

    def _tell_limit(self, what: str, setting: str) -> None:
        self._events_again_s = monotonic_s() + _RETRY_EVENTS_S
        self._teller.trouble(
            ErrorCode.WATCH_LIMIT,
            f"The system's limit of inotify {what} (fs.inotify.{setting}) is reached, so {self._name()} is polled.",
        )

    def _stop_observer(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()

    def _is_silent(self) -> bool:
        try:
            return needs_polling(self._root, Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape"))
        except OSError:
            return False  # unknown; the rescans remain

    def _relative(self, folders: Collection[Path]) -> frozenset[str]:
        """Of the folders those that lie below the watched one, relative to it."""
        pairs = ((os.path.realpath(folder), self._root) for folder in folders)
        return frozenset(os.path.relpath(folder, root) for folder, root in pairs if folder.startswith(root + "/"))

    def _recall(self, path: str) -> Settled | None:
        return self._known.get(os.path.join(self._section.path, path))  # noqa: PTH118 - half a million times at a start

    def _name(self) -> str:
        return printable(os.fspath(self._section.path))


def stop_all(watchers: Sequence[Watcher]) -> None:
    """End their threads; returns within a second or so, however many of them hang."""
    for watcher in watchers:
        watcher.begin_to_stop()
    until_s = monotonic_s() + _STOP_S
    for watcher in watchers:
        watcher.wait_for_end(until_s)
