"""Hand-over: jobs that have ended have their files moved, and the operator's command is run for them.

Top floor, beside the daemon, whose main loop calls it at every turn. The ledger is the queue: its events say which jobs
have ended, and one number in it how far hand-over has come. So nothing is held up or lost by commands that take their
time, and whatever was under way when the daemon ended is done again: at least once, in the order in which jobs ended.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog

from syncd.config import Config, WatchSection
from syncd.domain import FileStamp, Moving, Role
from syncd.errand import Errand
from syncd.errors import ErrorCode, SyncdError
from syncd.handover.command import CommandEnd, EndedJob, environment, run_command
from syncd.handover.move import NotMoved, carry_out, look, stamp_of
from syncd.handover.places import Names, choose_names, folder_for, media_paths, watched_folder
from syncd.ledger.handover import HandoverSubject, Side
from syncd.ledger.ledger import Ledger
from syncd.reports.names import page_path
from syncd.telemetry import Seldom
from syncd.watch.names import is_media
from syncd.watch.naming import NameRules

log = structlog.get_logger()

AT_ONCE: Final = 4
"""Commands."""
WINDOW: Final = 64
"""Ended jobs that are in hand; the others wait in the ledger."""
SLOW_S: Final = 300.0
"""A move that takes longer is told of: its folder may hang."""
STOP_S: Final = 1.5
"""For commands and a move to end, when the daemon stops."""


class Handed(StrEnum):
    """What came of one thing that hand-over did."""

    COMMAND_DONE = "command_done"
    COMMAND_FAILED = "command_failed"
    """It ended badly, took too long or could not be started."""
    MOVED = "moved"
    """One side of a pair: its files, with the reports that go with them."""
    NOT_MOVED = "not_moved"
    """It lies where it lay."""


_Steps = Generator[Errand[Any], None, None]
"""A move: it goes on when the errand that it gave is done."""


@dataclass(slots=True)
class _Item:
    event_id: int
    job_id: int


@dataclass(slots=True)
class _Move:
    item: _Item | None
    """None: what an earlier run of the daemon had begun."""
    steps: _Steps
    errand: Errand[Any]
    since_s: float


class Delivery:
    """What becomes of jobs that have ended. `counted`: what came of it since the start."""

    def __init__(self, config: Config, ledger: Ledger, wake: Callable[[], None]) -> None:
        self.counted: Counter[Handed] = Counter()
        self._config = config
        self._ledger = ledger
        self._wake = wake
        self._seldom = Seldom()
        self._stopping = threading.Event()
        self._is_recovered = False
        self._seen: int | None = None
        """The newest event that was looked at; None: hand-over is off."""
        self._taken = 0
        """The newest that a job was taken in hand for, or from which all began."""
        self._kept: int | None = None
        """As the ledger has it."""
        self._in_hand: dict[int, _Item] = {}
        """By event, oldest first."""
        self._to_move: deque[_Item] = deque()
        self._to_run: deque[_Item] = deque()
        self._move: _Move | None = None
        self._running: list[tuple[_Item, EndedJob, Errand[CommandEnd]]] = []

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration; what runs goes on."""
        self._config = config

    @property
    def is_on(self) -> bool:
        """Whether anything is done at all."""
        return bool(self._config.handover.on_complete or self._config.reports.done or self._config.reports.failed)

    def is_idle(self) -> bool:
        """Whether every job that has ended was handed over."""
        if self._in_hand or self._move is not None:
            return False
        return not self.is_on or (self._seen is not None and not self._ledger.handover.ended_after(self._seen, 1))

    def tend(self, now_s: float) -> None:
        """Do what is due. What fails with `SyncdError` is tried again at a later turn."""
        self._recover(now_s)
        self._take_commands()
        self._go_on_moving(now_s)
        if self._switch():
            self._take_in()
        while self._to_run and len(self._running) < AT_ONCE:
            self._run(self._to_run[0])
            self._to_run.popleft()
        self._keep()

    def begin_to_stop(self) -> None:
        """Commands that run are told to end."""
        self._stopping.set()

    def stop(self, timeout_s: float = STOP_S) -> None:
        """End the commands; what was not handed over is so after the next start."""
        self.begin_to_stop()
        end_s = time.monotonic() + min(STOP_S, timeout_s)
        for _, _, errand in self._running:
            errand.wait(max(0.0, end_s - time.monotonic()))
        if self._move is not None and self._move.errand.wait(max(0.0, end_s - time.monotonic())):
            self._go_on_moving(self._move.since_s)
        self._take_commands()
        self._keep()

    # --- which jobs --------------------------------------------------------------------------------------------------

    def _switch(self) -> bool:
        """Whether it is on. Jobs that ended while it was off are not handed over when it is switched on again."""
        if self.is_on:
            if self._seen is None:
                self._seen = self._taken = self._ledger.last_event_id() if self._kept is None else self._kept
            return True
        if not self._in_hand and self._kept is not None:
            self._ledger.handover.set_done(None)
            self._seen = self._kept = None
        return False

    def _take_in(self) -> None:
        assert self._seen is not None  # noqa: S101 - it is on
        if (room := WINDOW - len(self._in_hand)) <= 0:
            return
        newest = self._ledger.last_event_id()
        found = self._ledger.handover.ended_after(self._seen, room)
        for ended in found:
            item = _Item(ended.event_id, ended.job_id)
            self._in_hand[item.event_id] = item
            self._to_move.append(item)
            self._seen = self._taken = item.event_id
        if len(found) < room:  # Whatever else there is of that age ends no job: a whole archive may just have come.
            self._seen = max(self._seen, newest)

    def _keep(self) -> None:
        """Up to where everything is done."""
        if self._seen is None:
            return
        done = min(self._in_hand, default=self._taken + 1) - 1
        if done != self._kept:
            self._ledger.handover.set_done(done)
            self._kept = done

    # --- moving: one after the other ---------------------------------------------------------------------------------

    def _recover(self, now_s: float) -> None:
        """Finish what an earlier run had begun, whatever the configuration says by now."""
        if self._is_recovered:
            return
        moving, self._kept = self._ledger.handover.moving(), self._ledger.handover.done()
        self._is_recovered = True
        if moving is not None:
            self._step(None, self._carry_out(moving), now_s)

    def _go_on_moving(self, now_s: float) -> None:
        if (move := self._move) is not None:
            if not move.errand.wait(0.0):
                if now_s - move.since_s > SLOW_S and self._seldom.is_due("move", now_s):
                    log.warning("move_is_slow", seconds=round(now_s - move.since_s), advice="Its folder may hang.")
                return
            self._step(move.item, move.steps, now_s)
        while self._move is None and self._to_move and not self._stopping.is_set():
            self._step(self._to_move[0], self._hand_over(self._to_move[0]), now_s)

    def _step(self, item: _Item | None, steps: _Steps, now_s: float) -> None:
        """To its next errand, or its end. One that the ledger breaks off is begun again, with what is kept there."""
        self._move = None
        try:
            errand = next(steps, None)
        except SyncdError:
            self._is_recovered = False
            raise
        except Exception:
            log.exception("move_broke", job=None if item is None else item.job_id)
            errand = None
        if errand is not None:
            self._move = _Move(item, steps, errand, now_s)
        elif item is not None:
            self._to_move.popleft()
            self._to_run.append(item)

    def _hand_over(self, item: _Item) -> _Steps:
        """The dub with its reports; then the master, if it was the last."""
        subject = self._ledger.handover.subject(item.job_id)
        if subject is None or (into := folder_for(subject.job.state, self._config)) is None:
            return
        if not subject.dub.is_wanted:
            yield from self._move_side(subject, subject.dub, into, _dub_names)
        after = self._ledger.handover.subject(item.job_id)
        if after is not None and not after.master.is_wanted:
            yield from self._move_side(after, after.master, into, self._master_names)

    def _move_side(
        self, subject: HandoverSubject, side: Side, into: Path, names_of: Callable[[Side, Path, Path], Names]
    ) -> _Steps:
        below = watched_folder(side.file.path, self._config)
        if below is None:
            return
        planned = Errand(partial(_plan, names_of, side, below, into), self._wake)
        yield planned
        plan = planned.answer()
        if isinstance(plan, str):
            self._not_moved(subject.job.job_id, plan)
        elif plan:
            moving = Moving(subject.job.job_id, side.media_id, plan)
            self._ledger.handover.begin_moving(moving)
            yield from self._carry_out(moving)

    def _carry_out(self, moving: Moving) -> _Steps:
        errand = Errand(partial(_carry_out, moving), self._wake)
        yield errand
        outcome = errand.answer()
        first = moving.files[0]
        if isinstance(outcome, str):
            self._not_moved(moving.job_id, outcome)
        else:
            self._ledger.handover.end_moving(moving, outcome)
            self.counted[Handed.MOVED] += 1
            log.info("moved", job=moving.job_id, source=str(first.source), target=str(first.target))

    def _not_moved(self, job_id: int, reason: str) -> None:
        self._ledger.handover.not_moved(job_id, reason)
        self.counted[Handed.NOT_MOVED] += 1
        advice = "The files stay where they are; the job is what it was."
        log.warning("not_moved", job=job_id, reason=reason, advice=advice)

    def _master_names(self, side: Side, below: Path, into: Path) -> Names:
        section = next((section for section in self._config.watch if section.path == below), None)
        if section is None or any(
            below in dub.parents and os.path.lexists(dub) for dub in side.dubs if dub != side.file.path
        ):
            return []
        return [] if _has_dubs(side.file.path, section) else _names(media_paths(side.file), [], below, into)

    # --- the command -------------------------------------------------------------------------------------------------

    def _run(self, item: _Item) -> None:
        argv = self._config.handover.on_complete
        subject = self._ledger.handover.subject(item.job_id) if argv else None
        if subject is None:
            self._in_hand.pop(item.event_id, None)
            return
        limit_s = self._config.handover.on_complete_seconds
        work = partial(_run, argv, subject, limit_s, self._stopping)
        self._running.append((item, ended_job(subject), Errand(work, self._wake)))

    def _take_commands(self) -> None:
        for entry in [entry for entry in self._running if entry[2].wait(0.0)]:
            item, job, errand = entry
            self._running.remove(entry)
            try:
                end = errand.answer()
            except Exception as error:
                log.exception("command_broke", job=job.job_id)
                end = CommandEnd(None, 0.0, str(error))
            if end.is_stopped:
                continue  # It stays in hand: it is run again after the next start.
            self._in_hand.pop(item.event_id, None)
            self._tell(job, end)

    def _tell(self, job: EndedJob, end: CommandEnd) -> None:
        self.counted[Handed.COMMAND_DONE if end.is_good else Handed.COMMAND_FAILED] += 1
        if end.is_good:
            log.info("handed_over", job=job.job_id, seconds=round(end.seconds, 2))
            return
        why = "it took too long" if end.is_overdue else "it could not be started" if end.status is None else "it failed"
        log.warning(
            "command_failed",
            job=job.job_id,
            reason=why,
            status=end.status,
            seconds=round(end.seconds, 2),
            last_words=end.last_words,
            failures=self.counted[Handed.COMMAND_FAILED],
        )
        last_line = end.last_words.rpartition("\n")[2]
        status = "" if end.status is None else f" (status {end.status})"
        self._ledger.handover.command_failed(job.job_id, f"{why}{status}{': ' if last_line else ''}{last_line}")


