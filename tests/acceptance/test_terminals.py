"""What syncctl prints on terminals of every width, in every locale, and of names that are no text."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from syncd.cli.access import ANSWER_WAIT_S
from tests.acceptance.service import Service, wait_for
from tests.material import PairTruth

CONTROLS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_a_terminal(service: Service, width: int, *arguments: str) -> str:
    """What a terminal of so many columns is sent, control sequences left out."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    environment = {**os.environ, "SYNCD_CONFIG": str(service.config), "TERM": "xterm"}
    environment.pop("COLUMNS", None)
    with subprocess.Popen(
        [sys.executable, "-m", "syncd.cli.app", *arguments], stdout=theirs, stderr=theirs, env=environment
    ) as command:
        os.close(theirs)
        read = bytearray()
        while True:
            try:
                some = os.read(ours, 65_536)
            except OSError:  # So a terminal ends.
                break
            if not some:
                break
            read += some
        os.close(ours)
        assert command.wait() == 0, read.decode()
    return CONTROLS.sub("", read.decode()).replace("\r\n", "\n")


def in_a_locale(service: Service, encoding: str, *arguments: str) -> bytes:
    environment = {**os.environ, "SYNCD_CONFIG": str(service.config), "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "syncd.cli.app", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, check=True).stdout


@pytest.fixture
def measured(service: Service, short_pair: PairTruth) -> Service:
    """One pair of a title that is long and not in ASCII, and one whose dub is broken."""
    for title in ("Тихая гавань, season two, episode seven", "broken"):
        shutil.copy(short_pair.master_path, service.drop / f"{title}_master.wav")
        shutil.copy(short_pair.dub_path, service.drop / f"{title}_dub_fr.wav")
    (service.drop / "broken_dub_fr.wav").write_bytes(b"no sound at all")
    assert service.run_once() == 3
    return service


def number_of(service: Service, title: str) -> str:
    return str(next(job.job_id for job in service.jobs() if title in job.title))


def test_the_command_that_corrects_a_dub_is_whole_however_narrow_the_terminal(measured: Service) -> None:
    number = number_of(measured, "гавань")
    shell = measured.syncctl_json("show", number)["report"]["correction"]["shell"]
    for width in (40, 80):
        assert shell in on_a_terminal(measured, width, "show", number)


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200])
def test_every_row_of_the_list_begins_with_its_number_and_no_line_is_too_long(measured: Service, width: int) -> None:
    heading, *lines = on_a_terminal(measured, width, "list").splitlines()
    assert heading.split()[:3] == ["ID", "STATE", "TITLE"]
    assert {line.split()[0] for line in lines[:2]} == {"1", "2"}
    assert all(len(line) <= width for line in (heading, *lines))
    assert "MEDIA_UNREADABLE" in " ".join(lines)
    assert ("OFFSET" in heading) == (width > 40)


@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_title_that_the_locale_cannot_write_costs_no_list(measured: Service, encoding: str) -> None:
    assert b"\\u0422" in in_a_locale(measured, encoding, "list")
    document = json.loads(in_a_locale(measured, encoding, "list", "--json"))
    assert any("Тихая" in job["title"] for job in document["jobs"])


def test_a_name_that_is_no_text_is_spelt_as_json_spells_it(service: Service, short_pair: PairTruth) -> None:
    odd = os.fsdecode(b"Caf\xe9")
    for side, path in (("master", short_pair.master_path), ("dub_fr", short_pair.dub_path)):
        shutil.copy(path, service.drop / f"{odd}_{side}.wav")
    assert service.run_once() == 0
    text = service.syncctl("show", "1")
    assert "Caf\\xe9_master.wav" in text
    assert "udce9" not in text
    assert service.syncctl_json("show", "1")["job"]["master_path"].endswith("Caf\\xe9_master.wav")


