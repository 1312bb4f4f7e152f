"""`syncctl pause` and `syncctl resume`."""

from __future__ import annotations

from pathlib import Path

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import print_json
from syncd.ledger.records import RequestKind


def pause(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Start no more jobs for now; what runs goes on, and what is dropped is recorded."""
    _ask(config, RequestKind.PAUSE, "Paused: 'syncctl resume' goes on.", as_json=as_json)


def resume(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Go on after a pause."""
    _ask(config, RequestKind.RESUME, "Resumed.", as_json=as_json)


def _ask(config: Path | None, kind: RequestKind, done: str, *, as_json: bool) -> None:
    request = ask(config, kind, {})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    else:
        typer.echo(kept_note(request) if request.outcome is None else done)
