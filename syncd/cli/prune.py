"""`syncctl prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from syncd.cli.access import ask, ledger, ledger_path
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import print_json
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.prune import MAX_DAYS, PruneRule
from syncd.ledger.records import RequestKind


def prune(
    older_than: Annotated[
        int | None,
        typer.Option("--older-than", metavar="DAYS", min=0, max=MAX_DAYS, help="Only jobs that ended longer ago."),
    ] = None,
    keep: Annotated[
        int | None,
        typer.Option("--keep", metavar="N", min=0, max=2**31, help="Never the N jobs that ended last."),
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
    request_id, removed = _prune(config, PruneRule(older_than, keep))
    if as_json:
        print_json({"request_id": request_id, "outcome": None if removed is None else {"removed": removed}})
    elif removed is None:
        typer.echo("Recorded; syncd carries it out while it runs, a little at a time.")
    else:
        typer.echo(f"Jobs removed: {removed}.")


def _prune(given: Path | None, rule: PruneRule) -> tuple[int | None, int | None]:
    """What was asked of the daemon, which alone may do it while it runs (None: nothing), and how many jobs went (None:
    it has not finished)."""
    with ledger(given) as reader:
        runs = reader.daemon_is_running()
    path = ledger_path(given)
    if not runs:
        try:
            opened = Ledger.open(path)
        except SyncdError as error:
            if error.code is not ErrorCode.LEDGER_IN_USE:
                raise
        else:
            return None, _prune_here(opened, rule)
    return _ask(given, rule)


def _prune_here(opened: Ledger, rule: PruneRule) -> int:
    try:
        pruning = opened.pruning.begin(rule)
        while not pruning.is_done:
            pruning = opened.pruning.step(pruning)
        return pruning.removed
    finally:
        opened.close()


def _ask(given: Path | None, rule: PruneRule) -> tuple[int, int | None]:
    request = ask(given, RequestKind.PRUNE, msgspec.to_builtins(rule))
    removed = None if request.outcome is None else int(str(request.outcome["removed"]))
    return request.request_id, removed
