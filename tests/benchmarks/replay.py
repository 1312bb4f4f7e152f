"""Streams of jobs on simulated cards: what an admission policy makes of them.

A job first works on the host (decoding, the bed's methods) while it holds a driver's context; then its model takes its
memory and computes. The jobs that compute on a card share its speed. Who asks for memory that is not there dies, loses
what it did, and is queued again. Cards and workers are simulated; `syncd.devices` decides, as it does in the daemon.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final, Protocol

from syncd.devices.admission import Admitted, Head, Pin, Reservation, admit, is_patient, pin_for
from syncd.devices.caution import Caution
from syncd.devices.inventory import CardMemory, Device, DeviceKind, HostMemory
from syncd.devices.memory_model import Need
from syncd.devices.model_memory import CONTEXT_BYTES, prior_vram_bytes, vram_need
from syncd.domain import MemoryObservation, ModelUse

MIB: Final = 1 << 20
CARDS: Final = 3
CARD_BYTES: Final = 11_264 * MIB
SHARE: Final = 0.75
"""`workers.gpu_memory_fraction`."""
SLOTS_A_CARD: Final = 8
BATCHES: Final = (8, 4, 2, 1)
HOST: Final = HostMemory(256 << 30, 240 << 30)


@dataclass(frozen=True)
class Job:
    """One job as it really is."""

    number: int
    arrives_s: float
    host_s: float
    """Before its model is needed."""
    card_s: float
    """Of a card that it has for itself, with its full batch."""
    use: ModelUse
    peaks_bytes: dict[int, int]
    """What it really takes, by batch."""

    @property
    def run_s(self) -> float:
        """If it had a card for itself."""
        return self.host_s + self.card_s


@dataclass
class Run:
    """A job on a card."""

    job: Job
    card: int
    batch: int
    promised_bytes: int
    host_left_s: float
    card_left_s: float
    """Of a card for itself."""
    held_bytes: int = CONTEXT_BYTES

    @property
    def computes(self) -> bool:
        """Whether its model is at work."""
        return self.host_left_s <= 0.0

    def left_s(self, sharers: int) -> float:
        """As long as nothing changes on its card."""
        return self.host_left_s + self.card_left_s * max(1, sharers)


@dataclass(frozen=True)
class Played:
    """What became of a stream."""

    deaths: int
    makespan_s: float
    starts_s: dict[int, float]
    """The first start of each job that was in the end done."""
    busy_share: float
    """Of the cards' memory that syncd may use, over the makespan."""


class Policy(Protocol):
    """Who is started next, and where."""

    def choose(
        self, waiting: Sequence[Job], running: Sequence[Run], now_s: float, /
    ) -> tuple[Job, int, int, int] | None:
        """(job, card, batch, promised bytes); None: nobody, for now."""

    def ended(self, run: Run, *, died: bool) -> None:
        """The job is done, or it died."""


def stream(seed: int, jobs: int, *, burst: bool) -> list[Job]:
    """Mixed jobs: three kinds of models, programmes of a minute to two hours; at once, or as they come."""
    rng = random.Random(seed)  # noqa: S311 - streams that can be had again
    kinds = [  # model, MiB of weights, numbers, share of the jobs, seconds of a card a second of programme
        ("wav2vec2", 378, "float16", 0.45, 0.010),
        ("wav2vec2", 1262, "float32", 0.2, 0.040),
        ("yamnet", 15, "float32", 0.35, 0.002),
    ]
    truth = {kind: rng.uniform(0.55, 1.1) for kind in kinds}
    made, now_s = [], 0.0
    for number in range(jobs):
        kind = rng.choices(kinds, [k[3] for k in kinds])[0]
        use = ModelUse(kind[0], kind[1] * MIB, kind[2], 8, 30.0, "NVIDIA GeForce RTX 2080 Ti")
        ratio = truth[kind] * rng.uniform(0.94, 1.06)
        peaks = {batch: int(ratio * prior_vram_bytes(replace(use, batch=batch))) for batch in BATCHES}
        length_s = min(7200.0, rng.lognormvariate(7.2, 0.9))
        made.append(Job(number, 0.0 if burst else now_s, 3.0 + length_s * 0.003, length_s * kind[4], use, peaks))
        now_s += rng.expovariate(1 / 10.0)
    return made


def slowness(use: ModelUse, batch: int) -> float:
    """Smaller batches fill a card less, by a tenth a halving."""
    return 1.0 + 0.1 * (use.batch.bit_length() - batch.bit_length())


