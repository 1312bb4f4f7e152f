"""measure: two files in, one `Result` out.

Both files are decoded at once, each in a thread of its own, in one pass that leaves a curve and a sound for each
evidence channel in scratch files; then the analysis reads what it needs. Memory does not grow with the files. What was
made of a master is kept for its other dubs, where the request says so.
"""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Lock
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.evidence import MID, Beat, ChannelEvidence, SideEvidence
from syncd.analysis.features import CHROMA, COARSE_MEL, PITCH_CLASSES, ChromaMaker, LevelMaker
from syncd.analysis.measure import Answer, EndsAnalysis, measure
from syncd.analysis.pictures import draw
from syncd.analysis.thresholds import THRESHOLDS
from syncd.clock import monotonic_s
from syncd.domain import AudioTrack, CacheUse, MeasuredSide, MediaInfo, Metadata, MethodResult, Result, Role
from syncd.errors import ErrorCode, SyncdError, is_of_the_disk
from syncd.heap import give_back_memory
from syncd.media.choosing import choose_track
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.disk import disk_fault
from syncd.media.layouts import evidence_channels
from syncd.media.names import shown_name
from syncd.media.priming import SuspectedDelay, suspected_delay
from syncd.media.probe import probe
from syncd.media.stems import MonoFile, decode_stems, probe_stems
from syncd.plots import Plots
from syncd.protocol import FileVersion, MeasureRequest, ProbeRequest, StemFile
from syncd.watch.examine import identify
from syncd.worker.confirming import Decided, confirm, sounds_of
from syncd.worker.feature_cache import CacheLost, FeatureCache, Features, Source, feature_cache
from syncd.worker.model_cache import ModelCache
from syncd.worker.scratch import Scratch, ScratchCurve, ScratchSound
from syncd.worker.timecodes import timecode_offset_s, timecode_warning

SILENT_ROW_PEAK: Final = 2e-5
"""A row other than `MID` below this (-94 dB) is digital silence: left and right are equal, or nothing but a centre."""


_Stamp = tuple[int, int]
"""Size and time of the last change."""


class Canceled(EndsAnalysis):
    """Raised by a listener when the task was called off."""


class TaskListener(Protocol):
    """Told what happens, from the loops that do the work (two of them while decoding)."""

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        """`done` of `total` units of `stage`; raises `Canceled` when nobody wants the answer any more."""

    def method_done(self, result: MethodResult) -> None:
        """One method's answer, as soon as it is there."""


@dataclass(frozen=True)
class Measurement:
    """The answer and what it took."""

    result: Result
    scratch_bytes: int
    cache: CacheUse | None = None
    """None: there was none."""
    peak_vram_bytes: int = 0
    degraded: tuple[str, ...] = ()
    """What was given up on the way, in words."""
    plots: Plots | None = None
    """None: the profile wants no page, or they could not be drawn."""


def probe_files(request: ProbeRequest) -> tuple[MediaInfo, ...]:
    """What the containers say, one a path; raises `SyncdError` for the first that cannot be read."""
    paths = [Path(os.fsdecode(path)) for path in request.paths]
    stems = request.stems or ((),) * len(paths)
    return tuple(_info(path, _mono_files(each)) for path, each in zip(paths, stems, strict=True))


def measure_pair(
    request: MeasureRequest,
    listener: TaskListener,
    *,
    on_master_ready: Callable[[], None] = lambda: None,
    models: ModelCache | None = None,
) -> Measurement:
    """Find where the dub lies against the master.

    Raises `SyncdError` (the media's or the disk's fault, by its code) and whatever the listener raises. At most two
    threads work at any time; scratch files go to the request's folder and are gone afterwards. With a cache,
    `on_master_ready` is called as soon as another worker would find the master's features there, or knows that it
    will not; from the thread that reads the master. A model stays in `models`; without it, it is dropped at the end.
    """
    if models is None:
        models = ModelCache()
        try:
            return measure_pair(request, listener, on_master_ready=on_master_ready, models=models)
        finally:
            models.drop()
    heard = _OneAtATime(listener)
    master, dub = _sides(request)
    master.check_version(request.master_version, request.master_stems)
    dub.check_version(request.dub_version, request.dub_stems)
    for side in (master, dub):
        side.check_length(side.info.duration_s, request.max_duration_s)
    asked = request.cache
    cache = None if asked is None else feature_cache(asked.folder, asked.max_bytes)
    if cache is None:
        return _measured(master, dub, request, heard, None, models, on_master_ready)
    try:
        return _measured(master, dub, request, heard, cache, models, on_master_ready)
    except CacheLost as error:
        without = _measured(master, dub, request, heard, None, models, on_master_ready)
        note = f"The cache gave out in the middle of the analysis, which began again without it ({error})."
        return replace(without, cache=CacheUse((), (*cache.notes, note)))


