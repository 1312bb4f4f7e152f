"""What a watcher tells the daemon: small frozen values, in the order in which things happened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from syncd.domain import Orphan, Pair
from syncd.errors import ErrorCode


@dataclass(frozen=True, slots=True)
class PairFound:
    """A master and a dub are completely there. May come again for the same versions: whoever enqueues decides."""

    watch_index: int
    pair: Pair


@dataclass(frozen=True, slots=True)
class OrphanFound:
    """A settled file has no partner, or its pair is ambiguous. A later one for the path replaces it."""

    watch_index: int
    orphan: Orphan
    is_overdue: bool
    """Its time is over. Else it may still come, and the file is only to be listed."""


@dataclass(frozen=True, slots=True)
class OrphanResolved:
    """A file told of as an orphan has a partner now, or is gone."""

    watch_index: int
    path: Path


@dataclass(frozen=True, slots=True)
class FilesSettled:
    """The whole folder has been read and no file in it is still arriving; their pairs were told of before."""

    watch_index: int


@dataclass(frozen=True, slots=True)
class FilesUnsettled:
    """Something is arriving again."""

    watch_index: int


@dataclass(frozen=True, slots=True)
class WatchTrouble:
    """The folder cannot be watched as it should be; the watcher goes on as well as it can."""

    watch_index: int
    code: ErrorCode
    message: str
    """One sentence."""
    is_folder_lost: bool = False
    """Whether the whole folder cannot be read: nothing comes from it until that is mended."""


@dataclass(frozen=True, slots=True)
class FolderUnwritable:
    """No report can be written in the folder; what is dropped there is found and measured all the same."""

    watch_index: int
    message: str
    """One sentence."""
    advice: str


@dataclass(frozen=True, slots=True)
class FolderWritable:
    """Reports can be written in the folder again."""

    watch_index: int


@dataclass(frozen=True, slots=True)
class RescanDone:
    """The whole folder has been read."""

    watch_index: int
    files: int
    """Media files in the folder."""
    missed: int
    """Of these, new ones that no event had told of."""
    seconds: float


@dataclass(frozen=True, slots=True)
class EventsLost:
    """The system dropped events, or there were too many to follow: the whole folder is read again instead."""

    watch_index: int


WatchEvent = (
    PairFound
    | OrphanFound
    | OrphanResolved
    | FilesSettled
    | FilesUnsettled
    | WatchTrouble
    | FolderUnwritable
    | FolderWritable
    | RescanDone
    | EventsLost
)
