"""`syncctl export`."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from syncd.cli.access import ledger
from syncd.cli.choosing import all_jobs
from syncd.cli.jobs import job_filter
from syncd.cli.manual import MANUALS
from syncd.cli.options import (
    CodeOption,
    ConfigOption,
    JobId,
    LanguageOption,
    PriorityOption,
    ProfileFilter,
    ReviewOption,
    SinceOption,
    StateOption,
    TitleOption,
    VerdictOption,
    one_of,
)
from syncd.cli.output import to_builtins
from syncd.cli.show import final_report
from syncd.domain import FINAL_STATES
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import Job
from syncd.units import FRAME_RATES

FrameRate = StrEnum("FrameRate", {f"FPS_{number}": name.removesuffix(".0") for number, name in enumerate(FRAME_RATES)})  # type: ignore[misc] # of names that are known elsewhere
COLUMNS: Final = (
    "job_id",
    "state",
    "title",
    "language",
    "master_path",
    "dub_path",
    "profile",
    "priority",
    "enqueued_at",
    "started_at",
    "finished_at",
    "attempts",
    "device",
    "verdict",
    "review",
    "offset_s",
    "confidence",
    "sidecar_path",
    "error_code",
    "error_message",
)
FORMULA_STARTS: Final = ("=", "+", "-", "@")
"""A spreadsheet computes cells that begin so, and file names may be anybody's."""

app = typer.Typer(name="export", help="Jobs and timelines for other programs.", no_args_is_help=True)

OutputOption = Annotated[
    Path | None,
    typer.Option("--output", "-o", metavar="FILE", help="A new file; else standard output.", show_default=False),
]


class TableFormat(StrEnum):
    """What a list of jobs can be written as."""

    CSV = "csv"
    JSONL = "jsonl"


class TimelineFormat(StrEnum):
    """What a timeline can be written as."""

    EDL = "edl"
    OTIO = "otio"
    MIDI = "midi"
    REAPER = "reaper"


@app.command("jobs", short_help=MANUALS["export jobs"].brief, epilog=MANUALS["export jobs"].epilog)
def jobs(
    kind: Annotated[
        TableFormat, typer.Option("--format", metavar="FORMAT", help="csv, or jsonl: one JSON document a line.")
    ] = TableFormat.CSV,
    state: StateOption = None,
    verdict: VerdictOption = None,
    review: ReviewOption = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    code: CodeOption = None,
    since: SinceOption = None,
    output: OutputOption = None,
    config: ConfigOption = None,
) -> None:
    """Write all jobs that the filters leave, newest first."""
    filters = job_filter(state, verdict, review, title, language, priority, profile, code, since)
    with ledger(config) as reader:
        found = all_jobs(reader, filters)
        _write(_as_csv(found) if kind is TableFormat.CSV else map(_as_json_line, found), output)


@app.command("timeline", short_help=MANUALS["export timeline"].brief, epilog=MANUALS["export timeline"].epilog)
def timeline(
    job_id: JobId,
    kind: Annotated[
        TimelineFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="edl (CMX 3600) or otio: where each piece of the dub belongs. "
            "midi (Pro Tools, Reaper) or reaper (its CSV): a marker wherever something changes.",
        ),
    ] = TimelineFormat.EDL,
    frame_rate: Annotated[
        FrameRate | None,
        typer.Option(
            "--frame-rate",
            metavar="FPS",
            help=f"Of an edl, where the master's file says none: {one_of(FrameRate)}; else 25. Its cuts lie on frames.",
        ),
    ] = None,
    output: OutputOption = None,
    config: ConfigOption = None,
) -> None:
    """Write a job's timeline for an editing system."""
    from syncd.reports.exchange import read_timeline, write_timeline  # noqa: PLC0415 - a second to load

    if kind is TimelineFormat.MIDI and output is None and sys.stdout.isatty():
        raise SyncdError(ErrorCode.USAGE, "MIDI is not for a terminal: name a file with --output.")
    with ledger(config) as reader:
        job = reader.job(job_id)
        if job is None:
            raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
        report = final_report(reader, job_id)
    if report is None:
        yet = "" if job.state in FINAL_STATES else " yet"
        raise SyncdError(
            ErrorCode.NOT_FOUND, f"Job {job_id} is {job.state.value}: it has no report{yet}, and no timeline."
        )
    exchanged = read_timeline(report, frame_rate=None if frame_rate is None else frame_rate.value)
    _write([write_timeline(exchanged, kind.value)], output)


def _as_csv(found: Iterator[Job]) -> Iterator[bytes]:
    buffer = io.StringIO()
    rows = csv.writer(buffer, lineterminator="\n")
    rows.writerow(COLUMNS)
    for job in found:
        rows.writerow(_cells(job))
        yield buffer.getvalue().encode()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue().encode()


def _cells(job: Job) -> list[object]:
    failure = job.failure
    error = (None, None) if failure is None else (failure.code.value, failure.message)
    values = (getattr(job, column) for column in COLUMNS[:-2])
    return [_cell(to_builtins(value)) for value in (*values, *error)]


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA_STARTS) else value


def _as_json_line(job: Job) -> bytes:
    return msgspec.json.encode(to_builtins(job)) + b"\n"


def _write(parts: Iterator[bytes] | list[bytes], output: Path | None) -> None:
    if output is None:
        for part in parts:
            sys.stdout.buffer.write(part)
        sys.stdout.buffer.flush()
        return
    try:
        with output.open("xb") as file:
            file.writelines(parts)
    except FileExistsError as error:
        raise SyncdError(ErrorCode.USAGE, f"{output} exists already; it is left alone.") from error
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise SyncdError(ErrorCode.USAGE, f"{output} cannot be made: {error.strerror}.") from error
    except OSError as error:
        raise SyncdError(ErrorCode.PERMISSION_DENIED, f"{output} cannot be written: {error.strerror}.") from error
