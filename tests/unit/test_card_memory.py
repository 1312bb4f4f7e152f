"""When a card's memory does not suffice: batches halve, and memory is given back before the next attempt."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch

from syncd.analysis.embeddings import FrameRule
from syncd.errors import ErrorCode, SyncdError
from syncd.worker.gpu import CardFailed, choose_device, is_cards_fault, is_out_of_memory
from syncd.worker.models.torch_embedder import TorchEmbedder
from tests.unit.in_memory import Floats

RULE = FrameRule(320, 400, sees_window=True)
WINDOW = np.ones((1, RULE.samples_for(10)), dtype=np.float32)


class Block:
    """Memory that somebody refers to."""


class SimulatedCard:
    """A `Memory` in which so many windows fit at once; it counts what nobody has let go of."""

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.capped_at: int | None = None
        self.emptied_while_held: list[int] = []
        self._blocks: weakref.WeakSet[Block] = weakref.WeakSet()

    def allocate(self, windows: int) -> Block:
        block = Block()
        self._blocks.add(block)
        if windows > self.windows:
            raise torch.OutOfMemoryError(f"CUDA out of memory: {windows} windows wanted, {self.windows} fit")
        return block

    def cap(self, vram_bytes: int) -> None:
        self.capped_at = vram_bytes

    def reset_peak(self) -> None: ...

    def peak_bytes(self) -> int:
        return 0

    def empty(self) -> None:
        self.emptied_while_held.append(len(self._blocks))

    def is_scarce(self) -> bool:
        return False


class OnCard(TorchEmbedder):
    """Sees each window's mean, on the simulated card; keeps its tensors in main memory."""

    def __init__(self, card: SimulatedCard, batch: int) -> None:
        self.attempts: list[int] = []

        def forward(windows: torch.Tensor) -> torch.Tensor:
            self.attempts.append(windows.shape[0])
            block = card.allocate(windows.shape[0])
            frames = windows.mean(dim=1)[:, None, None].expand(-1, 10, 4)
            del block
            return frames

        super().__init__("m", "", RULE, forward, 4, device="cpu", dtype="float32", batch=batch, memory=card)
        self.batch = batch


def windows_of(values: list[float]) -> Floats:
    heights = np.array(values, dtype=np.float32)[:, None]
    return np.asarray(WINDOW * heights)


def test_a_batch_that_does_not_fit_is_halved_until_it_does_and_nothing_is_lost() -> None:
    card = SimulatedCard(windows=3)
    model = OnCard(card, batch=8)
    values = [float(i) for i in range(11)]
    frames = model.embed(windows_of(values))
    assert frames[:, 0, 0].tolist() == values
    assert model.attempts == [8, 4, 2, 2, 2, 2, 2, 1]
    assert model.batch == 2


def test_nothing_is_held_any_more_when_the_cache_is_emptied() -> None:
    card = SimulatedCard(windows=1)
    gc.disable()  # What only the collector would free does not count.
    try:
        OnCard(card, batch=4).embed(windows_of([1.0, 2.0]))
    finally:
        gc.enable()
    assert card.emptied_while_held == [0, 0]


def test_a_window_that_does_not_fit_by_itself_is_told_by_its_code() -> None:
    model = OnCard(SimulatedCard(windows=0), batch=4)
    with pytest.raises(SyncdError) as caught:
        model.embed(windows_of([1.0]))
    assert caught.value.code is ErrorCode.OUT_OF_MEMORY, "its tensors are the CPU's"
    assert "Not even one window" in caught.value.message


def test_any_other_error_of_the_cards_ends_the_process() -> None:
    def broken(_windows: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore")

    card = SimulatedCard(windows=9)
    model = TorchEmbedder("m", "", RULE, broken, 4, device="cpu", dtype="float32", batch=1, memory=card)
    with pytest.raises(CardFailed, match=r"illegal memory access was encountered$"):
        model.embed(WINDOW)
    assert not isinstance(CardFailed(), Exception), "nothing that catches exceptions may swallow it"


def test_values_that_are_no_numbers_are_not_handed_on() -> None:
    def overflowing(windows: torch.Tensor) -> torch.Tensor:
        return torch.full((windows.shape[0], 10, 4), torch.inf)

    card = SimulatedCard(windows=9)
    model = TorchEmbedder("m", "", RULE, overflowing, 4, device="cpu", dtype="float16", batch=1, memory=card)
    with pytest.raises(SyncdError, match="no numbers in float16"):
        model.embed(WINDOW)


@pytest.mark.parametrize(
    ("error", "is_memory", "is_fault"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), True, False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True, True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"), True, False),
        (MemoryError(), True, False),
        (torch.AcceleratorError("CUDA error: unspecified launch failure"), False, True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"), False, True),
        (RuntimeError("shape '[2]' is invalid for input of size 3"), False, False),
        (ValueError("CUDA error"), False, False),
    ],
)
def test_errors_are_told_apart(error: Exception, *, is_memory: bool, is_fault: bool) -> None:
    assert is_out_of_memory(error) is is_memory
    assert is_cards_fault(error) is is_fault


def test_without_a_grant_of_a_card_the_cpu_computes() -> None:
    assert choose_device(0) == ("cpu", None)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card here")
def test_a_card_that_cannot_be_had_is_given_up_and_the_reason_told() -> None:
    device, why = choose_device(1 << 30)
    assert device == "cpu"
    assert why is not None
    assert "no CUDA card" in why
