"""The values that travel between the rooms: frozen, without behaviour beyond what follows from themselves.

Paths are `pathlib.Path` made with the file system's own encoding (surrogateescape), so every byte of a name survives;
whoever stores or sends one turns it into bytes with `os.fsencode`. The two that share a field, `Estimate` and
`Inconclusive`, are tagged structs, so that a message can tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from syncd.errors import DetailValue, ErrorCode

Metadata = dict[str, str | int | float | bool | list[str | int | float] | None]


# --- files and pairs -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FileStamp:
    """What `stat` says of a file: unchanged means that nobody wrote, replaced or renamed it."""

    device: int
    inode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int
    blocks: int = 0
    """Allocated 512-byte blocks: a preallocated copy grows here while its size stands still."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Which version of a file this is. A rename, a link or a remount keeps it; new content does not."""

    size_bytes: int
    mtime_ns: int
    fingerprint: str
    """Hex digest over the size and the first, middle and last 64 KiB."""


class Role(StrEnum):
    """The two sides of a pair."""

    MASTER = "master"
    DUB = "dub"


@dataclass(frozen=True, slots=True)
class Stem:
    """One channel of a side that was delivered as several mono files."""

    channel: str
    """L, R, C, LFE, Ls, Rs, Lrs or Rrs."""
    path: Path
    identity: Identity
    stamp: FileStamp


@dataclass(frozen=True, slots=True)
class MediaFile:
    """One version of one file, or of several that are one side of a pair: one mono file a channel.

    Then `path` is the left channel's, which names the side; `identity` follows from all of them, and `stamp` is the
    left channel's.
    """

    path: Path
    identity: Identity
    stamp: FileStamp
    stems: tuple[Stem, ...] = ()
    """All channels, the left one first; empty for an ordinary file."""


@dataclass(frozen=True, slots=True)
class FileMove:
    """One file on its way to another folder, as it was when that was decided."""

    source: Path
    target: Path
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Moving:
    """The files of one side of a pair that move together: kept in the ledger until they have."""

    job_id: int
    """Whose end is the reason."""
    media_id: int
    """The side's row."""
    files: tuple[FileMove, ...]


@dataclass(frozen=True, slots=True)
class Pair:
    """A master and one of its dubs, ready to be enqueued."""

    title: str
    master: MediaFile
    dub: MediaFile
    language: str | None = None
    """BCP 47 tag, as written in the name."""
    master_track: int | None = None
    """Index among the audio tracks of the container, from 0; None: chosen by language or default."""
    dub_track: int | None = None


class OrphanReason(StrEnum):
    """Why a settled file has no partner."""

    NO_MASTER = "no_master"
    """A dub whose title has no master here."""
    NO_DUB = "no_dub"
    """A master that nobody dubbed."""
    NO_ROLE = "no_role"
    """The name says neither master nor dub."""
    AMBIGUOUS_PAIR = "ambiguous_pair"
    """Two masters claim the title: never guessed."""

    @property
    def may_pass(self) -> bool:
        """Whether waiting may mend it."""
        return self in {OrphanReason.NO_MASTER, OrphanReason.NO_DUB}


@dataclass(frozen=True, slots=True)
class Orphan:
    """A settled media file without a partner."""

    file: MediaFile
    reason: OrphanReason
    message: str
    """One sentence: what is missing, by name."""


# --- jobs ------------------------------------------------------------------------------------------------------------


class JobState(StrEnum):
    """Where a job stands. Final states never change."""

    QUEUED = "queued"
    """Recorded; waits until it is admitted."""
    RUNNING = "running"
    """A worker has it."""
    COMPLETED = "completed"
    """Measured; the sidecar is written."""
    FAILED = "failed"
    """The media or the machinery gave out; a sidecar says so."""
    QUARANTINED = "quarantined"
    """It brought workers down again and again; a sidecar says so."""
    CANCELED = "canceled"
    """Somebody called it off."""
    SUPERSEDED = "superseded"
    """A newer version of master or dub took its place (`superseded_by`)."""


FINAL_STATES: Final = frozenset(
    {JobState.COMPLETED, JobState.FAILED, JobState.QUARANTINED, JobState.CANCELED, JobState.SUPERSEDED}
)


class Priority(StrEnum):
    """How a job is ranked; a low one waits longer, never for ever."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How early or late sound may be before a person is bothered, in ms of either sign (both positive)."""

    name: str
    early_ms: float
    late_ms: float


TOLERANCES: Final[dict[str, Tolerance]] = {
    "ebu-r37": Tolerance("ebu-r37", 40.0, 60.0),
    "itu-bt1359": Tolerance("itu-bt1359", 45.0, 125.0),
    "atsc-is191": Tolerance("atsc-is191", 15.0, 45.0),
}
"""EBU R37 (to the transmitter), ITU-R BT.1359 (detectability), ATSC IS-191."""


