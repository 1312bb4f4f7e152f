"""Does a job fit now, and where? Pure: readings and promises in, a decision out.

``room = available - sum(max(0, promised - held)) - margin``: what the machine has free, less what was promised
to workers that have not taken it yet. The promise is recorded before the worker starts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from syncd.devices.inventory import Device, HostMemory
from syncd.devices.memory_model import Need

MARGIN_BYTES: Final = 256 * 1024 * 1024
"""Left to the rest of the machine."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A promise to one worker."""

    device: str
    promised_bytes: int
    held_bytes: int
    """What its processes have taken already; it is missing from the free memory."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go ahead, there."""

    device: Device


class Obstacle(StrEnum):
    """What stands in the way."""

    SLOTS = "slots"
    """All taken: waiting helps."""
    MEMORY = "memory"
    """Promised to others: waiting helps."""
    TOO_LARGE = "too_large"
    """The machine will never do."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not now, or not ever; the reason has the figures."""

    obstacle: Obstacle
    reason: str


def room_bytes(memory: HostMemory, reservations: Sequence[Reservation]) -> int:
    """What may still be promised."""
    outstanding = sum(max(0, r.promised_bytes - r.held_bytes) for r in reservations)
    return memory.available_bytes - outstanding - MARGIN_BYTES


def admit(
    need: Need, devices: Sequence[Device], memory: HostMemory, reservations: Sequence[Reservation]
) -> Admitted | Refused:
    """The device with the most free slots that takes a job of this need, or why none does."""
    if need.is_learnt and need.ram_bytes > memory.total_bytes - MARGIN_BYTES:
        wanted = _gb(need.ram_bytes + MARGIN_BYTES)
        return Refused(Obstacle.TOO_LARGE, f"{_gb(memory.total_bytes)} in the whole machine, {wanted} wanted.")
    free_slots = {d.name: d.slots - sum(r.device == d.name for r in reservations) for d in devices}
    free = [device for device in devices if free_slots[device.name] > 0]
    if not free:
        return Refused(Obstacle.SLOTS, "Every slot is taken.")
    room = room_bytes(memory, reservations)
    # A machine whose memory others hold must still make progress: one job at a time is always tried.
    if need.ram_bytes > room and reservations:
        reason = f"{_gb(max(0, room))} free of {_gb(memory.total_bytes)}, {_gb(need.ram_bytes)} wanted."
        return Refused(Obstacle.MEMORY, reason)
    return Admitted(max(free, key=lambda device: free_slots[device.name]))


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
