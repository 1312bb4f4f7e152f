"""The fine search by onsets: band-wise flux at 2 ms a frame, in windows along a piece.

It does not need waveforms that agree: a bed that was remixed, drowned in reverberation, re-recorded or stretched
without its pitch keeps its onsets, to a millisecond or two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from syncd.analysis.correlate import SWELL_S
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.features import FINE_MEL, flux_of
from syncd.analysis.tracks import FineResult
from syncd.analysis.windows import MAX_WINDOWS, FineCurves, place_finely

FLOOR_MS: Final = 1.0
"""Half a fine frame: rooms and mixes move onsets by as much, in all windows alike."""
FINE_FLUX: Final = FineCurves(FINE_MEL, flux_of, SWELL_S, window_s=4.0, reach_s=0.2, sharp_ms=9.0)


@dataclass(frozen=True)
class OnsetFinding:
    """What the onsets of one piece say."""

    found: FineResult
    """Times on the stretched clock."""
    half_interval_ms: float
    """Half the 95 % interval of the common lag, from the scatter of the windows."""

    @property
    def uncertainty_ms(self) -> float:
        """Half the 95 % interval, with what all windows may share."""
        return float(np.hypot(max(FLOOR_MS, self.half_interval_ms), self.found.blur_ms))


def onset_search(
    pair: ChannelPair,
    coarse_lag_s: float,
    beat: Beat,
    *,
    rate: float,
    span_s: tuple[float, float],
    most_windows: int = MAX_WINDOWS,
) -> OnsetFinding | None:
    """Search around the coarse lag within `span_s` (stretched time); None where too little sounds or nothing peaks."""
    spans = ((span_s[0] / rate, span_s[1] / rate),)
    placed = place_finely(pair, coarse_lag_s, FINE_FLUX, beat, rate=rate, spans=spans, most_windows=most_windows)
    if placed is None:
        return None
    track = placed.found.track
    found = replace(placed.found, track=replace(track, dub_centre_s=track.dub_centre_s * rate))
    return OnsetFinding(found, placed.half_interval_ms)
