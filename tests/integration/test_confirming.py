"""The ai stage: a model confirms, objects or is silent, and never changes what was measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from syncd.analysis.embeddings import Embedder
from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Estimate,
    Inconclusive,
    MethodResult,
    Segment,
    SegmentKind,
    Verdict,
)
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import AiOrder, Failed, Measured, MeasureRequest, Progressed
from syncd.supervisor.pool import Worker
from syncd.worker.confirming import Confirmation, Decided, confirm
from syncd.worker.gpu import MainMemory, Memory
from syncd.worker.measuring import Canceled, Measurement, measure_pair
from syncd.worker.model_cache import ModelCache
from syncd.worker.models.spectral import SpectralEmbedder
from syncd.worker.scratch import Scratch
from tests.material import PairTruth, make_pair, make_unrelated_pair, write_silence
from tests.material.small_models import small_speech_model
from tests.unit.in_memory import Floats, Sound, moved, tune

SPECTRAL = AiOrder(
    model="spectral-embedding", source="", allow_download=False, dtype="auto", batch=4, vram_bytes=0, threads=1
)
HOP_S = 0.02


class Listener:
    """Keeps what it hears; calls the task off at a stage, if one is named."""

    def __init__(self, cancel_at: str | None = None) -> None:
        self.steps: list[tuple[str, int, int, str]] = []
        self._cancel_at = cancel_at

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        self.steps.append((stage, done, total, text))
        if stage == self._cancel_at:
            raise Canceled

    def method_done(self, result: MethodResult) -> None: ...


@pytest.fixture(scope="module")
def speech_model(tmp_path_factory: pytest.TempPathFactory) -> AiOrder:
    folder = small_speech_model(tmp_path_factory.mktemp("models") / "w2v")
    return msgspec.structs.replace(SPECTRAL, model="wav2vec2", source=str(folder), dtype="float32")


@pytest.fixture(scope="module")
def show(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Forty seconds of a programme in two languages."""
    return make_pair(tmp_path_factory.mktemp("show"), seed=61, duration_s=40.0, offset_s=-1.2137)


def request_for(master: Path, dub: Path, scratch: Path, ai: AiOrder | None) -> MeasureRequest:
    return MeasureRequest(
        task_id=1,
        master_path=os.fsencode(master),
        dub_path=os.fsencode(dub),
        master_track=None,
        dub_track=None,
        language="fr",
        settings=AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"]),
        scratch_folder=os.fsencode(scratch / "scratch"),
        ai=ai,
    )


def measurement(pair: PairTruth, scratch: Path, ai: AiOrder | None, listener: Listener | None = None) -> Measurement:
    return measure_pair(request_for(pair.master_path, pair.dub_path, scratch, ai), listener or Listener())


def test_a_model_confirms_a_pair_and_changes_nothing_that_was_measured(
    show: PairTruth, tmp_path: Path, speech_model: AiOrder
) -> None:
    plain = measurement(show, tmp_path, None).result
    for order in (SPECTRAL, speech_model):
        told = measurement(show, tmp_path, order).result
        assert told.ai is not None
        assert isinstance(told.ai.outcome, Estimate)
        assert told.ai.outcome.offset_s == pytest.approx(show.offset_s, abs=HOP_S)
        assert told.ai.embedding_similarity is not None
        assert told.ai.embedding_similarity > 0.2
        assert told.ai.temporal_consistency == 1.0
        assert told.ai.model_confidence > 0.7
        assert (told.ai.model, told.ai.device, told.ai.windows) == (order.model, "cpu", 4)
        assert told.stage_seconds["ai"] >= told.ai.processing_s > 0.0
        assert (told.verdict, told.review, told.consensus) == (plain.verdict, plain.review, plain.consensus)
        assert (told.rate, told.timeline, told.warnings) == (plain.rate, plain.timeline, plain.warnings)


def test_the_stage_says_which_window_it_hears(show: PairTruth, tmp_path: Path) -> None:
    listener = Listener()
    measurement(show, tmp_path, SPECTRAL, listener)
    steps = [step for step in listener.steps if step[0] == "ai"]
    assert [text for _, _, _, text in steps if "window" in text] == [
        "Master embeddings: window 1/2",
        "Dub embeddings: window 1/2",
    ]
    counted = [(done, total) for _, done, total, _ in steps[1:]]
    assert counted == sorted(counted)
    assert all(done <= total for done, total in counted)


