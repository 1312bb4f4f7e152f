"""The wide search: one long whitened correlation against all of the master, where the curves say nothing.

A bed that lies far below dialogue or noise leaves no mark on the levels, and a clip is too short to say at which speed
it runs; the waveform still adds up over a minute. GCC-PHAT as in `phat`, over every lag at once: among millions of lags
at several speeds chance reaches eleven deviations once in three hundred pairs, so more is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from threading import Lock
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import trimmed_rms
from syncd.analysis.evidence import Beat, ChannelPair, quietly
from syncd.analysis.phat import FAINT, HIGH_HZ, LOW_HZ
from syncd.analysis.rate import KNOWN_SPEEDS
from syncd.analysis.stretch import SR_HZ, Stretched
from syncd.analysis.survey import Gap
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS

Floats = NDArray[np.float32]

EXCERPT_SAMPLES: Final = 2_000_000
"""125 s: a speed that is half a ppm off still adds up."""
OTHER_EXCERPT_SAMPLES: Final = 640_000
"""40 s, where other speeds are tried."""
LONGEST_FOR_OTHER_SPEEDS_S: Final = 600.0
"""Of the master; in longer ones the curves of many blocks have found the speed."""
EXCERPTS: Final = 3
MOST_COMPARED: Final = 60_000_000
"""Excerpts times samples of the master: three in 20 minutes, one in an hour, none beyond, where the curves of many
blocks are surer than any excerpt."""
LEAST_OVERLAP_S: Final = 3.0
FRAME_SAMPLES: Final = 1024
LEAST_POWER: Final = 1e-8
"""Mean square of a frame that is heard (-80 dB)."""
MOST_SAMPLES: Final = 1 << 22
"""Of the master in one transform."""
LARGE_SAMPLES: Final = 1 << 21
_ONE_LARGE: Final = Lock()
"""A transform beyond that takes a hundred megabytes on the way: one at a time."""
SPEEDS: Final = (1.0, *(float(rate) for rate in KNOWN_SPEEDS.values()))
SAME_LAG_S: Final = 0.03
SAME_LAG_SAMPLES: Final = round(SAME_LAG_S * SR_HZ)
MOST_LAGS: Final = 4
"""Of one excerpt in one transform: a programme that repeats itself fits at several."""


@dataclass(frozen=True)
class WideLag:
    """A lag at which a stretch of the dub stands out."""

    channel: str
    rate: float
    lag_s: float
    deviations: float
    span_s: tuple[float, float]
    """The stretch, on the stretched clock."""


def wide_search(pairs: Sequence[ChannelPair], beat: Beat) -> tuple[WideLag, ...]:
    """Over all lags, channels and well-known speeds; what stands beyond chance, highest first. Two threads."""
    asked = [scan for pair in pairs for rate in SPEEDS for scan in _scans_of(pair, rate)]
    return _best(_scanned(asked, beat))


def wide_within(pairs: Sequence[ChannelPair], rate: float, gap: Gap) -> tuple[WideLag, ...]:
    """The same at one speed, within a rectangle."""
    dub, master = ((round(a * SR_HZ), round(b * SR_HZ)) for a, b in (gap.dub_s, gap.master_s))
    asked = [
        _Scan(pair, rate, excerpt, master)
        for pair in pairs
        for excerpt in _excerpts(dub[0], dub[1], EXCERPT_SAMPLES, EXCERPTS)
    ]
    return tuple(
        replace(found, span_s=span_s)
        for found in _best(_scanned(asked, quietly))
        if (span_s := _overlap_s(gap, found.lag_s))[1] - span_s[0] >= LEAST_OVERLAP_S
    )


def _overlap_s(gap: Gap, lag_s: float) -> tuple[float, float]:
    """From and to where the rectangle holds the lag, on the stretched clock."""
    return max(gap.dub_s[0], gap.master_s[0] - lag_s), min(gap.dub_s[1], gap.master_s[1] - lag_s)


@dataclass(frozen=True)
class _Scan:
    """A stretch of the dub against a stretch of the master, in samples."""

    pair: ChannelPair
    rate: float
    dub: tuple[int, int]
    master: tuple[int, int]

    def run(self) -> list[WideLag]:
        """The lags that stand highest; none where there is nothing to hear, or nothing beyond chance."""
        length = self.dub[1] - self.dub[0]
        theirs, late_samples = Stretched(self.pair.dub.sound, self.rate).read(self.dub[0], length)
        if not _sounds(theirs):
            return []
        spectrum: NDArray[np.complex64] | None = None
        span_s = self.dub[0] / SR_HZ, self.dub[1] / SR_HZ
        found: list[WideLag] = []
        for first, n_fft, lags in self._chunks(length):
            with _ONE_LARGE if n_fft > LARGE_SAMPLES else nullcontext():
                ours = self.pair.master.sound.read(first, n_fft)
                if not _sounds(ours):
                    continue
                if spectrum is None or spectrum.size != n_fft // 2 + 1:
                    spectrum = np.conj(scipy.fft.rfft(theirs, n_fft))
                cross: NDArray[np.complex64] = scipy.fft.rfft(ours)
                del ours
                heights = _highest(cross, spectrum, n_fft, lags)
                del cross
            for height, at in heights:
                lag_s = (first + at - self.dub[0] - late_samples) / SR_HZ
                found.append(WideLag(self.pair.name, self.rate, lag_s, height, span_s))
        return found

    def _chunks(self, length: int) -> Iterator[tuple[int, int, int]]:
        """(first sample of the master, transform, lags that do not wrap around), so that all overlaps are compared."""
        least = min(round(LEAST_OVERLAP_S * SR_HZ), length // 2)
        first, last = self.master[0] - length + least, self.master[1] - least
        while first < last:
            wanted = length + last - first
            n_fft = MOST_SAMPLES if wanted >= MOST_SAMPLES else scipy.fft.next_fast_len(wanted, real=True)
            lags = n_fft - length + 1
            yield first, n_fft, min(lags, last - first)
            first += lags


def _sounds(sound: Floats) -> bool:
    """Whether enough of it is more than rounding; whitened, that and a silence's edges fit each other by chance."""
    frames = sound[: sound.size // FRAME_SAMPLES * FRAME_SAMPLES].reshape(-1, FRAME_SAMPLES)
    loud = np.mean(np.square(frames), axis=1) > LEAST_POWER
    return bool(np.count_nonzero(loud) * FRAME_SAMPLES >= LEAST_OVERLAP_S * SR_HZ)


def _highest(
    cross: NDArray[np.complex64], spectrum: NDArray[np.complex64], n_fft: int, lags: int
) -> list[tuple[float, int]]:
    """The highest lags beyond chance, apart from each other: deviations, and their places. Spends `cross`."""
    cross *= spectrum
    magnitude = np.abs(cross)
    magnitude += np.float32(max(FAINT * float(magnitude.mean()), 1e-30))
    low, high = math.ceil(LOW_HZ * n_fft / SR_HZ), math.floor(HIGH_HZ * n_fft / SR_HZ) + 1
    cross[:low] = 0.0
    cross[high:] = 0.0
    cross[low:high] /= magnitude[low:high]
    del magnitude
    curve = scipy.fft.irfft(cross, n_fft, overwrite_x=True)[:lags]
    np.abs(curve, out=curve)
    floor = trimmed_rms(curve)
    found: list[tuple[float, int]] = []
    for _ in range(MOST_LAGS):
        top = int(np.argmax(curve))
        if floor <= 0.0 or curve[top] < THRESHOLDS.wide_match_deviations * floor:
            break
        found.append((float(curve[top]) / floor, top))
        curve[max(0, top - SAME_LAG_SAMPLES) : top + SAME_LAG_SAMPLES + 1] = 0.0
    return found


def _scans_of(pair: ChannelPair, rate: float) -> list[_Scan]:
    master = pair.master.sound.samples
    dub = Stretched(pair.dub.sound, rate).samples
    if rate == 1.0:
        most = min(EXCERPTS, MOST_COMPARED // max(1, master))
        excerpts = _excerpts(0, dub, EXCERPT_SAMPLES, most)
    elif master <= LONGEST_FOR_OTHER_SPEEDS_S * SR_HZ:
        excerpts = _excerpts(0, dub, OTHER_EXCERPT_SAMPLES, 1)
    else:
        excerpts = []
    return [_Scan(pair, rate, excerpt, (0, master)) for excerpt in excerpts]


def _excerpts(first: int, last: int, longest: int, most: int) -> list[tuple[int, int]]:
    """Up to so many stretches (0: none), spread evenly; all of it where it is short."""
    length = min(longest, last - first)
    count = min(most, -(-(last - first) // max(1, length)))
    if count == 0:
        return []
    # One of several speaks for the middle, not for the start.
    starts = [(last - length + first) // 2] if count == 1 else np.linspace(first, last - length, count).astype(int)
    return [(int(start), int(start) + length) for start in starts]


def _scanned(scans: Sequence[_Scan], beat: Beat) -> Iterator[WideLag]:
    with ThreadPoolExecutor(THREADS) as threads:
        for done, found in enumerate(in_order(threads, _Scan.run, scans)):
            beat(done, len(scans))
            yield from found


def _best(found: Iterator[WideLag]) -> tuple[WideLag, ...]:
    """Highest first, of one speed and lag only the highest."""
    kept: list[WideLag] = []
    for one in sorted(found, key=lambda lag: -lag.deviations):
        if all(one.rate != other.rate or abs(one.lag_s - other.lag_s) > SAME_LAG_S for other in kept):
            kept.append(one)
    return tuple(kept)
