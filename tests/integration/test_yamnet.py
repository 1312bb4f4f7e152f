"""YAMNet: the published file converts, and the network computes what its description says."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.worker.gpu import MainMemory
from syncd.worker.models import registry
from syncd.worker.models.convert import convert
from syncd.worker.models.files import data_sha256, read_header
from syncd.worker.models.yamnet import Yamnet, built
from tests.material.small_models import published_yamnet_weights, write_keras_file
from tests.unit.in_memory import Floats, tune

pytest.importorskip("h5py")

PUBLISHED = published_yamnet_weights()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The published file, and what the command makes of it."""
    folder = tmp_path_factory.mktemp("yamnet")
    source, target = write_keras_file(folder / "yamnet.h5", PUBLISHED), folder / "yamnet.safetensors"
    subprocess.run(
        [sys.executable, "-m", "syncd.cli.app", "models", "convert", str(source), str(target)],
        check=True,
        capture_output=True,
    )
    return source, target


@pytest.fixture(scope="module")
def network(files: tuple[Path, Path]) -> Yamnet:
    return built(files[1])


def weight(name: str) -> Floats:
    """As published: the layer's path twice, then the tensor."""
    (found,) = (values for key, values in PUBLISHED.items() if key.endswith(name))
    return found


def padded_correlation(maps: Floats, kernel: Floats, stride: int) -> Floats:
    """TensorFlow's «same» convolution of (h, w, in) with (3, 3, in, out); zeros before it only at stride 1."""
    height, width, _ = maps.shape
    before = 1 if stride == 1 else 0
    room = np.zeros((height + 2, width + 2, maps.shape[2]))
    room[before : before + height, before : before + width] = maps
    out = np.zeros((-(-height // stride), -(-width // stride), kernel.shape[3]))
    for row in range(3):
        for column in range(3):
            piece = room[row : row + height : stride, column : column + width : stride]
            out += piece @ kernel[row, column]
    return out


def batch_norm_relu(maps: Floats, layer: str) -> Floats:
    mean, variance = weight(f"{layer}/moving_mean:0"), weight(f"{layer}/moving_variance:0")
    normal = (maps - mean) / np.sqrt(variance + 1e-4) + weight(f"{layer}/beta:0")
    return np.maximum(normal, 0.0)


def test_the_first_layers_compute_what_an_independent_sum_computes(network: Yamnet) -> None:
    patch = np.random.default_rng(3).standard_normal((96, 64)).astype(np.float32)
    first = batch_norm_relu(padded_correlation(patch[:, :, None], weight("layer1/conv/kernel:0"), 2), "layer1/conv/bn")
    assert first.shape == (48, 32, 32)
    deep = weight("layer2/depthwise_conv/depthwise_kernel:0")
    apart = np.concatenate(
        [padded_correlation(first[:, :, c : c + 1], deep[:, :, c : c + 1], 1) for c in range(32)], axis=2
    )
    second = batch_norm_relu(apart, "layer2/depthwise_conv/bn")
    second = batch_norm_relu(second @ weight("layer2/pointwise_conv/kernel:0")[0, 0], "layer2/pointwise_conv/bn")
    deep3 = weight("layer3/depthwise_conv/depthwise_kernel:0")
    third = np.concatenate(
        [padded_correlation(second[:, :, c : c + 1], deep3[:, :, c : c + 1], 2) for c in range(64)], axis=2
    )
    third = batch_norm_relu(third, "layer3/depthwise_conv/bn")
    with torch.inference_mode():
        ours = network.layer1(torch.from_numpy(patch)[None, None])
        assert np.allclose(ours[0].permute(1, 2, 0).numpy(), first, atol=1e-4)
        ours = network.get_submodule("layer2")(ours)
        assert np.allclose(ours[0].permute(1, 2, 0).numpy(), second, atol=1e-3)
        ours = network.get_submodule("layer3.depthwise")(ours)
        assert np.allclose(ours[0].permute(1, 2, 0).numpy(), third, atol=1e-3)


def test_the_classifier_is_logistic_over_the_mean_of_the_last_maps(network: Yamnet) -> None:
    patches = torch.randn(3, 96, 64, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        embeddings, scores = network.embeddings(patches).numpy(), network(patches).numpy()
    expected = 1.0 / (1.0 + np.exp(-(embeddings @ weight("dense/kernel:0") + weight("dense/bias:0"))))
    assert embeddings.shape == (3, 1024)
    assert embeddings.std(axis=0).max() > 1e-3, "a signal must reach the top"
    assert scores.shape == (3, 521)
    assert np.allclose(scores, expected, atol=1e-5)


def test_the_front_end_is_that_of_the_description(network: Yamnet) -> None:
    """25 ms every 10 ms, 512 bins, HTK mel from 125 to 7500 Hz, log of magnitude plus 0.001."""
    sound = tune(1.2, 7)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [sound[start : start + 400] * window for start in range(0, sound.size - 399, 160)]
    magnitudes = np.abs(np.fft.rfft(frames, 512))

    def mel(hz: float) -> float:
        return float(2595.0 * np.log10(1.0 + hz / 700.0))

    corners = [mel(125.0) + i * (mel(7500.0) - mel(125.0)) / 65 for i in range(66)]
    bands = np.zeros((257, 64))
    for index in range(1, 257):
        place = mel(index * 16_000 / 512)
        for band in range(64):
            low, middle, high = corners[band : band + 3]
            bands[index, band] = max(0.0, min((place - low) / (middle - low), (high - place) / (high - middle)))
    expected = np.log(magnitudes @ bands + 0.001)
    with torch.inference_mode():
        ours = network.log_mel(torch.from_numpy(sound.astype(np.float32))[None])
    assert np.allclose(ours[0].numpy(), expected, atol=2e-3)


def test_patches_are_096_s_every_048_s(network: Yamnet) -> None:
    levels = torch.arange(200.0)[None, :, None].expand(1, 200, 64)
    patches = network.patches(levels)
    assert patches.shape == (1, 3, 96, 64)
    assert [float(patch[0, 0]) for patch in patches[0]] == [0.0, 48.0, 96.0]
    assert float(patches[0, 0, 95, 63]) == 95.0


def order_of(path: Path) -> AiOrder:
    return AiOrder(
        model="yamnet", source=str(path), allow_download=False, dtype="auto", batch=4, vram_bytes=0, threads=1
    )


def test_it_is_loaded_by_its_door_and_hears_every_048_s(files: tuple[Path, Path]) -> None:
    model = registry.load(order_of(files[1]), "cpu", MainMemory())
    frames = model.embed(tune(10.0, 8)[None, :].astype(np.float32))
    assert frames.shape == (1, model.rule.frames_in(160_000), 48) == (1, 19, 48)
    assert model.checkpoint.split()[0] == "yamnet"


def test_the_file_says_what_it_was_made_of_and_its_checksum_stands_beside_it(files: tuple[Path, Path]) -> None:
    source, target = files
    metadata, _ = read_header(target)
    assert metadata == {
        "kind": "yamnet",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "data_sha256": data_sha256(target),
    }
    checksum, name = target.with_name("yamnet.safetensors.sha256").read_text().split()
    assert (checksum, name) == (hashlib.sha256(target.read_bytes()).hexdigest(), "yamnet.safetensors")


def test_a_flipped_bit_is_noticed_before_anything_is_computed(files: tuple[Path, Path], tmp_path: Path) -> None:
    blob = bytearray(files[1].read_bytes())
    blob[-1000] ^= 1
    damaged = tmp_path / "yamnet.safetensors"
    damaged.write_bytes(blob)
    with pytest.raises(SyncdError, match="its checksum is not the one") as caught:
        registry.load(order_of(damaged), "cpu", MainMemory())
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE


def test_other_weights_are_refused_by_what_they_lack(tmp_path: Path) -> None:
    some = {name: values for name, values in PUBLISHED.items() if not name.startswith("layer9/")}
    source = write_keras_file(tmp_path / "other.h5", some)
    with pytest.raises(SyncdError, match="not the published weights of YAMNet: layer9"):
        convert(source, tmp_path / "out.safetensors")
    assert not list(tmp_path.glob("*out*"))


def test_the_command_refuses_a_file_that_is_none_in_a_sentence(tmp_path: Path) -> None:
    source = tmp_path / "yamnet.h5"
    source.write_bytes(b"no HDF5")
    done = subprocess.run(
        [sys.executable, "-m", "syncd.cli.app", "models", "convert", str(source), str(tmp_path / "out.safetensors")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "it is no HDF5 file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_and_a_folder_that_cannot_be_written_are_named(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(SyncdError, match="there is no such file"):
        convert(tmp_path / "x.h5", tmp_path / "out.safetensors")
    with pytest.raises(SyncdError, match="cannot be written"):
        convert(files[0], tmp_path / "no" / "where" / "out.safetensors")
