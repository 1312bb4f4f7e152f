"""The GPUs as the dispatcher sees them: which may be used now, with how much memory; and what it tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import psutil
import structlog

from syncd.clock import utc_now
from syncd.config import Config
from syncd.devices.gpu_watch import GpuWatch
from syncd.devices.health import Health, JobHold, Standing, allowed_bytes, changes, names_without_card
from syncd.devices.inventory import CardMemory, Device, DeviceKind, read_host_memory, take_inventory, usable_cores
from syncd.devices.readings import GpuReading, Heard, Sharing
from syncd.devices.views import DevicesView, cpu_view, gpu_views, strangers

log = structlog.get_logger()

ONE: Final = Sharing.ONE_PROCESS

HALF_PRECISION: Final = (((8, 0), "bfloat16"), ((7, 0), "float16"))
"""Compute capability from which half precision is faster than single, and which."""


class Cards:
    """Looked at once a turn of the main loop; never waits."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._watch = None if config.workers.devices == "cpu" else GpuWatch()
        self._health = Health()
        self._heard: tuple[Heard, ...] = ()
        self._standings: tuple[Standing, ...] = ()
        self._told_warnings: tuple[str, ...] = ()

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration."""
        self._config = config
        if config.workers.devices != "cpu" and self._watch is None:
            self._watch = GpuWatch()

    @property
    def filenos(self) -> tuple[int, ...]:
        """What becomes readable when a card has spoken."""
        return () if self._watch is None else self._watch.filenos

    @property
    def is_known(self) -> bool:
        """Whether every card has been heard of, or it is known that there is none."""
        if self._watch is None or self._watch.why_none is not None:
            return True
        heard = {one.reading.index for one in self._heard}
        return self._watch.card_count is not None and len(heard) >= self._watch.card_count

    @property
    def any_there(self) -> bool:
        """Whether there are cards, in use or not."""
        return bool(self._heard)

    def stop(self) -> None:
        """Ask no more."""
        if self._watch is not None:
            self._watch.stop()

    def look(self, holds: Sequence[JobHold], now_s: float) -> None:
        """Hear what the cards have said; `holds`: what syncd's own workers have of them."""
        if self._watch is None:
            return
        self._heard = self._watch.poll(now_s)
        self._health = self._health.seen(self._heard, now_s)
        standings = self._health.standings(self._heard, self._config.workers, holds, now_s)
        for change, card in changes(self._standings, standings):
            log.info(change.value, gpu=card.index, uuid=card.uuid, name=card.name, reason=card.reason or None)
        self._standings = standings
        if self._watch.card_count is not None:
            self._warn(names_without_card(self._config.workers, [one.reading for one in self._heard]))

    def faulted(self, uuid: str, what: str, now_s: float) -> None:
        """A job failed there in a way that may be the card's fault."""
        if uuid.startswith(("GPU-", "MIG-")):
            self._health = self._health.faulted(uuid, now_s, what)

    def devices(self, most_a_card: int) -> tuple[Device, ...]:
        """Those that may be given jobs, with what their last reading said."""
        cores = usable_cores()
        usable = [one.reading for one in self._usable()]
        slots = min(most_a_card, max(2, cores // (2 * max(1, len(usable)))))
        return tuple(self._device(reading, 1 if reading.sharing is ONE else slots) for reading in usable)

    def held_bytes(self, uuid: str, pid: int) -> int:
        """What a process holds of a card, as the driver tells it; 0 where it does not."""
        for reading in (one.reading for one in self._heard if one.reading.uuid == uuid):
            return sum(process.held_bytes or 0 for process in reading.processes if process.pid == pid)
        return 0

    def names(self) -> tuple[str, ...]:
        """The kinds of cards in use."""
        return tuple(sorted({one.reading.name for one in self._usable()}))

    def dtype(self) -> str:
        """What every card in use computes fastest without harm: bfloat16 from Ampere on, float16 from Volta on."""
        oldest = min((one.reading.compute_capability or (0, 0) for one in self._usable()), default=(0, 0))
        return next((name for least, name in HALF_PRECISION if oldest >= least), "float32")

    def view(self, holds: Sequence[JobHold], now_s: float) -> DevicesView:
        """All devices, for people."""
        names = {pid: name for pid in strangers(self._heard, holds) if (name := _process_name(pid)) is not None}
        workers = self._config.workers
        (cpu,) = take_inventory(workers)
        return DevicesView(
            at=utc_now(),
            devices=(
                cpu_view(cpu, read_host_memory(), holds),
                *gpu_views(self._heard, self._standings, holds, workers, names, now_s),
            ),
            driver_version=None if self._watch is None else self._watch.driver_version,
            why_no_gpu="workers.devices is 'cpu'." if self._watch is None else self._watch.why_none,
            warnings=self._told_warnings,
        )

    def _usable(self) -> list[Heard]:
        return [one for one, card in zip(self._heard, self._standings, strict=True) if card.is_usable]

    def _device(self, reading: GpuReading, slots: int) -> Device:
        limit_bytes = allowed_bytes(reading, self._config.workers.gpu_memory_fraction)
        memory = CardMemory(reading.total_bytes, reading.free_bytes, limit_bytes)
        return Device(reading.uuid, DeviceKind.GPU, slots, f"GPU {reading.index}, {reading.name}", memory)

    def _warn(self, warnings: tuple[str, ...]) -> None:
        for sentence in warnings:
            if sentence not in self._told_warnings:
                log.warning("gpu_not_there", reason=sentence)
        self._told_warnings = warnings


def _process_name(pid: int) -> str | None:
    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return None
