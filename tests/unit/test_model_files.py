"""Model files that are not as they should be: one sentence each, which says what, where and what to do."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import ErrorCode, SyncdError
from syncd.worker.models.files import (
    INDEX,
    WEIGHTS,
    data_sha256,
    is_hub_name,
    read_header,
    speech_model_files,
    yamnet_files,
)


def write_weights(path: Path, *, held: int = 8, metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file of one tensor of eight bytes."""
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, "__metadata__": metadata or {}}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(held))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model folder in order."""
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    write_weights(tmp_path / WEIGHTS)
    return tmp_path


def test_a_folder_in_order_says_what_it_holds(folder: Path) -> None:
    files = speech_model_files(folder)
    assert (files.kind, files.weights) == ("hubert", (folder / WEIGHTS,))
    assert files.size_bytes == (folder / WEIGHTS).stat().st_size


def test_weights_in_several_files_count_together(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model-1.safetensors")
    write_weights(folder / "model-2.safetensors")
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    assert [path.name for path in speech_model_files(folder).weights] == ["model-1.safetensors", "model-2.safetensors"]
    (folder / "model-2.safetensors").unlink()
    assert "lacks model-2.safetensors" in refusal(folder)


def test_an_index_that_points_elsewhere_is_not_followed(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": {"a": "../../etc/passwd"}}))
    assert "lacks ../../etc/passwd" in refusal(folder)


def refusal(path: Path, look: Callable[[Path], object] = speech_model_files) -> str:
    with pytest.raises(SyncdError) as caught:
        look(path)
    assert caught.value.code is ErrorCode.MODEL_UNAVAILABLE
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    return caught.value.message


def test_a_folder_that_is_not_there_is_named() -> None:
    assert "There is no model folder /no/where" in refusal(Path("/no/where"))


def test_a_pickle_is_refused_and_called_one(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin, a pickle, which may run programs" in refusal(folder)


def test_a_model_of_another_kind_is_refused_by_its_kind(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')
    assert "'bert'" in refusal(folder)


@pytest.mark.parametrize("config", ["", "{", "[1]", '"wav2vec2"', "[" * 10_000])
def test_a_damaged_configuration_is_called_damaged(folder: Path, config: str) -> None:
    (folder / "config.json").write_text(config)
    assert "config.json is damaged" in refusal(folder)


def test_a_folder_without_configuration_or_weights_says_what_it_lacks(folder: Path) -> None:
    (folder / "config.json").unlink()
    assert "has no config.json" in refusal(folder)
    (folder / "config.json").write_text('{"model_type": "wavlm"}')
    (folder / WEIGHTS).unlink()
    assert "has no model.safetensors" in refusal(folder)


@pytest.mark.parametrize("held", [0, 7, 9, 1000])
def test_a_copy_that_broke_off_is_told_by_its_length(folder: Path, held: int) -> None:
    write_weights(folder / WEIGHTS, held=held)
    assert f"it holds {held} bytes of weights where 8 are named" in refusal(folder)


@given(st.binary(max_size=64))
def test_noise_is_refused_in_a_sentence(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / WEIGHTS
    path.write_bytes(noise)
    assert "is damaged" in refusal(path, read_header)


def test_yamnet_says_how_its_file_is_made(tmp_path: Path) -> None:
    assert "syncctl models convert yamnet.h5" in refusal(tmp_path / "yamnet.safetensors", yamnet_files)
    keras = tmp_path / "yamnet.h5"
    keras.write_bytes(b"\x89HDF")
    assert "the published Keras file" in refusal(keras, yamnet_files)
    assert "holds no YAMNet weights" in refusal(write_weights(tmp_path / "other.safetensors"), yamnet_files)


def test_a_file_is_known_by_what_follows_its_header(tmp_path: Path) -> None:
    plain = write_weights(tmp_path / "a")
    named = write_weights(tmp_path / "b", metadata={"kind": "yamnet"})
    assert data_sha256(plain) == data_sha256(named)
    assert yamnet_files(named).sha256() == hashlib.sha256(named.read_bytes()).hexdigest() != data_sha256(named)


def test_replaced_weights_are_noticed(folder: Path) -> None:
    before = speech_model_files(folder).stamps()
    replacement = write_weights(folder / "new")
    replacement.replace(folder / WEIGHTS)
    assert speech_model_files(folder).stamps() != before


@pytest.mark.parametrize(("source", "is_name"), [("facebook/hubert-base", True), ("/srv/m", False), ("a/b/c", False)])
def test_a_name_at_the_hub_is_told_from_a_path(source: str, *, is_name: bool) -> None:
    assert is_hub_name(source) is is_name
