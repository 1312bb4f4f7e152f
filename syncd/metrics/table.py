"""Every metric: its name, what it says, and where in a snapshot it stands."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

import psutil

from syncd import __version__
from syncd.delivery import Handed
from syncd.devices.admission import Obstacle
from syncd.devices.card_history import Cause
from syncd.devices.inventory import DeviceKind
from syncd.devices.views import IDLE, DeviceView
from syncd.domain import JobState, Verdict
from syncd.errors import ErrorCode, ErrorKind, error_kind
from syncd.metrics.snapshot import Snapshot
from syncd.supervisor.counted import WorkerEnd
from syncd.tally import Spread

Labels = tuple[str, ...]
Samples = Mapping[Labels, float | Spread]
Read = Callable[[Snapshot], Samples]

IN_USE: Final = "in_use"
"""Beside the causes for which a card is not."""
RETRIED: Final = tuple(code for code in ErrorCode if error_kind(code) is ErrorKind.MACHINERY)


class Kind(StrEnum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One family of samples."""

    name: str
    kind: Kind
    help: str
    """One sentence."""
    read: Read
    """The samples, by the values of the labels."""
    labels: Labels = ()


def _one(value: Callable[[Snapshot], float | Spread]) -> Read:
    return lambda seen: {(): value(seen)}


def _by(values: Iterable[StrEnum], count: Callable[[Snapshot], Mapping[str, int]]) -> Read:
    """A sample for each value, also those that never came up: so the first time is an increase too."""
    none = dict.fromkeys((value.value for value in values), 0)
    return lambda seen: {(value,): number for value, number in (none | dict(count(seen))).items()}


def _by_device(value: Callable[[DeviceView], float]) -> Read:
    return lambda seen: {(device.uuid,): value(device) for device in seen.now.devices.devices}


def _cards(seen: Snapshot) -> Samples:
    counted = dict.fromkeys((IN_USE, *(cause.value for cause in Cause)), 0)
    for device in seen.now.devices.devices:
        if device.kind is DeviceKind.GPU:
            counted[IN_USE if device.cause is None else device.cause.value] += 1
    return {(condition,): number for condition, number in counted.items()}


def _held_bytes(device: DeviceView) -> int:
    return sum(
        holder.held_bytes or 0 for holder in device.held_by if holder.job_id is not None or holder.process == IDLE
    )


def _oldest(seen: Snapshot) -> Samples:
    ages = {JobState.QUEUED: seen.ledger.oldest_queued_s, JobState.RUNNING: seen.ledger.oldest_running_s}
    return {(state.value,): age_s for state, age_s in ages.items()}


@cache
def _started_at_s() -> float:
    return psutil.Process().create_time()


_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

_SERVICE: Final = (
    Metric(
        "syncd_build_info",
        _G,
        "Always 1: the version that runs, and Python's.",
        lambda _: {(__version__, platform.python_version()): 1},
        ("version", "python"),
    ),
    Metric(
        "syncd_start_time_seconds",
        _G,
        "When this daemon was started, in seconds since 1970: each change is a restart.",
        _one(lambda _: _started_at_s()),
    ),
    Metric("syncd_paused", _G, "1: somebody paused the service.", _one(lambda seen: seen.ledger.is_paused)),
    Metric(
        "syncd_loop_turn_duration_seconds",
        _H,
        "Turns of the main loop, without its sleep.",
        _one(lambda seen: seen.turns),
    ),
    Metric("syncd_ledger_bytes", _G, "The ledger's file.", _one(lambda seen: seen.ledger.file_bytes)),
    Metric("syncd_ledger_wal_bytes", _G, "Its write-ahead log.", _one(lambda seen: seen.ledger.log_bytes)),
)

