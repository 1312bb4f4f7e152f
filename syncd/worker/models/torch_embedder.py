"""A torch model as an `Embedder`: batches that shrink when memory does not suffice, and embeddings projected where
they are computed, so that little travels back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from syncd.analysis.embeddings import FrameRule, projection
from syncd.errors import ErrorCode, SyncdError
from syncd.worker.gpu import CardFailed, Memory, is_cards_fault, is_out_of_memory

Floats = NDArray[np.float32]

Forward = Callable[[torch.Tensor], torch.Tensor]
"""Windows (n, samples), float32, on the device, to frames (n, frames, dims) of any precision."""

DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class TorchEmbedder:
    """See the module."""

    def __init__(
        self,
        name: str,
        checkpoint: str,
        rule: FrameRule,
        forward: Forward,
        dims: int,
        *,
        device: str,
        dtype: str,
        batch: int,
        memory: Memory,
    ) -> None:
        self.name, self.checkpoint, self.rule = name, checkpoint, rule
        self.device, self.dtype = device_name(device), dtype
        self.take_at_once(batch)
        self._forward, self._memory, self._device = forward, memory, torch.device(device)
        is_card = self._device.type == "cuda"
        self._copies = torch.cuda.Stream(self._device) if is_card else None  # type: ignore[no-untyped-call]
        self._projection = torch.from_numpy(projection(dims)).to(self._device)
        self.dims = int(self._projection.shape[1])

    def ready(self, windows: Floats) -> torch.Tensor:
        """On the device; beside what it computes, where it is a card. Left in main memory where that is full."""
        given = torch.from_numpy(windows)
        if self._copies is None:
            return given
        try:
            with torch.cuda.stream(self._copies):
                moved = given.pin_memory().to(self._device, non_blocking=True)
            # `embed` comes back only when the card is done, so what is copied here is not freed under its hands.
            self._copies.synchronize()
        except torch.OutOfMemoryError:
            return given
        return moved

    def embed(self, windows: Floats | torch.Tensor) -> Floats:
        """Shape (n, samples) to (n, frames, dims).

        Raises `SyncdError` GPU_OUT_OF_MEMORY (on the CPU OUT_OF_MEMORY) where not even one window fits, and
        `CardFailed` after any other error of the card's.
        """
        given = torch.from_numpy(windows) if isinstance(windows, np.ndarray) else windows
        parts: list[Floats] = []
        done = 0
        while done < given.shape[0]:
            part = self._attempt(given[done : done + self.batch])
            # What was allocated for the attempt is referred to until its except block is left.
            if part is None:
                self._memory.empty()
                self._halve()
                continue
            parts.append(part)
            done += part.shape[0]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _attempt(self, windows: torch.Tensor) -> Floats | None:
        """None where memory did not suffice."""
        try:
            with torch.inference_mode():
                frames = self._forward(windows.to(self._device)).float()
                kept: Floats = (frames @ self._projection).cpu().numpy()
        except Exception as error:
            if is_out_of_memory(error):
                return None
            if is_cards_fault(error):
                raise CardFailed(f"The card {self.device} failed: {str(error).splitlines()[0]}") from error
            raise
        if not np.isfinite(kept).all():
            message = f"{self.name} gave values that are no numbers in {self.dtype}; have it computed in float32."
            raise SyncdError(ErrorCode.INTERNAL, message)
        return kept

    def take_at_once(self, windows: int) -> None:
        """One on a CPU: it fills every core; several only take more memory and keep the progress waiting."""
        self.batch = 1 if self.device == "cpu" else max(1, windows)

    def _halve(self) -> None:
        if self.batch == 1:
            is_cpu = self._device.type == "cpu"
            code = ErrorCode.OUT_OF_MEMORY if is_cpu else ErrorCode.GPU_OUT_OF_MEMORY
            raise SyncdError(code, f"Not even one window of {self.name} fits into the memory granted on {self.device}.")
        self.batch //= 2


def device_name(device: str) -> str:
    """cpu, or what the card calls itself."""
    return device if device == "cpu" else torch.cuda.get_device_name(device)


def half_precision(device: str) -> str:
    """What a card computes fastest in without losing range: bfloat16 from Ampere on, float16 on Volta and Turing."""
    major, _ = torch.cuda.get_device_capability(device)
    if major >= 8:
        return "bfloat16"
    return "float16" if major >= 7 else "float32"
