"""What is at fault gets a failed job with its code and a report that says what to do; nobody meets a traceback."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from syncd.domain import JobState
from syncd.errors import ErrorCode, error_advice
from tests.acceptance.service import Service, valid_report
from tests.material import (
    PairTruth,
    make_pair,
    write_empty_file,
    write_silence,
    write_text_as,
    write_truncated_copy,
)

Fault = Callable[[PairTruth, Path], object]


def tiny(_pair: PairTruth, path: Path) -> None:
    write_silence(path, duration_s=0.2)


FAULTS: dict[str, tuple[Fault, set[ErrorCode]]] = {
    "empty": (lambda _pair, path: write_empty_file(path), {ErrorCode.MEDIA_UNREADABLE}),
    "text": (lambda _pair, path: write_text_as(path), {ErrorCode.MEDIA_UNREADABLE}),
    "truncated": (lambda pair, path: write_truncated_copy(pair.dub_path, path), {ErrorCode.MEDIA_TRUNCATED}),
    "too_short": (tiny, {ErrorCode.MEDIA_TOO_SHORT}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_dub_gets_a_failed_job_and_a_report(service: Service, short_pair: PairTruth, fault: str) -> None:
    make, codes = FAULTS[fault]
    shutil.copy(short_pair.master_path, service.drop / "a_master.wav")
    make(short_pair, service.drop / "a_dub_fr.wav")
    assert service.run_once() == 3
    (job,) = service.jobs()
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code in codes
    report = valid_report(service.drop / "a_dub_fr.wav.sync.json")
    assert report["status"] == "failed"
    assert report["error"]["code"] == job.failure.code
    assert error_advice(job.failure.code) in report["recommendations"]
    assert "Traceback" not in service.log()


def test_silence_is_an_answer_and_not_a_failure(service: Service, short_pair: PairTruth) -> None:
    shutil.copy(short_pair.master_path, service.drop / "a_master.wav")
    write_silence(service.drop / "a_dub_fr.wav", duration_s=12.0)
    assert service.run_once() == 0
    report = valid_report(service.drop / "a_dub_fr.wav.sync.json")
    assert report["verdict"] == "inconclusive"
    assert report["consensus_offset"] is None


NAMES = [
    b"line\nbreak",
    b'it\'s "quoted" $(touch x)',
    "émoji 🎬 — film".encode(),
    b"latin-1 \xe9t\xe9",
    b"-rf",
    b"percent %d %s",
    b"<script>alert(1)</script>"[:8],
    b"long" * 50,
]


def test_any_name_goes_through_unharmed(service: Service, short_pair: PairTruth) -> None:
    folder = os.fsencode(service.drop)
    dubs = [folder + b"/" + name + b"_dub_fr.wav" for name in NAMES]
    for name, dub in zip(NAMES, dubs, strict=True):
        shutil.copy(short_pair.master_path, os.fsdecode(folder + b"/" + name + b"_master.wav"))
        shutil.copy(short_pair.dub_path, os.fsdecode(dub))
    assert service.run_once() == 0
    jobs = service.jobs()
    assert sorted(os.fsencode(job.dub_path) for job in jobs) == sorted(dubs)
    for job in jobs:
        assert valid_report(Path(os.fsdecode(os.fsencode(job.dub_path) + b".sync.json")))["verdict"] == "offset"
        service.syncctl("show", str(job.job_id))
    assert [job["state"] for job in service.syncctl_json("list")["jobs"]] == ["completed"] * len(NAMES)


def test_a_file_that_vanishes_is_an_error_of_its_own(service: Service, short_pair: PairTruth) -> None:
    service.start()
    shutil.copy(short_pair.master_path, service.drop / "z_master.wav")
    shutil.copy(short_pair.dub_path, service.drop / "z_dub.wav")
    service.wait_for_jobs(1)
    service.syncctl("pause")
    shutil.copy(short_pair.master_path, service.drop / "a_master.wav")
    shutil.copy(short_pair.dub_path, service.drop / "a_dub.wav")
    _wait_for_queued(service, 2)
    (service.drop / "a_dub.wav").unlink()
    service.syncctl("resume")
    job = service.wait_for_jobs(2)[1]
    assert job.failure is not None
    assert job.failure.code is ErrorCode.FILE_NOT_FOUND
    assert job.state is JobState.FAILED


def _wait_for_queued(service: Service, count: int) -> None:
    from tests.acceptance.service import wait_for  # noqa: PLC0415

    wait_for(lambda: len(service.jobs()) == count, what=f"{count} jobs")


def test_limits_fail_a_job_with_the_figures(service: Service, tmp_path: Path) -> None:
    service.extra = "[limits]\nmax_duration_seconds = 10\n"
    service.write_config()
    pair = make_pair(tmp_path, seed=3, duration_s=12.0)
    shutil.copy(pair.master_path, service.drop / "a_master.wav")
    shutil.copy(pair.dub_path, service.drop / "a_dub.wav")
    assert service.run_once() == 3
    (job,) = service.jobs()
    assert job.failure is not None
    assert job.failure.code is ErrorCode.MEDIA_TOO_LONG
