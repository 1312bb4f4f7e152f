from __future__ import annotations

import os
import subprocess
import sys

from syncd.telemetry import TELL_AGAIN_S, Seldom

LOGS_TO_A_CLOSED_PIPE = """
import structlog
from syncd.telemetry import configure_logs
configure_logs()
for _ in range(3):
    structlog.get_logger().info("nobody hears this")
print("alive")
"""


def test_a_log_that_cannot_be_written_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", LOGS_TO_A_CLOSED_PIPE], stdout=subprocess.PIPE, stderr=writer, text=True, check=False
    )
    os.close(writer)
    assert done.stdout == "alive\n"


def test_a_trouble_that_lasts_is_told_at_first_and_every_minute() -> None:
    seldom = Seldom()
    told_at_s = [now_s for now_s in range(0, 200, 10) if seldom.is_due("full disk", float(now_s))]
    assert told_at_s == [0, TELL_AGAIN_S, 2 * TELL_AGAIN_S, 3 * TELL_AGAIN_S]
    assert seldom.is_due("another", 190.0)
