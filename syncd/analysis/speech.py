"""Where people speak: lines of dialogue out of a speech probability, with starts finer than its 32 ms.

A `line` is speech without a pause: what the detector hears as one, with short pauses bridged. Its start is looked for
in the energy of the telephone band, every 4 ms, around the frame in which the detector first hears it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from syncd.analysis.evidence import Beat, SampleSource
from syncd.analysis.features import periodic_hann
from syncd.analysis.silero import FRAMES_PER_S, SR_HZ, Silero, read_speech

Floats = NDArray[np.float32]
Times = NDArray[np.float64]

SPEAKS: Final = 0.5
SPEAKS_ON: Final = 0.35
"""A line goes on until the probability falls below it (as in the detector's own package)."""
SHORTEST_PAUSE_S: Final = 0.25
"""Shorter ones lie within a line: languages make them in different places."""
SHORTEST_LINE_S: Final = 0.2

SPEECH_RMS: Final = 0.1
"""What the detector is used to hear; files are brought there first."""
LOUD_SHARE: Final = 0.9
"""A sound's level is that of its loud seconds: how much of it is silence does not count."""
LEVEL_WINDOWS: Final = 400
MAX_GAIN: Final = 1000.0
"""60 dB: what is still silent then is silence."""

BAND_HZ: Final = (300.0, 3400.0)
ENVELOPE_HOP: Final = 64
ENVELOPE_WINDOW: Final = 256
BEFORE_S: Final = 0.30
AFTER_S: Final = 0.25
"""How far around the detector's start the band's energy is looked at."""
SEARCH_BEFORE_S: Final = 0.20
LEAST_RISE_DB: Final = 6.0
"""A smaller one is not the start of anything: the detector's time stays."""


@dataclass(frozen=True)
class Lines:
    """The dialogue of one side."""

    probability: Floats
    """Of speech, 0 to 1, shape (frames,), `FRAMES_PER_S` a second."""
    starts_s: Times
    """Shape (lines,), rising."""
    ends_s: Times
    """Shape (lines,): where the detector hears the line end."""

    @property
    def duration_s(self) -> float:
        """Of the whole side, to a frame."""
        return self.probability.size / FRAMES_PER_S

    @property
    def spoken_s(self) -> float:
        """All lines together."""
        return float(np.sum(self.ends_s - self.starts_s))


def hear_lines(model: Silero, sounds: Sequence[SampleSource], beat: Beat) -> list[Lines]:
    """The lines of each sound (16 kHz, mono)."""
    gains = [detector_gain(sound) for sound in sounds]
    curves = read_speech(model, sounds, gains, beat)
    return [_lines(sound, curve) for sound, curve in zip(sounds, curves, strict=True)]


def detector_gain(sound: SampleSource) -> float:
    """The factor that brings the sound's loud seconds to the level that the detector is used to."""
    if sound.samples == 0:
        return 1.0
    last = max(0, sound.samples - SR_HZ)
    starts = np.unique(np.linspace(0, last, min(LEVEL_WINDOWS, 1 + 2 * last // SR_HZ)).astype(np.int64))
    rms = [float(np.sqrt(np.mean(np.square(sound.read(int(start), SR_HZ))))) for start in starts]
    return float(min(MAX_GAIN, SPEECH_RMS / max(1e-9, float(np.quantile(rms, LOUD_SHARE)))))


def speech_spans(probability: Floats) -> list[tuple[int, int]]:
    """First frame and the frame after the last of each line."""
    speaks, goes_on = probability >= SPEAKS, probability >= SPEAKS_ON
    edges = np.flatnonzero(np.diff(goes_on, prepend=False, append=False))
    spans: list[tuple[int, int]] = []
    for first, end in zip(edges[::2], edges[1::2], strict=True):
        loud = np.flatnonzero(speaks[first:end])
        if loud.size == 0:
            continue
        begin = int(first + loud[0])
        if spans and (begin - spans[-1][1]) / FRAMES_PER_S < SHORTEST_PAUSE_S:
            spans[-1] = (spans[-1][0], int(end))
        else:
            spans.append((begin, int(end)))
    return [(first, end) for first, end in spans if (end - first) / FRAMES_PER_S >= SHORTEST_LINE_S]


def _lines(sound: SampleSource, probability: Floats) -> Lines:
    spans = speech_spans(probability)
    starts_s = np.array([first / FRAMES_PER_S for first, _ in spans], dtype=np.float64)
    ends_s = np.array([end / FRAMES_PER_S for _, end in spans], dtype=np.float64)
    return Lines(probability, np.array([refine_start(sound, start) for start in starts_s], dtype=np.float64), ends_s)


def refine_start(sound: SampleSource, start_s: float) -> float:
    """The moment at which the band's energy has risen half way, in dB, from before the line to within it."""
    first = round((start_s - BEFORE_S) * SR_HZ)
    level_db = band_level_db(sound.read(first, round((BEFORE_S + AFTER_S) * SR_HZ)))
    hops_a_s = SR_HZ / ENVELOPE_HOP
    low, high = round((BEFORE_S - SEARCH_BEFORE_S) * hops_a_s), level_db.size
    floor_db = float(np.quantile(level_db[: round(BEFORE_S * hops_a_s)], 0.2))
    top_db = float(np.quantile(level_db[round(BEFORE_S * hops_a_s) :], 0.8))
    if top_db - floor_db < LEAST_RISE_DB:
        return start_s
    above = level_db >= 0.5 * (floor_db + top_db)
    rising = np.flatnonzero(above[low:high])
    if rising.size == 0:
        return start_s
    return (first + ENVELOPE_WINDOW // 2 + (low + int(rising[0])) * ENVELOPE_HOP) / SR_HZ


def band_level_db(sound: Floats) -> Floats:
    """Level of 300 to 3400 Hz every 4 ms, dB; the first is centred on sample 128."""
    pieces = np.lib.stride_tricks.sliding_window_view(sound, ENVELOPE_WINDOW)[::ENVELOPE_HOP]
    spectrum = scipy.fft.rfft(pieces * periodic_hann(ENVELOPE_WINDOW), axis=1)
    low, high = (round(edge_hz * ENVELOPE_WINDOW / SR_HZ) for edge_hz in BAND_HZ)
    power = np.square(np.abs(spectrum[:, low : high + 1])).sum(axis=1)
    return np.asarray(10.0 * np.log10(power + 1e-9), dtype=np.float32)
