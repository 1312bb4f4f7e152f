"""Pairs in memory with a known truth, from plain to hopeless: drawn by number, mixed from programmes rendered once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
import scipy.signal
import soxr

from tests.material.bed import Remix
from tests.material.programme import Programme
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream
from tests.unit.in_memory import SR_HZ

FIRST_SEED: Final = 700_000
"""Of programmes that no other test or benchmark renders."""
PROGRAMMES: Final = 48
NEIGHBOURS: Final = 25
"""Pairs in a row that are drawn from one programme."""
LENGTHS_S: Final = (30.0, 60.0, 120.0, 200.0)
SHORTEST_S: Final = 8.0
_BLOCK_S: Final = 4

What = Literal["shared", "remixed", "edited", "dialogue", "unrelated", "title"]
SHARES: Final[dict[What, float]] = {
    "shared": 0.35,
    "remixed": 0.15,
    "edited": 0.15,
    "dialogue": 0.1,
    "unrelated": 0.17,
    "title": 0.08,
}
"""How often each is drawn. It is the prior of every probability that follows."""


class TruePiece(NamedTuple):
    """Where the dub (its own clock, seconds) lies at an offset: ``t_master = rate * t_dub + offset_s``."""

    start_s: float
    end_s: float
    offset_s: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sounds (2, n) at 16 kHz and what is true of them; no pieces where they share nothing."""

    what: What
    master: Samples
    dub: Samples
    rate: float
    pieces: tuple[TruePiece, ...]


class _Stems(NamedTuple):
    bed: Samples
    remix: Samples
    dialogues: tuple[Samples, Samples]

    @property
    def seconds(self) -> float:
        return float(self.bed.shape[1] / SR_HZ)


