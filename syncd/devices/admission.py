"""Does a job fit now, and where? Pure: readings and promises in, a decision out.

``room = available - sum(max(0, promised - held)) - margin``: what the machine, or a card, has free, less what was
promised to workers that have not taken it yet. The promise is recorded before the worker starts. Of a card syncd's
workers together are promised no more than their share.

A job that no card has room for is passed by others, so that no card idles; but it pins the card that will have room for
it first, where only jobs are admitted that are done by then or fit beside it (EASY backfilling, Lifka 1995). So nobody
is passed for ever.

A card that computes already gains nothing by one more job with a small batch: jobs share its speed. So the eldest that
waits is patient as long as it would run: until then it wants its full batch, afterwards it takes whatever fits, and
the card that it pins is closed to everybody else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from syncd.devices.inventory import CardMemory, Device, DeviceKind, HostMemory
from syncd.devices.memory_model import Need, VramNeed

MARGIN_BYTES: Final = 256 * 1024 * 1024
"""Left to the rest of the machine."""
CARD_MARGIN_BYTES: Final = 128 * 1024 * 1024
"""Left on a card to whatever else draws on it."""
ENDLESS_S: Final = 1e9
"""How long a job runs that nobody can estimate."""
MOST_PATIENCE_S: Final = 300.0
"""However long a job runs, it waits no longer for its full batch."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A promise to one worker."""

    device: str
    promised_bytes: int
    held_bytes: int
    """What its processes have taken already; it is missing from the free memory."""
    promised_vram_bytes: int = 0
    held_vram_bytes: int = 0
    ends_in_s: float = ENDLESS_S


@dataclass(frozen=True, slots=True)
class Admitted:
    """Go ahead, there."""

    device: Device
    batch: int = 0
    """Windows at once that the model may take; 0: it uses no card."""
    vram_bytes: int = 0
    note: str | None = None
    """Why it is not where it wanted to be."""


class Obstacle(StrEnum):
    """What stands in the way."""

    SLOTS = "slots"
    """All taken: waiting helps."""
    MEMORY = "memory"
    """Promised to others: waiting helps."""
    CARD_MEMORY = "card_memory"
    """The cards' is: waiting helps, and others need not wait for it."""
    TOO_LARGE = "too_large"
    """The machine will never do."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Not now, or not ever; the reason has the figures."""

    obstacle: Obstacle
    reason: str


@dataclass(frozen=True, slots=True)
class Pin:
    """A card that is kept for the eldest job that waits for one."""

    device: str
    due_in_s: float
    """When there is room for it, as far as anybody can say."""
    spare_bytes: int
    """What will be left beside it then: others may have that for as long as they like."""
    is_closed: bool = False
    """It has been patient long enough: nobody else is let in."""

    def bars(self, device: Device, run_s: float, wanted_bytes: int) -> bool:
        """Whether a job that takes so long and so much has to keep off the card."""
        is_late = run_s > self.due_in_s and wanted_bytes > self.spare_bytes
        return device.name == self.device and (self.is_closed or is_late)


@dataclass(frozen=True, slots=True)
class Head:
    """The eldest job that waits for a card, and since when it has been that."""

    job_id: int
    since_s: float

    def stood_s(self, job_id: int, now_s: float) -> float:
        """How long a job has been the eldest; 0: it is not."""
        return now_s - self.since_s if job_id == self.job_id else 0.0


def is_patient(stood_s: float, run_s: float) -> bool:
    """Whether a job that runs so long still waits for its full batch."""
    return stood_s <= min(run_s, MOST_PATIENCE_S)


def room_bytes(memory: HostMemory, reservations: Sequence[Reservation]) -> int:
    """What may still be promised of the host's memory."""
    outstanding = sum(max(0, r.promised_bytes - r.held_bytes) for r in reservations)
    return memory.available_bytes - outstanding - MARGIN_BYTES


def room_on_card(card: CardMemory, here: Sequence[Reservation]) -> int:
    """What may still be promised of a card's memory; `here`: the reservations on it."""
    outstanding = sum(max(0, r.promised_vram_bytes - r.held_vram_bytes) for r in here)
    ours = sum(max(r.promised_vram_bytes, r.held_vram_bytes) for r in here)
    return min(card.free_bytes - outstanding - CARD_MARGIN_BYTES, card.limit_bytes - ours)


