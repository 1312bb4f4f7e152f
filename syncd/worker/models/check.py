"""``python -m syncd.worker.models.check MODEL SOURCE ALLOW_DOWNLOAD DEVICE``: load a model and let it hear.

One JSON object on standard output: what it is and how fast, or the error's code and message. DEVICE is cpu or cuda.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Final

import numpy as np

from syncd.analysis.embeddings import SR_HZ, WINDOW_S, cut_windows
from syncd.errors import SyncdError
from syncd.protocol import AiOrder
from syncd.worker.model_cache import ModelCache

BATCH: Final = 4
WHOLE_CARD: Final = 1 << 60


def examine(model: str, source: str, *, allow_download: bool, device: str) -> dict[str, Any]:
    """What the model is and how fast it hears; raises `SyncdError`."""
    threads = len(os.sched_getaffinity(0))
    vram_bytes = 0 if device == "cpu" else WHOLE_CARD
    order = AiOrder(model, source, allow_download, "auto", BATCH, vram_bytes, threads)
    started_s = time.monotonic()
    embedder, _ = ModelCache().take(order)
    loaded_s = time.monotonic() - started_s
    (window,) = cut_windows(round(WINDOW_S * SR_HZ), embedder.rule)
    noise = np.random.default_rng(1).standard_normal((embedder.batch, window.samples)).astype(np.float32)
    embedder.embed(noise[:1])
    started_s = time.monotonic()
    frames = embedder.embed(noise)
    took_s = time.monotonic() - started_s
    return {
        "checkpoint": embedder.checkpoint,
        "dimensions": int(frames.shape[2]),
        "hop_seconds": embedder.rule.hop_samples / SR_HZ,
        "device": embedder.device,
        "dtype": embedder.dtype,
        "load_seconds": round(loaded_s, 3),
        "seconds_a_second": round(took_s / (noise.size / SR_HZ), 6),
    }


def main() -> None:
    """Answer in any case; status 1 with an error."""
    model, source, allow_download, device = sys.argv[1:5]
    try:
        answer = examine(model, source, allow_download=allow_download == "yes", device=device)
    except SyncdError as error:
        answer = {"error": {"code": error.code.value, "message": error.message}}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.exit(1 if "error" in answer else 0)


if __name__ == "__main__":
    main()
