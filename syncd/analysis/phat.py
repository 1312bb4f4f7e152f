"""The fine search: GCC-PHAT in windows over the whole overlap, to a fraction of a sample.

Knapp and Carter, «The generalized correlation method for estimation of time delay» (1976): the cross spectrum of a
window keeps its phases and loses its magnitudes, so what both sides share becomes one sharp peak whatever its colour.
Each window's correlation is taken in deviations over its own floor; the sum of all windows bears peaks that no single
window shows.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.correlate import parabola_top, trimmed_rms
from syncd.analysis.echoes import echo_ms, find_arrival
from syncd.analysis.evidence import Beat, ChannelPair, SampleSource
from syncd.analysis.stretch import SR_HZ, Stretched
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult, WindowTrack

Floats = NDArray[np.float32]

LONGEST_WINDOW_SAMPLES: Final = 131_072
"""8.2 s."""
SHORTEST_WINDOW_SAMPLES: Final = 8_192
"""0.5 s."""
WINDOWS_WANTED: Final = 12
"""Windows shrink with the overlap until there are so many of them."""
REACH_SAMPLES: Final = 4_000
"""The search goes a quarter of a second to either side of the coarse lag."""
LOW_HZ: Final = 60.0
HIGH_HZ: Final = 7_300.0
FAINT: Final = 1e-5
"""Bins this far below the mean cross power count less and less: there is only rounding in them."""
SILENT_RMS: Final = 2e-5
"""A window quieter than this (-94 dB) bears no evidence."""
SUPPORT_REACH_SAMPLES: Final = 8
"""Half a millisecond: how far from the common lag a window's support is looked for."""
BIN_SAMPLES: Final = 16
SINC_HALF_SAMPLES: Final = 16
SINC_STEPS: Final = 16


def fine_search(
    pair: ChannelPair,
    coarse_lag_s: float,
    beat: Beat,
    *,
    rate: float = 1.0,
    span_s: tuple[float, float] | None = None,
) -> FineResult | None:
    """Search around the coarse lag in all windows; None where the overlap holds no window with sound.

    At a `rate` the dub is stretched to the master's speed first; `span_s` (stretched time) bounds what is looked at.
    Two threads. `beat` counts windows, from the calling thread.
    """
    lag_samples = round(coarse_lag_s * SR_HZ)
    dub = Stretched(pair.dub.sound, rate)
    span = None if span_s is None else (round(span_s[0] * SR_HZ), round(span_s[1] * SR_HZ))
    windows = plan_windows(pair.master.sound.samples, dub.samples, lag_samples, span)
    if not windows.starts:
        return None
    scanner = _Scanner(pair.master.sound, dub, lag_samples, windows.length)
    total = np.zeros(2 * REACH_SAMPLES + 1, dtype=np.float64)
    kept: list[_Window] = []
    with ThreadPoolExecutor(THREADS) as threads:
        for done, (window, near) in enumerate(in_order(threads, scanner.scan, windows.starts)):
            beat(done, len(windows.starts))
            kept.append(window)
            if near is not None:
                total += near
    return _common(kept, total, lag_samples, windows.length)


@dataclass(frozen=True)
class SummedCorrelation:
    """Of windows added up, a value a sample, in deviations of the sum."""

    middle_s: float
    """The lag of the middle value."""
    deviations: Floats


