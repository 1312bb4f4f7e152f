"""`syncctl rebuild`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from syncd.cli.access import configuration
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import print_json, printable
from syncd.config import Config
from syncd.intake import Intake
from syncd.ledger.ledger import Ledger
from syncd.watch.examine import ignore_lease_signals

EXIT_FOLDERS_MISSING: Final = 1
TURN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What became of the ledger."""

    set_aside: Path | None
    """Where the old one lies; None: there was none."""
    recorded: int
    """Jobs that were recorded from their reports."""
    queued: int
    """Pairs without a report on these versions: the daemon measures them."""
    folders_missing: bool
    """Whether a watched folder could not be read."""


def rebuild(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Make the ledger anew from the watched folders and the reports in them; the daemon must be stopped.

    The old ledger is renamed, never deleted. Jobs are numbered anew, and pairs that were named with 'syncctl submit'
    are not found again.
    """
    rebuilt = rebuild_ledger(configuration(config))
    if as_json:
        print_json(rebuilt)
    else:
        for line in sentences(rebuilt):
            typer.echo(line)
    if rebuilt.folders_missing:
        raise typer.Exit(EXIT_FOLDERS_MISSING)


def rebuild_ledger(config: Config) -> Rebuilt:
    """Set the ledger aside, and begin another from what lies in the folders; returns when all of them have settled.

    Raises `SyncdError` LEDGER_IN_USE, LEDGER_DAMAGED (another program's file), PERMISSION_DENIED, DISK_FULL.
    """
    ignore_lease_signals()
    ledger = Ledger.begin_anew(config.ledger.path)
    try:
        intake = Intake(ledger, _call_nobody_off, _wake_nobody)
        try:
            intake.watch(without_queue_limit(config))
            while not intake.is_done:
                intake.take()
                time.sleep(0.0 if intake.has_more else TURN_S)
        finally:
            intake.unwatch()
    finally:
        ledger.close()
    aside, counted = ledger.set_aside, intake.counted
    return Rebuilt(
        set_aside=None if aside is None else aside.kept,
        recorded=counted.recorded,
        queued=counted.queued,
        folders_missing=intake.has_missing_folders,
    )


def without_queue_limit(config: Config) -> Config:
    """Nobody takes jobs out of the queue here: a full one would be waited for without end."""
    return config.model_copy(update={"limits": config.limits.model_copy(update={"max_queued": None})})


def sentences(rebuilt: Rebuilt) -> list[str]:
    """For people."""
    lines = [] if rebuilt.set_aside is None else [f"The old ledger is now {printable(rebuilt.set_aside)}."]
    lines.append(f"Jobs recorded from their reports: {rebuilt.recorded}.")
    lines.append(f"Pairs that wait to be measured: {rebuilt.queued}.")
    if rebuilt.folders_missing:
        lines.append("A watched folder could not be read ('syncctl doctor' names it): syncd records it when it can.")
    return lines


def _call_nobody_off(job_id: int, now_s: float) -> None:
    """Nothing runs."""


def _wake_nobody() -> None:
    """The loop looks by itself."""
