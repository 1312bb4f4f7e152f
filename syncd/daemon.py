"""`syncd`: joins the rooms, and turns the main loop.

The loop is the one thread that touches the ledger. Everything else (folder watchers, workers, the report thread,
signals) hands it something and wakes it through one socket.
"""

from __future__ import annotations

import argparse
import os
import queue
import selectors
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

import structlog

from syncd import __version__
from syncd.config import Config, WatchSection, find_config_path, load_config
from syncd.devices.inventory import take_inventory
from syncd.domain import JobState, Pair
from syncd.errors import ErrorCode, SyncdError, error_exit_code
from syncd.ledger.ledger import Ledger
from syncd.requests import RequestDesk
from syncd.sdnotify import ServiceNotifier, watchdog_interval_s
from syncd.supervisor.dispatch import Dispatcher
from syncd.supervisor.pool import Pool
from syncd.supervisor.reporter import Reporter
from syncd.telemetry import LEVELS, configure_logs
from syncd.watch.events import (
    FilesSettled,
    FilesUnsettled,
    OrphanFound,
    OrphanResolved,
    PairFound,
    RescanDone,
    WatchEvent,
    WatchTrouble,
)
from syncd.watch.examine import ignore_lease_signals
from syncd.watch.watcher import Watcher

log = structlog.get_logger()

TURN_S: Final = 0.5
"""How long the loop sleeps at most; requests of syncctl are seen within it."""
STATUS_INTERVAL_S: Final = 2.0
TROUBLE_PAUSE_S: Final = 0.2
"""Keeps a loop that meets a broken ledger at every turn from running hot."""
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
        except BlockingIOError:
            return

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

    def __init__(self, config: Config, config_path: Path) -> None:
        self._config = config
        self._config_path = config_path
        self._wake = Wake()
        self._notify = ServiceNotifier()
        self._signals: deque[int] = deque()
        self._watch_events: queue.SimpleQueue[WatchEvent] = queue.SimpleQueue()
        self._held_back: deque[tuple[WatchSection, Pair]] = deque()
        self._unsettled: set[int] = set()
        self._missing: set[int] = set()
        self._failed_jobs_at_start = 0
        self._ledger = Ledger.open(config.ledger.path)
        scratch = make_scratch_folder(config)
        self._pool = Pool(scratch)
        self._reporter = Reporter(self._wake)
        self._dispatcher = Dispatcher(config, self._ledger, self._pool, self._reporter, take_inventory(config.workers))
        self._desk = RequestDesk(self._ledger, self._dispatcher, config)
        self._watchers: list[Watcher] = []

    # --- the run -----------------------------------------------------------------------------------------------------

    def run(self, *, once: bool) -> int:
        """Serve until told to stop, or (`once`) until everything present is done; the exit status."""
        self._catch_signals()
        ignore_lease_signals()
        self._failed_jobs_at_start = self._failed_jobs()
        self._reporter.start()
        self._start_watchers(self._config.watch)
        self._ledger.set_service("pid", str(os.getpid()))
        self._ledger.set_service("version", __version__)
        self._notify.ready(self._status())
        log.info("started", version=__version__, ledger=str(self._config.ledger.path), folders=len(self._config.watch))
        try:
            self._loop(once=once)
        finally:
            self._shut_down()
        if once and self._missing:
            return EXIT_FAILED
        return EXIT_JOBS_FAILED if once and self._failed_jobs() > self._failed_jobs_at_start else EXIT_OK

    def _loop(self, *, once: bool) -> None:
        beat_interval_s = watchdog_interval_s()
        next_beat_s = next_status_s = time.monotonic()
        while True:
            self._sleep()
            if self._obey_signals():
                return
            now_s = time.monotonic()
            self._turn(now_s)
            if beat_interval_s is not None and now_s >= next_beat_s and self._parts_tick(now_s):
                self._notify.alive()
                next_beat_s = now_s + beat_interval_s
            if now_s >= next_status_s:
                self._notify.status(self._status())
                next_status_s = now_s + STATUS_INTERVAL_S
            if once and self._all_done():
                return

    def _turn(self, now_s: float) -> None:
        """Each part once; a ledger that cannot be written to just now (a full disk) is met again at the next turn."""
        for part in (self._take_watch_events, partial(self._desk.serve, now_s), partial(self._dispatcher.step, now_s)):
            try:
                part()
            except SyncdError as error:
                if error.code is ErrorCode.LEDGER_DAMAGED:
                    raise
                log.error("ledger_trouble", code=error.code.value, reason=error.message)
                time.sleep(TROUBLE_PAUSE_S)

    def _sleep(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake.reader, selectors.EVENT_READ)
            for worker in self._dispatcher.busy_workers():
                selector.register(worker.read_fd, selectors.EVENT_READ)
            selector.select(TURN_S)
        self._wake.drain()

    def _all_done(self) -> bool:
        if self._unsettled - self._missing or self._held_back or not self._watch_events.empty() or not self._dispatcher.is_idle():
            return False
        return self._ledger.queued_count() == 0

    def _failed_jobs(self) -> int:
        counts = self._ledger.counts()
        return counts.get(JobState.FAILED, 0) + counts.get(JobState.QUARANTINED, 0)

    def _parts_tick(self, now_s: float) -> bool:
        """Whether every part moved of late; if not, the service manager is left to find out."""
        return all(watcher.is_alive() for watcher in self._watchers) and now_s > 0

    def _status(self) -> str:
        paused = "paused; " if self._ledger.is_paused() else ""
        return f"{paused}{self._ledger.queued_count()} queued, {self._dispatcher.running_count()} running"

    # --- settle, pair, enqueue ---------------------------------------------------------------------------------------

    def _start_watchers(self, sections: Sequence[WatchSection]) -> None:
        known = {file.path: file for file in self._ledger.known_files()}
        unwatched = [
            p for p in (self._config.reports.fallback, self._config.reports.done, self._config.reports.failed) if p
        ]
        self._unsettled = set(range(len(sections)))
        for index, section in enumerate(sections):
            inner = [other.path for other in sections if section.path in other.path.parents]
            watcher = Watcher(section, index=index, known=known, emit=self._emit, excluded=[*unwatched, *inner])
            watcher.start()
            self._watchers.append(watcher)

    def _emit(self, event: WatchEvent) -> None:
        self._watch_events.put(event)
        self._wake()

    def _take_watch_events(self) -> None:
        while True:
            try:
                event = self._watch_events.get_nowait()
            except queue.Empty:
                break
            self._take_watch_event(event)
        while self._held_back and self._has_room():
            self._enqueue(*self._held_back[0])
            self._held_back.popleft()

    def _take_watch_event(self, event: WatchEvent) -> None:
        match event:
            case PairFound():
                self._held_back.append((self._config.watch[event.watch_index], event.pair))
            case OrphanFound():
                if self._ledger.record_orphan(event.orphan):
                    log.warning("orphan", path=str(event.orphan.file.path), reason=event.orphan.message)
            case OrphanResolved():
                self._ledger.forget_orphans([event.path])
            case FilesSettled():
                self._unsettled.discard(event.watch_index)
                self._missing.discard(event.watch_index)
            case FilesUnsettled():
                self._unsettled.add(event.watch_index)
                self._missing.discard(event.watch_index)
            case WatchTrouble():
                log.error("watch_trouble", code=event.code.value, message=event.message)
                if event.code is ErrorCode.FILE_NOT_FOUND:
                    self._missing.add(event.watch_index)
            case RescanDone():
                log.debug("rescan", files=event.files, missed=event.missed, seconds=round(event.seconds, 3))

    def _has_room(self) -> bool:
        limit = self._config.limits.max_queued
        return limit is None or self._ledger.queued_count() < limit

    def _enqueue(self, section: WatchSection, pair: Pair) -> None:
        enqueued = self._ledger.enqueue(
            pair,
            profile=section.profile,
            settings=self._config.profile(section.profile).to_settings(),
            priority=section.priority,
        )
        for job_id in enqueued.superseded_running:
            self._dispatcher.call_off(job_id, time.monotonic())
        if enqueued.created:
            log.info("enqueue", job=enqueued.job_id, title=pair.title, language=pair.language)

    # --- signals -----------------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        signal.set_wakeup_fd(self._wake.writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        """Only note it; a second request to stop ends the process at once."""
        if number in (signal.SIGTERM, signal.SIGINT) and number in self._signals:
            os._exit(128 + number)
        self._signals.append(number)

    def _obey_signals(self) -> bool:
        """Carry out what signals asked for; whether it is time to go."""
        while self._signals:
            if self._signals[0] != signal.SIGHUP:
                return True
            self._signals.popleft()
            self._reload()
        return False

    def _reload(self) -> None:
        """Take a changed configuration over, all or nothing."""
        self._notify.reloading()
        try:
            config = load_config(self._config_path)
        except SyncdError as error:
            log.error("reload_refused", reason=error.message)
            self._notify.ready(f"old configuration kept: {error.message}")
            return
        watch_changed = config.watch != self._config.watch or config.reports != self._config.reports
        if watch_changed:
            self._stop_watchers()
        self._config = config
        self._dispatcher.reconfigure(config, take_inventory(config.workers))
        self._desk.config = config
        if watch_changed:
            self._start_watchers(config.watch)
        log.info("reloaded", folders=len(config.watch))
        self._notify.ready(self._status())

    def _stop_watchers(self) -> None:
        """End them and hear their last words, which speak of the folders by number."""
        for watcher in self._watchers:
            watcher.stop()
        self._watchers.clear()
        self._take_watch_events()

    def _shut_down(self) -> None:
        """Claim no more, hand running jobs back, leave: within five seconds."""
        self._notify.stopping()
        log.info("stopping")
        self._stop_watchers()
        self._dispatcher.hand_back_all("the daemon stops")
        self._pool.close()
        self._reporter.stop()
        self._ledger.close()
        signal.set_wakeup_fd(-1)
        self._wake.close()
        log.info("stopped")


