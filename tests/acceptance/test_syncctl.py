"""The commands, against a real daemon."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from syncd.domain import JobState
from syncd.errors import ErrorCode
from syncd.ledger.records import RequestKind
from syncd.ledger.requests import RequestBox
from tests.acceptance.service import SCHEMA, Service, valid_report, wait_for
from tests.material import PairTruth, Programme, make_pair
from tests.material.tracks import SoundTrack, write_tracks


@pytest.fixture
def running(service: Service) -> Service:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    return service


def drop(service: Service, pair: PairTruth, title: str, language: str = "fr") -> None:
    shutil.copy(pair.master_path, service.drop / f"{title}_master.wav")
    shutil.copy(pair.dub_path, service.drop / f"{title}_dub_{language}.wav")


def test_list_filters_and_pages(running: Service, short_pair: PairTruth) -> None:
    for title in ("alpha", "beta", "gamma"):
        drop(running, short_pair, title)
    running.wait_for_jobs(3)
    everything = running.syncctl_json("list")
    assert len(everything["jobs"]) == 3
    page = running.syncctl_json("list", "--limit", "2")
    rest = running.syncctl_json("list", "--before", str(page["next"]))
    assert [job["job_id"] for job in page["jobs"] + rest["jobs"]] == [job["job_id"] for job in everything["jobs"]]
    assert [job["title"] for job in running.syncctl_json("list", "--title", "BET")["jobs"]] == ["beta"]
    assert running.syncctl_json("list", "--state", "failed")["jobs"] == []
    assert running.syncctl_json("list", "--language", "de")["jobs"] == []
    assert len(running.syncctl_json("list", "--verdict", "offset", "--since", "1h")["jobs"]) == 3
    assert "alpha" in running.syncctl("list")


def test_orphans_are_listed_with_what_is_missing(running: Service, short_pair: PairTruth) -> None:
    shutil.copy(short_pair.dub_path, running.drop / "lonely_dub_fr.wav")
    orphans = wait_for(lambda: running.syncctl_json("list", "--orphans")["orphans"], what="the orphan")
    assert orphans[0]["reason"] == "no_master"
    assert "lonely" in running.syncctl("list", "--orphans")


def test_show_reads_like_a_report_and_watch_ends_with_the_job(running: Service, short_pair: PairTruth) -> None:
    drop(running, short_pair, "alpha")
    wait_for(running.jobs, what="the job")
    running.syncctl("watch", "1")
    text = running.syncctl("show", "1")
    assert "late" in text
    assert "correlation" in text
    shown = running.syncctl_json("show", "1")
    jsonschema.validate(shown["report"], SCHEMA)
    assert shown["job"]["state"] == "completed"
    assert len(shown["attempts"]) == 1


def test_stats_and_exports_tell_what_was_done(running: Service, short_pair: PairTruth) -> None:
    drop(running, short_pair, "alpha")
    running.wait_for_jobs(1)
    told = running.syncctl_json("stats")
    assert told["stats"]["ended"] == {"completed": 1}
    assert told["stats"]["reports_read"] == 1
    assert all(spread["count"] == 1 for spread in told["stats"]["stages"].values())
    assert set(told["stats"]["stages"]) >= {"decode", "correlation"}
    assert "1 completed" in running.syncctl("stats", "--since", "1h")
    assert running.syncctl_json("stats", "--title", "another")["stats"]["ended"] == {}
    (row,) = csv.DictReader(running.syncctl("export", "jobs").splitlines())
    assert (row["title"], row["state"], row["verdict"]) == ("alpha", "completed", "offset")
    assert float(row["offset_s"]) == pytest.approx(short_pair.offset_s, abs=1e-4)
    (line,) = running.syncctl("export", "jobs", "--format", "jsonl", "--verdict", "offset").splitlines()
    assert json.loads(line)["job_id"] == 1
    assert running.syncctl("export", "jobs", "--format", "jsonl", "--state", "failed") == ""
    assert "alpha_dub_fr.wav on alpha_master.wav" in running.syncctl("export", "timeline", "1")
    written = running.home / "markers.mid"
    running.syncctl("export", "timeline", "1", "--format", "midi", "--output", str(written))
    assert written.read_bytes().startswith(b"MThd")
    running.syncctl("export", "timeline", "1", "--format", "midi", "--output", str(written), expect=2)
    running.syncctl("export", "timeline", "99", expect=4)


def test_pause_holds_jobs_and_cancel_calls_them_off(running: Service, short_pair: PairTruth) -> None:
    assert running.syncctl_json("pause")["outcome"] == {"paused": True}
    drop(running, short_pair, "alpha")
    drop(running, short_pair, "beta")
    wait_for(lambda: len(running.jobs()) == 2, what="two jobs")
    alpha, beta = (job.job_id for job in sorted(running.jobs(), key=lambda job: job.title))
    assert "nothing to call off" in running.syncctl("cancel", "--state", "running")
    assert running.syncctl_json("cancel", "--state", "queued", "--title", "ALPH")["outcome"]["canceled"] == [alpha]
    waiting = ("priority", "--state", "queued", "--to")
    assert "nothing to rank" in running.syncctl(*waiting, "low", "--language", "xx")
    assert running.syncctl_json(*waiting, "low")["outcome"]["changed"] == [beta]
    assert running.syncctl_json("priority", str(beta), "--to", "high")["outcome"]["changed"] == [beta]
    assert running.job(alpha).state is JobState.CANCELED
    assert running.job(beta).priority.value == "high"
    assert running.job(beta).state is JobState.QUEUED
    assert "is canceled: it has no report, and" in running.syncctl("export", "timeline", str(alpha), expect=4)
    assert "is queued: it has no report yet" in running.syncctl("export", "timeline", str(beta), expect=4)
    assert running.syncctl_json("resume")["outcome"] == {"paused": False}
    running.wait_for_jobs(2)
    assert running.job(alpha).state is JobState.CANCELED
    assert running.job(beta).state is JobState.COMPLETED
    assert not list(running.drop.glob("alpha*.sync.json"))


def test_a_running_job_is_called_off_within_seconds(running: Service, long_pair: PairTruth) -> None:
    drop(running, long_pair, "alpha")
    wait_for(lambda: any(job.progress for job in running.jobs()), what="a job under way")
    running.syncctl("cancel", "1")
    assert running.job(1).state is JobState.CANCELED
    drop(running, long_pair, "beta")
    jobs = running.wait_for_jobs(2)
    assert jobs[1].state is JobState.COMPLETED


def test_retry_makes_a_new_job_and_the_old_one_points_to_it(running: Service, short_pair: PairTruth) -> None:
    drop(running, short_pair, "alpha")
    running.wait_for_jobs(1)
    assert "--force" in running.syncctl("retry", "1", expect=2)
    assert "Job 1 goes on as job 2" in running.syncctl("retry", "1", "--force")
    jobs = running.wait_for_jobs(2)
    assert jobs[0].superseded_by == 2
    assert jobs[0].state is JobState.COMPLETED
    assert "nothing to retry" in running.syncctl("retry", "--state", "failed")
    assert "nothing to retry" in running.syncctl("retry", "--state", "completed", "--force", "--title", "beta")
    assert running.syncctl_json("retry", "2", "--force")["outcome"] == {"jobs": {"2": 3}}
    running.wait_for_jobs(3)
    assert running.syncctl_json("prune", "--keep", "0")["outcome"] == {"removed": 2}


@pytest.mark.parametrize("state", ["queued", "running", "superseded", "completed"])
def test_retry_names_the_states_that_it_takes(service: Service, state: str) -> None:
    service.run_once()
    told = service.syncctl("retry", "--state", state, expect=2)
    assert f"No job that is {state} is retried: --state takes failed, quarantined, canceled and" in told


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("cancel",), "Name jobs or --state"),
        (("cancel", "1", "--state", "queued"), "Name jobs or --state"),
        (("cancel", "1", "--title", "a"), "nothing to filter"),
        (("cancel", "--state", "completed"), "No job that is completed is called off"),
        (("priority", "--to", "high", "--state", "running"), "No job that is running waits any more"),
        (("retry", "--code", "DISK_FULL"), "Name jobs or --state"),
    ],
)
def test_jobs_are_named_or_filtered_by_a_state_that_fits(service: Service, asked: tuple[str, ...], told: str) -> None:
    service.run_once()
    assert told in service.syncctl(*asked, expect=2)


def test_submit_takes_any_names_and_batches(running: Service, short_pair: PairTruth, tmp_path: Path) -> None:
    made = running.syncctl_json(
        "submit", str(short_pair.master_path), str(short_pair.dub_path), "--language", "pt-BR", "--priority", "low"
    )
    assert made["requests"][0]["outcome"] == {"job_id": 1, "created": True}
    again = running.syncctl("submit", str(short_pair.master_path), str(short_pair.dub_path), "--language", "pt-BR")
    assert "already" in again
    other = make_pair(tmp_path / "other", seed=8, duration_s=12.0) if (tmp_path / "other").mkdir() is None else None
    assert other is not None
    batch = tmp_path / "batch.csv"
    batch.write_text(
        f"master,dub,language,priority\nother/{other.master_path.name},other/{other.dub_path.name},it,high\n",
        encoding="utf-8",
    )
    running.syncctl("submit", "--batch", str(batch))
    first, second = running.wait_for_jobs(2)
    assert (first.language, first.priority.value) == ("pt-BR", "low")
    assert (second.language, second.priority.value) == ("it", "high")
    for job in (first, second):
        assert job.state is JobState.COMPLETED


def test_a_submitted_pair_that_its_folder_has_found_is_its_job_already(running: Service, short_pair: PairTruth) -> None:
    drop(running, short_pair, "Some.Film", "pt-BR")
    (job,) = running.wait_for_jobs(1)
    files = [str(running.drop / f"Some.Film_{side}.wav") for side in ("master", "dub_pt-BR")]
    assert "job 1 already" in running.syncctl("submit", *files)
    running.syncctl("submit", *files, "--language", "fr")
    submitted = running.wait_for_jobs(2)[1]
    assert (job.language, job.superseded_by) == ("pt-BR", None)
    assert (submitted.title, submitted.language) == ("Some.Film", "fr")


def test_a_submit_at_fault_is_refused_with_a_sentence(running: Service, short_pair: PairTruth, tmp_path: Path) -> None:
    assert "nowhere.wav" in running.syncctl("submit", str(tmp_path / "nowhere.wav"), str(short_pair.dub_path), expect=1)
    unknown = running.syncctl("submit", "a", "b", "--profile", "gentle", expect=2)
    assert "gentle" in unknown
    (tmp_path / "bad.csv").write_text("master,colour\na,b\n", encoding="utf-8")
    assert "colour" in running.syncctl("submit", "--batch", str(tmp_path / "bad.csv"), expect=2)


def test_requests_are_kept_while_the_daemon_is_stopped(service: Service, short_pair: PairTruth) -> None:
    service.run_once()
    kept = service.syncctl("submit", str(short_pair.master_path), str(short_pair.dub_path))
    assert "as soon as it runs" in kept
    service.start()
    (job,) = service.wait_for_jobs(1)
    assert job.state is JobState.COMPLETED


def test_analyze_needs_no_daemon_and_gives_the_same_report(service: Service, short_pair: PairTruth) -> None:
    report = service.syncctl_json("analyze", str(short_pair.master_path), str(short_pair.dub_path))
    jsonschema.validate(report, SCHEMA)
    assert report["job_id"] is None
    assert report["consensus_offset"]["offset_seconds"] == pytest.approx(short_pair.offset_s, abs=1e-4)
    assert "late" in service.syncctl("analyze", str(short_pair.master_path), str(short_pair.dub_path))


def test_analyze_says_what_is_wrong_with_a_file(service: Service, short_pair: PairTruth, tmp_path: Path) -> None:
    said = service.syncctl("analyze", str(tmp_path / "none.wav"), str(short_pair.dub_path), expect=1)
    assert "none.wav" in said


def test_doctor_finds_nothing_wrong_when_nothing_is(running: Service) -> None:
    examined = running.syncctl_json("doctor")
    assert examined["ok"]
    assert {check["name"] for check in examined["checks"]} >= {"configuration", "ledger", "daemon", "folder", "worker"}


def test_doctor_says_what_is_wrong_and_what_to_do(service: Service) -> None:
    service.run_once()
    service.drop.rmdir()
    said = service.syncctl("doctor", expect=1)
    assert "is not there" in said
    assert "systemctl start syncd" in said


def test_exit_statuses_are_as_documented(service: Service, tmp_path: Path) -> None:
    service.syncctl("list", expect=10)
    service.run_once()
    service.syncctl("show", "999", expect=4)
    service.syncctl("cancel", expect=2)
    service.syncctl("list", "--config", str(tmp_path / "none.toml"), expect=2)


def test_the_schema_is_printed_as_json_schema(service: Service) -> None:
    jsonschema.Draft202012Validator.check_schema(json.loads(service.syncctl("schema")))


@pytest.mark.parametrize(
    "command", ["list", "list --json", "export jobs", "pause", "show 9 --json", "--help", "schema"]
)
def test_output_that_no_disk_takes_ends_with_a_sentence(service: Service, command: str) -> None:
    service.run_once()
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        done = subprocess.run(
            [sys.executable, "-m", "syncd.cli.app", *command.split()],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            env={**os.environ, "SYNCD_CONFIG": str(service.config)},
            check=False,
        )
    assert done.returncode == 1
    assert done.stderr == "syncctl: Standard output cannot be written to: No space left on device.\n"


@pytest.mark.parametrize("command", ["", "list", "export", "export jobs", "models check", "submit"])
def test_help_has_a_short_name_too(service: Service, command: str) -> None:
    assert service.syncctl(*command.split(), "-h") == service.syncctl(*command.split(), "--help")


def test_output_into_a_closed_pipe_ends_quietly(service: Service) -> None:
    service.run_once()
    with subprocess.Popen(
        [sys.executable, "-m", "syncd.cli.app", "schema"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "SYNCD_CONFIG": str(service.config)},
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert b"Traceback" not in command.stderr.read()


HUGE = "99999999999999999999"


@pytest.mark.parametrize(
    "arguments",
    [("show", HUGE), ("cancel", HUGE), ("list", "--before", HUGE), ("list", "--since", "99999999999d"), ("watch", "0")],
)
def test_figures_beyond_all_reason_are_refused_at_the_door(service: Service, arguments: tuple[str, ...]) -> None:
    service.run_once()
    service.syncctl(*arguments, expect=2)


def test_a_request_that_cannot_be_understood_leaves_the_daemon_standing(
    running: Service, short_pair: PairTruth
) -> None:
    """Written past the commands' own checks, as an older syncctl might."""
    box = RequestBox.open(running.ledger)
    for payload in ({"job_ids": [int(HUGE)]}, {"job_ids": ["1"]}, {"job_ids": None}, {}):
        box.add(RequestKind.CANCEL, dict(payload))
    box.add(RequestKind.SUBMIT, {"master": {"path": "relative"}, "dub": 7})
    box.close()
    running.syncctl("submit", str(short_pair.master_path), str(short_pair.dub_path))
    (job,) = running.wait_for_jobs(1)
    assert job.state is JobState.COMPLETED


