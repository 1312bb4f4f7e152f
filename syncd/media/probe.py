"""What a file holds, said by its container; nothing is decoded through for it.

Opening is where hostile files do their harm, so it is narrow: only the protocol ``file`` and only the demuxers listed
here. A playlist or a concat script named ``.wav`` therefore reaches neither other files nor the network.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final

import av
from av.audio.codeccontext import AudioCodecContext
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition, Stream

from syncd.domain import AudioTrack, MediaInfo
from syncd.errors import ErrorCode, SyncdError
from syncd.headers import missing_bytes
from syncd.media.disk import disk_kept_apart
from syncd.media.ending import Ending, ending, unit_of
from syncd.media.names import shown_name
from syncd.media.riff import production_clock, sound_ends_at
from syncd.units import FRAME_RATES, seconds_to_timecode

DEMUXERS: Final = (
    "aac,ac3,aiff,amr,ape,asf,au,avi,caf,dts,dtshd,dv,eac3,flac,flv,gxf,loas,matroska,webm,mlp,mov,mp4,mp3,mpeg,mpegts,mxf,"
    "nut,ogg,rm,tak,truehd,tta,w64,wav,wv"
)
"""Formats that carry media themselves; none that points to other files."""

MAX_TRACKS: Final = 256
"""More audio tracks than this is an attack or damage, not a programme."""

_OTHER_PURPOSES: Final = {
    Disposition.comment: "commentary",
    Disposition.visual_impaired: "audio description",
    Disposition.descriptions: "audio description",
    Disposition.karaoke: "karaoke",
    Disposition.clean_effects: "without dialogue",
    Disposition.dependent: "part of another track",
}

_TITLES_OF_OTHERS: Final = {
    re.compile(r"comm?ent(ary|aire|ario|o)|kommentar|コメンタリー|评论", re.IGNORECASE): "commentary",
    re.compile(
        r"descri(ptive|bed)|audio[ _-]?d[eé][sz][ck]ri|h(ö|oe)rfilm|visual(ly)?[ _-]?impaired|malvoyant|syntolkning"
        r"|\bDVS\b",
        re.IGNORECASE,
    ): "audio description",
    re.compile(r"isolated (score|music)|music (and|&) effects|\bM ?& ?E\b", re.IGNORECASE): "without dialogue",
}
"""Words in titles, for containers whose writer set no flag."""

_OPTIONS: Final = {"protocol_whitelist": "file", "format_whitelist": DEMUXERS, "max_size": "65536"}
"""`max_size` is WAV's: larger packets, fewer of them."""

_WAVE_OPTIONS: Final = {**_OPTIONS, "max_probe_packets": "4"}
"""Whether what a WAV calls PCM is DTS in disguise shows in a second of sound; libavformat would search a minute."""


def probe(path: Path) -> MediaInfo:
    """Container, duration and audio tracks of the file.

    Raises `SyncdError`: FILE_NOT_FOUND, PERMISSION_DENIED, DISK_FAULT, MEDIA_UNREADABLE, NO_AUDIO, MEDIA_TRUNCATED.
    """
    with disk_kept_apart(path), open_media(path) as container:
        info = describe(container, path)
        if ends_early(container, path):
            raise truncated(path)
        if ending(path, container.format.name) is Ending.CUT:
            message = f"{shown_name(path)} ends in the middle of a {unit_of(container.format.name)}."
            raise SyncdError(ErrorCode.MEDIA_TRUNCATED, message)
        return info


@contextmanager
def open_media(path: Path) -> Iterator[InputContainer]:
    """The opened container; every error of opening comes out as a `SyncdError` that names the file."""
    head = _head(path)
    options = _WAVE_OPTIONS if head[8:12] == b"WAVE" else _OPTIONS
    try:
        container = av.open(
            # The prefix keeps a ':' in the name from being read as a protocol.
            "file:" + os.fspath(path),
            mode="r",
            options=dict(options),
            metadata_errors="replace",
        )
    except av.FFmpegError as error:
        if _lacks_bytes(path):
            raise truncated(path) from error
        raise unreadable(path, error) from error
    with container:
        yield container


