from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.config import WorkersSection
from syncd.devices.admission import MARGIN_BYTES, Admitted, Obstacle, Refused, Reservation, admit, room_bytes
from syncd.devices.inventory import Device, DeviceKind, HostMemory, cpu_slots, read_host_memory, take_inventory
from syncd.devices.memory_model import (
    MIN_OBSERVATIONS,
    Need,
    Workload,
    predict_ram,
    prior_ram_bytes,
    upper_quantile,
)
from syncd.domain import MemoryObservation

GB = 10**9
CPU = Device("cpu", DeviceKind.CPU, 4)


def learnt(ram_bytes: int) -> Need:
    return Need(ram_bytes, is_learnt=True)


def observation(peak_bytes: int, duration_s: float = 3600.0) -> MemoryObservation:
    return MemoryObservation("cpu", "measure", 0, peak_bytes, duration_s, 2, ("correlation", "spectral"))


def test_a_job_that_fits_is_admitted() -> None:
    assert admit(learnt(GB), [CPU], HostMemory(16 * GB, 8 * GB), []) == Admitted(CPU)


def test_promises_count_before_they_are_taken() -> None:
    memory = HostMemory(16 * GB, 4 * GB)
    promised = [Reservation("cpu", 3 * GB, held_bytes=0)]
    decision = admit(learnt(2 * GB), [CPU], memory, promised)
    assert isinstance(decision, Refused)
    assert decision.obstacle is Obstacle.MEMORY
    assert "2.0 GB wanted" in decision.reason


def test_what_a_worker_has_taken_already_counts_once() -> None:
    memory = HostMemory(16 * GB, 4 * GB)
    assert room_bytes(memory, [Reservation("cpu", 3 * GB, held_bytes=3 * GB)]) == 4 * GB - MARGIN_BYTES


def test_a_job_larger_than_the_machine_is_refused_for_good_with_figures() -> None:
    decision = admit(learnt(82 * GB), [CPU], HostMemory(48 * GB, 30 * GB), [])
    assert decision == Refused(Obstacle.TOO_LARGE, "48.0 GB in the whole machine, 82.3 GB wanted.")


def test_a_guess_refuses_nothing_for_good() -> None:
    """A machine of 1 GB runs its jobs one at a time: what they really take is not known yet."""
    small = HostMemory(GB, GB // 2)
    assert admit(Need(2 * GB, is_learnt=False), [CPU], small, []) == Admitted(CPU)


def test_slots_bound_what_runs_whatever_the_memory() -> None:
    taken = [Reservation("cpu", 0, 0)] * 4
    decision = admit(learnt(1), [CPU], HostMemory(16 * GB, 16 * GB), taken)
    assert decision == Refused(Obstacle.SLOTS, "Every slot is taken.")


def test_one_job_is_always_tried_even_if_others_hold_the_memory() -> None:
    assert admit(learnt(2 * GB), [CPU], HostMemory(16 * GB, GB), []) == Admitted(CPU)


@given(st.lists(st.integers(1, 4 * GB), max_size=40), st.integers(4 * GB + 10**9, 64 * GB))
def test_promises_never_exceed_what_is_free(needs: list[int], available: int) -> None:
    """But for the first job, which always has the machine to itself."""
    memory = HostMemory(64 * GB, available)
    given_out: list[Reservation] = []
    wide = Device("cpu", DeviceKind.CPU, 100)
    for need in needs:
        if isinstance(admit(learnt(need), [wide], memory, given_out), Admitted):
            given_out.append(Reservation("cpu", need, 0))
    assert sum(r.promised_bytes for r in given_out[1:]) <= available


def test_the_first_jobs_are_predicted_by_the_table() -> None:
    load = Workload(3600.0, ("correlation", "spectral"))
    guess = predict_ram(load, [observation(10**8)] * (MIN_OBSERVATIONS - 1))
    assert guess == Need(prior_ram_bytes(load), is_learnt=False)


def test_what_jobs_really_took_corrects_the_table() -> None:
    load = Workload(3600.0, ("correlation", "spectral"))
    small = predict_ram(load, [observation(200_000_000)] * MIN_OBSERVATIONS).ram_bytes
    large = predict_ram(load, [observation(2_000_000_000)] * MIN_OBSERVATIONS).ram_bytes
    assert 200_000_000 < small < prior_ram_bytes(load) < 2_000_000_000 < large


def test_one_hungry_job_among_a_few_raises_the_promise() -> None:
    seen = [observation(200_000_000)] * 9 + [observation(900_000_000)]
    assert predict_ram(Workload(3600.0, ("correlation", "spectral")), seen).ram_bytes > 900_000_000


def test_a_job_of_unknown_length_is_taken_for_a_long_one() -> None:
    assert prior_ram_bytes(Workload(None, ("spectral",))) > prior_ram_bytes(Workload(600.0, ("spectral",)))


@given(st.lists(st.floats(0.0, 10.0), min_size=1, max_size=50), st.floats(0.5, 1.0))
def test_the_upper_quantile_is_not_exceeded_by_more_than_its_share(values: list[float], share: float) -> None:
    limit = upper_quantile(values, share)
    assert sum(value <= limit for value in values) >= share * len(values) - 1e-9


def test_auto_means_half_the_cores_and_never_none() -> None:
    assert cpu_slots(WorkersSection(), cores=16) == 8
    assert cpu_slots(WorkersSection(), cores=1) == 1
    assert cpu_slots(WorkersSection(cpu_slots=3), cores=16) == 3


def test_the_inventory_of_this_machine_has_a_cpu_and_memory() -> None:
    (device,) = take_inventory(WorkersSection())
    memory = read_host_memory()
    assert device.kind is DeviceKind.CPU
    assert 0 < memory.available_bytes <= memory.total_bytes
