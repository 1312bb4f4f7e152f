"""Folders that do not answer: a network mount that hangs holds up what is in it, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from syncd.errand import Errand


class SilentFolders:
    """Those that were asked and have not answered yet: each by a thread of its own, which a dead mount may keep."""

    def __init__(self, wake: Callable[[], None] = lambda: None) -> None:
        self._wake = wake
        self._asked: dict[Path, Errand[object]] = {}

    def ask(self, folder: Path) -> None:
        """Find out whether it answers; one that has not answered yet is not asked again."""
        if folder not in self._asked:
            self._asked[folder] = Errand(partial(os.statvfs, folder), self._wake)

    def all(self) -> tuple[Path, ...]:
        """Those that are silent now."""
        self._asked = {folder: errand for folder, errand in self._asked.items() if not errand.wait(0.0)}
        return tuple(self._asked)

    def holding(self, *paths: Path) -> Path | None:
        """The one that keeps any of these files from being read; None: none does."""
        return next((folder for folder in self.all() for path in paths if folder in path.parents), None)
