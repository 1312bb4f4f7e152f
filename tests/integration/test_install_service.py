"""`syncctl install-service` on an image of a test's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PLACED = {
    "/etc/systemd/system/syncd.service",
    "/etc/sysusers.d/syncd.conf",
    "/etc/tmpfiles.d/syncd.conf",
    "/etc/syncd/syncd.toml",
}


def install(*arguments: str, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "syncd.cli.app", "install-service", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expect, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def fates(image: Path, *arguments: str) -> dict[str, str]:
    answer: dict[str, Any] = json.loads(install("--root", str(image), "--bin", "/opt/syncd/bin", "--json", *arguments))
    return {file["path"]: file["fate"] for file in answer["files"] if "models" not in file["path"]}


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    assert fates(tmp_path, "--cpu") == dict.fromkeys(PLACED, "placed")
    assert fates(tmp_path, "--cpu") == dict.fromkeys(PLACED, "unchanged")
    modes = {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o644}


def test_an_edited_file_is_kept_and_said_so_until_force_replaces_it_beside_a_copy(tmp_path: Path) -> None:
    fates(tmp_path, "--cpu")
    config = tmp_path / "etc/syncd/syncd.toml"
    edited = config.read_text(encoding="utf-8").replace("/srv/drop", "/srv/dubs")
    config.write_text(edited, encoding="utf-8")
    assert fates(tmp_path, "--cpu")["/etc/syncd/syncd.toml"] == "kept"
    assert config.read_text(encoding="utf-8") == edited
    assert "edited; --force" in install("--root", str(tmp_path), "--bin", "/opt/syncd/bin")
    assert fates(tmp_path, "--cpu", "--force")["/etc/syncd/syncd.toml"] == "replaced"
    assert config.with_name("syncd.toml.bak").read_text(encoding="utf-8") == edited
    assert "/srv/dubs" not in config.read_text(encoding="utf-8")


def test_a_host_that_loses_its_gpu_loses_the_drop_in(tmp_path: Path) -> None:
    drop_in = "/etc/systemd/system/syncd.service.d/50-gpu.conf"
    assert fates(tmp_path, "--gpu")[drop_in] == "placed"
    assert fates(tmp_path, "--cpu")[drop_in] == "removed"
    assert drop_in not in fates(tmp_path, "--cpu")


def test_print_shows_the_files_and_places_none(tmp_path: Path) -> None:
    printed = install("--print", "--gpu", "--root", str(tmp_path))
    assert "DeviceAllow=char-nvidia* rw" in printed
    assert all(f"# --- {path}\n" in printed for path in PLACED)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_the_service_would_not_see_is_refused(tmp_path: Path) -> None:
    refusal = install("--root", str(tmp_path), "--bin", "/home/ann/venv/bin", expect=2)
    assert "below /home" in refusal
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("a file", encoding="utf-8")
    assert "cannot be written" in install("--root", str(tmp_path), "--bin", "/opt/syncd/bin", expect=1)


def test_drop_ins_follow_the_configuration_that_lies_there(tmp_path: Path) -> None:
    fates(tmp_path, "--cpu")
    config = tmp_path / "etc/syncd/syncd.toml"
    listening = '[metrics]\nlisten = "127.0.0.1:9419"\n[[watch]]\npath = "/srv/dubs"\n[[watch]]\npath = "/home/a"\n'
    config.write_text(listening, encoding="utf-8")
    drop_ins = {f"/etc/systemd/system/syncd.service.d/50-{name}.conf" for name in ("metrics", "folders")}
    assert fates(tmp_path, "--cpu").items() >= dict.fromkeys(drop_ins, "placed").items()
    folders = tmp_path / "etc/systemd/system/syncd.service.d/50-folders.conf"
    assert folders.read_text(encoding="utf-8").endswith('[Service]\nReadWritePaths="-/srv/dubs"\n')
    assert "/home/a lies below /home" in install("--root", str(tmp_path), "--bin", "/opt/syncd/bin")
    config.write_text('[[watch]]\npath = "/srv/drop"\n', encoding="utf-8")
    assert fates(tmp_path, "--cpu").items() >= dict.fromkeys(drop_ins, "removed").items()


def test_a_broken_configuration_is_told_before_anything_is_placed(tmp_path: Path) -> None:
    config = tmp_path / "etc/syncd/syncd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("colour = 1\n", encoding="utf-8")
    assert "colour" in install("--root", str(tmp_path), "--bin", "/opt/syncd/bin", expect=2)
    assert not (tmp_path / "etc/systemd").exists()
