"""The ffmpeg command that brings a dub to where it belongs: moved, at the master's speed, and with its edits undone.

It writes the chosen audio track alone, beside the dub, in the dub's own codec where ffmpeg writes that well, and never
over a file that exists. Time is counted from the container's presentation start and cut in the decoded samples, so the
shift is exact to the sample. Head material is cut or silence put in front; the tail is left as it is, neither trimmed
nor padded to the master's length: nothing of the dub is thrown away that was not asked for. A speed is undone before
the shift, which is counted on the master's clock; edits are undone piece by piece (`conform`).
"""

from __future__ import annotations

import base64
import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncd.domain import MeasuredSide, Result, Verdict
from syncd.reports.conform import MOST_PIECES, conform_graph, conform_pieces
from syncd.reports.names import corrected_path
from syncd.reports.plain import is_utf8, text
from syncd.reports.speed import shift_filters, speed_filters
from syncd.units import seconds_to_samples


@dataclass(frozen=True, slots=True)
class _Family:
    """How ffmpeg stores a codec well: a container that signals every delay, a bit rate that spares a second coding."""

    extension: str
    encoder: str
    max_channels: int
    options: tuple[str, ...] = ()
    kbps_per_channel: int = 0
    """0: the options say it, or there is nothing to say."""
    max_kbps: int = 0


_FAMILIES = {
    "aac": _Family("m4a", "aac", 8, kbps_per_channel=128, max_kbps=768),
    "alac": _Family("m4a", "alac", 8),
    # Raw and in Matroska they gain 256 samples that nothing signals.
    "ac3": _Family("mp4", "ac3", 6, kbps_per_channel=160, max_kbps=640),
    "eac3": _Family("mp4", "eac3", 6, kbps_per_channel=160, max_kbps=768),
    "mp3": _Family("mp3", "libmp3lame", 2, ("-q:a", "0")),
    "opus": _Family("opus", "libopus", 2, kbps_per_channel=128, max_kbps=256),
    "vorbis": _Family("ogg", "libvorbis", 2, ("-q:a", "8")),
    "flac": _Family("flac", "flac", 8),
}
"""By the codec's name; any other becomes FLAC, so that nothing is lost a second time."""

_PCM_IN_WAV = {
    "pcm_u8": "pcm_u8",
    "pcm_s8": "pcm_u8",
    "pcm_s16": "pcm_s16le",
    "pcm_u16": "pcm_s16le",
    "pcm_s24": "pcm_s24le",
    "pcm_u24": "pcm_s24le",
    "pcm_bluray": "pcm_s24le",
    "pcm_dvd": "pcm_s24le",
    "pcm_s32": "pcm_s32le",
    "pcm_u32": "pcm_s32le",
    "pcm_s64": "pcm_s64le",
    "pcm_f32": "pcm_f32le",
    "pcm_f64": "pcm_f64le",
    "pcm_alaw": "pcm_alaw",
    "pcm_mulaw": "pcm_mulaw",
}
"""WAV's encoder by what the codec's name begins with: bit depth kept, byte order WAV's."""


_MPEG_STREAMS = frozenset({"mpegts", "mpeg"})


def correction(result: Result, dub: Path) -> dict[str, Any] | None:
    """``{"argv", "shell", "output"}`` for the sidecar; None where nothing needs a command or none mends it.

    `argv` is the command; names that are not UTF-8 are only readable in it, and then `argv_base64` holds its bytes.
    `shell` is the same as a line for bash, with every byte of the names.
    """
    filtering = _filtering(result)
    if filtering is None:
        return None
    extension, encoding = _encoding(result.dub)
    output = corrected_path(dub, extension)
    # "file:" makes any name safe: one that begins with a hyphen, or holds a colon.
    argv = [
        *("ffmpeg", "-hide_banner", "-nostdin", "-n", *_clock_options(result.dub), "-i", f"file:{dub}"),
        *filtering,
        *("-map_chapters", "-1", *encoding, f"file:{output}", *_clock_output(result.dub)),
    ]
    told: dict[str, Any] = {
        "argv": [text(word) for word in argv],
        "shell": shell_line(argv),
        "output": text(str(output)),
    }
    if not is_utf8(dub):
        told["argv_base64"] = [base64.b64encode(os.fsencode(word)).decode("ascii") for word in argv]
    return told


