from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

from syncd.telemetry import TELL_AGAIN_S, Seldom

LOGS_TO_A_CLOSED_PIPE = """
import structlog
from syncd.telemetry import configure_logs
configure_logs()
for _ in range(3):
    structlog.get_logger().info("nobody hears this")
print("alive")
"""


LOGS_TO_THE_JOURNAL = """
import os, sys
from pathlib import Path
import structlog
from syncd.telemetry import configure_logs, set_log_level
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino}"
configure_logs("warning", journal_socket=Path(sys.argv[1]))
log = structlog.get_logger()
log.info("not told yet")
set_log_level("info")
log.info("report", job=12, title="two\\nlines", offset_s=-2.456, language=None)
"""


def run_logging_to(journal: Path) -> str:
    """What reached standard error."""
    done = subprocess.run(
        [sys.executable, "-c", LOGS_TO_THE_JOURNAL, os.fspath(journal)], capture_output=True, text=True, check=True
    )
    return done.stderr


def test_under_systemd_every_value_is_a_field_of_the_journal(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(os.fspath(tmp_path / "socket"))
    listener.settimeout(10.0)
    assert run_logging_to(tmp_path / "socket") == ""
    entry = listener.recv(1 << 16).decode()
    listener.close()
    fields = dict(line.split("=", 1) for line in entry.splitlines())
    assert fields["MESSAGE"] == "report job=12 title=two\\nlines offset_s=-2.456"
    assert (fields["PRIORITY"], fields["SYNCD_EVENT"], fields["SYNCD_JOB"]) == ("6", "report", "12")
    assert "SYNCD_LANGUAGE" not in fields


def test_where_the_journal_takes_nothing_the_line_is_not_lost(tmp_path: Path) -> None:
    line = run_logging_to(tmp_path / "nobody")
    assert line.startswith("<6>{")
    assert json.loads(line[3:])["job"] == 12


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", LOGS_TO_A_CLOSED_PIPE], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )
    os.close(writer)
    assert done.stdout == "alive\n"


def test_a_log_whose_file_was_closed_ends_nothing_either() -> None:
    closes = "import sys\n" + LOGS_TO_A_CLOSED_PIPE.replace("for _ in", "sys.stderr.close()\nfor _ in")
    done = subprocess.run([sys.executable, "-c", closes], stdout=subprocess.PIPE, timeout=60, check=True)
    assert done.stdout == b"alive\n"


def test_a_trouble_that_lasts_is_told_at_first_and_every_minute() -> None:
    seldom = Seldom()
    told_at_s = [now_s for now_s in range(0, 200, 10) if seldom.is_due("full disk", float(now_s))]
    assert told_at_s == [0, TELL_AGAIN_S, 2 * TELL_AGAIN_S, 3 * TELL_AGAIN_S]
    assert seldom.is_due("another", 190.0)
