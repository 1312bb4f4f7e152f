"""What the files beside a dub are called. Names are bytes: nothing in them is lost or changed but what is cut."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

SIDECAR_SUFFIX = ".sync.json"
PAGE_SUFFIX = ".sync.html"
MAX_NAME_BYTES = 255
"""What Linux file systems allow."""


def digest8(data: bytes) -> str:
    """Eight hex digits that tell names apart; no secret."""
    return hashlib.sha256(data).hexdigest()[:8]


def fitted_name(stem: bytes, suffix: str) -> str:
    """Stem and suffix as one file name; what is too long is cut at a character and gets 8 hash digits."""
    tail = os.fsencode(suffix)
    if len(stem) + len(tail) <= MAX_NAME_BYTES:
        return os.fsdecode(stem + tail)
    tail = b"." + digest8(stem).encode() + tail
    return os.fsdecode(_cut_at_character(stem, MAX_NAME_BYTES - len(tail)) + tail)


def sidecar_names(dub: Path, master: Path, profile: str, *, claim: bytes, folder_differs: bool) -> tuple[str, ...]:
    """The names a report may take, best first.

    The plain one; for a second master or profile the one that adds the master's stem and the profile; and if even that
    is taken, the one with a hash over `claim` (master, profile and tracks). `folder_differs`: the report does not lie
    beside its dub, so 8 hash digits of the dub's folder keep equal names apart.
    """
    # A profile may be called anything; a slash would lead into another folder.
    added = os.fsencode(f".{master.stem}.{profile}".replace("/", "-").replace("\0", "-"))
    folder = b"." + digest8(os.fsencode(dub.parent.absolute())).encode() if folder_differs else b""
    stem = os.fsencode(dub.name)
    stems = (stem + folder, stem + added + folder, stem + added + folder + b"." + digest8(claim).encode())
    return tuple(fitted_name(each, SIDECAR_SUFFIX) for each in stems)


def page_path(sidecar: Path) -> Path:
    """The HTML page that belongs to a sidecar."""
    return sidecar.with_name(sidecar.name.removesuffix(SIDECAR_SUFFIX) + PAGE_SUFFIX)


def corrected_path(dub: Path, extension: str) -> Path:
    """``<stem>.synced.<extension>`` beside the dub."""
    return dub.with_name(fitted_name(os.fsencode(dub.stem), f".synced.{extension}"))


def _cut_at_character(name: bytes, limit: int) -> bytes:
    """At most `limit` bytes of the name, not ending inside a UTF-8 character."""
    end = limit
    while end > limit - 4 and name[end] & 0xC0 == 0x80:  # a continuation byte: the character began before it
        end -= 1
    return name[: end if name[end] & 0xC0 != 0x80 else limit]
