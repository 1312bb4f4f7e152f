"""Speed changed and pitch kept, or pitch changed and speed kept, by three stretchers of different kinds.

How far the truth goes: all three move small blocks, so that no single moment keeps its place to better than some
milliseconds, but the line through all of them is known. The vocoder maps frame centres onto frame centres. The two that
cut and splice (ffmpeg's atempo, and `wsola`) carry a soft ramp along: it says of each sample that
comes out where it lay in what went in. What they are late or early by on average is taken off, so that the case's line
is true of the sound that was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import av
import av.filter
import numpy as np
import scipy.fft

from tests.material.recipes import Speed
from tests.material.seeds import RATE_HZ, Samples
from tests.material.speed import played

_FFT: Final = 4096
_HOP: Final = _FFT // 4
_WSOLA_FRAME: Final = 1920
_WSOLA_REACH: Final = 480
_BLOCK: Final = 48_000
_RAMP: Final = 1e-13
"""Per sample: 3e-5 (-90 dB) after two hours."""
_STILL: Final = 1e-7
_EDGE: Final = 24_000


def stretched(sound: Samples, speed: Speed, n_samples: int) -> Samples:
    """``(channels, n_samples)`` at the speed's rate, its pitch moved by ``semitones`` alone."""
    pitch = 2.0 ** (speed.semitones / 12.0)
    started = played(sound, Speed(1.0, speed.phase_s), sound.shape[1]) if speed.phase_s else sound
    tempo = speed.rate / pitch
    match speed.stretcher:
        case "atempo":
            slowed = atempo(started, tempo)
        case "wsola":
            slowed = wsola(started, tempo)
        case _:
            slowed = vocoder(started, tempo)
    if pitch != 1.0:
        return played(slowed, Speed(pitch), n_samples)
    out = np.zeros((sound.shape[0], n_samples), np.float32)
    out[:, : slowed.shape[1]] = slowed[:, :n_samples]
    return out


# ---------------------------------------------------------------- where each sample lay


def _with_ramp(sound: Samples) -> Samples:
    """Two more channels, one that rises by the sample and one that stands still: their ratio is the place.

    They are too soft to weigh with a stretcher that listens for likeness. (One alone would not do: atempo's windows add
    up to 1 only to some parts in ten thousand.)
    """
    ramp = _RAMP * np.arange(sound.shape[1], dtype=np.float64)
    still = np.full(sound.shape[1], _STILL)
    return np.concatenate([sound, np.stack([ramp, still]).astype(np.float32)])


def _on_the_line(marked: Samples, tempo: float, n_before: int) -> Samples:
    """Take both channels off, and with it the mean distance of the sound from ``t_before = tempo * t``."""
    n_samples = round(n_before / tempo)
    edge = min(_EDGE, n_samples // 4)
    k = np.arange(edge, min(n_samples, marked.shape[1]) - edge)
    ramp, still = marked[-2:, k].astype(np.float64)
    ahead = float(np.mean(ramp / still * (_STILL / _RAMP) - tempo * k))
    return played(marked[:-2], Speed(1.0, -ahead / tempo / RATE_HZ), n_samples)


# ---------------------------------------------------------------- ffmpeg's


def atempo(sound: Samples, tempo: float) -> Samples:
    """ffmpeg's atempo (a WSOLA of its own), its lateness taken off."""
    return _on_the_line(_through_atempo(_with_ramp(sound), tempo), tempo, sound.shape[1])


def _through_atempo(sound: Samples, tempo: float) -> Samples:
    layout = {3: "3.0", 4: "quad"}[sound.shape[0]]
    graph = av.filter.Graph()
    source = graph.add_abuffer(format="fltp", sample_rate=RATE_HZ, layout=layout, time_base=Fraction(1, RATE_HZ))
    filtering, sink = graph.add("atempo", f"{tempo:.12f}"), graph.add("abuffersink")
    source.link_to(filtering)
    filtering.link_to(sink)
    graph.configure()
    pieces: list[Samples] = []
    for first in range(0, sound.shape[1], _BLOCK):
        block = np.ascontiguousarray(sound[:, first : first + _BLOCK])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=layout)
        frame.sample_rate, frame.pts = RATE_HZ, first
        graph.push(frame)
        pieces += _pulled(graph)
    graph.push(None)
    pieces += _pulled(graph)
    return np.concatenate(pieces, axis=1)


def _pulled(graph: av.filter.Graph) -> Iterator[Samples]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        if isinstance(frame, av.AudioFrame):
            # atempo works on interleaved samples: (1, n * channels).
            yield np.asarray(frame.to_ndarray().reshape(-1, frame.layout.nb_channels).T, np.float32)


