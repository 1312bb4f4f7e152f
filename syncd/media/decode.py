"""Sound out of any container: blocks at 16 kHz, counted from the presentation's start, in bounded memory.

The container's clock is honoured: a stream that starts late begins with silence, priming that the container signals is
cut away, a gap becomes silence of its length. Resampling keeps the phase, so two files of different rates agree to a
fraction of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Final

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.filter.context import FilterContext
from av.packet import Packet
from av.stream import Discard
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.media.disk import Reached, ask_disk, disk_kept_apart
from syncd.media.ending import Ending, ending
from syncd.media.layouts import evidence_channels, fold_of, is_known
from syncd.media.names import shown_name
from syncd.media.probe import describe, is_decodable, open_media, truncated, unreadable, zero_s

SAMPLE_RATE_HZ: Final = 16_000
"""Of everything that leaves here: music and effects carry enough below 8 kHz, and the cost is a third of 48 kHz."""

BLOCK_SAMPLES: Final = 65_536

SECONDS_BETWEEN_PULLS: Final = 4.0
"""Taking blocks out after every frame would cost three times as much; the graph holds these few frames meanwhile."""

MAX_JUMP_S: Final = 1.0
"""A larger step of the timestamps is handled here: silence forward, a new origin backward."""

LONGEST_SILENCE_S: Final = 3_600.0
"""A longer step forward is a broken clock: to believe it would fill the disk with silence."""

GAP_S: Final = 0.018
"""A smaller disagreement of timestamps and samples is jitter; a lost packet of any common codec is longer."""

SHORT_FRAME_S: Final = 0.02
"""Frames below it are joined: the resampler's filter is as long as 6 ms at 48 kHz."""

MAX_DAMAGED_SHARE: Final = 0.2
"""Of packets that do not decode: beyond it (and beyond `MAX_DAMAGED_PACKETS`) the file counts as unreadable."""

MAX_DAMAGED_PACKETS: Final = 50

_CARRIERS: Final = {1: "mono", 2: "stereo", 3: "3.0"}
"""Layouts that carry so many rows through the filters; their own names mean nothing here."""

LOUDEST: Final = 64.0
"""Far beyond full scale: what a float file holds above it is damage."""

MISSING_END_S: Final = 1.0
"""How much of the promised duration may be missing at the end before the file counts as truncated."""

_MP3_HEAD_BYTES: Final = 256
"""Within so many bytes of the first frame a header of frames begins."""

_LENGTH_IS_KNOWN: Final = frozenset({"wav", "w64", "aiff", "flac", "caf", "mp4"})
"""Formats whose headers count samples instead of guessing from the bit rate."""


@dataclass
class DecodeReport:
    """What decoding showed; complete once the blocks have run out."""

    samples: int = 0
    """At 16 kHz, leading silence included."""
    packets: int = 0
    damaged_packets: int = 0
    clock_jumps: int = 0
    impossible_samples: int = 0
    changed_format: int = 0
    codec: str | None = None
    """What the packets are, where the container may be wrong: some call MPEG audio of any layer MP3."""
    notes: list[str] = field(default_factory=list)
    """Further sentences."""
    signals_priming: bool = False
    """The file says that what comes first is an encoder's priming: it was cut away."""
    may_be_cut: bool = False
    """Nothing in the file says that it is all of it, where something should."""

    def warnings(self, path: Path) -> tuple[str, ...]:
        """One sentence for each thing that was mended."""
        name = shown_name(path)
        told = [
            (self.damaged_packets, f"{name}: {self.damaged_packets} packets are damaged and were left out."),
            (
                self.clock_jumps,
                f"{name}: the timestamps jump {self.clock_jumps} times; the sound was joined there.",
            ),
            (
                self.impossible_samples,
                f"{name}: {self.impossible_samples} samples are not numbers and count as silence.",
            ),
            (self.changed_format, f"{name}: rate or channels change {self.changed_format} times on the way."),
        ]
        return (*(sentence for count, sentence in told if count), *self.notes)


