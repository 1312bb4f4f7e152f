"""Every number that shapes a verdict, with its reason; all of them go into the sidecar's `settings`.

«Deviations» are of what chance gives, over the trimmed RMS floor of the same curve.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

from syncd.domain import Metadata


@dataclass(frozen=True)
class Thresholds:
    """See the module; the values are those of `THRESHOLDS`."""

    shortest_media_s: float = 1.0
    """Below it a file is refused: there are too few windows to tell a match from chance."""
    shortest_for_no_match_s: float = 10.0
    """A shorter side that fits nowhere proves nothing: it may be all dialogue."""
    silent_level_db: float = -78.0
    """Mean band level (floor: -80): below it there is nothing to hear."""
    steady_modulation_db: float = 1.2
    """Half-second levels of a steady noise deviate by 0.4 dB, those of any programme by 2 and more."""
    candidate_deviations: float = 4.5
    """Coarse peaks above it are looked at finely; chance seldom gets there (5.2 in 520 unrelated pairs)."""
    coarse_match_deviations: float = 8.0
    """A coarse peak that counts by itself, without agreement of the waveforms."""
    coarse_doubt_deviations: float = 6.0
    """Between this and a match «no match» is not said either."""
    fine_match_deviations: float = 8.0
    """Of the windows' sum; the best of 8,001 chance lags reached 6.1 in 520 unrelated pairs."""
    diffuse_match_deviations: float = 6.0
    """The same where sound also starts at once about there, as a room's does."""
    wide_match_deviations: float = 14.0
    """Of one long correlation over millions of lags at seven speeds; the best of them reached 11.1 in 306 unrelated
    pairs, the next best 9.4, and 12.5 once in dialogue alone, where two voices share their harmonics."""
    wide_fine_deviations: float = 10.0
    """What the windows must reach together at a lag that was chosen among so many."""
    wide_least_windows: int = 3
    """A bang or two fit each other wherever they are."""
    mfcc_match_deviations: float = 6.5
    """A peak of the cepstra over the whole files; chance: 5.1 in 1,990 unrelated pairs of 30 s to 13 min."""
    onset_match_deviations: float = 6.0
    """A peak of the onset strength alone; chance: 4.8 in 1,330 unrelated pairs of 30 s to 13 min, 5.1 in 30 min."""
    chroma_match_deviations: float = 7.5
    """A peak of the pitch classes at the best of twelve rotations; chance: 6.5 in 1,990 unrelated pairs."""
    mfcc_fine_deviations: float = 7.0
    """What the windows must reach together near the coarse lag; at the lags that chance likes best it reached 5.8."""
    onset_fine_deviations: float = 9.0
    """The same for onset strength, where windows are less alike: 8.6."""
    chunk_match_deviations: float = 7.0
    """A peak of one chunk near a lag that the whole files suggest, if another chunk says the same; chance: 6.7 in 390
    unrelated chunks of 22 s, 8.4 in 1,950 of 11 s."""
    chunk_alone_deviations: float = 9.5
    """A peak of one chunk at a lag that nothing else suggests, or of the only chunk."""
    chunk_wave_deviations: float = 8.5
    """Waveforms of a chunk's windows, near the lag of its flux; chance: 4.8 in 390 unrelated chunks."""
    least_bearing_windows: float = 2.5
    """A sum that rests on fewer windows than this may be a shared jingle; of few windows, half of them."""
    waves_sure_deviations: float = 30.0
    """Waveforms that stand so high are not outvoted; below it a stretched or re-pitched bed may lead them astray."""
    window_heard_deviations: float = 6.5
    """A window that speaks for itself."""
    window_support_deviations: float = 3.5
    """At the common lag, where only half a millisecond is searched."""
    onset_heard_deviations: float = 5.0
    """The same for a window of onsets, where a hundred lags are searched."""
    onset_support_deviations: float = 3.5
    """At the common lag, within the width of an onset's peak."""
    onset_uncertainty_ms: float = 40.0
    """Onsets that place the dub no better than this vouch for nothing."""
    onset_piece_deviations: float = 7.0
    """A piece that only its onsets bear out stands so far over the windows' chance."""
    window_agrees_ms: float = 3.0
    fit_reach_ms: float = 60.0
    """Windows farther from their piece's lag say nothing about its speed."""
    fit_most_deviations: float = 20.0
    """Beyond it a window weighs no more in the fit: one bang is not more certain than many notes."""
    least_supporting_windows: int = 2
    least_supporting_share: float = 0.2
    """Below it the common lag may be a shared jingle, not a shared programme."""
    least_onset_share: float = 0.34
    """The same for onsets, which agree in nearly all windows where a bed is shared."""
    doubtful_supporting_share: float = 0.6
    """Below it a person is asked to look."""
    least_coverage: float = 0.2
    """Less than this of either side in common is a shared title sequence, not a shared programme."""
    least_shared_of_both: float = 1.0 / 3.0
    """Of what both sides have beside each other: two episodes share title, credits and cues, a quarter in one that was
    tried; a dub with half of its scenes replaced is still one."""
    least_foreign_end_s: float = 1.0
    ambiguous_ratio: float = 0.75
    """Another lag whose coarse peak and windows reach this share of the best one's fits as well."""
    jump_windows: int = 3
    """So many windows in a row that agree with each other and not with the rest are a cut, not noise."""
    jump_strong_windows: int = 2
    jump_strong_deviations: float = 13.0
    """So many are enough where each of them stands this high."""
    drift_ms: float = 5.0
    """A speed that moves the lag by no more than this over all that matches is no drift."""
    repeats_ratio: float = 0.75
    """A side whose own curve fits itself elsewhere nearly as well cannot be placed, nor said to fit nowhere."""
    speech_match_deviations: float = 6.5
    """Of the dialogue's timing; the best of all lags reached 5.5 in 3,500 unrelated dialogues (tail: one in 10,000
    above 5.8), and stood above 6.4 in 120 dubs of 2 to 10 minutes."""
    speech_speed_deviations: float = 7.0
    """The same at a speed that nothing but the dialogue suggests, the best of seven."""
    speech_least_lines: int = 10
    speech_least_spoken_s: float = 40.0
    """With fewer lines or less dialogue on a side its rhythm is not its own."""
    speech_least_share: float = 0.3
    """Of the lines in the common stretch; true lags had 0.67 and more, chance an eighth."""
    speech_uncertainty_ms: float = 100.0
    """Starts that place the dub no better than this vouch for nothing."""
    agreement_ms: float = 20.0
    """Half a frame at 25 fps: what confidence promises."""

    def to_settings(self) -> Metadata:
        """As the sidecar keeps them."""
        return {f"threshold_{name}": value for name, value in asdict(self).items()}


THRESHOLDS: Final = Thresholds()
