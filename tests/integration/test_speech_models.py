"""wav2vec2 and its kin, loaded as they are loaded in service, from small checkpoints that hear honestly."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import weakref
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from syncd.analysis.embeddings import SR_HZ, cut_windows, embed_side
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder
from syncd.worker.gpu import MainMemory
from syncd.worker.model_cache import ModelCache
from syncd.worker.models import registry
from syncd.worker.models.torch_embedder import TorchEmbedder
from tests.material.small_models import SPEECH_CONFIGS, small_speech_model
from tests.unit.in_memory import Floats, Frames, Sound, quietly, tune


def order_of(source: Path | str, **changes: object) -> AiOrder:
    plain = AiOrder(
        model="wav2vec2",
        source=str(source),
        allow_download=False,
        dtype="float32",
        batch=4,
        vram_bytes=0,
        threads=1,
    )
    return msgspec.structs.replace(plain, **changes)


def loaded(source: Path | str, **changes: object) -> TorchEmbedder:
    model = registry.load(order_of(source, **changes), "cpu", MainMemory())
    assert isinstance(model, TorchEmbedder)
    return model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_speech_model(tmp_path_factory.mktemp("models") / "w2v")


def one_window(sound: Floats, model: TorchEmbedder) -> Floats:
    frames: Floats = model.embed(sound[None, :].astype(np.float32))[0]
    return frames


@pytest.mark.parametrize("kind", list(SPEECH_CONFIGS))
def test_every_kind_is_loaded_and_hears_every_20_ms(tmp_path: Path, kind: str) -> None:
    model = loaded(small_speech_model(tmp_path / kind, kind))
    frames = one_window(tune(4.0, 1), model)
    assert (model.rule.hop_samples, model.rule.receptive_samples) == (320, 400)
    assert frames.shape == (model.rule.frames_in(4 * SR_HZ), 16) == (199, 16)
    assert np.isfinite(frames).all()
    assert frames.std(axis=0).min() > 0.0
    assert model.checkpoint.startswith(f"{kind} ")


def test_only_the_lower_half_of_the_layers_is_built(folder: Path) -> None:
    assert json.loads((folder / "config.json").read_text())["num_hidden_layers"] == 2
    (held,) = {
        len(cell.cell_contents.encoder.layers)
        for cell in loaded(folder)._forward.__closure__ or ()
        if isinstance(cell.cell_contents, torch.nn.Module)
    }
    assert held == 1


def test_the_loudness_of_a_window_matters_only_to_models_that_want_it(tmp_path: Path) -> None:
    sound = tune(3.0, 2)
    for normalises in (True, False):
        model = loaded(small_speech_model(tmp_path / str(normalises), norm="layer", do_normalize=normalises))
        quiet, loud = one_window(0.1 * sound, model), one_window(10.0 * sound, model)
        assert np.allclose(quiet, loud, atol=5e-3) is normalises


def test_windows_give_what_one_pass_gives_away_from_the_edges(tmp_path: Path) -> None:
    model = loaded(small_speech_model(tmp_path / "layer", norm="layer", do_normalize=False))
    sound = tune(70.0, 3).astype(np.float32)
    store = Frames(np.zeros((0, model.dims)))
    embed_side(Sound(sound), model, store, quietly)
    assert len(cut_windows(sound.size, model.rule)) == 3
    whole = one_window(sound, model)
    apart = np.abs(store.values - whole).max(axis=1) / whole.std()
    assert float(np.quantile(apart[100:-100], 0.99)) < 0.02


def test_a_group_norm_model_hears_no_silence_that_is_not_there(folder: Path) -> None:
    """The last window is moved left; filled up with zeros it would be normalised as half a silence."""
    model = loaded(folder)
    sound = tune(45.0, 4).astype(np.float32)
    windows = cut_windows(sound.size, model.rule)
    last = windows[-1]
    padded = np.zeros(last.samples, dtype=np.float32)
    tail = sound[windows[1].start + windows[1].kept * 320 :]
    padded[: tail.size] = tail
    moved, filled = one_window(sound[last.start :][: last.samples], model), one_window(padded, model)
    frames = model.rule.frames_in(tail.size) - 100
    true = one_window(sound, model)[-model.rule.frames_in(tail.size) :][50:frames]
    from_moved = moved[-model.rule.frames_in(tail.size) :][50:frames]
    assert np.abs(from_moved - true).mean() < 0.5 * np.abs(filled[50:frames] - true).mean()


def test_sdpa_is_used_where_the_architecture_has_it(tmp_path: Path) -> None:
    for kind, expected in (("wav2vec2", "sdpa"), ("wavlm", "eager")):
        model = loaded(small_speech_model(tmp_path / kind, kind))
        (network,) = (
            cell.cell_contents
            for cell in model._forward.__closure__ or ()
            if isinstance(cell.cell_contents, torch.nn.Module)
        )
        assert network.config._attn_implementation == expected


def refusal(source: Path | str, **changes: object) -> str:
    with pytest.raises(SyncdError) as caught:
        loaded(source, **changes)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_model_that_lacks_weights_is_refused_and_not_filled_up_at_random(tmp_path: Path) -> None:
    folder = small_speech_model(tmp_path / "m")
    path = folder / "model.safetensors"
    blob = path.read_bytes()
    length = struct.unpack("<Q", blob[:8])[0]
    header = blob[8 : 8 + length].replace(b"encoder.layers.0.feed_forward", b"encoder.layers.9.feed_forward")
    path.write_bytes(blob[:8] + header + blob[8 + length :])
    message = refusal(folder)
    assert "lacks 4 of its weights" in message
    assert "would answer at random" in message


def test_a_model_of_other_shapes_than_its_configuration_is_refused(tmp_path: Path) -> None:
    folder = small_speech_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"hidden_size": 32}))
    assert str(folder) in refusal(folder)


@pytest.mark.parametrize("conv_stride", [[5], "five", None])
def test_a_configuration_that_makes_no_sense_is_refused_in_a_sentence(tmp_path: Path, conv_stride: object) -> None:
    folder = small_speech_model(tmp_path / "m")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"conv_stride": conv_stride}))
    assert "cannot be loaded" in refusal(folder)


def test_a_name_at_the_hub_is_not_fetched_unless_that_is_allowed() -> None:
    assert "ai.allow_download" in refusal("nobody/no-such-model-anywhere")


def test_an_unknown_model_is_told_with_those_that_exist() -> None:
    assert "spectral-embedding" in refusal("x", model="clap")


@pytest.mark.parametrize("missing", ["torch", "transformers"])
def test_a_package_that_is_not_installed_is_named_and_models_without_weights_need_none(
    folder: Path, missing: str
) -> None:
    program = f"""