def summed_correlation(
    pair: ChannelPair, lag_s: float, most_windows: int, *, rate: float, span_s: tuple[float, float]
) -> SummedCorrelation | None:
    """What a few windows of a span (stretched time) show around a lag; None where none of them holds sound."""
    lag_samples = round(lag_s * SR_HZ)
    dub = Stretched(pair.dub.sound, rate)
    span = round(span_s[0] * SR_HZ), round(span_s[1] * SR_HZ)
    windows = plan_windows(pair.master.sound.samples, dub.samples, lag_samples, span)
    starts = windows.starts[:: max(1, -(-len(windows.starts) // most_windows))]
    scanner = _Scanner(pair.master.sound, dub, lag_samples, windows.length)
    near = [curve for _, curve in map(scanner.scan, starts) if curve is not None]
    if not near:
        return None
    total = np.abs(np.sum(near, axis=0))
    floor = trimmed_rms(total)
    return SummedCorrelation(lag_samples / SR_HZ, total / np.float32(floor)) if floor > 0.0 else None


@dataclass(frozen=True)
class WindowPlan:
    """Where the windows start in the dub, and how long they are, in samples."""

    starts: tuple[int, ...]
    length: int


def plan_windows(
    master_samples: int, dub_samples: int, lag_samples: int, span: tuple[int, int] | None = None
) -> WindowPlan:
    """Windows over the whole overlap (within `span`): a power of two long, half overlapping where they are few."""
    first = max(0, -lag_samples, span[0] if span else 0)
    last = min(dub_samples, master_samples - lag_samples, span[1] if span else dub_samples)
    overlap = last - first
    length = LONGEST_WINDOW_SAMPLES
    while length > SHORTEST_WINDOW_SAMPLES and overlap < WINDOWS_WANTED * length // 2:
        length //= 2
    if overlap < length:
        return WindowPlan((), length)
    step = length // 2 if overlap < 2 * WINDOWS_WANTED * length else length
    starts = list(range(first, last - length + 1, step))
    if starts[-1] + length < last - step // 4:
        starts.append(last - length)
    return WindowPlan(tuple(starts), length)


@dataclass(frozen=True)
class _Peak:
    lag: float
    """Samples from the coarse lag."""
    deviations: float


@dataclass(frozen=True)
class _Window:
    """What is kept of a window's correlation: its whole curve, of thousands of windows, would be too much.

    Everything twice, for either polarity: which one holds is known only when all windows have been added up.
    """

    start: int
    sounding: bool
    peaks: dict[float, _Peak]
    highest: dict[float, Floats]
    """In every `BIN_SAMPLES` samples of lag."""

    @classmethod
    def of(cls, start: int, near: Floats | None) -> _Window:
        if near is None:
            return cls(start, sounding=False, peaks={}, highest={})
        bins = np.append(near, np.zeros(-near.size % BIN_SAMPLES, dtype=np.float32)).reshape(-1, BIN_SAMPLES)
        return cls(
            start,
            sounding=True,
            peaks={sign: _peak(np.float32(sign) * near) for sign in (1.0, -1.0)},
            highest={1.0: bins.max(axis=1), -1.0: -bins.min(axis=1)},
        )

    def peak(self, sign: float) -> _Peak:
        return self.peaks.get(sign, _Peak(0.0, 0.0))

    def support(self, common_top: int, sign: float) -> float:
        """Highest value within about `SUPPORT_REACH_SAMPLES` of the common lag."""
        if not self.sounding:
            return 0.0
        first = max(0, common_top - SUPPORT_REACH_SAMPLES) // BIN_SAMPLES
        last = (common_top + SUPPORT_REACH_SAMPLES) // BIN_SAMPLES
        return float(self.highest[sign][first : last + 1].max())


class _Scanner:
    def __init__(self, master: SampleSource, dub: Stretched, lag_samples: int, length: int) -> None:
        self._master = master
        self._dub = dub
        self._lag_samples = lag_samples
        self._length = length
        bins_hz = np.arange(length // 2 + 1) * (SR_HZ / length)
        self._turns = bins_hz.astype(np.float32) / SR_HZ
        self._band = ((bins_hz >= LOW_HZ) & (bins_hz <= HIGH_HZ)).astype(np.float32)
        self._reach = min(REACH_SAMPLES, length // 4)
        self._taper = taper(length)

    def scan(self, start: int) -> tuple[_Window, Floats | None]:
        """The window, and its correlation from -REACH to +REACH samples in deviations (None in silence)."""
        near = self._correlation(start)
        return _Window.of(start, near), near

    def _correlation(self, start: int) -> Floats | None:
        theirs, late_samples = self._dub.read(start, self._length)
        ours = self._master.read(start + self._lag_samples, self._length)
        if is_silent(ours, theirs):
            return None
        cross: NDArray[np.complex64] = scipy.fft.rfft(theirs * self._taper, overwrite_x=True)
        np.conjugate(cross, out=cross)
        cross *= scipy.fft.rfft(ours * self._taper, overwrite_x=True)
        magnitude = np.abs(cross)
        magnitude += np.float32(max(FAINT * float(magnitude.mean()), 1e-30))
        cross *= self._band / magnitude
        if late_samples:
            # The dub's window begins this much later than asked for; without it the peak would lie as much too far.
            cross *= np.exp(np.float32(2.0 * np.pi * late_samples) * 1j * self._turns).astype(np.complex64)
        circular = scipy.fft.irfft(cross, self._length, overwrite_x=True)
        near = np.zeros(2 * REACH_SAMPLES + 1, dtype=np.float32)
        within = np.concatenate((circular[-self._reach :], circular[: self._reach + 1]))
        floor = trimmed_rms(within)
        if floor <= 0.0:
            return None
        near[REACH_SAMPLES - self._reach : REACH_SAMPLES + self._reach + 1] = within / np.float32(floor)
        return near


def _common(windows: list[_Window], total: NDArray[np.float64], lag_samples: int, length: int) -> FineResult | None:
    floor = trimmed_rms(total.astype(np.float32))
    if floor <= 0.0:
        return None
    total /= floor
    top = int(np.argmax(np.abs(total)))
    sign = -1.0 if total[top] < 0.0 else 1.0
    shift = _sinc_top(sign * total, top)
    peaks = [window.peak(sign) for window in windows]
    deviations = np.array([peak.deviations for peak in peaks])
    support = np.array([window.support(top, sign) for window in windows])
    track = WindowTrack(
        dub_centre_s=np.array([(window.start + length / 2) / SR_HZ for window in windows]),
        lag_s=np.array([(lag_samples + peak.lag) / SR_HZ for peak in peaks]),
        sounding=np.array([window.sounding for window in windows]),
        deviations=deviations,
        heard=deviations >= THRESHOLDS.window_heard_deviations,
        supports=support >= THRESHOLDS.window_support_deviations,
        window_s=length / SR_HZ,
    )
    lag_s = (lag_samples + top - REACH_SAMPLES + shift) / SR_HZ
    arrival = find_arrival(sign * total, top)
    return FineResult(
        lag_s,
        abs(float(total[top])),
        track,
        blur_ms=echo_ms(sign * total, top) if arrival is None else arrival.uncertainty_ms,
        inverted=sign < 0.0,
        arrives_s=None if arrival is None else (arrival.at - top - shift) / SR_HZ,
    )


def _peak(curve: Floats) -> _Peak:
    top = int(np.argmax(curve))
    return _Peak(top - REACH_SAMPLES + _sinc_top(curve, top), float(curve[top]))


_SINC_OFFSETS: Final = np.arange(-SINC_STEPS, SINC_STEPS + 1) / SINC_STEPS


def _sinc_kernel() -> NDArray[np.float64]:
    """What a band-limited curve's samples weigh at each of `_SINC_OFFSETS`."""
    distance = _SINC_OFFSETS[:, None] - np.arange(-SINC_HALF_SAMPLES, SINC_HALF_SAMPLES + 1)[None, :]
    bell = np.cos(np.pi * distance / (2 * SINC_HALF_SAMPLES + 4)) ** 2
    return np.asarray(np.sinc(distance) * bell)


_SINC_KERNEL: Final = _sinc_kernel()


def _sinc_top(curve: NDArray[np.floating], top: int) -> float:
    """Where between the samples a band-limited curve peaks, in samples from `top` (within one)."""
    first, last = top - SINC_HALF_SAMPLES, top + SINC_HALF_SAMPLES + 1
    if first < 0 or last > curve.size:
        return 0.0
    fine = np.sum(_SINC_KERNEL * curve[first:last], axis=1)
    best = int(np.argmax(fine))
    if not 0 < best < fine.size - 1:
        return float(_SINC_OFFSETS[best])
    return float(_SINC_OFFSETS[best]) + parabola_top(*(float(v) for v in fine[best - 1 : best + 2])) / SINC_STEPS


def taper(length: int) -> Floats:
    """Only a gentle fade: a full bell would throw half of the window away."""
    fade = length // 16
    faded = np.ones(length, dtype=np.float32)
    faded[:fade] = 0.5 - 0.5 * np.cos(np.pi * np.arange(fade) / fade)
    faded[-fade:] = faded[:fade][::-1]
    return faded


def is_silent(*windows: Floats) -> bool:
    """Whether one of them bears no evidence."""
    return min(_rms(window) for window in windows) < SILENT_RMS


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples), dtype=np.float64)))
