"""One watched folder: what is arriving, what has settled, whose partner is whose. Used by one thread only.

Everything here happens in slices of some 50 ms, so that a folder of half a million files keeps neither hints nor the
end of the program waiting.
"""

from __future__ import annotations

import itertools
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from syncd.clock import monotonic_s, utc_now
from syncd.config import WatchSection
from syncd.domain import MediaFile, Orphan, Pair, Role
from syncd.errors import ErrorCode
from syncd.watch.catalogue import Catalogue, Settled
from syncd.watch.events import OrphanFound, OrphanResolved, PairFound, RescanDone
from syncd.watch.examine import fingerprint, look_inside, look_of_error, media_file, opened, stamp_of, stems_file
from syncd.watch.naming import STEMS_MARK, NameRules
from syncd.watch.pairing import Changes, Due, Match, OrphanWatch, PairBook
from syncd.watch.rescan import Kind, Listing, Tree, Unreadable, look_up, walk
from syncd.watch.settle import SettleTracker
from syncd.watch.stamps import PackedStamp, mark_of, unpack_stamp
from syncd.watch.stems import StemBook, stem_name
from syncd.watch.teller import Teller
from syncd.watch.wording import orphan_message, printable

Recall = Callable[[str], Settled | None]
"""What an earlier life of the daemon knew of a file, by its relative path."""

_SLICE_S: Final = 0.05
_ARRIVING_LOOKED_AT: Final = 1_000
_OTHER: Final = {Role.MASTER: Role.DUB, Role.DUB: Role.MASTER}
_EVENTS_WAY_NS: Final = 2_000_000_000
"""A file younger than this, found by a rescan before its event arrived, was not missed."""


class _Walk:
    """A reading of the whole folder or of one below it, under way."""

    __slots__ = (
        "counts_missed",
        "files",
        "folders",
        "items",
        "met",
        "missed",
        "spent_s",
        "start",
        "unread",
        "worked_s",
    )

    def __init__(self, tree: Tree, start: str, *, counts_missed: bool) -> None:
        self.start = start
        self.items = walk(tree, start)
        self.counts_missed = counts_missed
        self.folders: set[str] = set()
        self.unread: list[str] = []
        self.met: set[str] = set()
        """Paths in a folder that is being read in parts."""
        self.files = 0
        self.missed = 0
        self.spent_s = 0.0
        self.worked_s = 0.0


