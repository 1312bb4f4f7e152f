"""Which model an order means, and the one place where it is loaded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from syncd.analysis.embeddings import Embedder
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.worker.gpu import CardFailed, Memory, is_cards_fault, is_out_of_memory
from syncd.worker.model_cache import WEIGHTLESS
from syncd.worker.models.files import is_hub_name, speech_model_files, unavailable, yamnet_files

KINDS: Final = ("wav2vec2", "yamnet", WEIGHTLESS)


def load(order: AiOrder, device: str, memory: Memory) -> Embedder:
    """The model, ready on the device.

    Raises `SyncdError` MODEL_UNAVAILABLE, or GPU_OUT_OF_MEMORY (on the CPU OUT_OF_MEMORY) where its weights do not
    fit, and `CardFailed`.
    """
    if order.model == WEIGHTLESS:
        from syncd.worker.models.spectral import SpectralEmbedder  # noqa: PLC0415 - only what is ordered is loaded

        return SpectralEmbedder(batch=max(1, order.batch))
    try:
        loader = _loader(order.model)
        bound_threads(order.threads)
        return loader(order, device, memory)
    except ImportError as error:
        message = f"The package {error.name} is not installed, which {order.model} needs: 'pip install syncd[ai]'."
        raise unavailable(message) from error
    except SyncdError:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            code = ErrorCode.OUT_OF_MEMORY if device == "cpu" else ErrorCode.GPU_OUT_OF_MEMORY
            raise SyncdError(code, f"The weights of {order.model} do not fit into the memory granted.") from error
        if is_cards_fault(error):
            raise CardFailed(f"The card failed while {order.model} was loaded: {error}") from error
        raise


def bound_threads(threads: int) -> None:
    """From now on torch uses no more of the CPU's."""
    import torch  # noqa: PLC0415 - seconds, and only for models that need it

    torch.set_num_threads(max(1, threads))


def stamps(order: AiOrder) -> tuple[tuple[int, int, int], ...]:
    """What changes when the model's files are replaced; empty where they are not (or not yet) on disk."""
    try:
        if order.model == "wav2vec2" and not is_hub_name(order.source):
            return speech_model_files(Path(order.source)).stamps()
        if order.model == "yamnet":
            return yamnet_files(Path(order.source)).stamps()
    except SyncdError:
        return ()
    return ()


def _loader(model: str) -> Callable[[AiOrder, str, Memory], Embedder]:
    if model == "wav2vec2":
        from syncd.worker.models import wav2vec2  # noqa: PLC0415 - seconds, and only where it is ordered

        return wav2vec2.load
    if model == "yamnet":
        from syncd.worker.models import yamnet  # noqa: PLC0415 - seconds, and only where it is ordered

        return yamnet.load
    raise unavailable(f"There is no model {model!r}; the models are {', '.join(KINDS)}.")
