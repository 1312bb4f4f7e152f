"""docs/configuration.md and config/syncd.toml, both from syncd/config.py."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from syncd import config
from tests.docs.wording import NOTE, attribute_docs, linked, table

STARTED_WITH = {"cache.path"}
"""Keys without a default that a new host has all the same."""
WIDTH = 120

HEAD = """\
# Configuration reference

One TOML file: `--config FILE`, else what `$SYNCD_CONFIG` names, else `/etc/syncd/syncd.toml`. Only what differs from
the defaults needs to stand in it; an empty file is valid, and watches nothing. `syncd --check --config FILE` tries it
and names every fault at once with its key; a key that syncd does not know is a fault. `systemctl reload syncd` takes a
change over, all or nothing; only `ledger.path` and `cache.path` need a restart. What is in force for jobs that wait
already: their profile's settings are those of the moment when they were enqueued; all else is that of now.

```sh
syncd --check --config /etc/syncd/syncd.toml && systemctl reload syncd
```

Times are in seconds unless the key says otherwise. Paths are absolute. The smallest file that does something:

```toml
[[watch]]
path = "/srv/drop"
```
"""
AFTER = {
    "watch": """
As many sections `[[watch]]` as there are folders. The service's user needs rights there, and `syncctl install-service`,
called again, lets the unit write there ([installing](installing.md#watched-folders)). A naming rule of your own, for
`Film-OV.wav` and `Film-VF-fr.wav`:

```toml
[[watch]]
path = "/srv/drop"
patterns = ['(?P<title>[^/]+)-(?P<role>OV|VF)(-(?P<lang>[A-Za-z-]+))?\\.[^.]+$']
```
""",
    "profiles": """
As many as you like beside `default`, which is always there; what a profile leaves out is as in this table. A folder
names one (`watch.profile`), as do `syncctl submit --profile` and `syncctl analyze --profile`.

```toml
[profiles.strict]
methods = ["correlation", "mfcc", "onset", "spectral", "chunked", "speech", "chroma"]
ai = "auto"
tolerance = {early_ms = 20, late_ms = 20}
confidence_threshold = 0.95
```
""",
}
TOML_HEAD = """\
# syncd's configuration. Only what differs from the defaults needs to stand here. 'syncd --check --config FILE' tries
# it, 'systemctl reload syncd' takes a change over, all or nothing. The reference is docs/configuration.md.
"""


def page() -> str:
    parts = [NOTE.format("syncd/config.py"), HEAD]
    for title, name, model, schema, defs in sections():
        about = (model.__doc__ or "").partition(": ")[2].splitlines()[0]
        parts.append(f"\n## {title}\n\n{about[0].upper()}{about[1:]}\n\n{_rows(name, model, schema, defs)}")
        parts.append(AFTER.get(name, ""))
    return "".join(parts)


def keys() -> list[str]:
    """All there are, as `section.key`."""
    return [f"{name}.{key}" for _, name, _, schema, _ in sections() for key in schema["properties"]] + [
        f"profiles.tolerance.{key}" for key in config.CustomTolerance.model_fields
    ]


def sections() -> Iterator[tuple[str, str, type, dict[str, Any], dict[str, Any]]]:
    """Title, name, model, JSON Schema and what that refers to."""
    whole = config.Config.model_json_schema()
    defs = whole["$defs"]
    for name, prop in whole["properties"].items():
        reference = prop.get("$ref") or prop.get("items", prop.get("additionalProperties", {}))["$ref"]
        model = reference.rpartition("/")[2]
        title = {"array": f"[[{name}]]", "object": f"[{name}.NAME]"}.get(prop.get("type", ""), f"[{name}]")
        yield title, name, getattr(config, model), defs[model], defs


def _rows(name: str, model: type, schema: dict[str, Any], defs: dict[str, Any]) -> str:
    docs = attribute_docs(model)
    rows = []
    for key, prop in schema["properties"].items():
        default = "needed" if key in schema.get("required", ()) else "unset"
        if "default" in prop and prop["default"] is not None:
            default = f"`{to_toml(prop['default'])}`"
        rows.append((f"`{name}.{key}`", _kind(prop, defs), default, linked(docs[key])))
    return table(("key", "type", "default", "meaning"), rows)


def _kind(prop: dict[str, Any], defs: dict[str, Any]) -> str:
    if "$ref" in prop:
        model = prop["$ref"].rpartition("/")[2]
        if "properties" in defs[model]:
            return _table_kind(defs[model])
        return _kind(defs[model], defs)
    if "anyOf" in prop:
        return " or ".join(_kind(one, defs) for one in prop["anyOf"] if one.get("type") != "null")
    if choices := prop.get("enum", [prop["const"]] if "const" in prop else None):
        return ", ".join(f"`{choice}`" for choice in choices)
    match prop["type"]:
        case "boolean":
            return "`true` or `false`"
        case "array":
            return "list of " + _kind(prop["items"], defs).replace("number", "numbers").replace("text", "texts")
        case "string":
            return "path" if prop.get("format") == "path" else "text"
        case kind:
            return " ".join(filter(None, ("whole number" if kind == "integer" else "number", _bounds(prop))))


def _table_kind(schema: dict[str, Any]) -> str:
    return "`{" + ", ".join(f"{key} = …" for key in schema["properties"]) + "}` (in ms, above 0)"


def _bounds(prop: dict[str, Any]) -> str:
    least, most = prop.get("minimum"), prop.get("maximum")
    if "exclusiveMinimum" in prop:
        return f"above {prop['exclusiveMinimum']:g}" + (f", {most:g} at most" if most is not None else "")
    if most is not None:
        return f"from {least:g} to {most}" if isinstance(most, int) else f"from {least:g} to {most:g}"
    return f"from {least:g} on" if least is not None else ""


def to_toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(to_toml, value))}]"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 100_000:
        return f"{value:_}"
    return json.dumps(value)


def starting_file() -> str:
    """What a new host begins with: every key, with its meaning above it."""
    parts = [TOML_HEAD]
    for title, name, model, schema, _ in sections():
        docs = attribute_docs(model)
        about = (model.__doc__ or "").partition(": ")[2].splitlines()[0]
        parts.append(f"\n{title.replace('NAME', 'default')}  # {about}\n".replace(".\n", "\n"))
        for key, prop in schema["properties"].items():
            parts.append(_comment(docs[key]))
            example = next((one["examples"][0] for one in (prop, *prop.get("anyOf", ())) if "examples" in one), None)
            needed = key in schema.get("required", ()) or f"{name}.{key}" in STARTED_WITH
            is_unset = not needed and prop.get("default") in (None, "", []) and example is not None
            value = example if needed or is_unset else prop["default"]
            parts.append(f"{'# ' if is_unset else ''}{key} = {to_toml(value)}\n")
    return "".join(parts)


def _comment(text: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(text.replace("`", ""), WIDTH - 2, break_on_hyphens=False))
