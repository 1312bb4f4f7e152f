"""Which model a job gets: what its profile asks for, and what of that there is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from syncd.config import AiSection
from syncd.devices.inventory import usable_cores
from syncd.protocol import AiOrder

WINDOW_S: Final = 30.0
"""As the worker cuts them."""
STEP_S: Final = 20.0
"""From one to the next: a sixth is dropped at either edge."""
MANY_WINDOWS: Final = 1 << 20
HUB_BYTES: Final = 400 << 20
"""Of weights that are not on this disk: those of a base model."""
WEIGHTLESS: Final = "spectral-embedding"


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A model and where its weights are."""

    model: str
    source: str = ""
    weights_bytes: int = 0

    @property
    def uses_card(self) -> bool:
        """Whether a card makes it faster."""
        return self.model != WEIGHTLESS

    def dtype_on(self, cards_dtype: str) -> str:
        """What it computes in on cards that are fastest in `cards_dtype`: YAMNet is small, and computes in single."""
        return "float32" if self.model == "yamnet" else cards_dtype


def choose_model(ai: str, section: AiSection) -> ModelChoice | None:
    """The model of a profile; «auto» is the best one that is there. None: off.

    A model that is asked for by name is chosen even if it is not there: the report then says what is missing.
    """
    if ai == "off":
        return None
    found = {
        "wav2vec2": ModelChoice("wav2vec2", section.wav2vec2, _weights_bytes(Path(section.wav2vec2))),
        "yamnet": ModelChoice("yamnet", str(section.yamnet), _weights_bytes(section.yamnet)),
        WEIGHTLESS: ModelChoice(WEIGHTLESS),
    }
    if ai == "auto":
        return next(choice for choice in found.values() if choice.weights_bytes or choice.model == WEIGHTLESS)
    choice = found[ai]
    if choice.model == "wav2vec2" and not choice.weights_bytes:
        return ModelChoice(choice.model, choice.source, HUB_BYTES)
    return choice


def order_for_cpu(ai: str, section: AiSection) -> AiOrder | None:
    """What a worker is told that has all of the CPU for itself; None: no model is asked."""
    choice = choose_model(ai, section)
    if choice is None:
        return None
    cores = usable_cores()
    return AiOrder(choice.model, choice.source, section.allow_download, "auto", batch=1, vram_bytes=0, threads=cores)


def windows_of(duration_s: float | None) -> int:
    """How many windows a side of this length is cut into; many where nobody knows."""
    if duration_s is None:
        return MANY_WINDOWS
    return 1 + max(0, math.ceil((duration_s - WINDOW_S) / STEP_S))


def _weights_bytes(path: Path) -> int:
    """Of the weights at a path, a folder or a file; 0: there are none."""
    try:
        files = [path] if path.is_file() else list(path.glob("*.safetensors"))
        return sum(file.stat().st_size for file in files)
    except OSError:
        return 0
