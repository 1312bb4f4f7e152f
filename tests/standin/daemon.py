"""The real daemon whose workers are `tests.standin.worker`: ``python -m tests.standin.daemon …``."""

from __future__ import annotations

import sys

from syncd import daemon
from syncd.supervisor import pool

if __name__ == "__main__":
    pool.WORKER_COMMAND = (sys.executable, "-m", "tests.standin.worker")
    daemon.main()
