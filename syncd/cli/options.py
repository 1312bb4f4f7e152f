"""Options that every command takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

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
