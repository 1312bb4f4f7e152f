"""`syncctl submit`."""

from __future__ import annotations

import csv
from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import typer

from syncd.cli.access import ask_all, configuration, kept_note, ledger_path
from syncd.cli.options import (
    MAX_TRACK,
    ConfigOption,
    DubLanguage,
    DubTrack,
    JsonOption,
    MasterTrack,
    language_tag,
    one_of,
)
from syncd.cli.output import print_json, printable
from syncd.domain import Priority
from syncd.errors import ErrorCode, SyncdError, error_advice
from syncd.ledger.records import Request, RequestKind, path_to_json

EXIT_SOME_FAILED = 3
COLUMNS = ("master", "dub", "language", "profile", "priority", "master_track", "dub_track", "title")


def submit(
    master: Annotated[
        Path | None, typer.Argument(metavar="MASTER", help="The reference programme.", show_default=False)
    ] = None,
    dub: Annotated[
        Path | None, typer.Argument(metavar="DUB", help="The dub; may be the same container.", show_default=False)
    ] = None,
    batch: Annotated[
        Path | None,
        typer.Option(
            "--batch",
            metavar="FILE",
            help=f"A CSV file instead, with a heading line; columns: {', '.join(COLUMNS)} (the first two must be). "
            "What a row leaves empty, the options say; relative paths count from the file's folder.",
        ),
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option(
            "--profile",
            metavar="NAME",
            help="A profile of the configuration; else that of the watched folder they lie in, or 'default'.",
        ),
    ] = None,
    priority: Annotated[
        Priority | None,
        typer.Option("--priority", metavar="RANK", help=f"Rank in the queue: {one_of(Priority)}; else normal."),
    ] = None,
    language: DubLanguage = None,
    title: Annotated[
        str | None,
        typer.Option(
            "--title", metavar="TEXT", help="The title to list it under; else the names', or the master's file name."
        ),
    ] = None,
    master_track: MasterTrack = None,
    dub_track: DubTrack = None,
    force: Annotated[bool, typer.Option("--force", help="Measure again what has been measured.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Enqueue a pair by name, whatever the files are called and wherever they lie.

    The service must be able to read both files, and to write beside the dub. Of a pair that a watched folder would find
    by its names, title, language and profile are the folder's where they are not given.
    """
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
    if not payloads and not as_json:
        typer.echo("There is nothing to submit.")
    profiles = known_profiles(config)
    for line, payload in enumerate(payloads, start=2):
        check_payload(profiles, payload, where=f"{batch}, line {line}: " if batch is not None else "")
    requests = ask_all(config, RequestKind.SUBMIT, payloads)
    failed = [request.error for request in requests if request.error is not None]
    if failed and batch is None and not as_json:
        raise SyncdError(failed[0].code, failed[0].message, failed[0].details)
    if as_json:
        answers = [{"request_id": r.request_id, "outcome": r.outcome, "error": r.error} for r in requests]
        print_json({"requests": answers})
    else:
        for request in requests:
            typer.echo(sentence(request))
    if failed:
        raise typer.Exit(EXIT_SOME_FAILED if len(failed) < len(requests) else 1)


def known_profiles(given: Path | None) -> Collection[str] | None:
    """Those of the configuration; None: it has faults, and the daemon goes by an earlier one."""
    try:
        return configuration(given).profiles.keys()
    except SyncdError:
        ledger_path(given)
        return None


def check_payload(profiles: Collection[str] | None, payload: dict[str, object], *, where: str) -> None:
    """What can be said before the daemon sees it; raises `SyncdError` USAGE that begins with `where`.

    The language is written as all are.
    """
    profile, priority = payload.get("profile"), payload.get("priority")
    if profiles is not None and profile is not None and profile not in profiles:
        raise SyncdError(ErrorCode.USAGE, f"{where}There is no profile named {profile}.")
    if priority is not None and priority not in set(Priority):
        raise SyncdError(ErrorCode.USAGE, f"{where}{priority} is no priority: low, normal or high.")
    if (language := payload.get("language")) is not None:
        try:
            payload["language"] = language_tag(str(language))
        except typer.BadParameter as error:
            raise SyncdError(ErrorCode.USAGE, f"{where}{error.message}") from error
    for side in ("master_track", "dub_track"):
        track = payload.get(side)
        if track is not None and not (str(track).isdecimal() and int(str(track)) <= MAX_TRACK):
            raise SyncdError(ErrorCode.USAGE, f"{where}{track} is no number of an audio track.")


def read_batch(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file; raises `SyncdError` USAGE with the line at fault."""
    try:
        with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            if any(";" in str(name) for name in reader.fieldnames or ()):
                raise SyncdError(ErrorCode.USAGE, f"{path} is separated by semicolons; commas are needed.")
            if unknown := {str(name) for name in reader.fieldnames or ()} - set(COLUMNS):
                raise SyncdError(ErrorCode.USAGE, f"{path} has unknown columns: {', '.join(sorted(unknown))}.")
            if not {"master", "dub"} <= set(reader.fieldnames or ()):
                raise SyncdError(ErrorCode.USAGE, f"{path} needs a heading line with the columns master and dub.")
            rows = list(reader)
    except OSError as error:
        raise SyncdError(ErrorCode.USAGE, f"{path} cannot be read: {error.strerror}.") from error
    except (csv.Error, ValueError) as error:
        raise SyncdError(ErrorCode.USAGE, f"{path} is not a CSV file: {error}.") from error
    for number, row in enumerate(rows, start=2):
        if None in row:
            raise SyncdError(ErrorCode.USAGE, f"{path}, line {number}: there are more fields than columns.")
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
    if request.error is not None:
        return f"{printable(request.error.message)} {error_advice(request.error.code)}"
    if request.outcome is None:
        return kept_note(request)
    job_id = request.outcome["job_id"]
    if request.outcome["created"]:
        return f"Job {printable(job_id)} is enqueued."
    return f"This very pair is job {printable(job_id)} already; --force measures it again."
