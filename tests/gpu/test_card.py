"""A real card: caps, peaks, batches that halve, memory that comes back, and what the card is worth."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from syncd.analysis.embeddings import FrameRule
from syncd.devices.model_memory import CONTEXT_BYTES
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.worker.gpu import DEVICE, CardMemory, choose_device
from syncd.worker.model_cache import ModelCache
from syncd.worker.models.torch_embedder import TorchEmbedder, half_precision
from tests.benchmarks.bench_gpu import base_model, predicted_bytes, windows_a_second
from tests.material.small_models import small_speech_model

GIB = 1 << 30
RULE = FrameRule(320, 400, sees_window=True)


@pytest.fixture
def card() -> Iterator[CardMemory]:
    memory = CardMemory()
    torch.cuda.empty_cache()
    memory.reset_peak()
    yield memory
    torch.cuda.set_per_process_memory_fraction(1.0, DEVICE)
    torch.cuda.empty_cache()


def order_of(source: Path, **changes: int | str) -> AiOrder:
    order = {"dtype": "auto", "batch": 8, "vram_bytes": 16 * GIB, "threads": 2, **changes}
    return AiOrder(model="wav2vec2", source=str(source), allow_download=False, **order)  # type: ignore[arg-type]


def test_what_goes_beyond_the_cap_fails_and_what_stays_below_it_works(card: CardMemory) -> None:
    card.cap(card.context_bytes() + 2 * GIB)
    with pytest.raises(torch.OutOfMemoryError):
        torch.empty(3 * GIB, dtype=torch.uint8, device=DEVICE)
    assert torch.empty(GIB, dtype=torch.uint8, device=DEVICE).numel() == GIB


def test_a_peak_counts_what_was_reserved_and_the_context(card: CardMemory) -> None:
    block = torch.empty(GIB, dtype=torch.uint8, device=DEVICE)
    del block
    assert GIB + card.context_bytes() <= card.peak_bytes() <= 2 * GIB + card.context_bytes()
    assert 50 << 20 < card.context_bytes() < 3 * CONTEXT_BYTES


class Hungry(TorchEmbedder):
    """Takes one GiB of the card for each window."""

    def __init__(self, card: CardMemory, batch: int) -> None:
        self.attempts: list[int] = []

        def forward(windows: torch.Tensor) -> torch.Tensor:
            self.attempts.append(windows.shape[0])
            room = torch.empty(windows.shape[0] * GIB, dtype=torch.uint8, device=DEVICE)
            return windows.mean(dim=1)[:, None, None].expand(-1, 10, 4) + 0.0 * room[:1].float()

        super().__init__("m", "", RULE, forward, 4, device=DEVICE, dtype="float32", batch=batch, memory=card)


def test_batches_halve_on_a_real_card_until_they_fit(card: CardMemory) -> None:
    card.cap(card.context_bytes() + 3 * GIB)
    model = Hungry(card, batch=8)
    values = np.arange(5, dtype=np.float32)
    windows = np.repeat(values[:, None], RULE.samples_for(10), axis=1)
    assert model.embed(model.ready(windows))[:, 0, 0].tolist() == values.tolist()
    assert model.attempts == [5, 4, 2, 2, 1]
    assert model.batch == 2


def test_a_card_too_small_for_one_window_is_told_by_its_code(card: CardMemory) -> None:
    card.cap(card.context_bytes() + GIB // 2)
    with pytest.raises(SyncdError) as caught:
        Hungry(card, batch=2).embed(np.zeros((2, RULE.samples_for(10)), dtype=np.float32))
    assert caught.value.code is ErrorCode.GPU_OUT_OF_MEMORY


def free_bytes() -> int:
    return int(torch.cuda.mem_get_info(DEVICE)[0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 30.0
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_killed_process_gives_its_memory_back() -> None:
    before = free_bytes()
    program = (
        "import torch, time\nroom = torch.empty(4 << 30, dtype=torch.uint8, device='cuda')\ntorch.cuda.synchronize()\n"
        "print('held', flush=True)\ntime.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        assert before - free_bytes() > 4 * GIB
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: before - free_bytes() < GIB // 4)
    finally:
        process.kill()
        process.communicate()


NEIGHBOUR = """
import sys
from pathlib import Path
import numpy as np
from syncd.worker.model_cache import ModelCache
from tests.gpu.test_card import order_of
source, vram_bytes, batch = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
embedder, memory = ModelCache().take(order_of(source, vram_bytes=vram_bytes, batch=batch))
print("ready", flush=True)
sys.stdin.readline()
for _ in range(20):
    embedder.embed(np.zeros((batch, 480_000), dtype=np.float32))
