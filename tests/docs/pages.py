"""Which files are generated, and from what."""

from __future__ import annotations

from pathlib import Path

from tests.docs import codes, commands, configuration, manpages, schemas

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def generated() -> dict[Path, str]:
    """The text of each as it is to be."""
    return {
        DOCS / "configuration.md": configuration.page(),
        ROOT / "config" / "syncd.toml": configuration.starting_file(),
        DOCS / "commands.md": commands.page(),
        DOCS / "errors.md": codes.page(),
        DOCS / "sidecar.md": schemas.sidecar(),
        DOCS / "json.md": schemas.commands(),
        **manpages.pages(ROOT / "man"),
    }
