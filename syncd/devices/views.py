"""The devices as people see them: kept in the ledger by the daemon, printed by `syncctl devices`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from syncd.config import WorkersSection
from syncd.devices.card_history import Cause
from syncd.devices.health import JobHold, Standing, allowed_bytes
from syncd.devices.inventory import Device, DeviceKind, HostMemory
from syncd.devices.readings import GpuReading, Heard

SERVICE_KEY: Final = "devices"
"""Under which the daemon keeps its view among what the service says of itself."""


IDLE: Final = "an idle worker of syncd"


class Holder(msgspec.Struct, frozen=True):
    """A process that holds memory of a device."""

    pid: int
    held_bytes: int | None
    """None: the driver does not tell."""
    job_id: int | None = None
    """The job that it measures; None: it is an idle worker, or none of syncd's."""
    process: str | None = None
    """What it is called, where that can be seen."""


class DeviceView(msgspec.Struct, frozen=True):
    """One device at a moment."""

    kind: DeviceKind
    index: int | None
    """Of a GPU, in PCI order; slices of one share it."""
    name: str
    uuid: str
    """``cpu`` for the CPU."""
    total_bytes: int
    free_bytes: int
    allowed_bytes: int
    """What all jobs together may hold."""
    promised_bytes: int
    """Reserved for the jobs that run there."""
    held_by: tuple[Holder, ...]
    utilization_percent: int | None = None
    slots: int | None = None
    """How many jobs it runs at once at most; None: as its memory admits."""
    is_usable: bool = True
    cause: Cause | None = None
    """Why it is not used, in a word for programs."""
    reason: str = ""
    """The same for people: one sentence, with figures."""
    again_s: float | None = None
    """In how many seconds it comes back; None: it is in use, or comes back when the reason is gone."""


class DevicesView(msgspec.Struct, frozen=True):
    """All devices, when somebody last looked."""

    at: datetime
    devices: tuple[DeviceView, ...]
    driver_version: str | None = None
    why_no_gpu: str | None = None
    """One sentence; None: there are some."""
    warnings: tuple[str, ...] = ()
    """What is wrong with workers.devices, a sentence each."""


_decoder: Final = msgspec.json.Decoder(DevicesView)


def view_to_text(view: DevicesView) -> str:
    """As it is kept."""
    return msgspec.json.encode(view).decode()


def text_to_view(text: str) -> DevicesView | None:
    """The inverse; None for what another version wrote in another way."""
    try:
        return _decoder.decode(text)
    except msgspec.DecodeError:
        return None


def gpu_views(
    heard: Sequence[Heard],
    standings: Sequence[Standing],
    jobs: Sequence[JobHold],
    workers: WorkersSection,
    process_names: Mapping[int, str],
    now_s: float,
) -> tuple[DeviceView, ...]:
    """The cards, each with its standing of the same moment."""
    return tuple(
        _gpu_view(
            one.reading, standing, [job for job in jobs if job.uuid == one.reading.uuid], workers, process_names, now_s
        )
        for one, standing in zip(heard, standings, strict=True)
    )


def _gpu_view(
    reading: GpuReading,
    standing: Standing,
    jobs: Sequence[JobHold],
    workers: WorkersSection,
    process_names: Mapping[int, str],
    now_s: float,
) -> DeviceView:
    return DeviceView(
        kind=DeviceKind.GPU,
        index=reading.index,
        name=reading.name,
        uuid=reading.uuid,
        total_bytes=reading.total_bytes,
        free_bytes=reading.free_bytes,
        allowed_bytes=allowed_bytes(reading, workers.gpu_memory_fraction),
        promised_bytes=sum(job.promised_bytes for job in jobs),
        held_by=_holders(reading, jobs, process_names),
        utilization_percent=reading.utilization_percent,
        is_usable=standing.is_usable,
        cause=standing.cause,
        reason=standing.reason,
        again_s=None if standing.again_at_s is None else max(0.0, standing.again_at_s - now_s),
    )


def _holders(reading: GpuReading, jobs: Sequence[JobHold], process_names: Mapping[int, str]) -> tuple[Holder, ...]:
    """Our jobs, whether the driver lists them yet or not, then everybody else."""
    told = {process.pid: process.held_bytes for process in reading.processes}
    ours = {job.pid for job in jobs}
    return (
        *(
            Holder(job.pid, told.get(job.pid) or job.held_bytes, job.job_id, None if job.job_id else IDLE)
            for job in jobs
        ),
        *(Holder(pid, held, process=process_names.get(pid)) for pid, held in told.items() if pid not in ours),
    )


def strangers(heard: Iterable[Heard], jobs: Iterable[JobHold]) -> set[int]:
    """The processes on the cards that are none of ours: those to be named."""
    return {process.pid for one in heard for process in one.reading.processes} - {job.pid for job in jobs}


def cpu_view(device: Device, memory: HostMemory, jobs: Sequence[JobHold]) -> DeviceView:
    """The CPU; `jobs`: those that were promised memory of the host."""
    own = [job for job in jobs if job.uuid == device.name]
    return DeviceView(
        kind=DeviceKind.CPU,
        index=None,
        name="CPU",
        uuid=device.name,
        total_bytes=memory.total_bytes,
        free_bytes=memory.available_bytes,
        allowed_bytes=memory.total_bytes,
        promised_bytes=sum(job.promised_bytes for job in own),
        held_by=tuple(Holder(job.pid, job.held_bytes, job.job_id) for job in own),
        slots=device.slots,
    )
