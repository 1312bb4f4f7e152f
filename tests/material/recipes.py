"""A case of the corpus as a value: how both sides are made, and what is true of them. Nothing is rendered here."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Literal

from tests.material.dirt import Dirt
from tests.material.programme import BED_LEVEL_DB, Outside
from tests.material.scenes import Style
from tests.material.seeds import RATE_HZ
from tests.material.writers import Encoding

Layout = Literal["mono", "stereo", "5.1", "7.1"]
Source = Literal["programme", "foreign", "silence", "tone", "noise", "slate"]
Speech = Literal["formants", "espeak"]
Stretcher = Literal["atempo", "vocoder", "wsola"]
Expects = Literal["line", "segments", "refusal", "ambiguous", "title"]
"""What a right answer is: one line; every segment; no offset; the line or a refusal; a refusal or the title alone."""

SHORTEST_SEGMENT_S = 3.0
"""Shorter stretches of the programme are not asked for."""


@dataclass(frozen=True, slots=True)
class Side:
    """How one side is mixed, treated and written."""

    language: int | None = 1
    """Seed of the language spoken; None: no dialogue."""
    bed_db: float | None = BED_LEVEL_DB
    """Bed against dialogue; None: no bed."""
    duck_db: float = 0.0
    remix_seed: int | None = None
    """The bed's layers balanced and placed anew, in another room; None: the bed as it is."""
    bed_seed: int | None = None
    """The bed of another programme."""
    loop_s: float | None = None
    """The bed is its own first seconds, again and again."""
    jitter_s: float | None = None
    """How far lines may start from their slots; None: the programme's usual 150 ms."""
    speech: Speech = "formants"
    only: Source | None = None
    """Not the programme at all, but this from end to end."""
    dirt: tuple[Dirt, ...] = ()
    """In this order, on the whole mix."""
    layout: Layout = "stereo"
    fold_down: bool = False
    """Mixed in 5.1, then folded to stereo (ITU-R BS.775)."""
    sample_rate_hz: int = RATE_HZ
    encodings: tuple[Encoding, ...] = (Encoding(".wav", "wav", "pcm_s16le"),)
    """The last is the file's; those before it are earlier generations, decoded again."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of the dub before its speed is changed, in samples at 48 kHz."""

    source: Source
    n_samples: int
    first_sample: int = 0
    """Of the programme (master's clock), or of the foreign one."""
    seed: int = 0
    """Of a foreign programme or a noise."""


@dataclass(frozen=True, slots=True)
class Speed:
    """How the dub is played: ``t_assembled = rate * t_dub + phase_s``, and a wobble about that line."""

    rate: float = 1.0
    phase_s: float = 0.0
    """Parts of a sample, so that no offset is a whole one."""
    wobble_share: float = 0.0
    """Greatest deviation of the speed from its mean (0.001: 0.1 %)."""
    wobble_hz: float = 0.0
    stretcher: Stretcher | None = None
    """None: pitch moves with the speed."""
    semitones: float = 0.0
    """Of pitch, where a stretcher works; its sign is the sound's: positive is higher."""

    @property
    def wobble_s(self) -> float:
        """Greatest distance from the mean line."""
        return self.wobble_share / (6.283185307179586 * self.wobble_hz) if self.wobble_share else 0.0


@dataclass(frozen=True, slots=True)
class TrueSegment:
    """A stretch of the dub's clock whose material is the master's: ``t_master = rate * t_dub + offset_s`` within it."""

    dub_start_s: float
    dub_end_s: float
    offset_s: float

    @property
    def duration_s(self) -> float:
        return self.dub_end_s - self.dub_start_s


@dataclass(frozen=True, slots=True)
class TrueCut:
    """An inner boundary on the dub's clock; anywhere within the silence around it is as right as the place itself."""

    dub_s: float
    silent_from_s: float
    silent_to_s: float


