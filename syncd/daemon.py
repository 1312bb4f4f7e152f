"""`syncd`: joins the rooms, and turns the main loop.

The loop is the one thread that touches the ledger. Everything else (folder watchers, workers, the report thread,
signals) hands it something and wakes it through one socket.
"""

from __future__ import annotations

import gc

gc.disable()  # Loading makes many objects and no garbage: looking for some takes a tenth of the time.

import argparse
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from syncd import __version__
from syncd.config import Config, find_config_path, load_config
from syncd.delivery import Delivery
from syncd.domain import JobState
from syncd.errors import ErrorCode, SyncdError, error_advice, error_exit_code
from syncd.handover.command import program_fault
from syncd.heap import keep_little, make_room_for_names
from syncd.indexing import Indexer
from syncd.intake import Intake
from syncd.ledger.care import CheckCalledOff
from syncd.ledger.engine import explain_os
from syncd.ledger.ledger import Ledger
from syncd.metrics.exporter import Exporter
from syncd.metrics.ledger_look import LedgerLook
from syncd.requests import RequestDesk
from syncd.sdnotify import ServiceNotifier, watchdog_interval_s
from syncd.supervisor.cards import Cards
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.pool import Pool
from syncd.supervisor.reporter import Reporter
from syncd.telemetry import LEVELS, Seldom, configure_logs, priority_mark, set_log_level
from syncd.upkeep import Upkeep
from syncd.watch.examine import ignore_lease_signals
from syncd.worker.cache_folder import CacheFolder, NotKept

gc.freeze()  # What is loaded stays: no later look for garbage has to go through it.
gc.enable()

log = structlog.get_logger()

TURN_S: Final = 0.5
"""How long the loop sleeps at most; requests of syncctl are seen within it."""
STATUS_INTERVAL_S: Final = 2.0
TROUBLE_PAUSE_S: Final = 0.2
"""Keeps a loop that meets a broken ledger at every turn from running hot."""
SET_ASIDE_ADVICE: Final = (
    "A new ledger was begun: jobs are recorded again from the reports beside their dubs. To have back what no report "
    "knows (pairs named with 'syncctl submit', history), stop syncd and put a backup in the ledger's place."
)
STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
LEAST_WAIT_S: Final = 0.1
STOP_STEP_S: Final = 10.0
"""Of the manager's patience, for each step of the end; all together take less."""
EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_JOBS_FAILED: Final = 3


class Wake:
    """A socket that ends the loop's sleep, from any thread or signal."""

    def __init__(self) -> None:
        self.reader, self.writer = socket.socketpair()
        for end in (self.reader, self.writer):
            end.settimeout(0.0)

    def __call__(self) -> None:
        """Wake the loop; one that is about to wake needs no second call."""
        try:
            self.writer.send(b"\0")
        except OSError:
            return  # Full: it is about to wake. Closed: it has ended, and a late watcher speaks to nobody.

    def drain(self) -> None:
        """Forget the calls so far."""
        try:
            while self.reader.recv(4096):
                pass
        except BlockingIOError:
            return

    def close(self) -> None:
        """Close both ends."""
        self.reader.close()
        self.writer.close()