def test_strangers_stay_strangers(tmp_path: Path, speech_model: AiOrder) -> None:
    pair = make_unrelated_pair(tmp_path, seed=62, duration_s=40.0)
    for order in (SPECTRAL, speech_model):
        result = measure_pair(request_for(pair.master_path, pair.dub_path, tmp_path, order), Listener()).result
        assert result.ai is not None
        assert isinstance(result.ai.outcome, Inconclusive)
        assert (result.ai.embedding_similarity, result.ai.model_confidence) == (None, 0.0)
        assert not any("hand" in warning and "model" in warning for warning in result.warnings)


def test_silence_is_no_trouble(tmp_path: Path, speech_model: AiOrder) -> None:
    paths = [write_silence(tmp_path / f"{name}.wav", duration_s=20.0) for name in ("a_master", "a_dub_fr")]
    for order in (SPECTRAL, speech_model):
        result = measure_pair(request_for(paths[0], paths[1], tmp_path, order), Listener()).result
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.ai is not None
        assert isinstance(result.ai.outcome, Inconclusive)


def test_a_model_that_is_not_there_costs_a_warning_and_nothing_else(show: PairTruth, tmp_path: Path) -> None:
    order = msgspec.structs.replace(SPECTRAL, model="wav2vec2", source="/no/where")
    result = measurement(show, tmp_path, order).result
    assert result.ai is None
    assert result.verdict is Verdict.OFFSET
    (warning,) = (each for each in result.warnings if each.startswith("MODEL_UNAVAILABLE: "))
    assert "/no/where" in warning
    assert "syncctl models check" in warning


def test_a_task_that_is_called_off_ends_in_the_stage_too(show: PairTruth, tmp_path: Path) -> None:
    with pytest.raises(Canceled):
        measurement(show, tmp_path, SPECTRAL, Listener(cancel_at="ai"))


# --- against what the report says ------------------------------------------------------------------------------------


def late(master: Floats, offset_s: float, lines: int) -> tuple[Floats, Floats]:
    """Two sides of one programme under different dialogue; negative: the dub is late."""
    longest = round(abs(offset_s) + 1.0) * 16_000
    dub = moved(np.concatenate((tune(longest / 16_000, 9), master)), -offset_s - longest / 16_000)[: master.size]
    return master + 0.5 * tune(60.0, lines), dub + 0.5 * tune(60.0, lines + 1)


def placed(offset_s: float | None) -> Decided:
    if offset_s is None:
        return Decided(Verdict.NO_MATCH, None, ())
    start_s, end_s = max(0.0, offset_s), min(60.0, 60.0 + offset_s)
    match = Segment(SegmentKind.MATCH, start_s, end_s, start_s - offset_s, end_s - offset_s, offset_s)
    return Decided(Verdict.OFFSET, None, (match,))


def confirmed(order: AiOrder, sides: tuple[Floats, Floats], decided: Decided, folder: Path) -> Confirmation:
    with Scratch(folder) as scratch:
        return confirm(order, ModelCache(), (Sound(sides[0]), Sound(sides[1])), decided, scratch, Listener())


@pytest.mark.parametrize("offset_s", [-3.2, -3.205, -3.21, -3.2137])
def test_small_models_that_hear_honestly_are_right_to_a_hop(
    speech_model: AiOrder, tmp_path: Path, offset_s: float
) -> None:
    said = confirmed(speech_model, late(tune(60.0, 3), offset_s, 20), placed(offset_s), tmp_path)
    assert said.ai is not None
    assert isinstance(said.ai.outcome, Estimate)
    assert said.ai.outcome.offset_s == pytest.approx(offset_s, abs=HOP_S)
    assert not said.review


def test_a_model_that_is_sure_of_another_place_asks_for_a_person(tmp_path: Path) -> None:
    said = confirmed(SPECTRAL, late(tune(60.0, 3), -3.21, 20), placed(-9.0), tmp_path)
    assert said.review
    (warning,) = said.warnings
    assert "-3.21 s" in warning
    assert said.ai is not None
    assert said.ai.model_confidence == 0.0


def test_a_model_that_finds_what_no_method_found_asks_for_a_person(tmp_path: Path) -> None:
    said = confirmed(SPECTRAL, late(tune(60.0, 3), -3.21, 20), placed(None), tmp_path)
    assert said.review
    assert "place the dub nowhere" in said.warnings[0]
    assert said.ai is not None
    assert said.ai.model_confidence > 0.5


