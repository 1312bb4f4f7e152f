"""Sound files: a fast writer for WAV of any length, and PyAV's encoders for everything else.

Encoders are left to behave as they do: what delay they add, and whether their container says so, is for the reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Literal, Protocol, Self, cast

import av
import av.audio
import numpy as np

from tests.material.seeds import Samples

SampleFormat = Literal["s16", "s24", "float"]

_BLOCK_SAMPLES: Final = 48_000


@dataclass(frozen=True, slots=True)
class Encoding:
    """A container and the codec in it, by the names ffmpeg uses."""

    suffix: str
    muxer: str
    codec: str
    bit_rate: int | None = None
    sample_format: str | None = None


ENCODINGS: Final[dict[str, Encoding]] = {
    "wav": Encoding(".wav", "wav", "pcm_s16le"),
    "wav-s24": Encoding(".wav", "wav", "pcm_s24le"),
    "wav-float": Encoding(".wav", "wav", "pcm_f32le"),
    "flac": Encoding(".flac", "flac", "flac", sample_format="s16"),
    "flac-s24": Encoding(".flac", "flac", "flac", sample_format="s32"),
    "mp4": Encoding(".mp4", "mp4", "aac", bit_rate=192_000),
    "m4a": Encoding(".m4a", "ipod", "aac", bit_rate=192_000),
    "mov": Encoding(".mov", "mov", "pcm_s16le"),
    "mkv": Encoding(".mkv", "matroska", "aac", bit_rate=192_000),
    "mkv-flac": Encoding(".mkv", "matroska", "flac", sample_format="s16"),
    "mkv-ac3": Encoding(".mkv", "matroska", "ac3", bit_rate=192_000),
    "ac3": Encoding(".ac3", "ac3", "ac3", bit_rate=192_000),
    "aac": Encoding(".aac", "adts", "aac", bit_rate=192_000),
    "opus": Encoding(".opus", "ogg", "libopus", bit_rate=128_000),
    "mp3": Encoding(".mp3", "mp3", "libmp3lame", bit_rate=192_000),
}
"""The encodings by the name that ``make_pair(container=…)`` takes."""


class BlockWriter(Protocol):
    """What takes sound block by block and makes a file of it."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def write(self, block: Samples) -> None:
        """Append ``(channels, samples)``."""
        ...


def write_audio(
    path: Path, samples: Samples | Iterable[Samples], sample_rate_hz: int, *, encoding: str | Encoding | None = None
) -> Path:
    """Write a file through PyAV.

    ``samples`` is ``(channels, n)``, ``(n,)`` or an iterable of such blocks. ``encoding`` is one, or a key of
    ``ENCODINGS``; without it the file name's suffix chooses (KeyError if it names none).
    """
    with open_encoder(path, sample_rate_hz, encoding=encoding) as writer:
        for block in _blocks(samples):
            writer.write(block)
    return path


def write_wav(
    path: Path, samples: Samples | Iterable[Samples], sample_rate_hz: int, *, sample_format: SampleFormat = "s16"
) -> Path:
    """Write a WAV (RF64 above 4 GB) at the disk's speed; ``samples`` as in ``write_audio``."""
    with WavWriter(path, sample_rate_hz, sample_format=sample_format) as writer:
        for block in _blocks(samples):
            writer.write(block)
    return path


LAYOUTS: Final[dict[int, str]] = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}
"""By the number of channels; in ffmpeg's order: L R C LFE (back L, back R) side L, side R."""


def open_writer(path: Path, sample_rate_hz: int, *, encoding: str) -> BlockWriter:
    """The fast writer for WAV, an encoder for the rest."""
    raw: dict[str, SampleFormat] = {"wav": "s16", "wav-s24": "s24", "wav-float": "float"}
    if encoding in raw:
        return WavWriter(path, sample_rate_hz, sample_format=raw[encoding])
    return open_encoder(path, sample_rate_hz, encoding=encoding)


def open_encoder(path: Path, sample_rate_hz: int, *, encoding: str | Encoding | None = None) -> EncodedWriter:
    """An encoder, one by name, or one by the path's suffix."""
    if not isinstance(encoding, Encoding):
        encoding = ENCODINGS[encoding or path.suffix.removeprefix(".").lower()]
    return EncodedWriter(path, sample_rate_hz, encoding)


def _blocks(samples: Samples | Iterable[Samples]) -> Iterator[Samples]:
    pieces: Iterable[Samples] = [samples] if isinstance(samples, np.ndarray) else samples
    for piece in pieces:
        wide = np.atleast_2d(piece)
        for start in range(0, wide.shape[1], _BLOCK_SAMPLES):
            yield wide[:, start : start + _BLOCK_SAMPLES]