@dataclass(frozen=True, slots=True)
class AnalysisSettings:
    """What a profile asks of the analysis: kept with the job, so that a later change of the profile touches no job."""

    methods: tuple[str, ...]
    tolerance: Tolerance
    confidence_threshold: float = 0.8
    ai: str = "off"
    html: bool = True


# --- what a probe says -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AudioTrack:
    """One audio track of a container."""

    index: int
    """Among the audio tracks, from 0."""
    codec: str
    sample_rate_hz: int
    channels: int
    layout: str
    language: str | None = None
    title: str | None = None
    start_s: float = 0.0
    """Presentation start relative to the container's time zero."""
    is_default: bool = False
    """The container would play it unasked."""
    purpose: str | None = None
    """What it is for, if not the programme itself: commentary, audio description, …"""


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What the container says of itself; nothing is decoded for it but what proves that audio comes out."""

    container: str
    duration_s: float | None
    tracks: tuple[AudioTrack, ...]
    start_timecode: str | None = None
    frame_rate: str | None = None
    start_of_day_s: float | None = None
    """The start timecode in seconds since midnight, where it was counted in samples and not in frames."""


# --- what the analysis says ------------------------------------------------------------------------------------------

ANALYSIS_VERSION: Final = 2
"""Grows when the same pair may get another answer. What was measured before keeps its answer until somebody asks for it
anew: the same pair dropped twice runs once."""


class Estimate(msgspec.Struct, frozen=True, tag="estimate"):
    """An offset somebody vouches for."""

    offset_s: float
    confidence: float
    """Probability, 0 to 1, that the offset is right to half a frame at 25 fps (20 ms)."""
    uncertainty_ms: float
    """Half the 95 % interval."""


class Inconclusive(msgspec.Struct, frozen=True, tag="inconclusive"):
    """«No answer» is a value; it says why."""

    reasons: tuple[str, ...]


class MethodStatus(StrEnum):
    """How a method ended."""

    OK = "ok"
    INCONCLUSIVE = "inconclusive"
    """It ran and vouches for nothing; the reasons say why."""
    SKIPPED = "skipped"
    """It was asked for and not run; the reasons say why."""
    FAILED = "failed"
    """It broke; the others go on."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """What one method says."""

    method: str
    status: MethodStatus
    outcome: Estimate | Inconclusive
    quality_score: float
    """Peak over noise floor, in deviations (not bounded above); 0 when there is none."""
    processing_s: float
    metadata: Metadata = field(default_factory=dict)


class Verdict(StrEnum):
    """The answer in a word; the first that holds, in this order."""

    INCONCLUSIVE = "inconclusive"
    NO_MATCH = "no_match"
    EDITED = "edited"
    DRIFT = "drift"
    OFFSET = "offset"
    IN_SYNC = "in_sync"


class SegmentKind(StrEnum):
    """What became of a stretch of the programme."""

    MATCH = "match"
    MISSING = "missing"
    """In the master, not in the dub."""
    INSERTED = "inserted"
    """In the dub, not in the master."""
    REPLACED = "replaced"
    """Both have something here, and it is not the same."""
    UNMATCHED = "unmatched"
    """Head or tail beyond the other side."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the timeline; the side that lacks it has None on both ends."""

    kind: SegmentKind
    master_start_s: float | None
    master_end_s: float | None
    dub_start_s: float | None
    dub_end_s: float | None
    offset_s: float | None = None
    lag_start_ms: float | None = None
    lag_end_ms: float | None = None
    confidence: float | None = None


@dataclass(frozen=True, slots=True)
class Rate:
    """Speed of the dub against the master."""

    ratio: float = 1.0
    uncertainty_ppm: float | None = None
    name: str | None = None
    pitch_semitones: float | None = None


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of each side (0 to 1) that lies in matching segments."""

    master: float
    dub: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """Another offset that fits, when the material repeats."""

    offset_s: float
    quality_score: float


@dataclass(frozen=True, slots=True)
class MeasuredSide:
    """What decoding one side showed."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    codec: str
    container: str
    track: int
    start_timecode: str | None = None
    frame_rate: str | None = None
    codec_delay_ms: float | None = None
    start_of_day_s: float | None = None


