"""`chroma`: which pitch classes sound, over the whole files at each of twelve transpositions; then onsets near there.

Hears that a bed is the same music where it was re-recorded, re-arranged or moved to another key.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.character import key_of
from syncd.analysis.correlate import CoarseResult, Compared, prepare_curve, search_rotations
from syncd.analysis.evidence import BandSource, Beat, ChannelPair
from syncd.analysis.features import CHROMA, PITCH_CLASSES
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.methods.answers import Manner, place
from syncd.analysis.methods.onset import fine_onsets
from syncd.analysis.thresholds import THRESHOLDS
from syncd.domain import Inconclusive, Metadata

Floats = NDArray[np.float32]

SWELL_S: Final = 3.0
"""The mean of so long is taken out: which notes sound now, against those of the bars around."""
REACH_S: Final = 0.3
"""Onsets are compared this far around the lag of the chroma, whose frames are 0.1 s."""

MOST_FRAMES: Final = 200_000
"""Of both files together, five and a half hours: the spectra of all pitch classes are kept at once."""


class Chroma:
    """Twelve pitch classes."""

    name = "chroma"
    text = "Comparing harmony"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The lag, and the transposition, at which the same notes sound."""
        pair = next((p for p in evidence.pairs if p.master.chroma is not None and p.dub.chroma is not None), None)
        if pair is None:
            return MethodAnswer(Inconclusive(("the pitch classes of the two were not taken",)), 0.0)
        search = _Rotations(evidence.rate)
        manner = Manner(
            method=self.name,
            noun="pitch classes",
            search=search,
            bands=PITCH_CLASSES,
            match_deviations=THRESHOLDS.chroma_match_deviations,
            fine=fine_onsets(REACH_S),
            fine_deviations=THRESHOLDS.onset_fine_deviations,
        )
        answer = place(evidence, (pair,), manner, beat)
        metadata: Metadata = {**answer.metadata, "pitch_shift_semitones": search.semitones, **_keys(pair)}
        return MethodAnswer(answer.outcome, answer.quality_score, metadata, channel=answer.channel)


class _Rotations:
    """The search, and by how much the dub sounded higher where it fitted best."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self.semitones = 0

    def __call__(self, pair: ChannelPair, beat: Beat) -> CoarseResult:
        if pair.master.chroma is None or pair.dub.chroma is None:
            return CoarseResult(pair.name, (), 0)
        prepare = partial(prepare_curve, swell_s=SWELL_S)
        compared = Compared(PITCH_CLASSES, CHROMA.frames_per_s, prepare, MOST_FRAMES)
        results = search_rotations(pair.name, pair.master.chroma, pair.dub.chroma, compared, beat, rate=self._rate)
        best = max(range(len(results)), key=lambda rotation: results[rotation].best_deviations)
        self.semitones = best - PITCH_CLASSES if best > PITCH_CLASSES // 2 else best
        return results[best]


def _keys(pair: ChannelPair) -> Metadata:
    keys: Metadata = {}
    for name, source in (("master", pair.master.chroma), ("dub", pair.dub.chroma)):
        key = None if source is None else key_of(_mean(source))
        keys[f"{name}_key"] = None if key is None else key.name
        keys[f"{name}_key_likeness"] = None if key is None else round(key.likeness, 3)
    return keys


def _mean(chroma: BandSource) -> NDArray[np.float64]:
    if not chroma.frames:
        return np.zeros(PITCH_CLASSES)
    return np.array([float(chroma.read_band(band).mean(dtype=np.float64)) for band in range(PITCH_CLASSES)])
