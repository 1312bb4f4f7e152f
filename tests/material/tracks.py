"""Containers with several tracks, of any layout, as mastering houses deliver them; through PyAV's own muxers."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, cast

import av
import numpy as np
from av.audio.stream import AudioStream
from av.stream import Disposition
from numpy.typing import NDArray

_BLOCK_SAMPLES: Final = 4_096
_PICTURE_PIXELS: Final = 32


@dataclass(frozen=True)
class SoundTrack:
    """One audio track to be written."""

    sound: NDArray[Any]
    """(channels, n), full scale 1.0."""
    layout: str = "stereo"
    codec: str = "flac"
    language: str | None = None
    title: str | None = None
    disposition: Disposition | None = None
    bit_rate: int | None = None
    options: dict[str, str] | None = None


def write_tracks(
    path: Path,
    tracks: Sequence[SoundTrack],
    rate_hz: int = 48_000,
    *,
    muxer: str | None = None,
    picture_rate: Fraction | None = None,
    timecode: str | None = None,
) -> Path:
    """All tracks from time zero; `picture_rate` adds a dark picture of that many frames a second (codec MPEG-4, MPEG-2
    in MXF), `timecode` is handed to the muxer, which writes it as its format does (MOV and MP4: a tmcd track)."""
    with av.open(os.fspath(path), "w", format=muxer) as output:
        video: Any = None
        if picture_rate is not None:
            video = output.add_stream("mpeg2video" if path.suffix == ".mxf" else "mpeg4", rate=picture_rate)
            video.width, video.height, video.pix_fmt = _PICTURE_PIXELS, _PICTURE_PIXELS, "yuv420p"
            if timecode is not None and path.suffix != ".mxf":
                video.metadata["timecode"] = timecode
        if timecode is not None:
            output.metadata["timecode"] = timecode
        streams = [_added(output, track, rate_hz) for track in tracks]
        for first in range(0, max(track.sound.shape[1] for track in tracks), _BLOCK_SAMPLES):
            for track, stream in zip(tracks, streams, strict=True):
                block = track.sound[:, first : first + _BLOCK_SAMPLES]
                if block.shape[1]:
                    output.mux(stream.encode(_frame(block, track.layout, rate_hz, first)))
        for stream in streams:
            output.mux(stream.encode(None))
        if video is not None:
            frames = round(max(track.sound.shape[1] for track in tracks) / rate_hz * float(picture_rate or 0))
            black = np.zeros((_PICTURE_PIXELS, _PICTURE_PIXELS, 3), np.uint8)
            for _ in range(frames):
                output.mux(video.encode(av.VideoFrame.from_ndarray(black, format="rgb24")))
            output.mux(video.encode(None))
    return path


def _added(output: av.container.OutputContainer, track: SoundTrack, rate_hz: int) -> AudioStream:
    # PyAV's overloads name some codecs literally; ours come from the track.
    added: Any = output.add_stream(track.codec, rate=rate_hz, layout=track.layout, options=track.options or {})
    stream = cast("AudioStream", added)
    if track.bit_rate is not None:
        stream.bit_rate = track.bit_rate
    if track.language is not None:
        stream.metadata["language"] = track.language
    if track.title is not None:
        stream.metadata["title"] = track.title
    if track.disposition is not None:
        stream.disposition = track.disposition
    return stream


def _frame(block: NDArray[Any], layout: str, rate_hz: int, first: int) -> av.AudioFrame:
    interleaved = np.ascontiguousarray(block.T, np.float32).reshape(1, -1)  # PyAV makes planar frames of 8 at most
    frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
    frame.sample_rate, frame.time_base, frame.pts = rate_hz, Fraction(1, rate_hz), first
    return frame
