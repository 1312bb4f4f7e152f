"""The features of a master, kept on disk for its other dubs: sounds, curves and what decoding said, as one file.

::

    sounds and curves, one after another     as in the scratch files they are copied from
    header, JSON                             `Header`: what lies where, checksums of the data in blocks of 1 MiB
    tail, 48 bytes                           magic, length of the header, SHA-256 of the header

An entry is named after everything that shaped it: the file's identity, the track, its channel rows, the versions of
analysis and decoder and the parameters of the features. Nothing in it is trusted: sizes, ranges and checksums are gone
through before the first use (a fraction of a second for a feature film, while the dub is decoded), and whatever is not
as it must be is removed and counts as not kept. After that it is read where it lies, exactly as scratch files are, and
gives the same figures to the last bit.
"""

from __future__ import annotations

import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import av
import msgspec
import numpy as np
from numpy.typing import NDArray

from syncd import __version__
from syncd.analysis.evidence import MID, Beat, ChannelEvidence, SideEvidence
from syncd.analysis.features import CHROMA, COARSE_MEL, PITCH_CLASSES, Activity
from syncd.analysis.measure import EndsAnalysis
from syncd.domain import ANALYSIS_VERSION, FileStamp, MediaFile
from syncd.media.decode import LOUDEST, SAMPLE_RATE_HZ, DecodeReport
from syncd.worker.cache_folder import CacheFolder, NotKept
from syncd.worker.scratch import FULL_SCALE, Readable, Scratch, StoredCurve, StoredSound, read_into

FORMAT_VERSION: Final = 1
BLOCK_BYTES: Final = 1 << 20
MOST_HEADER_BYTES: Final = 64 << 20
"""Far beyond the header of a day of sound."""
LOUDEST_LEVEL_DB: Final = 200.0
_MAGIC: Final = b"syncdftr"
_TAIL: Final = struct.Struct("<8sQ32s")


class Damaged(Exception):
    """An entry is not what it must be; the message says in what."""


class CacheLost(EndsAnalysis):
    """An entry that was whole cannot be read any more: the analysis starts again without it."""


@dataclass(frozen=True, slots=True)
class Source:
    """What the features are made of."""

    file: MediaFile
    track: int
    rows: tuple[str, ...]
    """As `layouts.evidence_channels` names them."""

    def key(self) -> str:
        """Everything that shapes the features, as text."""
        identity = self.file.identity
        parts = {
            "format": FORMAT_VERSION,
            "syncd": __version__,
            "analysis": ANALYSIS_VERSION,
            "decoder": {"av": av.__version__, **{name: list(v) for name, v in sorted(av.library_versions.items())}},
            "sample_rate_hz": SAMPLE_RATE_HZ,
            "levels": asdict(COARSE_MEL),
            "chroma": asdict(CHROMA),
            "file": [identity.size_bytes, identity.mtime_ns, identity.fingerprint],
            "track": self.track,
            "rows": list(self.rows),
        }
        return msgspec.json.encode(parts).decode()


