"""A ledger that was lost or damaged comes back from the reports, and nothing is measured twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from syncd.domain import JobState
from tests.acceptance.service import Service
from tests.material import PairTruth


def measured(service: Service, pair: PairTruth) -> Path:
    """Two pairs measured, one of them broken; returns the sidecar of the whole one."""
    for title in ("alpha", "beta"):
        shutil.copy(pair.master_path, service.drop / f"{title}_master.wav")
    shutil.copy(pair.dub_path, service.drop / "alpha_dub_fr.wav")
    (service.drop / "beta_dub_fr.wav").write_bytes(b"no sound at all" * 100)
    assert service.run_once() == 3
    return service.drop / "alpha_dub_fr.wav.sync.json"


def test_a_damaged_ledger_is_set_aside_and_made_anew_from_the_reports(service: Service, short_pair: PairTruth) -> None:
    sidecar = measured(service, short_pair)
    written = sidecar.stat().st_mtime_ns
    before = {job.title: (job.state, job.verdict, job.offset_s, job.failure) for job in service.jobs()}
    service.ledger.write_bytes(b"this was a ledger once" * 1000)
    assert service.run_once() == 0
    jobs = service.jobs()
    assert {job.title: (job.state, job.verdict, job.offset_s, job.failure) for job in jobs} == before
    assert {job.attempts for job in jobs} == {0}
    assert sidecar.stat().st_mtime_ns == written
    assert "ledger_set_aside" in service.log()
    (kept,) = service.home.glob("ledger.db.damaged.*")
    assert kept.read_bytes().startswith(b"this was a ledger once")
    report = service.syncctl_json("show", str(next(job.job_id for job in jobs if job.title == "alpha")))["report"]
    assert report == json.loads(sidecar.read_text(encoding="utf-8"))


def test_a_dub_that_changed_since_its_report_is_measured(service: Service, short_pair: PairTruth) -> None:
    measured(service, short_pair)
    shutil.copy(short_pair.master_path, service.drop / "alpha_dub_fr.wav")
    service.ledger.write_bytes(b"this was a ledger once" * 1000)
    service.run_once()
    (alpha,) = (job for job in service.jobs() if job.title == "alpha")
    assert (alpha.state, alpha.attempts) == (JobState.COMPLETED, 1)
