from __future__ import annotations

from datetime import UTC, datetime

from syncd.config import WorkersSection
from syncd.devices.card_history import Cause
from syncd.devices.health import JobHold, Standing
from syncd.devices.inventory import Device, DeviceKind, HostMemory
from syncd.devices.readings import GpuProcess, GpuReading, Heard
from syncd.devices.views import (
    DevicesView,
    DeviceView,
    Holder,
    cpu_view,
    gpu_views,
    strangers,
    text_to_view,
    view_to_text,
)

GIB = 1 << 30
READING = GpuReading(
    "GPU-a",
    1,
    "NVIDIA GeForce RTX 2080 Ti",
    10 * GIB,
    4 * GIB,
    processes=(GpuProcess(7, 2 * GIB), GpuProcess(8, 3 * GIB), GpuProcess(9, None)),
    utilization_percent=37,
)
JOBS = (
    JobHold("GPU-a", 12, 7, 3 * GIB, GIB),
    JobHold("GPU-a", 13, 6, 2 * GIB, 0),
    JobHold("GPU-b", 14, 5, GIB, GIB),
    JobHold("cpu", 15, 4, 2 * GIB, GIB),
)


def one_view(standing: Standing, now_s: float = 0.0) -> DeviceView:
    (view,) = gpu_views([Heard(READING, 0.1)], [standing], JOBS, WorkersSection(), {8: "python3"}, now_s)
    return view


USABLE = Standing("GPU-a", 1, READING.name)


def test_a_card_shows_what_is_promised_and_to_how_much_jobs_may_go() -> None:
    view = one_view(USABLE)
    assert (view.total_bytes, view.free_bytes, view.promised_bytes) == (10 * GIB, 4 * GIB, 5 * GIB)
    assert view.allowed_bytes == int(7.5 * GIB)
    assert (view.is_usable, view.reason, view.again_s) == (True, "", None)


def test_our_jobs_and_other_programs_are_told_apart() -> None:
    assert one_view(USABLE).held_by == (
        Holder(7, 2 * GIB, job_id=12),
        Holder(6, 0, job_id=13),
        Holder(8, 3 * GIB, process="python3"),
        Holder(9, None),
    )
    assert strangers([Heard(READING, 0.1)], JOBS) == {8, 9}


def test_a_card_that_is_out_says_why_and_for_how_long() -> None:
    view = one_view(Standing("GPU-a", 1, READING.name, Cause.FAULTS, "2 jobs failed on it.", 160.0), now_s=100.0)
    assert (view.is_usable, view.reason, view.again_s) == (False, "2 jobs failed on it.", 60.0)


def test_the_cpu_has_slots_and_the_hosts_memory() -> None:
    view = cpu_view(Device("cpu", DeviceKind.CPU, 3), HostMemory(16 * GIB, 9 * GIB), JOBS)
    assert (view.slots, view.total_bytes, view.free_bytes, view.promised_bytes) == (3, 16 * GIB, 9 * GIB, 2 * GIB)
    assert view.held_by == (Holder(4, GIB, job_id=15),)


def test_a_view_survives_being_kept() -> None:
    view = DevicesView(datetime(2026, 11, 20, 14, 30, tzinfo=UTC), (one_view(USABLE),), "575.51.03", None, ("A.",))
    assert text_to_view(view_to_text(view)) == view


def test_what_another_version_wrote_is_no_view() -> None:
    assert text_to_view('{"cards": []}') is None
    assert text_to_view("not JSON") is None
