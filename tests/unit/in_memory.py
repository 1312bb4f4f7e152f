"""Sounds and curves in memory, as the methods see them; and a quick tune that has rhythm, harmony and colour."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.correlate import CoarseResult, Compared, search_lags
from syncd.analysis.evidence import MID, SIDE, BandSource, ChannelEvidence, ChannelPair, SideEvidence
from syncd.analysis.features import CHROMA, COARSE_MEL, ChromaMaker, LevelMaker, flux_of
from syncd.analysis.measure import Answer, Watcher, measure
from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult

Floats = NDArray[Any]
SR_HZ = 16_000


class Curve:
    """A `BandSource` in memory."""

    def __init__(self, bands: Floats) -> None:
        self._bands = bands

    @property
    def frames(self) -> int:
        return int(self._bands.shape[1])

    def read_band(self, band: int) -> Floats:
        one: Floats = self._bands[band]
        return one


class Sound:
    """A `SampleSource` in memory."""

    def __init__(self, samples: Floats) -> None:
        self._samples = samples.astype(np.float32)

    @property
    def samples(self) -> int:
        return self._samples.size

    def read(self, start: int, count: int) -> Floats:
        padded = np.zeros(count, dtype=np.float32)
        first, last = max(0, start), min(self._samples.size, start + count)
        if first < last:
            padded[first - start : last - start] = self._samples[first:last]
        return padded


class Frames:
    """A `FrameStore` in memory."""

    def __init__(self, frames: Floats) -> None:
        self.values = frames.astype(np.float32)

    @property
    def frames(self) -> int:
        return int(self.values.shape[0])

    @property
    def dims(self) -> int:
        return int(self.values.shape[1])

    def append(self, frames: Floats) -> None:
        self.values = np.concatenate((self.values, frames))

    def flush(self) -> None: ...

    def read_band(self, band: int) -> Floats:
        one: Floats = self.values[:, band]
        return one

    def read(self, start: int, count: int) -> Floats:
        padded = np.zeros((count, self.dims), dtype=np.float32)
        first, last = max(0, start), min(self.frames, start + count)
        if first < last:
            padded[first - start : last - start] = self.values[first:last]
        return padded


def quietly(done: int, total: int) -> None:
    """A beat that nobody hears."""


def channel_of(sound: Floats, *, chroma: bool = True) -> ChannelEvidence:
    """A side's channel with its curves."""
    samples = sound.astype(np.float32)
    level_maker, chroma_maker = LevelMaker(COARSE_MEL), ChromaMaker(CHROMA)
    levels = np.concatenate((level_maker.feed(samples), level_maker.finish()), axis=1)
    if not chroma:
        return ChannelEvidence(Sound(samples), Curve(levels), level_maker.activity())
    classes = np.concatenate((chroma_maker.feed(samples), chroma_maker.finish()), axis=1)
    return ChannelEvidence(Sound(samples), Curve(levels), level_maker.activity(), Curve(classes))


def pair_of(master: Floats, dub: Floats) -> ChannelPair:
    return ChannelPair(MID, channel_of(master), channel_of(dub))


def side_of(sound: Floats) -> SideEvidence:
    """A side in stereo, shape (2, n), or mono, shape (n,): sum, and difference unless it is digital silence."""
    stereo = np.atleast_2d(sound)
    kept = {MID: stereo.mean(axis=0)}
    if stereo.shape[0] == 2 and np.any(stereo[0] != stereo[1]):
        kept[SIDE] = (stereo[0] - stereo[1]) / 2.0
    channels = {name: channel_of(one, chroma=False) for name, one in kept.items()}
    return SideEvidence(stereo.shape[1] / SR_HZ, channels)


class Flux:
    """The flux of levels, taken as each band is read."""

    def __init__(self, levels: BandSource) -> None:
        self._levels = levels

    @property
    def frames(self) -> int:
        return self._levels.frames

    def read_band(self, band: int) -> Floats:
        return flux_of(self._levels.read_band(band))


def coarse_search(master: BandSource, dub: BandSource, *, rate: float = 1.0) -> CoarseResult:
    """The lags at which the flux of two sides' levels agrees."""
    compared = Compared(COARSE_MEL.n_mels, COARSE_MEL.frames_per_s)
    return search_lags(MID, Flux(master), Flux(dub), compared, quietly, rate=rate)


class Deaf:
    """A watcher that lets everything pass."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


def answer_to(
    master: Floats,
    dub: Floats,
    *,
    methods: tuple[str, ...] = ("correlation", "spectral"),
    watcher: Watcher | None = None,
) -> Answer:
    """What the whole analysis says of two sounds."""
    settings = AnalysisSettings(methods, TOLERANCES["ebu-r37"])
    return measure(side_of(master), side_of(dub), settings, watcher or Deaf())


def moved(sound: Floats, seconds: float) -> Floats:
    """Later by so much (a circular shift of the phases, exact to any fraction of a sample)."""
    spectrum = np.fft.rfft(sound)
    shifted: Floats = np.fft.irfft(
        spectrum * np.exp(-2j * np.pi * np.fft.rfftfreq(sound.size, 1 / SR_HZ) * seconds), sound.size
    )
    return shifted


def tune(seconds: float, seed: int, *, semitones: int = 0) -> Floats:
    """Notes of random length, pitch, loudness and brightness, three at once, and a blow here and there."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(int(seconds * SR_HZ))
    for _ in range(3):
        at = 0
        while at < sound.size:
            length = min(int(rng.uniform(0.12, 0.6) * SR_HZ), sound.size - at)
            hz = 110.0 * 2.0 ** ((rng.integers(0, 36) + semitones) / 12)
            t = np.arange(length) / SR_HZ
            bright, loud = rng.uniform(0.2, 0.9), rng.uniform(0.1, 1.0) ** 2
            note = sum(bright**k * np.sin(2 * np.pi * k * hz * t) for k in range(1, 6))
            sound[at : at + length] += loud * note * np.exp(-3.0 * t) * np.minimum(1.0, t / 0.004)
            if rng.random() < 0.3:
                sound[at : at + length] += loud * rng.standard_normal(length) * np.exp(-40.0 * t)
            at += length
    return 0.1 * sound + 1e-4 * rng.standard_normal(sound.size)
