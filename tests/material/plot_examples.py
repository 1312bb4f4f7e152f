"""Figures for the tests of pages: plausible, of the size that the worker makes them, any field by name."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from syncd.plots import LagCurve, Look, Place, Plots, Windows

COLUMNS, BANDS, PEAKS = 160, 40, 400


def look(seed: int, beats_s: tuple[float, ...] = (0.5, 1.0)) -> Look:
    """Noise, which no coding makes smaller."""
    rng = np.random.default_rng(seed)
    return Look(rng.bytes(PEAKS), rng.bytes(COLUMNS * BANDS), beats_s)


def place(label: str, master_s: float, *, is_placed: bool = True) -> Place:
    """An excerpt of four seconds."""
    after, likeness = (look(3), 0.99) if is_placed else (None, None)
    return Place(label, master_s, 4.0, COLUMNS, look(1), look(2), after, 0.02, likeness)


def plots(*, windows: int = 220, places: int = 4, is_placed: bool = True, **changes: Any) -> Plots:
    """Of `Film`, late by 2.456 s."""
    at_s = tuple(8.0 * i for i in range(windows))
    curve = tuple(round(float(v), 1) for v in np.random.default_rng(4).normal(0.0, 1.0, 800))
    plain = Plots(
        channel="side",
        windows=Windows(at_s, (-2456.0,) * windows, (True,) * windows) if is_placed else None,
        whole=LagCurve(-1796.0, 4.5, curve, 8.0),
        close=LagCurve(-2.476, 1 / 16_000, (0.5,) * 320 + (60.0,) + (0.5,) * 320, 11.0) if is_placed else None,
        places=tuple(place(f"place {i}", 100.0 * i, is_placed=is_placed) for i in range(places)),
        master_speech=((1.0, 2.5), (10.0, 14.0)),
        dub_speech=((3.5, 5.0), (12.4, 16.5)),
    )
    return replace(plain, **changes)
