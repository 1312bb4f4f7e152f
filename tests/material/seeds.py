"""Random streams that depend on names and numbers only, so that any part can be made without the parts before it."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]
"""Sound: ``(samples,)`` for one channel, ``(channels, samples)`` for several; full scale is ±1."""

RATE_HZ: Final = 48_000
"""Everything is made at this rate; other rates are resampled from it."""

_INDEX_BIAS: Final = 2**31
"""Scenes before the programme's start have negative numbers; seeds may not."""


def stream(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """A generator of its own for each (seed, purpose, indices); the same one each time."""
    words = [seed + _INDEX_BIAS, zlib.crc32(purpose.encode()), *(index + _INDEX_BIAS for index in indices)]
    return np.random.Generator(np.random.SFC64(np.random.SeedSequence(words)))


def db_to_gain(level_db: float) -> float:
    """Amplitude factor of a level."""
    return float(10.0 ** (level_db / 20.0))