def _measured(
    master: _Side,
    dub: _Side,
    request: MeasureRequest,
    heard: _OneAtATime,
    cache: FeatureCache | None,
    models: ModelCache,
    on_master_ready: Callable[[], None],
) -> Measurement:
    with Scratch(Path(os.fsdecode(request.scratch_folder))) as scratch:
        started_s = monotonic_s()
        chroma = "chroma" in request.settings.methods
        reader = _Reader(scratch, heard, request.max_duration_s, cache, on_master_ready, chroma=chroma)
        read_master, read_dub = _read_both(master, dub, reader, heard)
        decode_s = monotonic_s() - started_s
        answer = measure(read_master.evidence, read_dub.evidence, request.settings, heard)
        result = _result(read_master, read_dub, answer, request, decode_s)
        taken = tuple(read.side.role for read in (read_master, read_dub) if read.is_from_cache)
        use = None if cache is None else CacheUse(taken, tuple(cache.notes))
        plots = None
        if request.settings.html:
            drawing_s = monotonic_s()
            plots = _drawn(read_master.evidence, read_dub.evidence, answer, heard)
            result = replace(result, stage_seconds={**result.stage_seconds, "draw": monotonic_s() - drawing_s})
        if request.ai is None:
            return Measurement(result, scratch.bytes_written, use, plots=plots)
        decided = Decided(result.verdict, result.rate, result.timeline)
        sounds = sounds_of(read_master.evidence, read_dub.evidence, result.channels_used)
        said = confirm(request.ai, models, sounds, decided, scratch, heard)
        return Measurement(
            said.added_to(result), scratch.bytes_written, use, said.peak_vram_bytes, said.degraded, plots
        )