@dataclass(frozen=True, slots=True)
class CaseTruth:
    """What is true of a case, and how near an answer must come."""

    rate: float
    offset_s: float | None
    """Of the longest segment; None: there is no offset to find."""
    segments: tuple[TrueSegment, ...]
    cuts: tuple[TrueCut, ...]
    pitch_kept: bool
    semitones: float
    """Of the dub's pitch against the master's."""
    expects: Expects
    limit_ms: float
    rate_limit_ppm: float
    interval_counts: bool
    """The stated interval must hold the true offset."""
    master_duration_s: float
    dub_duration_s: float


@dataclass(frozen=True, slots=True)
class Case:
    """A pair that could be made: everything follows from these values."""

    name: str
    kind: str
    seed: int
    duration_s: float
    """The master's."""
    master: Side
    dub: Side
    pieces: tuple[Piece, ...]
    speed: Speed = Speed()
    outside: Outside = "programme"
    style: Style | None = None
    """Shared by the programme and everything foreign."""
    blacks: tuple[tuple[float, float], ...] = ()
    """Stretches of the programme (start, end) that are silent in every version of it."""
    expects: Expects = "line"
    limit_ms: float = 0.1
    rate_limit_ppm: float = 2.0
    interval_counts: bool = False

    @property
    def dub_duration_s(self) -> float:
        """As the pieces and the speed make it."""
        return sum(piece.n_samples for piece in self.pieces) / RATE_HZ / self.speed.rate

    def truth(self) -> CaseTruth:
        """What follows from the recipe; how quiet the sound is around cuts is not known before it is rendered."""
        segments = () if self.expects == "refusal" else self._segments()
        longest = max(segments, key=lambda segment: segment.duration_s, default=None)
        known = longest is not None and self.expects != "title"
        kept = self.speed.stretcher is not None
        return CaseTruth(
            rate=self.speed.rate,
            offset_s=longest.offset_s if known and longest is not None else None,
            segments=segments,
            cuts=_cuts(segments),
            pitch_kept=kept,
            semitones=self.speed.semitones if kept else semitones_of(self.speed.rate),
            expects=self.expects,
            limit_ms=self.limit_ms,
            rate_limit_ppm=self.rate_limit_ppm,
            interval_counts=self.interval_counts,
            master_duration_s=self.duration_s,
            dub_duration_s=self.dub_duration_s,
        )

    def _segments(self) -> tuple[TrueSegment, ...]:
        """The pieces of programme that the master has too, on the dub's clock; neighbours on one line are one."""
        rate, phase_s = self.speed.rate, self.speed.phase_s
        found: list[TrueSegment] = []
        assembled = 0
        for piece in self.pieces:
            if piece.source == "programme":
                ahead_s = (piece.first_sample - assembled) / RATE_HZ
                start_s = max(assembled / RATE_HZ, -ahead_s)
                end_s = min((assembled + piece.n_samples) / RATE_HZ, self.duration_s - ahead_s)
                offset_s = ahead_s + phase_s
                start_s, end_s = (start_s - phase_s) / rate, (end_s - phase_s) / rate
                if found and found[-1].offset_s == offset_s and start_s - found[-1].dub_end_s < 1e-6:
                    start_s = found.pop().dub_start_s
                if end_s > start_s:
                    found.append(TrueSegment(max(0.0, start_s), min(end_s, self.dub_duration_s), offset_s))
            assembled += piece.n_samples
        return tuple(found)


def _cuts(segments: tuple[TrueSegment, ...]) -> tuple[TrueCut, ...]:
    places: list[float] = []
    for before, after in itertools.pairwise(segments):
        places.append(before.dub_end_s)
        if after.dub_start_s - before.dub_end_s > 1e-3:
            places.append(after.dub_start_s)
    return tuple(TrueCut(place_s, place_s, place_s) for place_s in places)


def semitones_of(rate: float) -> float:
    """How far the pitch moves when sound is played ``rate`` times as fast."""
    return 12.0 * math.log2(rate)
