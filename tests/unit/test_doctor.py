"""What `syncctl doctor` says of watched folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from syncd.cli.doctor import SUBFOLDERS_NAMED, Check, Finding, folder_checks
from syncd.config import Config, ReportsSection, WatchSection


@pytest.fixture(autouse=True)
def nobody_is_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rights are those of the folder's owner, whoever runs the tests."""
    monkeypatch.setattr(os, "access", lambda path, wanted: (Path(path).stat().st_mode >> 6) & wanted == wanted)


def checked(drop: Path, fallback: Path | None = None, *, recursive: bool = True) -> list[Check]:
    """What is said of the folder, and not of the machine."""
    config = Config(watch=(WatchSection(path=drop, recursive=recursive),), reports=ReportsSection(fallback=fallback))
    return [check for check in folder_checks(config) if check.name == "folder"]


def test_a_subfolder_in_which_no_report_can_be_written_is_named_with_its_cure(tmp_path: Path) -> None:
    for name, mode in (("good", 0o775), ("Film", 0o555), (".hidden", 0o555)):
        (tmp_path / name).mkdir(mode)
    whole, below = checked(tmp_path)
    assert whole.finding is Finding.OK
    assert below.finding is Finding.WRONG
    assert "Film" in below.message
    assert "good" not in below.message
    assert "hidden" not in below.message
    assert "chmod g+ws" in below.advice


def test_a_subfolder_that_cannot_be_read_is_only_warned_of(tmp_path: Path) -> None:
    (tmp_path / "lost+found").mkdir(0o100)
    below = checked(tmp_path)[1]
    assert below.finding is Finding.WARNING
    assert "lost+found" in below.message


def test_of_many_subfolders_a_few_are_named_and_the_rest_counted(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"film{number}").mkdir(0o555)
    assert f"and {9 - SUBFOLDERS_NAMED} more" in checked(tmp_path)[1].message


@pytest.mark.parametrize("is_flat", [True, False])
def test_where_no_report_is_due_in_subfolders_nothing_is_said_of_them(tmp_path: Path, is_flat: bool) -> None:
    (tmp_path / "Film").mkdir(0o555)
    found = checked(tmp_path, recursive=False) if is_flat else checked(tmp_path, fallback=tmp_path)
    assert [check.finding for check in found] == [Finding.OK]