class _Sound(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a sound lies."""

    position: int
    starts: list[int]
    scales: list[float]


class _Curve(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a curve lies."""

    position: int
    chunks: list[tuple[int, int]]
    """(position from the curve's, frames)."""


class _Channel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    sound: _Sound
    levels: _Curve
    level_db: float
    modulation_db: float
    chroma: _Curve | None


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an entry says of itself."""

    key: str
    stamp: FileStamp
    """The file as it was decoded."""
    report: DecodeReport
    channels: list[_Channel]
    data_bytes: int
    checksums: list[int]
    """CRC-32 of each block of `BLOCK_BYTES` of the data."""


_header: Final[msgspec.json.Decoder[Header]] = msgspec.json.Decoder(Header)


@dataclass(frozen=True, slots=True)
class Features:
    """What decoding one file gave."""

    evidence: SideEvidence
    report: DecodeReport


@dataclass
class FeatureCache:
    """Takes and keeps; what goes wrong is noted, and costs the cache and never the job."""

    folder: CacheFolder
    notes: list[str] = field(default_factory=list)
    """Sentences for the report: what went wrong."""

    def take(self, source: Source, scratch: Scratch, beat: Beat, *, chroma: bool) -> Features | None:
        """The kept features, whole and of this very file, to be read until `scratch` is closed; None: to be made."""
        name = entry_name(source)
        try:
            descriptor = self.folder.open_entry(name)
        except OSError as error:
            self._note("could not be read", error)
            return None
        if descriptor is None:
            return None
        scratch.adopt(descriptor)
        try:
            header = read_header(descriptor, source)
            if not _is_same_file(header.stamp, source.file.stamp):
                return None
            if chroma and all(channel.chroma is None for channel in header.channels):
                return None
            verify(descriptor, header, beat)
        except Damaged as error:
            self.notes.append(f"A damaged entry of the cache was removed ({error}).")
            self._discard(name, descriptor)
            return None
        except OSError as error:
            self._note("could not be read", error)
            return None
        return Features(_evidence(header, descriptor, chroma=chroma), header.report)

    def keep(self, source: Source, features: Features, beat: Beat) -> None:
        """Copy the features into an entry, unless there is no room."""
        pieces = _pieces(features.evidence)
        data_bytes = sum(size_bytes for _, size_bytes in pieces)
        # The header's own length is known once the checksums are; this is more than it takes.
        at_most_bytes = data_bytes + _TAIL.size + 65_536 + data_bytes // 4_096
        try:
            with self.folder.draft(entry_name(source), at_most_bytes) as draft:
                checksums = _copy(pieces, draft.descriptor, data_bytes, beat)
                header = msgspec.json.encode(_header_of(source, features, data_bytes, checksums))
                tail = _TAIL.pack(_MAGIC, len(header), hashlib.sha256(header).digest())
                _write(draft.descriptor, memoryview(header + tail), data_bytes)
                draft.commit(data_bytes + len(header) + len(tail))
        except NotKept as error:
            self.notes.append(f"The master's features were not kept in the cache. {error}")
        except OSError as error:
            self._note("could not be written to", error)

    def _discard(self, name: str, descriptor: int) -> None:
        try:
            self.folder.discard(name, descriptor)
        except OSError as error:
            self._note("could not be written to", error)

    def _note(self, what: str, error: OSError) -> None:
        self.notes.append(f"The cache {self.folder.path} {what}: {error.strerror or error}.")


class KeptFile:
    """A part of an entry, read as a scratch file is."""

    def __init__(self, descriptor: int, base: int) -> None:
        self._descriptor, self._base = descriptor, base

    def read_into(self, values: NDArray[np.generic], position: int) -> None:
        """Fill the contiguous array from `position`; raises `CacheLost`."""
        try:
            read_into(self._descriptor, values, self._base + position)
        except (OSError, EOFError) as error:
            raise CacheLost(str(error)) from error


def entry_name(source: Source) -> str:
    """64 hex digits."""
    return hashlib.sha256(source.key().encode()).hexdigest()


def _is_same_file(kept: FileStamp, now: FileStamp) -> bool:
    """Whether the file was left alone since: the same inode has a new ctime whatever was done to it.

    Another inode of the same identity is a copy or a remount, which identity vouches for.
    """
    same_inode = (kept.device, kept.inode) == (now.device, now.inode)
    return not same_inode or kept.ctime_ns == now.ctime_ns


# --- reading ---------------------------------------------------------------------------------------------------------


def read_header(descriptor: int, source: Source) -> Header:
    """The header, whole and possible; raises `Damaged` and OSError."""
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes < _TAIL.size:
        raise Damaged("it is too short")
    magic, header_bytes, digest = _TAIL.unpack(_bytes(descriptor, size_bytes - _TAIL.size, _TAIL.size))
    if magic != _MAGIC:
        raise Damaged("its end is missing")
    data_bytes = size_bytes - _TAIL.size - header_bytes
    if header_bytes > MOST_HEADER_BYTES or data_bytes < 0:
        raise Damaged("its header has an impossible length")
    text = _bytes(descriptor, data_bytes, header_bytes)
    if hashlib.sha256(text).digest() != digest:
        raise Damaged("its header has changed")
    try:
        header = _header.decode(text)
    except msgspec.DecodeError as error:
        raise Damaged("its header is of another form") from error
    if header.key != source.key():
        raise Damaged("it belongs to another file")
    if header.data_bytes != data_bytes:
        raise Damaged("its length has changed")
    check_header(header, source.rows)
    return header


def check_header(header: Header, rows: tuple[str, ...]) -> None:
    """Raise `Damaged` where the header says what cannot be. Pure."""
    samples = header.report.samples
    names = [channel.name for channel in header.channels]
    _demand(
        samples > 0 and all(count >= 0 for count in vars(header.report).values() if isinstance(count, int)),
        "a count is impossible",
    )
    _demand(len(set(names)) == len(names) and MID in names and set(names) <= set(rows), "its channels are others")
    _demand(len(header.checksums) == -(-header.data_bytes // BLOCK_BYTES), "checksums are missing")
    for channel in header.channels:
        _check_sound(channel.sound, samples, header.data_bytes)
        _check_curve(channel.levels, COARSE_MEL.n_mels, samples // COARSE_MEL.hop_samples + 1, header.data_bytes)
        if channel.chroma is not None:
            _check_curve(channel.chroma, PITCH_CLASSES, samples // CHROMA.hop_samples + 1, header.data_bytes)
        _demand(abs(channel.level_db) <= LOUDEST_LEVEL_DB, "a level is impossible")
        _demand(0.0 <= channel.modulation_db <= LOUDEST_LEVEL_DB, "a modulation is impossible")


def _check_sound(sound: _Sound, samples: int, data_bytes: int) -> None:
    starts = np.asarray(sound.starts, dtype=np.int64)
    in_order = starts.size > 0 and starts[0] == 0 and bool((np.diff(starts) > 0).all()) and starts[-1] < samples
    _demand(in_order and len(sound.scales) == starts.size, "the blocks of a sound are out of order")
    loudest = LOUDEST / FULL_SCALE * 1.001
    _demand(all(math.isfinite(scale) and 0.0 <= scale <= loudest for scale in sound.scales), "a scale is impossible")
    _check_place(sound.position, samples * np.dtype(np.int16).itemsize, data_bytes)


def _check_curve(curve: _Curve, bands: int, frames: int, data_bytes: int) -> None:
    frame_bytes = bands * np.dtype(np.float32).itemsize
    done = 0
    for position, count in curve.chunks:
        _demand(count > 0 and position == done * frame_bytes, "the chunks of a curve are out of order")
        done += count
    _demand(done == frames, "a curve has another length than its sound")
    _check_place(curve.position, frames * frame_bytes, data_bytes)


def _check_place(position: int, size_bytes: int, data_bytes: int) -> None:
    _demand(0 <= position <= data_bytes - size_bytes, "a part lies beyond the data")


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Damaged(otherwise)


def verify(descriptor: int, header: Header, beat: Beat) -> None:
    """Go through all data once: raises `Damaged` where it is not what was written, or holds what is no number."""
    block = np.empty(BLOCK_BYTES, dtype=np.uint8)
    total = len(header.checksums)
    for i, checksum in enumerate(header.checksums):
        part = block[: min(BLOCK_BYTES, header.data_bytes - i * BLOCK_BYTES)]
        _fill(descriptor, part, i * BLOCK_BYTES)
        if zlib.crc32(part.data) != checksum:
            raise Damaged("its data have changed")
        beat(i + 1, total)
    for channel in header.channels:
        for curve, bands in ((channel.levels, COARSE_MEL.n_mels), (channel.chroma, PITCH_CLASSES)):
            for position, frames in curve.chunks if curve is not None else ():
                values = np.empty(bands * frames, dtype=np.float32)
                _fill(descriptor, values, (0 if curve is None else curve.position) + position)
                _demand(bool(np.isfinite(values).all()), "a curve holds what is no number")


def _bytes(descriptor: int, position: int, count: int) -> bytes:
    values = np.empty(count, dtype=np.uint8)
    _fill(descriptor, values, position)
    return values.tobytes()


def _fill(descriptor: int, values: NDArray[np.generic], position: int) -> None:
    try:
        read_into(descriptor, values, position)
    except EOFError as error:
        raise Damaged("its end is missing") from error


def _evidence(header: Header, descriptor: int, *, chroma: bool) -> SideEvidence:
    def curve(place: _Curve, bands: int) -> StoredCurve:
        return StoredCurve(KeptFile(descriptor, place.position), bands, place.chunks)

    def channel(kept: _Channel) -> ChannelEvidence:
        sound = kept.sound
        file = KeptFile(descriptor, sound.position)
        return ChannelEvidence(
            sound=StoredSound(file, sound.starts, sound.scales, header.report.samples),
            levels=curve(kept.levels, COARSE_MEL.n_mels),
            activity=Activity(kept.level_db, kept.modulation_db),
            chroma=curve(kept.chroma, PITCH_CLASSES) if chroma and kept.chroma is not None else None,
        )

    channels: Mapping[str, ChannelEvidence] = {kept.name: channel(kept) for kept in header.channels}
    return SideEvidence(header.report.samples / SAMPLE_RATE_HZ, channels)


# --- writing ---------------------------------------------------------------------------------------------------------


def _header_of(source: Source, features: Features, data_bytes: int, checksums: list[int]) -> Header:
    channels = []
    position = 0

    def place(curve: StoredCurve) -> _Curve:
        nonlocal position
        here, position = position, position + _curve_bytes(curve)
        return _Curve(here, curve.chunks)

    for name, channel in features.evidence.channels.items():
        stored = _stored_sound(channel)
        sound = _Sound(position, stored.starts, stored.scales)
        position += _sound_bytes(stored)
        levels = place(_stored_curve(channel.levels))
        chroma = None if channel.chroma is None else place(_stored_curve(channel.chroma))
        activity = channel.activity
        channels.append(_Channel(name, sound, levels, activity.level_db, activity.modulation_db, chroma))
    return Header(source.key(), source.file.stamp, features.report, channels, data_bytes, checksums)


def _pieces(evidence: SideEvidence) -> list[tuple[Readable, int]]:
    """(file, bytes of it) of everything that is kept, in the order of the header."""
    pieces: list[tuple[Readable, int]] = []
    for channel in evidence.channels.values():
        sound = _stored_sound(channel)
        pieces.append((sound.file, _sound_bytes(sound)))
        for source in (channel.levels, channel.chroma):
            if source is not None:
                curve = _stored_curve(source)
                pieces.append((curve.file, _curve_bytes(curve)))
    return pieces


def _sound_bytes(sound: StoredSound) -> int:
    return sound.samples * np.dtype(np.int16).itemsize


def _curve_bytes(curve: StoredCurve) -> int:
    return curve.frames * curve.bands * np.dtype(np.float32).itemsize


def _stored_sound(channel: ChannelEvidence) -> StoredSound:
    if not isinstance(channel.sound, StoredSound):
        raise TypeError("only sounds on disk can be kept")
    return channel.sound


def _stored_curve(source: object) -> StoredCurve:
    if not isinstance(source, StoredCurve):
        raise TypeError("only curves on disk can be kept")
    return source


def _copy(pieces: list[tuple[Readable, int]], descriptor: int, data_bytes: int, beat: Beat) -> list[int]:
    """Write the pieces one after another; the checksums of the blocks."""
    checksums = []
    position = 0
    for block in _blocks(pieces):
        _write(descriptor, block, position)
        checksums.append(zlib.crc32(block))
        position += len(block)
        beat(len(checksums), -(-data_bytes // BLOCK_BYTES))
    return checksums


def _blocks(pieces: list[tuple[Readable, int]]) -> Iterator[memoryview]:
    """All bytes in blocks of `BLOCK_BYTES`, the last one shorter; each is valid until the next."""
    block = np.empty(BLOCK_BYTES, dtype=np.uint8)
    filled = 0
    for file, size_bytes in pieces:
        done = 0
        while done < size_bytes:
            count = min(size_bytes - done, BLOCK_BYTES - filled)
            file.read_into(block[filled : filled + count], done)
            done, filled = done + count, filled + count
            if filled == BLOCK_BYTES:
                yield block.data
                filled = 0
    if filled:
        yield block[:filled].data


def _write(descriptor: int, data: memoryview, position: int) -> None:
    while data:
        written = os.pwrite(descriptor, data, position)
        data, position = data[written:], position + written


def feature_cache(folder: bytes, max_bytes: int) -> FeatureCache | None:
    """As a request asks for it; None where it is switched off."""
    return FeatureCache(CacheFolder(Path(os.fsdecode(folder)), max_bytes)) if max_bytes > 0 else None
