"""The faults of a configuration in the words of whoever wrote it, each under its dotted key."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

_BRANCHES: Final = frozenset({"CustomTolerance", "int", "str", "constrained-int"})
_MUST_BE: Final = "must be "
_KINDS: Final = {
    "missing": "is missing",
    "model_type": "must be a table",
    "dict_type": "must be a table",
    "tuple_type": "must be a list, in square brackets",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text, in quotes",
    "path_type": "must be a path, in quotes",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "too_short": "must have at least {min_length}",
    "value_error": "{error}",
}
"""By the library's name of the fault, with what it says of it."""


def faults_of(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each key at fault; `model`: the whole file, for the keys that there are."""
    by_key: dict[str, list[ErrorDetails]] = {}
    for item in error.errors():
        by_key.setdefault(_key(item), []).append(item)
    return [f"{key}: {_told(items, model)}" for key, items in by_key.items() if not _is_told_below(key, by_key)]


def _key(item: ErrorDetails) -> str:
    # Of a choice the library names the branch that it tried; to a person that is no key.
    return ".".join(str(part) for part in item["loc"] if not (part in _BRANCHES or "[" in str(part)))


def _is_told_below(key: str, keys: dict[str, list[ErrorDetails]]) -> bool:
    """Where something inside is at fault, that is what the whole is at fault for."""
    return any(other.startswith(f"{key}.") for other in keys)


def _told(items: list[ErrorDetails], model: type[BaseModel]) -> str:
    """All branches of a choice as one sentence."""
    words = list(dict.fromkeys(_words(item, model) for item in items))
    sentence = words[0] + "".join(f" or {other.removeprefix(_MUST_BE)}" for other in words[1:])
    given = items[0]["input"]
    if not (isinstance(given, str | int | float) and sentence.startswith(_MUST_BE)):
        return sentence
    return f"{sentence}, not {given if isinstance(given, float) else json.dumps(given, ensure_ascii=False)}"


def _words(item: ErrorDetails, model: type[BaseModel]) -> str:
    kind, location = item["type"], item["loc"]
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(location[-1]), _keys_beside(location, model), n=1)
        return f"unknown key; did you mean {near[0]}?" if near else "unknown key"
    if kind == "tuple_type" and isinstance(item["input"], dict):
        return f"must be written [[{location[-1]}]], for there may be several"
    if kind in _KINDS:
        return _KINDS[kind].format(**item.get("ctx", {}))
    return f"{item['msg'][0].lower()}{item['msg'][1:]}"


def _keys_beside(location: tuple[int | str, ...], model: type[BaseModel]) -> list[str]:
    """What the section that holds this key may have."""
    sections = [model]
    for part in location[:-1]:
        fields = [section.model_fields[part] for section in sections if part in section.model_fields]
        sections = [inner for field in fields for inner in _sections_in(field.annotation)] or sections
    return [key for section in sections for key in section.model_fields]


def _sections_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _sections_in(part)
