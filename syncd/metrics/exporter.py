"""Metrics and health on a port: the main loop hands over what there is, a thread of the server's gives it out.

Nobody who asks is waited for, and no answer waits for the ledger.
"""

from __future__ import annotations

import copy
import json
import time
from typing import Final

import structlog

from syncd import __version__
from syncd.config import Address
from syncd.delivery import Delivery
from syncd.errors import SyncdError
from syncd.intake import Intake
from syncd.metrics.families import CONTENT_TYPE, snapshot_to_text
from syncd.metrics.health import Turn, why_unhealthy
from syncd.metrics.ledger_look import LedgerLook
from syncd.metrics.server import Answer, MetricsServer
from syncd.metrics.snapshot import Snapshot
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.pool import Pool
from syncd.tally import TURN_S, Spread
from syncd.telemetry import Seldom

log = structlog.get_logger()

INTERVAL_S: Final = 2.0
"""How often the main loop hands over what there is."""
NOT_FOUND: Final = Answer(404, "text/plain; charset=utf-8", b"There are /metrics and /healthz.\n")


class Exporter:
    """Between the main loop and those who ask."""

    def __init__(
        self, look: LedgerLook, dispatcher: Dispatcher, pool: Pool, intake: Intake, delivery: Delivery
    ) -> None:
        self._look = look
        self._dispatcher = dispatcher
        self._pool = pool
        self._intake = intake
        self._delivery = delivery
        self._turns = Spread(TURN_S)
        self._server: MetricsServer | None = None
        self._due_at_s = float("-inf")
        self._seldom = Seldom()
        # Written by the main loop, read by the server's thread: whole values, replaced and never changed.
        self._turn: Turn | None = None
        self._snapshot: Snapshot | None = None
        self._text: tuple[Snapshot, bytes] | None = None

    # --- the main loop -----------------------------------------------------------------------------------------------

    def listen(self, address: Address | None) -> None:
        """Serve there from now on, and nowhere else; raises `SyncdError` CONFIG_INVALID, and all is as before."""
        before = self._server
        if address == (None if before is None else before.address):
            return
        self._server = None if address is None else self._serve(address)
        if before is not None:
            before.stop()

    def _serve(self, address: Address) -> MetricsServer:
        server = MetricsServer(address, self.answer)
        server.start()
        log.info("metrics_served", address=str(address))
        return server

    def turned(self, began_at_s: float, trouble: str | None) -> None:
        """The main loop has come round; now and then it hands over what there is."""
        now_s = time.monotonic()
        self._turns.add(now_s - began_at_s)
        self._turn = Turn(now_s, trouble)
        if self._server is not None and now_s >= self._due_at_s:
            self._due_at_s = now_s + INTERVAL_S
            try:
                self._snapshot = self._take_snapshot(now_s)
            except SyncdError as error:
                log.debug("metrics_kept", reason=error.message)  # The next turn meets what the ledger has, and tells.
            except Exception:  # Old figures are no reason to end a daemon that works.
                if self._seldom.is_due("metrics_broke", now_s):
                    log.exception("metrics_broke")

    def close(self) -> None:
        """Answer nobody any more."""
        self.listen(None)

    def _take_snapshot(self, now_s: float) -> Snapshot:
        return Snapshot(
            ledger=self._look.look(now_s),
            jobs=copy.deepcopy(self._dispatcher.counted),
            workers=copy.deepcopy(self._pool.counted),
            now=self._dispatcher.glance(now_s),
            intake=copy.deepcopy(self._intake.counted),
            intake_backlog=self._intake.backlog,
            folders=self._intake.folder_counts(now_s),
            handed={end.value: number for end, number in self._delivery.counted.items()},
            turns=copy.deepcopy(self._turns),
        )

    # --- the server's thread -----------------------------------------------------------------------------------------

    def answer(self, path: str) -> Answer:
        """What is said to whoever asks."""
        match path:
            case "/metrics":
                return self._metrics()
            case "/healthz":
                return self._health()
            case _:
                return NOT_FOUND

    def _metrics(self) -> Answer:
        snapshot = self._snapshot
        if snapshot is None:
            return Answer(503, "text/plain; charset=utf-8", b"The daemon is starting.\n")
        if self._text is None or self._text[0] is not snapshot:
            self._text = snapshot, snapshot_to_text(snapshot)
        return Answer(200, CONTENT_TYPE, self._text[1])

    def _health(self) -> Answer:
        turn, now_s = self._turn, time.monotonic()
        reason = why_unhealthy(turn, now_s)
        told: dict[str, object] = {"service": "syncd", "version": __version__, "healthy": reason is None}
        if reason is not None:
            told["reason"] = reason
        if turn is not None:
            told["turned_seconds_ago"] = round(now_s - turn.ended_at_s, 3)
        body = json.dumps(told, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n"
        return Answer(200 if reason is None else 503, "application/json", body)
