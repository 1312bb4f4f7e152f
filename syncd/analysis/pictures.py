"""What the page draws, made of the evidence after the answer is known: bounded, whatever the length of the files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.align import Aligned, Alignment
from syncd.analysis.evidence import ChannelPair, SampleSource, SideEvidence, crossed_channels, shared_channels
from syncd.analysis.features import LevelMaker, MelLayout, flux_of
from syncd.analysis.measure import Answer
from syncd.analysis.phat import summed_correlation
from syncd.analysis.places import MOST_STEPS, Marked, Stretch, marked_places, span_pieces, stretches_of
from syncd.analysis.speech import Lines
from syncd.analysis.steadiness import agreeing
from syncd.analysis.stretch import SR_HZ, Stretched
from syncd.analysis.survey import LagProfile
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.tracks import FineResult
from syncd.plots import LagCurve, Look, Place, Plots, Spans, Windows

Floats = NDArray[np.float32]

EXCERPT_S: Final = 4.0
PEAK_COLUMNS: Final = 400
LEVEL_COLUMNS: Final = 160
BANDS: Final = 40
RANGE_DB: Final = 60.0
"""Below the loudest of an excerpt nothing is told apart."""
MOST_WINDOWS: Final = 1_200
MOST_SPANS: Final = 1_500
"""Of a side's speech; beyond that the nearest are joined."""
CLOSE_SAMPLES: Final = 320
"""20 ms to either side of the answer."""
CLOSE_WINDOWS: Final = 8

_LAYOUT: Final = MelLayout(n_mels=BANDS, hop_samples=round(EXCERPT_S * SR_HZ / LEVEL_COLUMNS))


def draw(master: SideEvidence, dub: SideEvidence, answer: Answer) -> Plots:
    """The figures of a pair. Reads a few seconds of sound at a handful of places."""
    pair = _pair(master, dub, answer.channels_used)
    decision = answer.decision
    rate = decision.rate.ratio if decision.rate else 1.0
    stretches = stretches_of(decision.timeline)
    placed = answer.traces.alignment if decision.consensus is not None and stretches else None
    canvas = _Canvas(pair, rate, stretches, _tempo(answer))
    lines = answer.traces.lines
    return Plots(
        channel=pair.name,
        windows=None if placed is None else windows_of(placed),
        whole=None if answer.traces.profile is None else _whole(answer.traces.profile),
        close=_close(pair, placed, stretches),
        places=tuple(canvas.place(marked) for marked in marked_places(stretches, master.duration_s, dub.duration_s)),
        master_speech=None if lines is None else spans_of(lines[0]),
        dub_speech=None if lines is None else spans_of(lines[1]),
    )