_SETTLE_AND_PAIR: Final = (
    Metric("syncd_folders", _G, "Watched folders.", _one(lambda seen: seen.folders.watched)),
    Metric("syncd_folders_missing", _G, "Of these, such as cannot be read.", _one(lambda seen: seen.folders.missing)),
    Metric("syncd_folders_hung", _G, "Of these, such as do not answer.", _one(lambda seen: seen.folders.hung)),
    Metric(
        "syncd_watch_troubles_total",
        _C,
        "Troubles of watched folders that were told of, at most one a minute of each.",
        _by(RETRIED, lambda seen: seen.intake.troubles),
        ("code",),
    ),
    Metric(
        "syncd_watch_overflows_total",
        _C,
        "Times when events of the file system were lost, and the whole folder was read instead.",
        _one(lambda seen: seen.intake.overflows),
    ),
    Metric("syncd_rescans_total", _C, "Watched folders read whole.", _one(lambda seen: seen.intake.rescans)),
    Metric(
        "syncd_rescan_missed_files_total",
        _C,
        "New files that a rescan found and no event had told of.",
        _one(lambda seen: seen.intake.missed),
    ),
    Metric("syncd_orphans", _G, "Files that wait for a partner.", _one(lambda seen: seen.ledger.orphans)),
    Metric("syncd_orphans_found_total", _C, "Files said to have no partner.", _one(lambda seen: seen.intake.orphans)),
)

_ENQUEUE: Final = (
    Metric(
        "syncd_intake_backlog",
        _G,
        "What watchers have told and the main loop has not taken yet.",
        _one(lambda seen: seen.intake_backlog),
    ),
    Metric("syncd_enqueued_total", _C, "Jobs made of pairs in watched folders.", _one(lambda seen: seen.intake.queued)),
    Metric(
        "syncd_recorded_total",
        _C,
        "Jobs recorded from reports that lay beside their dubs.",
        _one(lambda seen: seen.intake.recorded),
    ),
    Metric(
        "syncd_found_again_total",
        _C,
        "Pairs found in another place than where they were measured.",
        _one(lambda seen: seen.intake.found_again),
    ),
    Metric(
        "syncd_jobs",
        _G,
        "Jobs in the ledger.",
        lambda seen: {(state.value,): number for state, number in seen.ledger.jobs.items()},
        ("state",),
    ),
    Metric(
        "syncd_oldest_job_age_seconds",
        _G,
        "Since the oldest job that is queued was enqueued, or the oldest that runs was started; 0: there is none.",
        _oldest,
        ("state",),
    ),
)

_ADMIT: Final = (
    Metric(
        "syncd_admissions_total",
        _C,
        "Jobs let in.",
        _by(DeviceKind, lambda seen: seen.jobs.admitted),
        ("kind",),
    ),
    Metric(
        "syncd_refusals_total",
        _C,
        "Waiting jobs that were looked at and not let in; a job counts once for each obstacle that it meets anew.",
        _by(Obstacle, lambda seen: seen.jobs.refused),
        ("reason",),
    ),
    Metric(
        "syncd_breaker_open",
        _G,
        "1: claiming rests, because one job after another ended badly.",
        _one(lambda seen: seen.now.is_resting),
    ),
    Metric(
        "syncd_cards",
        _G,
        "GPUs in use, or not used, by cause.",
        _cards,
        ("condition",),
    ),
    Metric(
        "syncd_device_info",
        _G,
        "Always 1: what a device is called.",
        lambda seen: {
            (device.uuid, device.kind.value, "" if device.index is None else str(device.index), device.name): 1
            for device in seen.now.devices.devices
        },
        ("device", "kind", "index", "name"),
    ),
    Metric(
        "syncd_device_usable",
        _G,
        "1: jobs may be sent there.",
        _by_device(lambda device: device.is_usable),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_total_bytes",
        _G,
        "Memory of a GPU; of the device `cpu`, the host's.",
        _by_device(lambda device: device.total_bytes),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_free_bytes",
        _G,
        "Free for anybody.",
        _by_device(lambda device: device.free_bytes),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_used_bytes",
        _G,
        "Held by anybody.",
        _by_device(lambda device: device.total_bytes - device.free_bytes),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_allowed_bytes",
        _G,
        "What all jobs together may hold.",
        _by_device(lambda device: device.allowed_bytes),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_promised_bytes",
        _G,
        "Reserved for the jobs that run there.",
        _by_device(lambda device: device.promised_bytes),
        ("device",),
    ),
    Metric(
        "syncd_device_memory_held_bytes",
        _G,
        "What syncd's workers hold of it; idle ones only on GPUs.",
        _by_device(_held_bytes),
        ("device",),
    ),
)