def _filtering(result: Result) -> tuple[str, ...] | None:
    """What is mapped and through which filters; None where there is nothing to do, or too much."""
    dub = result.dub
    filters = _time_filters(dub.sample_rate_hz)
    match result.verdict:
        case Verdict.EDITED:
            pieces = conform_pieces(result)
            if not 2 <= len(pieces) <= MOST_PIECES:
                return None
            filters += speed_filters(result.rate, dub)
            graph = conform_graph(pieces, f"0:a:{dub.track}", filters, dub.sample_rate_hz)
            return "-filter_complex", graph, "-map", "[conformed]"
        case Verdict.DRIFT if speed := speed_filters(result.rate, dub):
            filters += (*speed, *_shift(result))
        case Verdict.OFFSET if shift := _shift(result):
            # A speed too slight for a drift is left alone: its error may be larger than itself.
            filters += shift
        case _:
            return None
    return "-map", f"0:a:{dub.track}", "-af", ",".join(filters)


def _shift(result: Result) -> tuple[str, ...]:
    if result.consensus is None:
        return ()
    return shift_filters(seconds_to_samples(result.consensus.offset_s, result.dub.sample_rate_hz))


def shell_line(argv: list[str]) -> str:
    """The command as one line for bash, in printable characters whatever the names hold."""
    return " ".join(_bash_word(word) for word in argv)


def _bash_word(word: str) -> str:
    if word.isprintable() and is_utf8(Path(word)):
        return shlex.quote(word)
    return "$'" + "".join(_ansi_c(byte) for byte in os.fsencode(word)) + "'"


def _ansi_c(byte: int) -> str:
    plain = 0x20 <= byte < 0x7F and byte not in b"'\\"
    # Three octal digits always: hex escapes would swallow a hex digit that follows.
    return chr(byte) if plain else f"\\{byte:03o}"


def _clock_options(dub: MeasuredSide) -> tuple[str, ...]:
    """MP4 and its kin count from zero: ffmpeg alone would lose a silence that only an edit list tells of."""
    return ("-copyts",) if "mp4" in dub.container.split(",") else ()


def _clock_output(dub: MeasuredSide) -> tuple[str, ...]:
    """In MPEG streams ffmpeg counts from the start of what is used, so a second output, kept nowhere, uses all."""
    if dub.container not in _MPEG_STREAMS:
        return ()
    return ("-map", "0:v?", "-map", "0:a", "-c", "copy", "-f", "null", "-")


def _time_filters(sample_rate_hz: int) -> tuple[str, ...]:
    """Samples counted from presentation time zero, at the rate that all counts after it are in; gaps become silence."""
    return (f"aresample=osr={sample_rate_hz}:async=1:first_pts=0",)


def _encoding(dub: MeasuredSide) -> tuple[str, tuple[str, ...]]:
    """The file's extension and the encoder with its options."""
    family = _FAMILIES.get(dub.codec, _FAMILIES["flac"])
    if dub.channels > family.max_channels:
        family = _FAMILIES["flac"]
    if dub.codec.startswith("pcm_") or dub.channels > family.max_channels:
        kept = next((encoder for prefix, encoder in _PCM_IN_WAV.items() if dub.codec.startswith(prefix)), "pcm_s24le")
        return "wav", ("-c:a", kept, "-rf64", "auto")  # beyond 4 GiB WAV needs RF64
    kbps = min(family.kbps_per_channel * dub.channels, family.max_kbps)
    bit_rate = ("-b:a", f"{kbps}k") if kbps else ()
    return family.extension, ("-c:a", family.encoder, *family.options, *bit_rate)
