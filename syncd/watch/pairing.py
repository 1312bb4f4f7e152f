"""Whose partner is it? Pure bookkeeping over names; files that arrive, settle and vanish come in one by one.

One master takes any number of dubs: one pair each. Two masters for one title are never guessed between: no pair is made
until one is left. While a second master is still arriving, pairs of that title wait too.
"""

from __future__ import annotations

import heapq
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from syncd.config import WatchSection
from syncd.domain import MediaFile, OrphanReason, Role
from syncd.watch.naming import NameRules, ParsedName
from syncd.watch.stems import stem_name


@dataclass(frozen=True, slots=True)
class Match:
    """A master and a dub that belong together, by their paths below the watched folder."""

    master: str
    dub: str
    title: str
    language: str | None


@dataclass(frozen=True, slots=True)
class Changes:
    """What one file's coming or going changed; paths are relative to the watched folder."""

    matches: tuple[Match, ...] = ()
    """Pairs that are possible now: new ones, and those of which a side was replaced."""
    lonely: dict[str, OrphanReason] = field(default_factory=dict)
    """Settled files without partner, with the reason; may repeat what was said before."""
    resolved: tuple[str, ...] = ()
    """Files that are not lonely (any more)."""


class _State(Enum):
    """What the masters of a title allow."""

    NO_MASTER = "no_master"
    PAIRED = "paired"
    WAITING = "waiting"
    AMBIGUOUS = "ambiguous"


_FOLDED_BETWEEN: Final = ""
"""In a folded group, between the masters and the dubs: no path is empty."""


class _Group:
    """The files of one title: few, so lists."""

    __slots__ = ("coming", "dubs", "masters")

    def __init__(self, folded: tuple[str, ...], coming: tuple[str, ...]) -> None:
        between = folded.index(_FOLDED_BETWEEN) if folded else 0
        self.masters = list(folded[:between])
        self.dubs = list(folded[between + 1 :])
        self.coming = coming  # masters that have not settled

    def folded(self) -> tuple[str, ...]:
        """All that has settled, in as few bytes as half a million titles need; empty if nothing has."""
        return (*self.masters, _FOLDED_BETWEEN, *self.dubs) if self.masters or self.dubs else ()

    @property
    def state(self) -> _State:
        if not self.masters:
            return _State.NO_MASTER
        if len(self.masters) > 1:
            return _State.AMBIGUOUS
        return _State.WAITING if self.coming else _State.PAIRED

    def reason(self, role: Role) -> OrphanReason | None:
        state = self.state
        if state is _State.AMBIGUOUS:
            return OrphanReason.AMBIGUOUS_PAIR
        if role is Role.DUB:
            return OrphanReason.NO_MASTER if state in {_State.NO_MASTER, _State.WAITING} else None
        return OrphanReason.NO_DUB if state is _State.PAIRED and not self.dubs else None


