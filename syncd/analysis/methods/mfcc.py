"""`mfcc`: the shape of the spectrum over time, as cepstra, over the whole files and then in windows.

Where flux hears only what begins, the cepstrum hears what sounds: held chords, hum, rain.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.correlate import CoarseResult, Compared, prepare_curve, search_lags
from syncd.analysis.evidence import BandSource, Beat, ChannelPair
from syncd.analysis.features import COARSE_MEL, N_MFCC, MelLayout, mfcc_of, mfcc_weights
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.methods.answers import Manner, place, strongest_first
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.windows import FineCurves

Floats = NDArray[np.float32]

COEFFICIENTS: Final = N_MFCC - 1
"""From the second on: the first is loudness."""
SWELL_S: Final = 0.6
"""Slower changes of each coefficient are taken out: what lasts longer blurs the peak."""
FINE_SWELL_S: Final = 0.2
"""The same in the windows: reverberation drags what is slower."""
MOST_FRAMES: Final = 400_000
"""Of both files together, two and a quarter hours: longer ones are compared at fewer frames a second, because all
coefficients are kept at once."""


class Mfcc:
    """Mel-frequency cepstra."""

    name = "mfcc"
    text = "Comparing timbre"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which the spectra have the same shape."""
        manner = Manner(
            method=self.name,
            noun="cepstra",
            search=partial(_search, rate=evidence.rate),
            bands=COEFFICIENTS,
            match_deviations=THRESHOLDS.mfcc_match_deviations,
            fine=FineCurves(
                MelLayout(hop_samples=64),
                lambda levels: mfcc_of(levels)[1:],
                FINE_SWELL_S,
                window_s=4.0,
                reach_s=0.1,
                sharp_ms=22.0,
            ),
            fine_deviations=THRESHOLDS.mfcc_fine_deviations,
        )
        return place(evidence, strongest_first(evidence), manner, beat)


def _search(pair: ChannelPair, beat: Beat, rate: float) -> CoarseResult:
    step = 1 + (pair.master.levels.frames + pair.dub.levels.frames) // MOST_FRAMES
    frames_per_s = COARSE_MEL.frames_per_s / step
    compared = Compared(COEFFICIENTS, frames_per_s, partial(prepare_curve, swell_s=SWELL_S))
    master, dub = (Cepstra(side.levels, step) for side in (pair.master, pair.dub))
    return search_lags(pair.name, master, dub, compared, beat, rate=rate)


class Cepstra:
    """A `BandSource` of the coefficients from the second on, made from levels (`COARSE_MEL`) read once.

    `step` frames become one: their mean.
    """

    def __init__(self, levels: BandSource, step: int = 1) -> None:
        self._frames = levels.frames // step
        self._curves: Floats = np.zeros((COEFFICIENTS, self._frames), dtype=np.float32)
        weights = mfcc_weights(COARSE_MEL.n_mels)[1:]
        for band in range(COARSE_MEL.n_mels):
            level = levels.read_band(band)[: self._frames * step]
            if step > 1:
                level = level.reshape(-1, step).mean(axis=1)
            for coefficient in range(COEFFICIENTS):
                self._curves[coefficient] += weights[coefficient, band] * level

    @property
    def frames(self) -> int:
        """Their length."""
        return self._frames

    def read_band(self, band: int) -> Floats:
        """Coefficient `band` + 1, shape (frames,)."""
        curve: Floats = self._curves[band]
        return curve