def test_unknown_jobs_change_nothing_for_the_known_ones(running: Service, short_pair: PairTruth) -> None:
    running.syncctl("pause")
    drop(running, short_pair, "alpha")
    wait_for(running.jobs, what="the job")
    running.syncctl("cancel", "1", "999", expect=4)
    running.syncctl("priority", "999", "--to", "low", expect=4)
    assert running.job(1).state is JobState.QUEUED


def test_of_a_batch_the_good_rows_are_enqueued_and_the_bad_ones_named(
    running: Service, short_pair: PairTruth, tmp_path: Path
) -> None:
    batch = tmp_path / "batch.csv"
    rows = [(short_pair.master_path, short_pair.dub_path), (tmp_path / "no.wav", short_pair.dub_path)]
    batch.write_text("master,dub\n" + "".join(f"{master},{dub}\n" for master, dub in rows), encoding="utf-8")
    said = running.syncctl("submit", "--batch", str(batch), expect=3)
    assert "enqueued" in said
    assert "no.wav" in said


def test_a_pair_replaced_between_recording_and_measuring_is_not_reported_under_the_old_name(
    service: Service, short_pair: PairTruth, tmp_path: Path
) -> None:
    service.extra = "[workers]\nmax_attempts = 1\n"
    service.write_config()
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    running = service
    outside = tmp_path / "outside"
    outside.mkdir()
    master, dub = (Path(shutil.copy(path, outside)) for path in (short_pair.master_path, short_pair.dub_path))
    running.syncctl("pause")
    running.syncctl("submit", str(master), str(dub))
    dub.write_bytes(master.read_bytes())
    running.syncctl("resume")
    (job,) = running.wait_for_jobs(1)
    assert job.failure is not None
    assert job.failure.code is ErrorCode.FILE_CHANGED