class PairBook:
    """All files of one watched folder, by title. The cost of a change is that of its title's files, at most."""

    def __init__(self, rules: NameRules) -> None:
        self._rules = rules
        self._folded: dict[str, tuple[str, ...]] = {}
        self._coming: dict[str, tuple[str, ...]] = {}

    def expect(self, path: str) -> Changes:
        """A file of this name is arriving; a settled file of the name must have been removed before."""
        parsed = self._rules.parse(path)
        if parsed is None or parsed.role is not Role.MASTER or path in self._coming.get(parsed.group, ()):
            return Changes()
        self._coming[parsed.group] = (*self._coming.get(parsed.group, ()), path)
        if parsed.group not in self._folded:
            return Changes()
        return self._changes(self._unfolded(parsed.group), None, dubs_flipped=False)

    def coming_master(self, group: str) -> str | None:
        """One that is arriving, if any is."""
        return next(iter(self._coming.get(group, ())), None)

    def add(self, path: str) -> Changes:
        """The file settled; for one that was there already: in a new version."""
        parsed = self._rules.parse(path)
        if parsed is None:
            return Changes(lonely={path: OrphanReason.NO_ROLE})
        group = self._unfolded(parsed.group)
        before, had_dubs = group.state, bool(group.dubs)
        group.coming = tuple(other for other in group.coming if other != path)
        side = group.masters if parsed.role is Role.MASTER else group.dubs
        if path not in side:
            side.append(path)
        self._fold(parsed.group, group)
        all_anew = group.state is not before or parsed.role is Role.MASTER
        return self._changes(group, path if not all_anew else None, dubs_flipped=not had_dubs)

    def remove(self, path: str) -> Changes:
        """The file vanished, or is arriving anew; nothing happens if it was not there."""
        parsed = self._rules.parse(path)
        if parsed is None:
            return Changes(resolved=(path,))
        if parsed.group not in self._folded and parsed.group not in self._coming:
            return Changes()
        group = self._unfolded(parsed.group)
        before, was_coming = group.state, path in group.coming
        group.coming = tuple(other for other in group.coming if other != path)
        side = group.masters if parsed.role is Role.MASTER else group.dubs
        if path in side:
            side.remove(path)
        self._fold(parsed.group, group)
        changed = Changes()
        if group.state is not before or was_coming:
            changed = self._changes(group, None, dubs_flipped=False)
        elif not group.dubs:
            changed = self._changes(group, path, dubs_flipped=True)
        lonely = {other: reason for other, reason in changed.lonely.items() if other != path}
        return Changes(changed.matches, lonely, (*changed.resolved, path))

    def masters_beside(self, path: str) -> tuple[str, ...]:
        """The other settled masters of this file's title."""
        parsed = self._rules.parse(path)
        masters = self._unfolded(parsed.group).masters if parsed is not None else ()
        return tuple(other for other in masters if other != path)

    def _unfolded(self, key: str) -> _Group:
        return _Group(self._folded.get(key, ()), self._coming.get(key, ()))

    def _fold(self, key: str, group: _Group) -> None:
        for kept, value in ((self._folded, group.folded()), (self._coming, group.coming)):
            if value:
                kept[key] = value
            else:
                kept.pop(key, None)
        if not self._coming:
            self._coming = {}  # a dict that once held many keeps the room for them

    def _changes(self, group: _Group, only_dub: str | None, *, dubs_flipped: bool) -> Changes:
        """What holds in the group now: for all its files, or only for one dub (and the masters, if it was the first or
        the last)."""
        if only_dub is None:
            masters: Iterable[str] = group.masters
            dubs: Iterable[str] = group.dubs
        else:
            masters = group.masters if dubs_flipped else ()
            dubs = (only_dub,) if only_dub in group.dubs else ()
        reasons = {path: group.reason(Role.MASTER) for path in masters} | {
            path: group.reason(Role.DUB) for path in dubs
        }
        matches = tuple(self._match(group.masters[0], dub) for dub in dubs) if group.state is _State.PAIRED else ()
        return Changes(
            matches,
            {path: reason for path, reason in reasons.items() if reason is not None},
            tuple(path for path, reason in reasons.items() if reason is None),
        )

    def _match(self, master: str, dub: str) -> Match:
        master_name, dub_name = self._rules.parse(master), self._rules.parse(dub)
        if master_name is None or dub_name is None:
            raise ValueError("files without a role are in no group")
        return Match(master, dub, master_name.title, dub_name.language)


def match_in(sections: Sequence[WatchSection], master: MediaFile, dub: MediaFile) -> tuple[WatchSection, Match] | None:
    """The watched folder in which both lie and whose rules pair them by their names, with what these say; else None."""
    section = _innermost(sections, master)
    if section is None or section is not _innermost(sections, dub):
        return None
    rules = NameRules(patterns=section.patterns, root_title=section.path.name)
    names = _name_below(section.path, master), _name_below(section.path, dub)
    if not section.recursive and any("/" in name for name in names):
        return None
    match [rules.parse(name) for name in names]:
        case [ParsedName(role=Role.MASTER) as one, ParsedName(role=Role.DUB) as other] if one.group == other.group:
            return section, Match(*names, one.title, other.language)
    return None


