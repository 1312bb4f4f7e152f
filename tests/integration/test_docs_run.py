"""Commands that the documentation shows, run against a real ledger that has a job 12."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog
from typer.testing import CliRunner

from syncd.cli.app import application
from syncd.domain import Failure, Result
from syncd.ledger.ledger import Ledger
from syncd.reports.sidecar import build_report, report_to_text
from tests.integration.ledger_material import OBSERVATION, TRUNCATED, a_pair, enqueue, start
from tests.material.report_examples import PROCESSING, result, subject
from tests.unit.test_docs import BLOCK, TEXTS, command_lines

RUN = {
    "list",
    "show",
    "stats",
    "export",
    "schema",
    "devices",
    "cancel",
    "priority",
    "pause",
    "resume",
    "prune",
    "models",
}
"""Verbs that end by themselves and need neither a daemon, nor files, nor other rights."""
NOT_RUN = {"models check", "models warm", "models convert", "list --state running"}


def shown() -> list[str]:
    """Each line once."""
    found: dict[str, None] = {}
    for text in TEXTS.values():
        for kind, block in BLOCK.findall(text):
            for program, *arguments in command_lines(block) if kind == "sh" else ():
                is_run = program == "syncctl" and arguments[0] in RUN and " ".join(arguments[:2]) not in NOT_RUN
                if is_run:
                    found[" ".join(arguments)] = None
    return list(found)


def report(outcome: Result | Failure) -> str:
    """As a finished job's is kept."""
    return report_to_text(build_report(subject(), outcome, PROCESSING, syncd_version="0.1.0"))


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    ledger = Ledger.open(folder / "ledger.db")
    try:
        for number in range(11):
            lease = start(ledger, a_pair(f"Film{number}"))
            ledger.fail(lease, TRUNCATED, report_json=report(TRUNCATED), sidecar_path=None, quarantine=False)
        ledger.complete(
            start(ledger, a_pair("Film")),
            report_json=report(result()),
            sidecar_path=Path("/drop/Film_dub_fr.wav.sync.json"),
            verdict="offset",
            review=False,
            offset_s=-0.5,
            confidence=0.98,
            observation=OBSERVATION,
        )
        enqueue(ledger, a_pair("Waiting"))
    finally:
        ledger.close()
    path = folder / "syncd.toml"
    path.write_text(
        f"[ledger]\npath = {json.dumps(str(folder / 'ledger.db'))}\n[workers]\ndevices = 'cpu'\n", encoding="utf-8"
    )
    return path


@pytest.mark.parametrize("line", shown())
def test_what_is_shown_runs(line: str, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCD_CONFIG", str(config))
    with structlog.testing.capture_logs():
        done = CliRunner().invoke(application(), line.split(), catch_exceptions=False)
    assert done.exit_code == 0, done.output


def test_there_is_something_to_run() -> None:
    assert len(shown()) > 20
