"""What commands print with --json has the shape that docs/json.md says.

What they print while a daemon runs is held against it by the acceptance tests, in `Service.syncctl_json`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import structlog
from typer.testing import CliRunner

from syncd.cli import doctor, models
from syncd.cli.app import application, main
from syncd.cli.rebuild import Rebuilt
from syncd.cli.schema import shapes
from syncd.clock import utc_now
from syncd.devices.views import DevicesView, DeviceView, Holder
from syncd.domain import Failure, MethodResult, Progress, Trace
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import Attempt, Event, Job, OrphanRecord
from syncd.ledger.stats import Day, Spread, Stats
from tests.docs.shapes import closed_shape, report_is_valid
from tests.integration.ledger_material import CRASH, METHOD, a_pair, an_orphan, complete, enqueue, fail, start

DEFINED: dict[str, type] = {
    "failure": Failure,
    "progress": Progress,
    "job": Job,
    "attempt": Attempt,
    "event": Event,
    "method": MethodResult,
    "orphan": OrphanRecord,
    "spread": Spread,
    "day": Day,
    "holder": Holder,
    "device": DeviceView,
    "check": doctor.Check,
    "model": models.ModelLine,
}
SHAPES = shapes()


def fields_of(record: type) -> set[str]:
    if issubclass(record, msgspec.Struct):
        return {field.name for field in msgspec.structs.fields(record)}
    return {field.name for field in dataclasses.fields(record)}


def told(shape: dict[str, Any]) -> set[str]:
    return {name for name in shape["properties"] if not name.endswith("_base64")}


@pytest.mark.parametrize("name", list(DEFINED))
def test_every_field_of_a_record_is_documented(name: str) -> None:
    assert told(SHAPES["$defs"][name]) == fields_of(DEFINED[name])


def test_every_field_of_answers_is_documented() -> None:
    assert told(SHAPES["commands"]["stats"]["properties"]["stats"]) == fields_of(Stats)
    assert told(SHAPES["commands"]["rebuild"]) == fields_of(Rebuilt)
    assert told(SHAPES["commands"]["devices"]) == fields_of(DevicesView) | {"source"}


@pytest.mark.parametrize("command", [*SHAPES["commands"], "error"])
def test_every_shape_is_a_json_schema_that_describes_all_it_has(command: str) -> None:
    shape = closed_shape(command)
    jsonschema.Draft202012Validator.check_schema(shape)
    bare: list[str] = []

    def walk(node: Any, where: str) -> None:
        if isinstance(node, dict):
            bare.extend(
                f"{where}.{name}" for name, one in node.get("properties", {}).items() if "description" not in one
            )
            for key, value in node.items():
                walk(value, f"{where}.{key}")
        elif isinstance(node, list):
            for value in node:
                walk(value, where)

    walk(shape, command)
    assert bare == []


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ledger: jobs that ended well and badly, one that will be tried again, one whose name is no UTF-8."""
    path = tmp_path_factory.mktemp("filled") / "ledger.db"
    ledger = Ledger.open(path)
    try:
        complete(ledger, start(ledger))
        fail(ledger, start(ledger, a_pair("Broken")))
        lease = start(ledger, a_pair("Again"))
        ledger.record_progress(lease, Progress("survey", 3, 9, "Comparing the whole files"), eta_s=12.5)
        ledger.record_method(lease, METHOD)
        ledger.retry_later(lease, CRASH, not_before=utc_now() + timedelta(hours=1), trace=Trace("survey", "a stack"))
        enqueue(ledger, a_pair(os.fsdecode(b"Nom\xe9")))
        ledger.record_orphan(an_orphan(os.fsdecode(b"Seul\xe9_dub_de.wav")))
    finally:
        ledger.close()
    return path


