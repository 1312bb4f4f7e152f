"""Options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from syncd.domain import JobState, Priority, Verdict

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config", help="Configuration file; else $SYNCD_CONFIG, then /etc/syncd/syncd.toml.", show_default=False
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
MAX_ID = 2**63 - 1
MAX_TRACK = 999
JobIds = Annotated[
    list[int], typer.Argument(metavar="ID...", min=1, max=MAX_ID, help="Job numbers, as 'syncctl list' shows them.")
]
JobId = Annotated[int, typer.Argument(metavar="ID", min=1, max=MAX_ID, help="Job number, as 'syncctl list' shows it.")]
MasterTrack = Annotated[
    int | None, typer.Option("--master-track", min=0, max=MAX_TRACK, help="Audio track of the master, from 0.")
]
DubTrack = Annotated[
    int | None, typer.Option("--dub-track", min=0, max=MAX_TRACK, help="Audio track of the dub, from 0.")
]
StateOption = Annotated[
    list[JobState] | None, typer.Option("--state", help="Only jobs in this state; may be repeated.")
]
VerdictOption = Annotated[list[Verdict] | None, typer.Option("--verdict", help="Only this verdict; may be repeated.")]
ReviewOption = Annotated[bool | None, typer.Option("--review/--no-review", help="Only jobs that ask for a look.")]
TitleOption = Annotated[str | None, typer.Option("--title", help="Only titles that contain this.")]
LanguageOption = Annotated[str | None, typer.Option("--language", help="Only this language.")]
PriorityOption = Annotated[Priority | None, typer.Option("--priority", help="Only this priority.")]
SinceOption = Annotated[
    str | None, typer.Option("--since", help="Enqueued since: 2026-11-20, 2026-11-20T14:00, or 30m, 6h, 2d.")
]
