"""The report thread: the one writer of sidecars and pages, so that a slow disk never holds the main loop up."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from syncd import __version__
from syncd.domain import Failure, Result
from syncd.errors import ErrorCode, SyncdError
from syncd.plots import Plots
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
    plots: Plots | None = None
    """What the worker drew; None: nothing."""
    called_off: threading.Event = field(default_factory=threading.Event)
    """Set once nobody wants it any more: whoever is writing it takes it back."""

    @property
    def folder(self) -> Path:
        """Where it is to lie."""
        return self.subject.dub.path.parent


@dataclass(frozen=True, slots=True)
class ReportDone:
    """It is written (or kept as text, with the reason why it could not be)."""

    order: ReportOrder
    written: WrittenReport | None
    kept_json: str | None = None
    """The sidecar's text where no file could be written: the ledger keeps it."""
    failure: Failure | None = None


class Reporter:
    """Orders in, answers out; `wake` is called when there is one.

    A folder that does not answer (a dead network mount) holds its thread for as long as it likes: after `patience_s`
    that order is told of as failed, and a fresh thread goes on with the next. While a thread is held nothing else is
    tried in its folder; once it is let go, what it wrote is told of all the same.
    """

    def __init__(self, wake: Callable[[], None], *, patience_s: float = 30.0) -> None:
        self._wake = wake
        self._patience_s = patience_s
        self._orders: queue.SimpleQueue[ReportOrder | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[ReportDone] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._current: tuple[ReportOrder, float] | None = None
        self._generation = 0
        self._held: Counter[Path] = Counter()
        """Folders, and how many threads each holds."""
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        self._generation += 1
        self._thread = threading.Thread(target=self._run, args=(self._generation,), name="report", daemon=True)
        self._thread.start()

    def begin_to_stop(self) -> None:
        """Finish what is ordered, and then end."""
        self._orders.put(None)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Finish what is ordered; give up after a while (what is half written then has a hidden name)."""
        self.begin_to_stop()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def order(self, order: ReportOrder) -> None:
        """Ask for a report."""
        self._orders.put(order)

    def answers(self, now_s: float) -> list[ReportDone]:
        """What has been written since, or given up."""
        self._give_up_on_a_hung_folder(now_s)
        done = []
        while True:
            try:
                done.append(self._answers.get_nowait())
            except queue.Empty:
                return done

    def put_off(self, shift_s: float) -> None:
        """For so long the whole service stood still: what is being written has so much longer."""
        with self._lock:
            if self._current is not None:
                self._current = (self._current[0], self._current[1] + shift_s)

    def _give_up_on_a_hung_folder(self, now_s: float) -> None:
        with self._lock:
            if self._current is None or now_s - self._current[1] <= self._patience_s:
                return
            order, self._current = self._current[0], None
            self._held[order.folder] += 1
            message = f"The folder {order.folder} did not take the report within {self._patience_s:.0f} s."
            self._answers.put(_stalled(order, message))
            self.start()

    def _run(self, generation: int) -> None:
        while (order := self._orders.get()) is not None:
            with self._lock:
                is_held = self._held[order.folder] > 0
                self._current = None if is_held else (order, time.monotonic())
            silence = f"The folder {order.folder} does not answer yet."
            done = _stalled(order, silence) if is_held else _carry_out(order)
            if done.written is not None and order.called_off.is_set():
                remove_reports(done.written)
            with self._lock:
                has_place = generation == self._generation
                if has_place:
                    self._current = None
                else:
                    self._held[order.folder] -= 1
            self._answers.put(done)
            self._wake()
            if not has_place:
                return  # It took too long: another thread has this one's place.


def _stalled(order: ReportOrder, message: str) -> ReportDone:
    return ReportDone(order, None, failure=Failure(ErrorCode.FOLDER_STALLED, message))


def remove_reports(written: WrittenReport) -> None:
    """Take back what was written a moment ago."""
    for path in (written.sidecar_path, written.html_path):
        if path is not None:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                log.warning("report_not_removed", path=str(path), reason=error.strerror)


def _carry_out(order: ReportOrder) -> ReportDone:
    try:
        written = write_reports(
            order.subject, order.outcome, order.processing, fallback=order.fallback, plots=order.plots
        )
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
