"""A report that lies beside a dub speaks for a pair only if it is about these very versions."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.domain import Failure, FileStamp, Identity, MediaFile, Pair, PastAnswer, Verdict
from syncd.errors import ErrorCode
from syncd.reports.facts import Report
from syncd.reports.names import sidecar_names
from syncd.reports.past import find_past_report, past_report
from syncd.reports.sidecar import build_report, report_to_text
from tests.material.report_examples import MOMENT, PROCESSING, result, subject

TRUNCATED = Failure(ErrorCode.MEDIA_TRUNCATED, "The file ends after 3 of 10 s.", {"at_s": 3.0})
SIDECAR = Path("/drop/Film_dub_fr.wav.sync.json")


def pair_in(folder: Path) -> Pair:
    about = subject(folder / "Film_dub_fr.wav")
    return Pair("Film", about.master, about.dub, about.language)


def report_of(outcome: Any = None, **changes: Any) -> Report:
    built = build_report(subject(), outcome or result(), PROCESSING, syncd_version="0.1.0")
    report: Report = json.loads(report_to_text(built))
    return report | changes


def lay(path: Path, report: Report, *, mtime_ns: int = 1000) -> Path:
    path.write_text(report_to_text(report), encoding="utf-8")
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def test_a_measured_pair_comes_back_as_its_report_says() -> None:
    past = past_report(report_of(), SIDECAR, pair_in(Path("/drop")), "default")
    assert past is not None
    assert past.outcome == PastAnswer(Verdict.OFFSET, review=False, offset_s=-2.456, confidence=0.99)
    assert (past.path, past.created_at) == (SIDECAR, MOMENT)
    assert json.loads(past.text) == report_of()


def test_a_pair_without_an_offset_comes_back_without_one() -> None:
    report = report_of(result(None, Verdict.NO_MATCH))
    past = past_report(report, SIDECAR, pair_in(Path("/drop")), "default")
    assert past is not None
    assert isinstance(past.outcome, PastAnswer)
    assert (past.outcome.verdict, past.outcome.offset_s) == (Verdict.NO_MATCH, None)


def test_a_failed_pair_comes_back_with_its_error() -> None:
    past = past_report(report_of(TRUNCATED), SIDECAR, pair_in(Path("/drop")), "default")
    assert past is not None
    assert past.outcome == TRUNCATED
    assert not past.is_quarantined


def test_a_quarantined_pair_comes_back_as_one() -> None:
    built = build_report(
        subject(), TRUNCATED, replace(PROCESSING, quarantine_reason="It is dangerous."), syncd_version="0.1.0"
    )
    past = past_report(json.loads(report_to_text(built)), SIDECAR, pair_in(Path("/drop")), "default")
    assert past is not None
    assert (past.outcome, past.is_quarantined) == (TRUNCATED, True)


@pytest.mark.parametrize("code", [ErrorCode.FILE_NOT_FOUND, ErrorCode.FILE_CHANGED])
def test_a_failure_of_the_moment_says_nothing_of_the_files_as_they_are(code: ErrorCode) -> None:
    report = report_of(Failure(code, "Gone."))
    assert past_report(report, SIDECAR, pair_in(Path("/drop")), "default") is None


@pytest.mark.parametrize("side", ["master", "dub"])
@pytest.mark.parametrize("key", ["size_bytes", "fingerprint"])
def test_a_report_on_another_version_does_not_count(side: str, key: str) -> None:
    report = report_of()
    report[side][key] = 1 if key == "size_bytes" else "00"
    assert past_report(report, SIDECAR, pair_in(Path("/drop")), "default") is None


@pytest.mark.parametrize("changes", [{"profile": "strict"}, {"language": "de"}])
def test_a_report_on_another_question_does_not_count(changes: dict[str, str]) -> None:
    assert past_report(report_of(**changes), SIDECAR, pair_in(Path("/drop")), "default") is None


def test_a_file_that_could_not_be_read_is_never_the_same() -> None:
    pair = pair_in(Path("/drop"))
    unread = replace(pair.dub, identity=replace(pair.dub.identity, fingerprint=""))
    report = report_of()
    report["dub"]["fingerprint"] = ""
    assert past_report(report, SIDECAR, replace(pair, dub=unread), "default") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"verdict": "splendid"},
        {"review": "yes"},
        {"overall_confidence": 1.5},
        {"overall_confidence": None},
        {"consensus_offset": {"offset_seconds": float("inf")}},
        {"consensus_offset": {"offset_seconds": 10**400}},
        {"created_at": "0001-01-01T00:00:00+14:00"},
        {"created_at": "yesterday"},
        {"error": {"code": "BORED", "message": "?"}},
        {"master": None},
        {"note": float("nan")},
    ],
)
def test_a_report_that_is_not_as_it_should_be_does_not_count(changes: dict[str, Any]) -> None:
    assert past_report(report_of(**changes), SIDECAR, pair_in(Path("/drop")), "default") is None


def test_it_is_found_beside_the_dub_under_either_name(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    for name in sidecar_names(pair.dub.path, pair.master.path, "default", claim=b"", folder_differs=False)[:2]:
        path = lay(tmp_path / name, report_of())
        past = find_past_report(pair, "default", fallback=None)
        assert past is not None
        assert past.path == path
        path.unlink()
    assert find_past_report(pair, "default", fallback=None) is None


def test_it_is_found_in_the_folder_for_reports(tmp_path: Path) -> None:
    pair, fallback = pair_in(tmp_path), tmp_path / "reports"
    fallback.mkdir()
    names = sidecar_names(pair.dub.path, pair.master.path, "default", claim=b"", folder_differs=True)
    path = lay(fallback / names[0], report_of())
    past = find_past_report(pair, "default", fallback=fallback)
    assert past is not None
    assert past.path == path


def test_a_report_on_another_question_under_the_first_name_hides_nothing(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    first, second, _ = sidecar_names(pair.dub.path, pair.master.path, "default", claim=b"", folder_differs=False)
    lay(tmp_path / first, report_of(profile="strict"))
    lay(tmp_path / second, report_of())
    past = find_past_report(pair, "default", fallback=None)
    assert past is not None
    assert past.path.name == second


def test_a_report_that_is_older_than_the_dub_is_about_another_version(tmp_path: Path) -> None:
    pair = pair_in(tmp_path)
    lay(tmp_path / "Film_dub_fr.wav.sync.json", report_of(), mtime_ns=5)
    assert find_past_report(pair, "default", fallback=None) is not None
    younger = MediaFile(pair.dub.path, Identity(1000, 6, "dub"), FileStamp(1, 2, 1000, 6, 6))
    assert find_past_report(replace(pair, dub=younger), "default", fallback=None) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"not JSON", b"[" * 100_000, b'{"schema": "sync_report.v1"}'])
def test_whatever_else_lies_there_does_no_harm(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "Film_dub_fr.wav.sync.json").write_bytes(content)
    assert find_past_report(pair_in(tmp_path), "default", fallback=None) is None
