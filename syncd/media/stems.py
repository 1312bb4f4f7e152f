"""A side that came as one mono file a channel: probed and decoded as if it were one file of that layout."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import av
import numpy as np
from numpy.typing import NDArray

from syncd.domain import AudioTrack, MediaInfo
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.layouts import fold_of
from syncd.media.names import shown_name
from syncd.media.probe import probe

_NATIVE_ORDER: Final = {
    "L": "FL",
    "R": "FR",
    "C": "FC",
    "LFE": "LFE",
    "Lrs": "BL",
    "Rrs": "BR",
    "Ls": "SL",
    "Rs": "SR",
}
"""The channels that stems are named after, by ffmpeg's names and in its order."""

SAME_LENGTH_S: Final = 0.01
"""Stems that differ by more were not bounced together."""


@dataclass(frozen=True, slots=True)
class MonoFile:
    """One stem."""

    channel: str
    path: Path


def in_native_order(stems: Sequence[MonoFile]) -> tuple[MonoFile, ...]:
    """The stems as their layout lists its channels."""
    order = list(_NATIVE_ORDER)
    return tuple(sorted(stems, key=lambda stem: order.index(stem.channel)))


def layout_of(stems: Sequence[MonoFile]) -> str:
    """ffmpeg's name for what the stems are together, such as 5.1(side)."""
    return str(av.AudioLayout("+".join(_NATIVE_ORDER[stem.channel] for stem in in_native_order(stems))).name)


def probe_stems(stems: Sequence[MonoFile]) -> MediaInfo:
    """What all stems are as one file: as long as the longest, else as the first says. Raises as `probe` does."""
    infos = [probe(stem.path) for stem in in_native_order(stems)]
    first = infos[0].tracks[0]
    durations = [info.duration_s for info in infos if info.duration_s is not None]
    track = AudioTrack(
        index=0,
        codec=first.codec,
        sample_rate_hz=first.sample_rate_hz,
        channels=len(stems),
        layout=layout_of(stems),
        language=first.language,
        title=first.title,
        start_s=min(info.tracks[0].start_s for info in infos),
    )
    return MediaInfo(
        container=infos[0].container,
        duration_s=max(durations, default=None),
        tracks=(track,),
        start_timecode=infos[0].start_timecode,
        frame_rate=infos[0].frame_rate,
        start_of_day_s=infos[0].start_of_day_s,
    )


def decode_stems(stems: Sequence[MonoFile], report: DecodeReport) -> Iterator[NDArray[np.float32]]:
    """As `decode_blocks`, of all stems together: the shorter ones end in silence, and what is odd is noted."""
    voices = [_Voice(stem) for stem in in_native_order(stems)]
    rows = fold_of(len(voices), layout_of(stems)).rows.values()
    while True:
        for voice in voices:
            voice.fill()
        count = min((voice.ready for voice in voices if not voice.is_over), default=0)
        if not count:
            count = max(voice.ready for voice in voices)
        if not count:
            break
        sounds = [voice.take(count) for voice in voices]
        block = np.zeros((len(rows), count), dtype=np.float32)
        for i, row in enumerate(rows):
            for weight, sound in zip(row, sounds, strict=True):
                if weight:
                    block[i] += np.float32(weight) * sound
        report.samples += count
        report.packets += 1
        yield block
    _note(voices, report)


@dataclass
class _Voice:
    """One stem on its way: its blocks, and what of them is not used up."""

    stem: MonoFile
    report: DecodeReport = field(default_factory=DecodeReport)
    is_over: bool = False
    _waiting: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, dtype=np.float32))
    _blocks: Iterator[NDArray[np.float32]] | None = None

    @property
    def ready(self) -> int:
        return self._waiting.size

    def fill(self) -> None:
        if self._blocks is None:
            self._blocks = decode_blocks(self.stem.path, 0, self.report)
        if not self._waiting.size and not self.is_over:
            block = next(self._blocks, None)
            self.is_over = block is None
            if block is not None:
                self._waiting = block[0]  # of a file that is not mono: its fold-down

    def take(self, count: int) -> NDArray[np.float32]:
        taken, self._waiting = self._waiting[:count], self._waiting[count:]
        return taken if taken.size == count else np.pad(taken, (0, count - taken.size))


def _note(voices: Sequence[_Voice], report: DecodeReport) -> None:
    infos = [(voice.stem, probe(voice.stem.path)) for voice in voices]
    lengths_s = [voice.report.samples / SAMPLE_RATE_HZ for voice in voices]
    if max(lengths_s) - min(lengths_s) > SAME_LENGTH_S:
        told = ", ".join(f"{voice.stem.channel} {s:.3f} s" for voice, s in zip(voices, lengths_s, strict=True))
        report.notes.append(f"The stems differ in length ({told}); the shorter ones were filled up with silence.")
    rates_hz = sorted({info.tracks[0].sample_rate_hz for _, info in infos})
    if len(rates_hz) > 1:
        told = " and ".join(str(rate_hz) for rate_hz in rates_hz)
        report.notes.append(f"The stems have different sample rates: {told} Hz.")
    starts = sorted({info.start_timecode for _, info in infos if info.start_timecode})
    if len(starts) > 1:
        report.notes.append(f"The stems carry different start timecodes ({', '.join(starts)}); they were not moved.")
    for stem, info in infos:
        if info.tracks[0].channels != 1:
            channels = info.tracks[0].channels
            report.notes.append(f"{shown_name(stem.path)} is a stem with {channels} channels: they were folded down.")
    for voice in voices:
        report.notes.extend(voice.report.warnings(voice.stem.path))
    report.may_be_cut = any(voice.report.may_be_cut for voice in voices)
    report.signals_priming = voices[0].report.signals_priming
    report.codec = voices[0].report.codec
