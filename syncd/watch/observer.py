"""Events of the file system as bare hints: «something may have happened at this path». A thin shell around watchdog."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver
from watchdog.observers.inotify import InotifyEmitter
from watchdog.observers.inotify_c import (
    CallbackId,
    InotifyConstants,
    InotifyEvent,
    InotifyFD,
    Mask,
    WatchCallback,
    WatchDescriptor,
)

_EVENTS: Final[list[type[FileSystemEvent]]] = [
    FileClosedEvent,
    FileMovedEvent,
    DirMovedEvent,
    # A link that appears is a file that is complete: sftp servers finish an upload by link() and unlink().
    FileCreatedEvent,
    DirCreatedEvent,
]
"""With anything more, bursts overflow the kernel's queue and events are lost."""

_JOIN_S: Final = 0.8


class FolderObserver:
    """Listens below one folder until stopped; both callables are called from its threads."""

    def __init__(
        self, root: str, *, recursive: bool, on_hint: Callable[[str], None], on_lost: Callable[[], None]
    ) -> None:
        """Raises OSError, ENOSPC or EMFILE if the system's limits are reached.

        `root`: absolute, without symbolic links. `on_hint`: receives absolute paths. `on_lost`: events were dropped, so
        only a rescan tells what happened.
        """
        self._descriptor = _Descriptor(on_lost)
        self._descriptor.start()
        self._observer = BaseObserver(InotifyEmitter, inotify_fd=self._descriptor)
        self._observer.schedule(_Handler(on_hint), root, recursive=recursive, event_filter=_EVENTS)
        try:
            self._observer.start()
        except OSError:
            self._descriptor.stop()
            self._descriptor.join(_JOIN_S)
            raise

    @property
    def is_alive(self) -> bool:
        """Whether all threads between the kernel and the hints are running, and nothing below was unmounted."""
        threads = (self._descriptor, self._observer, *self._observer.emitters)
        listens = bool(self._observer.emitters) and all(thread.is_alive() for thread in threads)
        return listens and not self._descriptor.is_unmounted

    @property
    def is_limited(self) -> bool:
        """Whether some folder below could not be listened to, for want of inotify watches."""
        return self._descriptor.is_limited

    def stop(self) -> None:
        """End all threads."""
        self._observer.stop()
        self._descriptor.stop()
        self._observer.join(_JOIN_S)
        self._descriptor.join(_JOIN_S)


class _Handler(FileSystemEventHandler):
    def __init__(self, on_hint: Callable[[str], None]) -> None:
        self._on_hint = on_hint

    def dispatch(self, event: FileSystemEvent) -> None:
        self._on_hint(os.fsdecode(event.src_path))
        if event.dest_path:
            self._on_hint(os.fsdecode(event.dest_path))


class _Descriptor(InotifyFD):
    """The inotify instance, telling what watchdog keeps to itself: a full queue, and folders it could not watch."""

    def __init__(self, on_lost: Callable[[], None]) -> None:
        super().__init__()
        self._on_lost = on_lost
        self.is_limited = False
        self.is_unmounted = False
        """The watches went with the file system; the same one may be back already, with the same numbers."""

    def add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        try:
            return super().add_callback(path, mask, callback, id_)
        except OSError as error:
            if error.errno in {errno.ENOSPC, errno.ENOMEM}:
                self.is_limited = True
                self._on_lost()
            raise

    def handle_event(self, event: InotifyEvent) -> None:
        super().handle_event(event)
        if event.mask & InotifyConstants.IN_UNMOUNT:
            self.is_unmounted = True
        if event.is_queue_overflow:
            self._on_lost()

    def _add_callback(self, path: bytes, mask: Mask, callback: WatchCallback, id_: CallbackId) -> WatchDescriptor:
        # As inherited, without its warning: a folder made inside a just-made one is registered twice, harmlessly.
        watch = self._get_or_create_watch(path, mask)
        watch.callbacks[id_] = callback
        return watch.wd
