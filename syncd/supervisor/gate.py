"""Who is let in, and where: what jobs took here before, what is promised to those that run, what the cards say now.

`admission`, `memory_model`, `model_memory` and `caution` decide; this keeps what they need between two looks.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import structlog

from syncd.config import Config
from syncd.devices.admission import (
    ENDLESS_S,
    Admitted,
    Head,
    Obstacle,
    Pin,
    Refused,
    Reservation,
    admit,
    fits_beside,
    is_patient,
    pin_for,
)
from syncd.devices.caution import Caution
from syncd.devices.inventory import Device, HostMemory, read_host_memory, take_inventory, usable_cores
from syncd.devices.memory_model import Need, VramNeed, Workload, predict_ram
from syncd.devices.model_memory import LARGEST_BATCH, vram_need
from syncd.domain import MediaInfo, MemoryObservation, ModelUse, ReadyJob
from syncd.errors import ErrorCode
from syncd.protocol import AiOrder, Measured
from syncd.supervisor.cards import Cards
from syncd.supervisor.estimate import Work, usual_s
from syncd.supervisor.ladder import AI_STAGE, FRESH, OF_THE_CARD, Rung, Standing
from syncd.supervisor.model_choice import WINDOW_S, ModelChoice, choose_model, windows_of
from syncd.supervisor.task import Task, observation_of

log = structlog.get_logger()

OBSERVATIONS: Final = 200
BATCH_OF_RUNG: Final = {Rung.FULL: LARGEST_BATCH, Rung.SMALLER_BATCH: LARGEST_BATCH // 4}
CHOICE_S: Final = 60.0
"""How often it is looked anew which models there are."""
CPU_BATCH: Final = 1
"""On the CPU more windows at once take more memory and no less time."""


@dataclass
class _Round:
    """One look through the queue."""

    memory: HostMemory
    devices: tuple[Device, ...]
    pin: Pin | None = None
    """For the eldest job that waits for a card."""
    is_told: bool = False


class Gate:
    """Weighs jobs, and remembers who waits."""

    def __init__(self, config: Config, observations: Sequence[MemoryObservation], cards: Cards) -> None:
        self._config = config
        self._observations = list(observations)
        self._cards = cards
        self._caution = Caution()
        self._round = _Round(read_host_memory(), self.devices())
        self._head: Head | None = None
        self._told: tuple[int, str] | None = None
        self._choices: dict[str, ModelChoice | None] = {}
        self._chosen_at_s = 0.0

    def reconfigure(self, config: Config) -> None:
        """Take over a changed configuration."""
        self._config = config
        self._choices.clear()
        self._cards.reconfigure(config)

    def devices(self) -> tuple[Device, ...]:
        """The CPU, and the cards that may be used now."""
        return (*take_inventory(self._config.workers), *self._cards.devices(self._caution.most_a_card))

    def slots(self) -> int:
        """How many jobs could run at once."""
        return sum(device.slots for device in self.devices())

    # --- the queue ---------------------------------------------------------------------------------------------------

    def open_round(self, idle_vram_bytes: Mapping[str, int], now_s: float) -> None:
        """Look anew; `idle_vram_bytes`: what idle workers hold of each card, which they give up when it is wanted."""
        if now_s > self._chosen_at_s + CHOICE_S:
            self._choices.clear()
            self._chosen_at_s = now_s
        self._round = _Round(read_host_memory(), tuple(_with_idle(d, idle_vram_bytes) for d in self.devices()))

    def weigh(self, job: ReadyJob, infos: tuple[MediaInfo, MediaInfo] | None, standing: Standing) -> Need:
        """What the job will need."""
        choice = self.model_of(job, standing)
        durations = [info.duration_s for info in infos or () if info.duration_s is not None]
        methods = job.settings.methods if choice is None else (*job.settings.methods, choice.model)
        need = predict_ram(Workload(max(durations, default=None), methods), self._observations)
        vram = self._vram_need(choice, standing, windows_of(max(durations, default=None)))
        return replace(need, ram_bytes=need.ram_bytes * standing.ram_factor, vram=vram)

    def decide(
        self,
        job: ReadyJob,
        infos: tuple[MediaInfo, MediaInfo] | None,
        need: Need,
        tasks: Collection[Task],
        now_s: float,
    ) -> Admitted | Refused:
        """Whether the job may start now, and where; one that waits for a card lets others pass."""
        if need.vram is not None and not self._cards.is_known:
            return Refused(Obstacle.CARD_MEMORY, "The driver has not said yet which GPUs there are.")
        reservations = self.reservations(tasks, now_s)
        run_s = usual_s(self.work_of(job, infos, on_card=need.vram is not None))
        here = self._round
        stood_s = 0.0 if self._head is None else self._head.stood_s(job.job_id, now_s)
        decision = admit(need, here.devices, here.memory, reservations, run_s=run_s, pin=here.pin, stood_s=stood_s)
        if isinstance(decision, Refused):
            if here.pin is None and need.vram is not None and decision.obstacle is Obstacle.CARD_MEMORY:
                if self._head is None or self._head.job_id != job.job_id:
                    self._head = Head(job.job_id, now_s)
                is_closed = not is_patient(stood_s, run_s)
                here.pin = pin_for(need.vram, here.devices, reservations, is_closed=is_closed)
            if not here.is_told:
                self._tell(job, decision)
            here.is_told = True
        elif need.vram is not None and not decision.vram_bytes and decision.note is None and self._cards.any_there:
            return replace(decision, note="none can be used now")
        return decision

    def fits_where_it_is(self, task: Task, need: Need, tasks: Collection[Task], now_s: float) -> bool:
        """Whether a probed job may have the host's memory that it turned out to need."""
        others = self.reservations([other for other in tasks if other is not task], now_s)
        return fits_beside(need, read_host_memory(), others)

    def reservations(self, tasks: Iterable[Task], now_s: float) -> list[Reservation]:
        """What is promised to those that run."""
        return [
            Reservation(
                task.device,
                task.promised_bytes,
                task.worker.held_bytes(),
                task.promised_vram_bytes,
                self._cards.held_bytes(task.device, task.worker.pid),
                ENDLESS_S if task.estimate is None else max(0.0, task.estimate[0] - (now_s - task.estimate[1])),
            )
            for task in tasks
            if task.worker is not None
        ]

    def work_of(self, job: ReadyJob, infos: tuple[MediaInfo, MediaInfo] | None, *, on_card: bool) -> Work:
        """What there is to do, for estimates."""
        choice = self.model_of(job, FRESH)
        model = None if choice is None else f"{choice.model} on a card" if on_card else choice.model
        master_s, dub_s = (None, None) if infos is None else (infos[0].duration_s, infos[1].duration_s)
        return Work(master_s, dub_s, job.settings.methods, model)

    # --- models ------------------------------------------------------------------------------------------------------

    def model_of(self, job: ReadyJob, standing: Standing) -> ModelChoice | None:
        """Which model confirms the answer on this rung; None: none."""
        if standing.rung is Rung.LAST:
            return None
        if job.settings.ai not in self._choices:
            self._choices[job.settings.ai] = choose_model(job.settings.ai, self._config.ai)
        return self._choices[job.settings.ai]

    def ai_order(self, task: Task) -> AiOrder | None:
        """What its worker is told of the model."""
        choice = self.model_of(task.job, task.standing)
        if choice is None:
            return None
        return AiOrder(
            model=choice.model,
            source=choice.source,
            allow_download=self._config.ai.allow_download,
            dtype=choice.dtype_on(self._cards.dtype()) if task.promised_vram_bytes else "auto",
            batch=task.batch or CPU_BATCH,
            vram_bytes=task.promised_vram_bytes,
            threads=max(1, usable_cores() // max(1, take_inventory(self._config.workers)[0].slots)),
        )

    def use_of(self, task: Task, batch: int) -> ModelUse | None:
        """The model at work on the task's card; None: none is."""
        choice = self.model_of(task.job, task.standing)
        if choice is None or not task.promised_vram_bytes:
            return None
        card = next((d.label.partition(", ")[2] for d in self._round.devices if d.name == task.device), "")
        return self._use(choice, batch, card)

    def _vram_need(self, choice: ModelChoice | None, standing: Standing, windows: int) -> VramNeed | None:
        batch = BATCH_OF_RUNG.get(standing.rung)
        if choice is None or batch is None or not choice.uses_card:
            return None
        batch = min(batch, 1 << (windows - 1).bit_length())
        needs = [
            vram_need(
                self._use(choice, batch, card),
                self._observations,
                safety=self._caution.safety,
            ).choices
            for card in self._cards.names() or ("",)
        ]
        # On cards of several kinds it is promised what it needs on the hungriest.
        return VramNeed(tuple(max(same, key=lambda choice: choice[1]) for same in zip(*needs, strict=True)))

    def _use(self, choice: ModelChoice, batch: int, card: str) -> ModelUse:
        dtype = choice.dtype_on(self._cards.dtype())
        return ModelUse(choice.model, choice.weights_bytes, dtype, batch, WINDOW_S, card)

    # --- what is learnt ----------------------------------------------------------------------------------------------

    def observe(self, task: Task, measured: Measured) -> MemoryObservation:
        """A job completed: what it took, to be kept."""
        ai = measured.result.ai
        choice = self.model_of(task.job, task.standing)
        methods = task.job.settings.methods if choice is None else (*task.job.settings.methods, choice.model)
        # A short programme never fills its batch; what it took says nothing of a full one.
        at_once = min(ai.batch if ai else task.batch, windows_of(task.duration_s))
        use = self.use_of(task, 1 << (max(1, at_once).bit_length() - 1))
        observation = observation_of(task, measured, methods, use)
        self._learn(observation)
        if observation.model is not None:
            self._caution = self._caution.after_success()
        return observation

    def failed(self, task: Task, code: ErrorCode, stage: str | None, now_s: float) -> MemoryObservation | None:
        """A job's attempt met a fault; what that says of memory, to be kept."""
        use = self.use_of(task, task.batch)
        if use is None or not (code in OF_THE_CARD or stage == AI_STAGE):
            return None
        self._cards.faulted(task.device, code.value, now_s)
        before, self._caution = self._caution, self._caution.after_trouble()
        if before.tier is not self._caution.tier:
            log.warning("admission_more_careful", tier=self._caution.tier.name.lower(), code=code.value)
        if code is not ErrorCode.GPU_OUT_OF_MEMORY:
            return None
        seen = MemoryObservation(
            device=task.device,
            kind="measure",
            predicted_ram_bytes=task.promised_bytes,
            peak_ram_bytes=0,
            duration_s=task.duration_s or 0.0,
            channels=0,
            methods=(),
            predicted_vram_bytes=task.promised_vram_bytes,
            peak_vram_bytes=task.promised_vram_bytes,
            model=use,
            ran_out=True,
        )
        self._learn(seen)
        return seen

    def _learn(self, observation: MemoryObservation) -> None:
        self._observations = [observation, *self._observations[: OBSERVATIONS - 1]]

    def _tell(self, job: ReadyJob, refusal: Refused) -> None:
        waits_for_memory = refusal.obstacle in {Obstacle.MEMORY, Obstacle.CARD_MEMORY}
        if waits_for_memory and self._told != (job.job_id, refusal.reason):
            log.info("admit_refused", job=job.job_id, reason=refusal.reason)
            self._told = (job.job_id, refusal.reason)


def _with_idle(device: Device, idle_vram_bytes: Mapping[str, int]) -> Device:
    if device.vram is None or device.name not in idle_vram_bytes:
        return device
    free_bytes = min(device.vram.total_bytes, device.vram.free_bytes + idle_vram_bytes[device.name])
    return replace(device, vram=replace(device.vram, free_bytes=free_bytes))
