"""May a card be used, and if not, why, and until when? Pure: readings, faults and the configuration in, standings out.

A card comes back by itself, as soon as what stood in the way is gone. Nothing here ever resets one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from syncd.config import WorkersSection
from syncd.devices.card_history import STALE_S, Cause, History
from syncd.devices.readings import GpuReading, Heard, Sharing

LEAST_ROOM_BYTES: Final = 1 << 30
"""With less than this for syncd a card is of no use."""
_SHORTEST_UUID: Final = 8
"""``GPU-1a2b``: the beginning of a UUID names a card if it is at least so long."""
_UNTOUCHED: Final = History()


@dataclass(frozen=True, slots=True)
class JobHold:
    """What a job of ours was promised on a device, and what it has taken of that."""

    uuid: str
    """Of the card; ``cpu``: of the host's memory."""
    job_id: int | None
    """None: an idle worker's."""
    pid: int
    promised_bytes: int
    held_bytes: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a card may be given to jobs."""

    uuid: str
    index: int
    name: str
    cause: Cause | None = None
    """None: it may be used."""
    reason: str = ""
    """One sentence, with figures."""
    again_at_s: float | None = None
    """Monotonic: when it is looked at again; None: at every reading."""

    @property
    def is_usable(self) -> bool:
        """Whether jobs may be sent there."""
        return self.cause is None


@dataclass(frozen=True, slots=True)
class Health:
    """What is remembered of the cards, those among them that are gone for now."""

    cards: Mapping[str, History] = field(default_factory=dict)
    """By UUID."""

    def seen(self, heard: Sequence[Heard], now_s: float) -> Health:
        """After another look at the cards; each answer of `GpuWatch.poll` is to be shown once."""
        looked = {one.reading.uuid: self._card(one.reading.uuid).seen(one, now_s) for one in heard}
        return Health({**self.cards, **looked})

    def faulted(self, uuid: str, now_s: float, what: str) -> Health:
        """A job failed on a card in a way that may be the card's fault; `what` says how, in a few words."""
        return Health({**self.cards, uuid: self._card(uuid).faulted(now_s, what)})

    def standings(
        self, heard: Sequence[Heard], workers: WorkersSection, jobs: Sequence[JobHold], now_s: float
    ) -> tuple[Standing, ...]:
        """Each card's, in the order of the readings; `jobs`: those of ours, so that others can be told apart."""
        return tuple(self._standing(one, workers, jobs, now_s) for one in heard)

    def _card(self, uuid: str) -> History:
        return self.cards.get(uuid, _UNTOUCHED)

    def _standing(self, heard: Heard, workers: WorkersSection, jobs: Sequence[JobHold], now_s: float) -> Standing:
        reading = heard.reading
        own = [job for job in jobs if job.uuid == reading.uuid]
        obstacle = _obstacle(heard, workers)
        again_at_s = None
        if obstacle is None and (rest := self._card(reading.uuid).rest(now_s)) is not None:
            obstacle, again_at_s = (rest.cause, rest.reason), rest.until_s
        if obstacle is None:
            obstacle = _occupied(reading, workers.gpu_memory_fraction, own)
        cause, reason = obstacle or (None, "")
        return Standing(reading.uuid, reading.index, reading.name, cause, reason, again_at_s)


def _obstacle(heard: Heard, workers: WorkersSection) -> tuple[Cause, str] | None:
    """What the configuration and the driver say against a card."""
    reading = heard.reading
    if not is_named(workers, reading):
        return Cause.NOT_NAMED, f"workers.devices is {_devices_text(workers)}."
    if heard.age_s > STALE_S:
        return Cause.SILENT, f"The driver has not answered for {heard.age_s:.0f} s."
    if reading.trouble is not None:
        return Cause.TROUBLE, f"It cannot be used now: {reading.trouble}."
    if reading.sharing is Sharing.NOBODY:
        return Cause.FORBIDDEN, "Its compute mode lets nobody compute on it ('nvidia-smi -c 0' would)."
    return None


def _occupied(reading: GpuReading, fraction: float, own: Sequence[JobHold]) -> tuple[Cause, str] | None:
    """What other processes on the card leave."""
    strangers = sorted({process.pid for process in reading.processes} - {job.pid for job in own})
    if reading.sharing is Sharing.ONE_PROCESS and strangers:
        listed = ", ".join(str(pid) for pid in strangers)
        return Cause.TAKEN, f"Its compute mode admits one process, and process {listed} has it."
    allowed = allowed_bytes(reading, fraction)
    total, least = _gb(reading.total_bytes), _gb(LEAST_ROOM_BYTES)
    if allowed < LEAST_ROOM_BYTES:
        return Cause.FULL, f"syncd may use {_gb(allowed)} of its {total}, and {least} is the least of use."
    others = foreign_bytes(reading, own)
    left = reading.total_bytes - others
    if left < LEAST_ROOM_BYTES:
        return Cause.FULL, f"Others hold {_gb(others)} of its {total}: {_gb(left)} is left, {least} the least of use."
    return None


def allowed_bytes(reading: GpuReading, fraction: float) -> int:
    """What all of our jobs together may hold of a card."""
    return int(reading.total_bytes * fraction)


def foreign_bytes(reading: GpuReading, own: Iterable[JobHold]) -> int:
    """What of a card is held by others than these jobs of ours."""
    told = {process.pid: process.held_bytes or 0 for process in reading.processes}
    ours = sum(max(job.held_bytes, told.get(job.pid, 0)) for job in own)
    return max(0, reading.total_bytes - reading.free_bytes - ours)


def is_named(workers: WorkersSection, reading: GpuReading) -> bool:
    """Whether the configuration admits a card."""
    if isinstance(workers.devices, str):
        return workers.devices == "auto"
    return any(_names(name, reading) for name in workers.devices)


def names_without_card(workers: WorkersSection, readings: Iterable[GpuReading]) -> tuple[str, ...]:
    """What workers.devices names that is not there, a sentence each."""
    if isinstance(workers.devices, str):
        return ()
    cards = list(readings)
    return tuple(
        f"workers.devices names {name}, and there is no such GPU."
        for name in workers.devices
        if name != "cpu" and not any(_names(name, card) for card in cards)
    )


def _names(name: int | str, reading: GpuReading) -> bool:
    if isinstance(name, int) or name.isdecimal():
        return reading.index == int(name)
    return reading.uuid == name or (len(name) >= _SHORTEST_UUID and reading.uuid.startswith(name))


class Change(StrEnum):
    """What became of a card, as log events name it."""

    FOUND = "gpu_found"
    TAKEN_OUT = "gpu_taken_out"
    PUT_BACK = "gpu_put_back"
    GONE = "gpu_gone"


def changes(before: Sequence[Standing], after: Sequence[Standing]) -> list[tuple[Change, Standing]]:
    """What is worth telling between two looks; a reason whose figures alone moved is not."""
    known, now = {one.uuid: one for one in before}, {one.uuid for one in after}
    told: list[tuple[Change, Standing]] = []
    for one in after:
        was = known.get(one.uuid)
        if was is None:
            told.append((Change.FOUND, one))
        elif one.is_usable and not was.is_usable:
            told.append((Change.PUT_BACK, one))
        elif not one.is_usable and one.cause is not was.cause:
            told.append((Change.TAKEN_OUT, one))
    return [*told, *((Change.GONE, one) for one in before if one.uuid not in now)]


def _devices_text(workers: WorkersSection) -> str:
    if isinstance(workers.devices, str):
        return f"'{workers.devices}'"
    return f"[{', '.join(str(name) for name in workers.devices)}]"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
