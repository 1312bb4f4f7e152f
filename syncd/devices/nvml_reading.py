"""One card's reading, asked of the driver through NVML; only `nvml_child` loads this."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec
import pynvml

from syncd.devices.readings import GpuProcess, GpuReading, Sharing

T = TypeVar("T")
Handle = Any
"""What pynvml gives: a pointer that says nothing."""

_SHARING: Final = {
    pynvml.NVML_COMPUTEMODE_PROHIBITED: Sharing.NOBODY,
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_THREAD: Sharing.ONE_PROCESS,
    pynvml.NVML_COMPUTEMODE_EXCLUSIVE_PROCESS: Sharing.ONE_PROCESS,
}


def read_card(handle: Handle, index: int) -> tuple[GpuReading, ...]:
    """The card, or each of its slices where MIG is on; raises `pynvml.NVMLError`."""
    card = _read(handle, index)
    mode = _told(lambda: pynvml.nvmlDeviceGetMigMode(handle))
    if mode is None or mode[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
        return (card,)
    slices = tuple(_read_slice(part, card) for part in _slices(handle))
    return slices or (msgspec.structs.replace(card, trouble="MIG is on, and it is not cut into slices"),)


def _read(handle: Handle, index: int) -> GpuReading:
    total_bytes, free_bytes = _memory(handle)
    rates = _told(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle))
    mode = _told(lambda: pynvml.nvmlDeviceGetComputeMode(handle))
    return GpuReading(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        processes=_processes(handle),
        utilization_percent=None if rates is None else int(rates.gpu),
        compute_capability=_told(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle)),
        sharing=_SHARING.get(mode, Sharing.ANYBODY),
        ecc_errors=_told(lambda: _uncorrected(handle)),
    )


def _read_slice(handle: Handle, card: GpuReading) -> GpuReading:
    """A slice has memory and processes of its own, and shares the rest with its card."""
    total_bytes, free_bytes = _memory(handle)
    return GpuReading(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        index=card.index,
        name=pynvml.nvmlDeviceGetName(handle),
        total_bytes=total_bytes,
        free_bytes=free_bytes,
        processes=_processes(handle),
        compute_capability=card.compute_capability,
        sharing=card.sharing,
        ecc_errors=card.ecc_errors,
    )


def _slices(handle: Handle) -> list[Handle]:
    found = []
    for number in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
        try:
            found.append(pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, number))
        except pynvml.NVMLError_NotFound:
            continue  # Places may be empty between two slices.
    return found


def _memory(handle: Handle) -> tuple[int, int]:
    """What can be had at all, and what of it is free."""
    memory = _told(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    if memory is not None:
        return int(memory.total - memory.reserved), int(memory.free)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return int(memory.total), int(memory.free)


def _processes(handle: Handle) -> tuple[GpuProcess, ...]:
    listed = _told(lambda: pynvml.nvmlDeviceGetComputeRunningProcesses(handle)) or ()
    return tuple(GpuProcess(int(one.pid), one.usedGpuMemory) for one in listed)


def _uncorrected(handle: Handle) -> int:
    kind, since = pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
    return int(pynvml.nvmlDeviceGetTotalEccErrors(handle, kind, since))


def _told(question: Callable[[], T]) -> T | None:
    """The answer; None where this card or driver has none.

    What nobody can do without (memory, UUID, name) is asked plainly: that raises where the card is at fault.
    """
    try:
        return question()
    except pynvml.NVMLError:
        return None
