"""Which model confirms an answer, and what it is promised on a card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syncd.config import AiSection
from syncd.devices.model_memory import prior_vram_bytes
from syncd.domain import ModelUse
from syncd.supervisor.model_choice import ModelChoice, choose_model


def section(tmp_path: Path) -> AiSection:
    return AiSection(wav2vec2=str(tmp_path / "wav2vec2"), yamnet=tmp_path / "yamnet.safetensors")


def test_auto_takes_the_best_model_that_is_there(tmp_path: Path) -> None:
    here = section(tmp_path)
    assert choose_model("auto", here) == ModelChoice("spectral-embedding")
    here.yamnet.write_bytes(b"weights")
    assert choose_model("auto", here) == ModelChoice("yamnet", str(here.yamnet), 7)
    assert choose_model("off", here) is None


def test_a_model_asked_for_by_name_is_chosen_so_that_the_report_says_what_is_missing(tmp_path: Path) -> None:
    chosen = choose_model("yamnet", section(tmp_path))
    assert chosen is not None
    assert (chosen.model, chosen.weights_bytes) == ("yamnet", 0)


def test_yamnet_is_promised_the_single_precision_that_it_computes_in() -> None:
    assert ModelChoice("wav2vec2").dtype_on("bfloat16") == "bfloat16"
    assert ModelChoice("yamnet").dtype_on("bfloat16") == "float32"
    use = ModelUse("yamnet", 15 << 20, ModelChoice("yamnet").dtype_on("float16"), 8, 30.0, "any")
    assert prior_vram_bytes(use) > prior_vram_bytes(replace(use, dtype="float16"))