def describe(container: InputContainer, path: Path) -> MediaInfo:
    """What `probe` returns, from a container that is open already; raises NO_AUDIO."""
    streams = container.streams.audio
    if not streams:
        raise SyncdError(ErrorCode.NO_AUDIO, f"{shown_name(path)} holds no audio track.")
    if len(streams) > MAX_TRACKS:
        raise SyncdError(ErrorCode.MEDIA_UNREADABLE, f"{shown_name(path)} claims {len(streams)} audio tracks.")
    tracks = tuple(_track(stream, i, zero_s(container)) for i, stream in enumerate(streams))
    if not any(is_decodable(stream) for stream in streams):
        message = f"{shown_name(path)} holds sound in a codec that cannot be read here."
        raise SyncdError(ErrorCode.MEDIA_UNREADABLE, message)
    if all(track.sample_rate_hz <= 0 or track.channels <= 0 for track in tracks):
        raise SyncdError(ErrorCode.NO_AUDIO, f"{shown_name(path)} holds an audio track, but nothing in it.")
    start = _start(container, path)
    return MediaInfo(
        container=container.format.name,
        duration_s=_duration_s(container),
        tracks=tracks,
        start_timecode=start.timecode,
        frame_rate=start.frame_rate,
        start_of_day_s=start.of_day_s,
    )


def zero_s(container: InputContainer) -> float:
    """Where on the container's own clock its presentation starts, in seconds.

    MP4 and its kin count from zero (their edit lists say what plays when). The clocks of the others start anywhere
    (MPEG-TS) or where the encoder's priming ends (MP3); a negative start is priming that is cut away, not an origin.
    """
    if "mp4" in container.format.name.split(",") or container.start_time is None:
        return 0.0
    return max(0.0, container.start_time / av.time_base)


def ends_early(container: InputContainer, path: Path) -> bool:
    """Whether the header speaks of bytes that the file does not have."""
    size_bytes = path.stat().st_size
    names = set(container.format.name.split(","))
    if "wav" in names:
        end = sound_ends_at(path)
        return end is not None and end > size_bytes
    if "matroska" in names:
        return _lacks_bytes(path)
    if "mp4" in names:
        return any(_index_ends_early(stream, size_bytes) for stream in container.streams.audio)
    return False


def _lacks_bytes(path: Path) -> bool:
    with path.open("rb", buffering=0) as file:
        return missing_bytes(partial(_read_at, file.fileno()), path.stat().st_size) > 0


def _read_at(descriptor: int, offset_bytes: int, count_bytes: int) -> bytes:
    return os.pread(descriptor, count_bytes, offset_bytes)


def unreadable(path: Path, error: Exception) -> SyncdError:
    """The file cannot be opened or decoded as media."""
    if isinstance(error, MemoryError):
        return SyncdError(ErrorCode.OUT_OF_MEMORY, f"There was not enough memory to read {shown_name(path)}.")
    number = error.errno if isinstance(error, OSError) else None
    reason = os.strerror(number) if number in errno.errorcode and number is not None else str(error)
    details: dict[str, str | int | float | list[str]] = {"reason": reason}
    return SyncdError(ErrorCode.MEDIA_UNREADABLE, f"{shown_name(path)} cannot be read as audio or video.", details)


def truncated(path: Path, *, decoded_s: float | None = None, expected_s: float | None = None) -> SyncdError:
    """The file ends before its header says."""
    told = "" if decoded_s is None or expected_s is None else f": {decoded_s:.1f} s of {expected_s:.1f} s are there"
    return SyncdError(ErrorCode.MEDIA_TRUNCATED, f"{shown_name(path)} ends before its header says{told}.")


def _head(path: Path) -> bytes:
    """The first twelve bytes, or fewer; raises `SyncdError` where there are none to be had."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        raise SyncdError(ErrorCode.FILE_NOT_FOUND, f"{shown_name(path)} is not there any more.") from error
    except PermissionError as error:
        raise SyncdError(ErrorCode.PERMISSION_DENIED, f"{shown_name(path)} may not be read.") from error
    except OSError as error:
        message = f"{shown_name(path)} cannot be read: {error.strerror}."
        raise SyncdError(ErrorCode.MEDIA_UNREADABLE, message) from error
    if not head:
        raise SyncdError(ErrorCode.MEDIA_UNREADABLE, f"{shown_name(path)} is empty.")
    return head


def is_decodable(stream: AudioStream) -> bool:
    """Whether there is a decoder for it; PyAV's own types do not know that there may be none."""
    context: AudioCodecContext | None = stream.codec_context
    return context is not None