# ---------------------------------------------------------------- in the spectrum


def vocoder(sound: Samples, tempo: float) -> Samples:
    """A phase vocoder (Flanagan and Golden, 1966; phases locked to peaks after Laroche and Dolson, 1999)."""
    n_samples = round(sound.shape[1] / tempo)
    window = np.hanning(_FFT + 1)[:-1].astype(np.float32)
    half = _FFT // 2
    padded = np.pad(sound, ((0, 0), (_FFT, 2 * _FFT)))
    n_frames = n_samples // _HOP + 3
    out = np.zeros((sound.shape[0], (n_frames + 4) * _HOP + _FFT), np.float32)
    phase: np.ndarray | None = None
    advance = 2.0 * np.pi * _HOP * np.arange(half + 1) / _FFT
    for index in range(n_frames):
        # The frame that is centred at index * hop of what comes out, and one hop before it.
        centre = round(index * _HOP * tempo) + _FFT
        now, before = (
            scipy.fft.rfft(padded[:, centre - half - back : centre + half - back] * window, axis=-1)
            for back in (0, _HOP)
        )
        middle, previous = now.sum(axis=0), before.sum(axis=0)
        step = np.angle(middle) - np.angle(previous) - advance
        step -= 2.0 * np.pi * np.round(step / (2.0 * np.pi))
        phase = np.angle(middle) if phase is None else phase + advance + step
        # One rotation for all channels, that of the nearest peak: channels and a peak's slopes keep their relation.
        rotation = (phase - np.angle(middle))[_nearest_peak(np.abs(middle))]
        phase = np.angle(middle) + rotation
        piece = scipy.fft.irfft(now * np.exp(1j * rotation).astype(np.complex64), axis=-1)
        first = index * _HOP
        out[:, first : first + _FFT] += piece.astype(np.float32) * window
    return out[:, half : half + n_samples] * np.float32(1.0 / 1.5)


def _nearest_peak(magnitude: np.ndarray) -> np.ndarray:
    """For each bin the peak whose hill it lies on (nearest in bins)."""
    peaks = 2 + np.flatnonzero(
        (magnitude[2:-2] > magnitude[1:-3])
        & (magnitude[2:-2] > magnitude[3:-1])
        & (magnitude[2:-2] > magnitude[:-4])
        & (magnitude[2:-2] > magnitude[4:])
    )
    if not peaks.size:
        return np.arange(magnitude.size)
    middles = (peaks[1:] + peaks[:-1]) / 2.0
    return np.asarray(peaks[np.searchsorted(middles, np.arange(magnitude.size))])


# ---------------------------------------------------------------- in time


def wsola(sound: Samples, tempo: float) -> Samples:
    """Frames of 40 ms, half overlapping, each from where it fits its predecessor best, at most 10 ms off the line.

    Verhelst and Roelands (1993).
    """
    marked = _spliced(_with_ramp(sound), tempo)
    return _on_the_line(marked, tempo, sound.shape[1])


def _spliced(sound: Samples, tempo: float) -> Samples:
    n_samples = round(sound.shape[1] / tempo)
    half = _WSOLA_FRAME // 2
    margin = _WSOLA_FRAME + _WSOLA_REACH
    padded = np.pad(sound, ((0, 0), (margin, 2 * margin + _WSOLA_FRAME)))
    mono = padded[:-2].sum(axis=0)[::2]  # the ramp is not listened to
    window = np.hanning(_WSOLA_FRAME + 1)[:-1].astype(np.float32)
    n_frames = n_samples // half + 2
    out = np.zeros((sound.shape[0], (n_frames + 2) * half), np.float32)
    chosen = 0
    size = scipy.fft.next_fast_len(half + _WSOLA_REACH, real=True)
    for index in range(n_frames):
        wanted = min(round((index * half - half) * tempo) + margin, padded.shape[1] - margin)
        if index:
            # What would have followed the last frame, sought around the place on the line (every second sample).
            natural = mono[(chosen + half) // 2 :][:half]
            around = mono[(wanted - _WSOLA_REACH) // 2 :][: half + _WSOLA_REACH]
            spectrum = scipy.fft.rfft(around, size) * np.conj(scipy.fft.rfft(natural, size))
            likeness = scipy.fft.irfft(spectrum, size)[: _WSOLA_REACH + 1]
            chosen = wanted - _WSOLA_REACH + 2 * int(np.argmax(likeness))
        else:
            chosen = wanted
        first = index * half
        out[:, first : first + _WSOLA_FRAME] += padded[:, chosen : chosen + _WSOLA_FRAME] * window
    return out[:, half : half + n_samples]
