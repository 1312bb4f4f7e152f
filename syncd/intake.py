"""settle and pair become enqueue: what the folder watchers tell, written into the ledger.

Top floor, beside the daemon: it joins watch, ledger and reports. Watchers speak from their own threads; everything
here but `_hear` runs in the main loop.
"""

from __future__ import annotations

import os
import queue
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog

from syncd.config import Config, WatchSection
from syncd.domain import Failure, Pair
from syncd.errors import SyncdError
from syncd.ledger.ledger import Ledger
from syncd.reports.past import find_past_report
from syncd.watch.events import (
    FilesSettled,
    FilesUnsettled,
    OrphanFound,
    OrphanResolved,
    PairFound,
    RescanDone,
    WatchEvent,
    WatchTrouble,
)
from syncd.watch.known import KnownFiles
from syncd.watch.watcher import Watcher

log = structlog.get_logger()

SLICE_S: Final = 0.2
"""How long one turn may enqueue before workers, requests and signals have theirs."""
BACKLOG: Final = 5_000
"""So many events may wait: a watcher that finds more (an archive at a start) goes on when some have been taken."""
PACE_S: Final = 0.02
SILENT_S: Final = 300.0
"""A watcher that has not come round for so long hangs in a file system."""


@dataclass(slots=True)
class Counted:
    """What became of the pairs found so far, but for those that were known."""

    recorded: int = 0
    """From a report that lay there."""
    recorded_failed: int = 0
    """Those of them that had failed."""
    queued: int = 0