def test_master_and_dub_may_be_two_tracks_of_one_file(running: Service, tmp_path: Path) -> None:
    """The same container twice: enqueued, measured, reported beside it; another track of it is another job."""
    programme = Programme(44, 12.0, 48_000)
    n = programme.n_samples
    bed = programme.bed(0, n) * 0.2
    english, french, german = (bed + programme.dialogue(language, 0, n) * 0.5 for language in (1, 2, 3))
    late = np.concatenate((np.zeros((2, 36_000)), french), axis=1)
    tracks = [
        SoundTrack(english, language="eng"),
        SoundTrack(late, language="fra"),
        SoundTrack(german, language="deu"),
    ]
    film = str(write_tracks(tmp_path / "film.mkv", tracks))

    running.syncctl("submit", film, film, "--master-track", "0", "--dub-track", "1", "--language", "fr")
    running.syncctl("submit", film, film, "--master-track", "0", "--dub-track", "2", "--language", "de")
    french_job, german_job = running.wait_for_jobs(2)
    assert (french_job.state, german_job.state) == (JobState.COMPLETED, JobState.COMPLETED)
    assert (french_job.offset_s, german_job.offset_s) == (pytest.approx(-0.75, abs=1e-4), pytest.approx(0.0, abs=1e-4))
    assert "already" in running.syncctl(
        "submit", film, film, "--master-track", "0", "--dub-track", "1", "--language", "fr"
    )
    reports = [valid_report(path) for path in sorted(tmp_path.glob("film.mkv*.sync.json"))]
    assert sorted((report["master"]["track"], report["dub"]["track"]) for report in reports) == [(0, 1), (0, 2)]

    same = running.syncctl_json("submit", film, film, "--master-track", "1", "--dub-track", "1")
    running.wait_for_jobs(3)
    refused = running.job(same["requests"][0]["outcome"]["job_id"])
    assert refused.failure is not None
    assert refused.failure.code is ErrorCode.TRACK_NOT_FOUND

    answer = json.loads(running.syncctl("analyze", film, film, "--master-track", "0", "--dub-track", "1", "--json"))
    assert answer["consensus_offset"]["offset_seconds"] == pytest.approx(-0.75, abs=1e-4)


