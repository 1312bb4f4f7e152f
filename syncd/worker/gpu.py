"""The card, as thinly as possible: a cap, a peak, giving memory back, and which errors end the process.

What a process holds on a card is what torch's allocator has reserved and the context beside it (kernels, libraries),
which torch does not count. NVML tells of the context where it knows this process's number, which it does not inside a
container with process numbers of its own; then `CONTEXT_BYTES` stands for it.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
from typing import Final, Protocol

from syncd.devices.model_memory import CONTEXT_BYTES

LEAST_FREE_SHARE: Final = 0.1
"""Of a memory: with less free than this a model is not kept for later."""
DEVICE: Final = "cuda:0"
"""A worker sees one card: the supervisor names it in CUDA_VISIBLE_DEVICES."""


class CardFailed(BaseException):
    """The card or its context is of no further use to this process, which must end; no handler may swallow it."""


class Memory(Protocol):
    """The memory of a device, as far as models need it."""

    def cap(self, vram_bytes: int) -> None:
        """From now on this process holds no more, the context included."""

    def reset_peak(self) -> None:
        """Count anew from here."""

    def peak_bytes(self) -> int:
        """The most that was held since, the context included; 0 on the CPU."""

    def empty(self) -> None:
        """Give back what is kept for later."""

    def is_scarce(self) -> bool:
        """Whether others may soon need what this process keeps."""


class MainMemory:
    """The CPU's: the supervisor caps and measures it from outside."""

    def cap(self, vram_bytes: int) -> None:
        """Nothing to do."""

    def reset_peak(self) -> None:
        """Nothing to do."""

    def peak_bytes(self) -> int:
        """None of a card's."""
        return 0

    def empty(self) -> None:
        """Nothing to do: `give_back_memory` follows."""

    def is_scarce(self) -> bool:
        """Whether less than a tenth is available."""
        import psutil  # noqa: PLC0415 - of no use to workers without models

        memory = psutil.virtual_memory()
        return memory.available < LEAST_FREE_SHARE * memory.total


class CardMemory:
    """The memory of the one card that this process sees."""

    def __init__(self) -> None:
        import torch  # noqa: PLC0415 - seconds, and only for models

        self._cuda = torch.cuda
        self._total_bytes = int(torch.cuda.get_device_properties(DEVICE).total_memory)

    def cap(self, vram_bytes: int) -> None:
        """Beyond it torch raises OutOfMemoryError in this process, and nobody else is harmed."""
        # The context is small at first and grows as kernels are loaded.
        context_bytes = max(CONTEXT_BYTES, self.context_bytes())
        share = max(1, vram_bytes - context_bytes) / self._total_bytes
        self._cuda.set_per_process_memory_fraction(min(1.0, share), DEVICE)

    def reset_peak(self) -> None:
        """Count anew from what is held now."""
        self._cuda.reset_peak_memory_stats(DEVICE)

    def peak_bytes(self) -> int:
        """What the allocator reserved at most, and the context."""
        return int(self._cuda.max_memory_reserved(DEVICE)) + self.context_bytes()

    def empty(self) -> None:
        """Give the allocator's spare blocks back to the card."""
        self._cuda.empty_cache()

    def is_scarce(self) -> bool:
        """Whether less than a tenth of the card is free."""
        free_bytes, total_bytes = self._cuda.mem_get_info(DEVICE)
        return bool(free_bytes < LEAST_FREE_SHARE * total_bytes)

    def context_bytes(self) -> int:
        """What the driver counts for this process beyond the allocator's, or `CONTEXT_BYTES`."""
        held_bytes = _held_bytes(str(self._cuda.get_device_properties(DEVICE).uuid))
        beyond = 0 if held_bytes is None else held_bytes - int(self._cuda.memory_reserved(DEVICE))
        return beyond if beyond > 0 else CONTEXT_BYTES


def memory_of(device: str) -> Memory:
    """The memory of cpu or of the card."""
    return MainMemory() if device == "cpu" else CardMemory()


def choose_device(vram_bytes: int) -> tuple[str, str | None]:
    """Where to compute with so much of a card granted; and why not there, where the card cannot be had."""
    if vram_bytes <= 0 or importlib.util.find_spec("torch") is None:
        return "cpu", None
    # Blocks that grow: a job whose windows change in number does not fragment the card.
    os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    import torch  # noqa: PLC0415 - seconds, and only for models

    if torch.cuda.is_available():
        return DEVICE, None
    return "cpu", "no CUDA card could be used, so the model ran on the CPU"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch may help."""
    import torch  # noqa: PLC0415 - it has been loaded: it raised

    text = str(error)
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and ("ALLOC_FAILED" in text or "can't allocate memory" in text)
    )


def is_cards_fault(error: BaseException) -> bool:
    """Whether the context is lost: after any CUDA error but out of memory nothing that it says can be relied on."""
    import torch  # noqa: PLC0415 - it has been loaded: it raised

    if isinstance(error, torch.AcceleratorError):
        return True
    marks = ("CUDA error", "CUDA driver", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "cuBLAS")
    return isinstance(error, RuntimeError) and any(mark in str(error) for mark in marks)


def _held_bytes(uuid: str) -> int | None:
    """By this process on the card, as NVML sees it; None where it does not tell."""
    with contextlib.suppress(Exception):  # whatever the driver's library says, there is a figure to go by
        import pynvml  # noqa: PLC0415 - only where there is a card

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}")
        for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle):
            if process.pid == os.getpid() and process.usedGpuMemory:
                return int(process.usedGpuMemory)
    return None
