"""What the daemon asks of allocator and interpreter, seen from outside."""

from __future__ import annotations

import subprocess
import sys

import pytest

NAMES_COME_AND_GO = """
import syncd.daemon
from pathlib import Path
from syncd.heap import make_room_for_names
import psutil, sys

def written():
    return sum(mapping.private_dirty for mapping in psutil.Process().memory_maps())

def pass_by(names):
    for number in names:
        Path(f"/drop/show{number}_master.wav").parts

lasting = [sys.intern(f"of a service at work {number}") for number in range(11_000)]
if sys.argv[1] == "with room":
    make_room_for_names()
pass_by(range(100))
before = written()
pass_by(range(100, 60_000))
print(written() - before)
"""


@pytest.mark.parametrize(("how", "grows"), [("with room", False), ("as it comes", True)])
def test_names_that_come_and_go_make_the_process_no_larger_where_there_is_room_for_them(how: str, grows: bool) -> None:
    done = subprocess.run([sys.executable, "-c", NAMES_COME_AND_GO, how], capture_output=True, text=True, check=True)
    assert (int(done.stdout) > 500_000) == grows