@pytest.fixture
def config(filled: Path, tmp_path: Path) -> Path:
    """Of that ledger, without a daemon."""
    drop = tmp_path / "drop"
    drop.mkdir()
    shutil.copy(filled, tmp_path / "ledger.db")
    path = tmp_path / "syncd.toml"
    path.write_text(
        f"[ledger]\npath = {json.dumps(str(tmp_path / 'ledger.db'))}\n[[watch]]\npath = {json.dumps(str(drop))}\n"
        f"settle_seconds = 0\n[cache]\npath = {json.dumps(str(tmp_path / 'cache'))}\n[workers]\ndevices = 'cpu'\n",
        encoding="utf-8",
    )
    return path


def run(*arguments: str, status: int = 0) -> list[Any]:
    """The documents that a command prints, one a line."""
    with structlog.testing.capture_logs():
        done = CliRunner().invoke(application(), arguments, catch_exceptions=False)
    assert done.exit_code == status, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("shape", "arguments", "status"),
    [
        ("list", "list --json", 0),
        ("list", "list --json --limit 1", 0),
        ("list --orphans", "list --orphans --json", 0),
        ("show", "show 1 --json", 0),
        ("show", "show 2 --json", 0),
        ("show", "show 3 --json", 0),
        ("watch", "watch 1 --json", 0),
        ("watch", "watch 2 --json", 3),
        ("stats", "stats --json", 0),
        ("retry", "retry 2 --json", 0),
        ("cancel", "cancel 3 --json", 0),
        ("priority", "priority 3 --to low --json", 0),
        ("pause", "pause --json", 0),
        ("resume", "resume --json", 0),
        ("prune", "prune --older-than 0 --json", 0),
        ("rebuild", "rebuild --json", 0),
        ("devices", "devices --json", 0),
        ("doctor", "doctor --json", 1),
        ("models", "models --json", 0),
        ("models list", "models list --json", 0),
        ("models check", "models check --json", 0),
        ("export jobs --format jsonl", "export jobs --format jsonl", 0),
    ],
)
def test_a_command_prints_what_is_documented(shape: str, arguments: str, status: int, config: Path) -> None:
    documents = run(*arguments.split(), "--config", str(config), status=status)
    assert documents
    for document in documents:
        jsonschema.validate(document, closed_shape(shape))
        report_is_valid(shape, document)


def test_a_name_that_is_no_utf8_has_its_bytes_beside_it(config: Path) -> None:
    (document,) = run("list", "--json", "--config", str(config))
    assert any("dub_path_base64" in job for job in document["jobs"])
    (document,) = run("list", "--orphans", "--json", "--config", str(config))
    assert "path_base64" in document["orphans"][0]


def test_the_service_is_shown_and_placed_as_documented(tmp_path: Path) -> None:
    for shape, arguments in (
        ("install-service --print", ["--print"]),
        ("install-service", ["--root", str(tmp_path), "--bin", "/opt/syncd/bin"]),
    ):
        (document,) = run("install-service", "--json", *arguments)
        jsonschema.validate(document, closed_shape(shape))


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        ("show 99 --json", 4, "NOT_FOUND"),
        ("prune --json", 2, "USAGE"),
        ("list --json --since x", 2, "USAGE"),
        ("list --orphans --title a --json", 2, "USAGE"),
    ],
)
def test_a_command_that_fails_prints_its_error_as_documented(
    arguments: str,
    status: int,
    code: str,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["syncctl", *arguments.split(), "--config", str(config)])
    monkeypatch.setattr("signal.signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == status
    document = json.loads(capsys.readouterr().out)
    jsonschema.validate(document, closed_shape("error"))
    assert document["error"]["code"] == code


def test_schemas_are_printed_of_the_report_and_of_every_command() -> None:
    done = CliRunner().invoke(application(), ["schema", "list --orphans"])
    assert json.loads(done.stdout)["required"] == ["orphans", "total"]
    done = CliRunner().invoke(application(), ["schema", "models", "list"])
    assert json.loads(done.stdout)["required"] == ["ok", "models"]
    done = CliRunner().invoke(application(), ["schema", "nothing"])
    assert done.exit_code != 0
