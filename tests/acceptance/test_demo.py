"""The README's commands, as `make demo` and `make run` start them."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

from tests.acceptance.service import valid_report, wait_for
from tests.material import PairTruth

REPOSITORY = Path(__file__).parents[2]


def test_the_demo_finds_what_it_made() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.demo"], cwd=REPOSITORY, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Truth: 2.4560 s late" in done.stdout
    assert "Both dubs placed" in done.stdout


def test_a_folder_of_ones_own_is_watched_and_keeps_the_service_in_a_hidden_corner(
    tmp_path: Path, short_pair: PairTruth
) -> None:
    with (tmp_path / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [sys.executable, "-m", "tests.demo", "--run", str(tmp_path / "my dubs")],
            cwd=REPOSITORY,
            stdout=log,
            stderr=log,
        )
    try:
        drop = tmp_path / "my dubs"
        wait_for(drop.is_dir, what="the folder")
        shutil.copy(short_pair.master_path, drop / "a_master.wav")
        shutil.copy(short_pair.dub_path, drop / "a_dub_fr.wav")
        sidecar = drop / "a_dub_fr.wav.sync.json"
        wait_for(sidecar.exists, what="the report")
        assert valid_report(sidecar)["verdict"] == "offset"
        # The report's page is written after it, under a hidden name at first.
        wait_for((drop / "a_dub_fr.wav.sync.html").exists, what="the page")
        wait_for(lambda: {path.name for path in drop.glob(".*")} == {".syncd"}, what="nothing hidden but the corner")
        daemon.send_signal(signal.SIGINT)
        assert daemon.wait(timeout=10) == 0
    finally:
        daemon.kill()
        daemon.wait()
