"""Values as JSON can hold them: rounded to what carries meaning, finite, and text that UTF-8 can encode."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

SECONDS_DIGITS = 6
MS_DIGITS = 3
SHARE_DIGITS = 4
"""Of confidences, coverage and agreement."""


def rounded(value: float | None, digits: int) -> float | None:
    """The value to so many decimals, without a negative zero; None stays None, and what is not finite becomes None."""
    if value is None or not math.isfinite(value):
        return None
    return round(float(value), digits) + 0.0


def seconds(value: float | None) -> float | None:
    """Seconds to the microsecond."""
    return rounded(value, SECONDS_DIGITS)


def milliseconds(value: float | None) -> float | None:
    """Milliseconds to the microsecond."""
    return rounded(value, MS_DIGITS)


def share(value: float | None) -> float | None:
    """A share or probability to four decimals."""
    return rounded(value, SHARE_DIGITS)


def text(value: str) -> str:
    r"""The text with every byte that is not UTF-8 spelled out.

    >>> text("caf\udce9.wav")
    'caf\\xe9.wav'
    """
    try:
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # a surrogate that stands for no byte: not from a file's name
        return value.encode("utf-8", "backslashreplace").decode("utf-8")


def path_text(path: os.PathLike[str]) -> str:
    """The path for people; see `text`."""
    return text(os.fspath(path))


def is_utf8(path: os.PathLike[str]) -> bool:
    """Whether the path's bytes are UTF-8, so that `path_text` has lost nothing."""
    try:
        os.fsencode(path).decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def one_line(value: str) -> str:
    """The text on a single line, without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text(value)).split())


def json_ready(value: Any) -> Any:
    """The value, all the way down, with lists for tuples, null for what is not finite, and text UTF-8 can encode."""
    if isinstance(value, str):
        return text(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {text(str(key)): json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(item) for item in value]
    return value
