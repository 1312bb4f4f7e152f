"""Upkeep: the ledger's log is folded in when nothing else is to be done, old jobs go, abandoned drafts of reports too.

Top floor, beside the daemon, whose main loop calls it at every turn.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
import structlog

from syncd.config import LedgerSection
from syncd.domain import Failure
from syncd.errand import Errand
from syncd.errors import ErrorCode
from syncd.ledger.ledger import Ledger
from syncd.ledger.prune import Candidate, PruneRule, Pruning, may_go
from syncd.ledger.records import Request, RequestKind
from syncd.temporary import Sweeper

log = structlog.get_logger()

FOLD_INTERVAL_S: Final = 30.0
PRUNE_INTERVAL_S: Final = 86_400.0
SWEEP_INTERVAL_S: Final = 300.0
ASK_INTERVAL_S: Final = 0.5
"""How often the ledger is looked into for what syncctl asks."""
SLICE_S: Final = 0.1
"""How long one turn may prune."""
LOOK_S: Final = 0.05
"""How long it waits for a look at files."""


class Upkeep:
    """A little at every turn.

    `section`: what the configuration says of the ledger, `fallback`: its folder for reports that find no place beside
    their dubs; to be replaced when they change.
    """

    def __init__(
        self, ledger: Ledger, section: LedgerSection, wake: Callable[[], None], *, fallback: Path | None = None
    ) -> None:
        self.section = section
        self.fallback = fallback
        self._ledger = ledger
        self._fold_at_s = self._prune_at_s = self._ask_at_s = self._sweep_at_s = float("-inf")
        self._sweeper = Sweeper()
        self._sweep: Errand[None] | None = None
        self._waiting: deque[tuple[int | None, PruneRule]] = deque()
        """Each with the number of its request; None: the configuration wants it."""
        self._pruning: Pruning | None = None
        self._wake = wake
        self._look: tuple[list[Candidate], Errand[list[int]]] | None = None
        """The jobs of this step, and the look at their files."""

    @property
    def is_pruning(self) -> bool:
        """Whether some of what is to go may still be there."""
        return bool(self._waiting)

    def tend(self, now_s: float, *, is_idle: bool) -> None:
        """Do what is due. What fails with `SyncdError` is tried again at a later turn."""
        if now_s >= self._ask_at_s:
            self._ask_at_s = now_s + ASK_INTERVAL_S
            self._note_what_is_asked(now_s)
        end_s = time.monotonic() + SLICE_S
        while self._waiting and time.monotonic() < end_s:
            if not self._prune():
                break
        if self.fallback is not None and now_s >= self._sweep_at_s and (self._sweep is None or self._sweep.wait(0.0)):
            # Watched folders are swept when they are read; this one nobody watches.
            self._sweep_at_s = now_s + SWEEP_INTERVAL_S
            self._sweep = Errand(partial(self._sweeper.sweep_folder, self.fallback), self._wake)
        if is_idle and now_s >= self._fold_at_s:
            self._fold_at_s = now_s + FOLD_INTERVAL_S
            if self._ledger.log_bytes():
                self._ledger.checkpoint()

    def _note_what_is_asked(self, now_s: float) -> None:
        known = {request_id for request_id, _ in self._waiting}
        for request in self._ledger.requests.pending():
            if request.kind is RequestKind.PRUNE and request.request_id not in known:
                self._take(request)
        if now_s >= self._prune_at_s:
            self._prune_at_s = now_s + PRUNE_INTERVAL_S
            if (rule := configured_rule(self.section)) is not None and None not in known:
                self._waiting.append((None, rule))

    def _take(self, request: Request) -> None:
        try:
            self._waiting.append((request.request_id, msgspec.convert(request.payload, PruneRule)))
        except msgspec.ValidationError as error:
            failure = Failure(ErrorCode.USAGE, f"The request is not understood: {error}.")
            self._ledger.requests.finish(request.request_id, error=failure)

    def _prune(self) -> bool:
        """One step of the first that waits; False: it has to wait for a look at files, as a folder may hang."""
        request_id, rule = self._waiting[0]
        if self._pruning is None:
            # Nobody looks at the clock when the configuration prunes; who asks for it says what time it is.
            self._pruning = self._ledger.pruning.begin(rule, doubts_clock=request_id is None)
        if self._look is None:
            seen = self._ledger.pruning.candidates(self._pruning)
            self._look = seen, Errand(partial(may_go, seen), self._wake)
        seen, look = self._look
        if not look.wait(LOOK_S):
            return False
        if not self._pruning.is_done:
            self._pruning = self._ledger.pruning.remove(self._pruning, seen, look.answer())
        self._look = None
        if not self._pruning.is_done:
            return True
        if request_id is not None:
            self._ledger.requests.finish(request_id, outcome={"removed": self._pruning.removed})
        if self._pruning.removed:
            log.info("prune", removed=self._pruning.removed)
        self._pruning = None
        self._waiting.popleft()
        return True


def configured_rule(section: LedgerSection) -> PruneRule | None:
    """What goes by the configuration; None: everything stays."""
    if not section.keep_days and not section.keep_jobs:
        return None
    return PruneRule(section.keep_days or None, section.keep_jobs or None)
