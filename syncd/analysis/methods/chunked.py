"""`chunked`: the dub in chunks of two minutes, each placed by itself; the offset that most of them stand behind.

Flux near the lags that the whole files suggest; where a chunk fits none of them, half an hour of the master to either
side; then waveforms (GCC-PHAT) in a few windows of the chunk. Cost and memory grow with the duration and no faster.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from syncd.analysis.calibration import confidence_of
from syncd.analysis.chunks import ChunkPeak, ChunkPlan, ChunkSearch, plan_chunks
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.features import COARSE_MEL
from syncd.analysis.methods import Evidence, MethodAnswer
from syncd.analysis.methods.answers import strongest_first
from syncd.analysis.threads import THREADS, in_order
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.waves import wave_lag
from syncd.domain import Estimate, Inconclusive, Metadata

MOST_SUGGESTED: Final = 3
"""Lags of the whole files that every chunk is tried at."""
SAME_LAG_S: Final = 0.5
"""Suggestions closer than this are one: the search reaches farther."""
WAVE_MS: Final = 0.5
FLUX_MS: Final = 20.0
"""How far a chunk's lag may be off, by how it was placed: where waveforms do not agree the bed was reworked, and
a phase vocoder moves what begins by up to 20 ms."""
KEEPS_MS: Final = 2.5
"""Chunks may wander by so much and still stand behind one offset."""
WAVE_FLOOR_MS: Final = 2.0
FLUX_FLOOR_MS: Final = 20.0
_STUDENT: Final = (12.7, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23)
"""Of 1 to 10 degrees of freedom, 95 %, both sides; 2 serves beyond."""


@dataclass(frozen=True)
class PlacedChunk:
    """One chunk and where it lies."""

    start_s: float
    """On the master's clock: ``rate * t_dub``."""
    lag_s: float
    deviations: float
    """Of its flux."""
    by_wave: bool
    """Whether waveforms bore the lag out, and gave its last digits."""
    blur_ms: float = 0.0
    """How far away another lag lies at which they agree nearly as well."""

    @property
    def half_ms(self) -> float:
        """How far its lag may be off."""
        return max(WAVE_MS, self.blur_ms) if self.by_wave else FLUX_MS


class Chunked:
    """Chunk by chunk."""

    name = "chunked"
    text = "Comparing chunks"

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """The offset that most of the chunked duration stands behind."""
        pairs = strongest_first(evidence)
        if not pairs:
            return MethodAnswer(Inconclusive(("there is nothing that both sides have",)), 0.0)
        pair = pairs[0]
        plan = plan_chunks(int(pair.dub.levels.frames * evidence.rate), COARSE_MEL.frames_per_s)
        if not plan.starts:
            return MethodAnswer(Inconclusive(("the dub is too short for a chunk",)), 0.0, channel=pair.name)
        placed, highest = _place(evidence, pair, plan, beat)
        if not placed:
            reason = (
                f"none of {len(plan.starts)} chunks of {plan.length_s:.0f} s fits the master: the best stands "
                f"{highest:.1f} deviations over chance, {THRESHOLDS.chunk_alone_deviations:g} are needed"
            )
            metadata = _metadata(plan, (), (), evidence.rate)
            return MethodAnswer(Inconclusive((reason,)), highest, metadata, channel=pair.name)
        return _answer(plan, placed, evidence.rate, pair.name)


def _place(evidence: Evidence, pair: ChannelPair, plan: ChunkPlan, beat: Beat) -> tuple[tuple[PlacedChunk, ...], float]:
    """The chunks that lie somewhere, in order of time, and the highest value of any chunk."""
    count, bands = len(plan.starts), COARSE_MEL.n_mels
    steps = 2 * bands + 2 * count
    search = ChunkSearch(pair.master.levels, pair.dub.levels, plan, evidence.rate)
    suggested = [(chunk, lag_s) for chunk in range(count) for lag_s in _suggested(evidence, plan, chunk)]
    best = _best(search.near(suggested, lambda done, _: beat(done, steps)), {})
    sure = {chunk: peak for chunk, peak in best.items() if peak.deviations >= THRESHOLDS.chunk_match_deviations}
    lost = [chunk for chunk in range(count) if chunk not in sure]
    if lost:
        around = {chunk: _lag_around(chunk, sure, evidence, plan) for chunk in lost}
        far = search.far(around, lambda done, _: beat(bands + done, steps))
        again = _best(search.near(far, lambda done, _: beat(bands + count + done, steps)), best)
        needed = THRESHOLDS.chunk_alone_deviations
        sure.update({chunk: again[chunk] for chunk in lost if chunk in again and again[chunk].deviations >= needed})
        best = again
    placed: list[PlacedChunk] = []
    with ThreadPoolExecutor(THREADS) as threads:
        chunks = sorted(sure)

        def tuned(chunk: int) -> PlacedChunk:
            return _tuned(pair, plan, sure[chunk], evidence.rate)

        for done, found in enumerate(in_order(threads, tuned, chunks)):
            beat(2 * bands + count + done, steps)
            placed.append(found)
    return tuple(placed), max((peak.deviations for peak in best.values()), default=0.0)


def _suggested(evidence: Evidence, plan: ChunkPlan, chunk: int) -> list[float]:
    """The best lags of the whole files, and those of the pieces that the survey placed in this chunk."""
    start_s, end_s = (moment_s / evidence.rate for moment_s in plan.span_s(chunk))
    peaks = [p for r in evidence.coarse for p in r.peaks if p.deviations >= THRESHOLDS.candidate_deviations]
    peaks.sort(key=lambda peak: -peak.deviations)
    here = [s.offset_s for s in evidence.segments if s.dub_start_s < end_s and s.dub_end_s > start_s]
    lags: list[float] = []
    for lag_s in (*here, *(peak.lag_s for peak in peaks)):
        if len(lags) < len(here) + MOST_SUGGESTED and all(abs(lag_s - known) > SAME_LAG_S for known in lags):
            lags.append(lag_s)
    return lags


