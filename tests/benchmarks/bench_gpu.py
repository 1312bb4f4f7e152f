"""What the ai stage makes of the device it runs on.

``python -m tests.benchmarks.bench_gpu [--device cpu|cuda] [--model FOLDER] [--batch N] [--windows N]``: windows a
second of the whole stage (reading, transfer, the model, projection, putting away) against the bare model's forward pass
on the same device, in the same precision and batch, turn by turn in one run; ends with 1 below nine tenths. On a card
also: batches against single windows, half precision against float32, the card against the CPU, torch.compile, and the
two sides of a programme of ``--hours`` (2): what the stage adds, and its peak against what is promised for it.
Without ``--model`` a checkpoint as large as wav2vec2-base is made: its speed does not depend on what it learnt.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from syncd.analysis.embeddings import SR_HZ, WINDOW_S, cut_windows, embed_side
from syncd.devices.model_memory import predict_vram_bytes
from syncd.domain import ModelUse
from syncd.protocol import AiOrder
from syncd.worker.model_cache import ModelCache
from syncd.worker.models.torch_embedder import TorchEmbedder, half_precision
from syncd.worker.scratch import Scratch, ScratchSound
from syncd.worker.scratch_frames import ScratchFrames

AIM = 0.9
MOST_ADDED_S = 20.0
"""To a pair of two hours on a large card: decoding then takes longer."""
PEAK_TOLERANCE = 0.1
TURNS = 3
WHOLE_CARD = 1 << 60


def base_model(folder: Path) -> Path:
    """A random checkpoint of the size of wav2vec2-base."""
    import transformers  # noqa: PLC0415 - seconds

    torch.manual_seed(1)
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config()).save_pretrained(folder)
    return folder


def order_of(model: Path, device: str, **changes: Any) -> AiOrder:
    """For the whole device."""
    plain = AiOrder(
        model="wav2vec2",
        source=str(model),
        allow_download=False,
        dtype="auto",
        batch=8,
        vram_bytes=0 if device == "cpu" else WHOLE_CARD,
        threads=2,
    )
    return msgspec.structs.replace(plain, **changes)


def taken(order: AiOrder) -> tuple[ModelCache, TorchEmbedder]:
    cache = ModelCache()
    embedder, _ = cache.take(order)
    assert isinstance(embedder, TorchEmbedder)
    return cache, embedder


def windows_a_second(embedder: Any, *, batch: int, least_s: float = 1.0) -> float:
    """Of the bare forward pass; the best of some turns."""
    return batch / best_s(bare_forward(embedder, batch), least_s)


def bare_forward(embedder: Any, batch: int) -> Callable[[], None]:
    """The model alone, over windows that are on the device already."""
    (window,) = cut_windows(round(WINDOW_S * SR_HZ), embedder.rule)
    noise = np.random.default_rng(1).standard_normal((batch, window.samples)).astype(np.float32)
    given = embedder.ready(noise)

    def forward() -> None:
        with torch.inference_mode():
            embedder._forward(given)
        if given.is_cuda:
            torch.cuda.synchronize()

    return forward


def best_s(work: Callable[[], None], least_s: float) -> float:
    """Seconds of the shortest turn, of as many as fit into `least_s`, after one to warm up."""
    work()
    took_s = []
    while not took_s or sum(took_s) < least_s:
        started_s = time.perf_counter()
        work()
        took_s.append(time.perf_counter() - started_s)
    return min(took_s)


def stage_and_bare(embedder: TorchEmbedder, windows: int, folder: Path) -> tuple[float, float]:
    """Windows a second of the stage and of the bare model, the best of some turns each."""
    with Scratch(folder) as scratch:
        sound = ScratchSound(scratch.open_file())
        rng, length = np.random.default_rng(2), embedder.rule
        while len(cut_windows(sound.samples, length)) < windows:
            sound.append((0.1 * rng.standard_normal(10 * SR_HZ)).astype(np.float32))
        count = len(cut_windows(sound.samples, length))

        def stage() -> None:
            embed_side(sound, embedder, ScratchFrames(scratch.open_file(), embedder.dims), lambda _done, _total: None)

        forward = bare_forward(embedder, embedder.batch)

        def bare() -> None:
            for _ in range(-(-count // embedder.batch)):
                forward()

        forward()
        took_s: dict[Callable[[], None], list[float]] = {bare: [], stage: []}
        for _ in range(TURNS):
            for work, seconds in took_s.items():
                started_s = time.perf_counter()
                work()
                seconds.append(time.perf_counter() - started_s)
    return count / min(took_s[stage]), count / min(took_s[bare])


def predicted_bytes(model: Path, dtype: str, *, batch: int) -> int:
    """What the daemon promises such a model before it has seen any."""
    weights_bytes = sum(file.stat().st_size for file in model.glob("*.safetensors"))
    return predict_vram_bytes(ModelUse("wav2vec2", weights_bytes, dtype, batch, WINDOW_S, ""), ())


def whole_pair(order: AiOrder, hours: float, folder: Path) -> tuple[float, int, TorchEmbedder]:
    """Seconds for both sides of a programme of noise, and the peak of the device's memory."""
    cache = ModelCache()
    embedder, memory = cache.take(order)
    assert isinstance(embedder, TorchEmbedder)
    memory.reset_peak()
    with Scratch(folder) as scratch:
        sound = ScratchSound(scratch.open_file())
        rng = np.random.default_rng(3)
        for _ in range(max(1, round(hours * 360))):
            sound.append((0.1 * rng.standard_normal(10 * SR_HZ)).astype(np.float32))
        started_s = time.perf_counter()
        for _ in ("master", "dub"):
            embed_side(sound, embedder, ScratchFrames(scratch.open_file(), embedder.dims), lambda _done, _total: None)
        seconds = time.perf_counter() - started_s
    peak_bytes = memory.peak_bytes()
    cache.drop()
    return seconds, peak_bytes, embedder


