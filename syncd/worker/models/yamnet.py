"""YAMNet: MobileNet v1 on 0.96 s of log-mel, as published with AudioSet (521 classes, 1024-dimensional embeddings).

Its front end is TensorFlow's and not librosa's: frames of 25 ms every 10 ms without centring, magnitudes, a mel scale
after HTK with triangles that are straight in mel and not normalised, log(x + 0.001). Convolutions are padded as
TensorFlow does («same»: where one side gets more, it is the end). `convert` turns the published Keras weights into
safetensors under the names of `WEIGHTS`; batch normalisation has no scale, its epsilon is 1e-4.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from syncd.analysis.embeddings import SR_HZ, FrameRule
from syncd.protocol import AiOrder
from syncd.worker.gpu import Memory, is_cards_fault, is_out_of_memory
from syncd.worker.models.files import data_sha256, read_header, unavailable, yamnet_files
from syncd.worker.models.torch_embedder import TorchEmbedder

NAME: Final = "yamnet"
FRAME_SAMPLES: Final = 400
FRAME_HOP: Final = 160
N_FFT: Final = 512
BANDS: Final = 64
BAND_EDGES_HZ: Final = (125.0, 7_500.0)
LOG_OFFSET: Final = 0.001
PATCH_FRAMES: Final = 96
PATCH_HOP_FRAMES: Final = 48
EPSILON: Final = 1e-4
DIMS: Final = 1_024
CLASSES: Final = 521
LAYERS: Final = (
    # channels out, stride; the first is a plain convolution, the others depthwise and pointwise
    (32, 2),
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
RULE: Final = FrameRule(PATCH_HOP_FRAMES * FRAME_HOP, FRAME_SAMPLES + (PATCH_FRAMES - 1) * FRAME_HOP, sees_window=False)


def load(order: AiOrder, device: str, memory: Memory) -> TorchEmbedder:
    """The converted weights at the order's source; raises `SyncdError` MODEL_UNAVAILABLE and what memory raises."""
    files = yamnet_files(Path(order.source))
    metadata, _ = read_header(files.path)
    checksum = metadata.get("data_sha256", "")
    if checksum != data_sha256(files.path):
        raise unavailable(f"{files.path} is damaged: its checksum is not the one that it was made with; copy it again.")
    try:
        model = built(files.path).to(device)
    except Exception as error:
        if is_out_of_memory(error) or is_cards_fault(error):
            raise
        raise unavailable(f"{files.path} holds other weights than YAMNet's; convert them again.") from error
    name = f"{files.path.stem} {checksum[:12]}"
    return TorchEmbedder(
        NAME, name, RULE, model.embed, DIMS, device=device, dtype="float32", batch=order.batch, memory=memory
    )


def built(path: Path) -> Yamnet:
    """The network with these weights; raises what safetensors and torch raise."""
    from safetensors.torch import load_file  # noqa: PLC0415 - only for this model

    model = Yamnet()
    model.load_state_dict(load_file(path))
    return model.eval().requires_grad_(requires_grad=False)


class Yamnet(nn.Module):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1 = _Unit(1, *LAYERS[0], groups=1)
        channels = LAYERS[0][0]
        for number, (out, stride) in enumerate(LAYERS[1:], 2):
            self.add_module(f"layer{number}", _Separable(channels, out, stride))
            channels = out
        self.classifier = nn.Linear(DIMS, CLASSES)
        self.register_buffer("hann", torch.hann_window(FRAME_SAMPLES, periodic=True), persistent=False)
        self.register_buffer("mel", torch.from_numpy(mel_matrix()), persistent=False)

    def embed(self, windows: torch.Tensor) -> torch.Tensor:
        """Sound (n, samples) to embeddings (n, patches, 1024)."""
        patches = self.patches(self.log_mel(windows))
        count, each = patches.shape[:2]
        return self.embeddings(patches.flatten(0, 1)).reshape(count, each, DIMS)

    def log_mel(self, windows: torch.Tensor) -> torch.Tensor:
        """Sound (n, samples) to levels (n, frames, 64)."""
        frames = windows.unfold(1, FRAME_SAMPLES, FRAME_HOP) * self.get_buffer("hann")
        magnitudes = torch.fft.rfft(frames, N_FFT).abs()
        return torch.log(magnitudes @ self.get_buffer("mel") + LOG_OFFSET)

    def patches(self, levels: torch.Tensor) -> torch.Tensor:
        """Levels (n, frames, 64) to patches (n, patches, 96, 64), half of each in the next."""
        return levels.unfold(1, PATCH_FRAMES, PATCH_HOP_FRAMES).transpose(2, 3)

    def embeddings(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches (n, 96, 64) to embeddings (n, 1024)."""
        maps: torch.Tensor = patches.unsqueeze(1)
        for number in range(1, len(LAYERS) + 1):
            maps = self.get_submodule(f"layer{number}")(maps)
        return maps.mean(dim=(2, 3))

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        """Patches (n, 96, 64) to the probability of each class (n, 521)."""
        scores: torch.Tensor = self.classifier(self.embeddings(patches))
        return scores.sigmoid()


class _Unit(nn.Module):
    """Convolution of 3 x 3 or 1 x 1, batch normalisation without a scale, rectification."""

    def __init__(self, channels: int, out: int, stride: int, *, groups: int, size: int = 3) -> None:
        super().__init__()
        self.stride, self.groups, self.size = stride, groups, size
        self.weight = nn.Parameter(torch.zeros(out, channels // groups, size, size))
        self.beta = nn.Parameter(torch.zeros(out))
        self.register_buffer("mean", torch.zeros(out))
        self.register_buffer("variance", torch.ones(out))

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        if self.size > 1:
            rows, columns = (_same_padding(length, self.size, self.stride) for length in maps.shape[2:])
            maps = functional.pad(maps, (*columns, *rows))
        maps = functional.conv2d(maps, self.weight, stride=self.stride, groups=self.groups)
        mean, variance = self.get_buffer("mean"), self.get_buffer("variance")
        return functional.relu(functional.batch_norm(maps, mean, variance, None, self.beta, eps=EPSILON))


class _Separable(nn.Module):
    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.depthwise = _Unit(channels, channels, stride, groups=channels)
        self.pointwise = _Unit(channels, out, 1, groups=1, size=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        wide: torch.Tensor = self.pointwise(self.depthwise(maps))
        return wide


def mel_matrix() -> NDArray[np.float32]:
    """From magnitudes to bands, shape (257, 64); the first bin belongs to no band."""
    bins = _hz_to_mel(np.linspace(0.0, SR_HZ / 2, N_FFT // 2 + 1))
    low, high = (float(edge) for edge in _hz_to_mel(np.array(BAND_EDGES_HZ)))
    edges = np.linspace(low, high, BANDS + 2)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return np.asarray(matrix, dtype=np.float32)


def _hz_to_mel(frequency_hz: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1127.0 * np.log1p(frequency_hz / 700.0)


def _same_padding(length: int, size: int, stride: int) -> tuple[int, int]:
    """Before and after."""
    total = max(0, (-(-length // stride) - 1) * stride + size - length)
    return total // 2, total - total // 2
