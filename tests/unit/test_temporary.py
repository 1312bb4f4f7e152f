from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.temporary import ABANDONED_AFTER_S, WATCHED_S, Sweeper, temporary_name

NOW_S = 5_000.0
WALL_S = 1_700_000_000.0


def name_of_a_dead_writer() -> str:
    program = "from syncd.temporary import temporary_name; print(temporary_name(b'x'))"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def name_from_elsewhere() -> str:
    """By another machine, or this one before it was restarted."""
    mine = temporary_name(b"x").split(".")
    mine[2] = "0" * 8 if mine[2] != "0" * 8 else "1" * 8
    return ".".join(mine)


def is_abandoned(name: str, age_s: float, *, watched_s: float = 0.0) -> bool:
    """Of a file of this age, after it has been watched for so long."""
    sweeper, mtime_ns = Sweeper(), round((WALL_S - age_s) * 1e9)
    sweeper.is_abandoned(name, mtime_ns, wall_s=WALL_S, now_s=NOW_S)
    return sweeper.is_abandoned(name, mtime_ns, wall_s=WALL_S + watched_s, now_s=NOW_S + watched_s)


@pytest.mark.parametrize("age_s", [0.0, 2 * ABANDONED_AFTER_S, -2 * ABANDONED_AFTER_S])
def test_what_a_living_process_writes_is_left_to_it_whatever_the_clock_says(age_s: float) -> None:
    assert not is_abandoned(temporary_name(b"show_dub.wav.sync.json"), age_s, watched_s=10 * WATCHED_S)


@pytest.mark.parametrize("age_s", [0.0, 2 * ABANDONED_AFTER_S, -2 * ABANDONED_AFTER_S])
def test_what_a_dead_process_left_is_abandoned_at_once_whatever_the_clock_says(age_s: float) -> None:
    assert is_abandoned(name_of_a_dead_writer(), age_s)


@pytest.mark.parametrize(
    ("age_s", "watched_s", "abandoned"),
    [
        (ABANDONED_AFTER_S + 1.0, 0.0, False),
        (ABANDONED_AFTER_S + 1.0, WATCHED_S, False),
        (ABANDONED_AFTER_S + 1.0, WATCHED_S + 1.0, True),
        (0.0, WATCHED_S + 1.0, False),
    ],
)
def test_what_another_machine_left_is_abandoned_when_it_is_old_and_has_been_seen_to_stand_still(
    age_s: float, watched_s: float, *, abandoned: bool
) -> None:
    assert is_abandoned(name_from_elsewhere(), age_s, watched_s=watched_s) is abandoned


def test_what_another_machine_is_still_writing_is_left_to_it_by_a_clock_that_is_a_day_ahead() -> None:
    sweeper, name = Sweeper(), name_from_elsewhere()
    for step_s in range(0, 2 * round(WATCHED_S), 60):
        mtime_ns = round((WALL_S + step_s) * 1e9)
        ahead_s = WALL_S + step_s + ABANDONED_AFTER_S + 60.0
        assert not sweeper.is_abandoned(name, mtime_ns, wall_s=ahead_s, now_s=NOW_S + step_s)


def test_another_users_process_lives_too() -> None:
    """The first one's, which nobody may signal, and which services do not even see."""
    name = temporary_name(b"x").split(".")
    name[3] = "1"
    assert not is_abandoned(".".join(name), 0.0)


@pytest.mark.parametrize("name", ["a.sync.tmp", ".sync.tmp", ".a.b.c.d.sync.tmp", "show_dub.wav", ".hidden", ""])
def test_nobody_elses_file_is_ever_abandoned(name: str) -> None:
    assert not is_abandoned(name, 1e9, watched_s=1e6)


def test_a_folder_is_swept_of_what_is_abandoned_and_of_nothing_else(tmp_path: Path) -> None:
    dead = tmp_path / name_of_a_dead_writer()
    others = [tmp_path / name for name in (temporary_name(b"x"), name_from_elsewhere(), "report.json")]
    for path in (dead, *others):
        path.write_bytes(b"{")
    folder = tmp_path / name_of_a_dead_writer()
    folder.mkdir()
    Sweeper().sweep_folder(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted([*others, folder])


def test_a_folder_that_is_not_there_needs_no_sweeping(tmp_path: Path) -> None:
    Sweeper().sweep_folder(tmp_path / "gone")


@given(st.binary(max_size=255))
def test_a_temporary_name_is_hidden_and_short_and_never_the_same(target: bytes) -> None:
    first, second = temporary_name(target), temporary_name(target)
    assert first != second
    assert first.startswith(".")
    assert len(os.fsencode(first)) < 64