def pair(number: int) -> Pair:
    """The pair of that number; neighbours are of one programme."""
    rng = stream(FIRST_SEED, "calibration", number)
    stems = _stems(number // NEIGHBOURS % PROGRAMMES)
    what = list(SHARES)[int(rng.choice(len(SHARES), p=list(SHARES.values())))]
    seconds = min(stems.seconds - 2.0, float(np.exp(rng.uniform(np.log(SHORTEST_S), np.log(stems.seconds)))))
    most_s = min(5.0, seconds / 4)
    first = rng.uniform(0.0, stems.seconds - seconds)
    a, b = (round((first + rng.uniform(0.0, most_s)) * SR_HZ) for _ in range(2))
    end = round((first + seconds) * SR_HZ)
    bed_db, gain_db = rng.uniform(-26.0, 14.0), rng.uniform(-9.0, 3.0)
    master = _mix(stems.bed[:, a:end], stems.dialogues[0][:, a:end], bed_db)
    bed = {"remixed": stems.remix, "dialogue": _other(number, stems)}.get(what, stems.bed)
    dub = _mix(bed[:, b:end], stems.dialogues[1][:, b:end], bed_db + gain_db)
    pieces: tuple[TruePiece, ...] = (TruePiece(0.0, dub.shape[1] / SR_HZ, (b - a) / SR_HZ),)
    if what == "edited":
        dub, pieces = _edited(dub, pieces[0].offset_s, rng)
    elif what in {"unrelated", "title"}:
        dub, pieces = _foreign(number, dub, rng, shares_title=what == "title")
    rate = float(rng.choice([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 25 / 24, 24 / 25, 1.001, 1 / 1.001]))
    if rate != 1.0:
        dub = np.asarray(soxr.resample(dub.T, rate, 1.0).T, np.float32)
        pieces = tuple(TruePiece(p.start_s / rate, p.end_s / rate, p.offset_s) for p in pieces)
    return Pair(what, _dirty(master, rng), _dirty(dub, rng), rate, pieces)


@functools.lru_cache(maxsize=3)
def _stems(number: int) -> _Stems:
    seconds, seed = LENGTHS_S[number % len(LENGTHS_S)], FIRST_SEED + number
    plain, remixed = Programme(seed, seconds), Programme(seed, seconds, remix=Remix(seed))

    def whole(render: functools.partial[Samples]) -> Samples:
        block, total = _BLOCK_S * RATE_HZ, round(seconds * RATE_HZ)
        parts = [render(at, min(block, total - at)) for at in range(0, total, block)]
        return np.asarray(soxr.resample(np.concatenate(parts, axis=1).T, RATE_HZ, SR_HZ).T, np.float32)

    return _Stems(
        whole(functools.partial(plain.bed)),
        whole(functools.partial(remixed.bed)),
        (whole(functools.partial(plain.dialogue, 1)), whole(functools.partial(plain.dialogue, 2))),
    )


@functools.lru_cache(maxsize=3)
def _foreign_mix(number: int) -> Samples:
    """A programme that is nobody's master."""
    programme = Programme(FIRST_SEED + PROGRAMMES + number, 200.0).mix(3 + number % 3)
    parts = [programme(at, _BLOCK_S * RATE_HZ) for at in range(0, 200 * RATE_HZ, _BLOCK_S * RATE_HZ)]
    return np.asarray(soxr.resample(np.concatenate(parts, axis=1).T, RATE_HZ, SR_HZ).T, np.float32)


def _other(number: int, stems: _Stems) -> Samples:
    """Another programme's sound, as long as the stems', for a bed that is not shared."""
    sound = _foreign_mix(number // NEIGHBOURS % 12)
    return np.float32(0.5) * np.resize(sound, (2, stems.bed.shape[1]))


def _mix(bed: Samples, dialogue: Samples, bed_db: float) -> Samples:
    return np.asarray(bed * np.float32(db_to_gain(bed_db)) + dialogue, np.float32)


def _edited(dub: Samples, offset_s: float, rng: np.random.Generator) -> tuple[Samples, tuple[TruePiece, ...]]:
    """A stretch is cut out, or something else is put in."""
    n = dub.shape[1]
    at = round(n * rng.uniform(0.3, 0.6))
    length = round(min(20 * SR_HZ, n / 5) * rng.uniform(0.1, 1.0))
    if rng.random() < 0.5:
        rest, moved_s = dub[:, at + length :], offset_s + length / SR_HZ
        joined, second = np.concatenate((dub[:, :at], rest), axis=1), at
    else:
        inserted = _foreign_mix(int(rng.integers(12)))[:, :length]
        moved_s = offset_s - inserted.shape[1] / SR_HZ
        joined, second = np.concatenate((dub[:, :at], inserted, dub[:, at:]), axis=1), at + inserted.shape[1]
    pieces = TruePiece(0.0, at / SR_HZ, offset_s), TruePiece(second / SR_HZ, joined.shape[1] / SR_HZ, moved_s)
    return joined, pieces


def _foreign(
    number: int, dub: Samples, rng: np.random.Generator, *, shares_title: bool
) -> tuple[Samples, tuple[TruePiece, ...]]:
    sound = _foreign_mix(number // NEIGHBOURS % 12)
    begin = int(rng.integers(0, max(1, sound.shape[1] - dub.shape[1])))
    other = np.resize(sound[:, begin:], dub.shape)
    if not shares_title:
        return other, ()
    title = round(dub.shape[1] * rng.uniform(0.05, 0.15))
    return np.concatenate((dub[:, :title], other[:, title:]), axis=1), ()


def _dirty(sound: Samples, rng: np.random.Generator) -> Samples:
    """Noise, a narrower band, one channel for both: each now and then."""
    out = sound
    if rng.random() < 0.3:
        hz = float(rng.choice([2_500.0, 4_000.0, 6_000.0]))
        out = scipy.signal.sosfilt(scipy.signal.butter(4, hz, fs=SR_HZ, output="sos"), out, axis=1)
    if rng.random() < 0.3:
        out = np.repeat(out.mean(axis=0, keepdims=True), 2, axis=0)
    noise = db_to_gain(rng.uniform(-75.0, -35.0)) * rng.standard_normal(out.shape)
    return np.asarray(out + noise, np.float32)
