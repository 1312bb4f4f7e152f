"""What a file's name says: which side of a pair it is, of which title, in which language. Pure.

The conventions, tried in this order on the path below the watched folder:

- the user's own patterns: regular expressions with the groups title, role and lang;
- ``TITLE_master[_LANG].EXT`` and ``TITLE_dub[_LANG[_anything]].EXT`` in one folder: the rightmost role token decides;
- ``TITLE/master.EXT`` and ``TITLE/dub_LANG.EXT``: a name that begins with its role takes the folder's name as title;
- ``master/TITLE.EXT`` and ``dub/LANG/TITLE.EXT`` beside each other.

Before EXT a side that comes as one mono file a channel has that channel: ``TITLE_master.L.wav`` (`stems.StemBook`).

Tokens are separated by ``_ .`` or space, and ``-`` too except inside a language tag. Names are compared without regard
to case, to which separator was used, and to how Unicode composed its accents (macOS writes them apart).
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from syncd.domain import Role

STEMS_MARK: Final = "\0"
"""After it, in the name of a side of stems, comes what tells it from a file: no path holds this character."""

_ROLE_TOKEN: Final = re.compile(r"(?:^|(?<=[_. -]))(?:(?P<master>master)|dub)(?=$|[_. -])", re.IGNORECASE)
_SEPARATORS: Final = "_. -"
_SEPARATOR_RUN: Final = re.compile(r"[_. -]+")
_TOKEN: Final = re.compile(r"[^_. ]+")
_TAG_START: Final = re.compile(
    r"""[A-Za-z]{2,3}                                # language
        (?:-[A-Za-z]{4})?                            # script
        (?:-(?:[A-Za-z]{2}|[0-9]{3}))?               # region
        (?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*  # variants
        (?=-|\Z)""",
    re.VERBOSE | re.ASCII,
)
"""The shape of a BCP 47 tag, at the beginning of a token."""

_MASTER_WORDS: Final = frozenset({"master", "original", "orig", "ov", "vo", "source", "reference", "ref", "m"})
_DUB_WORDS: Final = frozenset({"dub", "dubbed", "dubbing", "vf", "d"})
"""What the role group of a user's pattern may have matched."""


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What a path says of its file."""

    group: str
    """Equal for all that belong together; opaque."""
    title: str
    """For people: printable, as it was written."""
    role: Role
    language: str | None
    """BCP 47 tag as it was written; None if the name has none."""


class NameRules:
    """Reads paths relative to a watched folder (``/`` between the parts, undecodable bytes as surrogates)."""

    def __init__(self, *, patterns: Sequence[str] = (), root_title: str = "") -> None:
        """`root_title`: the title of ``master.EXT`` that lies in the watched folder itself."""
        self._patterns = tuple(re.compile(pattern) for pattern in patterns)
        self._root_title = root_title

    def parse(self, path: str) -> ParsedName | None:
        """None: the name says neither master nor dub. A side of stems is read as its name without the channel."""
        path = path.partition(STEMS_MARK)[0]
        for pattern in self._patterns:
            if (match := pattern.search(path)) and (parsed := _from_pattern(path, match)):
                return parsed
        folder, _, name = path.rpartition("/")
        stem = name.rpartition(".")[0] or name
        return self._from_token(folder, stem) or _from_folders(folder, stem)

    def _from_token(self, folder: str, stem: str) -> ParsedName | None:
        found = list(_ROLE_TOKEN.finditer(stem))
        if not found:
            return None
        token = found[-1]
        role = Role.MASTER if token["master"] else Role.DUB
        base, folder_language = _without_role_folder(folder, role)
        language = _language_after(stem[token.end() :]) or folder_language
        title = stem[: token.start()].strip(_SEPARATORS)
        if title:
            return _parsed(base, title, role, language)
        if base:
            above, _, title = base.rpartition("/")
            return _parsed(above, title, role, language)
        return ParsedName("/", _printable(self._root_title), role, language)


def _from_pattern(path: str, match: re.Match[str]) -> ParsedName | None:
    groups = match.groupdict()
    title, word = groups.get("title"), (groups.get("role") or "").casefold()
    role = Role.MASTER if word in _MASTER_WORDS else Role.DUB if word in _DUB_WORDS else None
    if not title or role is None:
        return None
    # What the pattern consumed of the folders is its own business; those before it hold the pair together.
    base = path[: match.start()].rpartition("/")[0]
    return _parsed(base, title, role, _whole_tag(groups.get("lang") or ""))


def _from_folders(folder: str, stem: str) -> ParsedName | None:
    for role in Role:
        base, language = _without_role_folder(folder, role)
        if base != folder:
            return _parsed(base, stem, role, language)
    return None


def _without_role_folder(folder: str, role: Role) -> tuple[str, str | None]:
    """The folder in which ``master/`` or ``dub/LANG/`` lies, and LANG; the folder itself if it is none of these."""
    above, _, last = folder.rpartition("/")
    if last.casefold() == role:
        return above, None
    above, _, middle = above.rpartition("/")
    if role is Role.DUB and middle.casefold() == role:
        return above, _whole_tag(last)
    return folder, None


def _parsed(base: str, title: str, role: Role, language: str | None) -> ParsedName:
    key = _SEPARATOR_RUN.sub("_", unicodedata.normalize("NFC", title).casefold()).strip("_") or title
    return ParsedName(f"{base}/{key}", _printable(title), role, language)


def _language_after(rest: str) -> str | None:
    """The tag in the first token after the role, if it begins with one (``fr``, ``pt-BR``, ``fr`` of ``fr-v2``)."""
    token = _TOKEN.match(rest.lstrip(_SEPARATORS))
    tag = _TAG_START.match(token[0]) if token else None
    return tag[0] if tag else None


def _whole_tag(text: str) -> str | None:
    tag = _TAG_START.fullmatch(text)
    return tag[0] if tag else None


def _printable(text: str) -> str:
    return os.fsencode(text).decode("utf-8", "replace")
