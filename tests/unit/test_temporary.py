from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.temporary import ABANDONED_AFTER_S, is_abandoned, temporary_name


def name_of_a_dead_writer() -> str:
    program = "from syncd.temporary import temporary_name; print(temporary_name(b'x'))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_what_a_living_process_writes_is_left_to_it() -> None:
    assert not is_abandoned(temporary_name(b"show_dub.wav.sync.json"), 0.0)


def test_what_a_dead_process_left_is_abandoned_at_once() -> None:
    assert is_abandoned(name_of_a_dead_writer(), 0.0)


@pytest.mark.parametrize(("age_s", "abandoned"), [(ABANDONED_AFTER_S, False), (ABANDONED_AFTER_S + 1.0, True)])
def test_what_another_machine_left_is_abandoned_after_a_day(age_s: float, abandoned: bool) -> None:
    mine = temporary_name(b"x").split(".")
    mine[2] = "0" * 8 if mine[2] != "0" * 8 else "1" * 8
    assert is_abandoned(".".join(mine), age_s) is abandoned


@pytest.mark.parametrize("name", ["a.sync.tmp", ".sync.tmp", ".a.b.c.d.sync.tmp", "show_dub.wav", ".hidden", ""])
def test_nobody_elses_file_is_ever_abandoned(name: str) -> None:
    assert not is_abandoned(name, 1e9)


@given(st.binary(max_size=255))
def test_a_temporary_name_is_hidden_and_short_and_never_the_same(target: bytes) -> None:
    first, second = temporary_name(target), temporary_name(target)
    assert first != second
    assert first.startswith(".")
    assert len(os.fsencode(first)) < 64