def pair_figures(device: str, model: Path, batch: int, hours: float, folder: Path) -> Iterator[tuple[str, str, bool]]:
    """The same, of both sides of a long programme."""
    dtype = "auto" if device == "cpu" else half_precision("cuda:0")
    promised = 0 if device == "cpu" else predicted_bytes(model, dtype, batch=batch)
    order = order_of(model, device, batch=batch, dtype=dtype, vram_bytes=promised)
    seconds, peak_bytes, embedder = whole_pair(order, hours, folder)
    what = f"both sides of {hours:g} hours ({embedder.device}, {embedder.dtype}, {embedder.batch} at once)"
    yield what, f"{seconds:.1f} s", device == "cpu" or seconds <= MOST_ADDED_S
    if promised:
        share = peak_bytes / promised
        told = f"{peak_bytes / 2**20:.0f} of {promised / 2**20:.0f} MiB promised ({share:.0%})"
        yield "their peak", told, abs(share - 1.0) <= PEAK_TOLERANCE


def figures(device: str, model: Path, batch: int, windows: int, folder: Path) -> Iterator[tuple[str, str, bool]]:
    """What, how much, and whether it is enough."""
    cache, embedder = taken(order_of(model, device, batch=batch))
    stage, bare = stage_and_bare(embedder, windows, folder)
    told = f"{stage:.2f} windows/s of {bare:.2f}: {stage / bare:.1%}"
    yield (
        f"stage against bare model ({embedder.device}, {embedder.dtype}, {embedder.batch} at once)",
        told,
        (stage >= AIM * bare),
    )
    cache.drop()
    if device == "cpu":
        return
    speeds = {}
    for name, order in (
        ("single", order_of(model, device, batch=1)),
        ("float32", order_of(model, device, batch=batch, dtype="float32")),
        ("cpu", order_of(model, "cpu", batch=1)),
    ):
        cache, other = taken(order)
        speeds[name] = windows_a_second(other, batch=other.batch)
        cache.drop()
    yield f"{batch} at once against single windows", f"{bare / speeds['single']:.2f} times", bare > speeds["single"]
    half = half_precision("cuda:0")
    yield f"{half} against float32", f"{bare / speeds['float32']:.2f} times", bare > speeds["float32"]
    yield "the card against the CPU", f"{bare / speeds['cpu']:.1f} times", bare > 5.0 * speeds["cpu"]
    cache, embedder = taken(order_of(model, device, batch=batch))
    embedder._forward = torch.compile(embedder._forward)
    started_s = time.perf_counter()
    compiled = windows_a_second(embedder, batch=batch)
    took_s = time.perf_counter() - started_s
    yield "torch.compile against without it", f"{compiled / bare:.2f} times, ready after {took_s:.0f} s", True
    cache.drop()


def main() -> None:
    """Print the figures; status 1 if one falls short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--model", type=Path, help="a checkpoint's folder")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--windows", type=int, help="of the stage's sound (cpu: 4, cuda: 200)")
    parser.add_argument("--hours", type=float, help="of the long programme (cpu: none, cuda: 2)")
    chosen = parser.parse_args()
    short = False
    with tempfile.TemporaryDirectory(prefix="bench-gpu-") as scratch:
        folder = Path(scratch)
        model = chosen.model or base_model(folder / "base")
        windows = chosen.windows or (4 if chosen.device == "cpu" else 200)
        hours = chosen.hours if chosen.hours is not None else (0.0 if chosen.device == "cpu" else 2.0)
        told_of = [figures(chosen.device, model, chosen.batch, windows, folder)]
        if hours > 0.0:
            told_of.append(pair_figures(chosen.device, model, chosen.batch, hours, folder))
        for name, told, holds in itertools.chain(*told_of):
            short = short or not holds
            sys.stdout.write(f"{name}: {told}{'' if holds else '  MISSED'}\n")
            sys.stdout.flush()
    sys.exit(1 if short else 0)


if __name__ == "__main__":
    main()
