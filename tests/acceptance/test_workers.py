"""Workers that die, hang or are lied to: the job goes on, and nobody else's job suffers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess

import psutil
import pytest

from syncd.domain import JobState
from syncd.errors import ErrorCode
from tests.acceptance.service import Service, valid_report, wait_for
from tests.material import PairTruth


def drop(service: Service, pair: PairTruth, title: str = "show") -> None:
    shutil.copy(pair.master_path, service.drop / f"{title}_master.wav")
    shutil.copy(pair.dub_path, service.drop / f"{title}_dub.wav")


def workers(service: Service) -> list[psutil.Process]:
    return service.workers()


def measuring_worker(service: Service) -> psutil.Process:
    """A worker in the middle of reading a file."""

    def under_way() -> bool:
        return any(job.progress and job.progress.stage.startswith("decode") for job in service.jobs())

    wait_for(under_way, what="a job that is being read")
    return workers(service)[0]


def test_a_worker_that_is_killed_costs_its_job_one_attempt(service: Service, long_pair: PairTruth) -> None:
    service.start()
    drop(service, long_pair)
    measuring_worker(service).send_signal(signal.SIGKILL)
    (job,) = service.wait_for_jobs(1)
    assert job.state is JobState.COMPLETED
    assert job.attempts == 2
    attempts = service.read(lambda reader: reader.attempts(job.job_id))
    assert [attempt.failure and attempt.failure.code for attempt in attempts] == [ErrorCode.WORKER_CRASHED, None]


def test_a_worker_that_crashes_leaves_its_stack_where_show_finds_it(service: Service, long_pair: PairTruth) -> None:
    service.start()
    drop(service, long_pair)
    worker = measuring_worker(service)
    assert worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)  # Nor an image of its memory on somebody's disk.
    worker.send_signal(signal.SIGSEGV)
    (job,) = service.wait_for_jobs(1)
    assert job.state is JobState.COMPLETED
    crashed, again = service.read(lambda reader: reader.attempts(job.job_id))
    assert crashed.stage is not None
    assert again.stack is None
    shown = service.syncctl("show", str(job.job_id))
    assert f"last printed (stage {crashed.stage})" in shown
    assert "Fatal Python error: Segmentation fault" in shown
    report = valid_report(service.drop / "show_dub.wav.sync.json")
    assert report["processing"]["degraded"] == ["features from the cache"]


def test_a_worker_that_stands_still_is_ended_and_the_job_fails_in_the_end(
    service: Service, long_pair: PairTruth
) -> None:
    service.extra = "[workers]\nstall_seconds = 6.0\nmax_attempts = 1\n"
    service.write_config()
    service.start()
    drop(service, long_pair)
    stopped = measuring_worker(service)
    stopped.send_signal(signal.SIGSTOP)
    (job,) = service.wait_for_jobs(1)
    assert job.state is JobState.FAILED
    assert job.failure is not None
    assert job.failure.code is ErrorCode.WORKER_STALLED
    assert valid_report(service.drop / "show_dub.wav.sync.json")["error"]["code"] == "WORKER_STALLED"
    assert not stopped.is_running() or stopped.status() == psutil.STATUS_ZOMBIE


def test_a_daemon_that_is_killed_leaves_no_worker_behind(service: Service, long_pair: PairTruth) -> None:
    service.start()
    drop(service, long_pair)
    worker = measuring_worker(service)
    service.stop(signal.SIGKILL)
    wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, what="the end of the worker")


def test_a_stop_leaves_no_worker_and_no_open_scratch_behind(service: Service, long_pair: PairTruth) -> None:
    service.start()
    drop(service, long_pair)
    worker = measuring_worker(service)
    assert service.stop(deadline_s=5.0) == 0
    assert not worker.is_running()
    assert list((service.home / "cache" / "scratch").iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a full disk")
def test_a_full_disk_is_an_error_of_its_own_and_loses_nothing(service: Service, short_pair: PairTruth) -> None:
    """The report does not fit beside the media: the job fails with DISK_FULL, the ledger keeps the report."""
    service.extra = "[workers]\nmax_attempts = 1\n"
    service.write_config()
    size_bytes = sum(path.stat().st_size for path in (short_pair.master_path, short_pair.dub_path)) + 16384
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", service.drop], check=True)
    try:
        drop(service, short_pair)
        (service.drop / "filler.txt").write_bytes(b"x" * (_free_bytes(service)))
        assert service.run_once() == 3
        (job,) = service.jobs()
        assert job.failure is not None
        assert job.failure.code is ErrorCode.DISK_FULL
        kept = service.syncctl_json("show", "1")["report"]
        assert kept["verdict"] == "offset"
        assert not list(service.drop.glob(".*"))
    finally:
        subprocess.run(["umount", "-l", service.drop], check=True)


def _free_bytes(service: Service) -> int:
    status = os.statvfs(service.drop)
    return status.f_bavail * status.f_frsize


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a folder read-only")
def test_a_read_only_folder_fails_the_job_or_sends_the_report_to_the_fallback(
    service: Service, short_pair: PairTruth
) -> None:
    service.extra = "[workers]\nmax_attempts = 1\n"
    service.write_config()
    drop(service, short_pair)
    subprocess.run(["mount", "--bind", service.drop, service.drop], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", service.drop], check=True)
    try:
        assert service.run_once() == 3
        (job,) = service.jobs()
        assert job.failure is not None
        assert job.failure.code is ErrorCode.PERMISSION_DENIED
        assert "folder_unwritable" in service.newest_log.read_text(encoding="utf-8")
        service.extra = f"[reports]\nfallback = '{service.home / 'fallback'}'\n"
        service.write_config()
        service.syncctl("retry", "1")
        assert service.run_once() == 0
        again = service.jobs()[-1]
        assert again.state is JobState.COMPLETED
        assert again.sidecar_path is not None
        assert again.sidecar_path.parent == service.home / "fallback"
        assert "folder_unwritable" not in service.newest_log.read_text(encoding="utf-8")
        assert valid_report(again.sidecar_path)["verdict"] == "offset"
    finally:
        subprocess.run(["umount", "-l", service.drop], check=True)


def test_an_idle_worker_that_died_costs_nobody_an_attempt(service: Service, short_pair: PairTruth) -> None:
    service.extra = "[workers]\nmax_attempts = 1\n"
    service.write_config()
    service.start()
    drop(service, short_pair, "first")
    service.wait_for_jobs(1)
    for worker in workers(service):
        worker.kill()
    drop(service, short_pair, "second")
    jobs = service.wait_for_jobs(2)
    assert [job.state for job in jobs] == [JobState.COMPLETED] * 2