def _track(stream: AudioStream, index: int, origin_s: float) -> AudioTrack:
    if not is_decodable(stream):
        return AudioTrack(index, "unknown", 0, 0, "")
    context = stream.codec_context
    start_s = 0.0
    if stream.start_time is not None and stream.time_base is not None:
        start_s = max(0.0, float(stream.start_time * stream.time_base) - origin_s)
    return AudioTrack(
        index=index,
        codec=context.codec.canonical_name,
        sample_rate_hz=context.sample_rate,
        channels=context.channels,
        layout=_layout_name(context.layout.name, context.channels),
        language=stream.language if stream.language not in {None, "", "und"} else None,
        title=stream.metadata.get("title"),
        start_s=round(start_s, 6),
        is_default=bool(stream.disposition & Disposition.default),
        purpose=_purpose(stream.disposition, stream.metadata.get("title") or stream.metadata.get("handler_name") or ""),
    )


def _purpose(disposition: Disposition, title: str) -> str | None:
    """What a track is for, if not the programme itself: by its flags, else by its title."""
    for flag, purpose in _OTHER_PURPOSES.items():
        if disposition & flag:
            return purpose
    return next((purpose for pattern, purpose in _TITLES_OF_OTHERS.items() if pattern.search(title)), None)


def _layout_name(name: str, channels: int) -> str:
    """One or two channels without names are what everybody takes them for."""
    return {1: "mono", 2: "stereo"}.get(channels, name) if name.endswith("channels") else name


def _duration_s(container: InputContainer) -> float | None:
    if container.duration is None or container.duration <= 0:
        return None
    return container.duration / av.time_base


@dataclass(frozen=True, slots=True)
class _Start:
    """When the presentation starts, on the production's clock."""

    timecode: str | None = None
    of_day_s: float | None = None
    frame_rate: str | None = None


def _start(container: InputContainer, path: Path) -> _Start:
    """From the container, the video or the timecode track; else the time reference of a broadcast WAV."""
    frame_rate = _frame_rate(container)
    for metadata in (container.metadata, *(stream.metadata for stream in container.streams)):
        # Matroska's tags are written in capitals.
        if timecode := metadata.get("timecode") or metadata.get("TIMECODE"):
            return _Start(timecode, None, frame_rate)
    reference = container.metadata.get("time_reference", "")
    first = container.streams.audio[0]
    rate_hz = first.codec_context.sample_rate if is_decodable(first) else 0
    if not reference.isdecimal() or rate_hz <= 0:
        return _Start(None, None, frame_rate)
    clock = production_clock(path)
    rate = clock.frames_per_second if clock is not None else None
    name = None if rate is None else _rate_name(rate)
    if int(reference) == 0:
        return _Start(None, None, name)  # what writers leave who know no time
    start_s = Fraction(int(reference), rate_hz)
    if rate is None or clock is None:
        return _Start(_clock_time(start_s), float(start_s), None)
    known = FRAME_RATES.get(name or "", rate)
    timecode = seconds_to_timecode(float(start_s), known, is_drop_frame=clock.is_drop_frame)
    return _Start(timecode.partition(" ")[0], float(start_s), name)


def _clock_time(start_s: Fraction) -> str:
    whole_s, rest_s = divmod(start_s, 1)
    minutes, second = divmod(whole_s, 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours:02d}:{minute:02d}:{second:02d}.{int(rest_s * 1000):03d}"


def _frame_rate(container: InputContainer) -> str | None:
    for stream in container.streams.video:
        rate = stream.average_rate
        if rate and not stream.disposition & Disposition.attached_pic:
            return _rate_name(rate)
    return None


def _rate_name(rate: Fraction) -> str:
    for name, known in FRAME_RATES.items():
        if abs(rate / known - 1) < Fraction(1, 5000):
            return name
    return f"{float(rate):.3f}"


def _index_ends_early(stream: Stream, size_bytes: int) -> bool:
    entries = stream.index_entries
    if not len(entries):
        return False
    last = entries[len(entries) - 1]
    return last.pos + last.size > size_bytes
