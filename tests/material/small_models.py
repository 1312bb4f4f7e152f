"""Small models that hear honestly: the architectures as they are, weights that keep time instead of being drawn.

Random weights prove nothing: they find 3.2 s because it is 160 hops exactly, and miss 3.21. Here the first convolution
is a bank of windowed cosines, 100 to 7000 Hz, the later ones average, and the transformer is there but whispers; what
comes out is a coarse spectrum of what sounded, at the right moment.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

CHANNELS = 24
HIDDEN = 16
SPEECH_CONFIGS: dict[str, Any] = {
    "wav2vec2": transformers.Wav2Vec2Config,
    "hubert": transformers.HubertConfig,
    "wavlm": transformers.WavLMConfig,
    "data2vec-audio": transformers.Data2VecAudioConfig,
}


def small_speech_model(folder: Path, kind: str = "wav2vec2", *, norm: str = "group", do_normalize: bool = True) -> Path:
    """Write a checkpoint of some 90 kB, with the real front end's kernels and strides; returns the folder."""
    config = SPEECH_CONFIGS[kind](
        hidden_size=HIDDEN,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        conv_dim=(CHANNELS,) * 7,
        feat_extract_norm=norm,
        do_stable_layer_norm=norm == "layer",
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        vocab_size=32,
        hidden_act="gelu",
        feat_extract_activation="gelu",
    )
    torch.manual_seed(1)
    model = transformers.MODEL_MAPPING[type(config)](config).eval()
    with torch.no_grad():
        _make_honest(model)
    model.save_pretrained(folder)
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": do_normalize}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    return folder


def _make_honest(model: Any) -> None:
    for index, layer in enumerate(model.feature_extractor.conv_layers):
        kernel = layer.conv.weight
        if index == 0:
            kernel.copy_(torch.from_numpy(_cosines(kernel.shape[0], kernel.shape[2]))[:, None, :])
        else:
            kernel.copy_(torch.eye(kernel.shape[0])[:, :, None].expand_as(kernel) / kernel.shape[2])
        if layer.conv.bias is not None:
            layer.conv.bias.zero_()
    for name, weight in model.encoder.named_parameters():
        if "layer_norm" not in name:
            weight.mul_(0.05)


def _cosines(channels: int, samples: int) -> NDArray[np.float32]:
    """Windowed cosines, shape (channels, samples), evenly spaced in pitch."""
    frequency_hz = np.geomspace(100.0, 7_000.0, channels)
    t = (np.arange(samples) - samples / 2) / 16_000
    return (np.cos(2 * np.pi * frequency_hz[:, None] * t) * np.hanning(samples)).astype(np.float32)


YAMNET_LAYERS = (32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)


def published_yamnet_weights(seed: int = 5) -> dict[str, NDArray[np.float32]]:
    """Random weights under the names and in the shapes of the published Keras file, scaled so that signals survive."""
    rng = np.random.default_rng(seed)
    weights: dict[str, NDArray[np.float32]] = {}

    def normal(*shape: int, scale: float = 1.0) -> NDArray[np.float32]:
        return (scale * rng.standard_normal(shape)).astype(np.float32)

    def batch_norm(layer: str, channels: int) -> None:
        weights[f"{layer}/{layer}/beta:0"] = normal(channels, scale=0.3)
        weights[f"{layer}/{layer}/moving_mean:0"] = normal(channels, scale=0.1)
        weights[f"{layer}/{layer}/moving_variance:0"] = rng.uniform(0.5, 1.5, channels).astype(np.float32)

    channels = 1
    for number, out in enumerate(YAMNET_LAYERS, 1):
        if number == 1:
            unit = "layer1/conv"
            weights[f"{unit}/{unit}/kernel:0"] = normal(3, 3, 1, out, scale=0.4)
            batch_norm(f"{unit}/bn", out)
        else:
            deep, point = f"layer{number}/depthwise_conv", f"layer{number}/pointwise_conv"
            weights[f"{deep}/{deep}/depthwise_kernel:0"] = normal(3, 3, channels, 1, scale=0.5)
            batch_norm(f"{deep}/bn", channels)
            weights[f"{point}/{point}/kernel:0"] = normal(1, 1, channels, out, scale=float((2.0 / channels) ** 0.5))
            batch_norm(f"{point}/bn", out)
        channels = out
    weights["dense/dense/kernel:0"] = normal(1024, 521, scale=0.03)
    weights["dense/dense/bias:0"] = normal(521, scale=0.1)
    return weights


def write_keras_file(path: Path, weights: dict[str, NDArray[np.float32]]) -> Path:
    """As Keras's `save_weights` writes HDF5: a group a layer, and in it the weights under their whole names."""
    import h5py  # noqa: PLC0415 - an extra of its own

    with h5py.File(path, "w") as file:
        for name, values in weights.items():
            file.create_dataset(name, data=values)
        file.attrs["backend"] = np.bytes_("tensorflow")
    return path
