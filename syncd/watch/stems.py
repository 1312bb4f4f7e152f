"""Files that are one channel each of one side: ``TITLE_master.L.wav``, ``.R``, ``.C``, … Pure bookkeeping over names.

They count as one side only where at least L and R lie there; else each is a file of its own, whatever its name ends in.
A side is ready when all its stems that are there have settled and none has come for a quiet time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from syncd.watch.naming import STEMS_MARK

CHANNELS: Final = {name.lower(): name for name in ("L", "R", "C", "LFE", "Lrs", "Rrs", "Ls", "Rs")}
"""As they are written, by how they are compared."""

_STEM_NAME: Final = re.compile(
    rf"(?P<base>.+)(?P<separator>[._ -])(?P<channel>{'|'.join(CHANNELS)})(?P<extension>\.[^./]*)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class StemName:
    """What a name says if it ends in a channel."""

    group: str
    """Equal for all that belong together; opaque."""
    base: str
    """The path without the channel, as it was written."""
    channel: str


def stem_name(path: str) -> StemName | None:
    """None: the name ends in no channel."""
    folder, slash, name = path.rpartition("/")
    match = _STEM_NAME.fullmatch(name)
    if match is None:
        return None
    base = f"{folder}{slash}{match['base']}{match['extension']}"
    separator = match["separator"]
    return StemName(f"{folder}/{separator}{base.casefold()}", base, CHANNELS[match["channel"].lower()])


@dataclass
class _Group:
    unit: str
    quiet_since_s: float
    channels: dict[str, str] = field(default_factory=dict)
    """Of all that are there, by path."""
    settled: set[str] = field(default_factory=set)
    standing: tuple[str, ...] = ()
    """The units that it was last said to be: one side, or files of their own; none while it is not ready."""

    @property
    def is_side(self) -> bool:
        names = set(self.channels.values())
        return {"L", "R"} <= names and len(names) == len(self.channels)

    @property
    def is_whole(self) -> bool:
        return len(self.settled) == len(self.channels)


class StemBook:
    """All files of a watched folder whose names end in a channel.

    A *unit* is what is paired: the path of a file of its own, or the opaque name of a side of stems.
    """

    def __init__(self, *, quiet_s: float) -> None:
        self._quiet_s = quiet_s
        self._groups: dict[str, _Group] = {}
        self._open: set[str] = set()  # groups that are not ready
        self._whole: set[str] = set()  # of these, those whose stems have all settled

    def __bool__(self) -> bool:
        """Whether some side is not ready."""
        return bool(self._open)

    def arriving(self, path: str, since_s: float) -> tuple[str, tuple[str, ...]]:
        """A stem is arriving, or anew: the unit that is to be expected, and the units that do not stand any more.

        `since_s`: when it came; minus infinity for one that was known before, which nobody has to wait for.
        """
        name = _named(path)
        unit = name.base + STEMS_MARK + name.group
        group = self._groups.setdefault(name.group, _Group(unit, since_s))
        if path not in group.channels:
            group.quiet_since_s = max(group.quiet_since_s, since_s)
        group.channels[path] = name.channel
        group.settled.discard(path)
        return group.unit, self._reopen(name.group, group)

    def gone(self, path: str, now_s: float) -> tuple[str | None, tuple[str, ...]]:
        """A stem vanished: the unit that is expected again (None: nothing is left of it), and the units that fell."""
        name = _named(path)
        group = self._groups.get(name.group)
        if group is None or path not in group.channels:
            return None, ()
        del group.channels[path]
        group.settled.discard(path)
        group.quiet_since_s = now_s
        fallen = self._reopen(name.group, group)
        if group.channels:
            return group.unit, fallen
        del self._groups[name.group]
        self._open.discard(name.group)
        self._whole.discard(name.group)
        return None, (*fallen, group.unit)

    def settle(self, path: str) -> None:
        """A stem settled, perhaps in a new version; it was arriving before."""
        name = _named(path)
        group = self._groups[name.group]
        group.settled.add(path)
        if group.is_whole and name.group in self._open:
            self._whole.add(name.group)

    def pop_ready(self, now_s: float) -> list[tuple[str, tuple[str, ...]]]:
        """What is ready: each unit that was expected, and the units that stand in its place now."""
        ready = []
        for key in sorted(self._whole):
            group = self._groups[key]
            if now_s >= group.quiet_since_s + self._quiet_s:
                group.standing = (group.unit,) if group.is_side else tuple(group.channels)
                ready.append((group.unit, group.standing))
                self._open.discard(key)
                self._whole.discard(key)
        return ready

    def next_due_s(self) -> float | None:
        """When `pop_ready` may have something; None: not before a stem settles."""
        return min((self._groups[key].quiet_since_s + self._quiet_s for key in self._whole), default=None)

    def stems(self, unit: str) -> tuple[tuple[str, str], ...]:
        """Channel and path of each stem of a side, the left one first; none for a file of its own."""
        _, mark, key = unit.partition(STEMS_MARK)
        if not mark or key not in self._groups:
            return ()
        order = list(CHANNELS.values())
        pairs = ((channel, path) for path, channel in self._groups[key].channels.items())
        return tuple(sorted(pairs, key=lambda pair: order.index(pair[0])))

    def _reopen(self, key: str, group: _Group) -> tuple[str, ...]:
        """The group is not ready any more; returns what it was."""
        fallen, group.standing = group.standing, ()
        self._open.add(key)
        if group.channels and group.is_whole:
            self._whole.add(key)
        else:
            self._whole.discard(key)
        return fallen


def _named(path: str) -> StemName:
    name = stem_name(path)
    if name is None:
        raise ValueError(f"{path!r} ends in no channel")
    return name
