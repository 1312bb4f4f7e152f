"""Which names in a drop folder count: media, not somebody's scratch files, not syncd's own reports."""

from __future__ import annotations

from typing import Final

MEDIA_EXTENSIONS: Final = frozenset(
    "wav wave bwf rf64 w64 flac mp3 mp2 mpa m4a m4b aac "  # noqa: SIM905 (each word on its own line reads worse)
    "adts ac3 eac3 ec3 ac4 opus ogg oga spx wma aif aiff aifc caf dts dtshd thd mlp truehd mka amr au wv ape tta tak "
    "mov qt mp4 m4v mkv webm mxf ts m2ts mts m2t mpg mpeg vob avi wmv asf ogv 3gp 3g2 flv dv gxf lxf".split()
)
"""What a name must end in (compared in lower case) to be looked at."""

_SCRATCH_ENDINGS: Final = ("~", ".part", ".partial", ".filepart", ".tmp", ".crdownload")
"""What editors, browsers and copy programs append while they work."""

_FOREIGN: Final = frozenset(
    {"thumbs.db", "@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "system volume information"}
)
"""What Windows and storage boxes put into every shared folder."""


def is_ignored(name: str) -> bool:
    """Whether a file or folder of this name is none of ours: hidden, scratch, or the file server's own."""
    lower = name.lower()
    return name.startswith(".") or lower.endswith(_SCRATCH_ENDINGS) or lower in _FOREIGN


def is_media(name: str) -> bool:
    """Whether a file of this name is to be settled."""
    stem, dot, extension = name.rpartition(".")
    return bool(stem and dot) and extension.lower() in MEDIA_EXTENSIONS and not is_ignored(name)
