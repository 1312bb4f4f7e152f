"""Options that every command takes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from syncd.domain import JobState, Priority, Verdict
from syncd.errors import ErrorCode

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="Configuration file; else $SYNCD_CONFIG, then /etc/syncd/syncd.toml.",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
MAX_ID = 2**63 - 1
MAX_TRACK = 999


def job_number(text: str) -> int:
    """What an ID on the command line says; raises `typer.BadParameter`."""
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= MAX_ID):
        raise typer.BadParameter(f"{text!r} is no number of a job; 'syncctl list' shows them.")
    return int(text)


def one_of(values: Iterable[StrEnum]) -> str:
    """For help: the words that an option takes."""
    return ", ".join(value.value for value in values)


SomeJobIds = Annotated[
    list[int] | None,
    typer.Argument(
        metavar="ID",
        parser=job_number,
        help="Job numbers, as 'syncctl list' shows them; else --state.",
        show_default=False,
    ),
]
JobId = Annotated[
    int,
    typer.Argument(metavar="ID", parser=job_number, help="Job number, as 'syncctl list' shows it.", show_default=False),
]
MasterTrack = Annotated[
    int | None,
    typer.Option("--master-track", metavar="N", min=0, max=MAX_TRACK, help="Audio track of the master, from 0."),
]
DubTrack = Annotated[
    int | None, typer.Option("--dub-track", metavar="N", min=0, max=MAX_TRACK, help="Audio track of the dub, from 0.")
]
StateOption = Annotated[
    list[JobState] | None,
    typer.Option(
        "--state", metavar="STATE", help=f"Only jobs in this state; may be repeated. One of {one_of(JobState)}."
    ),
]
VerdictOption = Annotated[
    list[Verdict] | None,
    typer.Option("--verdict", metavar="VERDICT", help=f"Only this verdict; may be repeated. One of {one_of(Verdict)}."),
]
ReviewOption = Annotated[
    bool | None,
    typer.Option("--review/--no-review", help="Only jobs that ask for a person's look, or only those that do not."),
]
TitleOption = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="Only titles that contain this, in any case.")
]
LanguageOption = Annotated[
    str | None, typer.Option("--language", metavar="TAG", help="Only this language, as the dub's name has it: pt-BR.")
]
PriorityOption = Annotated[
    Priority | None, typer.Option("--priority", metavar="RANK", help=f"Only this priority: {one_of(Priority)}.")
]
ProfileFilter = Annotated[
    str | None, typer.Option("--profile", metavar="NAME", help="Only jobs of this profile of the configuration.")
]
CodeOption = Annotated[
    ErrorCode | None,
    typer.Option(
        "--code", metavar="CODE", help="Only jobs that failed with this code, as in MEDIA_TRUNCATED (docs/errors.md)."
    ),
]
WHEN = "a date or moment in local time (2026-11-20, 2026-11-20T14:00), or so long ago (30m, 6h, 2d, 4w)"
SinceOption = Annotated[str | None, typer.Option("--since", metavar="WHEN", help=f"Only jobs enqueued since {WHEN}.")]
ProfileOption = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="A profile of the configuration; else 'default'."),
]
TAG = re.compile(
    r"([a-z]{2,3})(?:-([a-z]{4}))?(?:-([a-z]{2}|[0-9]{3}))?((?:-(?:[a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*)", re.ASCII
)


def language_tag(text: str) -> str:
    """A BCP 47 tag in the usual letters (pt-BR, zh-Hant), however it was written; raises `typer.BadParameter`."""
    match = TAG.fullmatch(text.replace("_", "-").lower())
    if match is None:
        raise typer.BadParameter(f"{text!r} is no tag of a language, as fr and pt-BR are.")
    language, script, region, variants = match.groups()
    parts = (language, script and script.capitalize(), region and region.upper())
    return "-".join(part for part in parts if part) + (variants or "")


DubLanguage = Annotated[
    str | None,
    typer.Option("--language", metavar="TAG", parser=language_tag, help="The dub's language, a BCP 47 tag: fr, pt-BR."),
]
