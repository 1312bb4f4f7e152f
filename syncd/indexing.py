"""Index pages: one in every watched folder, and where pairs are moved to, that lists the reports; written anew when
something happened to a job.

Top floor, beside the daemon, whose main loop calls it at every turn. The loop only asks the ledger for one number; rows
are read, and pages written, in a thread of their own for each folder, since a folder may hang.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import structlog

from syncd.config import Config
from syncd.domain import JobState
from syncd.errand import Errand
from syncd.errors import SyncdError
from syncd.heap import give_back_memory
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Reported
from syncd.reports.index import INDEX_NAME, MOST_LISTED, Listed, index_page, link_of
from syncd.reports.pages import is_page_of_ours, write_page

log = structlog.get_logger()

ASK_INTERVAL_S: Final = 0.5
"""How often the ledger is asked whether something happened."""
LEAST_INTERVAL_S: Final = 30.0
"""While jobs come one after another, an index is written no more often than this; at rest, at once."""


class Indexer:
    """Keeps the index pages true, a little late."""

    def __init__(self, config: Config, last_event_id: Callable[[], int], wake: Callable[[], None]) -> None:
        self.config = config
        self._last_event_id = last_event_id
        self._wake = wake
        self._ask_at_s = float("-inf")
        self._shown: dict[Path, int] = {}
        """The latest event that each folder's index knows of."""
        self._written_at_s: dict[Path, float] = {}
        self._errands: dict[Path, Errand[None]] = {}

    def tend(self, now_s: float, *, is_idle: bool) -> None:
        """Begin to write what is due."""
        if not self.config.reports.index or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + ASK_INTERVAL_S
        event = self._last_event_id()
        for folder in listed_folders(self.config):
            if self._take_in(folder) and is_due(
                event, self._shown.get(folder), now_s, self._written_at_s.get(folder), is_idle=is_idle
            ):
                self._shown[folder], self._written_at_s[folder] = event, now_s
                self._errands[folder] = Errand(partial(write_index, folder, self.config.ledger.path), self._wake)

    def is_done(self) -> bool:
        """Whether every index says what the ledger says."""
        if not self.config.reports.index:
            return True
        event = self._last_event_id()
        is_known = all(self._shown.get(folder) == event for folder in listed_folders(self.config))
        return is_known and all(errand.wait(0.0) for errand in self._errands.values())

    def stop(self, timeout_s: float = 1.0) -> None:
        """Let what is being written come to its end, for a while (what is half written then has a hidden name)."""
        for errand in self._errands.values():
            errand.wait(timeout_s / len(self._errands))

    def _take_in(self, folder: Path) -> bool:
        """Whether the folder's last errand is over; what went wrong with it is told once."""
        errand = self._errands.get(folder)
        if errand is None:
            return True
        if not errand.wait(0.0):
            return False
        del self._errands[folder]
        give_back_memory()  # A thousand rows, and the page that they made.
        try:
            errand.answer()
        except (SyncdError, OSError) as error:
            log.warning("index_not_written", folder=str(folder), reason=str(error))
        return True


def listed_folders(config: Config) -> list[Path]:
    """Those that are watched, and those that pairs are moved to from there."""
    moved_to = (config.reports.done, config.reports.failed)
    return list(dict.fromkeys([*(section.path for section in config.watch), *(path for path in moved_to if path)]))


def is_due(event: int, shown: int | None, now_s: float, written_at_s: float | None, *, is_idle: bool) -> bool:
    """Whether an index is to be written now."""
    if event == shown:
        return False
    return is_idle or written_at_s is None or now_s - written_at_s >= LEAST_INTERVAL_S


def write_index(folder: Path, ledger: Path) -> None:
    """Write the folder's index, if what it says has changed. None is begun where there is nothing to list.

    Raises `SyncdError` PERMISSION_DENIED (a stranger's file has its name, too), DISK_FULL and what the ledger raises.
    """
    reader = LedgerReader.open(ledger)
    lines: list[Listed] = []
    found = 0
    try:
        for found, job in enumerate(reader.reported_under(folder, limit=MOST_LISTED + 1), start=1):
            if found <= MOST_LISTED and (line := _line(job, folder)) is not None:
                lines.append(line)
    finally:
        reader.close()
    path = folder / INDEX_NAME
    if not lines and not is_page_of_ours(path):
        return
    page = index_page(folder, lines, more=found > MOST_LISTED)
    if not is_page_of_ours(path) or path.read_text(encoding="utf-8", errors="replace") != page:
        write_page(path, page)


def _line(job: Reported, folder: Path) -> Listed | None:
    """None where the report is not there any more."""
    link = link_of(job.sidecar_path, folder)
    if link is None:
        return None
    return Listed(
        title=job.title,
        language=job.language,
        dub=job.dub_name,
        verdict=job.verdict.value if job.state is JobState.COMPLETED and job.verdict else "failed",
        review=True if job.review is None else job.review,
        offset_s=job.offset_s,
        created_at=job.finished_at,
        link=link,
    )
