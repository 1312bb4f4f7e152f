"""What windows say: the common currency of the methods, the alignment and the verdict."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WindowTrack:
    """What each window says, in order of time. All arrays have shape (windows,)."""

    dub_centre_s: NDArray[np.float64]
    lag_s: NDArray[np.float64]
    """Of the window's own highest peak."""
    sounding: NDArray[np.bool_]
    """False in silence."""
    deviations: NDArray[np.float64]
    """Height of that peak over the window's floor; 0 in silence."""
    heard: NDArray[np.bool_]
    """Whether that peak is beyond chance by itself."""
    supports: NDArray[np.bool_]
    """Whether there is a peak at the common lag, be it the highest or not."""
    window_s: float


@dataclass(frozen=True)
class FineResult:
    """The common lag of all windows."""

    lag_s: float
    deviations: float
    """Of the summed windows' peak, over its own floor."""
    track: WindowTrack
    blur_ms: float = 0.0
    """How far the peak may be from the truth for reasons that all windows share: echoes, a lopsided peak."""
    inverted: bool = False
    """Whether one side's polarity is the other's upside down."""
    arrives_s: float | None = None
    """From the common lag to that at which diffuse sound starts to arrive; None where the peak is what counts."""
