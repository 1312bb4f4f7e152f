"""What workers hold of the devices: those with a job, and on cards also those without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from syncd.devices.health import JobHold
from syncd.devices.inventory import CPU
from syncd.supervisor.cards import Cards
from syncd.supervisor.pool import Worker
from syncd.supervisor.task import Task


def holds_of(tasks: Iterable[Task], cards: Cards) -> list[JobHold]:
    """What the running jobs have of their devices."""
    return [
        JobHold(
            task.device,
            task.job.job_id,
            task.worker.pid,
            task.promised_vram_bytes or task.promised_bytes,
            cards.held_bytes(task.device, task.worker.pid) if task.promised_vram_bytes else task.worker.held_bytes(),
        )
        for task in tasks
        if task.worker is not None
    ]


def idle_holds_of(workers: Iterable[Worker], cards: Cards) -> list[JobHold]:
    """What idle workers keep of the cards."""
    return [
        JobHold(worker.device, None, worker.pid, 0, cards.held_bytes(worker.device, worker.pid))
        for worker in workers
        if worker.device != CPU
    ]


def held_by_card(holds: Iterable[JobHold]) -> Mapping[str, int]:
    """Bytes, by the card's UUID."""
    held: Counter[str] = Counter()
    for hold in holds:
        held[hold.uuid] += hold.held_bytes
    return held
