"""docs/sidecar.md and docs/json.md, from the JSON Schemas that the package carries."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from syncd.cli.schema import shapes
from syncd.reports.sidecar import schema_text
from tests.docs.wording import NOTE, linked, table

Schema = dict[str, Any]

SIDECAR_HEAD = """\
# The report, field by field

`<dub's file name>.sync.json` beside the dub: UTF-8, one JSON object, schema `sync_report.v1`. `syncctl schema` prints
that schema; `syncctl show ID --json` has the same report under `report`, and `syncctl analyze --json` prints it.

"""
SIDECAR_NAMES = """\

## Its name and place

- A name too long for the file system is cut at a character and gets 8 digits of a hash.
- A second master or profile for the same dub adds the master's stem and the profile to the name.
- Where the media's folder cannot be written to, the report goes to `[reports] fallback`.
- It is written under a hidden name, synced and renamed: there is a whole one or none. Only then does the ledger say
  `completed`.
- Jobs that failed or were quarantined have one too (`status` is `failed`, `error` says why). Canceled and superseded
  ones do not.

## A report, shortened

```json
{
  "schema": "sync_report.v1",
  "status": "completed",
  "verdict": "offset",
  "review": false,
  "sync_status": "The dub is 750.0 ms late (18.7 frames at 25 fps): outside EBU R37 (40 ms early, 60 ms late).",
  "consensus_offset": {"offset_seconds": -0.75, "uncertainty_ms": 0.02, "confidence": 0.99},
  "recommendations": ["Move the dub 750.0 ms (36000 samples at 48000 Hz) earlier: cut that much from its head."]
}
```

## Fields

"""
JSON_HEAD = """\
# JSON, command by command

{about}

`syncctl schema list` prints the JSON Schema of what `syncctl list --json` prints, and so for every command; two words
or an option go in quotes: `syncctl schema 'list --orphans'`. A command line that cannot be read at all (an unknown
option, a missing ID) is answered on standard error alone, with status 2.

"""


def sidecar() -> str:
    """docs/sidecar.md."""
    schema = json.loads(schema_text())
    parts = [NOTE.format("syncd/reports/sync_report.v1.schema.json"), SIDECAR_HEAD, schema["description"], "\n"]
    parts += [SIDECAR_NAMES, _fields(schema, "")]
    for name, one in schema["$defs"].items():
        parts.append(f"\n## {name}\n\n{one['description']}\n\n{_fields(one, '')}")
    return "".join(parts)


def commands() -> str:
    """docs/json.md."""
    kept = shapes()
    parts = [NOTE.format("syncd/cli/syncctl.v1.schema.json"), JSON_HEAD.format(about=kept["description"])]
    for name, one in kept["commands"].items():
        parts.append(f"\n## syncctl {name}\n\n{linked(one['description'])}\n" + _shown(one))
    parts.append("\n## What they share\n")
    for name, one in kept["$defs"].items():
        parts.append(f"\n### {name}\n\n{linked(one['description'])}\n" + _shown(one))
    return "".join(parts)


def _shown(schema: Schema) -> str:
    if "$ref" in schema:
        return f"\nIts fields: {_reference(schema)}.\n"
    return f"\n{_fields(schema, '')}" if "properties" in schema else ""


def _fields(schema: Schema, prefix: str) -> str:
    return table(("field", "type", "meaning"), list(_rows(schema, prefix)))


def _rows(schema: Schema, prefix: str) -> Iterator[tuple[str, ...]]:
    required = schema.get("required", ())
    for name, one in schema["properties"].items():
        path = f"{prefix}{name}"
        kind = type_of(one) + ("" if name in required or "required" not in schema else ", may be absent")
        yield f"`{path}`", kind, linked(one.get("description", ""))
        for inner, mark in _inner(one):
            yield from _rows(inner, f"{path}{mark}.")


def _inner(schema: Schema) -> Iterator[tuple[Schema, str]]:
    """Objects that have no name of their own."""
    for one in (schema, *schema.get("anyOf", ())):
        if "properties" in one:
            yield one, ""
        if "properties" in one.get("items", {}):
            yield one["items"], "[]"


def type_of(schema: Schema) -> str:
    """In words."""
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return " or ".join(type_of(one) for one in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join("null" if one is None else f"`{one}`" for one in schema["enum"])
    kinds = schema.get("type", "object")
    return " or ".join(_word(kind, schema) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _word(kind: str, schema: Schema) -> str:
    if kind == "array":
        items = schema.get("items", {})
        return "list" if "properties" in items else f"list of {type_of(items)}"
    if kind == "object" and isinstance(values := schema.get("additionalProperties"), dict):
        return f"object of {type_of(values)}"
    return {"string": "text", "integer": "whole number", "boolean": "true or false"}.get(kind, kind)


def _reference(schema: Schema) -> str:
    name = schema["$ref"].rpartition("/")[2]
    return f"[{name}](#{name})"