def decode_blocks(path: Path, track: int, report: DecodeReport) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of shape (rows, up to 65,536 samples), float32, full scale 1.0, at 16 kHz.

    The rows are those that `layouts.evidence_channels` names for the track. `report` fills while the blocks run.
    Raises `SyncdError` as `probe` does, and MEDIA_UNREADABLE or MEDIA_TRUNCATED where decoding shows it.
    """
    reached = Reached()
    with disk_kept_apart(path, reached), open_media(path) as container:
        info = describe(container, path)
        stream = container.streams.audio[track]
        if not is_decodable(stream):
            message = f"Audio track {track} of {shown_name(path)} is in a codec that cannot be read here."
            raise SyncdError(ErrorCode.MEDIA_UNREADABLE, message)
        for other in container.streams:
            if other is not stream:
                other.discard = Discard.all
        stream.codec_context.thread_count = 1  # two files are decoded at once; a job has two threads
        described = info.tracks[track]
        rows = evidence_channels(described.channels, described.layout)
        resampler = _Resampler(rows, zero_s(container), report)
        for frame in _frames(_packets(container, stream, path, report, reached), stream, path, report):
            yield from resampler.feed(frame)
        yield from resampler.finish()
        ask_disk(path, reached, all_around=False)
        _check_complete(container, stream, path, report)
        if ending(path, container.format.name) is Ending.UNMARKED:
            report.may_be_cut = True
            report.notes.append(f"{shown_name(path)} lacks the mark of its end: it may be a copy that broke off.")


def _frames(
    packets: Iterator[Packet[AudioStream]], stream: AudioStream, path: Path, report: DecodeReport
) -> Iterator[AudioFrame]:
    for packet in packets:
        if not report.packets:
            report.signals_priming = _signals_priming(packet)
            report.codec = _mpeg_layer(packet) if stream.codec_context.name.startswith(("mp2", "mp3")) else None
        report.packets += 1
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError) as error:
            report.damaged_packets += 1
            if report.damaged_packets > max(MAX_DAMAGED_PACKETS, MAX_DAMAGED_SHARE * report.packets):
                raise unreadable(path, error) from error
            continue
        yield from frames


def _signals_priming(first: Packet[AudioStream]) -> bool:
    """Whether the container says how much of a track's beginning is to be cut away."""
    skip = bytes(first.get_sidedata("skip_samples")) if first.has_sidedata("skip_samples") else b""
    return any(skip[:4])


def _mpeg_layer(packet: Packet[AudioStream]) -> str | None:
    """From the first frame's header (ISO 11172-3, 2.4.2.3): 11 bits of sync, 2 of version, 2 of layer."""
    head = bytes(packet)[:2]
    if len(head) < 2 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    return {0b01: "mp3", 0b10: "mp2", 0b11: "mp1"}.get(head[1] >> 1 & 0b11)


def _packets(
    container: InputContainer, stream: AudioStream, path: Path, report: DecodeReport, reached: Reached
) -> Iterator[Packet[AudioStream]]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except StopIteration:
            return
        except av.FFmpegError as error:
            if not report.packets:
                raise unreadable(path, error) from error
            raise truncated(path) from error
        reached.at_bytes = max(reached.at_bytes, packet.pos or 0)
        yield packet


def _check_complete(container: InputContainer, stream: AudioStream, path: Path, report: DecodeReport) -> None:
    if report.samples == 0:
        raise SyncdError(ErrorCode.NO_AUDIO, f"{shown_name(path)} holds an audio track, but no sound comes out of it.")
    names = set(container.format.name.split(","))
    if not (_LENGTH_IS_KNOWN & names or ("mp3" in names and _counts_its_frames(path))):
        return
    if stream.duration is None or stream.time_base is None:
        return
    expected_s = float(stream.duration * stream.time_base)
    decoded_s = report.samples / SAMPLE_RATE_HZ
    if decoded_s < expected_s - max(MISSING_END_S, 0.01 * expected_s):
        raise truncated(path, decoded_s=decoded_s, expected_s=expected_s)


