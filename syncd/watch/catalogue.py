"""The settled files of one watched folder, in as few bytes as half a million of them need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from syncd.watch.stamps import MARK_BYTES, Mark

_NONE: Final[Mapping[str, bytes]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a settled file."""

    mark: Mark
    """Of the stamp that it had."""
    digest: bytes
    """The fingerprint; empty for a file that could not be read."""


class Catalogue:
    """Settled files by their relative paths; folder by folder, as that is how they are compared with the disk."""

    def __init__(self) -> None:
        # By folder and whole path, as the pairing holds the same path: mark and digest in one.
        self._folders: dict[str, dict[str, bytes]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._folders.values()))

    def put(self, path: str, settled: Settled) -> None:
        """The file settled, perhaps in a new version."""
        self._folders.setdefault(_folder(path), {})[path] = settled.mark + settled.digest

    def get(self, path: str) -> Settled | None:
        """None: not settled."""
        packed = self._folders.get(_folder(path), _NONE).get(path)
        return Settled(packed[:MARK_BYTES], packed[MARK_BYTES:]) if packed is not None else None

    def drop(self, path: str) -> bool:
        """The file vanished or is arriving anew. Whether it was there."""
        folder = _folder(path)
        files = self._folders.get(folder, {})
        if files.pop(path, None) is None:
            return False
        if not files:
            del self._folders[folder]
        return True

    def inside(self, folder: str) -> Mapping[str, bytes]:
        """The files settled in this very folder, by path; each value begins with the file's mark."""
        return self._folders.get(folder, _NONE)

    def folders(self) -> tuple[str, ...]:
        """The folders that hold settled files."""
        return tuple(self._folders)

    def has_folder(self, folder: str) -> bool:
        """Whether files in this very folder are settled."""
        return folder in self._folders

    def paths(self) -> tuple[str, ...]:
        """All settled files."""
        return tuple(path for files in self._folders.values() for path in files)


def _folder(path: str) -> str:
    return path.rpartition("/")[0]
