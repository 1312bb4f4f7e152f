"""Whether the first and the last seconds of the overlap keep the common lag.

The windows of the fine search are too long to see that only the last few seconds moved, as after a late cut. Here a
short window at each end is compared with the master for two seconds to either side: it speaks of a move only where it
fits another lag far beyond chance, and the common one not at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import trimmed_rms
from syncd.analysis.evidence import ChannelPair
from syncd.analysis.phat import FAINT, HIGH_HZ, LOW_HZ, SILENT_RMS, SR_HZ
from syncd.analysis.thresholds import THRESHOLDS

Floats = NDArray[np.float32]

LENGTHS_SAMPLES: Final = (3 * SR_HZ, 3 * SR_HZ // 2)
"""The longer window hears a weaker bed, the shorter one a later cut."""
REACH_SAMPLES: Final = 2 * SR_HZ


@dataclass(frozen=True)
class MovedEnd:
    """An end of the overlap that keeps another lag."""

    lag_s: float
    dub_start_s: float
    dub_end_s: float


def moved_ends(pair: ChannelPair, lag_s: float) -> tuple[MovedEnd, ...]:
    """The ends that do not keep `lag_s`; none where the overlap is shorter than four windows."""
    lag_samples = round(lag_s * SR_HZ)
    first = max(0, -lag_samples)
    last = min(pair.dub.sound.samples, pair.master.sound.samples - lag_samples)
    if last - first < 4 * max(LENGTHS_SAMPLES):
        return ()
    head = (_moved(pair, first, length, lag_samples) for length in LENGTHS_SAMPLES)
    tail = (_moved(pair, last - length, length, lag_samples) for length in LENGTHS_SAMPLES)
    found = (next((end for end in tries if end is not None), None) for tries in (head, tail))
    return tuple(end for end in found if end is not None)


def _moved(pair: ChannelPair, start: int, length: int, lag_samples: int) -> MovedEnd | None:
    theirs = pair.dub.sound.read(start, length)
    ours = pair.master.sound.read(start + lag_samples - REACH_SAMPLES, length + 2 * REACH_SAMPLES)
    if min(_rms(ours), _rms(theirs)) < SILENT_RMS:
        return None
    curve = np.abs(_phat(ours, theirs)[: 2 * REACH_SAMPLES + 1])
    floor = trimmed_rms(curve)
    if floor <= 0.0:
        return None
    near = round(THRESHOLDS.window_agrees_ms / 1000.0 * SR_HZ)
    here = float(curve[REACH_SAMPLES - near : REACH_SAMPLES + near + 1].max()) / floor
    top = int(np.argmax(curve))
    there = float(curve[top]) / floor
    if here >= THRESHOLDS.end_holds_deviations or there < THRESHOLDS.end_moved_deviations:
        return None
    return MovedEnd((lag_samples + top - REACH_SAMPLES) / SR_HZ, start / SR_HZ, (start + length) / SR_HZ)


def _phat(ours: Floats, theirs: Floats) -> Floats:
    """The dub's window slid over the master's longer one: value i is the lag i - REACH_SAMPLES."""
    n_fft = scipy.fft.next_fast_len(ours.size + theirs.size, real=True)
    cross = scipy.fft.rfft(ours, n_fft) * np.conj(scipy.fft.rfft(theirs, n_fft))
    bins_hz = np.arange(cross.size) * (SR_HZ / n_fft)
    magnitude = np.abs(cross)
    magnitude += max(FAINT * float(magnitude.mean()), 1e-30)
    cross *= ((bins_hz >= LOW_HZ) & (bins_hz <= HIGH_HZ)) / magnitude
    return np.asarray(scipy.fft.irfft(cross, n_fft), dtype=np.float32)


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))
