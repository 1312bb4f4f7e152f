"""Long pairs that cost next to nothing: shared noise that swells and fades, under noise of either side alone."""

from __future__ import annotations

import wave
from pathlib import Path
from typing import Final

import numpy as np

from tests.material.pairs import PairTruth
from tests.material.seeds import Samples

_RATE_HZ: Final = 48_000
_MINUTE_S: Final = 60
_LEVELS_PER_S: Final = 2
_SHARED, _OWN = 600.0, 400.0
"""Of 16-bit full scale."""


def make_swelling_pair(folder: Path, duration_s: float, *, offset_s: float = -3.21713, stem: str = "long") -> PairTruth:
    """Two mono WAV files at 48 kHz; the dub is late (negative) or begins later in the programme, to the sample."""
    shift = round(offset_s * _RATE_HZ)
    paths = folder / f"{stem}_master.wav", folder / f"{stem}_dub.wav"
    bed, *own = (np.random.default_rng(seed) for seed in (1, 2, 3))
    total = round(duration_s * _RATE_HZ)
    with wave.open(str(paths[0]), "wb") as master, wave.open(str(paths[1]), "wb") as dub:
        for file in (master, dub):
            file.setparams((1, 2, _RATE_HZ, 0, "NONE", "not compressed"))
        dub.writeframesraw(bytes(2 * max(0, -shift)))
        skipped = max(0, shift)
        for first in range(0, total, _MINUTE_S * _RATE_HZ):
            n = min(_MINUTE_S * _RATE_HZ, total - first)
            shared = _SHARED * _swelling(bed, n, contrast=0.7)
            for file, rng in zip((master, dub), own, strict=True):
                sound = np.clip(shared + _OWN * _swelling(rng, n, contrast=1.0), -32_767, 32_767).astype("<i2")
                file.writeframesraw(sound[skipped if file is dub else 0 :].tobytes())
            skipped = max(0, skipped - n)
    lengths_s = duration_s, duration_s - shift / _RATE_HZ
    return PairTruth(*paths, shift / _RATE_HZ, 1.0, "swell", 1, *lengths_s)


def _swelling(rng: np.random.Generator, n: int, *, contrast: float) -> Samples:
    levels = np.exp(contrast * rng.standard_normal(n * _LEVELS_PER_S // _RATE_HZ + 2, dtype=np.float32))
    swell = np.interp(np.arange(n) * (_LEVELS_PER_S / _RATE_HZ), np.arange(levels.size), levels)
    return np.asarray(rng.standard_normal(n, dtype=np.float32) * swell, np.float32)
