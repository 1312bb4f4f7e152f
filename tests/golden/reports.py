"""From the golden pairs to their reports: the files, the daemon, and what of its reports is the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from tests.acceptance.service import valid_report
from tests.demo import write_config
from tests.golden.cases import CASES
from tests.golden.comparing import rounded, to_text
from tests.material.corpus import write_case

Report = dict[str, Any]

DEADLINE_S: Final = 240.0
METHODS: Final = ("correlation", "mfcc", "onset", "spectral", "chunked", "chroma", "speech")

_OF_THE_MOMENT: Final = ("syncd_version", "analysis_id", "job_id", "created_at", "processing")
_OF_THE_BYTES: Final = ("size_bytes", "fingerprint")
"""An encoder of another version writes other bytes of the same sound."""


def kept_path(name: str) -> Path:
    """Where the report of that pair lies."""
    return Path(__file__).with_name(f"{name}.sync.json")


def kept_report(name: str) -> Report:
    """What was said of that pair when it was last written down."""
    return dict(json.loads(kept_path(name).read_text(encoding="utf-8")))


def drop_all(home: Path) -> dict[str, Path]:
    """Let the daemon meet every pair in one folder; its sidecars by the pairs' names."""
    drop = home / "drop"
    drop.mkdir()
    dubs = {case.name: write_case(case, drop).dub_path for case in CASES}
    config = write_config(home, drop, settle_s=0.3)
    with config.open("a", encoding="utf-8") as text:
        text.write(f"[profiles.default]\nmethods = {json.dumps(METHODS)}\n")
    command = [sys.executable, "-m", "syncd.daemon", "--config", str(config), "--once"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    if done.returncode:
        raise RuntimeError(f"The daemon ended with {done.returncode}.\n{done.stderr}")
    return {name: dub.with_name(f"{dub.name}.sync.json") for name, dub in dubs.items()}


def stable_report(sidecar: Path) -> Report:
    """A sidecar without what another moment, folder or machine changes.

    Thresholds are left out too: what they do shows, and that they are told is tested elsewhere.
    """
    report = valid_report(sidecar)
    for name in _OF_THE_MOMENT:
        del report[name]
    for side in ("master", "dub"):
        for name in _OF_THE_BYTES:
            del report[side][name]
    for method in report["method_results"]:
        del method["processing_seconds"]
    report["settings"] = {name: each for name, each in report["settings"].items() if not name.startswith("threshold_")}
    moved = to_text(report).replace(f"{sidecar.parent}/", "/drop/")
    return dict(rounded(json.loads(moved)))
