"""What `syncctl doctor` says of watched folders and of the machine."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from syncd.cli import doctor_machine as machine
from syncd.cli.doctor import SUBFOLDERS_NAMED, folder_checks, inotify_checks
from syncd.cli.finding import Check, Finding
from syncd.config import AiSection, Config, ProfileSection, ReportsSection, WatchSection
from syncd.worker.codecs import lacking


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


@pytest.mark.parametrize(
    ("watches", "instances", "named"), [(8192, 128, []), (100, 128, ["watches"]), (100, 10, ["watches", "instances"])]
)
def test_limits_of_the_kernel_that_are_too_low_are_named(
    tmp_path: Path, watches: int, instances: int, named: list[str]
) -> None:
    (tmp_path / "max_user_watches").write_text(f"{watches}\n", encoding="ascii")
    (tmp_path / "max_user_instances").write_text(f"{instances}\n", encoding="ascii")
    found = list(inotify_checks(2, tmp_path))
    assert [check.advice.split("max_user_")[1].split()[0] for check in found] == named
    assert all(check.finding is Finding.WARNING for check in found)


def test_the_decoders_that_dubs_need_are_there() -> None:
    assert machine.codecs().finding is Finding.OK


def test_a_decoder_that_is_lacking_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lacking({"FLAC": "flac", "Dolby E": "of_another_build"}) == ["Dolby E"]
    monkeypatch.setattr(machine, "CODECS_COMMAND", (sys.executable, "-c", "print('Dolby E')"))
    found = machine.codecs()
    assert found.finding is Finding.WARNING
    assert "does not decode Dolby E." in found.message
    monkeypatch.setattr(machine, "CODECS_COMMAND", (sys.executable, "-c", "raise SystemExit(1)"))
    assert machine.codecs().finding is Finding.WRONG


def test_a_model_that_a_profile_asks_for_and_that_is_not_there_is_wrong(tmp_path: Path) -> None:
    ai = AiSection(wav2vec2=str(tmp_path / "none"), yamnet=tmp_path / "none.safetensors")
    silent = Config(ai=ai)
    assert [check.finding for check in machine.models(silent)] == [Finding.OK]
    asking = Config(ai=ai, profiles={"default": ProfileSection(ai="yamnet")})
    wrong = [check for check in machine.models(asking) if check.finding is Finding.WRONG]
    assert len(wrong) == 1
    assert "yamnet" in wrong[0].message
    assert "default" in wrong[0].advice


def test_a_clock_behind_the_ledger_is_told_and_one_corrected_a_little_is_not() -> None:
    now = datetime(2026, 12, 1, 12, tzinfo=UTC)
    ahead = [now + timedelta(seconds=seconds) for seconds in (5, 3600)]
    told = ["was written at" in " ".join(check.message for check in machine.clock(newest, now)) for newest in ahead]
    assert told == [False, True]


@pytest.mark.parametrize(
    ("told", "finding", "word"),
    [
        ({"LoadState": "not-found"}, Finding.WARNING, "install-service"),
        ({"LoadState": "loaded", "UnitFileState": "disabled", "NRestarts": "0"}, Finding.WARNING, "enable"),
        ({"LoadState": "loaded", "UnitFileState": "enabled", "NRestarts": "7"}, Finding.WARNING, "journalctl"),
        ({"LoadState": "loaded", "UnitFileState": "enabled", "NRestarts": "0"}, Finding.OK, ""),
    ],
)
def test_of_the_unit_it_says_what_is_to_be_done(told: dict[str, str], finding: Finding, word: str) -> None:
    check = machine.unit_check(told)
    assert check.finding is finding
    assert word in check.advice


def unit_lets(paths: str, folders: list[str], protect: str = "strict") -> list[str]:
    told = {"LoadState": "loaded", "ProtectSystem": protect, "ReadWritePaths": paths}
    return [check.message for check in machine.sandbox_checks(told, [Path(folder) for folder in folders])]


def test_a_folder_that_the_unit_keeps_from_the_service_is_named() -> None:
    allowed = "-/srv/drop -/srv/week 1 /mnt"
    assert unit_lets(allowed, ["/srv/drop", "/srv/week 1/done", "/mnt"]) == []
    assert unit_lets(allowed, ["/srv/dropped", "/srv"]) == [
        "syncd.service does not let the service write to /srv/dropped.",
        "syncd.service does not let the service write to /srv.",
    ]
    assert unit_lets("", ["/srv/dropped"], protect="no") == []
