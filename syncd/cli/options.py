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
JobIds = Annotated[list[int], typer.Argument(metavar="ID...", help="Job numbers, as 'syncctl list' shows them.")]
JobId = Annotated[int, typer.Argument(metavar="ID", help="Job number, as 'syncctl list' shows it.")]
