"""The real worker on a card of the stand-in world, with a model that takes that card's memory and has no weights.

Batches, halving, caps and peaks are the worker's own; only where torch would ask CUDA for memory, this asks the world.
``python -m tests.standin.worker READ_FD WRITE_FD DEVICE``. A file ``hang.N`` in ``$STANDIN_ORDERS`` holds the next
model that has heard N windows of a job.
"""

from __future__ import annotations

import ctypes
import os
import time
import weakref
from pathlib import Path
from typing import Final

import torch

from syncd.analysis.embeddings import Embedder, FrameRule
from syncd.devices.model_memory import BYTES_A_WINDOW_SECOND, CONTEXT_BYTES, WORKSPACE_BYTES
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.worker import __main__ as worker
from syncd.worker import gpu, model_cache
from syncd.worker.models import registry
from syncd.worker.models.torch_embedder import TorchEmbedder
from tests.standin.world import LIBRARY, OUT_OF_MEMORY, allocate

ORDERS: Final = "STANDIN_ORDERS"
APPETITE: Final = "STANDIN_APPETITE"
"""How many times as much as the prior the model takes."""
WIDTH: Final = {"float32": 4, "float16": 2, "bfloat16": 2}
HOP_SAMPLES: Final = 320
N_FFT: Final = 512
REAL_LOADER: Final = registry._loader


class StandInMemory:
    """The one card that this process sees."""

    def __init__(self) -> None:
        self.uuid = os.environ["CUDA_VISIBLE_DEVICES"]
        self.heard = 0
        """Windows of this job."""
        self._cap_bytes = 0
        self._held_bytes = 0
        self._peak_bytes = 0

    def take(self, size_bytes: int) -> None:
        """As torch's allocator: within the cap and what the card has, or OutOfMemoryError."""
        if self._held_bytes + size_bytes > self._cap_bytes:
            raise torch.OutOfMemoryError(f"{size_bytes >> 20} MiB are more than was granted")
        match allocate(self.uuid, size_bytes):
            case 0:
                pass
            case number if number == OUT_OF_MEMORY:
                raise torch.OutOfMemoryError(f"{size_bytes >> 20} MiB are not there")
            case number:
                raise RuntimeError(f"CUDA error: {number}")
        self._held_bytes += size_bytes
        self._peak_bytes = max(self._peak_bytes, self._held_bytes)

    def give(self, size_bytes: int) -> None:
        """Give so much back."""
        freeing = ctypes.CDLL(LIBRARY).standin_free
        freeing.argtypes = [ctypes.c_char_p, ctypes.c_ulonglong]
        freeing(self.uuid.encode(), size_bytes)
        self._held_bytes -= size_bytes

    def cap(self, vram_bytes: int) -> None:
        """From now on no more."""
        self._cap_bytes = vram_bytes

    def reset_peak(self) -> None:
        """Count anew: a job begins."""
        self.heard = 0
        self._peak_bytes = self._held_bytes

    def peak_bytes(self) -> int:
        """The most since."""
        return self._peak_bytes

    def empty(self) -> None:
        """Blocks are given back as soon as they are free."""

    def is_scarce(self) -> bool:
        """Never: the supervisor lets idle workers go."""
        return False


class Hungry(TorchEmbedder):
    """Spectra as embeddings, for the memory of a real model."""

    def __init__(self, order: AiOrder, memory: StandInMemory) -> None:
        appetite = float(os.environ.get(APPETITE, "0.7"))
        width = WIDTH[order.dtype] / 4
        weights_bytes = int(appetite * WORKSPACE_BYTES * width)
        memory.take(CONTEXT_BYTES)
        memory.take(weights_bytes)
        weakref.finalize(self, memory.give, CONTEXT_BYTES + weights_bytes)
        window_bytes = int(appetite * BYTES_A_WINDOW_SECOND[order.model] * 30.0 * width)
        rule = FrameRule(HOP_SAMPLES, N_FFT, sees_window=True)
        super().__init__(
            order.model,
            "stand-in",
            rule,
            lambda windows: self._spectra(windows, memory, window_bytes),
            N_FFT // 2 + 1,
            device="cpu",
            dtype=order.dtype,
            batch=1,
            memory=memory,
        )
        self.device = memory.uuid
        self.take_at_once(order.batch)

    def _spectra(self, windows: torch.Tensor, memory: StandInMemory, window_bytes: int) -> torch.Tensor:
        memory.take(window_bytes * windows.shape[0])
        try:
            hold_if_told(memory.heard)
            memory.heard += int(windows.shape[0])
            frames = windows.unfold(1, N_FFT, HOP_SAMPLES) * torch.hann_window(N_FFT)
            return torch.log(torch.fft.rfft(frames).abs() + 1e-4)
        finally:
            memory.give(window_bytes * windows.shape[0])

    def _halve(self) -> None:
        if self.batch == 1:
            raise SyncdError(ErrorCode.GPU_OUT_OF_MEMORY, "Not even one window fits into the memory granted.")
        self.batch //= 2


def hold_if_told(heard: int) -> None:
    """Stand still for ever, if that was asked for; whoever asked is told by the file's being gone."""
    for order in Path(os.environ[ORDERS]).glob("hang.*"):
        if heard >= int(order.suffix[1:]):
            order.unlink(missing_ok=True)
            while True:
                time.sleep(3600.0)


def load(order: AiOrder, device: str, memory: gpu.Memory) -> Embedder:
    """Any model that a card is of use to."""
    return (
        Hungry(order, memory) if isinstance(memory, StandInMemory) else REAL_LOADER(order.model)(order, device, memory)
    )


def main() -> None:
    """Put the world under the worker where it has a card, and let it work."""
    if os.environ["CUDA_VISIBLE_DEVICES"]:
        memory = StandInMemory()
        model_cache.choose_device = lambda vram_bytes: (memory.uuid if vram_bytes else "cpu", None)
        model_cache.memory_of = lambda device: gpu.MainMemory() if device == "cpu" else memory
        registry._loader = lambda _model: load
    worker.main()


if __name__ == "__main__":
    main()
