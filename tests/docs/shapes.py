"""The documented shapes of --json, closed: what is not documented is not printed."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema

from syncd.cli.schema import shape_of, shapes
from syncd.reports.sidecar import schema_text


@cache
def closed_shape(command: str) -> dict[str, Any]:
    """Of a command's, as `syncctl schema` prints it, with nothing beside what it names."""
    closed: dict[str, Any] = _close(shape_of(command))
    return closed


def _close(node: Any) -> Any:
    if isinstance(node, list):
        return [_close(one) for one in node]
    if not isinstance(node, dict):
        return node
    made = {key: _close(value) for key, value in node.items()}
    if "properties" in node and isinstance(node["properties"], dict) and "additionalProperties" not in node:
        made["additionalProperties"] = False
    return made


def command_of(arguments: tuple[str, ...]) -> str:
    """Which of the documented commands is called with these."""
    known = shapes()["commands"]
    called = " ".join(arguments)
    fitting = [name for name in known if _is_called(name.split(), called.split())]
    return max(fitting, key=len)


def _is_called(name: list[str], called: list[str]) -> bool:
    verbs = [word for word in name if not word.startswith("--")]
    return called[: len(verbs)] == verbs and set(name) <= set(called)


def report_is_valid(command: str, document: Any) -> None:
    """Where a report is part of what is printed, or all of it."""
    report = document if command == "analyze" else document.get("report") if command == "show" else None
    if report is not None and "verdict" in report:
        jsonschema.validate(report, json.loads(schema_text()))