class Daemon:
    """The service, from start to stop."""

    def __init__(self, config: Config, config_path: Path, *, log_level: str | None = None) -> None:
        """`log_level` goes before what the configuration says."""
        self._config = config
        self._config_path = config_path
        self._log_level = log_level
        self._wake = Wake()
        self._notify = ServiceNotifier()
        self._signals: deque[int] = deque()
        self._catch_signals()
        scratch = make_scratch_folder(config)
        self._notify.status("opening the ledger; after a crash it is checked first")
        self._ledger = Ledger.open(config.ledger.path, sets_aside=True, is_called_off=self._is_to_stop)
        self._pool = Pool(scratch)
        self._reporter = Reporter(self._wake)
        self._cards = Cards(config)
        self._dispatcher = Dispatcher(config, self._ledger, self._pool, self._reporter, self._cards)
        self._desk = RequestDesk(self._ledger, self._dispatcher, config, self._wake)
        self._intake = Intake(self._ledger, self._dispatcher.call_off, self._wake)
        self._upkeep = Upkeep(self._ledger, config.ledger, self._wake, fallback=config.reports.fallback)
        self._indexer = Indexer(config, self._ledger.last_event_id, self._wake)
        self._delivery = Delivery(config, self._ledger, self._wake)
        look = LedgerLook(self._ledger, config.ledger.path)
        self._exporter = Exporter(look, self._dispatcher, self._pool, self._intake, self._delivery)
        self._failed_jobs_at_start = 0
        self._trouble: SyncdError | None = None
        """What the last turn met in the ledger."""
        self._seldom = Seldom()
        self._refused = ""
        """Why the newest configuration is not the one that holds."""

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self, *, once: bool) -> int:
        """Serve until told to stop, or (`once`) until everything present is done; the exit status."""
        status = EXIT_FAILED
        try:
            self._start()
            status = self._loop(once=once)
        finally:
            self._shut_down()
        return status

    def _start(self) -> None:
        ignore_lease_signals()
        self._exporter.listen(self._config.metrics.address)
        self._failed_jobs_at_start = self._failed_jobs()
        tidy_cache(self._config)
        self._reporter.start()
        self._intake.watch(self._config)
        self._ledger.set_service("pid", str(os.getpid()))
        self._ledger.set_service("version", __version__)
        if (damaged := self._ledger.set_aside) is not None:
            log.error(
                "ledger_set_aside",
                code=ErrorCode.LEDGER_DAMAGED.value,
                reason=damaged.reason,
                kept=str(damaged.kept),
                advice=SET_ASIDE_ADVICE,
            )
        tell_program_fault(self._config)
        self._notify.ready(self._status())
        log.info("started", version=__version__, ledger=str(self._config.ledger.path), folders=len(self._config.watch))

    def _loop(self, *, once: bool) -> int:
        beat_interval_s = watchdog_interval_s()
        next_beat_s = next_status_s = time.monotonic()
        while True:
            self._sleep()
            if self._obey_signals():
                return EXIT_FAILED if once else EXIT_OK  # A single run that was broken off did not do its work.
            now_s = time.monotonic()
            self._turn(now_s)
            self._tell_hung_folders(now_s)
            self._exporter.turned(now_s, self._what_is_wrong())
            if beat_interval_s is not None and now_s >= next_beat_s and not self._intake.has_lost_a_watcher:
                self._notify.alive()
                next_beat_s = now_s + beat_interval_s
            if now_s >= next_status_s:
                self._notify.status(self._status())
                next_status_s = now_s + STATUS_INTERVAL_S
            if once and (status := self._status_if_done(now_s)) is not None:
                return status

    def _turn(self, now_s: float) -> None:
        """Each part once; a ledger that cannot be written to just now (a full disk) is met again at the next turn."""
        self._trouble = None
        is_idle = self._dispatcher.is_idle() and not self._intake.has_more
        for part in (
            self._intake.take,
            partial(self._desk.serve, now_s),
            partial(self._dispatcher.step, now_s),
            partial(self._delivery.tend, now_s),
            partial(self._upkeep.tend, now_s, is_idle=is_idle),
            partial(self._indexer.tend, now_s, is_idle=is_idle),
        ):
            try:
                part()
            except SyncdError as error:
                self._meet_trouble(error, now_s)

    def _meet_trouble(self, trouble: SyncdError, now_s: float) -> None:
        """Told, and met again at a later turn; only damage ends the daemon, for the next start to set it aside."""
        if trouble.code is ErrorCode.LEDGER_DAMAGED:
            raise trouble
        self._trouble = trouble
        if self._seldom.is_due(trouble.code, now_s):
            log.error("ledger_trouble", code=trouble.code.value, reason=trouble.message)
        time.sleep(TROUBLE_PAUSE_S)

    def _what_is_wrong(self) -> str | None:
        """What a check of health is told; a folder that hangs is a trouble of that folder's."""
        if self._trouble is not None:
            return f"{self._trouble.code.value}: {self._trouble.message}"
        return "The watcher of a folder has ended." if self._intake.has_lost_a_watcher else None

    def _tell_hung_folders(self, now_s: float) -> None:
        for folder in self._hung_folders(now_s):
            if self._seldom.is_due(folder, now_s):
                self._dispatcher.ask_folder(folder)
                message = f"{folder} does not answer: what is in it has to wait, all else goes on."
                advice = error_advice(ErrorCode.FOLDER_STALLED)
                log.error("watch_trouble", code=ErrorCode.FOLDER_STALLED.value, message=message, advice=advice)

    def _hung_folders(self, now_s: float) -> list[Path]:
        """Those whose watchers hang, and those in which a worker or a report did and that do not answer since."""
        return list(dict.fromkeys((*self._intake.hung_folders(now_s), *self._dispatcher.silent_folders())))

    def _sleep(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake.reader, selectors.EVENT_READ)
            for worker in self._dispatcher.busy_workers():
                selector.register(worker.read_fd, selectors.EVENT_READ)
            for fileno in self._cards.filenos:
                selector.register(fileno, selectors.EVENT_READ)
            selector.select(0.0 if self._intake.has_more else TURN_S)
        self._wake.drain()

    def _status_if_done(self, now_s: float) -> int | None:
        """As `_status_when_done`; a ledger that cannot be asked just now is asked again."""
        try:
            return self._status_when_done()
        except SyncdError as error:
            self._meet_trouble(error, now_s)
            return None

    def _status_when_done(self) -> int | None:
        """With --once: the exit status, as soon as nothing is left that could still be done."""
        if not self._intake.is_done or not self._dispatcher.is_idle() or not self._indexer.is_done():
            return None
        if self._ledger.queued_count():
            if not self._ledger.is_paused():
                return None
            log.error("paused", advice="Jobs wait, and the ledger is paused: 'syncctl resume' lets them go.")
            return EXIT_FAILED
        if not self._delivery.is_idle():
            return None
        if self._intake.has_missing_folders:
            return EXIT_FAILED
        failed_here = self._failed_jobs() - self._failed_jobs_at_start - self._intake.counted.recorded_failed
        return EXIT_JOBS_FAILED if failed_here > 0 else EXIT_OK

    def _failed_jobs(self) -> int:
        counts = self._ledger.counts()
        return counts.get(JobState.FAILED, 0) + counts.get(JobState.QUARANTINED, 0)

    def _status(self) -> str:
        try:
            resting = self._dispatcher.resting(time.monotonic())
            paused = "paused; " if self._ledger.is_paused() else f"{resting}; " if resting else ""
            trouble = f"{self._trouble.code.value}: {self._trouble.message} " if self._trouble is not None else ""
            trouble += "".join(f"{folder} does not answer; " for folder in self._hung_folders(time.monotonic()))
            trouble += "".join(f"{folder} cannot be read; " for folder in self._intake.missing_folders)
            trouble += "".join(f"{folder} cannot be written to; " for folder in self._intake.unwritable_folders)
            counts = f"{self._ledger.queued_count()} queued, {self._dispatcher.running_count()} running"
        except SyncdError as error:
            return error.message
        refused = f"; old configuration kept: {self._refused}" if self._refused else ""
        return f"{trouble}{paused}{counts}{refused}"

    # --- signals -----------------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake.writer.fileno(), warn_on_full_buffer=False)
        for number in (*STOP_SIGNALS, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only note it; a second request to stop, by either signal, ends the process at once."""
        if number in STOP_SIGNALS and self._is_to_stop():
            os._exit(128 + number)
        self._signals.append(number)

    def _is_to_stop(self) -> bool:
        return any(number in STOP_SIGNALS for number in self._signals)

    def _obey_signals(self) -> bool:
        """Carry out what signals asked for; whether it is time to go. What the ledger keeps from it is tried again."""
        while self._signals:
            if self._is_to_stop():
                return True
            try:
                self._reload()
            except SyncdError as error:
                self._meet_trouble(error, time.monotonic())
                return False
            self._signals.popleft()
        return False

    def _reload(self) -> None:
        """Take a changed configuration over, all or nothing."""
        self._notify.reloading()
        try:
            config = load_config(self._config_path)
            self._refuse_what_needs_a_restart(config)
            self._exporter.listen(config.metrics.address)
        except SyncdError as error:
            self._refuse(error.message)
            return
        except Exception as error:
            log.exception("reload_broke")
            self._refuse(f"the reload broke off ({type(error).__name__}); its trace is in the log")
            return
        self._refused = ""
        if config.watch != self._config.watch or config.reports != self._config.reports:
            self._intake.unwatch()
            self._intake.watch(config)
        if config.cache.max_bytes < self._config.cache.max_bytes:
            tidy_cache(config)
        self._config = config
        set_log_level(self._log_level or config.log.level)
        self._intake.profiles = config
        self._dispatcher.reconfigure(config)
        self._desk.config = self._indexer.config = config
        self._delivery.reconfigure(config)
        tell_program_fault(config)
        self._upkeep.section, self._upkeep.fallback = config.ledger, config.reports.fallback
        log.info("reloaded", folders=len(config.watch))
        self._notify.ready(self._status())

    def _refuse(self, reason: str) -> None:
        log.error("reload_refused", reason=reason)
        self._refused = reason
        self._notify.ready(self._status())

    def _refuse_what_needs_a_restart(self, config: Config) -> None:
        changed = [
            key
            for key, before, after in (
                ("ledger.path", self._config.ledger.path, config.ledger.path),
                ("cache.path", self._config.cache_folder, config.cache_folder),
            )
            if before != after
        ]
        if changed:
            raise SyncdError(ErrorCode.CONFIG_INVALID, f"{' and '.join(changed)} can only change with a restart.")

    # --- the end -----------------------------------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Claim no more, keep what is finished, hand the rest back, leave: within five seconds, whatever is broken."""
        self._notify.stopping(f"stopping; {self._dispatcher.running_count()} running jobs are handed back")
        log.info("stopping")
        began_s = time.monotonic()

        def within(until_s: float) -> float:
            """What is left of the first so many seconds: several folders that hang take no longer than one."""
            return max(LEAST_WAIT_S, began_s + until_s - time.monotonic())

        steps: tuple[Callable[[], object], ...] = (
            self._exporter.close,
            self._reporter.begin_to_stop,
            self._delivery.begin_to_stop,
            self._intake.unwatch,
            lambda: self._reporter.stop(within(2.0)),
            lambda: self._indexer.stop(within(2.0)),
            lambda: self._dispatcher.take_reports(time.monotonic()),
            partial(self._dispatcher.hand_back_all, "the daemon stops"),
            lambda: self._delivery.stop(within(4.0)),
            self._cards.stop,
            self._pool.close,
            self._ledger.close,
            self._wake.close,
        )
        signal.set_wakeup_fd(-1)
        for step in steps:
            self._notify.extend(STOP_STEP_S)
            try:
                step()
            except SyncdError as error:
                log.error("stop_incomplete", code=error.code.value, reason=error.message)
        log.info("stopped")


def make_scratch_folder(config: Config) -> Path:
    """The folder in which workers keep unlinked temporary files."""
    folder = config.cache_folder / "scratch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os(error, f"The cache folder {folder} cannot be made") from error
    return folder


def tidy_cache(config: Config) -> None:
    """Remove what dead workers left in the cache, and what is beyond a bound that was lowered; whatever it meets."""
    try:
        CacheFolder(config.features_folder, config.cache.max_bytes).tidy()
    except (OSError, NotKept) as error:
        log.warning("cache_not_tidied", path=str(config.features_folder), reason=str(error))


def tell_program_fault(config: Config) -> None:
    """Jobs are measured without the operator's command too; it may come back with its file system."""
    if (fault := program_fault(config.handover.on_complete)) is not None:
        log.error("command_missing", reason=fault, advice="Jobs are measured all the same.")


def check_text(config: Config, path: Path) -> str:
    """What --check prints of a configuration that is valid; raises `SyncdError` CONFIG_INVALID on what it names."""
    if (fault := program_fault(config.handover.on_complete)) is not None:
        raise SyncdError(ErrorCode.CONFIG_INVALID, f"{path} is not valid: {fault}.", {"faults": [fault]})
    return f"{path} is valid; watched folders: {len(config.watch)}.\n"


def argument_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="syncd",
        description="Watch folders for masters and dubs, and report where each dub lies.",
        epilog="Exit status: 0 ok, 1 failed, 2 configuration, 3 with --once: a job failed, 11 the ledger is in use. "
        "'syncctl' looks into the ledger and steers the jobs.",
        add_help=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="Configuration file; else $SYNCD_CONFIG, then /etc/syncd/syncd.toml.",
    )
    parser.add_argument(
        "--once", action="store_true", help="End when every file present has settled and no job waits or runs."
    )
    parser.add_argument("--check", action="store_true", help="Check the configuration, name every fault, and end.")
    parser.add_argument("--log-level", choices=LEVELS, help="Instead of what the configuration says.")
    parser.add_argument("--version", action="version", version=f"syncd {__version__}", help="Print the version.")
    parser.add_argument("-h", "--help", action="help", help="Show this message and exit.")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the daemon; ends the process with its exit status."""
    chosen = argument_parser().parse_args(arguments)
    configure_logs(chosen.log_level or "info")
    keep_little()
    make_room_for_names()
    config_path = find_config_path(chosen.config)
    try:
        config = load_config(config_path)
        if chosen.check:
            sys.stdout.write(check_text(config, config_path))
            sys.exit(EXIT_OK)
        set_log_level(chosen.log_level or config.log.level)
        sys.exit(Daemon(config, config_path, log_level=chosen.log_level).run(once=chosen.once))
    except SyncdError as error:
        ServiceNotifier().status(error.message)
        sys.stderr.write(f"{priority_mark('error')}syncd: {error}\n")
        sys.exit(error_exit_code(error.code))
    except CheckCalledOff:
        log.info("stopped")
        sys.exit(EXIT_FAILED if chosen.once else EXIT_OK)
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
