"""The one model that a worker keeps: loading takes seconds, and the next job wants the same one as a rule."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Final

from syncd.heap import give_back_memory
from syncd.protocol import AiOrder
from syncd.worker.gpu import Memory, choose_device, memory_of

if TYPE_CHECKING:  # A worker starts in milliseconds: what is heavy comes with the first model.
    from syncd.analysis.embeddings import Embedder

_Key = tuple[str, str, str, str, tuple[tuple[int, int, int], ...]]

WEIGHTLESS: Final = "spectral-embedding"
"""Needs neither a card nor torch."""


class ModelCache:
    """At most one model; another one, or other files under the same name, take its place."""

    def __init__(self) -> None:
        self._key: _Key | None = None
        self._embedder: Embedder | None = None
        self._memory: Memory | None = None
        self.fallback: str | None = None
        """Why the model that is kept is not on the card that it was ordered for."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return self._embedder is None

    def take(self, order: AiOrder) -> tuple[Embedder, Memory]:
        """The model of the order, and the memory of its device, capped as ordered; raises as `registry.load` does.

        What is kept and does not fit the order is dropped before anything is loaded.
        """
        from syncd.worker.models import registry  # noqa: PLC0415 - see above

        device, fallback = ("cpu", None) if order.model == WEIGHTLESS else choose_device(order.vram_bytes)
        key = (order.model, order.source, order.dtype, device, registry.stamps(order))
        if self._embedder is None or self._memory is None or key != self._key:
            self.drop()
            self._memory = memory_of(device)
            self._memory.cap(order.vram_bytes)
            self._embedder = registry.load(order, device, self._memory)
            self._key, self.fallback = key, fallback
        elif order.model != WEIGHTLESS:
            registry.bound_threads(order.threads)
            self._memory.cap(order.vram_bytes)
            self._embedder.take_at_once(order.batch)
        return self._embedder, self._memory

    def drop(self) -> None:
        """Keep nothing, and give its memory back."""
        if self._memory is None:
            return
        self._embedder = self._key = self.fallback = None
        gc.collect()
        self._memory.empty()
        give_back_memory()

    def relieve(self) -> None:
        """Between jobs: drop what is kept where memory is scarce, and what a failure still referred to."""
        if self._memory is not None and (self.is_empty or self._memory.is_scarce()):
            self.drop()
            self._memory = None