def ended_job(subject: HandoverSubject, page: Path | None = None) -> EndedJob:
    """What a command is told."""
    job = subject.job
    return EndedJob(
        job_id=job.job_id,
        state=job.state,
        title=job.title,
        language=job.language,
        profile=job.profile,
        master=job.master_path,
        dub=job.dub_path,
        sidecar=job.sidecar_path,
        page=page,
        verdict=job.verdict,
        review=job.review,
        offset_s=job.offset_s,
        confidence=job.confidence,
        error_code=None if job.failure is None else ErrorCode(job.failure.code),
    )


# What may hang, and so is done beside the main loop.


def _run(argv: tuple[str, ...], subject: HandoverSubject, limit_s: float, stopping: threading.Event) -> CommandEnd:
    job = ended_job(subject, _page(subject.job.sidecar_path))
    return run_command(argv, environment(job, os.environ), limit_s, stopping)


def _plan(names_of: Callable[[Side, Path, Path], Names], side: Side, below: Path, into: Path) -> Any:
    """The files with their new names; a sentence: why they stay."""
    try:
        moves = look(names_of(side, below, into))
    except NotMoved as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or into}: {error.strerror}."
    known = _stamps(side)
    for move in moves:
        now = move.size_bytes, move.mtime_ns
        if known.get(move.source, now) != now:
            return f"{move.source} has changed since it was measured."
    return moves


