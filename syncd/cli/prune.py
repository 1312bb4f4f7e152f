"""`syncctl prune`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.access import ANSWER_WAIT_S, POLL_S, configuration, ledger
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import print_json
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.prune import MAX_DAYS, PruneRule, answer_of
from syncd.ledger.requests import RequestBox


def prune(
    older_than: Annotated[
        int | None, typer.Option(metavar="DAYS", min=0, max=MAX_DAYS, help="Only jobs that ended longer ago.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=2**31, help="Never the N jobs that ended last.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove ended jobs from the ledger, with their history; reports beside the dubs stay.

    With both options a job must fulfil both to go. Jobs of files that still lie in their folder stay in any case:
    without them these would be measured again.
    """
    if older_than is None and keep is None:
        raise SyncdError(ErrorCode.USAGE, "Say what may go: --older-than, --keep, or both.")
    removed = _prune(config, PruneRule(older_than, keep))
    if as_json:
        print_json({"outcome": None if removed is None else {"removed": removed}})
    elif removed is None:
        typer.echo("Recorded; syncd carries it out while it runs, a little at a time.")
    else:
        typer.echo(f"Jobs removed: {removed}.")


def _prune(given: Path | None, rule: PruneRule) -> int | None:
    """How many went; None: the daemon, which alone may do it while it runs, has not finished."""
    with ledger(given) as reader:
        runs = reader.daemon_is_running()
    path = configuration(given).ledger.path
    if not runs:
        try:
            opened = Ledger.open(path)
        except SyncdError as error:
            if error.code is not ErrorCode.LEDGER_IN_USE:
                raise
        else:
            return _prune_here(opened, rule)
    return _ask(given, path, rule)


def _prune_here(opened: Ledger, rule: PruneRule) -> int:
    try:
        pruning = opened.begin_pruning(rule)
        while not pruning.is_done:
            pruning = opened.prune_some(pruning)
        return pruning.removed
    finally:
        opened.close()


def _ask(given: Path | None, path: Path, rule: PruneRule) -> int | None:
    box = RequestBox.open(path)
    try:
        key = box.ask_for_pruning(rule)
    finally:
        box.close()
    deadline_s = time.monotonic() + ANSWER_WAIT_S
    with ledger(given) as reader:
        while True:
            removed = answer_of(reader.service().get(key))
            if removed is not None or time.monotonic() > deadline_s or not reader.daemon_is_running():
                return removed
            time.sleep(POLL_S)
