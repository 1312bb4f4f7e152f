"""Which devices there are to measure on, and how much of each is free right now."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil

from syncd.config import WorkersSection

_CGROUP = Path("/sys/fs/cgroup")


class DeviceKind(StrEnum):
    """What sort of device it is."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class Device:
    """Something that workers can be bound to."""

    name: str
    """``cpu``, or a GPU's UUID: how a worker is told, and what reports say."""
    kind: DeviceKind
    slots: int
    """How many jobs it runs at once at most, whatever the memory."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the machine, or of the control group that syncd lives in where that is tighter."""

    total_bytes: int
    available_bytes: int


def take_inventory(workers: WorkersSection) -> tuple[Device, ...]:
    """The devices that the configuration admits."""
    return (Device("cpu", DeviceKind.CPU, cpu_slots(workers, usable_cores())),)


def cpu_slots(workers: WorkersSection, cores: int) -> int:
    """How many jobs run on the CPU at once: as configured, or half the cores, for a job decodes both sides at once."""
    return max(1, cores // 2) if workers.cpu_slots == "auto" else workers.cpu_slots


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def read_host_memory() -> HostMemory:
    """What is there and what is free, under a control group's limit where one holds."""
    host = psutil.virtual_memory()
    limit, used = _read_bytes("memory.max"), _read_bytes("memory.current")
    if limit is None or used is None or limit >= host.total:
        return HostMemory(host.total, host.available)
    return HostMemory(limit, max(0, min(host.available, limit - used)))


def _read_bytes(name: str) -> int | None:
    """A figure of this process's control group (version 2); None where there is no such file or no limit."""
    try:
        group = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip()
        return int((_CGROUP / group.lstrip("/") / name).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
