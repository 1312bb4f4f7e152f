"""What the daemon asks of allocator and interpreter, seen from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAMES_COME_AND_GO = """
import syncd.daemon
from pathlib import Path
from syncd.heap import keep_little, make_room_for_names
import psutil, sys

def written():
    return sum(mapping.private_dirty for mapping in psutil.Process().memory_maps())

def pass_by(names):
    for number in names:
        Path(f"/drop/show{number}_master.wav").parts

lasting = [sys.intern(f"of a service at work {number}") for number in range(11_000)]
if sys.argv[1] == "as the daemon":
    keep_little()
    make_room_for_names()
pass_by(range(100))
before = written()
pass_by(range(100, 200_000))
print(written() - before)
"""


@pytest.mark.parametrize(("how", "grows"), [("as the daemon", False), ("as it comes", True)])
def test_names_that_come_and_go_do_not_make_the_daemon_larger(how: str, grows: bool) -> None:
    done = subprocess.run([sys.executable, "-c", NAMES_COME_AND_GO, how], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 500_000) == grows