@dataclass(frozen=True)
class Breaking(SpectralEmbedder):
    """Ends as it is told to, at its first window."""

    error: Exception | None = None

    def embed(self, windows: Floats) -> Floats:  # noqa: ARG002 - whatever it is
        assert self.error is not None
        raise self.error


class Keeping(ModelCache):
    """Has a model already."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__()
        self._given = embedder

    def take(self, order: AiOrder) -> tuple[Embedder, Memory]:  # noqa: ARG002 - there is but one
        return self._given, MainMemory()


def said_by(error: Exception, folder: Path) -> Confirmation:
    sides = Sound(tune(5.0, 1)), Sound(tune(5.0, 2))
    with Scratch(folder) as scratch:
        return confirm(SPECTRAL, Keeping(Breaking(error=error)), sides, placed(None), scratch, Listener())


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("tensors of a feather"),
        MemoryError(),
        SyncdError(ErrorCode.OUT_OF_MEMORY, "Not even one window fits."),
    ],
)
def test_whatever_breaks_in_a_model_costs_only_what_it_would_have_said(error: Exception, tmp_path: Path) -> None:
    said = said_by(error, tmp_path)
    assert said.ai is None
    assert not said.review
    assert len(said.warnings) == 1
    assert "\n" not in said.warnings[0]


def test_a_card_that_is_too_small_is_the_supervisors_to_act_on(tmp_path: Path) -> None:
    with pytest.raises(SyncdError) as caught:
        said_by(SyncdError(ErrorCode.GPU_OUT_OF_MEMORY, "Not even one window fits."), tmp_path)
    assert caught.value.code is ErrorCode.GPU_OUT_OF_MEMORY


def test_smaller_batches_are_told_as_given_up(tmp_path: Path) -> None:
    small = replace(SpectralEmbedder(batch=2), device="Simulated 11 GB")
    order = msgspec.structs.replace(SPECTRAL, batch=8)
    sides = Sound(tune(5.0, 1)), Sound(tune(5.0, 2))
    with Scratch(tmp_path) as scratch:
        said = confirm(order, Keeping(small), sides, placed(None), scratch, Listener())
    assert said.degraded == ("windows went 2 at once instead of 8, for want of memory",)
    assert said.ai is not None
    assert said.ai.batch == 2


# --- in a worker process ---------------------------------------------------------------------------------------------


def test_a_worker_process_confirms_and_keeps_its_model_for_the_next_job(
    show: PairTruth, tmp_path: Path, speech_model: AiOrder
) -> None:
    worker = Worker("cpu", time.monotonic())
    try:
        seconds = []
        for task_id in (1, 2):
            request = request_for(show.master_path, show.dub_path, tmp_path, speech_model)
            worker.send(msgspec.structs.replace(request, task_id=task_id))
            measured, texts = answer_of(worker, task_id)
            assert measured.result.ai is not None
            assert "Dub embeddings: window 2/2" in texts
            assert (measured.peak_vram_bytes, measured.degraded) == (0, ())
            seconds.append(measured.result.ai.processing_s)
        assert seconds[1] < seconds[0], "the second time nothing is imported and nothing loaded"
    finally:
        worker.reap(10.0)


def answer_of(worker: Worker, task_id: int) -> tuple[Measured, list[str]]:
    texts: list[str] = []
    deadline_s = time.monotonic() + 120.0
    while time.monotonic() < deadline_s:
        for message in worker.receive():
            if isinstance(message, Progressed):
                texts.append(message.text)
            assert not isinstance(message, Failed), message
            if isinstance(message, Measured) and message.task_id == task_id:
                return message, texts
        time.sleep(0.02)
    raise AssertionError("no answer")


def test_a_worker_whose_card_failed_ends_with_its_own_status_and_one_sentence() -> None:
    program = """
import os, sys, threading
import syncd.worker.__main__ as worker
from syncd.protocol import ProbeRequest, encode_frame
from syncd.worker.gpu import CardFailed
def lost(*_):
    raise CardFailed("The card fell off the bus")
worker.serve = lost
(to_read, to_write), (from_read, from_write) = os.pipe(), os.pipe()
os.write(to_write, encode_frame(ProbeRequest(1, ())))
sys.argv = ["worker", str(to_read), str(from_write), "cpu"]
worker.main()
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (70, "The card fell off the bus\n")
