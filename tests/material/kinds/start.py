"""What the kinds begin with: a plain case, and what is often done to one."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from tests.material.dirt import (
    Dirt,
)
from tests.material.recipes import Case, Piece, Side, Speech
from tests.material.seeds import RATE_HZ

Rng = np.random.Generator

PAL: Final = 25.0 * 1001.0 / 24_000.0

FILM: Final = 25.0 / 24.0

NTSC: Final = 1001.0 / 1000.0


def plain(rng: Rng, number: int, *, duration_s: float | None = None) -> Case:
    """Shared bed, two languages (each third case as espeak-ng speaks them), an offset of some seconds, WAV."""
    length_s = float(rng.uniform(90.0, 240.0)) if duration_s is None else duration_s
    offset_s = float(rng.uniform(-12.0, 12.0)) if number % 4 else float(rng.uniform(-0.3, 0.3))
    speech: Speech = "espeak" if number % 3 == 1 else "formants"
    case = Case(
        name="",
        kind="",
        seed=new_seed(rng),
        duration_s=round(length_s, 2),
        master=Side(language=new_seed(rng), speech=speech),
        dub=Side(language=new_seed(rng), speech=speech),
        pieces=(),
        outside="programme" if rng.uniform() < 0.5 else "silence",
    )
    return in_one_piece(case, offset_s)


def in_one_piece(case: Case, offset_s: float, *, rate: float = 1.0, dub_s: float | None = None) -> Case:
    """The dub in one piece on the line; as long as the master (at its speed) unless ``dub_s`` says otherwise."""
    first = int(np.floor(offset_s * RATE_HZ))
    n_samples = round((case.duration_s if dub_s is None else dub_s * rate) * RATE_HZ)
    speed = replace(case.speed, rate=rate, phase_s=offset_s - first / RATE_HZ)
    return replace(case, pieces=(Piece("programme", n_samples, first),), speed=speed)


def offset_of(case: Case) -> float:
    """Of a case in one piece."""
    return case.pieces[0].first_sample / RATE_HZ + case.speed.phase_s


def new_seed(rng: Rng) -> int:
    return int(rng.integers(1, 1 << 30))


def on_dub(case: Case, *dirt: Dirt) -> Case:
    return replace(case, dub=replace(case.dub, dirt=(*case.dub.dirt, *dirt)))


def with_bed(case: Case, bed_db: float) -> Case:
    return replace(case, master=replace(case.master, bed_db=bed_db), dub=replace(case.dub, bed_db=bed_db))
