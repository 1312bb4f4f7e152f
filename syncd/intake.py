"""settle and pair become enqueue: what the folder watchers tell, written into the ledger.

Top floor, beside the daemon: it joins watch, ledger and reports. Watchers speak from their own threads; everything
here but `_hear` runs in the main loop, which asks no watched folder's disk itself: whether a report lies there already,
or a file no more, is looked at beside it, and the pairs of one folder wait for that while those of others go on.
"""

from __future__ import annotations

import math
import os
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from syncd.config import Config, WatchSection
from syncd.domain import Failure, Pair, PastReport
from syncd.errand import Errand, Question
from syncd.errors import SyncdError
from syncd.ledger.enqueue import ELSEWHERE_S, Elsewhere, deserted_job_id
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.reports.past import find_past_report
from syncd.watch.events import (
    EventsLost,
    FilesSettled,
    FilesUnsettled,
    FolderUnwritable,
    FolderWritable,
    OrphanFound,
    OrphanResolved,
    PairFound,
    RescanDone,
    WatchEvent,
    WatchTrouble,
)
from syncd.watch.known import KnownFiles
from syncd.watch.watcher import Watcher, stop_all

log = structlog.get_logger()

SLICE_S: Final = 0.2
"""How long one turn may enqueue before workers, requests and signals have theirs."""
LAST_WORDS_S: Final = 0.5
"""The same for what watchers said last, before a stop."""
BACKLOG: Final = 5_000
"""So many events may wait: a watcher that finds more (an archive at a start) goes on when some have been taken."""
PACE_S: Final = 0.02
SILENT_S: Final = 300.0
"""A watcher that has not come round for so long hangs in a file system."""
ASK_AGAIN_S: Final = 1.0
"""How often it is asked whether a job that speaks for a pair in another place has ended."""
LOOK_S: Final = 0.05
"""How long the main loop waits for a look at a disk; nearly all take a hundredth of it."""


@dataclass(slots=True)
class Counted:
    """What became of the pairs found so far, but for those that were known."""

    recorded: int = 0
    """From a report that lay there."""
    recorded_failed: int = 0
    """Those of them that had failed."""
    queued: int = 0
    found_again: int = 0
    """Measured before, in another place."""
    orphans: int = 0
    """Told of, whatever became of them."""
    rescans: int = 0
    missed: int = 0
    """Files that rescans found and no event had told of."""
    overflows: int = 0
    """Events of the file system were lost."""
    troubles: Counter[str] = field(default_factory=Counter)
    """Of watched folders."""


@dataclass(frozen=True, slots=True)
class FolderCounts:
    """Of watched folders."""

    watched: int
    missing: int
    hung: int


