"""From drop to report, with the real daemon on real files."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from syncd.domain import JobState, Verdict
from tests.acceptance.service import Service, copy_slowly, valid_report, wait_for
from tests.material import PairTruth, Programme, make_pair, make_unrelated_pair, write_wav

CONTAINERS = {"wav": "wav", "flac": "flac", "mp4": "mp4", "mkv": "mkv-flac"}


def drop_pair(service: Service, pair: PairTruth, title: str = "show") -> tuple[Path, Path]:
    master = service.drop / f"{title}_master{pair.master_path.suffix}"
    dub = service.drop / f"{title}_dub_fr{pair.dub_path.suffix}"
    shutil.copy(pair.master_path, master)
    shutil.copy(pair.dub_path, dub)
    return master, dub


def test_a_dropped_pair_ends_in_a_report_beside_the_dub(service: Service, short_pair: PairTruth) -> None:
    service.start()
    _master, dub = drop_pair(service, short_pair)
    (job,) = service.wait_for_jobs(1)
    report = valid_report(dub.with_name(dub.name + ".sync.json"))
    assert job.state is JobState.COMPLETED
    assert job.verdict is Verdict.OFFSET
    assert report["language"] == "fr"
    assert report["consensus_offset"]["offset_seconds"] == pytest.approx(short_pair.offset_s, abs=1e-4)
    assert "late" in report["sync_status"]
    assert (dub.with_name(dub.name + ".sync.html")).exists()


def test_a_measured_pair_that_is_renamed_is_not_measured_again_and_the_log_says_where_its_report_is(
    service: Service, short_pair: PairTruth
) -> None:
    service.start()
    master, dub = drop_pair(service, short_pair)
    (job,) = service.wait_for_jobs(1)
    master.rename(service.drop / "other_master.wav")
    dub.rename(service.drop / "other_dub_fr.wav")
    wait_for(lambda: "found_again" in service.log(), what="a word about the new names")
    (line,) = (line for line in service.log().splitlines() if "found_again" in line)
    assert "other_dub_fr.wav" in line
    assert f"{dub.name}.sync.json" in line
    assert [other.job_id for other in service.jobs()] == [job.job_id]
    assert service.read(lambda reader: reader.events(job.job_id))[-1].verb == "found_again"
    head = service.syncctl("show", str(job.job_id)).partition("Profile")[0]
    assert head.split("Found again")[1].strip() == str(service.drop / "other_dub_fr.wav")


def test_a_pair_that_was_copied_while_its_job_waited_is_measured_where_it_is_once_its_first_place_is_gone(
    service: Service, short_pair: PairTruth
) -> None:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    service.syncctl("pause")
    master, dub = drop_pair(service, short_pair)
    wait_for(service.jobs, what="the job")
    elsewhere = service.drop / "moved"
    elsewhere.mkdir()
    for path in (master, dub):
        shutil.copy2(path, elsewhere / path.name)
    wait_for(lambda: "found_again" in service.log(), what="a word about the other place")
    master.unlink()
    dub.unlink()
    service.syncctl("resume")
    first, second = sorted(service.wait_for_jobs(2), key=lambda job: job.job_id)
    assert (first.state, second.state) == (JobState.FAILED, JobState.COMPLETED)
    assert valid_report(elsewhere / f"{dub.name}.sync.json")["job_id"] == second.job_id


def test_slow_copies_of_every_kind_survive_a_kill_half_way(service: Service, tmp_path: Path) -> None:
    """Real WAV, FLAC, MP4 and MKV pairs; SIGKILL in the middle; exactly one report and one completed job for each."""
    made = tmp_path / "made"
    made.mkdir()
    truths = {
        title: make_pair(
            made,
            seed=30 + number,
            duration_s=40.0,
            offset_s=-1.5 + number,
            container=container,
            master_name=f"{title}_master",
            dub_name=f"{title}_dub_de",
        )
        for number, (title, container) in enumerate(CONTAINERS.items())
    }
    service.start()
    copies = [
        threading.Thread(target=copy_slowly, args=(path, service.drop / path.name))
        for truth in truths.values()
        for path in (truth.master_path, truth.dub_path)
    ]
    for copy in copies:
        copy.start()
    wait_for(lambda: any(job.state is not JobState.QUEUED for job in service.jobs()), what="the first job under way")
    service.stop(signal.SIGKILL)
    for copy in copies:
        copy.join()
    service.start()
    jobs = service.wait_for_jobs(len(truths))
    assert [job.state for job in jobs] == [JobState.COMPLETED] * len(truths)
    sidecars = sorted(service.drop.glob("*.sync.json"))
    assert [path.name for path in sidecars] == sorted(f"{t.dub_path.name}.sync.json" for t in truths.values())
    for truth in truths.values():
        report = valid_report(service.drop / f"{truth.dub_path.name}.sync.json")
        tolerance_s = 1e-4 if truth.dub_path.suffix in {".wav", ".flac", ".mkv"} else 5e-4
        assert report["consensus_offset"]["offset_seconds"] == pytest.approx(truth.offset_s, abs=tolerance_s)
    wait_for(lambda: not list(service.drop.glob(".*")), what="nothing hidden (the index is the last that is written)")


def test_two_programmes_are_said_to_be_two(service: Service, tmp_path: Path) -> None:
    pair = make_unrelated_pair(tmp_path, seed=5, duration_s=40.0)
    for path, name in ((pair.master_path, "x_master.wav"), (pair.dub_path, "x_dub_fr.wav")):
        shutil.copy(path, service.drop / name)
    assert service.run_once() == 0
    report = valid_report(service.drop / "x_dub_fr.wav.sync.json")
    assert report["verdict"] == "no_match"
    assert report["consensus_offset"] is None
    assert report["correction"] is None


def test_once_ends_when_everything_present_is_done_and_orphans_do_not_hold_it(
    service: Service, short_pair: PairTruth
) -> None:
    drop_pair(service, short_pair)
    shutil.copy(short_pair.master_path, service.drop / "lonely_master.wav")
    assert service.run_once() == 0
    assert [job.state for job in service.jobs()] == [JobState.COMPLETED]


def test_the_same_pair_is_measured_once_however_often_the_daemon_starts(
    service: Service, short_pair: PairTruth
) -> None:
    drop_pair(service, short_pair)
    assert service.run_once() == 0
    assert service.run_once() == 0
    assert len(service.jobs()) == 1


def test_a_replaced_dub_is_measured_again(service: Service, short_pair: PairTruth, tmp_path: Path) -> None:
    _master, dub = drop_pair(service, short_pair)
    assert service.run_once() == 0
    other = make_pair(tmp_path, seed=1, duration_s=12.0, offset_s=0.5)
    shutil.copy(other.dub_path, dub)
    assert service.run_once() == 0
    first, second = service.jobs()
    assert first.superseded_by == second.job_id
    assert second.offset_s == pytest.approx(0.5, abs=1e-4)


def test_a_stop_hands_the_running_job_back_and_it_goes_on_after_the_next_start(
    service: Service, long_pair: PairTruth
) -> None:
    service.start()
    drop_pair(service, long_pair)
    wait_for(
        lambda: any(job.state is JobState.RUNNING and job.progress for job in service.jobs()), what="a running job"
    )
    assert service.stop(deadline_s=5.0) == 0
    (job,) = service.jobs()
    assert job.state is JobState.QUEUED
    service.start()
    (job,) = service.wait_for_jobs(1)
    assert job.state is JobState.COMPLETED
    assert job.attempts == 1


def test_a_reload_drops_no_job_that_runs_or_waits(
    service: Service, short_pair: PairTruth, long_pair: PairTruth
) -> None:
    service.extra = "[workers]\ncpu_slots = 1\n"
    service.write_config()
    process = service.start()
    drop_pair(service, long_pair, "running")
    wait_for(lambda: any(job.progress for job in service.jobs()), what="a job under way")
    drop_pair(service, short_pair, "waiting")
    wait_for(lambda: len(service.states()) == 2, what="a job that waits")
    service.write_config(profile="confidence_threshold = 0.5")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: '"event": "reloaded"' in service.log(), what="the reload")
    jobs = service.wait_for_jobs(2)
    assert [(job.state, job.attempts, job.superseded_by) for job in jobs] == [(JobState.COMPLETED, 1, None)] * 2


SLOW_TO_STOP = """
import time
from syncd import daemon
from syncd.supervisor import reporter
reporter.Reporter.stop = lambda *_: time.sleep(60.0)
daemon.main()
"""
STOPS = (signal.SIGTERM, signal.SIGINT)


@pytest.mark.parametrize(("first", "second"), list(itertools.product(STOPS, STOPS)))
def test_a_second_signal_to_stop_ends_it_at_once_whichever_it_is(
    service: Service, first: signal.Signals, second: signal.Signals
) -> None:
    service.program = ("-c", SLOW_TO_STOP)
    process = service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    process.send_signal(first)
    wait_for(lambda: "stopping" in service.log(), what="its stop")
    assert service.stop(second) == 128 + second


def test_a_second_daemon_on_the_same_ledger_is_refused(service: Service) -> None:
    service.start()
    wait_for(lambda: service.ledger.exists() and "started" in service.log(), what="the daemon")
    assert Service(service.home).start("--once").wait(timeout=20) == 11


def test_a_reload_adds_a_folder_and_a_faulty_one_changes_nothing(service: Service, short_pair: PairTruth) -> None:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    assert service.process is not None
    second = service.home / "second"
    second.mkdir()
    service.write_config(watch="colour = 'red'")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload_refused" in service.log(), what="the refusal")
    service.write_config(watch=f"[[watch]]\npath = '{second}'\nsettle_seconds = 0.3\npriority = 'high'")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in service.log(), what="the reload")
    shutil.copy(short_pair.master_path, second / "a_master.wav")
    shutil.copy(short_pair.dub_path, second / "a_dub.wav")
    (job,) = service.wait_for_jobs(1)
    assert job.priority.value == "high"


def test_a_check_names_every_fault_at_once(service: Service) -> None:
    service.write_config(watch="colour = 'red'\npolling = 'sometimes'")
    assert service.start("--check").wait(timeout=20) == 2
    assert "watch.0.colour" in service.log()
    assert "watch.0.polling" in service.log()
    assert "Traceback" not in service.log()


def test_once_with_a_missing_folder_says_so_and_fails(service: Service) -> None:
    service.drop.rmdir()
    assert service.run_once() == 1
    assert "cannot be reached" in service.log()


def test_of_two_folders_in_each_other_each_keeps_its_own_files(service: Service, short_pair: PairTruth) -> None:
    inner = service.drop / "urgent"
    inner.mkdir()
    service.write_config(watch=f"[[watch]]\npath = '{inner}'\nsettle_seconds = 0.3\npriority = 'high'")
    shutil.copy(short_pair.master_path, inner / "a_master.wav")
    shutil.copy(short_pair.dub_path, inner / "a_dub.wav")
    assert service.run_once() == 0
    (job,) = service.jobs()
    assert job.priority.value == "high"


def test_once_does_not_wait_for_a_paused_ledger(service: Service, short_pair: PairTruth) -> None:
    service.run_once()
    service.syncctl("pause")
    drop_pair(service, short_pair)
    assert service.run_once() == 1
    assert "syncctl resume" in service.log()


def test_an_orphan_that_is_gone_at_the_next_start_is_listed_no_more(service: Service, short_pair: PairTruth) -> None:
    lonely = service.drop / "lonely_dub_fr.wav"
    shutil.copy(short_pair.dub_path, lonely)
    service.start()
    wait_for(lambda: '"orphan"' in service.log(), what="the orphan")
    assert service.read(lambda reader: reader.orphans(10))
    service.stop()
    lonely.unlink()
    service.run_once()
    assert service.read(lambda reader: reader.orphans(10)) == []


def test_a_reload_that_would_need_a_restart_is_refused(service: Service) -> None:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    assert service.process is not None
    text = service.config.read_text(encoding="utf-8")
    service.config.write_text(text.replace("ledger.db", "other.db"), encoding="utf-8")
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reload_refused" in service.log(), what="the refusal")
    assert "ledger.path" in service.log()


def test_stems_of_a_surround_dub_are_one_job_with_one_report(service: Service) -> None:
    """Six mono files against a stereo master; a stem that is replaced makes a new version of the whole."""
    programme = Programme(46, 12.0, 48_000)
    n = programme.n_samples
    bed = programme.bed(0, n) * 0.2
    english, french = (programme.dialogue(language, 0, n).mean(axis=0) * 0.5 for language in (1, 2))
    late = np.zeros(24_000, dtype=np.float32)
    left, right = bed
    channels = {"L": left, "R": right, "C": french, "LFE": 0.3 * left, "Ls": 0.5 * left, "Rs": 0.5 * right}
    write_wav(service.drop / "show_master.wav", np.stack([channel + 0.7 * english for channel in bed]), 48_000)
    for name, sound in channels.items():
        write_wav(service.drop / f"show_dub_fr.{name}.wav", np.concatenate((late, sound))[None], 48_000)
    service.start()
    (job,) = service.wait_for_jobs(1)
    report = valid_report(service.drop / "show_dub_fr.L.wav.sync.json")
    assert (job.title, job.language, job.verdict) == ("show", "fr", Verdict.OFFSET)
    assert report["consensus_offset"]["offset_seconds"] == pytest.approx(-0.5, abs=1e-4)
    assert (report["dub"]["channels"], report["correction"]) == (6, None)
    assert {stem["channel"] for stem in report["dub"]["stems"]} == set(channels)

    write_wav(service.drop / "show_dub_fr.C.wav", np.concatenate((late, english))[None], 48_000)
    again = service.wait_for_jobs(2)[1]
    assert again.state is JobState.COMPLETED
    newer = valid_report(service.drop / "show_dub_fr.L.wav.sync.json")
    assert newer["job_id"] == again.job_id
    assert newer["dub"]["fingerprint"] != report["dub"]["fingerprint"]


def test_a_job_ends_with_one_line_that_says_all_of_it_and_a_reload_changes_the_level(
    service: Service, short_pair: PairTruth
) -> None:
    service.write_config(profile='[log]\nlevel = "warning"')
    service.start()
    drop_pair(service, short_pair, "quiet")
    service.wait_for_jobs(1)
    assert service.log() == ""
    service.write_config(profile='[log]\nlevel = "info"')
    assert service.process is not None
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: "reloaded" in service.log(), what="the reload")
    replaced = bytearray(short_pair.dub_path.read_bytes())
    replaced[-4:] = b"\1\2\3\4"
    (service.drop / "loud_dub_fr.wav").write_bytes(replaced)
    shutil.copy(short_pair.master_path, service.drop / "loud_master.wav")
    service.wait_for_jobs(2)
    (line,) = (told for told in map(json.loads, service.log().splitlines()) if told["event"] == "report")
    assert (line["job"], line["title"], line["language"], line["state"]) == (2, "loud", "fr", "completed")
    assert (line["verdict"], line["device"], line["attempt"]) == ("offset", "cpu", 1)
    assert line["offset_s"] == pytest.approx(short_pair.offset_s, abs=1e-4)
    assert line["since_enqueued_s"] >= line["seconds"] > 0.0
    assert line["sidecar"] == str(service.drop / "loud_dub_fr.wav.sync.json")
    assert line["peak_mib"] > 0
