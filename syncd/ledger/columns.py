"""Column types of the ledger: what domain values look like inside SQLite."""

from __future__ import annotations

import json
import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import Integer, LargeBinary, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from syncd.clock import text_to_utc, utc_to_text

T = TypeVar("T")

_TWO_TO_63: Final = 1 << 63
_TWO_TO_64: Final = 1 << 64


def readable(text: str) -> str:
    """The text as SQLite can keep it: bytes of a file name that are not UTF-8 become ``\\udcXX`` in letters."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def readable_path(path: Path) -> str:
    """The path for people; `os.fsencode` of it, in the column beside, is the one that counts."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def to_json(value: object) -> str:
    """Strict JSON in ASCII; raises `ValueError` on NaN and infinity."""
    return json.dumps(msgspec.to_builtins(value), allow_nan=False, separators=(",", ":"))


def from_json(text: str, type_: type[T]) -> T:
    """The inverse of `to_json`."""
    return msgspec.convert(json.loads(text), type_)


class ReadableText(TypeDecorator[str]):
    """Text that may quote a file name."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's form
        """Make it storable."""
        return None if value is None else readable(value)


class Moment(TypeDecorator[datetime]):
    """An aware moment, as text that sorts in the order of time."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - as above
        """Write it as text."""
        return None if value is None else utc_to_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - as above
        """Read it back."""
        return None if value is None else text_to_utc(value)


class PathBytes(TypeDecorator[Path]):
    """A path, byte for byte."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Path | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002 - as above
        """Write its bytes."""
        return None if value is None else os.fsencode(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Path | None:  # noqa: ARG002 - as above
        """Read it back."""
        return None if value is None else Path(os.fsdecode(value))


class Unsigned64(TypeDecorator[int]):
    """Inode and device numbers use all 64 bits on some file systems; SQLite's integers are signed."""

    impl = Integer
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002 - as above
        """Fold the upper half into the negative numbers."""
        return value - _TWO_TO_64 if value is not None and value >= _TWO_TO_63 else value

    def process_result_value(self, value: Any, dialect: Dialect) -> int | None:  # noqa: ARG002 - as above
        """Read it back."""
        return None if value is None else int(value) % _TWO_TO_64
