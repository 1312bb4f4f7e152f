"""The house, as docs/architecture.md draws it: imports point down only, and what is heavy stays in the workers."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "syncd"

FLOORS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            "units",
            "errors",
            "clock",
            "journal",
            "telemetry",
            "tally",
            "sdnotify",
            "headers",
            "temporary",
            "errand",
            "heap",
            "__init__",
        }
    ),
    frozenset({"domain", "plots", "config_faults"}),
    frozenset({"protocol", "config"}),
    frozenset({"watch", "devices", "ledger", "reports", "analysis", "media"}),
    frozenset({"supervisor", "worker", "handover"}),
    frozenset({"intake", "requests", "upkeep", "indexing", "delivery", "metrics", "daemon", "cli"}),
)
ONLY_IN_WORKERS = {"analysis", "media"}
HEAVY = {"av", "numpy", "scipy", "torch", "transformers", "librosa"}
# Logs go to the journal. Within the top floor the daemon sits on intake, request desk, upkeep, indexing, delivery and
# metrics, which say what intake and delivery counted. One command, `rebuild`, needs the intake.
BESIDE_EACH_OTHER_ALLOWED = {
    ("telemetry", "journal"),
    ("daemon", "requests"),
    ("daemon", "intake"),
    ("daemon", "upkeep"),
    ("daemon", "indexing"),
    ("daemon", "delivery"),
    ("daemon", "metrics"),
    ("metrics", "intake"),
    ("metrics", "delivery"),
    ("cli", "intake"),
}


def floor_of(room: str) -> int:
    for number, rooms in enumerate(FLOORS):
        if room in rooms:
            return number
    raise AssertionError(f"{room} stands on no floor: give it one in FLOORS")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "syncd"}
    return names


def imported_rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imported_modules(path) if name.startswith("syncd.")} & {
        room for rooms in FLOORS for room in rooms
    }


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    for other in imported_rooms(path) - {room}:
        if (room, other) in BESIDE_EACH_OTHER_ALLOWED:
            continue
        assert floor_of(other) < floor_of(room), f"{path.relative_to(PACKAGE)} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_workers_touch_samples(path: Path) -> None:
    room = room_of(path)
    if room in ONLY_IN_WORKERS | {"worker"}:
        return
    assert not imported_rooms(path) & ONLY_IN_WORKERS
    assert not {name.split(".")[0] for name in imported_modules(path)} & HEAVY


def test_below_the_top_floor_only_dispatch_knows_the_ledger() -> None:
    knowing = {str(path.relative_to(PACKAGE)) for path in FILES if "ledger" in imported_rooms(path)}
    below = {
        name
        for name in knowing
        if name.split("/")[0]
        not in {
            "ledger",
            "cli",
            "metrics",
            "daemon.py",
            "intake.py",
            "requests.py",
            "upkeep.py",
            "indexing.py",
            "delivery.py",
        }
    }
    assert below == {"supervisor/dispatch.py"}


@pytest.mark.parametrize("module", ["syncd.daemon", "syncd.cli.app"])
def test_the_daemon_and_the_commands_load_nothing_heavy(module: str) -> None:
    program = f"import json, sys, {module}; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)
    assert not {name.split(".")[0] for name in loaded} & HEAVY
