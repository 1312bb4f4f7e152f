"""The report thread: the one writer of sidecars and pages, so that a slow disk never holds the main loop up."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from syncd import __version__
from syncd.domain import Failure, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.reports.facts import ProcessingFacts, ReportSubject, WrittenReport
from syncd.reports.report import write_reports
from syncd.reports.sidecar import build_report, report_to_text

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ReportOrder:
    """Write this."""

    task_id: int
    subject: ReportSubject
    outcome: Result | Failure
    processing: ProcessingFacts
    fallback: Path | None


@dataclass(frozen=True, slots=True)
class ReportDone:
    """It is written (or kept as text, with the reason why it could not be)."""

    order: ReportOrder
    written: WrittenReport | None
    kept_json: str | None = None
    """The sidecar's text where no file could be written: the ledger keeps it."""
    failure: Failure | None = None


class Reporter:
    """Orders in, answers out; `wake` is called when there is one."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._orders: queue.SimpleQueue[ReportOrder | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[ReportDone] = queue.SimpleQueue()
        self._wake = wake
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self, timeout_s: float = 2.0) -> None:
        """Finish what is ordered; give up after a while (a half-written file is dot-named and cleaned up)."""
        self._orders.put(None)
        self._thread.join(timeout_s)

    def order(self, order: ReportOrder) -> None:
        """Ask for a report."""
        self._orders.put(order)

    def answers(self) -> list[ReportDone]:
        """What has been written since."""
        done = []
        while True:
            try:
                done.append(self._answers.get_nowait())
            except queue.Empty:
                return done

    def _run(self) -> None:
        while (order := self._orders.get()) is not None:
            self._answers.put(_carry_out(order))
            self._wake()


def _carry_out(order: ReportOrder) -> ReportDone:
    try:
        written = write_reports(order.subject, order.outcome, order.processing, fallback=order.fallback)
    except SyncdError as error:
        failure = Failure(error.code, error.message, error.details)
        return ReportDone(order, None, kept_json=_text_alone(order), failure=failure)
    except Exception as error:
        log.exception("report_broke", job=order.subject.job_id)
        failure = Failure(ErrorCode.INTERNAL, f"The report could not be made ({type(error).__name__}).")
        return ReportDone(order, None, failure=failure)
    return ReportDone(order, written)


def _text_alone(order: ReportOrder) -> str | None:
    try:
        report = build_report(order.subject, order.outcome, order.processing, syncd_version=__version__)
    except SyncdError:
        return None
    return report_to_text(report)
