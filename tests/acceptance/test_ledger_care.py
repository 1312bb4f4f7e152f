"""A ledger that was lost or damaged comes back from the reports, and nothing is measured twice."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from syncd.domain import JobState
from tests.acceptance.service import Service, wait_for
from tests.material import PairTruth


def measured(service: Service, pair: PairTruth) -> Path:
    """Two pairs measured, one of them broken; returns the sidecar of the whole one."""
    for title in ("alpha", "beta"):
        shutil.copy(pair.master_path, service.drop / f"{title}_master.wav")
    shutil.copy(pair.dub_path, service.drop / "alpha_dub_fr.wav")
    (service.drop / "beta_dub_fr.wav").write_bytes(b"no sound at all" * 100)
    assert service.run_once() == 3
    return service.drop / "alpha_dub_fr.wav.sync.json"


def answers(service: Service) -> dict[str, tuple[object, ...]]:
    """What each job says, by title; reports round to the microsecond."""
    return {
        job.title: (job.state, job.verdict, None if job.offset_s is None else round(job.offset_s, 6), job.failure)
        for job in service.jobs()
    }


def test_a_damaged_ledger_is_set_aside_and_made_anew_from_the_reports(service: Service, short_pair: PairTruth) -> None:
    sidecar = measured(service, short_pair)
    written = sidecar.stat().st_mtime_ns
    before = answers(service)
    service.ledger.write_bytes(b"this was a ledger once" * 1000)
    assert service.run_once() == 0
    jobs = service.jobs()
    assert answers(service) == before
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


def test_rebuild_makes_the_ledger_anew_while_the_daemon_is_stopped(service: Service, short_pair: PairTruth) -> None:
    sidecar = measured(service, short_pair)
    before = answers(service)
    shutil.copy(short_pair.dub_path, service.drop / "alpha_dub_de.wav")
    made = service.syncctl_json("rebuild")
    assert (made["recorded"], made["queued"], made["folders_missing"]) == (2, 1, False)
    assert ".before-rebuild." in made["set_aside"]
    assert Path(made["set_aside"]).exists()
    assert {title: answer for title, answer in answers(service).items() if title == "beta"} == {"beta": before["beta"]}
    written = sidecar.stat().st_mtime_ns
    assert service.run_once() == 0
    assert sidecar.stat().st_mtime_ns == written
    by_language = {job.language: job for job in service.jobs() if job.title == "alpha"}
    assert (by_language["fr"].attempts, by_language["de"].attempts) == (0, 1)
    assert "recorded from their reports: 3" in service.syncctl("rebuild")


def test_rebuild_says_which_folders_it_could_not_read(service: Service) -> None:
    service.run_once()
    service.drop.rmdir()
    assert "could not be read" in service.syncctl("rebuild", expect=1)


def test_rebuild_refuses_while_the_daemon_runs_and_what_is_not_its_own(service: Service) -> None:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    assert "Stop the other syncd" in service.syncctl("rebuild", expect=11)
    service.stop()
    service.ledger.unlink()
    with closing(sqlite3.connect(service.ledger)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    assert "not a ledger of syncd" in service.syncctl("rebuild", expect=1)
    assert [file.name for file in service.home.glob("ledger.db.*") if "before" in file.name] == []


def test_prune_removes_ended_jobs_and_nothing_is_measured_again(service: Service, short_pair: PairTruth) -> None:
    sidecar = measured(service, short_pair)
    written = sidecar.stat().st_mtime_ns
    assert "Say what may go" in service.syncctl("prune", expect=2)
    assert service.syncctl_json("prune", "--keep", "0") == {"request_id": None, "outcome": {"removed": 0}}
    away = service.drop.rename(service.home / "away")
    service.drop.mkdir()
    assert "Jobs removed: 2" in service.syncctl("prune", "--keep", "0", "--older-than", "0")
    assert service.jobs() == []
    service.drop.rmdir()
    away.rename(service.drop)
    service.start()
    jobs = service.wait_for_jobs(2)
    assert {job.attempts for job in jobs} == {0}
    assert sidecar.stat().st_mtime_ns == written


def test_a_running_daemon_prunes_when_it_is_asked(service: Service, short_pair: PairTruth) -> None:
    service.start()
    shutil.copy(short_pair.master_path, service.drop / "alpha_master.wav")
    shutil.copy(short_pair.dub_path, service.drop / "alpha_dub_fr.wav")
    service.wait_for_jobs(1)
    (service.drop / "alpha_dub_fr.wav").unlink()
    assert service.syncctl_json("prune", "--older-than", "0") == {"request_id": 1, "outcome": {"removed": 1}}
    assert service.jobs() == []


def test_prune_needs_a_ledger(service: Service) -> None:
    service.syncctl("prune", "--keep", "0", expect=10)
    assert not service.ledger.exists()