_MEASURE: Final = (
    Metric("syncd_attempts_total", _C, "Jobs claimed, retries among them.", _one(lambda seen: seen.jobs.attempts)),
    Metric(
        "syncd_retries_total",
        _C,
        "Attempts that failed and are to be made again.",
        _by(RETRIED, lambda seen: seen.jobs.retries),
        ("code",),
    ),
    Metric(
        "syncd_stalls_total",
        _C,
        "Workers that stood still and were ended; a stage that never stalled has no sample.",
        lambda seen: {(stage,): number for stage, number in seen.jobs.stalls.items()},
        ("stage",),
    ),
    Metric("syncd_worker_starts_total", _C, "Worker processes started.", _one(lambda seen: seen.workers.started)),
    Metric(
        "syncd_worker_ends_total",
        _C,
        "Worker processes that are no more.",
        _by(WorkerEnd, lambda seen: seen.workers.ended),
        ("reason",),
    ),
    Metric(
        "syncd_workers",
        _G,
        "Worker processes.",
        lambda seen: {("busy",): len(seen.now.slots), ("idle",): seen.now.idle_workers},
        ("condition",),
    ),
    Metric(
        "syncd_worker_resident_bytes",
        _G,
        "Resident memory of the worker in a slot; empty slots have no sample.",
        lambda seen: {(str(one.slot),): one.resident_bytes for one in seen.now.slots},
        ("slot",),
    ),
    Metric(
        "syncd_idle_workers_resident_bytes",
        _G,
        "Resident memory of all idle workers.",
        _one(lambda seen: seen.now.idle_resident_bytes),
    ),
    Metric(
        "syncd_slot_progress_age_seconds",
        _G,
        "Since the job in a slot was last seen to move; empty slots have no sample.",
        lambda seen: {(str(one.slot),): one.progress_age_s for one in seen.now.slots},
        ("slot",),
    ),
    Metric(
        "syncd_stage_duration_seconds",
        _H,
        "Stages of completed jobs, as their reports say.",
        lambda seen: {(stage,): spread for stage, spread in seen.jobs.stage_s.items()},
        ("stage",),
    ),
    Metric(
        "syncd_job_duration_seconds",
        _H,
        "Completed jobs: the attempt that completed them, as their reports say.",
        _one(lambda seen: seen.jobs.job_s),
    ),
)

_REPORT: Final = (
    Metric(
        "syncd_job_latency_seconds",
        _H,
        "From enqueue to report, completed or failed.",
        _one(lambda seen: seen.jobs.latency_s),
    ),
    Metric(
        "syncd_results_total",
        _C,
        "Completed jobs.",
        _by(Verdict, lambda seen: seen.jobs.results),
        ("verdict",),
    ),
    Metric(
        "syncd_reviews_total",
        _C,
        "Of these, such as ask for a person's look.",
        _one(lambda seen: seen.jobs.reviews),
    ),
    Metric(
        "syncd_failures_total",
        _C,
        "Jobs that failed for good.",
        _by(ErrorCode, lambda seen: seen.jobs.failures),
        ("code",),
    ),
    Metric(
        "syncd_quarantines_total",
        _C,
        "Of these, such as are not to be tried again.",
        _one(lambda seen: seen.jobs.quarantines),
    ),
    Metric(
        "syncd_reports_waiting", _G, "Jobs that wait for their report.", _one(lambda seen: seen.now.reports_waiting)
    ),
    Metric(
        "syncd_report_lag_seconds",
        _G,
        "How long the oldest of these has been waiting; 0: none is.",
        _one(lambda seen: seen.now.report_lag_s),
    ),
    Metric(
        "syncd_handover_total",
        _C,
        "Commands run for ended jobs, and sides of pairs moved out of the folder, by what came of it.",
        _by(Handed, lambda seen: seen.handed),
        ("result",),
    ),
)

METRICS: Final = (*_SERVICE, *_SETTLE_AND_PAIR, *_ENQUEUE, *_ADMIT, *_MEASURE, *_REPORT)
"""In the order of the six words."""
