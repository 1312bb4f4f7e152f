"""Pairs of files with a known truth, and files that are at fault."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from tests.material.delay import Render
from tests.material.programme import BED_LEVEL_DB, Outside, Programme
from tests.material.seeds import RATE_HZ, Samples, db_to_gain
from tests.material.writers import ENCODINGS, open_writer

_BLOCK_S: Final = 4.0
_FAR: Final = 1_000_003
"""From one programme's seed to that of one that nobody asks for."""


@dataclass(frozen=True, slots=True)
class PairTruth:
    """Two files and what is true of them: ``t_master = rate * t_dub + offset_s``.

    ``offset_s`` is that of the sound handed to the encoders; what an encoder adds and its container does not signal
    (bare AAC in ADTS: 1024 samples, bare AC-3: 256; the other encodings: none) is not in it.
    """

    master_path: Path
    dub_path: Path
    offset_s: float
    rate: float
    kind: str
    seed: int
    master_duration_s: float
    dub_duration_s: float


@dataclass(frozen=True, slots=True)
class UnrelatedPair:
    """Two files that have nothing to do with each other: no offset is true of them."""

    master_path: Path
    dub_path: Path
    kind: str = "unrelated"


def make_pair(
    folder: Path,
    *,
    seed: int,
    duration_s: float = 60.0,
    offset_s: float = 0.0,
    master_name: str = "show_master",
    dub_name: str = "show_dub_fr",
    container: str = "wav",
    dub_container: str | None = None,
    sample_rate_hz: int = RATE_HZ,
    dub_sample_rate_hz: int | None = None,
    channels: int = 2,
    dub_channels: int | None = None,
    dub_duration_s: float | None = None,
    outside: Outside = "silence",
    bed_level_db: float | None = BED_LEVEL_DB,
    dub_gain_db: float = 0.0,
    duck_db: float = 0.0,
    master_language: int | None = 1,
    dub_language: int | None = 2,
    kind: str = "plain",
) -> PairTruth:
    """Write a master and a dub of one programme into ``folder``.

    ``offset_s`` may be any part of a sample; negative: the dub is late. Names come without suffix, which
    ``container`` (a key of ``writers.ENCODINGS``) gives. ``outside`` is what fills the dub's head and tail where the
    master has nothing: silence, or more of the programme. Languages are seeds (None: no dialogue; the same twice: the
    same lines); ``bed_level_db=None`` leaves nothing shared but the script. The dub is as long as the master unless
    ``dub_duration_s`` says otherwise.
    """
    length_s = duration_s if dub_duration_s is None else dub_duration_s
    programme = Programme(seed, duration_s, sample_rate_hz, outside=outside)
    master_mix = programme.mix(master_language, bed_level_db=bed_level_db, duck_db=duck_db)
    dub_mix = programme.mix(
        dub_language,
        bed_level_db=bed_level_db,
        duck_db=duck_db,
        shift_s=offset_s,
        sample_rate_hz=dub_sample_rate_hz,
    )
    master = Track(folder / master_name, container, master_mix, duration_s, sample_rate_hz, channels)
    dub = Track(
        folder / dub_name,
        dub_container or container,
        dub_mix,
        length_s,
        dub_sample_rate_hz or sample_rate_hz,
        dub_channels or channels,
        gain_db=dub_gain_db,
    )
    master_path, dub_path = write_together([master, dub])
    return PairTruth(master_path, dub_path, offset_s, 1.0, kind, seed, duration_s, length_s)


def make_unrelated_pair(
    folder: Path,
    *,
    seed: int,
    duration_s: float = 60.0,
    dub_duration_s: float | None = None,
    master_name: str = "show_master",
    dub_name: str = "show_dub_fr",
    container: str = "wav",
    sample_rate_hz: int = RATE_HZ,
    channels: int = 2,
) -> UnrelatedPair:
    """Write two different programmes in two languages under the names of a pair."""
    length_s = duration_s if dub_duration_s is None else dub_duration_s
    master_mix = Programme(seed, duration_s, sample_rate_hz).mix(1)
    dub_mix = Programme(seed + _FAR, length_s, sample_rate_hz).mix(2)
    master = Track(folder / master_name, container, master_mix, duration_s, sample_rate_hz, channels)
    dub = Track(folder / dub_name, container, dub_mix, length_s, sample_rate_hz, channels)
    master_path, dub_path = write_together([master, dub])
    return UnrelatedPair(master_path, dub_path)


@dataclass(frozen=True, slots=True)
class Track:
    """A file to be written: where (the encoding gives the suffix), what, how long."""

    stem: Path
    encoding: str
    source: Render
    duration_s: float
    sample_rate_hz: int
    channels: int
    gain_db: float = 0.0

    @property
    def path(self) -> Path:
        """The stem with its suffix."""
        return self.stem.with_name(self.stem.name + ENCODINGS[self.encoding].suffix)

    def block(self, start_s: float, end_s: float) -> Samples:
        """What is written for a stretch, ``(channels, n)``; nothing after the end."""
        total = round(self.duration_s * self.sample_rate_hz)
        first, end = (min(total, round(moment_s * self.sample_rate_hz)) for moment_s in (start_s, end_s))
        sound = self.source(first, end - first) * np.float32(db_to_gain(self.gain_db))
        return sound.mean(axis=0, keepdims=True) if self.channels == 1 else sound


def write_together(tracks: Sequence[Track]) -> list[Path]:
    """Write tracks side by side, block by block, so that what they share is made once; returns their paths."""
    with contextlib.ExitStack() as stack:
        writers = [
            stack.enter_context(open_writer(track.path, track.sample_rate_hz, encoding=track.encoding))
            for track in tracks
        ]
        start_s, end_s = 0.0, max(track.duration_s for track in tracks)
        while start_s < end_s:
            for track, writer in zip(tracks, writers, strict=True):
                block = track.block(start_s, start_s + _BLOCK_S)
                if block.shape[1]:
                    writer.write(block)
            start_s += _BLOCK_S
    return [track.path for track in tracks]