@dataclass(frozen=True, slots=True)
class _Seen:
    """What the disk said of a pair that is to be recorded."""

    past: PastReport | None = None
    deserted_job_id: int | None = None


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
        self._held_back: dict[Path, deque[tuple[WatchSection, Pair]]] = {}
        """By watched folder; in the order in which they were found, for a later version must not be overtaken."""
        self._has_pairs_left = False
        """Only for want of time."""
        self._spoken_for: dict[int, list[tuple[WatchSection, Pair]]] = {}
        """Pairs for which a job that has not ended speaks from another place; by that job."""
        self._ask_again_at_s = 0.0
        self._looks: dict[Path, Question[_Seen]] = {}
        """For the first of a folder's pairs."""
        self._stale_looks: list[Errand[list[Path]]] = []
        """For the files of an earlier run's orphans."""
        self._orphans_found: set[Path] = set()
        """Since these looks began."""
        self._knowing: Errand[KnownFiles] | None = None
        """What the ledger holds of files is being read: half a million of them take seconds."""
        self._watchers: list[Watcher] = []
        self._sections: Sequence[WatchSection] = ()
        self._generation = 0
        self._paces = True
        self._unsettled: set[int] = set()
        self._missing: set[int] = set()
        self._unwritable: set[int] = set()

    @property
    def has_more(self) -> bool:
        """Whether the last turn left something that could go on at once."""
        return bool(self._events) or not self._heard.empty() or self._has_pairs_left

    @property
    def backlog(self) -> int:
        """How many events wait to be taken."""
        return self._heard.qsize()

    @property
    def is_done(self) -> bool:
        """Whether every reachable folder has settled and all that was found is recorded."""
        if self._unsettled - self._missing or self._events or self._held_back or not self._heard.empty():
            return False
        return not self._spoken_for or self._ledger.is_paused()

    @property
    def has_missing_folders(self) -> bool:
        """Whether a folder could not be read at all."""
        return bool(self._missing)

    def folder_counts(self, now_s: float) -> FolderCounts:
        """How many are watched, and how many of these give nothing."""
        return FolderCounts(len(self._sections), len(self._missing), len(self.hung_folders(now_s)))

    @property
    def has_lost_a_watcher(self) -> bool:
        """Whether one has ended that should not: the service manager is left to find out."""
        return not all(watcher.is_alive() for watcher in self._watchers)

    @property
    def missing_folders(self) -> list[Path]:
        """Watched folders that are not there, or may not be read."""
        return [self._sections[index].path for index in sorted(self._missing)]

    @property
    def unwritable_folders(self) -> list[Path]:
        """Watched folders in which no report can be written, where there is no other place for it."""
        return [self._sections[index].path for index in sorted(self._unwritable - self._missing)]

    def hung_folders(self, now_s: float) -> list[Path]:
        """Those whose watchers hang in a file system. No restart would mend that, and it would stop all the others."""
        watched = zip(self._sections, self._watchers, strict=False)
        return [section.path for section, watcher in watched if now_s - watcher.last_tick_s() >= SILENT_S]

    # --- the folders -------------------------------------------------------------------------------------------------

    def watch(self, config: Config) -> None:
        """Watch each folder, as soon as what the ledger knows of files is read: beside the main loop, for many."""
        self._generation += 1
        self._paces = True
        self.profiles, self._sections = config, config.watch
        self._unsettled, self._missing, self._unwritable = set(range(len(config.watch))), set(), set()
        self._spoken_for.clear()  # All pairs are told of anew.
        self._forget_stale_orphans()
        self._begin_to_know()

    def _begin_to_know(self) -> None:
        self._knowing = Errand(partial(_known_files, self.profiles.ledger.path), self._wake)

    def _watch_with_what_is_known(self) -> None:
        """Begin to watch; raises what reading the ledger raised, and reads it again."""
        if self._knowing is None or not self._knowing.wait(0.0):
            return
        try:
            known = self._knowing.answer()
        except SyncdError as error:
            self._ledger.mind(error)
            self._begin_to_know()
            raise
        self._knowing = None
        reports = self.profiles.reports
        unwatched = [path for path in (reports.fallback, reports.done, reports.failed) if path]
        for index, section in enumerate(self._sections):
            inner = [other.path for other in self._sections if section.path in other.path.parents]
            emit = partial(self._hear, self._generation)
            watcher = Watcher(
                section,
                index=index,
                known=known,
                emit=emit,
                excluded=[*unwatched, *inner],
                writes_reports=reports.fallback is None,
            )
            watcher.start()
            self._watchers.append(watcher)

    def unwatch(self) -> None:
        """Stop all watchers, and record their last words; what one says later belongs to no folder any more."""
        self._paces, self._knowing = False, None
        stop_all(self._watchers)
        self._watchers.clear()
        try:
            self.take(slice_s=LAST_WORDS_S)
        except SyncdError as error:
            log.error(
                "last_words_lost", code=error.code.value, reason=error.message, advice="The next scan finds them."
            )
        self._generation += 1
        self._events.clear()

    def _forget_stale_orphans(self) -> None:
        """Orphans of an earlier run whose file is gone, or whose folder is watched no more."""
        self._stale_looks.clear()
        self._orphans_found.clear()
        try:
            unwatched = set(self._ledger.orphan_paths())
            for section in self._sections:
                inside = [path for path in unwatched if _counts_in(section, path)]
                unwatched.difference_update(inside)
                if inside:
                    self._stale_looks.append(Errand(partial(_gone, inside), self._wake))
            self._ledger.forget_orphans(unwatched)
        except SyncdError as error:
            log.error("orphans_not_forgotten", code=error.code.value, reason=error.message)

    def _take_stale_orphans(self) -> None:
        """What the looks have shown so far; one that was found again since then is none of them."""
        for look in [each for each in self._stale_looks if each.wait(0.0)]:
            self._ledger.forget_orphans(path for path in look.answer() if path not in self._orphans_found)
            self._stale_looks.remove(look)

    def _hear(self, generation: int, event: WatchEvent) -> None:
        self._heard.put((generation, event))
        self._wake()
        while self._paces and self.backlog > BACKLOG:
            time.sleep(PACE_S)

    # --- what they found ---------------------------------------------------------------------------------------------

    def take(self, slice_s: float = SLICE_S) -> None:
        """Record what has been found, for `slice_s` at most; what fails with `SyncdError` is kept for the next turn."""
        end_s = time.monotonic() + slice_s
        self._watch_with_what_is_known()
        while (self._events or not self._heard.empty()) and time.monotonic() < end_s:
            if not self._events:
                self._events.append(self._heard.get_nowait())
            generation, event = self._events[0]
            if generation == self._generation:
                self._record(event)
            self._events.popleft()
        self._take_stale_orphans()
        self._take_up_spoken_for()
        self._enqueue_found(end_s)

    def _record(self, event: WatchEvent) -> None:
        match event:
            case PairFound():
                self._ledger.forget_orphans([event.pair.master.path, event.pair.dub.path])
                section = self._sections[event.watch_index]
                self._held_back.setdefault(section.path, deque()).append((section, event.pair))
            case OrphanFound():
                if self._stale_looks:
                    self._orphans_found.add(event.orphan.file.path)
                is_new = self._ledger.record_orphan(event.orphan)
                # One that may pass was listed long ago; told of again after a restart rather than never.
                if event.is_overdue and (is_new or event.orphan.reason.may_pass):
                    self.counted.orphans += 1
                    log.warning("orphan", path=str(event.orphan.file.path), reason=event.orphan.message)
            case OrphanResolved():
                self._ledger.forget_orphans([event.path])
            case FilesSettled():
                self._unsettled.discard(event.watch_index)
                self._missing.discard(event.watch_index)
            case FilesUnsettled():
                self._unsettled.add(event.watch_index)
                self._missing.discard(event.watch_index)
            case _:
                self._record_of_folder(event)

    def _take_up_spoken_for(self) -> None:
        """Pairs whose job has ended: if it did so because its files were gone, theirs are measured."""
        if not self._spoken_for or time.monotonic() < self._ask_again_at_s:
            return
        self._ask_again_at_s = time.monotonic() + ASK_AGAIN_S
        for job_id in self._spoken_for.keys() - self._ledger.live_among(self._spoken_for):
            for section, pair in self._spoken_for.pop(job_id):
                self._held_back.setdefault(section.path, deque()).append((section, pair))

    def _record_of_folder(
        self, event: WatchTrouble | FolderUnwritable | FolderWritable | EventsLost | RescanDone
    ) -> None:
        match event:
            case WatchTrouble():
                self.counted.troubles[event.code] += 1
                log.error("watch_trouble", code=event.code.value, message=event.message)
                if event.is_folder_lost:
                    self._missing.add(event.watch_index)
            case FolderUnwritable():
                self._unwritable.add(event.watch_index)
                log.warning("folder_unwritable", reason=event.message, advice=event.advice)
            case FolderWritable():
                self._unwritable.discard(event.watch_index)
            case EventsLost():
                self.counted.overflows += 1
            case RescanDone():
                self.counted.rescans += 1
                self.counted.missed += event.missed
                log.debug("rescan", files=event.files, missed=event.missed, seconds=round(event.seconds, 3))

    def _has_room(self) -> bool:
        limit = self.profiles.limits.max_queued
        return limit is None or self._ledger.queued_count() < limit

    def _enqueue_found(self, end_s: float) -> None:
        """One pair of each folder after the other, as long as any folder answers."""
        self._has_pairs_left = False
        goes_on = True
        while goes_on:
            goes_on = False
            for folder in list(self._held_back):
                if not self._has_room():
                    return
                if time.monotonic() >= end_s:
                    self._has_pairs_left = True
                    return
                goes_on |= self._enqueue_first(folder)

    def _enqueue_first(self, folder: Path) -> bool:
        """The pair of this folder that was found first; False: the disk has not answered yet."""
        waiting = self._held_back[folder]
        section, pair = waiting[0]
        seen = self._seen(folder, section, pair)
        if seen is None:
            return False
        if seen.past is None or not self._record_past(section, pair, seen.past):
            self._enqueue(section, pair, seen.deserted_job_id)
        self._looks.pop(folder, None)
        waiting.popleft()
        if not waiting:
            del self._held_back[folder]
        return True

    def _seen(self, folder: Path, section: WatchSection, pair: Pair) -> _Seen | None:
        """What has to be known of the disk first; None: not yet."""
        look = self._looks.get(folder)
        if look is None:
            look = self._look(section, pair)
            if look is None:
                return _Seen()
            self._looks[folder] = look
            look.wait(LOOK_S)
        return look.answer() if look.is_over(time.monotonic()) else None

    def _look(self, section: WatchSection, pair: Pair) -> Question[_Seen] | None:
        """Ask the disk; None: the ledger knows all that there is to know."""
        settings = self.profiles.profile(section.profile).to_settings()
        known = self._ledger.acquaintance(pair, profile=section.profile, settings=settings)
        if known.is_unheard_of:
            work = partial(_look_for_report, pair, section.profile, self.profiles.reports.fallback)
            return Question(Errand(work, self._wake), math.inf, _Seen())
        if known.elsewhere is not None:
            errand = Errand(partial(_look_at, known.elsewhere), self._wake)
            return Question(errand, time.monotonic() + ELSEWHERE_S, _Seen())
        return None

    def _enqueue(self, section: WatchSection, pair: Pair, deserted_job_id: int | None) -> None:
        enqueued = self._ledger.enqueue(
            pair,
            profile=section.profile,
            settings=self.profiles.profile(section.profile).to_settings(),
            priority=section.priority,
            deserted_job_id=deserted_job_id,
        )
        for job_id in enqueued.superseded_running:
            self._call_off(job_id, time.monotonic())
        if enqueued.is_spoken_for:
            self._spoken_for.setdefault(enqueued.job_id, []).append((section, pair))
        if enqueued.created:
            self.counted.queued += 1
            log.info("enqueue", job=enqueued.job_id, title=pair.title, language=pair.language)
        if enqueued.found_again is not None:
            self.counted.found_again += 1
            log.info(
                "found_again",
                job=enqueued.job_id,
                state=enqueued.found_again.state.value,
                dub=str(pair.dub.path),
                report=str(enqueued.found_again.report or ""),
                advice="The same contents as in that job, so nothing is measured; 'syncctl submit --force' does.",
            )

    def _record_past(self, section: WatchSection, pair: Pair, past: PastReport) -> bool:
        """Whether it counts: the ledger (a new one, or a pruned one) may have heard of the pair since."""
        profile, settings = section.profile, self.profiles.profile(section.profile).to_settings()
        if not self._ledger.is_unheard_of(pair, profile=profile, settings=settings):
            return False
        job_id = self._ledger.record_past(pair, past, profile=profile, settings=settings, priority=section.priority)
        if job_id is None:
            return False
        self.counted.recorded += 1
        self.counted.recorded_failed += isinstance(past.outcome, Failure)
        log.info("record", job=job_id, title=pair.title, language=pair.language, sidecar=str(past.path))
        return True


# What may hang, and so is done beside the main loop.


def _look_for_report(pair: Pair, profile: str, fallback: Path | None) -> _Seen:
    return _Seen(past=find_past_report(pair, profile, fallback=fallback))


def _look_at(elsewhere: Elsewhere) -> _Seen:
    return _Seen(deserted_job_id=deserted_job_id(elsewhere))


def _counts_in(section: WatchSection, path: Path) -> bool:
    return path.parent == section.path or (section.recursive and section.path in path.parents)


def _gone(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if not os.path.lexists(path)]


def _known_files(ledger: Path) -> KnownFiles:
    reader = LedgerReader.open(ledger)
    try:
        return KnownFiles(reader.known_files())
    finally:
        reader.close()
