"""Reading a watched folder as it is: the truth that events only hint at.

Paths are strings relative to the watched folder (``""`` is the folder itself), undecodable bytes as surrogates.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from syncd.temporary import ENDING, Sweeper
from syncd.watch.names import is_ignored, is_media
from syncd.watch.stamps import PackedStamp, pack_stat

FILES_AT_ONCE: Final = 2_000
"""So many are read in some 10 ms."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A watched folder and what of it counts."""

    root: str
    """Absolute, without symbolic links."""
    recursive: bool
    excluded: frozenset[str] = frozenset()
    """Folders below it that do not count, relative."""
    sweeper: Sweeper = field(default_factory=Sweeper, compare=False)
    """Of what was being written when its writer died."""

    def absolute(self, path: str) -> str:
        """The path as the system knows it."""
        return f"{self.root}/{path}" if path else self.root

    def counts(self, path: str) -> bool:
        """Whether something of this path could be of interest, by its name alone."""
        parts = path.split("/")
        if len(parts) > 1 and not self.recursive:
            return False
        if any(is_ignored(part) for part in parts):
            return False
        return not self.excluded or not any(
            "/".join(parts[:length]) in self.excluded for length in range(1, len(parts) + 1)
        )


@dataclass(frozen=True, slots=True)
class Listing:
    """The media files that lie in one folder, or some of them if they are many."""

    folder: str
    files: dict[str, PackedStamp]
    """By their bare names."""
    is_last: bool = True
    """Whether that was all of the folder."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A folder that could not be read, so that nothing is known of what is in it."""

    folder: str
    error: OSError


class Kind(Enum):
    """What lies at a path, as far as the watcher cares."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"
    """Nothing, no media, a link out of the tree, a device."""


def walk(tree: Tree, start: str = "") -> Iterator[Listing | Unreadable]:
    """Read the folder `start` and, if the tree is recursive, all below it; one item a folder, several for a large one.

    Folders that vanish meanwhile are left out, so is `start` if it is not there. Symbolic links to folders are not
    followed.
    """
    waiting = [start]
    while waiting:
        folder = waiting.pop()
        try:
            yield from _read_folder(tree, folder, waiting)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            yield Unreadable(folder, error)


def look_up(tree: Tree, path: str) -> tuple[Kind, PackedStamp]:
    """What lies at a path now, and its stamp if it is a media file (else empty); raises OSError, not for «nothing»."""
    try:
        status = os.lstat(tree.absolute(path))
        if stat.S_ISDIR(status.st_mode):
            return Kind.FOLDER, b""
        folder, _, name = path.rpartition("/")
        if is_media(name) and (stamp := _stamp(tree, folder, name, status)):
            return Kind.FILE, stamp
    except (FileNotFoundError, NotADirectoryError):
        pass
    return Kind.OTHER, b""


def _read_folder(tree: Tree, folder: str, below: list[str]) -> Iterator[Listing]:
    """What lies in the folder; folders that count are added to those `below`."""
    files: dict[str, PackedStamp] = {}
    with _opened_folder(tree.absolute(folder)) as descriptor, os.scandir(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if entry.is_dir(follow_symlinks=False):
                path = f"{folder}/{name}" if folder else name
                if tree.recursive and not is_ignored(name) and path not in tree.excluded:
                    below.append(path)
            elif is_media(name):
                try:
                    stamp = _stamp(tree, folder, name, entry.stat(follow_symlinks=False))
                except FileNotFoundError:
                    continue
                if stamp:
                    files[name] = stamp
                if len(files) >= FILES_AT_ONCE:
                    yield Listing(folder, files, is_last=False)
                    files = {}
            elif name.endswith(ENDING):
                tree.sweeper.sweep(entry, descriptor)
    yield Listing(folder, files)


@contextlib.contextmanager
def _opened_folder(absolute: str) -> Iterator[int]:
    """A descriptor, from which names are looked up faster than by their paths; refuses what became a link."""
    descriptor = os.open(absolute, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _stamp(tree: Tree, folder: str, name: str, status: os.stat_result) -> PackedStamp | None:
    """The stamp of a regular file, also through a link that stays inside the tree; None: not one of ours."""
    if stat.S_ISLNK(status.st_mode):
        absolute = f"{tree.absolute(folder)}/{name}"
        if not os.path.realpath(absolute).startswith(tree.root.rstrip("/") + "/"):
            return None
        try:
            status = os.stat(absolute)  # noqa: PTH116 (half a million Path objects would cost more than the calls)
        except OSError:
            return None  # dangling, or going in circles
    return pack_stat(status) if stat.S_ISREG(status.st_mode) else None