def _counts_its_frames(path: Path) -> bool:
    """Whether an MP3's first frame is a Xing, Info or VBRI header: only then is its duration more than a guess."""
    with path.open("rb") as file:
        head = file.read(10)
        tag_bytes = 0
        if head[:3] == b"ID3" and len(head) == 10:
            tag_bytes = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        file.seek(tag_bytes)
        frame = file.read(_MP3_HEAD_BYTES)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


@dataclass(frozen=True)
class _FrameShape:
    """What a filter graph is built for."""

    rate_hz: int
    sample_format: str
    layout: str
    channels: int

    @classmethod
    def of(cls, frame: AudioFrame) -> _FrameShape:
        return cls(frame.sample_rate, frame.format.name, frame.layout.name, frame.layout.nb_channels)


class _Resampler:
    """Frames in, blocks at 16 kHz out; keeps the output on the presentation's clock."""

    def __init__(self, rows: tuple[str, ...], origin_s: float, report: DecodeReport) -> None:
        self._rows = rows
        self._origin_s = origin_s
        self._report = report
        self._graph: _Graph | None = None
        self._tick_s = 0.0
        self._expected_s = 0.0
        self._waiting_s = 0.0

    def feed(self, frame: AudioFrame) -> Iterator[NDArray[np.float32]]:
        if frame.samples == 0 or frame.sample_rate <= 0:
            return
        graph = self._graph
        if graph is None:
            # Once a graph and not once a frame: making the fraction costs more than all else that is done here.
            self._tick_s = float(frame.time_base or 0.0)
        start_s = self._frame_start_s(frame)
        jumped = graph is not None and abs(start_s - self._expected_s) > MAX_JUMP_S
        changed = graph is not None and (frame.sample_rate, frame.layout.nb_channels, frame.format.name) != graph.key
        if graph is None or jumped or changed:
            self._report.changed_format += changed
            yield from self.finish()
            if jumped and not 0.0 < start_s - self._expected_s <= LONGEST_SILENCE_S:
                self._report.clock_jumps += 1
                self._origin_s -= self._expected_s - start_s
                start_s = self._expected_s
            yield from self._silence_until(start_s)
            graph = self._graph = _Graph(frame, self._rows, start_s - self._report.samples / SAMPLE_RATE_HZ)
        graph.push(frame)
        frame_s = frame.samples / frame.sample_rate
        self._expected_s = start_s + frame_s
        self._waiting_s += frame_s
        if self._waiting_s >= SECONDS_BETWEEN_PULLS:
            self._waiting_s = 0.0
            yield from self._counted(graph.pull())

    def finish(self) -> Iterator[NDArray[np.float32]]:
        """What the graph still holds; afterwards a new one starts."""
        if self._graph is not None:
            self._graph.push(None)
            yield from self._counted(self._graph.pull())
            self._graph = None
            self._waiting_s = 0.0

    def _frame_start_s(self, frame: AudioFrame) -> float:
        pts = frame.pts
        if pts is None or not self._tick_s:
            return self._expected_s
        return pts * self._tick_s - self._origin_s

    def _silence_until(self, start_s: float) -> Iterator[NDArray[np.float32]]:
        """Whole blocks of it: what is left, less than a block, the graph adds to the sample."""
        while start_s - self._report.samples / SAMPLE_RATE_HZ > BLOCK_SAMPLES / SAMPLE_RATE_HZ:
            yield from self._counted(iter((np.zeros((len(self._rows), BLOCK_SAMPLES), dtype=np.float32),)))

    def _counted(self, blocks: Iterator[NDArray[np.float32]]) -> Iterator[NDArray[np.float32]]:
        for block in blocks:
            self._report.samples += block.shape[1]
            yield self._numbers_only(block)

    def _numbers_only(self, block: NDArray[np.float32]) -> NDArray[np.float32]:
        if max(block.max(), -block.min()) <= LOUDEST:  # false for NaN too
            return block
        impossible = ~(np.abs(block) <= LOUDEST)
        self._report.impossible_samples += int(np.count_nonzero(impossible))
        block[impossible] = 0.0
        return block


