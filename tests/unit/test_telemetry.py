from __future__ import annotations

import os
import subprocess
import sys

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
