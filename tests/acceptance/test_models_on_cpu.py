"""A machine without a GPU, and a model: the same code, on the CPU."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from syncd.domain import JobState
from tests.acceptance.service import Service, valid_report
from tests.material import PairTruth, make_pair
from tests.material.small_models import small_speech_model

pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    return make_pair(tmp_path_factory.mktemp("pair"), seed=79, duration_s=45.0, offset_s=-0.75)


def drop(service: Service, pair: PairTruth, title: str) -> None:
    for role, source in (("master", pair.master_path), ("dub", pair.dub_path)):
        shutil.copy(source, service.drop / f"{title}_{role}.wav")
    with (service.drop / f"{title}_dub.wav").open("r+b") as file:
        file.seek(-4, 2)
        file.write(title.encode()[-4:])


@pytest.mark.parametrize("model", ["wav2vec2", "spectral-embedding"])
def test_a_model_confirms_what_the_bed_says_and_stays_for_the_next_job(
    tmp_path: Path, pair: PairTruth, model: str
) -> None:
    folder = small_speech_model(tmp_path / "model")
    extra = f'[workers]\ndevices = "cpu"\ncpu_slots = 1\n[ai]\nwav2vec2 = "{folder}"\n'
    service = Service(tmp_path / "home", extra=extra)
    service.write_config(profile=f'ai = "{model}"')
    try:
        service.start()
        drop(service, pair, "show1")
        drop(service, pair, "show2")
        jobs = service.wait_for_jobs(2, deadline_s=120.0)
        for job in jobs:
            assert (job.state, job.attempts) == (JobState.COMPLETED, 1)
            assert job.sidecar_path is not None
            report = valid_report(job.sidecar_path)
            assert report["processing"]["degraded"] == []
            assert not [warning for warning in report["warnings"] if "model" in warning.lower()]
            ai = report["ai_result"]
            assert (ai["model"], ai["device"]) == (model, "cpu")
            assert ai["offset"]["offset_seconds"] == pytest.approx(pair.offset_s, abs=0.02)
            assert abs(report["consensus_offset"]["offset_seconds"] - pair.offset_s) < 1e-4
    finally:
        service.close()
