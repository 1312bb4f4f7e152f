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
    "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh", "afr": "af", "alb": "sq", "arm": "hy", "aze": "az", "bel": "be",
    "ben": "bn", "bos": "bs", "bur": "my", "cym": "cy", "geo": "ka", "guj": "gu", "hye": "hy", "kan": "kn", "kat": "ka",
    "kaz": "kk", "khm": "km", "lao": "lo", "ltz": "lb", "mac": "mk", "mal": "ml", "mar": "mr", "mkd": "mk", "mlt": "mt",
    "mon": "mn", "mya": "my", "nep": "ne", "nno": "nn", "pan": "pa", "sin": "si", "sqi": "sq", "swa": "sw", "tgl": "tl",
    "urd": "ur", "uzb": "uz", "wel": "cy", "xho": "xh", "zul": "zu",
}  # fmt: skip
"""ISO 639-2 (both its codes where there are two) to 639-1, for the languages that dubs are made in."""

_SAME_SPEECH: Final = {"nb": "no", "nn": "no", "cmn": "zh", "arb": "ar", "zsm": "ms", "iw": "he", "in": "id"}
"""Members that go by their macrolanguage's name in most files, and names withdrawn long ago."""


def shown_name(path: Path) -> str:
    """The file's name on one line: quotes around it, control characters and foreign bytes escaped."""
    readable = os.fsencode(path.name).decode("utf-8", "backslashreplace")
    escaped = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in readable)
    return f"«{escaped}»"


def spoken_language(tag: str | None) -> str | None:
    """The language alone, two letters where it has them: ``fr`` for ``fra``, ``fre`` and ``fr-CA``."""
    if tag is None:
        return None
    primary = _subtags(tag)[0]
    two_letters = _THREE_LETTERS.get(primary, primary)
    return _SAME_SPEECH.get(two_letters, two_letters)


def language_fit(tag: str | None, wanted: str | None) -> int:
    """How well a track's language answers a wanted one, both BCP 47 or ISO 639-2 tags: 0 not at all, 3 exactly.

    >>> [language_fit(tag, "pt-BR") for tag in ("pt-BR", "por", "pt-PT", "es")]
    [3, 2, 1, 0]
    """
    if tag is None or wanted is None or spoken_language(tag) != spoken_language(wanted):
        return 0
    ours, theirs = _subtags(tag)[1:], _subtags(wanted)[1:]
    if ours == theirs:
        return 3
    return 1 if ours and theirs else 2


def _subtags(tag: str) -> list[str]:
    return tag.replace("_", "-").lower().split("-")
