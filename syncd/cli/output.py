"""What commands print: tables for people, JSON for programs; no name in it can harm a terminal."""

from __future__ import annotations

import base64
import codecs
import io
import json
import math
import os
import sys
from dataclasses import fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec
from rich.console import Console, Group, RenderableType
from rich.text import Text

from syncd.clock import utc_to_text

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

PIPED_WIDTH: Final = 400
SPELT_OUT: Final = "backslashreplace"
"""What becomes of characters that an encoding lacks."""


class OutputFault(OSError):
    """Standard output does not take what is written (a full disk): no fault of what was asked."""


class _Output(io.FileIO):
    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # Whoever read it has seen enough.
        except OSError as error:
            raise OutputFault(error.errno, error.strerror) from error


def tell_output_faults_apart() -> None:
    """From now on standard output raises `OutputFault`; where it is closed, what is printed goes nowhere."""
    old = sys.__stdout__
    if old is None:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
    if old is None or old is not sys.stdout:
        return
    raw = _Output(old.fileno(), "w", closefd=False)
    # A letter that the locale does not know must not cost the whole list.
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), old.encoding, SPELT_OUT, line_buffering=old.isatty())


def give_output_up() -> None:
    """What was not taken is thrown away, or else Python tries once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def console() -> Console:
    """Standard output; plain where it is no terminal, and then so wide that nothing is cut that is looked for."""
    is_terminal = sys.stdout.isatty()
    return Console(highlight=False, soft_wrap=not is_terminal, width=None if is_terminal else PIPED_WIDTH)


def print_whole(*parts: RenderableType) -> None:
    """Tables and text fit the terminal; a command in them is never cut, for it is there to be copied."""
    console().print(Group(*parts), crop=False)


def confidence_text(confidence: float) -> str:
    """Two digits, never rounded up: nothing is certain."""
    return f"{math.floor(100.0 * confidence) / 100.0:.2f}"


def printable(value: object) -> str:
    """Any text as one printable line: control characters and bytes that are not UTF-8 are written out."""
    text = _without_surrogates(os.fspath(value) if isinstance(value, Path) else str(value))
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _without_surrogates(text: str) -> str:
    """The bytes that they stand for as ``\\xNN``, as JSON has them."""
    try:
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # Others stand for no byte.
        return text.encode("utf-8", "backslashreplace").decode("utf-8")


def plain(value: object, style: str = "") -> Text:
    """Text in which nothing is markup."""
    return Text(printable(value), style=style)


def print_json(value: object) -> None:
    """One JSON document, on one line; in ASCII where the locale is not UTF-8's."""
    text = msgspec.json.encode(to_builtins(value)).decode()
    if codecs.lookup(sys.stdout.encoding or "ascii").name != "utf-8":
        text = json.dumps(json.loads(text))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def to_builtins(value: object) -> object:
    """Records as JSON's own types; paths as readable text, with their bytes beside them where that loses any."""
    match value:
        case Path():
            return os.fsencode(value).decode("utf-8", "backslashreplace")
        case datetime():
            return utc_to_text(value)
        case dict():
            return {str(key): to_builtins(item) for key, item in value.items()}
        case list() | tuple() | frozenset():
            return [to_builtins(item) for item in value]
        case msgspec.Struct():
            return to_builtins(msgspec.structs.asdict(value))
        case _ if is_dataclass(value) and not isinstance(value, type):
            return _record_to_builtins({f.name: getattr(value, f.name) for f in fields(value)})
        case str():
            return _without_surrogates(value)
        case _:
            return value


def _record_to_builtins(values: dict[str, object]) -> dict[str, object]:
    record = {name: to_builtins(value) for name, value in values.items()}
    for name, value in values.items():
        if isinstance(value, Path) and not _is_utf8(value):
            record[f"{name}_base64"] = base64.b64encode(os.fsencode(value)).decode("ascii")
    return record


def _is_utf8(path: Path) -> bool:
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
