"""The wheel carries all it needs: installed alone and run from another folder, it migrates and works."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SERVICE = ("syncd.service", "gpu.conf", "models.conf", "sysusers.conf", "tmpfiles.conf", "syncd.toml")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "-w",
            folder,
            REPOSITORY,
        ],
        check=True,
    )
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with nothing but the wheel; its dependencies are lent by path, not installed again."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel]
    subprocess.run(install, check=True)
    (site,) = (folder / "lib").glob("python*/site-packages")
    (site / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return folder


def run(program: Path, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(
        [program, *arguments], cwd=cwd, env=clean, capture_output=True, text=True, timeout=120, check=False
    )


def test_the_wheel_holds_the_documentation_and_the_manual_pages(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    for page in (REPOSITORY / "docs").rglob("*.md"):
        shipped = tmp_path / "syncd" / "share" / page.relative_to(REPOSITORY)
        assert shipped.read_bytes() == page.read_bytes()
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            assert target.startswith("https://") or (shipped.parent / target).exists(), f"{page.name}: {target}"
    (data,) = tmp_path.glob("*.data/data/share/man")
    for page in (REPOSITORY / "man").rglob("*.?"):
        assert (data / page.relative_to(REPOSITORY / "man")).read_bytes() == page.read_bytes()


def test_installed_alone_it_says_where_the_documentation_lies(environment: Path, tmp_path: Path) -> None:
    told = "".join(run(environment / "bin" / "syncctl", "--help", cwd=tmp_path).stdout.split())
    (index,) = environment.glob("lib/*/site-packages/syncd/share/docs/index.md")
    assert str(index) in told
    assert (environment / "share" / "man" / "man8" / "syncd.8").is_file()
    printed = run(environment / "bin" / "syncctl", "schema", "list", cwd=tmp_path)
    assert json.loads(printed.stdout)["$id"] == "urn:syncd:syncctl.v1:list"


@pytest.mark.skipif(shutil.which("man") is None, reason="man is not there (package man-db).")
def test_man_finds_the_pages_of_what_is_on_the_path(environment: Path, tmp_path: Path) -> None:
    path = f"{environment / 'bin'}:{os.environ['PATH']}"
    env = {key: value for key, value in os.environ.items() if key != "MANPATH"} | {"PATH": path}
    found = subprocess.run(
        ["man", "-w", "syncctl-list"], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
    )
    assert found.stdout.strip() == str(environment / "share" / "man" / "man1" / "syncctl-list.1"), found.stderr


def test_the_wheel_holds_migrations_schema_templates_and_units(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "syncd/migrations/env.py" in names
    assert any(name.startswith("syncd/migrations/versions/") for name in names)
    assert "syncd/reports/sync_report.v1.schema.json" in names
    assert {f"syncd/systemd/{name}" for name in SERVICE} <= names
    assert any(name.startswith("syncd/reports/templates/") for name in names)
    assert {"syncd/reports/assets/uplot/uPlot.iife.min.js", "syncd/reports/assets/uplot/LICENSE"} <= names
    assert not any(name.startswith("tests/") for name in names)


def test_installed_alone_the_daemon_runs_and_makes_its_ledger(environment: Path, tmp_path: Path) -> None:
    drop = tmp_path / "drop"
    drop.mkdir()
    config = tmp_path / "syncd.toml"
    config.write_text(
        f"[ledger]\npath = {json.dumps(str(tmp_path / 'ledger.db'))}\n"
        f"[cache]\npath = {json.dumps(str(tmp_path / 'cache'))}\n"
        f"[[watch]]\npath = {json.dumps(str(drop))}\n",
        encoding="utf-8",
    )
    daemon = run(environment / "bin" / "syncd", "--config", str(config), "--once", cwd=tmp_path)
    assert daemon.returncode == 0, daemon.stderr
    listed = run(environment / "bin" / "syncctl", "list", "--json", "--config", str(config), cwd=tmp_path)
    assert json.loads(listed.stdout) == {"jobs": [], "next": None}
    where = run(environment / "bin" / "python", "-c", "import syncd; print(syncd.__file__)", cwd=tmp_path)
    assert where.stdout.startswith(str(environment))


def test_installed_alone_it_prints_the_service_that_it_would_place(environment: Path, tmp_path: Path) -> None:
    printed = run(environment / "bin" / "syncctl", "install-service", "--print", "--cpu", cwd=tmp_path)
    assert f"ExecStart={environment}/bin/syncd --config /etc/syncd/syncd.toml" in printed.stdout, printed.stderr
    assert 'path = "/srv/drop"' in printed.stdout
