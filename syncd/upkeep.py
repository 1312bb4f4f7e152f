"""The ledger's upkeep: the write-ahead log is folded in when nothing else is to be done, and old jobs go.

Top floor, beside the daemon, whose main loop calls it at every turn.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Final

import structlog

from syncd.config import LedgerSection
from syncd.ledger.ledger import Ledger
from syncd.ledger.prune import PruneRule, Pruning

log = structlog.get_logger()

FOLD_INTERVAL_S: Final = 30.0
PRUNE_INTERVAL_S: Final = 86_400.0
ASK_INTERVAL_S: Final = 0.5
"""How often the ledger is looked into for what syncctl asks."""
SLICE_S: Final = 0.1
"""How long one turn may prune."""


class Upkeep:
    """A little at every turn. `section`: what the configuration says of the ledger, to be replaced when it changes."""

    def __init__(self, ledger: Ledger, section: LedgerSection) -> None:
        self.section = section
        self._ledger = ledger
        self._fold_at_s = self._prune_at_s = self._ask_at_s = float("-inf")
        self._waiting: deque[tuple[str | None, PruneRule]] = deque()
        """Each with the key of its question; None: the configuration wants it."""
        self._pruning: Pruning | None = None

    def tend(self, now_s: float, *, is_idle: bool) -> None:
        """Do what is due. What fails with `SyncdError` is tried again at a later turn."""
        if now_s >= self._ask_at_s:
            self._ask_at_s = now_s + ASK_INTERVAL_S
            self._note_what_is_asked(now_s)
        end_s = time.monotonic() + SLICE_S
        while self._waiting and time.monotonic() < end_s:
            self._prune()
        if is_idle and now_s >= self._fold_at_s:
            self._fold_at_s = now_s + FOLD_INTERVAL_S
            if self._ledger.log_bytes():
                self._ledger.checkpoint()

    def _note_what_is_asked(self, now_s: float) -> None:
        known = {key for key, _ in self._waiting}
        self._waiting += [(key, rule) for key, rule in self._ledger.asked_prunings().items() if key not in known]
        if now_s >= self._prune_at_s:
            self._prune_at_s = now_s + PRUNE_INTERVAL_S
            if (rule := configured_rule(self.section)) is not None and None not in known:
                self._waiting.append((None, rule))

    def _prune(self) -> None:
        """One step of the first that waits."""
        key, rule = self._waiting[0]
        if self._pruning is None:
            self._pruning = self._ledger.begin_pruning(rule)
        if not self._pruning.is_done:
            self._pruning = self._ledger.prune_some(self._pruning)
        if not self._pruning.is_done:
            return
        if key is not None:
            self._ledger.answer_pruning(key, self._pruning.removed)
        if self._pruning.removed:
            log.info("prune", removed=self._pruning.removed)
        self._pruning = None
        self._waiting.popleft()


def configured_rule(section: LedgerSection) -> PruneRule | None:
    """What goes by the configuration; None: everything stays."""
    if not section.keep_days and not section.keep_jobs:
        return None
    return PruneRule(section.keep_days or None, section.keep_jobs or None)