def admit(
    need: Need,
    devices: Sequence[Device],
    memory: HostMemory,
    reservations: Sequence[Reservation],
    *,
    run_s: float = ENDLESS_S,
    pin: Pin | None = None,
    stood_s: float = 0.0,
) -> Admitted | Refused:
    """The device that takes a job of this need, or why none does; `stood_s`: how long it has been the eldest.

    A job with a model goes to a card; to the CPU where there is none, or none that could ever hold it.
    """
    if need.is_learnt and need.ram_bytes > memory.total_bytes - MARGIN_BYTES:
        wanted = _gb(need.ram_bytes + MARGIN_BYTES)
        return Refused(Obstacle.TOO_LARGE, f"{_gb(memory.total_bytes)} in the whole machine, {wanted} wanted.")
    note = None
    kind = DeviceKind.CPU
    if need.vram is not None and any(device.vram is not None for device in devices):
        note = too_large_for_cards(need.vram, devices, reservations)
        kind = DeviceKind.GPU if note is None else DeviceKind.CPU
    free = [device for device in devices if device.kind is kind and _free_slots(device, reservations) > 0]
    if not free:
        return Refused(Obstacle.SLOTS if kind is DeviceKind.CPU else Obstacle.CARD_MEMORY, "Every slot is taken.")
    room = room_bytes(memory, reservations)
    # A machine whose memory others hold must still make progress: one job at a time is always tried.
    if need.ram_bytes > room and reservations:
        reason = f"{_gb(max(0, room))} free of {_gb(memory.total_bytes)}, {_gb(need.ram_bytes)} wanted."
        return Refused(Obstacle.MEMORY, reason)
    if kind is DeviceKind.GPU and need.vram is not None:
        least = 1 if not is_patient(stood_s, run_s) else _largest(need.vram, devices, reservations)[0]
        return _on_card(need.vram, free, reservations, run_s, pin, least)
    return Admitted(max(free, key=lambda device: _free_slots(device, reservations)), note=note)


def fits_beside(need: Need, memory: HostMemory, others: Sequence[Reservation]) -> bool:
    """Whether a job that is admitted already may have so much of the host's memory, beside these."""
    return not others or need.ram_bytes <= room_bytes(memory, others)


def too_large_for_cards(need: VramNeed, devices: Sequence[Device], reservations: Sequence[Reservation]) -> str | None:
    """Why no card could hold even the smallest batch if syncd had nothing else on it; None: one could."""
    _, wanted = need.least
    most, total = 0, 0
    for device in devices:
        if device.vram is None:
            continue
        room = _alone_on(device.vram, _on(device, reservations))
        if room >= wanted:
            return None
        most, total = max(most, room), max(total, device.vram.total_bytes)
    return f"{_gb(max(0, most))} free of {_gb(total)} on the card with the most, {_gb(wanted)} wanted"


def pin_for(
    need: VramNeed, devices: Sequence[Device], reservations: Sequence[Reservation], *, is_closed: bool = False
) -> Pin | None:
    """The card that will have room for the largest batch first, as its jobs end one after another."""
    _, wanted = _largest(need, devices, reservations)
    pins = []
    for device in devices:
        if device.vram is None:
            continue
        here = sorted(_on(device, reservations), key=lambda r: r.ends_in_s)
        room, due_in_s = room_on_card(device.vram, here), 0.0
        for reservation in here:
            if room >= wanted:
                break
            room += max(reservation.promised_vram_bytes, reservation.held_vram_bytes)
            due_in_s = reservation.ends_in_s
        if room >= wanted:
            pins.append(Pin(device.name, due_in_s, room - wanted, is_closed=is_closed))
    return min(pins, key=lambda pin: pin.due_in_s, default=None)


def _alone_on(card: CardMemory, here: Sequence[Reservation]) -> int:
    """What there would be on a card if syncd had nothing else on it."""
    held = sum(r.held_vram_bytes for r in here)
    return min(card.free_bytes + held - CARD_MARGIN_BYTES, card.limit_bytes)


def _largest(need: VramNeed, devices: Sequence[Device], reservations: Sequence[Reservation]) -> tuple[int, int]:
    """The largest batch that any card could hold if syncd had nothing else on it; the least where none could."""
    most = max((_alone_on(d.vram, _on(d, reservations)) for d in devices if d.vram is not None), default=0)
    return next((choice for choice in need.choices if choice[1] <= most), need.least)


def _on_card(
    need: VramNeed,
    free: Sequence[Device],
    reservations: Sequence[Reservation],
    run_s: float,
    pin: Pin | None,
    least_batch: int,
) -> Admitted | Refused:
    """As large a batch as any card has room for, where there is most; less than `least_batch` only where none works."""
    on_cards = [(d, room_on_card(d.vram, _on(d, reservations))) for d in free if d.vram is not None]
    for batch, wanted in need.choices:
        fitting = [
            (device, room)
            for device, room in on_cards
            if wanted <= room
            and (batch >= least_batch or not _on(device, reservations))
            and not (pin is not None and pin.bars(device, run_s, wanted))
        ]
        if fitting:
            return Admitted(max(fitting, key=lambda each: each[1])[0], batch, wanted)
    _, wanted = need.least
    most = max((room for _, room in on_cards), default=0)
    kept = "" if pin is None else " One card is kept for a job that has waited longer."
    reason = f"{_gb(max(0, most))} free on the card with the most, {_gb(wanted)} wanted.{kept}"
    return Refused(Obstacle.CARD_MEMORY, reason)


def _on(device: Device, reservations: Sequence[Reservation]) -> list[Reservation]:
    return [reservation for reservation in reservations if reservation.device == device.name]


def _free_slots(device: Device, reservations: Sequence[Reservation]) -> int:
    return device.slots - len(_on(device, reservations))


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