class Intake:
    """The watchers, and the queue of what they found.

    `call_off`: told, with the monotonic time, of a running job whose place was taken.
    """

    def __init__(self, ledger: Ledger, call_off: Callable[[int, float], None], wake: Callable[[], None]) -> None:
        self.profiles = Config()
        self.counted = Counted()
        self._ledger = ledger
        self._call_off = call_off
        self._wake = wake
        self._heard: queue.SimpleQueue[tuple[int, WatchEvent]] = queue.SimpleQueue()
        self._events: deque[tuple[int, WatchEvent]] = deque()
        self._held_back: deque[tuple[WatchSection, Pair]] = deque()
        self._watchers: list[Watcher] = []
        self._sections: Sequence[WatchSection] = ()
        self._generation = 0
        self._paces = True
        self._unsettled: set[int] = set()
        self._missing: set[int] = set()

    @property
    def has_more(self) -> bool:
        """Whether the last turn left something that could go on at once."""
        return bool(self._events) or not self._heard.empty() or (bool(self._held_back) and self._has_room())

    @property
    def backlog(self) -> int:
        """How many events wait to be taken."""
        return self._heard.qsize()

    @property
    def is_done(self) -> bool:
        """Whether every reachable folder has settled and all that was found is recorded."""
        return not (self._unsettled - self._missing or self._events or self._held_back or not self._heard.empty())

    @property
    def has_missing_folders(self) -> bool:
        """Whether a folder could not be read at all."""
        return bool(self._missing)

    def moves(self, now_s: float) -> bool:
        """Whether every watcher came round of late; if not, the service manager is left to find out."""
        return all(w.is_alive() and now_s - w.last_tick_s() < SILENT_S for w in self._watchers)

    # --- the folders -------------------------------------------------------------------------------------------------

    def watch(self, config: Config) -> None:
        """Start a watcher for each folder."""
        self._generation += 1
        self._paces = True
        self.profiles, self._sections = config, config.watch
        self._unsettled, self._missing = set(range(len(config.watch))), set()
        self._forget_stale_orphans()
        known = KnownFiles(self._ledger.known_files())
        reports = config.reports
        unwatched = [path for path in (reports.fallback, reports.done, reports.failed) if path]
        for index, section in enumerate(config.watch):
            inner = [other.path for other in config.watch if section.path in other.path.parents]
            emit = partial(self._hear, self._generation)
            watcher = Watcher(section, index=index, known=known, emit=emit, excluded=[*unwatched, *inner])
            watcher.start()
            self._watchers.append(watcher)

    def unwatch(self) -> None:
        """Stop all watchers, and record their last words; what one says later belongs to no folder any more."""
        self._paces = False
        for watcher in self._watchers:
            watcher.stop()
        self._watchers.clear()
        try:
            self.take(slice_s=1.0)
        except SyncdError as error:
            log.error(
                "last_words_lost", code=error.code.value, reason=error.message, advice="The next scan finds them."
            )
        self._generation += 1
        self._events.clear()

    def _forget_stale_orphans(self) -> None:
        """Orphans of an earlier run whose file is gone, or whose folder is watched no more."""
        roots = [section.path for section in self._sections]
        try:
            self._ledger.forget_orphans(
                path
                for path in self._ledger.orphan_paths()
                if not os.path.lexists(path) or not any(root in path.parents for root in roots)
            )
        except SyncdError as error:
            log.error("orphans_not_forgotten", code=error.code.value, reason=error.message)

    def _hear(self, generation: int, event: WatchEvent) -> None:
        self._heard.put((generation, event))
        self._wake()
        while self._paces and self.backlog > BACKLOG:
            time.sleep(PACE_S)

    # --- what they found ---------------------------------------------------------------------------------------------

    def take(self, slice_s: float = SLICE_S) -> None:
        """Record what has been found, for `slice_s` at most; what fails with `SyncdError` is kept for the next turn."""
        end_s = time.monotonic() + slice_s
        while (self._events or not self._heard.empty()) and time.monotonic() < end_s:
            if not self._events:
                self._events.append(self._heard.get_nowait())
            generation, event = self._events[0]
            if generation == self._generation:
                self._record(event)
            self._events.popleft()
        while self._held_back and time.monotonic() < end_s and self._has_room():
            self._enqueue(*self._held_back[0])
            self._held_back.popleft()

    def _record(self, event: WatchEvent) -> None:
        match event:
            case PairFound():
                self._ledger.forget_orphans([event.pair.master.path, event.pair.dub.path])
                self._held_back.append((self._sections[event.watch_index], event.pair))
            case OrphanFound():
                if self._ledger.record_orphan(event.orphan):
                    log.warning("orphan", path=str(event.orphan.file.path), reason=event.orphan.message)
            case OrphanResolved():
                self._ledger.forget_orphans([event.path])
            case FilesSettled():
                self._unsettled.discard(event.watch_index)
                self._missing.discard(event.watch_index)
            case FilesUnsettled():
                self._unsettled.add(event.watch_index)
                self._missing.discard(event.watch_index)
            case WatchTrouble():
                log.error("watch_trouble", code=event.code.value, message=event.message)
                if event.is_folder_lost:
                    self._missing.add(event.watch_index)
            case RescanDone():
                log.debug("rescan", files=event.files, missed=event.missed, seconds=round(event.seconds, 3))

    def _has_room(self) -> bool:
        limit = self.profiles.limits.max_queued
        return limit is None or self._ledger.queued_count() < limit

    def _enqueue(self, section: WatchSection, pair: Pair) -> None:
        if self._record_past(section, pair):
            return
        enqueued = self._ledger.enqueue(
            pair,
            profile=section.profile,
            settings=self.profiles.profile(section.profile).to_settings(),
            priority=section.priority,
        )
        for job_id in enqueued.superseded_running:
            self._call_off(job_id, time.monotonic())
        if enqueued.created:
            self.counted.queued += 1
            log.info("enqueue", job=enqueued.job_id, title=pair.title, language=pair.language)
        if enqueued.found_again is not None:
            log.info(
                "found_again",
                job=enqueued.job_id,
                state=enqueued.found_again.state.value,
                dub=str(pair.dub.path),
                report=str(enqueued.found_again.report or ""),
                advice="The same contents as in that job, so nothing is measured; 'syncctl submit --force' does.",
            )

    def _record_past(self, section: WatchSection, pair: Pair) -> bool:
        """Whether its report lies there already, though the ledger (a new one, or a pruned one) never heard of it."""
        profile, settings = section.profile, self.profiles.profile(section.profile).to_settings()
        if not self._ledger.is_unheard_of(pair, profile=profile, settings=settings):
            return False
        past = find_past_report(pair, profile, fallback=self.profiles.reports.fallback)
        if past is None:
            return False
        job_id = self._ledger.record_past(pair, past, profile=profile, settings=settings, priority=section.priority)
        if job_id is None:
            return False
        self.counted.recorded += 1
        self.counted.recorded_failed += isinstance(past.outcome, Failure)
        log.info("record", job=job_id, title=pair.title, language=pair.language, sidecar=str(past.path))
        return True
