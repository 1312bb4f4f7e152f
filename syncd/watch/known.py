"""What the ledger knows of files, while a watcher reads its folder for the first time; few bytes a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Final

from syncd.domain import MediaFile
from syncd.watch.catalogue import Settled
from syncd.watch.examine import single_files
from syncd.watch.stamps import MARK_BYTES, mark_of, pack_stamp


class KnownFiles:
    """Files by their whole paths; those that could not be read are left out, as they are to be looked at again."""

    def __init__(self, files: Iterable[MediaFile] = ()) -> None:
        self._packed: dict[str, bytes] = {}
        for side in files:
            for path, file in single_files(side):
                if file.identity.fingerprint:
                    digest = bytes.fromhex(file.identity.fingerprint)
                    self._packed[os.fspath(path)] = mark_of(pack_stamp(file.stamp)) + digest
                else:
                    self._packed.pop(os.fspath(path), None)

    def get(self, path: str) -> Settled | None:
        """None: nothing is known of it."""
        packed = self._packed.get(path)
        return None if packed is None else Settled(packed[:MARK_BYTES], packed[MARK_BYTES:])


NOTHING_KNOWN: Final = KnownFiles()
