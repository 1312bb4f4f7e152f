"""The settled files of one watched folder, in as few bytes as half a million of them need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from syncd.watch.stamps import PackedStamp

_STAMP_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known of a settled file."""

    stamp: PackedStamp
    digest: bytes
    """The fingerprint; empty for a file that could not be read."""


class Catalogue:
    """Settled files by their relative paths; folder by folder, as that is how they are compared with the disk."""

    def __init__(self) -> None:
        self._folders: dict[str, dict[str, bytes]] = {}  # bare name: stamp and digest in one

    def __len__(self) -> int:
        return sum(len(names) for names in self._folders.values())

    def put(self, path: str, settled: Settled) -> None:
        """The file settled, perhaps in a new version."""
        folder, _, name = path.rpartition("/")
        self._folders.setdefault(folder, {})[name] = settled.stamp + settled.digest

    def get(self, path: str) -> Settled | None:
        """None: not settled."""
        folder, _, name = path.rpartition("/")
        packed = self._folders.get(folder, {}).get(name)
        return Settled(packed[:_STAMP_BYTES], packed[_STAMP_BYTES:]) if packed is not None else None

    def drop(self, path: str) -> bool:
        """The file vanished or is arriving anew. Whether it was there."""
        folder, _, name = path.rpartition("/")
        names = self._folders.get(folder, {})
        if names.pop(name, None) is None:
            return False
        if not names:
            del self._folders[folder]
        return True

    def is_same(self, folder: str, name: str, stamp: PackedStamp) -> bool:
        """Whether the file is settled and unchanged."""
        packed = self._folders.get(folder, {}).get(name)
        return packed is not None and packed.startswith(stamp)

    def names(self, folder: str) -> tuple[str, ...]:
        """The files settled in this very folder."""
        return tuple(self._folders.get(folder, ()))

    def folders(self) -> tuple[str, ...]:
        """The folders that hold settled files."""
        return tuple(self._folders)

    def has_folder(self, folder: str) -> bool:
        """Whether files in this very folder are settled."""
        return folder in self._folders

    def paths(self) -> tuple[str, ...]:
        """All settled files."""
        return tuple(
            f"{folder}/{name}" if folder else name for folder, names in self._folders.items() for name in names
        )
