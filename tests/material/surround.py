"""Beds and dialogue in 5.1 and 7.1, and their fold-down to stereo.

Channels are in ffmpeg's order: L R C LFE Ls Rs (side L, side R).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import scipy.signal

from tests.material.seeds import RATE_HZ, Samples

_CENTRE_SHARE: Final = np.float32(0.35)
"""Of the bed's middle that is heard in the centre too."""
_HALF: Final = np.float32(0.7071)


def spread(bed: Samples, around: Samples, dialogue: Samples, n_channels: int) -> Samples:
    """``(6 or 8, n)`` of a stereo bed for the front, another one for the sides and back, and ``(2, n)`` dialogue."""
    middle = 0.5 * (bed[0] + bed[1])
    out = np.zeros((n_channels, bed.shape[1]), np.float32)
    out[0:2] = bed
    out[2] = dialogue[0] + _CENTRE_SHARE * middle
    out[3] = _low(middle)
    out[4:6] = around * np.float32(0.6)
    if n_channels == 8:
        out[6] = 0.4 * around[0] + 0.3 * bed[0]
        out[7] = 0.4 * around[1] + 0.3 * bed[1]
    return out


def folded(wide: Samples) -> Samples:
    """``(2, n)`` after ITU-R BS.775: centre and surrounds 3 dB down, no LFE."""
    left = wide[0] + _HALF * (wide[2] + wide[4])
    right = wide[1] + _HALF * (wide[2] + wide[5])
    if wide.shape[0] == 8:
        left, right = left + _HALF * wide[6], right + _HALF * wide[7]
    return np.stack([left, right]).astype(np.float32)


def _low(sound: Samples) -> Samples:
    taps = scipy.signal.firwin(2401, 110.0, fs=RATE_HZ).astype(np.float32)
    return np.asarray(scipy.signal.oaconvolve(sound, taps)[1200 : 1200 + sound.size], np.float32)
