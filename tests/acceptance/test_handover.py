"""What becomes of a pair once its report is out, with the real daemon."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from syncd.domain import JobState, Moving
from syncd.handover.move import look
from syncd.ledger.ledger import Ledger
from syncd.reports.index import INDEX_NAME
from tests.acceptance.service import Service, valid_report, wait_for
from tests.material import PairTruth

TELL = """import json, os, sys
told = {name: value for name, value in os.environ.items() if name.startswith("SYNCD_")}
with open(sys.argv[1], "a") as log:
    log.write(json.dumps(told) + "\\n")
"""


def hook(service: Service, body: str = TELL, *, seconds: float = 30.0) -> str:
    """The section that has this program of Python run."""
    path = service.home / "hook"
    path.write_text(f"#!{sys.executable}\n{body}", encoding="utf-8")
    path.chmod(0o755)
    argv = json.dumps([str(path), str(service.home / "told")])
    return f"[handover]\non_complete = {argv}\non_complete_seconds = {seconds}\n"


def told(service: Service) -> list[dict[str, Any]]:
    path = service.home / "told"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def drop(service: Service, pair: PairTruth, title: str, *languages: str, folder: str = "") -> tuple[Path, list[Path]]:
    below = service.drop / folder
    below.mkdir(parents=True, exist_ok=True)
    dubs = [below / f"{title}_dub_{language}.wav" for language in languages]
    for number, dub in enumerate(dubs):
        shutil.copy(pair.dub_path, dub)
        with dub.open("ab") as stream:
            stream.write(bytes(number))  # Each its own contents.
    shutil.copy(pair.master_path, below / f"{title}_master.wav")
    return below / f"{title}_master.wav", dubs


def moves(service: Service) -> str:
    return f"[reports]\ndone = '{service.home}/done'\nfailed = '{service.home}/failed'\n"


def configure(service: Service, extra: str) -> None:
    service.extra = extra
    service.write_config()


def names(folder: Path) -> set[str]:
    """All files; the list of a folder's reports is the folder's own and stays in it."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != INDEX_NAME}


def test_a_finished_pair_leaves_the_folder_with_its_reports_and_the_command_is_told_where_it_went(
    service: Service, short_pair: PairTruth
) -> None:
    configure(service, moves(service) + hook(service))
    service.start()
    master, (dub,) = drop(service, short_pair, "it's $(me); x", "fr", folder="week 1")
    (line,) = wait_for(lambda: told(service), what="the command")
    (job,) = service.wait_for_jobs(1)
    done = service.home / "done"
    assert job.state is JobState.COMPLETED
    assert names(done) == {
        f"week 1/{name}" for name in (master.name, dub.name, f"{dub.name}.sync.json", f"{dub.name}.sync.html")
    }
    assert names(service.drop) == set()
    assert line["SYNCD_TITLE"] == "it's $(me); x"
    assert line["SYNCD_DUB"] == str(done / "week 1" / dub.name)
    assert line["SYNCD_MASTER"] == str(done / "week 1" / master.name)
    assert valid_report(Path(line["SYNCD_SIDECAR"]))["job_id"] == job.job_id
    assert Path(line["SYNCD_PAGE"]).is_file()
    assert float(line["SYNCD_OFFSET_SECONDS"]) == pytest.approx(short_pair.offset_s, abs=1e-4)
    shown = service.syncctl_json("show", str(job.job_id))
    assert str(done / "week 1" / dub.name) in json.dumps(shown["job"])
    assert [event["verb"] for event in shown["events"]][-2:] == ["moved", "moved"]


def test_a_pair_that_was_moved_and_comes_again_is_not_measured_again(service: Service, short_pair: PairTruth) -> None:
    configure(service, moves(service))
    service.start()
    master, (dub,) = drop(service, short_pair, "show", "fr")
    done = service.home / "done"
    wait_for((done / master.name).exists, what="the master's move")
    service.stop()
    for path in (master, dub):
        shutil.copy2(done / path.name, path)
    assert service.run_once() == 0
    assert "found_again" in service.log()
    assert len(service.jobs()) == 1
    assert dub.exists()


def test_a_taken_name_is_left_alone_and_the_reports_follow_the_new_one(service: Service, short_pair: PairTruth) -> None:
    configure(service, moves(service))
    done = service.home / "done"
    done.mkdir()
    (done / "show_dub_fr.wav.sync.json").write_text("mine")
    drop(service, short_pair, "show", "fr")
    assert service.run_once() == 0
    assert names(done) == {
        "show_dub_fr.wav.sync.json",
        "show_dub_fr.2.wav",
        "show_dub_fr.2.wav.sync.json",
        "show_dub_fr.2.wav.sync.html",
        "show_master.wav",
    }
    assert (done / "show_dub_fr.wav.sync.json").read_text() == "mine"


def test_the_master_stays_while_a_dub_of_it_does(service: Service, short_pair: PairTruth) -> None:
    configure(service, f"[reports]\ndone = '{service.home}/done'\n")
    master, dubs = drop(service, short_pair, "show", "fr", "de")
    dubs[1].write_bytes(b"no sound at all")
    assert service.run_once() == 3
    assert names(service.home / "done") == {f"{dubs[0].name}{ending}" for ending in ("", ".sync.json", ".sync.html")}
    assert master.exists()
    assert dubs[1].exists()


