"""`syncctl schema`."""

from __future__ import annotations

import json
import sys
from importlib import resources
from typing import Annotated, Any

import typer

from syncd.cli.options import ConfigOption, JsonOption
from syncd.errors import ErrorCode, SyncdError
from syncd.reports.sidecar import schema_text


def schema(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="Of what this command prints with --json, as in schema list or schema 'list --orphans'; else of "
            "the report beside each dub. 'error' is what a command prints that fails.",
            show_default=False,
        ),
    ] = None,
    config: ConfigOption = None,  # noqa: ARG001 - every command takes both
    as_json: JsonOption = True,  # noqa: ARG001
) -> None:
    """Print a JSON Schema (2020-12): of the report, or of what a command prints with --json."""
    if not command:
        sys.stdout.write(schema_text())
        return
    sys.stdout.write(json.dumps(shape_of(" ".join(command)), indent=2, ensure_ascii=False) + "\n")


def shapes() -> dict[str, Any]:
    """What every command prints with --json: `commands`, by name, and what they share."""
    text = resources.files("syncd.cli").joinpath("syncctl.v1.schema.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def shape_of(command: str) -> dict[str, Any]:
    """The JSON Schema of one command's; raises `SyncdError` USAGE."""
    kept = shapes()
    shape = kept["$defs"]["error"] if command == "error" else kept["commands"].get(command)
    if shape is None:
        known = ", ".join(kept["commands"])
        raise SyncdError(ErrorCode.USAGE, f"No shape is kept of {command!r}, only of error, {known}.")
    head = {"$schema": kept["$schema"], "$id": f"{kept['$id']}:{command.replace(' ', ':')}"}
    return {**head, **shape, "$defs": kept["$defs"]}
