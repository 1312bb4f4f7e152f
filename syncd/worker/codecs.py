"""Which of the codecs that dubs come in this build of FFmpeg does not decode: ``python -m syncd.worker.codecs``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from av.codec import codecs_available

DECODERS: Final = {
    "PCM": "pcm_s24le",
    "FLAC": "flac",
    "ALAC": "alac",
    "AAC": "aac",
    "MP3": "mp3float",
    "Opus": "opus",
    "Vorbis": "vorbis",
    "AC-3": "ac3",
    "E-AC-3": "eac3",
    "DTS": "dca",
    "TrueHD": "truehd",
}
"""As people say it and as FFmpeg does."""


def lacking(decoders: Mapping[str, str] = DECODERS) -> list[str]:
    """By people's names."""
    return [name for name, decoder in decoders.items() if decoder not in codecs_available]


if __name__ == "__main__":
    sys.stdout.write("\n".join(lacking()))