def play(jobs: Sequence[Job], policy: Policy) -> Played:
    """Let the policy carry the stream out."""
    queue, running = sorted(jobs, key=lambda job: (job.arrives_s, job.number)), list[Run]()
    waiting: list[Job] = []
    now_s, deaths, used = 0.0, 0, 0.0
    starts: dict[int, float] = {}
    while queue or waiting or running:
        while queue and queue[0].arrives_s <= now_s:
            waiting.append(queue.pop(0))
        while (chosen := policy.choose(waiting, running, now_s)) is not None:
            job, card, batch, promised = chosen
            waiting.remove(job)
            starts.setdefault(job.number, now_s)
            running.append(Run(job, card, batch, promised, job.host_s, job.card_s * slowness(job.use, batch)))
        step_s = min([_step_s(run, running) for run in running] + [job.arrives_s - now_s for job in queue[:1]])
        used += sum(run.held_bytes for run in running) * step_s
        now_s += step_s
        sharers = [sharers_on(card, running) for card in range(CARDS)]
        for run in list(running):
            if not run.computes:
                run.host_left_s = _less(run.host_left_s, step_s)
            else:
                run.card_left_s = _less(run.card_left_s, step_s / sharers[run.card])
            if run.computes and run.card_left_s <= 0.0:
                running.remove(run)
                policy.ended(run, died=False)
        for run in [run for run in running if run.computes and run.held_bytes == CONTEXT_BYTES]:
            run.held_bytes = run.job.peaks_bytes[run.batch]
            if sum(other.held_bytes for other in running if other.card == run.card) > CARD_BYTES:
                running.remove(run)
                deaths += 1
                policy.ended(run, died=True)
                waiting.insert(0, run.job)
    return Played(deaths, now_s, starts, used / (now_s * CARDS * CARD_BYTES * SHARE))


def sharers_on(card: int, running: Sequence[Run]) -> int:
    """How many models are at work on it."""
    return sum(run.computes for run in running if run.card == card)


def _step_s(run: Run, running: Sequence[Run]) -> float:
    return run.card_left_s * sharers_on(run.card, running) if run.computes else run.host_left_s


def _less(left_s: float, step_s: float) -> float:
    """0 where hardly anything is left: floats do not meet exactly."""
    return 0.0 if left_s - step_s < 1e-6 else left_s - step_s


# --- policies --------------------------------------------------------------------------------------------------------


@dataclass
class Syncd:
    """As the daemon admits, learning from what it sees."""

    observations: list[MemoryObservation] = field(default_factory=list)
    caution: Caution = field(default_factory=Caution)
    head: Head | None = None
    passing: bool = True
    """Whether smaller jobs may pass one that waits."""

    def choose(self, waiting: Sequence[Job], running: Sequence[Run], now_s: float) -> tuple[Job, int, int, int] | None:
        """The eldest that fits; the eldest that does not pins a card."""
        devices = [self._device(card, running) for card in range(CARDS)]
        reservations = [
            Reservation(str(r.card), 0, 0, r.promised_bytes, r.held_bytes, r.left_s(sharers_on(r.card, running)))
            for r in running
        ]
        pin: Pin | None = None
        for job in waiting:
            need = vram_need(job.use, self.observations, safety=self.caution.safety)
            asked = Need(0, is_learnt=False, vram=need)
            stood_s = 0.0 if self.head is None else self.head.stood_s(job.number, now_s)
            decision = admit(asked, devices, HOST, reservations, run_s=job.run_s, pin=pin, stood_s=stood_s)
            if isinstance(decision, Admitted):
                batch, promised = decision.batch, decision.vram_bytes
                while job.peaks_bytes[batch] > promised and batch > 1:
                    batch //= 2  # In the worker, under its cap.
                return job, int(decision.device.name), batch, promised
            if pin is None:
                if self.head is None or self.head.job_id != job.number:
                    self.head = Head(job.number, now_s)
                is_closed = not is_patient(stood_s, job.run_s)
                pin = pin_for(need, devices, reservations, is_closed=is_closed)
            if not self.passing:
                break
        return None

    def ended(self, run: Run, *, died: bool) -> None:
        """Learn."""
        self.caution = self.caution.after_trouble() if died else self.caution.after_success()
        seen = MemoryObservation(str(run.card), "measure", 0, 0, 0.0, 2, ())
        taken = run.job.peaks_bytes[run.batch]
        used = replace(run.job.use, batch=run.batch)
        self.observations.insert(
            0, replace(seen, predicted_vram_bytes=run.promised_bytes, peak_vram_bytes=taken, model=used, ran_out=died)
        )

    def _device(self, card: int, running: Sequence[Run]) -> Device:
        held = sum(run.held_bytes for run in running if run.card == card)
        memory = CardMemory(CARD_BYTES, CARD_BYTES - held, int(CARD_BYTES * SHARE))
        return Device(str(card), DeviceKind.GPU, min(SLOTS_A_CARD, self.caution.most_a_card), vram=memory)


