from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from syncd.devices.admission import (
    CARD_MARGIN_BYTES,
    MOST_PATIENCE_S,
    Admitted,
    Head,
    Obstacle,
    Refused,
    Reservation,
    admit,
    pin_for,
    room_on_card,
)
from syncd.devices.inventory import CardMemory, Device, DeviceKind, HostMemory
from syncd.devices.memory_model import Need, VramNeed

MIB = 1 << 20
CARD_BYTES = 11_264 * MIB
LIMIT_BYTES = CARD_BYTES * 3 // 4
HOST = HostMemory(64 << 30, 60 << 30)
CPU = Device("cpu", DeviceKind.CPU, 4)


def card(name: str, *, free: int = CARD_BYTES, slots: int = 8) -> Device:
    return Device(name, DeviceKind.GPU, slots, name, CardMemory(CARD_BYTES, free, LIMIT_BYTES))


def need(*choices: tuple[int, int]) -> Need:
    return Need(1 << 30, is_learnt=True, vram=VramNeed(choices))


def promise(device: str, vram_bytes: int, *, held: int = 0, ends_in_s: float = 60.0) -> Reservation:
    return Reservation(device, 1 << 30, 1 << 30, vram_bytes, held, ends_in_s)


def test_a_job_with_a_model_goes_to_the_card_with_most_room() -> None:
    decision = admit(need((8, 3000 * MIB)), [CPU, card("a"), card("b")], HOST, [promise("a", 2000 * MIB)])
    assert isinstance(decision, Admitted)
    assert (decision.device.name, decision.batch, decision.vram_bytes) == ("b", 8, 3000 * MIB)


def test_a_job_without_a_model_stays_off_the_cards() -> None:
    decision = admit(Need(1 << 30, is_learnt=True), [CPU, card("a")], HOST, [])
    assert decision == Admitted(CPU)


def test_without_any_card_a_model_runs_on_the_cpu() -> None:
    assert admit(need((8, 3000 * MIB)), [CPU], HOST, []) == Admitted(CPU)


def test_what_is_promised_counts_before_it_is_taken() -> None:
    """The driver says that the card is free: the workers have not begun to load."""
    promised = [promise("a", 4200 * MIB), promise("a", 4000 * MIB)]
    decision = admit(need((1, 1000 * MIB)), [CPU, card("a")], HOST, promised)
    assert isinstance(decision, Refused)
    assert decision.obstacle is Obstacle.CARD_MEMORY
    assert "1.0 GB wanted" in decision.reason


def test_what_a_worker_holds_is_not_counted_twice() -> None:
    held = promise("a", 3000 * MIB, held=3000 * MIB)
    memory = CardMemory(CARD_BYTES, CARD_BYTES - 3000 * MIB, CARD_BYTES)
    assert room_on_card(memory, [held]) == CARD_BYTES - 3000 * MIB - CARD_MARGIN_BYTES


def test_others_use_of_a_card_counts() -> None:
    decision = admit(need((8, 3000 * MIB), (4, 2000 * MIB)), [CPU, card("a", free=2500 * MIB)], HOST, [])
    assert isinstance(decision, Admitted)
    assert decision.batch == 4


def test_syncd_takes_no_more_than_its_share_however_free_the_card_is() -> None:
    decision = admit(need((8, 3000 * MIB)), [CPU, card("a")], HOST, [promise("a", LIMIT_BYTES - 2999 * MIB)])
    assert isinstance(decision, Refused)


def test_a_busy_card_is_asked_for_the_full_batch_as_long_as_the_job_would_run_and_then_for_any() -> None:
    full = need((8, 6000 * MIB), (4, 3500 * MIB), (2, 2200 * MIB))
    busy = [promise("a", 4500 * MIB)]
    still_patient = admit(full, [CPU, card("a")], HOST, busy, run_s=60.0, stood_s=59.0)
    assert isinstance(still_patient, Refused)
    assert still_patient.obstacle is Obstacle.CARD_MEMORY
    decision = admit(full, [CPU, card("a")], HOST, busy, run_s=60.0, stood_s=61.0)
    assert isinstance(decision, Admitted)
    assert (decision.batch, decision.vram_bytes) == (4, 3500 * MIB)


def test_nobody_waits_longer_for_a_full_batch_than_five_minutes_however_long_he_runs() -> None:
    full = need((8, 6000 * MIB), (4, 3500 * MIB))
    busy = [promise("a", 4500 * MIB)]
    assert isinstance(admit(full, [CPU, card("a")], HOST, busy, stood_s=MOST_PATIENCE_S), Refused)
    assert isinstance(admit(full, [CPU, card("a")], HOST, busy, stood_s=MOST_PATIENCE_S + 1.0), Admitted)


def test_a_card_that_works_for_nobody_takes_a_smaller_batch_at_once() -> None:
    full = need((8, 6000 * MIB), (4, 3500 * MIB))
    devices = [CPU, card("a", free=4000 * MIB), card("b")]
    decision = admit(full, devices, HOST, [promise("b", LIMIT_BYTES)], run_s=60.0)
    assert isinstance(decision, Admitted)
    assert (decision.device.name, decision.batch) == ("a", 4)


