"""One pair without a daemon: its worker is watched over as the daemon's are."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.service import wait_for
from tests.chaos.site import stopped

STALL_S = 1.5
STOPPED_S = 7.5
"""Longer than even a worker that computes may stand still."""
ANALYZE = """
import sys
from pathlib import Path
from syncd.domain import TOLERANCES, AnalysisSettings
from syncd.protocol import AiOrder
from syncd.supervisor import pool
from syncd.supervisor.solo import SoloRequest, analyze_one
from syncd.watch.examine import identify
script, home, stall_s, mode = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
pool.WORKER_COMMAND = (sys.executable, script, mode)
request = SoloRequest(
    identify(home / "master.wav"),
    identify(home / "dub.wav"),
    AnalysisSettings(("correlation",), TOLERANCES["ebu-r37"]),
    ai=AiOrder("spectral-embedding", "", False, "auto", 1, 0, 1) if mode.endswith("with_model") else None,
)
answer = analyze_one(request, pool.Pool(home), stall_s=stall_s, job_s=3600.0, on_progress=lambda _: None)
print(type(answer.outcome).__name__, getattr(answer.outcome, "code", ""), *answer.degraded)
"""


def analyzing(home: Path, mode: str) -> subprocess.Popen[str]:
    """By a worker that behaves as `mode` says."""
    for role in ("master", "dub"):
        (home / f"{role}.wav").write_bytes(role.encode() * 100)
    script = Path(__file__).with_name("scripted_worker.py")
    command = [sys.executable, "-c", ANALYZE, str(script), str(home), str(STALL_S), mode]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))


def start(home: Path) -> subprocess.Popen[str]:
    """By a worker that answers when it is told to; until that measures."""
    process = analyzing(home, "by_hand")
    wait_for((home / "dub.wav.begun").exists, what="the measurement's begin")
    return process


def answer_of(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=60.0)
    return said.splitlines()[-1].strip()


def test_time_in_which_nobody_watched_is_held_against_no_worker(tmp_path: Path) -> None:
    process = start(tmp_path)
    with stopped(process.pid):
        time.sleep(STOPPED_S)  # What is brought about is that time passes.
    (tmp_path / "master.wav.kept").touch()
    (tmp_path / "dub.wav.end").touch()
    assert answer_of(process) == "Result"


def test_a_worker_that_stands_still_is_ended(tmp_path: Path) -> None:
    assert answer_of(start(tmp_path)) == "Failure WORKER_STALLED"


@pytest.mark.parametrize("mode", ["freeze_with_model", "eat_with_model"])
def test_a_model_that_hangs_or_eats_all_memory_costs_the_model_and_not_the_report(tmp_path: Path, mode: str) -> None:
    assert answer_of(analyzing(tmp_path, mode)) == "Result  the models"
