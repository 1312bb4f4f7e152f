"""`syncctl submit`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import print_json, printable
from syncd.domain import Priority
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import Request, RequestKind, path_to_json

COLUMNS = ("master", "dub", "language", "profile", "priority", "master_track", "dub_track", "title")


def submit(
    master: Annotated[Path | None, typer.Argument(help="The reference programme.", show_default=False)] = None,
    dub: Annotated[Path | None, typer.Argument(help="The dub; may be the same container.", show_default=False)] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            help=f"A CSV file instead, with a heading line; columns: {', '.join(COLUMNS)} (the first two must be)."
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option(help="A profile of the configuration.")] = None,
    priority: Annotated[Priority | None, typer.Option(help="Rank in the queue.")] = None,
    language: Annotated[str | None, typer.Option(help="The dub's language, a BCP 47 tag.")] = None,
    title: Annotated[str | None, typer.Option(help="The title to list it under; else the master's name.")] = None,
    master_track: Annotated[int | None, typer.Option(min=0, help="Audio track of the master, from 0.")] = None,
    dub_track: Annotated[int | None, typer.Option(min=0, help="Audio track of the dub, from 0.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again what has been measured.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enqueue a pair by name, whatever the files are called and wherever they lie."""
    common = {"profile": profile, "priority": priority, "language": language, "title": title, "force": force}
    tracks = {"master_track": master_track, "dub_track": dub_track}
    if batch is not None:
        if master is not None or dub is not None:
            raise SyncdError(ErrorCode.USAGE, "Name either a pair or --batch, not both.")
        rows = read_batch(batch)
        payloads = [
            payload_of({**common, **tracks, **{k: v for k, v in row.items() if v}}, batch.parent) for row in rows
        ]
    elif master is None or dub is None:
        raise SyncdError(ErrorCode.USAGE, "A master and a dub are needed.")
    else:
        payloads = [payload_of({**common, **tracks, "master": master, "dub": dub}, Path.cwd())]
    requests = [ask(config, RequestKind.SUBMIT, payload) for payload in payloads]
    if as_json:
        print_json({"requests": [{"request_id": r.request_id, "outcome": r.outcome} for r in requests]})
        return
    for request in requests:
        typer.echo(sentence(request))


def read_batch(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; raises `SyncdError` USAGE with the line at fault."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            if unknown := set(reader.fieldnames or ()) - set(COLUMNS):
                raise SyncdError(ErrorCode.USAGE, f"{path} has unknown columns: {', '.join(sorted(unknown))}.")
            if not {"master", "dub"} <= set(reader.fieldnames or ()):
                raise SyncdError(ErrorCode.USAGE, f"{path} needs a heading line with the columns master and dub.")
            rows = list(reader)
    except OSError as error:
        raise SyncdError(ErrorCode.USAGE, f"{path} cannot be read: {error.strerror}.") from error
    for number, row in enumerate(rows, start=2):
        if not row["master"] or not row["dub"]:
            raise SyncdError(ErrorCode.USAGE, f"{path}, line {number}: master and dub must both be named.")
    return rows


def payload_of(values: dict[str, object], base: Path) -> dict[str, object]:
    """The request for one pair; relative paths count from `base`."""
    files = {side: path_to_json((base / str(values[side])).absolute()) for side in ("master", "dub")}
    rest = {key: value for key, value in values.items() if key not in files and value is not None}
    return {**rest, **files}


def sentence(request: Request) -> str:
    """What became of it."""
    if request.outcome is None:
        return kept_note(request)
    job_id = request.outcome["job_id"]
    if request.outcome["created"]:
        return f"Job {printable(job_id)} is enqueued."
    return f"This very pair is job {printable(job_id)} already; --force measures it again."