print(memory.peak_bytes(), embedder.batch, flush=True)
"""


def test_two_workers_share_a_card_and_neither_outgrows_its_promise(base: Path) -> None:
    promised = predicted_bytes(base, half_precision(DEVICE), batch=4)
    command = [sys.executable, "-c", NEIGHBOUR, str(base), str(promised), "4"]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path.cwd())
        for _ in range(2)
    ]
    try:
        for worker in both:
            assert worker.stdout is not None
            assert worker.stdout.readline() == "ready\n"
        told = [worker.communicate("go\n", timeout=120.0)[0] for worker in both]
    finally:
        for worker in both:
            worker.kill()
            worker.communicate()
    assert [worker.returncode for worker in both] == [0, 0]
    for words in told:
        peak_bytes, batch = map(int, words.split())
        assert peak_bytes <= promised
        assert batch == 4


@pytest.mark.usefixtures("card")
def test_a_dropped_model_gives_its_memory_back(tmp_path: Path) -> None:
    held = torch.cuda.memory_reserved(DEVICE)
    cache = ModelCache()
    embedder, _ = cache.take(order_of(small_speech_model(tmp_path / "w2v")))
    embedder.embed(np.zeros((8, 480_000), dtype=np.float32))
    assert torch.cuda.memory_reserved(DEVICE) > held
    del embedder
    cache.drop()
    assert torch.cuda.memory_reserved(DEVICE) == held


@pytest.mark.usefixtures("card")
def test_after_too_little_memory_nothing_is_kept(base: Path) -> None:
    held, cache = torch.cuda.memory_reserved(DEVICE), ModelCache()
    order = order_of(base, vram_bytes=CONTEXT_BYTES + GIB // 4, batch=4)
    with pytest.raises(SyncdError) as caught:
        cache.take(order)[0].embed(np.zeros((4, 480_000), dtype=np.float32))
    assert caught.value.code is ErrorCode.GPU_OUT_OF_MEMORY
    del caught
    cache.drop()
    cache.relieve()
    assert torch.cuda.memory_reserved(DEVICE) == held


def test_a_grant_of_the_card_is_taken_and_named(tmp_path: Path) -> None:
    assert choose_device(GIB) == (DEVICE, None)
    embedder, _ = ModelCache().take(order_of(small_speech_model(tmp_path / "w2v")))
    assert (embedder.device, embedder.dtype) == (torch.cuda.get_device_name(DEVICE), half_precision(DEVICE))


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint as large as wav2vec2-base: what it hears is of no account here."""
    return base_model(tmp_path_factory.mktemp("base"))


def test_half_precision_says_the_same_and_is_faster(base: Path) -> None:
    windows = np.random.default_rng(1).standard_normal((4, 480_000)).astype(np.float32)
    heard, speed = {}, {}
    for dtype in ("float32", half_precision(DEVICE)):
        cache = ModelCache()
        embedder, _ = cache.take(order_of(base, dtype=dtype, batch=4))
        heard[dtype], speed[dtype] = embedder.embed(windows), windows_a_second(embedder, batch=4)
        cache.drop()
    exact, halved = (values.reshape(-1, values.shape[2]) for values in heard.values())
    exact, halved = exact - exact.mean(axis=0), halved - halved.mean(axis=0)
    cosine = np.sum(exact * halved, axis=1) / (np.linalg.norm(exact, axis=1) * np.linalg.norm(halved, axis=1))
    assert float(np.median(cosine)) > 0.99
    assert speed[half_precision(DEVICE)] > 1.2 * speed["float32"]


def test_the_card_is_worth_it_and_so_are_batches(base: Path) -> None:
    speeds = {}
    for name, changes in (("cpu", {"vram_bytes": 0, "batch": 1}), ("one", {"batch": 1}), ("eight", {"batch": 8})):
        cache = ModelCache()
        embedder, _ = cache.take(order_of(base, **changes))
        speeds[name] = windows_a_second(embedder, batch=embedder.batch, least_s=2.0)
        cache.drop()
    assert speeds["eight"] > 5.0 * speeds["cpu"]
    assert speeds["eight"] > 1.1 * speeds["one"]


def test_compiled_the_model_says_the_same_which_is_what_makes_its_gain_worth_measuring(base: Path) -> None:
    """How much it gains `make bench-gpu` tells; syncd does not compile, for it has not been seen to win."""
    embedder, _ = ModelCache().take(order_of(base, batch=4))
    assert isinstance(embedder, TorchEmbedder)
    windows = np.random.default_rng(1).standard_normal((4, 480_000)).astype(np.float32)
    plain = embedder.embed(windows)
    embedder._forward = torch.compile(embedder._forward)
    compiled = embedder.embed(windows)
    cosine = np.sum(plain * compiled, axis=2) / (np.linalg.norm(plain, axis=2) * np.linalg.norm(compiled, axis=2))
    assert float(np.median(cosine)) > 0.99