def test_nobody_waits_for_a_batch_that_no_card_could_ever_hold() -> None:
    full = need((8, 2 * CARD_BYTES), (4, 3500 * MIB), (2, 2200 * MIB))
    decision = admit(full, [CPU, card("a")], HOST, [promise("a", 1000 * MIB)], run_s=60.0)
    assert isinstance(decision, Admitted)
    assert decision.batch == 4
    pin = pin_for(VramNeed(full.vram.choices if full.vram else ()), [CPU, card("a")], [promise("a", LIMIT_BYTES)])
    assert pin is not None
    assert pin.device == "a"


def test_a_job_whose_patience_is_over_has_its_card_closed_to_everybody_else() -> None:
    running = [promise("a", 6000 * MIB, ends_in_s=60.0)]
    devices = [CPU, card("a")]
    pin = pin_for(VramNeed(((8, 7000 * MIB),)), devices, running, is_closed=True)
    assert pin is not None
    assert isinstance(admit(need((8, 1000 * MIB)), devices, HOST, running, run_s=1.0, pin=pin), Refused)


def test_only_the_eldest_has_stood_at_the_head() -> None:
    head = Head(7, since_s=100.0)
    assert head.stood_s(7, 130.0) == 30.0
    assert head.stood_s(8, 130.0) == 0.0


def test_what_fits_on_no_card_at_all_runs_on_the_cpu_and_says_why_in_figures() -> None:
    decision = admit(need((1, 82 << 30)), [CPU, card("a"), card("b")], HOST, [])
    assert isinstance(decision, Admitted)
    assert decision.device is CPU
    assert decision.note == "8.9 GB free of 11.8 GB on the card with the most, 88.0 GB wanted"


def test_a_job_that_only_waits_for_others_of_ours_does_not_fall_back_to_the_cpu() -> None:
    busy = [promise("a", LIMIT_BYTES, held=LIMIT_BYTES)]
    decision = admit(need((1, 4000 * MIB)), [CPU, card("a", free=CARD_BYTES - LIMIT_BYTES)], HOST, busy)
    assert isinstance(decision, Refused)
    assert decision.obstacle is Obstacle.CARD_MEMORY


def test_the_pin_is_on_the_card_that_has_room_first() -> None:
    running = [
        promise("a", 5000 * MIB, ends_in_s=90.0),
        promise("a", 3000 * MIB, ends_in_s=300.0),
        promise("b", 8000 * MIB, ends_in_s=40.0),
    ]
    pin = pin_for(VramNeed(((8, 6000 * MIB),)), [CPU, card("a"), card("b")], running)
    assert pin is not None
    assert (pin.device, pin.due_in_s) == ("b", 40.0)
    assert pin.spare_bytes == LIMIT_BYTES - 6000 * MIB


def test_past_a_pin_go_those_that_are_done_by_then_and_those_that_fit_beside() -> None:
    running = [promise("a", 6000 * MIB, ends_in_s=60.0)]
    devices = [CPU, card("a")]
    pin = pin_for(VramNeed(((8, 7000 * MIB),)), devices, running)
    assert pin is not None
    short = admit(need((8, 2000 * MIB)), devices, HOST, running, run_s=30.0, pin=pin)
    small = admit(need((8, 1000 * MIB)), devices, HOST, running, run_s=900.0, pin=pin)
    in_the_way = admit(need((8, 2000 * MIB)), devices, HOST, running, run_s=900.0, pin=pin)
    assert isinstance(short, Admitted)
    assert isinstance(small, Admitted)
    assert isinstance(in_the_way, Refused)
    assert in_the_way.reason.endswith("One card is kept for a job that has waited longer.")


def test_a_job_that_no_card_could_hold_pins_none() -> None:
    assert pin_for(VramNeed(((1, 2 * CARD_BYTES),)), [CPU, card("a")], []) is None


@given(
    st.lists(
        st.tuples(st.integers(1, 9000), st.booleans(), st.floats(0.0, 500.0)),
        max_size=40,
    ),
    st.integers(0, 11_264),
)
def test_no_card_is_ever_promised_more_than_its_share_and_what_is_free(
    jobs: list[tuple[int, bool, float]], foreign_mib: int
) -> None:
    """Whoever of the workers has taken its memory already."""
    names = ("a", "b")
    given_out: list[Reservation] = []
    for wanted_mib, has_taken, ends_in_s in jobs:
        held = {name: sum(r.held_vram_bytes for r in given_out if r.device == name) for name in names}
        devices = [CPU, *(card(name, free=max(0, CARD_BYTES - foreign_mib * MIB - held[name])) for name in names)]
        wanted = wanted_mib * MIB
        decision = admit(need((8, wanted), (4, wanted * 2 // 3)), devices, HOST, given_out)
        if isinstance(decision, Admitted) and decision.vram_bytes:
            taken = decision.vram_bytes if has_taken else 0
            given_out.append(promise(decision.device.name, decision.vram_bytes, held=taken, ends_in_s=ends_in_s))
    for name in names:
        promised = sum(r.promised_vram_bytes for r in given_out if r.device == name)
        assert promised <= max(0, min(LIMIT_BYTES, CARD_BYTES - foreign_mib * MIB))
