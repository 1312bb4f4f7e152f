"""What supervisor and worker say to each other, over one private pair of pipes.

Each frame is a 4-byte big-endian length and that many bytes of msgpack::

    supervisor                         worker
        │  ◄──────────────── Hello ──────│   once, after it is exec'd; versions must agree
        │ ── ProbeRequest ──────────────►│
        │  ◄──────────────── Started ────│   before any work: a crash is now this task's
        │  ◄──────────────── Probed ─────│   or Failed
        │ ── MeasureRequest ────────────►│
        │  ◄──────────────── Started ────│
        │  ◄──────────────── Progressed ─│   from the loop that does the work, many
        │  ◄──────────────── MasterReady │   once, where there is a cache
        │  ◄──────────────── MethodDone ─│   one a method
        │  ◄──────────────── Measured ───│   or Failed
        │ ── Cancel ────────────────────►│   at any time; answered by Failed or by the end
        │ ── (the pipe closes) ─────────►│   it ends, at once and whatever it does

Paths travel as bytes. Every message names its task; one that belongs to an earlier task is dropped.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

import msgspec

from syncd.domain import AnalysisSettings, CacheUse, Failure, Identity, MediaFile, MediaInfo, MethodResult, Result
from syncd.plots import Plots

PROTOCOL_VERSION: Final = 5
CARD_FAILED_STATUS: Final = 70
"""How a worker ends after an error of its card's: nothing that it says afterwards could be relied on."""
MAX_FRAME_BYTES: Final = 64 * 1024 * 1024
_LENGTH: Final = struct.Struct(">I")


class Message(msgspec.Struct, frozen=True, tag=True, forbid_unknown_fields=True):
    """One frame."""


class Hello(Message, frozen=True):
    """The worker is up."""

    protocol_version: int
    pid: int
    device: str


class FileVersion(msgspec.Struct, frozen=True):
    """Which version of a file is meant."""

    size_bytes: int
    mtime_ns: int


class StemFile(msgspec.Struct, frozen=True):
    """One channel of a side that is several mono files."""

    channel: str
    path: bytes
    version: FileVersion | None = None


def file_version(file: MediaFile) -> FileVersion | None:
    """The version that was recorded; None for a side of stems, each of which has its own."""
    return None if file.stems else _version(file.identity)


def stem_files(file: MediaFile) -> tuple[StemFile, ...]:
    """The side's stems as they travel; none for an ordinary file."""
    return tuple(StemFile(stem.channel, bytes(stem.path), _version(stem.identity)) for stem in file.stems)


def _version(identity: Identity) -> FileVersion:
    return FileVersion(identity.size_bytes, identity.mtime_ns)


class ProbeRequest(Message, frozen=True):
    """Look into these files: what is in them, without decoding them through."""

    task_id: int
    paths: tuple[bytes, ...]
    stems: tuple[tuple[StemFile, ...], ...] = ()
    """One a path: what that side consists of, where it is not one file; empty: all are ordinary."""


class CacheOrder(msgspec.Struct, frozen=True):
    """Where features of masters are kept."""

    folder: bytes
    max_bytes: int


class AiOrder(msgspec.Struct, frozen=True):
    """Which model confirms the answer, and with how much memory."""

    model: str
    """wav2vec2, yamnet or spectral-embedding."""
    source: str
    """A folder or file of weights, or a hub's name for them; empty: the model has none."""
    allow_download: bool
    dtype: str
    """float32, float16 or bfloat16; auto: what is fastest on the worker's device."""
    batch: int
    """Windows at once at most."""
    vram_bytes: int
    """What it may hold on the worker's card, everything included; 0: the worker's device is the CPU."""
    threads: int
    """Of the CPU, at most."""


class MeasureRequest(Message, frozen=True):
    """Find where the dub lies against the master; a file of another version than named is FILE_CHANGED."""

    task_id: int
    master_path: bytes
    dub_path: bytes
    master_track: int | None
    dub_track: int | None
    language: str | None
    settings: AnalysisSettings
    scratch_folder: bytes
    max_duration_s: float | None = None
    master_version: FileVersion | None = None
    """None: whatever lies there."""
    dub_version: FileVersion | None = None
    master_stems: tuple[StemFile, ...] = ()
    """What the side consists of, where it is not one file; `master_path` names it all the same."""
    dub_stems: tuple[StemFile, ...] = ()
    cache: CacheOrder | None = None
    """None: nothing is kept."""
    ai: AiOrder | None = None
    """None: no model is asked."""


class Cancel(Message, frozen=True):
    """Give the task up at the next step."""

    task_id: int


class Started(Message, frozen=True):
    """The worker has the task in hand."""

    task_id: int


class Progressed(Message, frozen=True):
    """The work moved on: `done` of `total` units of `stage`."""

    task_id: int
    stage: str
    done: int
    total: int
    text: str


class Probed(Message, frozen=True):
    """What the containers say, one `MediaInfo` a path, in order."""

    task_id: int
    media: tuple[MediaInfo, ...]
    peak_rss_bytes: int


class MasterReady(Message, frozen=True):
    """Another worker would find the master's features in the cache now, or never: nothing is gained by waiting."""

    task_id: int


class MethodDone(Message, frozen=True):
    """One method's answer, as soon as it is there."""

    task_id: int
    result: MethodResult


class Measured(Message, frozen=True):
    """The whole answer."""

    task_id: int
    result: Result
    peak_rss_bytes: int
    scratch_bytes: int
    seconds: float
    cache: CacheUse | None = None
    peak_vram_bytes: int = 0
    """On the worker's card, context included; 0: it used none."""
    degraded: tuple[str, ...] = ()
    """What the worker itself gave up on the way, in words."""
    plots: Plots | None = None
    """For the page; None: none is wanted, or they could not be drawn."""


class Failed(Message, frozen=True):
    """The task ended without an answer; the worker goes on."""

    task_id: int
    failure: Failure
    traceback: str | None = None
    """For the ledger and the log, never for a user's eyes."""


ToWorker = ProbeRequest | MeasureRequest | Cancel
ToSupervisor = Hello | Started | Progressed | Probed | MasterReady | MethodDone | Measured | Failed

_encoder: Final = msgspec.msgpack.Encoder()
_to_worker: Final[msgspec.msgpack.Decoder[ToWorker]] = msgspec.msgpack.Decoder(ToWorker)
_to_supervisor: Final[msgspec.msgpack.Decoder[ToSupervisor]] = msgspec.msgpack.Decoder(ToSupervisor)


class ProtocolError(Exception):
    """The other side does not speak this protocol; the connection is of no further use."""


def encode_frame(message: Message) -> bytes:
    """The message with its length before it."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class FrameBuffer:
    """Bytes in, whole frames out, however the pipe cuts them."""

    def __init__(self) -> None:
        self._bytes = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the bodies of the frames that `chunk` completes; raises `ProtocolError` on an impossible length."""
        self._bytes += chunk
        while len(self._bytes) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._bytes)
            if length > MAX_FRAME_BYTES:
                raise ProtocolError(f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._bytes) < end:
                return
            body = bytes(self._bytes[_LENGTH.size : end])
            del self._bytes[:end]
            yield body


def decode_to_worker(body: bytes) -> ToWorker:
    """A frame that the supervisor sent; raises `ProtocolError`."""
    try:
        return _to_worker.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(str(error)) from error


def decode_to_supervisor(body: bytes) -> ToSupervisor:
    """A frame that a worker sent; raises `ProtocolError`."""
    try:
        return _to_supervisor.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(str(error)) from error
