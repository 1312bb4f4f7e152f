"""The operator's command, with real processes that do not behave."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from syncd.domain import JobState, Verdict
from syncd.errors import ErrorCode
from syncd.handover import command
from syncd.handover.command import CommandEnd, EndedJob, environment, program_fault, run_command

HOSTILE = "$(touch /tmp/owned); 'a\n\udcff"
JOB = EndedJob(
    7,
    JobState.COMPLETED,
    HOSTILE,
    "fr",
    "default",
    Path("/drop/m.wav"),
    Path("/drop/d\udcff.wav"),
    sidecar=Path("/drop/d.wav.sync.json"),
    verdict=Verdict.OFFSET,
    review=False,
    offset_s=-0.75,
    confidence=0.98765,
)


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end_s = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < end_s, what
        time.sleep(0.02)


def script(folder: Path, text: str) -> list[str]:
    """A program of Python."""
    path = folder / "hook"
    path.write_text(f"#!{sys.executable}\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return [str(path)]


def run(argv: list[str], limit_s: float = 20.0) -> CommandEnd:
    return run_command(argv, environment(JOB, os.environ), limit_s, threading.Event())


def test_all_there_is_to_know_is_in_the_environment_as_it_is(tmp_path: Path) -> None:
    kept = tmp_path / "env"
    end = run(script(tmp_path, f"import os; open({str(kept)!r}, 'wb').write(repr(dict(os.environb)).encode())"))
    assert end.is_good
    told = eval(kept.read_text())  # noqa: S307 - a dictionary of bytes that this test wrote
    assert told[b"SYNCD_TITLE"] == os.fsencode(HOSTILE)
    assert told[b"SYNCD_DUB"] == b"/drop/d\xff.wav"
    assert (told[b"SYNCD_JOB"], told[b"SYNCD_STATE"], told[b"SYNCD_VERDICT"]) == (b"7", b"completed", b"offset")
    assert (told[b"SYNCD_REVIEW"], told[b"SYNCD_OFFSET_SECONDS"]) == (b"0", b"-0.750000")
    assert (told[b"SYNCD_CONFIDENCE"], told[b"SYNCD_ERROR_CODE"], told[b"SYNCD_PAGE"]) == (b"0.9877", b"", b"")
    assert {name for name in told if not name.startswith(b"SYNCD_")} <= {b"PATH", b"HOME", b"LANG", b"LC_CTYPE"}


def test_a_failed_job_tells_its_code_and_no_offset() -> None:
    job = EndedJob(1, JobState.FAILED, "x\0y", None, "p", Path("/m"), Path("/d"), error_code=ErrorCode.NO_AUDIO)
    told = environment(job, {})
    assert (told[b"SYNCD_ERROR_CODE"], told[b"SYNCD_OFFSET_SECONDS"], told[b"SYNCD_REVIEW"]) == (b"NO_AUDIO", b"", b"")
    assert told[b"SYNCD_TITLE"] == b"xy"
    assert told[b"PATH"]


def test_arguments_meet_no_shell(tmp_path: Path) -> None:
    argv = script(tmp_path, "import sys; sys.exit(0 if sys.argv[1:] == ['$HOME', '*', '; false'] else 1)")
    assert run([*argv, "$HOME", "*", "; false"]).is_good


def test_nothing_is_inherited_and_nothing_can_be_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # noqa: FBT003 - the system's form
    try:
        end = run(
            script(
                tmp_path,
                "import os, sys\n"
                "held = sorted(int(n) for n in os.listdir('/proc/self/fd') if os.path.exists(f'/proc/self/fd/{n}'))\n"
                "assert held == [0, 1, 2], held\n"
                "assert sys.stdin.read() == ''\n"
                "assert os.getpgrp() == os.getpid()",
            )
        )
    finally:
        os.close(reader)
        os.close(writer)
    assert end.is_good, end.last_words


def test_a_failure_has_its_status_and_the_end_of_what_was_said(tmp_path: Path) -> None:
    end = run(
        script(tmp_path, "import sys; sys.stderr.write('x' * 100000 + '\\n\\x1b[31mno such host\\n'); sys.exit(3)")
    )
    assert (end.status, end.is_good, end.is_overdue) == (3, False, False)
    assert end.last_words.endswith("[31mno such host")
    assert "\x1b" not in end.last_words
    assert len(end.last_words) <= command.WORDS_BYTES


def test_one_that_hangs_is_ended_when_its_time_is_over(tmp_path: Path) -> None:
    end = run(script(tmp_path, "import time; time.sleep(600)"), limit_s=0.5)
    assert end.is_overdue
    assert end.status == -15
    assert end.seconds < 5.0


def test_one_that_hears_no_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "GRACE_S", 0.5)
    body = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); sys.stderr.write('deaf'); sys.stderr.flush()"
    end = run(script(tmp_path, f"{body}; time.sleep(600)"), limit_s=1.0)
    assert (end.status, end.is_overdue) == (-9, True)
    assert end.last_words == "deaf"


def test_what_it_forked_ends_with_it(tmp_path: Path) -> None:
    child = tmp_path / "child"
    body = "import os, time\npid = os.fork()\nif pid == 0: time.sleep(600)\n"
    end = run(script(tmp_path, f"{body}open({str(child)!r}, 'w').write(str(pid))"))
    assert end.is_good
    assert end.seconds < 10.0
    wait_for(lambda: not _runs(int(child.read_text())), "the child to end")


def test_one_that_never_stops_talking_is_not_listened_to_without_end(tmp_path: Path) -> None:
    end = run(script(tmp_path, "import sys\nwhile True: print('o' * 9999); sys.stderr.write('e' * 9999)"), limit_s=1.0)
    assert end.is_overdue
    assert set(end.last_words) == {"e"}
    assert len(end.last_words) == command.WORDS_BYTES


def test_the_end_of_the_daemon_ends_it_soon(tmp_path: Path) -> None:
    stopping = threading.Event()
    threading.Timer(0.3, stopping.set).start()
    argv = script(tmp_path, "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)")
    end = run_command(argv, environment(JOB, os.environ), 60.0, stopping)
    assert end.is_stopped
    assert not end.is_overdue
    assert end.seconds < 3.0


@pytest.mark.parametrize(
    ("name", "mode", "words"),
    [("none", None, "there is no program at"), ("plain", 0o644, "may not be executed by this user")],
)
def test_what_cannot_be_run_is_told_before_and_when_it_is_tried(
    tmp_path: Path, name: str, mode: int | None, words: str
) -> None:
    path = tmp_path / name
    if mode is not None:
        path.write_text("#!/bin/sh\n")
        path.chmod(mode)
    fault = program_fault([str(path)])
    assert fault is not None
    assert words in fault
    end = run([str(path)])
    assert (end.status, end.is_good) == (None, False)
    assert end.last_words
    assert program_fault([]) is None
    assert program_fault([sys.executable]) is None


def test_check_and_doctor_name_a_program_that_is_not_there(tmp_path: Path) -> None:
    config = tmp_path / "syncd.toml"
    ledger = tmp_path / "ledger.db"
    config.write_text(f"[ledger]\npath = '{ledger}'\n[handover]\non_complete = ['{tmp_path}/none']\n")
    checked = subprocess.run(
        [sys.executable, "-m", "syncd.daemon", "--check", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 2
    assert f"there is no program at {tmp_path}/none" in checked.stderr
    doctor = subprocess.run(
        [sys.executable, "-m", "syncd.cli.app", "doctor", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert doctor.returncode == 1
    assert "there is no program at" in " ".join(doctor.stdout.split())


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