def test_that_it_is_paused_is_said_wherever_people_look(service: Service, short_pair: PairTruth) -> None:
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    service.syncctl("pause")
    shutil.copy(short_pair.master_path, service.drop / "show_master.wav")
    shutil.copy(short_pair.dub_path, service.drop / "show_dub_fr.wav")
    wait_for(service.jobs, what="the job")
    for command in ("list", "show 1", "stats"):
        assert "Paused" in service.syncctl(*command.split())
    assert service.syncctl_json("stats")["paused"] is True
    assert "paused" in service.syncctl("doctor", expect=service.call("doctor").returncode)
    service.syncctl("resume")
    assert "Paused" not in service.syncctl("list")


def test_what_has_ended_makes_no_progress(measured: Service) -> None:
    assert {(job["progress"], job["eta_s"]) for job in measured.syncctl_json("list")["jobs"]} == {(None, None)}


def test_orphans_beyond_the_page_are_counted(service: Service, short_pair: PairTruth) -> None:
    for number in range(3):
        shutil.copy(short_pair.dub_path, service.drop / f"lonely{number}_dub_fr.wav")
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    wait_for(lambda: service.read(lambda reader: len(reader.orphans(10))) == 3, what="the orphans")
    assert "2 more: add --limit 3" in service.syncctl("list", "--orphans", "--limit", "1")
    document = service.syncctl_json("list", "--orphans", "--limit", "1")
    assert (len(document["orphans"]), document["total"]) == (1, 3)


@pytest.mark.parametrize("command", ["cancel 99", "priority 99 --to high", "retry 99"])
def test_a_job_that_is_not_there_is_missed_while_the_daemon_is_stopped_too(service: Service, command: str) -> None:
    service.run_once()
    assert "There is no job 99." in service.syncctl(*command.split(), expect=4)


def test_a_batch_that_a_spreadsheet_separated_by_semicolons_says_what_is_needed(
    service: Service, tmp_path: Path
) -> None:
    service.run_once()
    batch = tmp_path / "batch.csv"
    batch.write_text("Master;Dub\na.wav;b.wav\n", encoding="utf-8")
    assert "commas are needed" in service.syncctl("submit", "--batch", str(batch), expect=2)
    batch.write_text("master,dub\n", encoding="utf-8")
    assert "There is nothing to submit." in service.syncctl("submit", "--batch", str(batch))


@pytest.mark.parametrize(("written", "kept"), [("FR_fr", "fr-FR"), ("zh-hant", "zh-Hant"), ("es-419", "es-419")])
def test_a_language_is_kept_as_all_are_written(
    service: Service, short_pair: PairTruth, written: str, kept: str
) -> None:
    service.run_once()
    files = (str(short_pair.master_path), str(short_pair.dub_path))
    service.syncctl("submit", *files, "--language", written)
    service.run_once()
    assert [job.language for job in service.jobs()] == [kept]
    assert "no tag of a language" in service.syncctl("submit", *files, "--language", "x y", expect=2)


def test_what_was_asked_of_a_stopped_daemon_and_refused_later_is_named_by_the_doctor(
    service: Service, short_pair: PairTruth
) -> None:
    service.run_once()
    asked = service.syncctl("submit", str(short_pair.master_path), "/nowhere/dub.wav")
    assert "'syncctl doctor' says so" in asked
    time.sleep(ANSWER_WAIT_S)  # What is brought about is that nobody waits any more.
    service.run_once()
    told = service.call("doctor").stdout
    assert "Request 1 (submit) was refused when the daemon came to it: The service finds no file at" in told


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("export jobs -o nowhere/jobs.csv", "nowhere/jobs.csv cannot be made: No such file or directory."),
        ("models check --device foo", "'foo' is neither cpu nor cuda."),
    ],
)
def test_a_slip_of_the_pen_is_told_as_one(service: Service, command: str, words: str) -> None:
    service.run_once()
    assert words in service.syncctl(*command.split(), expect=2)
