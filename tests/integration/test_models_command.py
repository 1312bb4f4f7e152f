"""`syncctl models`: what it says of models that are there, missing, damaged, and loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.material.small_models import small_speech_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_speech_model(tmp_path_factory.mktemp("models") / "w2v")


def syncctl(home: Path, source: Path | str, *arguments: str, ai: str = "off") -> subprocess.CompletedProcess[str]:
    config = home / "syncd.toml"
    config.write_text(
        f"[ledger]\npath = {json.dumps(str(home / 'ledger.db'))}\n[ai]\nwav2vec2 = {json.dumps(str(source))}\n"
        f"yamnet = {json.dumps(str(home / 'yamnet.safetensors'))}\n[profiles.default]\nai = '{ai}'\n"
    )
    program = [sys.executable, "-m", "syncd.cli.app", "models", *arguments, "--config", str(config)]
    return subprocess.run(program, check=False, capture_output=True, text=True, timeout=120)


def lines_of(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    return {line["model"]: line for line in json.loads(done.stdout)["models"]}


def test_models_are_listed_with_how_they_stand(tmp_path: Path, folder: Path) -> None:
    done = syncctl(tmp_path, folder, "--json", ai="wav2vec2")
    assert done.returncode == 0
    lines = lines_of(done)
    assert {name: line["standing"] for name, line in lines.items()} == {
        "wav2vec2": "ready",
        "yamnet": "missing",
        "spectral-embedding": "ready",
    }
    assert lines["wav2vec2"]["profiles"] == ["default"]
    assert "ready    wav2vec2 (profiles: default)" in syncctl(tmp_path, folder, "list", ai="wav2vec2").stdout


def test_a_missing_model_is_wrong_only_where_a_profile_asks_for_it(tmp_path: Path) -> None:
    assert syncctl(tmp_path, "/no/where", "check").returncode == 0
    done = syncctl(tmp_path, "/no/where", "check", ai="wav2vec2")
    assert done.returncode == 1
    assert "There is no model folder /no/where" in done.stdout


def test_a_damaged_model_is_wrong_whoever_asks(tmp_path: Path) -> None:
    folder = small_speech_model(tmp_path / "w2v")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    done = syncctl(tmp_path, folder, "check", "--json")
    assert done.returncode == 1
    assert lines_of(done)["wav2vec2"]["standing"] == "wrong"


def test_a_name_at_the_hub_is_called_one(tmp_path: Path) -> None:
    line = lines_of(syncctl(tmp_path, "facebook/wav2vec2-base", "--json"))["wav2vec2"]
    assert (line["standing"], line["source"]) == ("at_hub", "facebook/wav2vec2-base")


def test_loading_says_dimensions_hop_and_speed(tmp_path: Path, folder: Path) -> None:
    done = syncctl(tmp_path, folder, "check", "--load", "--json")
    assert done.returncode == 0, done.stderr
    lines = lines_of(done)
    loaded = lines["wav2vec2"]["loaded"]
    assert (loaded["dimensions"], loaded["hop_seconds"], loaded["device"]) == (16, 0.02, "cpu")
    assert loaded["checkpoint"] == f"w2v {lines['wav2vec2']['sha256'][:12]}"
    assert loaded["seconds_a_second"] > 0.0
    assert lines["spectral-embedding"]["loaded"]["dimensions"] == 48
    assert lines["yamnet"]["loaded"] is None
    assert "16 dimensions every 0.02 s on cpu" in syncctl(tmp_path, folder, "warm").stdout
