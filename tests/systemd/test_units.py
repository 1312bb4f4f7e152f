"""The unit and its variants, as systemd's own tools judge them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from syncd.cli.service_files import Installation, service_files
from syncd.config import parse_config

DOCS = Path(__file__).parents[2] / "docs"
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there (package systemd)."
)
EVERYTHING = parse_config(
    """
    metrics.listen = "127.0.0.1:9419"
    ai.allow_download = true
    watch = [{path = '/mnt/50 % "off" \\'}, {path = "/mnt/delivery"}]
    """,
    "syncd.toml",
)
VARIANTS = {
    "cpu": (Installation(Path("/bin")), 0.5),
    "models": (Installation(Path("/bin"), has_models=True), 0.5),
    "gpu": (Installation(Path("/bin"), has_gpu=True), 1.8),
    "everything": (Installation(Path("/bin"), has_gpu=True, config=EVERYTHING), 1.8),
}


def place(installation: Installation, folder: Path) -> Path:
    """Unit and drop-ins, with a program that any host has."""
    for file in service_files(installation):
        if file.text is not None and file.path.is_relative_to("/etc/systemd/system"):
            path = folder / file.path.relative_to("/etc/systemd/system")
            path.parent.mkdir(exist_ok=True)
            path.write_text(file.text.replace("/bin/syncd ", "/bin/true "), encoding="utf-8")
    return folder / "syncd.service"


def analyze(*arguments: str) -> str:
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def exposure(unit: Path) -> float:
    found = re.search(r"Overall exposure level for .*: ([0-9.]+) ", analyze("security", "--offline=yes", str(unit)))
    assert found is not None
    return float(found[1])


@needs_analyze
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_unit_is_clean_and_as_closed_as_promised(variant: str, tmp_path: Path) -> None:
    installation, most = VARIANTS[variant]
    unit = place(installation, tmp_path)
    assert analyze("verify", "--man=no", str(unit)) == ""
    assert exposure(unit) <= most


@needs_analyze
def test_every_drop_in_of_the_documentation_is_clean(tmp_path: Path) -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.rglob("*.md")))
    examples = re.findall(r"```ini\n(.*?)```", pages, re.DOTALL)
    assert len(examples) >= 4
    for number, example in enumerate(examples):
        folder = tmp_path / str(number)
        folder.mkdir()
        unit = place(VARIANTS["cpu"][0], folder)
        (folder / "syncd.service.d").mkdir()
        (folder / "syncd.service.d" / "99-example.conf").write_text(example, encoding="utf-8")
        assert analyze("verify", "--man=no", str(unit)) == "", example
        assert exposure(unit) <= 1.8, example


def place_for(tool: str, root: Path) -> None:
    """The files of `sysusers` or `tmpfiles` in an image."""
    for file in service_files(VARIANTS["cpu"][0]):
        if file.path.parent.name == f"{tool}.d" and file.text is not None:
            path = root / file.path.relative_to("/")
            path.parent.mkdir(parents=True)
            path.write_text(file.text, encoding="utf-8")
    subprocess.run([f"systemd-{tool}", f"--root={root}", *CREATE.get(tool, ()), "syncd.conf"], check=True, timeout=60)


CREATE = {"tmpfiles": ("--create",)}
needs_sysusers = pytest.mark.skipif(
    shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not there (package systemd)."
)


@needs_sysusers
def test_user_and_group_are_made_in_an_image(tmp_path: Path) -> None:
    place_for("sysusers", tmp_path)
    assert re.search(
        r"^syncd:.*:/var/lib/syncd:/usr/sbin/nologin$", (tmp_path / "etc/passwd").read_text(), re.MULTILINE
    )
    assert re.search(r"^syncd:", (tmp_path / "etc/group").read_text(), re.MULTILINE)


@needs_sysusers
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to a group")
@pytest.mark.parametrize("made_before", [False, True])
def test_folders_that_people_make_in_the_drop_folder_are_the_groups(tmp_path: Path, made_before: bool) -> None:
    drop = tmp_path / "srv/drop"
    if made_before:
        drop.mkdir(parents=True)
        drop.chmod(0o2750)
    place_for("sysusers", tmp_path)
    place_for("tmpfiles", tmp_path)
    umask = os.umask(0o022)
    try:
        (drop / "Film").mkdir()
    finally:
        os.umask(umask)
    group = int(re.findall(r"^syncd:x:(\d+):", (tmp_path / "etc/group").read_text(), re.MULTILINE)[0])
    assert (drop / "Film").stat().st_mode & 0o777 == 0o775
    assert (drop.stat().st_gid, drop.stat().st_mode & 0o7777) == ((0, 0o2750) if made_before else (group, 0o2775))
