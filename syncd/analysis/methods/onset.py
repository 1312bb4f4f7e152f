"""`onset`: one envelope of how strongly things begin, over the whole files and then in windows.

Deaf to pitch and colour: a bed that was equalised, re-pitched or played by other instruments keeps its rhythm.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.character import tempo_bpm
from syncd.analysis.correlate import SWELL_S, CoarseResult, Compared, prepare_curve, search_lags
from syncd.analysis.evidence import BandSource, Beat, ChannelPair
from syncd.analysis.features import COARSE_MEL, MelLayout, flux_of, onset_strength_of
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.methods.answers import Manner, place, strongest_first
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.windows import FineCurves
from syncd.domain import Metadata

Floats = NDArray[np.float32]

QUIET_DB_A_SECOND: Final = 15.0
"""0.3 dB a frame of 20 ms: what is added before the logarithm. Without a logarithm the few loudest blows decide alone:
26 true pairs of a minute then stood at 8.6 deviations in the middle instead of 15.1."""


class Onset:
    """Onset strength."""

    name = "onset"
    text = "Comparing rhythm"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag at which things begin together."""
        manner = Manner(
            method=self.name,
            noun="onset strengths",
            search=partial(search_onsets, rate=evidence.rate),
            bands=1,
            match_deviations=THRESHOLDS.onset_match_deviations,
            fine=fine_onsets(reach_s=0.1),
            fine_deviations=THRESHOLDS.onset_fine_deviations,
        )
        answer = place(evidence, strongest_first(evidence), manner, beat)
        pair = evidence.pairs[0] if evidence.pairs else None
        tempos = {} if pair is None else _tempos(pair)
        return MethodAnswer(answer.outcome, answer.quality_score, {**answer.metadata, **tempos}, channel=answer.channel)


def fine_onsets(reach_s: float) -> FineCurves:
    """Onset strength at 4 ms a frame."""
    layout = MelLayout(hop_samples=64)
    return FineCurves(
        layout,
        lambda levels: _compressed(onset_strength_of(levels), layout.frames_per_s)[None],
        SWELL_S,
        window_s=6.0,
        reach_s=reach_s,
        sharp_ms=16.0,
    )


def search_onsets(pair: ChannelPair, beat: Beat, rate: float) -> CoarseResult:
    """All lags of two sides' onset strength."""
    compared = Compared(1, COARSE_MEL.frames_per_s, lambda curve, fps: prepare_curve(_compressed(curve, fps), fps))
    master, dub = (OnsetStrength(side.levels) for side in (pair.master, pair.dub))
    return search_lags(pair.name, master, dub, compared, beat, rate=rate)


def _compressed(strength: Floats, frames_per_s: float) -> Floats:
    """Its logarithm: a soft onset counts nearly as much as a loud one."""
    compressed: Floats = np.log(strength + np.float32(QUIET_DB_A_SECOND / frames_per_s))
    return compressed


class OnsetStrength:
    """A `BandSource` of one band: `features.onset_strength_of` levels that are read a band at a time."""

    def __init__(self, levels: BandSource) -> None:
        self._curve: Floats = np.zeros(levels.frames, dtype=np.float32)
        for band in range(COARSE_MEL.n_mels):
            self._curve += flux_of(levels.read_band(band))
        self._curve /= np.float32(COARSE_MEL.n_mels)

    @property
    def frames(self) -> int:
        """Its length."""
        return self._curve.size

    def read_band(self, band: int) -> Floats:
        """The curve, shape (frames,)."""
        del band  # there is one
        return self._curve


def _tempos(pair: ChannelPair) -> Metadata:
    tempos: Metadata = {}
    for name, side in (("master", pair.master), ("dub", pair.dub)):
        bpm = tempo_bpm(OnsetStrength(side.levels).read_band(0), COARSE_MEL.frames_per_s)
        tempos[f"{name}_tempo_bpm"] = None if bpm is None else round(bpm, 1)
    return tempos