@dataclass(frozen=True, slots=True)
class AiResult:
    """What a model's embeddings say of a pair. They confirm what the bed decided and never place the dub alone."""

    model: str
    """As in the configuration: wav2vec2, yamnet or spectral-embedding."""
    checkpoint: str
    """Which weights: their name and the first digits of their SHA-256; empty for a model without any."""
    outcome: Estimate | Inconclusive
    """Where the embeddings alone would place the dub."""
    embedding_similarity: float | None
    """Mean cosine of the frames that the report lays side by side, less that of frames that do not belong together,
    -1 to 1; None where the report places nothing."""
    temporal_consistency: float | None
    """Share (0 to 1) of the windows that fit best, each by itself, where the report places them."""
    model_confidence: float
    """0 to 1: how sure the model is that both sides are the same programme there."""
    windows: int
    """Of both sides together."""
    device: str
    dtype: str
    batch: int
    """Windows at once, at the end: fewer than asked where memory did not suffice."""
    processing_s: float


@dataclass(frozen=True, slots=True)
class Result:
    """The whole answer about one pair, as a worker sends it."""

    master: MeasuredSide
    dub: MeasuredSide
    verdict: Verdict
    review: bool
    consensus: Estimate | None
    rate: Rate | None
    timeline: tuple[Segment, ...]
    coverage: Coverage
    candidates: tuple[Candidate, ...]
    method_results: tuple[MethodResult, ...]
    overall_confidence: float
    method_agreement: float | None
    channels_used: str
    reasons: tuple[str, ...] = ()
    """Why the verdict is no_match or inconclusive, in sentences."""
    warnings: tuple[str, ...] = ()
    settings: Metadata = field(default_factory=dict)
    """Every threshold that shaped the verdict."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    analysis_version: int = ANALYSIS_VERSION
    timecode_offset_s: float | None = None
    """Where the start timecodes alone would place the dub; None unless both sides carry one."""
    ai: AiResult | None = None
    """None: no model was asked, or it could not be had (then a warning says why)."""


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache of features did for an attempt."""

    taken: tuple[str, ...]
    """The sides that came from it and were not decoded: "master", and "dub" where it has been a master before."""
    notes: tuple[str, ...] = ()
    """What went wrong with it, in sentences; it costs time and nothing else."""


@dataclass(frozen=True, slots=True)
class ModelUse:
    """A model at work on a card: what its memory depends on."""

    model: str
    """wav2vec2 or yamnet."""
    weights_bytes: int
    """As stored."""
    dtype: str
    """float32, float16 or bfloat16."""
    batch: int
    """Windows at once."""
    window_s: float
    card: str
    """The card's name: cards of one kind take alike."""


@dataclass(frozen=True, slots=True)
class MemoryObservation:
    """What a finished attempt really took: this corrects the prediction for the next."""

    device: str
    kind: str
    """What was done: "probe" or "measure"."""
    predicted_ram_bytes: int
    peak_ram_bytes: int
    duration_s: float
    channels: int
    methods: tuple[str, ...]
    predicted_vram_bytes: int = 0
    peak_vram_bytes: int = 0
    model: ModelUse | None = None
    """None: none was used, or not on a card."""
    ran_out: bool = False
    """Whether that batch found the memory promised to it too small."""


@dataclass(frozen=True, slots=True)
class StagePause:
    """The longest that a stage of a completed job stood still: this is what the next job's silence is judged by."""

    stage: str
    longest_s: float
    duration_s: float
    """Of the longer side."""


@dataclass(frozen=True, slots=True)
class ReadyJob:
    """A queued job whose time has come."""

    job_id: int
    title: str
    master: MediaFile
    dub: MediaFile
    master_track: int | None
    dub_track: int | None
    language: str | None
    profile: str
    settings: AnalysisSettings
    priority: Priority
    attempts: int
    """Counted attempts so far."""
    interruptions: int
    """How often the daemon died while it ran."""
    master_info: MediaInfo | None
    """None until probed."""
    dub_info: MediaInfo | None
    enqueued_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to change one running job; every finish presents it."""

    job_id: int
    attempt_id: int
    """The row in `attempts`: one a claim."""
    attempt_number: int
    """Counted attempts, this one included; hand-backs do not count, so a number may come again."""
    token: str


@dataclass(frozen=True, slots=True)
class Trace:
    """Where an attempt stood that did not end by itself."""

    stage: str | None = None
    stack: str | None = None
    """What its worker printed last: every thread's stack, as a rule."""


NO_TRACE: Final = Trace()


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt or a job ended without an answer."""

    code: ErrorCode
    message: str
    details: dict[str, DetailValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PastReport:
    """What a report that lies beside a dub says of the job that it came from."""

    text: str
    """The whole report, as JSON."""
    path: Path
    created_at: datetime
    outcome: PastAnswer | Failure
    is_quarantined: bool = False
    """Whether it is not to be tried again."""


@dataclass(frozen=True, slots=True)
class PastAnswer:
    """What a report of a measured pair says, as far as lists show it."""

    verdict: Verdict
    review: bool
    offset_s: float | None
    confidence: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is."""

    stage: str
    done: int
    total: int
    text: str
    at: datetime | None = None