class EncodedWriter:
    """One audio track through an encoder of ffmpeg's; channels are those of the first block."""

    def __init__(self, path: Path, sample_rate_hz: int, encoding: Encoding) -> None:
        self._path = path
        self._sample_rate_hz = sample_rate_hz
        self._encoding = encoding
        self._container: av.container.OutputContainer | None = None
        self._stream: av.audio.AudioStream | None = None
        self._written = 0

    def __enter__(self) -> Self:
        self._container = av.open(str(self._path), "w", format=self._encoding.muxer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        container = self._opened()
        if kind is None and self._stream is not None:
            container.mux(self._stream.encode(None))
        container.close()

    def write(self, block: Samples) -> None:
        """Append ``(channels, samples)``."""
        layout = LAYOUTS[block.shape[0]]
        stream = self._stream or self._add_stream(layout)
        clipped = np.ascontiguousarray(np.clip(block, -1.0, 1.0), np.float32)
        if block.shape[0] < 8:
            frame = av.AudioFrame.from_ndarray(clipped, format="fltp", layout=layout)
        else:  # PyAV counts the planes of a frame only up to 7
            packed = np.ascontiguousarray(clipped.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
        frame.sample_rate = self._sample_rate_hz
        frame.pts = self._written
        self._written += block.shape[1]
        self._opened().mux(stream.encode(frame))

    def _opened(self) -> av.container.OutputContainer:
        if self._container is None:
            raise ValueError("the writer is used as a context manager")
        return self._container

    def _add_stream(self, layout: str) -> av.audio.AudioStream:
        # PyAV's overloads name some codecs literally; ours come from the table.
        added: Any = self._opened().add_stream(self._encoding.codec, rate=self._sample_rate_hz)
        stream = cast("av.audio.AudioStream", added)
        stream.layout = layout
        if self._encoding.sample_format is not None:
            stream.format = self._encoding.sample_format
        if self._encoding.bit_rate is not None:
            stream.bit_rate = self._encoding.bit_rate
        if self._encoding.codec == "vorbis":
            stream.options = {"strict": "experimental"}
        self._stream = stream
        return stream


class WavWriter:
    """RIFF/WAVE without an encoder; the header is put right at the end (RF64 when 32 bits do not hold the size)."""

    _BYTES: Final[dict[SampleFormat, int]] = {"s16": 2, "s24": 3, "float": 4}

    def __init__(self, path: Path, sample_rate_hz: int, *, sample_format: SampleFormat = "s16") -> None:
        self._path = path
        self._sample_rate_hz = sample_rate_hz
        self._sample_format = sample_format
        self._channels = 2
        self._data_bytes = 0
        self._file: BinaryIO | None = None

    def __enter__(self) -> Self:
        self._file = self._path.open("wb")
        self._file.write(self._header())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        file = self._opened()
        if self._data_bytes % 2:
            file.write(b"\0")
        file.seek(0)
        file.write(self._header())
        file.close()

    def write(self, block: Samples) -> None:
        """Append ``(channels, samples)``."""
        self._channels = block.shape[0]
        data = _to_bytes(block, self._sample_format)
        self._data_bytes += len(data)
        self._opened().write(data)

    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise ValueError("the writer is used as a context manager")
        return self._file

    def _header(self) -> bytes:
        """80 bytes: RIFF, a JUNK chunk (or RF64's ds64 in its place), fmt and the data chunk's head."""
        width = self._BYTES[self._sample_format]
        riff_bytes = 72 + self._data_bytes + self._data_bytes % 2
        long = riff_bytes > 0xFFFFFFFF
        frame_bytes = self._channels * width
        frames = self._data_bytes // frame_bytes
        head = struct.pack("<4sI4s", b"RF64" if long else b"RIFF", 0xFFFFFFFF if long else riff_bytes, b"WAVE")
        sizes = struct.pack("<QQQI", riff_bytes, self._data_bytes, frames, 0) if long else bytes(28)
        reserve = struct.pack("<4sI", b"ds64" if long else b"JUNK", 28) + sizes
        tag = 3 if self._sample_format == "float" else 1
        rate_hz = self._sample_rate_hz
        kind = struct.pack("<HHIIHH", tag, self._channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 8 * width)
        data = struct.pack("<4sI", b"data", 0xFFFFFFFF if long else self._data_bytes)
        return head + reserve + struct.pack("<4sI", b"fmt ", 16) + kind + data


def _to_bytes(block: Samples, sample_format: SampleFormat) -> bytes:
    interleaved = np.ascontiguousarray(block.T, np.float32)
    if sample_format == "float":
        return interleaved.astype("<f4").tobytes()
    if sample_format == "s16":
        return bytes(np.clip(np.rint(interleaved * 32768.0), -32768, 32767).astype("<i2"))
    whole = np.clip(np.rint(interleaved.astype(np.float64) * 8388608.0), -8388608, 8388607).astype("<i4")
    return np.ascontiguousarray(whole.reshape(-1, 1).view(np.uint8)[:, :3]).tobytes()