def make_scratch_folder(config: Config) -> Path:
    """The folder in which workers keep unlinked temporary files."""
    folder = config.cache.path / "scratch"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SyncdError(
            ErrorCode.PERMISSION_DENIED, f"The cache folder {folder} cannot be made: {error.strerror}."
        ) from error
    return folder


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="syncd", description="Watch folders for masters and dubs, and report where each dub lies."
    )
    parser.add_argument("--config", type=Path, help="configuration file (else $SYNCD_CONFIG, /etc/syncd/syncd.toml)")
    parser.add_argument("--once", action="store_true", help="end when every file present is done")
    parser.add_argument("--check", action="store_true", help="check the configuration and end")
    parser.add_argument("--log-level", choices=LEVELS, default="info")
    parser.add_argument("--version", action="version", version=f"syncd {__version__}")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the daemon; ends the process with its exit status."""
    chosen = parse_arguments(arguments)
    configure_logs(chosen.log_level)
    config_path = find_config_path(chosen.config)
    try:
        config = load_config(config_path)
        if chosen.check:
            sys.stdout.write(f"{config_path} is valid: {len(config.watch)} watched folders.\n")
            sys.exit(EXIT_OK)
        daemon = Daemon(config, config_path)
    except SyncdError as error:
        sys.stderr.write(f"syncd: {error}\n")
        sys.exit(error_exit_code(error.code))
    sys.exit(daemon.run(once=chosen.once))


if __name__ == "__main__":
    main()
