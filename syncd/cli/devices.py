"""`syncctl devices`."""

from __future__ import annotations

import select
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from syncd.cli.access import configuration, ledger_path
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import console, plain, print_json
from syncd.clock import utc_now
from syncd.config import Config
from syncd.devices.gpu_watch import GpuWatch
from syncd.devices.health import Health, names_without_card
from syncd.devices.inventory import DeviceKind, process_names, read_host_memory, take_inventory
from syncd.devices.readings import Heard
from syncd.devices.views import (
    SERVICE_KEY,
    DevicesView,
    DeviceView,
    Holder,
    cpu_view,
    gpu_views,
    strangers,
    text_to_view,
)
from syncd.errors import SyncdError
from syncd.ledger.reader import LedgerReader

STALE_VIEW_S: Final = 30.0
"""A view that the daemon wrote longer ago than this is not shown."""
ASK_S: Final = 3.0
"""How long the driver may take to answer."""
_INTERVAL_S: Final = 0.2


def devices(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """List the CPU and the GPUs: memory, who holds it, and why one is not used.

    While the daemon runs and has cards, this is what it saw last; else the devices are asked here and now.
    """
    view = daemons_view(ledger_path(config))
    source = "asked" if view is None else "daemon"
    if view is None:
        view = ask(configuration(config))
    if as_json:
        print_json({"source": source, **msgspec.structs.asdict(view)})
        return
    out = console()
    for line in lines(view):
        out.print(plain(line))
    age_s = (utc_now() - view.at).total_seconds()
    out.print("Asked just now, beside syncd." if source == "asked" else f"As syncd saw it {max(0.0, age_s):.0f} s ago.")


def daemons_view(path: Path) -> DevicesView | None:
    """What a running daemon wrote of late into its ledger; None: there is no such thing."""
    try:
        reader = LedgerReader.open(path)
    except SyncdError:
        return None
    try:
        text = reader.service().get(SERVICE_KEY) if reader.daemon_is_running() else None
    finally:
        reader.close()
    view = None if text is None else text_to_view(text)
    if view is None or (utc_now() - view.at).total_seconds() > STALE_VIEW_S:
        return None
    return view


def ask(settings: Config) -> DevicesView:
    """Look at the devices from here; a driver that does not answer in time is said to be silent."""
    (cpu,) = (device for device in take_inventory(settings.workers) if device.kind is DeviceKind.CPU)
    watch = GpuWatch(interval_s=_INTERVAL_S)
    try:
        heard = _ask_cards(watch)
    finally:
        watch.stop()
    now_s = time.monotonic()
    standings = Health().seen(heard, now_s).standings(heard, settings.workers, (), now_s)
    names = process_names(strangers(heard, ()))
    gpus = gpu_views(heard, standings, (), settings.workers, names, now_s)
    silent = "The NVIDIA driver does not answer." if watch.card_count is None else None
    return DevicesView(
        at=utc_now(),
        devices=(cpu_view(cpu, read_host_memory(), ()), *gpus),
        driver_version=watch.driver_version,
        why_no_gpu=watch.why_none or silent,
        warnings=names_without_card(settings.workers, [one.reading for one in heard]),
    )


def _ask_cards(watch: GpuWatch) -> tuple[Heard, ...]:
    """Until every listed card has answered, or it is clear that none will; at most `ASK_S`."""
    deadline_s = time.monotonic() + ASK_S
    while True:
        heard = watch.poll(time.monotonic())
        answered = {one.reading.index for one in heard}
        is_complete = watch.card_count is not None and len(answered) >= watch.card_count
        if is_complete or time.monotonic() >= deadline_s:
            return heard
        select.select(watch.filenos, (), (), 0.05)


def lines(view: DevicesView) -> Iterator[str]:
    """The view as people read it, a few lines a device."""
    for device in view.devices:
        yield from _device_lines(device)
    if view.why_no_gpu is not None:
        yield f"no GPU: {view.why_no_gpu}"
    yield from view.warnings


def _device_lines(device: DeviceView) -> Iterator[str]:
    if device.kind is DeviceKind.CPU:
        yield f"cpu: {device.slots} {'job' if device.slots == 1 else 'jobs'} at once"
    else:
        yield f"gpu {device.index}: {device.name}, {device.uuid}"
    if device.is_usable:
        yield "  usable"
    else:
        again = "" if device.again_s is None else f" Back in {_span(device.again_s)}."
        yield f"  not used: {device.reason}{again}"
    if device.total_bytes > 0:
        yield f"  memory: {_memory(device)}"
    for holder in device.held_by:
        yield f"  held: {_held(holder)}"


def _memory(device: DeviceView) -> str:
    told = f"{_gb(device.free_bytes)} free of {_gb(device.total_bytes)}, {_gb(device.promised_bytes)} reserved for jobs"
    if device.kind is DeviceKind.GPU:
        told += f", {_gb(device.allowed_bytes)} at most"
    if device.utilization_percent is not None:
        told += f"; {device.utilization_percent} % busy"
    return told


def _held(holder: Holder) -> str:
    amount = "an unknown amount" if holder.held_bytes is None else _gb(holder.held_bytes)
    if holder.job_id is not None:
        return f"{amount} by job {holder.job_id} (process {holder.pid})"
    return f"{amount} by {holder.process or 'another program'} (process {holder.pid})"


def _span(span_s: float) -> str:
    return f"{span_s:.0f} s" if span_s < 90.0 else f"{span_s / 60.0:.0f} min"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"
