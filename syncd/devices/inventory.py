"""Which devices there are to measure on, and how much of each is free right now."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import psutil

from syncd.config import WorkersSection

CPU: Final = "cpu"
"""The name of the one device that is always there."""
_CGROUP = Path("/sys/fs/cgroup")


class DeviceKind(StrEnum):
    """What sort of device it is."""

    CPU = "cpu"
    GPU = "gpu"


@dataclass(frozen=True, slots=True)
class CardMemory:
    """Memory of a card at the last reading."""

    total_bytes: int
    free_bytes: int
    """Others' use counted."""
    limit_bytes: int
    """What syncd's workers may hold of it together."""


@dataclass(frozen=True, slots=True)
class Device:
    """Something that workers can be bound to."""

    name: str
    """``cpu``, or a GPU's UUID: how a worker is told, and what reports say."""
    kind: DeviceKind
    slots: int
    """How many jobs it runs at once at most, whatever the memory."""
    label: str = ""
    """What people call it: «GPU 0, NVIDIA L4»; of the CPU nothing."""
    vram: CardMemory | None = None
    """Of a card."""


@dataclass(frozen=True, slots=True)
class HostMemory:
    """Memory of the machine, or of the control group that syncd lives in where that is tighter."""

    total_bytes: int
    available_bytes: int


def take_inventory(workers: WorkersSection) -> tuple[Device, ...]:
    """The devices that the configuration admits."""
    return (Device(CPU, DeviceKind.CPU, cpu_slots(workers, usable_cores())),)


def cpu_slots(workers: WorkersSection, cores: int) -> int:
    """How many jobs run on the CPU at once: as configured, or half the cores, for a job decodes both sides at once."""
    return max(1, cores // 2) if workers.cpu_slots == "auto" else workers.cpu_slots


def usable_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def read_host_memory() -> HostMemory:
    """What is there and what is free, under the limits of this process's control groups (version 2) where they hold."""
    host = psutil.virtual_memory()
    total, available = host.total, host.available
    for group in _own_groups():
        limit = _read_bytes(group / "memory.max")
        used = _read_bytes(group / "memory.current")
        if limit is not None and used is not None:
            # Cached files count as used there, and are given up as soon as memory is wanted.
            total = min(total, limit)
            available = min(available, max(0, limit - used + _reclaimable_bytes(group)))
    return HostMemory(total, available)


def process_names(pids: Iterable[int]) -> dict[int, str]:
    """What runs under these numbers; those that are gone, or that this container does not see, are left out."""
    names = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            names[pid] = psutil.Process(pid).name()
    return names


def _own_groups() -> list[Path]:
    """The group of this process and those around it."""
    try:
        own = Path("/proc/self/cgroup").read_text(encoding="ascii").rpartition("::")[2].strip().lstrip("/")
    except OSError:
        return []
    group = _CGROUP / own
    return [folder for folder in (group, *group.parents) if folder.is_relative_to(_CGROUP)]


def _read_bytes(path: Path) -> int | None:
    """A figure; None where there is no such file or no limit."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _reclaimable_bytes(group: Path) -> int:
    try:
        rows = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return sum(int(row.split()[1]) for row in rows if row.startswith("inactive_file "))
