"""`syncctl schema`."""

from __future__ import annotations

import sys

from syncd.cli.options import ConfigOption, JsonOption
from syncd.reports.sidecar import schema_text


def schema(config: ConfigOption = None, as_json: JsonOption = True) -> None:  # noqa: ARG001 - every command takes both
    """Print the JSON Schema of the sidecar."""
    sys.stdout.write(schema_text())