class Folder:
    """Turns hints, rescans and the passing of time into pairs and orphans.

    `base`: the folder as it is configured, to which all paths that leave here belong. `recall`: asked during the first
    whole rescan, so that files which an earlier daemon settled are neither waited for nor read.
    """

    def __init__(self, tree: Tree, section: WatchSection, *, teller: Teller, recall: Recall) -> None:
        self._tree = tree
        self._base = section.path
        self._teller = teller
        self._recall = recall
        self._tracker = SettleTracker(
            settle_s=section.settle_seconds, incomplete_after_s=section.incomplete_after_seconds
        )
        self._catalogue = Catalogue()
        self._names = NameRules(patterns=section.patterns, root_title=section.path.name)
        self._book = PairBook(self._names)
        self._stems = StemBook(quiet_s=section.settle_seconds)
        self._told_as: dict[str, str] = {}
        """Sides of stems told of as orphans, and under which path."""
        self._orphans = OrphanWatch(after_s=section.orphan_after_seconds)
        self._walks: deque[_Walk] = deque()
        self._recalled: dict[str, Settled] = {}
        self.is_scanned = False
        self.scan_s = 0.0
        """How long the last reading of the whole took."""
        self.scan_worked_s = 0.0
        """How much of the processor's time."""

    @property
    def is_settled(self) -> bool:
        """Whether the whole folder has been read and none of its files is still arriving."""
        return self.is_scanned and not self._tracker and not self._stems and not self._recalled

    @property
    def is_walking(self) -> bool:
        """Whether a reading is under way."""
        return bool(self._walks)

    @property
    def is_rescanning(self) -> bool:
        """Whether a reading of the whole folder is under way."""
        return any(not each.start for each in self._walks)

    def next_due_s(self) -> float | None:
        """When there is work, if no hint comes before; None: nothing to wait for."""
        if self._walks or (self._recalled and self.is_scanned):
            return monotonic_s()
        due_s = (self._tracker.next_due_s(), self._stems.next_due_s(), self._orphans.next_due_s())
        return min((due for due in due_s if due is not None), default=None)

    def begin_rescan(self, *, counts_missed: bool) -> None:
        """Read the whole folder, unless that is under way. `counts_missed`: events should tell of every new file."""
        if not self.is_rescanning:
            self._walks.append(_Walk(self._tree, "", counts_missed=counts_missed and self.is_scanned))

    def note(self, path: str) -> None:
        """Something may have happened at this relative path."""
        if not path or not self._tree.counts(path):
            return
        try:
            kind, stamp = look_up(self._tree, path)
        except OSError:
            return  # the next rescan tells what became of it
        if kind is Kind.FILE:
            self._seen(path, stamp)
            return
        self._gone(path)
        if self._catalogue.has_folder(path) or (kind is Kind.FOLDER and self._tree.recursive):
            self._walk_below(path)

    def work(self) -> None:
        """Do what is due, for some 100 ms at most; call again while `next_due_s` is not in the future."""
        if self._walks:
            self._step_walk(monotonic_s() + _SLICE_S)
        if not self.is_scanned:
            return  # a pair is not certain before all of its title are known
        self._settle_recalled(monotonic_s() + _SLICE_S)
        is_done = self._check_due(monotonic_s() + _SLICE_S)
        self._check_stems()
        if is_done and not self._walks and (due := self._orphans.pop_due(monotonic_s())):
            arriving = self._arriving()
            for each in due:
                self._tell_orphan(each, arriving)

    def forget_all(self) -> None:
        """The folder itself is gone."""
        for path in self._catalogue.paths():
            self._gone(path)
        self._walks.clear()
        self._recalled.clear()
        self.is_scanned = False

    # --- rescans ---------------------------------------------------------------------------------------------------

    def _walk_below(self, start: str) -> None:
        if not any(start == each.start or start.startswith(each.start + "/") for each in self._walks if each.start):
            self._walks.appendleft(_Walk(self._tree, start, counts_missed=False))

    def _step_walk(self, until_s: float) -> None:
        current = self._walks[0]
        began_s, began_work_s = monotonic_s(), time.thread_time()
        while monotonic_s() < until_s:
            item = next(current.items, None)
            if item is None:
                self._walks.popleft()
                self._finish_walk(current)
                break
            if isinstance(item, Unreadable):
                current.unread.append(item.folder)
                self._tell_unreadable(item)
            else:
                self._compare(item, current)
                self._miss(item, current)
        current.spent_s += monotonic_s() - began_s
        current.worked_s += time.thread_time() - began_work_s
        if not self._walks or self._walks[0] is not current:
            self._tell_scanned(current)

    def _compare(self, listing: Listing, current: _Walk) -> None:
        folder = listing.folder
        current.files += len(listing.files)
        newest_ns = int(utc_now().timestamp() * 1e9) - _EVENTS_WAY_NS
        settled = self._catalogue.inside(folder)
        before = f"{folder}/" if folder else ""
        for name, stamp in listing.files.items():
            path = before + name
            packed = settled.get(path)
            if packed is not None and packed.startswith(mark_of(stamp)):
                continue
            is_new = packed is None and path not in self._tracker
            if current.counts_missed and is_new and unpack_stamp(stamp).ctime_ns < newest_ns:
                current.missed += 1
            self._seen(path, stamp)

    def _miss(self, listing: Listing, current: _Walk) -> None:
        """When all of a folder has been read: look what became of settled files that were not met."""
        before = f"{listing.folder}/" if listing.folder else ""
        if not listing.is_last:
            current.met.update(before + name for name in listing.files)
            return
        current.folders.add(listing.folder)
        met, current.met = current.met, set()
        settled = self._catalogue.inside(listing.folder)
        for path in [path for path in settled if path[len(before) :] not in listing.files and path not in met]:
            self.note(path)  # one that came after its place was read is there

    def _finish_walk(self, current: _Walk) -> None:
        for folder in self._catalogue.folders():
            is_read = folder in current.folders or any(_is_within(folder, unread) for unread in current.unread)
            if _is_within(folder, current.start) and not is_read:
                for path in tuple(self._catalogue.inside(folder)):
                    self.note(path)  # a folder that appeared meanwhile was told of by events, and is there

    def _tell_scanned(self, current: _Walk) -> None:
        if current.start:
            return
        self.scan_s, self.scan_worked_s = current.spent_s, current.worked_s
        if "" in current.folders:
            self.is_scanned = True
            self._recall = _nothing_to_recall
            self._teller.say(RescanDone(self._teller.index, current.files, current.missed, current.spent_s))

    def _settle_recalled(self, until_s: float) -> None:
        """After the first whole reading only, so that no pair is made before a second master of its title was seen."""
        while self._recalled and monotonic_s() < until_s:
            self._settle(*self._recalled.popitem())

    def _tell_unreadable(self, item: Unreadable) -> None:
        code = ErrorCode.PERMISSION_DENIED if isinstance(item.error, PermissionError) else ErrorCode.INTERNAL
        place = printable(os.fspath(self._base / item.folder))
        self._teller.trouble(code, f"The folder {place} cannot be read: {item.error.strerror}.")

    # --- files -----------------------------------------------------------------------------------------------------

    def _seen(self, path: str, stamp: PackedStamp) -> None:
        """The file lies there with this stamp."""
        mark = mark_of(stamp)
        settled = self._catalogue.get(path)
        if settled is not None:
            if settled.mark == mark:
                return
            self._catalogue.drop(path)
            self._withdraw(path)
        recalled = self._recall(path)
        if recalled is not None and recalled.mark == mark:
            self._recalled[path] = recalled
            self._expect(path, since_s=-math.inf)
            return
        self._recalled.pop(path, None)
        if self._tracker.observe(path, mark, monotonic_s()):
            self._expect(path)

    def _gone(self, path: str) -> None:
        """Nothing that counts lies there."""
        was_here = self._tracker.forget(path)
        was_here |= self._recalled.pop(path, None) is not None
        was_here |= self._catalogue.drop(path)
        if was_here:
            self._withdraw(path, is_gone=True)

    def _expect(self, path: str, *, since_s: float | None = None) -> None:
        """A file of this name is arriving, or was known before."""
        if stem_name(path) is None:
            self._apply(self._book.expect(path))
            return
        unit, fallen = self._stems.arriving(path, monotonic_s() if since_s is None else since_s)
        self._fall(fallen)
        self._apply(self._book.expect(unit))

    def _withdraw(self, path: str, *, is_gone: bool = False) -> None:
        """The file is not what it was when it settled, or is not there at all."""
        if stem_name(path) is None:
            self._apply(self._book.remove(path))
            return
        if not is_gone:
            self._expect(path)
            return
        unit, fallen = self._stems.gone(path, monotonic_s())
        self._fall(fallen)
        if unit is not None:
            self._apply(self._book.expect(unit))

    def _fall(self, units: tuple[str, ...]) -> None:
        for unit in units:
            self._apply(self._book.remove(unit))

    def _check_due(self, until_s: float) -> bool:
        """Look at the files whose time has come; True if none is left."""
        while (path := self._tracker.pop_due(monotonic_s())) is not None:
            self._check(path)
            if monotonic_s() >= until_s:
                return False
        return True

    def _check(self, path: str) -> None:
        """Look at a file that was quiet long enough, from outside and inside."""
        now_s = monotonic_s()
        digest = b""
        try:
            kind, stamp = look_up(self._tree, path)
        except OSError as error:
            if isinstance(error, FileNotFoundError) or self._tracker.judge(path, look_of_error(error), now_s):
                self._gone(path)  # What it is nobody may see: a rescan finds it when that has changed.
            return
        if kind is not Kind.FILE:
            self._gone(path)
            return
        mark = mark_of(stamp)
        if self._tracker.observe(path, mark, now_s):
            return
        try:
            with opened(self._tree.absolute(path)) as descriptor:
                if not self._tracker.judge(path, look_inside(descriptor), now_s):
                    return
                digest = fingerprint(descriptor)
                if self._tracker.observe(path, mark_of(stamp_of(descriptor)), monotonic_s()):
                    return  # changed while it was being read
        except FileNotFoundError:
            self._gone(path)
            return
        except OSError as error:
            if not self._tracker.judge(path, look_of_error(error), now_s):
                return
        self._tracker.forget(path)
        self._settle(path, Settled(mark, digest))

    def _settle(self, path: str, settled: Settled) -> None:
        self._catalogue.put(path, settled)
        if stem_name(path) is None:
            self._add(path)
        else:
            self._stems.settle(path)

    def _check_stems(self) -> None:
        """Let those sides stand whose stems are all there."""
        for expected, standing in self._stems.pop_ready(monotonic_s()):
            if standing != (expected,):
                self._apply(self._book.remove(expected))
            for unit in standing:
                self._add(unit)

    def _add(self, unit: str) -> None:
        for other in self._book.masters_beside(unit):
            self._standing(other)  # or else it leaves the book before it makes this title ambiguous
        self._apply(self._book.add(unit))

    def _standing(self, unit: str) -> MediaFile | None:
        """A side whose files all are still what they were when they settled; those that are not are taken note of."""
        stems = self._stems.stems(unit)
        if not stems:
            return self._standing_file(unit) if STEMS_MARK not in unit else None
        files: list[tuple[str, MediaFile]] = []
        for channel, path in stems:
            file = self._standing_file(path)
            if file is None:
                return None
            files.append((channel, file))
        return stems_file(files)

    def _standing_file(self, path: str) -> MediaFile | None:
        settled = self._catalogue.get(path)
        if settled is None:
            return None
        try:
            kind, stamp = look_up(self._tree, path)
        except OSError:
            # The next rescan finds it as if it were new: a moment without the server must not cost a pair.
            if self._catalogue.drop(path):
                self._withdraw(path)
            return None
        if kind is not Kind.FILE:
            self._gone(path)
        elif mark_of(stamp) != settled.mark:
            self._seen(path, stamp)
        else:
            return media_file(self._base / path, stamp, settled.digest)
        return None

    # --- what follows ----------------------------------------------------------------------------------------------

    def _apply(self, changes: Changes) -> None:
        now_s = monotonic_s()
        for path in changes.resolved:
            if self._orphans.resolve(path):
                self._teller.say(OrphanResolved(self._teller.index, self._base / self._told_as.pop(path, path)))
        for path, reason in changes.lonely.items():
            self._orphans.lonely(path, reason, now_s)
        for match in changes.matches:
            self._tell_pair(match)

    def _tell_pair(self, match: Match) -> None:
        master = self._standing(match.master)
        dub = self._standing(match.dub) if master is not None else None
        if master is not None and dub is not None:
            self._teller.say(PairFound(self._teller.index, Pair(match.title, master, dub, match.language)))

    def _arriving(self) -> dict[tuple[str, Role], str]:
        """Of the sides that take their time to be complete: the name, by group and role."""
        paths = itertools.islice(self._tracker.held_up, _ARRIVING_LOOKED_AT)
        named = ((path, self._names.parse(path)) for path in paths)
        return {(parsed.group, parsed.role): path for path, parsed in named if parsed is not None}

    def _tell_orphan(self, due: Due, arriving: Mapping[tuple[str, Role], str]) -> None:
        path = due.path
        file = self._standing(path)
        if file is None:
            return
        if file.stems:
            self._told_as[path] = self._stems.stems(path)[0][1]
        parsed = self._names.parse(path)
        partner = None
        if parsed is not None:
            partner = arriving.get((parsed.group, _OTHER[parsed.role]))
            if parsed.role is Role.DUB:
                partner = self._book.coming_master(parsed.group) or partner
        message = orphan_message(self._told_as.get(path, path), due.reason, parsed, partner)
        self._teller.say(OrphanFound(self._teller.index, Orphan(file, due.reason, message), is_overdue=due.is_overdue))


def _is_within(path: str, folder: str) -> bool:
    return not folder or path == folder or path.startswith(folder + "/")


def _nothing_to_recall(_path: str) -> Settled | None:
    return None