import sys
sys.modules[{missing!r}] = None
from syncd.errors import SyncdError
from syncd.protocol import AiOrder
from syncd.worker.model_cache import ModelCache
def order(model, source):
    return AiOrder(model, source, False, "auto", 4, 0, 1)
assert ModelCache().take(order("spectral-embedding", ""))[0].dims == 48
try:
    ModelCache().take(order("wav2vec2", {str(folder)!r}))
except SyncdError as error:
    print(error.code, error.message)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=120)
    assert done.stdout == (
        f"MODEL_UNAVAILABLE The package {missing} is not installed, which wav2vec2 needs: 'pip install syncd[ai]'.\n"
    ), done.stderr


def test_a_model_stays_for_the_next_job_and_goes_for_another(folder: Path, tmp_path: Path) -> None:
    cache = ModelCache()
    first, _ = cache.take(order_of(folder))
    assert cache.take(order_of(folder))[0] is first
    other = small_speech_model(tmp_path / "other", "hubert")
    second, _ = cache.take(order_of(other))
    assert second is not first
    assert second.checkpoint != first.checkpoint
    cache.drop()
    assert cache.is_empty


def test_replaced_files_are_loaded_anew(tmp_path: Path) -> None:
    cache, source = ModelCache(), small_speech_model(tmp_path / "m")
    first, _ = cache.take(order_of(source))
    small_speech_model(source, "wav2vec2", norm="layer")
    second, _ = cache.take(order_of(source))
    assert second.checkpoint != first.checkpoint


def test_a_dropped_model_is_gone_from_memory(folder: Path) -> None:
    cache = ModelCache()
    gone = weakref.ref(cache.take(order_of(folder))[0])
    cache.drop()
    assert gone() is None


def test_a_model_is_dropped_when_memory_is_scarce(folder: Path) -> None:
    cache = ModelCache()
    cache.take(order_of(folder))
    cache._memory = _Scarce()
    cache.relieve()
    assert cache.is_empty


class _Scarce(MainMemory):
    def is_scarce(self) -> bool:
        return True


def test_no_more_threads_are_used_than_granted(folder: Path) -> None:
    before = torch.get_num_threads()
    try:
        ModelCache().take(order_of(folder, threads=1))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