def test_a_fault_of_syncctl_itself_is_a_sentence_that_names_where_the_trace_lies(
    running: Service, short_pair: PairTruth
) -> None:
    """A report in the ledger that no version of syncd wrote stands for whatever nobody thought of."""
    drop(running, short_pair, "alpha")
    (job,) = running.wait_for_jobs(1)
    running.stop()
    with closing(sqlite3.connect(running.ledger)) as ledger:
        ledger.execute("UPDATE reports SET report = '{}'")
        ledger.commit()
    told = running.syncctl("show", str(job.job_id), expect=1)
    kept = Path(re.findall(r"lies in (\S+)\.", told)[0])
    assert told.startswith("syncctl: ")
    assert "KeyError" in kept.read_text(encoding="utf-8")
    kept.unlink()


def test_a_broken_configuration_locks_nobody_out_of_a_running_daemon(running: Service, short_pair: PairTruth) -> None:
    drop(running, short_pair, "alpha")
    running.wait_for_jobs(1)
    with running.config.open("a", encoding="utf-8") as file:
        file.write("[workers]\ncpu_slots = none\n")
    for command in (("list",), ("show", "1"), ("pause",), ("retry", "1", "--force"), ("resume",), ("devices",)):
        done = running.call(*command)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("warning") == 1
        assert str(running.ledger) in done.stderr
    assert "alpha" in running.call("list").stdout
    assert "daemon: It runs." in running.call("doctor").stdout
    files = [str(running.drop / f"alpha_{side}.wav") for side in ("master", "dub_fr")]
    assert "already" in running.call("submit", *files).stdout
    assert [job.state for job in running.wait_for_jobs(2)] == [JobState.COMPLETED] * 2