class _Graph:
    """libavfilter at work on frames of one shape: trim, place, fold into rows, resample, cut into blocks."""

    def __init__(self, frame: AudioFrame, rows: tuple[str, ...], start_s: float) -> None:
        shape = _FrameShape.of(frame)
        self.key = (shape.rate_hz, shape.channels, shape.sample_format)
        time_base = frame.time_base or Fraction(1, shape.rate_hz)
        graph = av.filter.Graph()
        known_layout = is_known(shape.layout)
        self._source = graph.add_abuffer(
            sample_rate=shape.rate_hz,
            format=shape.sample_format,
            layout=shape.layout if known_layout else None,
            channels=shape.channels,
            time_base=time_base,
        )
        layout = _CARRIERS[len(rows)]
        chain = [*_placing(frame, shape.rate_hz, time_base, start_s), *_joining(frame), *_folding(shape, rows, layout)]
        resampling = (
            f"{SAMPLE_RATE_HZ}:async=1:first_pts=0:min_comp=0.00001:min_hard_comp={GAP_S}"
            f":out_sample_fmt=fltp:out_chlayout={layout}"
        )
        chain.append(("aresample", resampling))
        chain.append(("asetnsamples", f"n={BLOCK_SAMPLES}:p=0"))
        last: FilterContext = self._source
        for name, arguments in [*chain, ("abuffersink", None)]:
            following = graph.add(name, arguments)
            last.link_to(following)
            last = following
        self._sink = last
        self._graph = graph
        graph.configure()

    def push(self, frame: AudioFrame | None) -> None:
        self._source.push(frame)

    def pull(self) -> Iterator[NDArray[np.float32]]:
        while True:
            try:
                frame = self._sink.pull()
            except (av.BlockingIOError, av.EOFError):
                return
            if isinstance(frame, AudioFrame):
                yield frame.to_ndarray().astype(np.float32, copy=False)


def _placing(frame: AudioFrame, rate_hz: int, time_base: Fraction, start_s: float) -> list[tuple[str, str | None]]:
    """Filters that put the frame's first sample at `start_s` of the graph's clock (cut away what lies before 0)."""
    early_samples = max(0, round(-start_s * rate_hz))
    late_samples = max(0, round(start_s * rate_hz))
    if not early_samples and not late_samples and frame.pts == 0 and time_base == Fraction(1, rate_hz):
        return []
    trim: list[tuple[str, str | None]] = [("atrim", f"start_sample={early_samples}")] if early_samples else []
    clock = "N" if frame.pts is None else "PTS-STARTPTS"
    return [*trim, ("asettb", f"1/{rate_hz}"), ("asetpts", f"{clock}+{late_samples}")]


def _joining(frame: AudioFrame) -> list[tuple[str, str | None]]:
    """Filters that join frames shorter than the resampler's own delay.

    Until its first output, the resampler takes every disagreement of timestamps and samples for a gap, be it the jitter
    of a container that counts in milliseconds.
    """
    return [("asetnsamples", "n=1024:p=0")] if frame.samples < SHORT_FRAME_S * frame.sample_rate else []


def _folding(shape: _FrameShape, rows: tuple[str, ...], layout: str) -> list[tuple[str, str | None]]:
    """Filters that make the rows; before the resampler, so that it works on few channels.

    In floating point: the halves of 16-bit numbers are none.
    """
    if shape.channels == len(rows) == 1:
        return []
    weights = fold_of(shape.channels, shape.layout).like(rows)
    sums = (_sum_text(i, row) for i, row in enumerate(weights))
    return [("aformat", "sample_fmts=fltp"), ("pan", "|".join((layout, *sums)))]


def _sum_text(index: int, row: tuple[float, ...]) -> str:
    """One row as the filter `pan` reads it: ``c1=0.5*c0-0.5*c1``."""
    terms = "".join(f"{weight:+.9f}*c{channel}" for channel, weight in enumerate(row) if weight)
    return f"c{index}={terms.removeprefix('+') or '0*c0'}"