def windows_of(alignment: Alignment) -> Windows:
    """Every window that speaks for itself, by waveforms where they decided, else by onsets."""
    parts = [_points(one, alignment) for one in alignment.pieces]
    at_s, ahead_ms, agrees = (np.concatenate([part[i] for part in parts] or [np.zeros(0)]) for i in range(3))
    order = np.argsort(at_s, kind="stable")
    order = order[:: -(-order.size // MOST_WINDOWS) or 1]
    return Windows(
        master_s=tuple(round(float(v), 2) for v in at_s[order]),
        ahead_ms=tuple(round(float(v), 2) for v in ahead_ms[order]),
        agrees=tuple(bool(v) for v in agrees[order]),
    )


def _points(one: Aligned, alignment: Alignment) -> tuple[NDArray[np.float64], ...]:
    """Where, by how much, and whether in agreement."""
    found: FineResult | None
    if alignment.by_waves:
        found, clock = one.waves, 1.0
    else:  # onset windows are timed on the dub's own clock
        found, clock = one.onsets.found if one.onsets else None, alignment.rate
    if found is None:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    track = found.track
    stretched_s = track.dub_centre_s * clock
    ahead_s = stretched_s + track.lag_s - stretched_s / alignment.rate
    heard = np.asarray(track.heard)
    return (
        (stretched_s + track.lag_s)[heard],
        1000.0 * ahead_s[heard],
        agreeing(track, found.lag_s)[heard].astype(float),
    )


def spans_of(lines: Lines) -> Spans:
    """From and to of every line; where there are very many, the nearest are joined."""
    starts_s, ends_s = np.asarray(lines.starts_s), np.asarray(lines.ends_s)
    if starts_s.size > MOST_SPANS:
        pauses_s = starts_s[1:] - ends_s[:-1]
        kept = np.sort(np.argsort(pauses_s, kind="stable")[-(MOST_SPANS - 1) :])
        starts_s, ends_s = starts_s[np.append(0, kept + 1)], ends_s[np.append(kept, ends_s.size - 1)]
    return tuple((round(float(a), 2), round(float(b), 2)) for a, b in zip(starts_s, ends_s, strict=True))


def _whole(profile: LagProfile) -> LagCurve:
    return _curve(profile.first_s, profile.step_s, profile.deviations, THRESHOLDS.coarse_match_deviations)


def _close(pair: ChannelPair, placed: Alignment | None, stretches: tuple[Stretch, ...]) -> LagCurve | None:
    """The waveforms' correlation, summed over a few windows of the longest stretch."""
    if placed is None or not placed.by_waves:
        return None
    longest = max(stretches, key=lambda each: each.end_s - each.start_s)
    span_s = longest.start_s - longest.offset_s, longest.end_s - longest.offset_s
    curve = summed_correlation(pair, longest.offset_s, CLOSE_WINDOWS, rate=placed.rate, span_s=span_s)
    if curve is None:
        return None
    middle = curve.deviations.size // 2
    near = curve.deviations[middle - CLOSE_SAMPLES : middle + CLOSE_SAMPLES + 1]
    return _curve(curve.middle_s - CLOSE_SAMPLES / SR_HZ, 1.0 / SR_HZ, near, THRESHOLDS.fine_match_deviations)


def _curve(first_s: float, step_s: float, deviations: Floats, needed: float) -> LagCurve:
    return LagCurve(first_s, step_s, tuple(round(float(v), 1) for v in deviations), needed)


def _pair(master: SideEvidence, dub: SideEvidence, channel: str) -> ChannelPair:
    pairs = shared_channels(master, dub)
    return next((pair for pair in (*pairs, *crossed_channels(master, dub)) if pair.name == channel), pairs[0])


def _tempo(answer: Answer) -> float | None:
    """Of the master, beats a minute, where a method measured it."""
    measured = (result.metadata.get("master_tempo_bpm") for result in answer.method_results)
    return next((float(bpm) for bpm in measured if isinstance(bpm, int | float) and bpm > 0), None)


@dataclass(frozen=True)
class _Canvas:
    """Excerpts of one pair."""

    pair: ChannelPair
    rate: float
    stretches: tuple[Stretch, ...]
    tempo_bpm: float | None
    """The master's; the dub's own is that, played at its speed."""

    def place(self, marked: Marked) -> Place:
        """The excerpt at a place, or at the livelier of its neighbours."""
        start_s = self._liveliest(marked)
        master = _excerpt(self.pair.master.sound, start_s)
        before = _excerpt(self.pair.dub.sound, start_s)
        after = self._corrected(start_s) if self.stretches else None
        levels = [_levels(sound) for sound in (master, before)]
        moved = None if after is None else _levels(after)
        covered = self._covered(start_s)
        bpm = self.tempo_bpm
        dub_bpm = None if bpm is None else bpm * self.rate
        return Place(
            label=marked.label,
            master_s=round(start_s, 3),
            length_s=EXCERPT_S,
            columns=LEVEL_COLUMNS,
            master=_look(master, levels[0], bpm),
            before=_look(before, levels[1], dub_bpm),
            after=None if after is None or moved is None else _look(after, moved, bpm),
            likeness_before=likeness(levels[0], levels[1]),
            likeness_after=None if moved is None else likeness(*(each[:, covered] for each in (levels[0], moved))),
        )

    def _liveliest(self, marked: Marked) -> float:
        starts_s = [marked.centre_s - EXCERPT_S / 2 + step * marked.step_s for step in range(MOST_STEPS + 1)]
        starts_s = [max(0.0, min(start_s, self._last_start_s)) for start_s in starts_s]
        return max(dict.fromkeys(starts_s), key=self._liveliness)

    @property
    def _last_start_s(self) -> float:
        return max(0.0, self.pair.master.sound.samples / SR_HZ - EXCERPT_S)

    def _liveliness(self, start_s: float) -> float:
        ours = _excerpt(self.pair.master.sound, start_s)
        theirs = self._corrected(start_s) if self.stretches else _excerpt(self.pair.dub.sound, start_s)
        return min(float(np.square(sound).mean()) for sound in (ours, theirs))

    def _covered(self, start_s: float) -> NDArray[np.bool_]:
        """The columns in which the dub has something."""
        at_s = start_s + (np.arange(LEVEL_COLUMNS) + 0.5) * EXCERPT_S / LEVEL_COLUMNS
        covered = np.zeros(LEVEL_COLUMNS, dtype=np.bool_)
        for from_s, to_s, _ in span_pieces(self.stretches, start_s, start_s + EXCERPT_S):
            covered |= (at_s >= from_s) & (at_s < to_s)
        return covered

    def _corrected(self, start_s: float) -> Floats:
        """The dub on the master's clock, stretch by stretch; silence where it has nothing."""
        sound = np.zeros(round(EXCERPT_S * SR_HZ), dtype=np.float32)
        dub = Stretched(self.pair.dub.sound, self.rate)
        for from_s, to_s, offset_s in span_pieces(self.stretches, start_s, start_s + EXCERPT_S):
            first, last = (min(sound.size, round((at_s - start_s) * SR_HZ)) for at_s in (from_s, to_s))
            sound[first:last] = dub.read(round((from_s - offset_s) * SR_HZ), last - first)[0]
        return sound


def _excerpt(sound: SampleSource, start_s: float) -> Floats:
    return sound.read(round(start_s * SR_HZ), round(EXCERPT_S * SR_HZ))


def _levels(sound: Floats) -> Floats:
    """Mel levels in dB, shape (BANDS, LEVEL_COLUMNS)."""
    maker = LevelMaker(_LAYOUT)
    return np.concatenate((maker.feed(sound), maker.finish()), axis=1)[:, :LEVEL_COLUMNS]


def _look(sound: Floats, levels: Floats, bpm: float | None) -> Look:
    magnitudes = np.abs(sound).reshape(PEAK_COLUMNS, -1).max(axis=1)
    highest = float(magnitudes.max())
    scale = 255.0 / highest if highest > 0.0 else 0.0
    top_db = max(float(levels.max()), -20.0 - RANGE_DB)
    shades = np.clip((levels - (top_db - RANGE_DB)) / RANGE_DB, 0.0, 1.0) * 255.0
    return Look(
        peaks=np.rint(magnitudes * scale).astype(np.uint8).tobytes(),
        levels=np.rint(shades).astype(np.uint8).tobytes(),
        beats_s=() if bpm is None else beats_of(levels, _LAYOUT.frames_per_s, bpm),
    )


def beats_of(levels: Floats, frames_per_s: float, bpm: float) -> tuple[float, ...]:
    """Where the beats of an excerpt fall, given the tempo: the comb through most of what begins."""
    rises = flux_of(levels).sum(axis=0)
    period = 60.0 / bpm * frames_per_s
    if period < 2.0 or rises.size < 2.0 * period or float(rises.max()) <= 0.0:
        return ()
    combs = [np.arange(phase, rises.size - 1, period).round().astype(np.intp) for phase in range(int(period))]
    best = max(combs, key=lambda comb: float(rises[comb].mean()))
    return tuple(round(float(at) / frames_per_s, 2) for at in best)


def likeness(one: Floats, other: Floats) -> float:
    """Pearson's correlation of levels, each band freed of its mean; 0 where one of them does not change."""
    if one.shape[1] < 2:
        return 0.0
    a, b = (levels - levels.mean(axis=1, keepdims=True) for levels in (one, other))
    power = float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return 0.0 if power <= 0.0 else round(float((a * b).sum()) / power, 3)
