"""spectral-embedding: no weights. What changes in a third of a second, coarsely, in a few dozen numbers.

Log-mel levels every 20 ms; of each patch of 16 frames a two-dimensional cosine transform, the low orders of it. The
order that is constant in time is left out altogether: it holds what stays the same for the patch, so neither level nor
equalisation nor a band's own mean matters, and no statistics over a window are needed (frames of different windows are
the same numbers). Every dimension is brought to one scale afterwards, as for all models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.embeddings import FrameRule
from syncd.analysis.features import MelLayout, mel_filters, periodic_hann

Floats = NDArray[np.float32]

NAME: Final = "spectral-embedding"
LAYOUT: Final = MelLayout(n_mels=40)
PATCH_FRAMES: Final = 16
"""0.32 s: a syllable, a beat."""
TIME_ORDERS: Final = range(1, 7)
BAND_ORDERS: Final = 8
RULE: Final = FrameRule(LAYOUT.hop_samples, LAYOUT.n_fft + (PATCH_FRAMES - 1) * LAYOUT.hop_samples, sees_window=False)
FLOOR: Final = 1e-6
"""Mel power below it is silence: -60 dB, so that hiss and dither make no patches."""


@dataclass(frozen=True)
class SpectralEmbedder:
    """See the module; numpy on the CPU, wherever the worker lives."""

    batch: int = 1
    name: str = NAME
    checkpoint: str = ""
    rule: FrameRule = RULE
    dims: int = len(TIME_ORDERS) * BAND_ORDERS
    device: str = "cpu"
    dtype: str = "float32"

    def take_at_once(self, windows: int) -> None:
        """As many as it was made for: their number costs no memory worth naming."""

    def ready(self, windows: Floats) -> Floats:
        """As they are."""
        return windows

    def embed(self, windows: Floats) -> Floats:
        """Shape (n, samples) to (n, frames, dims)."""
        return np.stack([_embed(window) for window in windows])


def _embed(window: Floats) -> Floats:
    pieces = np.lib.stride_tricks.sliding_window_view(window, LAYOUT.n_fft)[:: LAYOUT.hop_samples]
    power = np.square(np.abs(scipy.fft.rfft(pieces * periodic_hann(LAYOUT.n_fft), axis=1)))
    levels = np.log(power @ mel_filters(LAYOUT).T + np.float32(FLOOR))
    bands = scipy.fft.dct(levels, type=2, norm="ortho", axis=1)[:, :BAND_ORDERS]
    patches = np.lib.stride_tricks.sliding_window_view(bands, PATCH_FRAMES, axis=0)
    kept: Floats = (patches @ _time_basis()).reshape(patches.shape[0], -1)
    return kept


def _time_basis() -> Floats:
    """Cosines of the orders in time, shape (`PATCH_FRAMES`, orders)."""
    return np.ascontiguousarray(
        scipy.fft.dct(np.eye(PATCH_FRAMES, dtype=np.float32), type=2, norm="ortho", axis=1)[:, list(TIME_ORDERS)]
    )
