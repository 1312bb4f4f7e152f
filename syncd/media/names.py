"""File names as people read them, and languages as containers write them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_THREE_LETTERS: Final = {
    "ara": "ar", "bul": "bg", "cat": "ca", "ces": "cs", "chi": "zh", "cze": "cs", "dan": "da", "deu": "de", "dut": "nl",
    "ell": "el", "eng": "en", "est": "et", "eus": "eu", "baq": "eu", "fas": "fa", "per": "fa", "fin": "fi", "fra": "fr",
    "fre": "fr", "ger": "de", "gle": "ga", "glg": "gl", "gre": "el", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu",
    "ice": "is", "ind": "id", "isl": "is", "ita": "it", "jpn": "ja", "kor": "ko", "lav": "lv", "lit": "lt", "may": "ms",
    "msa": "ms", "nld": "nl", "nob": "nb", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru",
    "slk": "sk", "slo": "sk", "slv": "sl", "spa": "es", "srp": "sr", "swe": "sv", "tam": "ta", "tel": "te", "tha": "th",
    "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh",
}  # fmt: skip
"""ISO 639-2 (both its codes where there are two) to 639-1, for the languages that dubs are made in."""


def shown_name(path: Path) -> str:
    """The file's name on one line: quotes around it, control characters and foreign bytes escaped."""
    readable = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in readable)
    return f"«{escaped}»"


def spoken_language(tag: str | None) -> str | None:
    """The language alone, two letters where it has them: ``fr`` for ``fra``, ``fre`` and ``fr-CA``."""
    if tag is None:
        return None
    primary = tag.replace("_", "-").split("-", 1)[0].lower()
    return _THREE_LETTERS.get(primary, primary)