def _drawn(master: SideEvidence, dub: SideEvidence, answer: Answer, heard: _OneAtATime) -> Plots | None:
    """The page's figures; the report never fails for want of them."""
    heard.progress("draw", 0, 1, "Drawing the page's figures")
    try:
        return draw(master, dub, answer)
    except (CacheLost, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - whatever breaks here must not cost the report
        traceback.print_exc()
        return None


def _sides(request: MeasureRequest) -> tuple[_Side, _Side]:
    """Both files; of one that is both, two different tracks, and what was asked for is chosen first."""
    master_path, dub_path = Path(os.fsdecode(request.master_path)), Path(os.fsdecode(request.dub_path))
    ours, theirs = _mono_files(request.master_stems), _mono_files(request.dub_stems)
    is_one_file = master_path == dub_path
    if is_one_file and request.master_track is not None:
        master = _Side.of(Role.MASTER, master_path, ours, request.master_track, None, None)
        return master, _Side.of(Role.DUB, dub_path, theirs, request.dub_track, request.language, master.track.index)
    dub = _Side.of(Role.DUB, dub_path, theirs, request.dub_track, request.language, None)
    besides = dub.track.index if is_one_file else None
    return _Side.of(Role.MASTER, master_path, ours, request.master_track, None, besides), dub


def _mono_files(stems: tuple[StemFile, ...]) -> tuple[MonoFile, ...]:
    return tuple(MonoFile(stem.channel, Path(os.fsdecode(stem.path))) for stem in stems)


def _info(path: Path, stems: tuple[MonoFile, ...]) -> MediaInfo:
    return probe_stems(stems) if stems else probe(path)


@dataclass(frozen=True)
class _Side:
    """One file, or several that are one, as the containers describe it."""

    role: str
    path: Path
    info: MediaInfo
    stems: tuple[MonoFile, ...]
    track: AudioTrack
    stamps: tuple[_Stamp, ...]
    doubt: str | None
    """Why it may be the wrong track."""

    @classmethod
    def of(
        cls,
        role: Role,
        path: Path,
        stems: tuple[MonoFile, ...],
        wanted: int | None,
        language: str | None,
        besides: int | None,
    ) -> _Side:
        info = _info(path, stems)
        is_master = role is Role.MASTER
        choice = choose_track(info, path, wanted=wanted, language=language, default_decides=is_master, besides=besides)
        stamps = tuple(_stamp(each) for each in _paths(path, stems))
        return cls(role, path, info, stems, info.tracks[choice.index], stamps, choice.doubt)

    def blocks(self, report: DecodeReport) -> Iterator[NDArray[np.float32]]:
        """The sound, as `evidence_channels` names its rows."""
        if self.stems:
            return decode_stems(self.stems, report)
        return decode_blocks(self.path, self.track.index, report)

    def check_version(self, meant: FileVersion | None, stems: tuple[StemFile, ...]) -> None:
        """Raise `SyncdError` FILE_CHANGED where a file is not the one that was recorded."""
        versions = [stem.version for stem in stems] if stems else [meant]
        for path, stamp, version in zip(_paths(self.path, self.stems), self.stamps, versions, strict=True):
            if version is not None and stamp != (version.size_bytes, version.mtime_ns):
                message = f"{shown_name(path)} was replaced after it had been recorded."
                raise SyncdError(ErrorCode.FILE_CHANGED, message)

    def check_unchanged(self) -> None:
        """Raise `SyncdError` FILE_CHANGED where somebody wrote to a file since it was opened."""
        for path, stamp in zip(_paths(self.path, self.stems), self.stamps, strict=True):
            if _stamp(path) != stamp:
                raise SyncdError(ErrorCode.FILE_CHANGED, f"{shown_name(path)} was written to while it was read.")

    def check_length(self, duration_s: float | None, longest_s: float | None) -> None:
        if duration_s is None:
            return
        if longest_s is not None and duration_s > longest_s:
            message = f"{shown_name(self.path)} lasts {_clock(duration_s)}; the limit is {_clock(longest_s)}."
            raise SyncdError(ErrorCode.MEDIA_TOO_LONG, message, {"duration_seconds": duration_s})
        if duration_s < THRESHOLDS.shortest_media_s:
            needed_s = THRESHOLDS.shortest_media_s
            message = f"{shown_name(self.path)} lasts {duration_s:.2f} s; at least {needed_s:g} s are needed."
            raise SyncdError(ErrorCode.MEDIA_TOO_SHORT, message, {"duration_seconds": duration_s})


@dataclass(frozen=True)
class _ReadSide:
    """One file after decoding."""

    side: _Side
    evidence: SideEvidence
    delay: SuspectedDelay | None
    warnings: tuple[str, ...]
    needs_review: bool = False
    is_from_cache: bool = False

    @classmethod
    def of(cls, side: _Side, features: Features, *, is_from_cache: bool) -> _ReadSide:
        report = features.report
        warnings = report.warnings(side.path)
        if side.doubt is not None:
            warnings = (side.doubt, *warnings)
        track = replace(side.track, codec=report.codec or side.track.codec)
        signalled = report.signals_priming
        delay = suspected_delay(track.codec, side.info.container, track.sample_rate_hz, is_signalled=signalled)
        needs_review = side.doubt is not None or report.may_be_cut
        return cls(replace(side, track=track), features.evidence, delay, warnings, needs_review, is_from_cache)

    def measured(self) -> MeasuredSide:
        track, info = self.side.track, self.side.info
        return MeasuredSide(
            duration_s=self.evidence.duration_s,
            sample_rate_hz=track.sample_rate_hz,
            channels=track.channels,
            codec=track.codec,
            container=info.container,
            track=track.index,
            start_timecode=info.start_timecode,
            frame_rate=info.frame_rate,
            codec_delay_ms=None if self.delay is None else self.delay.ms,
            start_of_day_s=info.start_of_day_s,
        )


class _OneAtATime:
    """The listener, for two threads: one call at a time, and once it has raised, for both."""

    def __init__(self, listener: TaskListener) -> None:
        self._listener = listener
        self._lock = Lock()
        self._over = Event()

    def stop(self) -> None:
        """The other thread ends at its next step."""
        self._over.set()

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        with self._lock:
            if self._over.is_set():
                raise Canceled
            self._listener.progress(stage, done, total, text)

    def method_done(self, result: MethodResult) -> None:
        give_back_memory()
        with self._lock:
            self._listener.method_done(result)


def _read_both(master: _Side, dub: _Side, reader: _Reader, heard: _OneAtATime) -> tuple[_ReadSide, _ReadSide]:
    """Read both files side by side; the first failure ends both and is the one that is raised."""
    with ThreadPoolExecutor(2, thread_name_prefix="decode") as threads:
        futures = [threads.submit(reader.master, master), threads.submit(reader.dub, dub)]
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
        broken = next((f for f in futures if f in done and f.exception() is not None), None)
        if broken is not None:
            heard.stop()
            broken.result()
        return futures[0].result(), futures[1].result()


class _Reader:
    """Files in, features out: from the cache where they are there, else by decoding."""

    def __init__(
        self,
        scratch: Scratch,
        heard: _OneAtATime,
        longest_s: float | None,
        cache: FeatureCache | None,
        on_master_ready: Callable[[], None],
        *,
        chroma: bool,
    ) -> None:
        self._scratch, self._heard, self._longest_s = scratch, heard, longest_s
        self._cache, self._on_master_ready, self._chroma = cache, on_master_ready, chroma

    def master(self, side: _Side) -> _ReadSide:
        """The master; what was made of it is kept before anything else is done with it."""
        source = self._source(side)
        read = self._taken(side, source)
        if read is None:
            features = self._decoded(side)
            read = _ReadSide.of(side, features, is_from_cache=False)
            if self._cache is not None and source is not None and identify(side.path) == source.file:
                self._cache.keep(source, features, self._beat(f"keep_{side.role}", "Keeping the master for other dubs"))
        self._on_master_ready()
        return read

    def dub(self, side: _Side) -> _ReadSide:
        """The dub, which is in the cache only if it has been a master; it will not be asked for again."""
        return self._taken(side, self._source(side)) or _ReadSide.of(side, self._decoded(side), is_from_cache=False)

    def _source(self, side: _Side) -> Source | None:
        if self._cache is None or side.stems:
            return None
        file = identify(side.path)
        if (file.stamp.size_bytes, file.stamp.mtime_ns) != side.stamps[0]:
            side.check_unchanged()
            return None
        return Source(file, side.track.index, evidence_channels(side.track.channels, side.track.layout))

    def _taken(self, side: _Side, source: Source | None) -> _ReadSide | None:
        if self._cache is None or source is None:
            return None
        beat = self._beat(f"fetch_{side.role}", f"Taking the {side.role} from the cache")
        features = self._cache.take(source, self._scratch, beat, chroma=self._chroma)
        if features is None:
            return None
        self._check(side, features.evidence.duration_s)
        return _ReadSide.of(side, features, is_from_cache=True)

    def _decoded(self, side: _Side) -> Features:
        report = DecodeReport()
        total_s = side.info.duration_s or 0.0
        stage = f"decode_{side.role}"
        rows = evidence_channels(side.track.channels, side.track.layout)
        channels = _Channels(self._scratch, rows, chroma=self._chroma)
        for block in side.blocks(report):
            done_s = report.samples / SAMPLE_RATE_HZ
            if self._longest_s is not None and done_s > self._longest_s:
                side.check_length(done_s, self._longest_s)
            channels.append(block)
            expected_s = max(total_s, done_s)
            told = f"Reading the {side.role}: {_clock(done_s)} of {_clock(expected_s)}"
            self._heard.progress(stage, int(done_s), max(1, round(expected_s)), told)
        duration_s = report.samples / SAMPLE_RATE_HZ
        self._check(side, duration_s)
        return Features(SideEvidence(duration_s, channels.finish()), report)

    def _check(self, side: _Side, duration_s: float) -> None:
        """What can only be told once all of it is there."""
        side.check_unchanged()
        side.check_length(duration_s, self._longest_s)

    def _beat(self, stage: str, text: str) -> Beat:
        return lambda done, total: self._heard.progress(stage, done, total, text)


class _Channels:
    """Blocks in; each evidence channel's curve and sound out, in scratch files."""

    def __init__(self, scratch: Scratch, rows: tuple[str, ...], *, chroma: bool) -> None:
        self._kept = {name: _KeptChannel(scratch, chroma=chroma and name == MID) for name in rows}

    def append(self, block: NDArray[np.float32]) -> None:
        """Shape (rows, n)."""
        for kept, samples in zip(self._kept.values(), block, strict=True):
            kept.append(samples)

    def finish(self) -> dict[str, ChannelEvidence]:
        """The channels that are worth comparing: `MID`, and every other one that is not digital silence."""
        evidence = {name: kept.finish() for name, kept in self._kept.items()}
        return {name: e for name, e in evidence.items() if name == MID or self._kept[name].peak >= SILENT_ROW_PEAK}


class _KeptChannel:
    def __init__(self, scratch: Scratch, *, chroma: bool) -> None:
        self._sound = ScratchSound(scratch.open_file())
        self._levels = ScratchCurve(scratch.open_file(), COARSE_MEL.n_mels)
        self._level_maker = LevelMaker(COARSE_MEL)
        self._chroma = _KeptChroma(scratch) if chroma else None

    @property
    def peak(self) -> float:
        return self._sound.peak

    def append(self, samples: NDArray[np.float32]) -> None:
        self._sound.append(samples)
        self._levels.append(self._level_maker.feed(samples))
        if self._chroma is not None:
            self._chroma.append(samples)

    def finish(self) -> ChannelEvidence:
        self._levels.append(self._level_maker.finish())
        self._levels.flush()
        chroma = None if self._chroma is None else self._chroma.finish()
        return ChannelEvidence(self._sound, self._levels, self._level_maker.activity(), chroma)


class _KeptChroma:
    def __init__(self, scratch: Scratch) -> None:
        self._curve = ScratchCurve(scratch.open_file(), PITCH_CLASSES)
        self._maker = ChromaMaker(CHROMA)

    def append(self, samples: NDArray[np.float32]) -> None:
        self._curve.append(self._maker.feed(samples))

    def finish(self) -> ScratchCurve:
        self._curve.append(self._maker.finish())
        self._curve.flush()
        return self._curve


def _result(master: _ReadSide, dub: _ReadSide, answer: Answer, request: MeasureRequest, decode_s: float) -> Result:
    decision = answer.decision
    measured_master, measured_dub = master.measured(), dub.measured()
    timecodes_s = timecode_offset_s(measured_master, measured_dub)
    told = timecode_warning(timecodes_s, decision.consensus)
    return Result(
        master=measured_master,
        dub=measured_dub,
        verdict=decision.verdict,
        review=decision.review or master.needs_review or dub.needs_review,
        consensus=decision.consensus,
        rate=decision.rate,
        timeline=decision.timeline,
        coverage=decision.coverage,
        candidates=decision.candidates,
        method_results=answer.method_results,
        overall_confidence=decision.confidence,
        method_agreement=answer.consensus.agreement,
        channels_used=answer.channels_used,
        reasons=decision.reasons,
        warnings=(
            *master.warnings,
            *dub.warnings,
            *_delay_warnings(master, dub),
            *decision.warnings,
            *(() if told is None else (told,)),
        ),
        settings=_settings(request),
        stage_seconds={"decode": decode_s, **answer.stage_seconds},
        timecode_offset_s=timecodes_s,
    )


def _delay_warnings(*sides: _ReadSide) -> tuple[str, ...]:
    return tuple(
        f"About {read.delay.ms:.1f} ms of the offset may be delay that the {read.side.role}'s encoder added: "
        f"{read.delay.reason}."
        for read in sides
        if read.delay is not None
    )


def _settings(request: MeasureRequest) -> Metadata:
    asked = request.settings
    return {
        "methods": list(asked.methods),
        "tolerance": asked.tolerance.name,
        "tolerance_early_ms": asked.tolerance.early_ms,
        "tolerance_late_ms": asked.tolerance.late_ms,
        "confidence_threshold": asked.confidence_threshold,
        "sample_rate_hz": SAMPLE_RATE_HZ,
        "flux_hop_samples": COARSE_MEL.hop_samples,
        "flux_n_fft": COARSE_MEL.n_fft,
        "flux_bands": COARSE_MEL.n_mels,
        **THRESHOLDS.to_settings(),
    }


def _paths(path: Path, stems: tuple[MonoFile, ...]) -> tuple[Path, ...]:
    return tuple(stem.path for stem in stems) or (path,)


def _stamp(path: Path) -> _Stamp:
    try:
        status = path.stat()
    except FileNotFoundError as error:
        raise SyncdError(ErrorCode.FILE_NOT_FOUND, f"{shown_name(path)} is not there any more.") from error
    except OSError as error:
        if is_of_the_disk(error):
            raise disk_fault(path, error) from error
        raise
    return status.st_size, status.st_mtime_ns


def _clock(seconds: float) -> str:
    minutes, second = divmod(int(seconds), 60)
    return f"{minutes}:{second:02d}"