def _lag_around(chunk: int, sure: dict[int, ChunkPeak], evidence: Evidence, plan: ChunkPlan) -> float:
    """Where the chunk is looked for: about where its nearest neighbour lies, or the survey's nearest piece; else 0."""
    if sure:
        return sure[min(sure, key=lambda other: abs(other - chunk))].lag_s
    middle_s = sum(plan.span_s(chunk)) / 2 / evidence.rate
    pieces = sorted(evidence.segments, key=lambda s: abs((s.dub_start_s + s.dub_end_s) / 2 - middle_s))
    return pieces[0].offset_s if pieces else 0.0


def _best(peaks: list[ChunkPeak], known: dict[int, ChunkPeak]) -> dict[int, ChunkPeak]:
    best = dict(known)
    for peak in peaks:
        if peak.chunk not in best or peak.deviations > best[peak.chunk].deviations:
            best[peak.chunk] = peak
    return best


def _tuned(pair: ChannelPair, plan: ChunkPlan, peak: ChunkPeak, rate: float) -> PlacedChunk:
    start_s, end_s = plan.span_s(peak.chunk)
    wave = wave_lag(pair, peak.lag_s, (start_s, end_s), rate)
    if wave is not None and wave.deviations >= THRESHOLDS.chunk_wave_deviations:
        return PlacedChunk(start_s, wave.lag_s, peak.deviations, by_wave=True, blur_ms=wave.blur_ms)
    return PlacedChunk(start_s, peak.lag_s, peak.deviations, by_wave=False)


def _answer(plan: ChunkPlan, placed: tuple[PlacedChunk, ...], rate: float, channel: str) -> MethodAnswer:
    chunks = len(plan.starts)
    group = _largest_group(placed)
    quality = sum(chunk.deviations for chunk in group) / float(np.sqrt(len(group)))
    lag_s, uncertainty_ms = _common(group)
    metadata = _metadata(plan, placed, group, rate)
    share = len(group) / chunks
    reason = None
    if 2 * len(group) < len(placed) or (len(group) == 1 and len(placed) > 1):
        reason = (
            f"the chunks keep different offsets: the most common one ({lag_s:.3f} s) holds for {len(group)} of the "
            f"{len(placed)} that were placed"
        )
    elif share < THRESHOLDS.least_supporting_share or len(group) < min(THRESHOLDS.least_supporting_windows, chunks):
        reason = f"only {len(group)} of {chunks} chunks stand behind the best offset"
    elif chunks == 1 and quality < THRESHOLDS.chunk_alone_deviations:
        reason = (
            f"the only chunk stands {quality:.1f} deviations over chance, "
            f"{THRESHOLDS.chunk_alone_deviations:g} are needed"
        )
    elif uncertainty_ms > THRESHOLDS.onset_uncertainty_ms:
        reason = f"the chunks scatter too much to place the dub (±{uncertainty_ms:.0f} ms)"
    if reason is not None:
        return MethodAnswer(Inconclusive((reason,)), quality, metadata, channel)
    confidence = confidence_of(Chunked.name, quality, metadata, uncertainty_ms)
    return MethodAnswer(Estimate(lag_s, confidence, uncertainty_ms), quality, metadata, channel)


def _largest_group(placed: tuple[PlacedChunk, ...]) -> tuple[PlacedChunk, ...]:
    """The chunks that lie within their intervals of one of them: as many as can be."""
    groups = (
        tuple(
            other
            for other in placed
            if 1000.0 * abs(other.lag_s - one.lag_s) <= max(one.half_ms, other.half_ms, KEEPS_MS)
        )
        for one in placed
    )
    return max(groups, key=lambda group: (len(group), sum(chunk.deviations for chunk in group)))


def _common(group: tuple[PlacedChunk, ...]) -> tuple[float, float]:
    """One lag, and half its 95 % interval in ms; waveforms speak for it where there are any."""
    waves = [chunk for chunk in group if chunk.by_wave]
    lags_s = np.array([chunk.lag_s for chunk in waves or group])
    floor_ms = max(WAVE_FLOOR_MS, *(chunk.blur_ms for chunk in waves)) if waves else FLUX_FLOOR_MS
    if lags_s.size == 1:
        return float(lags_s[0]), floor_ms
    factor = _STUDENT[lags_s.size - 2] if lags_s.size - 2 < len(_STUDENT) else 2.0
    scatter_ms = 1000.0 * factor * float(np.std(lags_s, ddof=1)) / float(np.sqrt(lags_s.size))
    third = lags_s.size // 3 + 1
    # The ends cover a slow movement that stays within what chunks may wander.
    ends_ms = 750.0 * abs(float(np.median(lags_s[:third]) - np.median(lags_s[-third:])))
    return float(np.median(lags_s)), max(floor_ms, scatter_ms, ends_ms)


def _metadata(
    plan: ChunkPlan, placed: tuple[PlacedChunk, ...], group: tuple[PlacedChunk, ...], rate: float
) -> Metadata:
    return {
        "chunks": len(plan.starts),
        "chunk_seconds": round(plan.length_s / rate, 2),
        "chunks_placed": len(placed),
        "chunks_agreeing": len(group),
        "chunks_by_waveform": sum(chunk.by_wave for chunk in placed),
        "chunk_start_seconds": [round(chunk.start_s / rate, 2) for chunk in placed],
        "chunk_offset_seconds": [round(chunk.lag_s, 5) for chunk in placed],
        "chunk_deviations": [round(chunk.deviations, 1) for chunk in placed],
    }