def _carry_out(moving: Moving) -> dict[Path, FileStamp] | str:
    try:
        carry_out(moving.files)
        return {move.target: stamp_of(move.target) for move in moving.files if move.target.exists()}
    except NotMoved as error:
        return str(error)
    except OSError as error:
        return f"{error.filename}: {error.strerror}."


def _stamps(side: Side) -> dict[Path, tuple[int, int]]:
    files = side.file.stems or (side.file,)
    return {file.path: (file.identity.size_bytes, file.identity.mtime_ns) for file in files}


def _dub_names(side: Side, below: Path, into: Path) -> Names:
    reports = [path for path in side.sidecars if os.path.lexists(path)]
    pages = [page for sidecar in reports if (page := _page(sidecar)) is not None]
    return _names(media_paths(side.file), [*reports, *pages], below, into)


def _names(media: list[Path], reports: list[Path], below: Path, into: Path) -> Names:
    return choose_names(media, reports, below=below, into=into, is_free=lambda path: not os.path.lexists(path))


def _page(sidecar: Path | None) -> Path | None:
    page = None if sidecar is None else page_path(sidecar)
    return page if page is not None and os.path.lexists(page) else None


def _has_dubs(master: Path, section: WatchSection) -> bool:
    """Whether a dub of this master lies there by its name, settled or not: beside it, or in `dub/` folders."""
    rules = NameRules(patterns=section.patterns, root_title=section.path.name)
    own = rules.parse(os.fspath(master.relative_to(section.path)))
    if own is None:
        return False
    for folder in _folders_around(master, section.path):
        for path in folder.iterdir():
            if path != master and is_media(path.name):
                parsed = rules.parse(os.fspath(path.relative_to(section.path)))
                if parsed is not None and parsed.role is Role.DUB and parsed.group == own.group:
                    return True
    return False


def _folders_around(master: Path, root: Path) -> list[Path]:
    bases = [folder for folder in (master.parent, master.parent.parent) if folder == root or root in folder.parents]
    dubs = [path for base in bases for path in base.iterdir() if path.name.casefold() == Role.DUB and path.is_dir()]
    return [master.parent, *dubs, *(path for dub in dubs for path in dub.iterdir() if path.is_dir())]