def _innermost(sections: Sequence[WatchSection], file: MediaFile) -> WatchSection | None:
    """The watched folder that the file belongs to: one that lies in another has files of its own."""
    holding = [each for each in sections if each.path in file.path.parents]
    return max(holding, key=lambda each: len(each.path.parts), default=None)


def _name_below(folder: Path, file: MediaFile) -> str:
    """A side of stems goes by its name without the channel."""
    path = os.fspath(file.path.relative_to(folder))
    stem = stem_name(path) if file.stems else None
    return path if stem is None else stem.base


LISTED_AFTER_S: Final = 30.0
"""Long before its time is over, people may look up what a file waits for."""
_HEAP_SLACK: Final = 1_000
"""So many entries more than twice what is lonely: then most of the heap speaks of files that found their partner."""


class _Lonely:
    """A file without partner."""

    __slots__ = ("due_s", "is_listed", "is_told", "reason", "since_s")

    def __init__(self, reason: OrphanReason, now_s: float) -> None:
        self.reason = reason
        self.since_s = now_s
        self.due_s = math.inf  # nothing left to tell
        self.is_listed = False  # under this or an earlier reason
        self.is_told = False  # that its time is over


@dataclass(frozen=True, slots=True)
class Due:
    """A lonely file of which something is to be said."""

    path: str
    reason: OrphanReason
    is_overdue: bool
    """It has waited as long as a file may. Else it is only to be listed."""


class OrphanWatch:
    """Which lonely files are due: to be listed soon, and to be told of once per reason after their time. Pure."""

    def __init__(self, *, after_s: float) -> None:
        self._after_s = after_s
        self._lonely: dict[str, _Lonely] = {}
        self._heap: list[tuple[float, str]] = []

    def lonely(self, path: str, reason: OrphanReason, now_s: float) -> None:
        """The file has no partner."""
        entry = self._lonely.get(path)
        if entry is None:
            entry = self._lonely[path] = _Lonely(reason, now_s)
        elif entry.reason is reason:
            if entry.is_listed:
                self._set_due(path, entry, now_s)  # What it waits for may be another file by now.
            return
        entry.reason, entry.is_told = reason, False
        soon_s = min(self._after_s, LISTED_AFTER_S)
        self._set_due(path, entry, entry.since_s + soon_s if reason.may_pass else now_s)

    def resolve(self, path: str) -> bool:
        """The file has a partner or is gone. True if it had been listed."""
        entry = self._lonely.pop(path, None)
        if len(self._heap) > 2 * len(self._lonely) + _HEAP_SLACK:
            self._heap = [(lonely.due_s, name) for name, lonely in self._lonely.items() if lonely.due_s < math.inf]
            heapq.heapify(self._heap)
        return entry is not None and entry.is_listed

    def next_due_s(self) -> float | None:
        """When `pop_due` may have something; None: never, as things stand."""
        return self._heap[0][0] if self._heap else None

    def pop_due(self, now_s: float) -> list[Due]:
        """The files to list or to tell of now."""
        due = []
        while self._heap and self._heap[0][0] <= now_s:
            due_s, path = heapq.heappop(self._heap)
            entry = self._lonely.get(path)
            if entry is None or entry.due_s != due_s:
                continue
            entry.is_listed, entry.due_s = True, math.inf
            overdue_s = entry.since_s + (self._after_s if entry.reason.may_pass else 0.0)
            is_overdue = now_s >= overdue_s and not entry.is_told
            entry.is_told |= is_overdue
            if now_s < overdue_s:
                self._set_due(path, entry, overdue_s)
            due.append(Due(path, entry.reason, is_overdue))
        return due

    def _set_due(self, path: str, entry: _Lonely, due_s: float) -> None:
        entry.due_s = due_s
        heapq.heappush(self._heap, (due_s, path))