def test_failed_pairs_go_where_failed_ones_go(service: Service, short_pair: PairTruth) -> None:
    configure(service, moves(service) + hook(service))
    master, (dub,) = drop(service, short_pair, "show", "fr")
    dub.write_bytes(b"no sound at all")
    assert service.run_once() == 3
    assert {master.name, dub.name} < names(service.home / "failed")
    (line,) = told(service)
    assert (line["SYNCD_STATE"], line["SYNCD_VERDICT"], line["SYNCD_OFFSET_SECONDS"]) == ("failed", "", "")
    assert line["SYNCD_ERROR_CODE"]


def test_files_that_cannot_be_moved_stay_and_the_job_is_what_it_was(service: Service, short_pair: PairTruth) -> None:
    configure(service, moves(service) + hook(service))
    (service.home / "done").write_text("a file stands in the way")
    master, (dub,) = drop(service, short_pair, "show", "fr")
    assert service.run_once() == 0
    assert master.exists()
    assert dub.exists()
    assert "not_moved" in service.log()
    assert told(service)[0]["SYNCD_DUB"] == str(dub)
    history = service.syncctl_json("show", "1")["events"]
    (reason,) = {event["details"]["reason"] for event in history if event["verb"] == "not_moved"}
    assert str(service.home / "done") in reason
    assert reason in " ".join(service.syncctl("show", "1").split())


def test_a_command_that_hangs_holds_no_job_up_and_is_run_again_after_a_kill(
    service: Service, short_pair: PairTruth
) -> None:
    configure(service, hook(service, f"{TELL}import time\ntime.sleep(600)\n", seconds=600.0))
    service.start()
    drop(service, short_pair, "one", "fr", "de", "it", "es", "pl", "nl")
    service.wait_for_jobs(6)
    wait_for(lambda: len(told(service)) == 4, what="as many commands as run at once")
    assert service.process is not None
    left_behind = psutil.Process(service.process.pid).children(recursive=True)
    service.stop(signal.SIGKILL)
    for process in left_behind:  # As the unit's control group does; workers end by themselves.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    configure(service, hook(service))
    service.start()
    wait_for(lambda: len(told(service)) == 10, what="the others, and those that were cut off")
    assert {line["SYNCD_JOB"] for line in told(service)} == {"1", "2", "3", "4", "5", "6"}
    wait_for(lambda: service.log().count('"handed_over"') == 6, what="their good ends")
    assert service.stop() == 0
    service.start()
    drop(service, short_pair, "two", "fr")
    wait_for(lambda: len(told(service)) == 11, what="the new job alone")
    assert told(service)[-1]["SYNCD_TITLE"] == "two"


def test_a_command_that_runs_does_not_keep_the_daemon_from_stopping(service: Service, short_pair: PairTruth) -> None:
    body = f"{TELL}import signal, time\nsignal.signal(15, signal.SIG_IGN)\ntime.sleep(600)\n"
    configure(service, hook(service, body, seconds=600.0))
    service.start()
    drop(service, short_pair, "one", "fr")
    wait_for(lambda: told(service), what="the command")
    assert service.stop(deadline_s=5.0) == 0
    configure(service, hook(service))
    assert service.run_once() == 0
    assert [line["SYNCD_JOB"] for line in told(service)] == ["1", "1"]


def test_switched_on_it_begins_with_what_ends_from_then_on(service: Service, short_pair: PairTruth) -> None:
    drop(service, short_pair, "before", "fr")
    assert service.run_once() == 0
    configure(service, hook(service))
    drop(service, short_pair, "after", "de")
    assert service.run_once() == 0
    assert [line["SYNCD_TITLE"] for line in told(service)] == ["after"]


def test_a_failing_command_is_a_warning_with_its_last_words(service: Service, short_pair: PairTruth) -> None:
    configure(service, hook(service, "import sys\nsys.exit('no such host')\n"))
    drop(service, short_pair, "one", "fr")
    assert service.run_once() == 0
    (line,) = (json.loads(each) for each in service.log().splitlines() if "command_failed" in each)
    assert (line["level"], line["status"], line["failures"]) == ("warning", 1, 1)
    assert line["last_words"] == "no such host"
    assert "it failed (status 1): no such host" in service.syncctl("show", "1")


def test_a_move_that_a_crash_cut_off_is_finished_at_the_next_start(service: Service, short_pair: PairTruth) -> None:
    master, (dub,) = drop(service, short_pair, "show", "fr")
    assert service.run_once() == 0
    done = service.home / "done"
    ledger = Ledger.open(service.ledger)
    subject = ledger.handover.subject(1)
    assert subject is not None
    reports = [dub.with_name(f"{dub.name}.sync.{kind}") for kind in ("json", "html")]
    order = Moving(1, subject.dub.media_id, look([(path, done / path.name) for path in (dub, *reports)]))
    ledger.handover.begin_moving(order)
    ledger.close()
    done.mkdir()
    dub.rename(done / dub.name)  # So far it had come.
    assert service.run_once() == 0
    assert names(done) == {dub.name, *(path.name for path in reports)}
    assert names(service.drop) == {master.name}
    (job,) = service.jobs()
    assert (job.dub_path, job.sidecar_path) == (done / dub.name, done / reports[0].name)


def test_stems_move_together(service: Service, short_pair: PairTruth) -> None:
    configure(service, moves(service))
    shutil.copy(short_pair.master_path, service.drop / "show_master.wav")
    for channel in ("L", "R"):
        shutil.copy(short_pair.dub_path, service.drop / f"show_dub_fr.{channel}.wav")
    service.run_once()
    moved = names(service.home / "done") | names(service.home / "failed")
    assert {"show_master.wav", "show_dub_fr.L.wav", "show_dub_fr.R.wav", "show_dub_fr.L.wav.sync.json"} <= moved
    assert names(service.drop) == set()