@dataclass
class RoundRobin:
    """What syncd replaces: eight at a time, each on the card that its process id falls to."""

    jobs_at_once: int = 8
    pids: count[int] = field(default_factory=lambda: count(4242))

    def choose(self, waiting: Sequence[Job], running: Sequence[Run], _now_s: float) -> tuple[Job, int, int, int] | None:
        """Whoever is next, without looking."""
        if not waiting or len(running) >= self.jobs_at_once:
            return None
        return waiting[0], next(self.pids) % CARDS, waiting[0].use.batch, 0

    def ended(self, run: Run, *, died: bool) -> None:
        """Nothing is learnt."""


class FreeMemory:
    """Whoever finds his memory free at the moment of starting, as the driver tells it."""

    def choose(self, waiting: Sequence[Job], running: Sequence[Run], _now_s: float) -> tuple[Job, int, int, int] | None:
        """The card with the most free memory, if that suffices."""
        if not waiting:
            return None
        held = [sum(run.held_bytes for run in running if run.card == card) for card in range(CARDS)]
        card = min(range(CARDS), key=held.__getitem__)
        job = waiting[0]
        if CARD_BYTES - held[card] < job.peaks_bytes[job.use.batch]:
            return None
        return job, card, job.use.batch, 0

    def ended(self, run: Run, *, died: bool) -> None:
        """Nothing is learnt."""


# --- the best there is -----------------------------------------------------------------------------------------------

Plan = list[tuple[Job, int, int]]
"""In which order, and with which batch at most and at least."""


@dataclass
class Planned:
    """Who knows every peak, and starts whoever fits in the order of a plan."""

    plan: Plan

    def choose(self, waiting: Sequence[Job], running: Sequence[Run], _now_s: float) -> tuple[Job, int, int, int] | None:
        """On the card with the most room."""
        room = [CARD_BYTES * SHARE - sum(r.promised_bytes for r in running if r.card == card) for card in range(CARDS)]
        taken = [sum(run.card == card for run in running) for card in range(CARDS)]
        open_cards = [card for card in range(CARDS) if taken[card] < SLOTS_A_CARD]
        if not open_cards:
            return None
        card = max(open_cards, key=room.__getitem__)
        present = {job.number for job in waiting}
        for place, (job, most, least) in enumerate(self.plan):
            if job.number not in present:
                continue
            for batch in BATCHES:
                if least <= batch <= most and job.peaks_bytes[batch] <= room[card]:
                    del self.plan[place]
                    return job, card, batch, job.peaks_bytes[batch]
        return None

    def ended(self, run: Run, *, died: bool) -> None:
        """As planned."""


def best_packing_s(jobs: Sequence[Job], *, tries: int, seed: int = 1) -> float:
    """The shortest makespan found by trying orders and batches."""
    rng = random.Random(seed)  # noqa: S311 - as above
    keys: list[Callable[[Job], float]] = [
        lambda job: job.arrives_s,
        lambda job: -job.run_s,
        lambda job: -job.card_s,
        lambda job: -job.peaks_bytes[job.use.batch],
    ]
    bounds = [(most, least) for most in BATCHES for least in sorted({1, most})]
    plans = [[(job, *bound) for job in sorted(jobs, key=key)] for key in keys for bound in bounds]
    best_s, _, best = min((_planned_s(plan), number, plan) for number, plan in enumerate(plans))
    for _ in range(tries):
        plan = list(best)
        for _ in range(rng.randint(1, 6)):
            i, j = rng.randrange(len(plan)), rng.randrange(len(plan))
            plan[i], plan[j] = plan[j], plan[i]
            plan[i] = plan[i][0], *rng.choice(bounds)
        if (tried_s := _planned_s(plan)) <= best_s:
            best_s, best = tried_s, plan
    return best_s


def _planned_s(plan: Plan) -> float:
    return play([job for job, *_ in plan], Planned(list(plan))).makespan_s


def least_possible_s(jobs: Sequence[Job]) -> float:
    """No packing is shorter: all cards compute all the time, or the last job to come alone."""
    longest_s = max(job.arrives_s + job.run_s for job in jobs)
    return max(sum(job.card_s for job in jobs) / CARDS, longest_s)


def fair_waits_s(jobs: Sequence[Job]) -> dict[int, float]:
    """How long each would wait if nobody were let past anybody; at least as long as it takes itself."""
    strict = play(jobs, Syncd(passing=False))
    return {job.number: max(strict.starts_s[job.number] - job.arrives_s, job.run_s) for job in jobs}
