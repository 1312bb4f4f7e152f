"""A ledger of every revision ever released is kept here, brought up to date, and then used."""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.domain import JobState, Verdict
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import JobFilter, RequestKind
from syncd.ledger.schema import REVISION, bring_up_to_date, migrations_folder, read_revision
from tests.integration.ledger_material import CRASH, INFO, a_pair, claim, complete, enqueue, stems_of
from tests.integration.test_ledger_schema import schema_of_file
from tests.upgrade.make_ledger import KEPT, kept_path

REVISIONS = sorted(re.findall(r"\d+", path.name)[0] for path in KEPT.glob("ledger-*.db"))


@pytest.fixture(params=REVISIONS)
def upgraded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy, brought up to date."""
    path = tmp_path / "ledger.db"
    shutil.copy(kept_path(request.param), path)
    assert read_revision(path) == request.param
    backup = bring_up_to_date(path)
    assert (backup is None) == (request.param == REVISION)
    return path


def test_every_revision_has_its_kept_ledger() -> None:
    released = sorted(re.findall(r"\d+", script.name)[0] for script in (migrations_folder() / "versions").glob("*.py"))
    assert released == REVISIONS


def test_its_schema_is_that_of_a_fresh_ledger(upgraded: Path, tmp_path: Path) -> None:
    fresh = tmp_path / "fresh.db"
    bring_up_to_date(fresh)
    assert read_revision(upgraded) == REVISION
    assert schema_of_file(upgraded) == schema_of_file(fresh)
    with closing(sqlite3.connect(upgraded)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT count(*) FROM job_summary WHERE master IS NOT NULL").fetchone()[0] >= 7


def test_it_works_on(upgraded: Path) -> None:
    ledger = Ledger.open(upgraded)
    reader = LedgerReader.open(upgraded)
    by_title = {job.title: job for job in reader.jobs(JobFilter(), limit=99).jobs}

    assert ledger.is_paused()
    assert by_title["Completed"].verdict is Verdict.OFFSET
    assert by_title["Quarantined"].failure == CRASH
    assert (by_title["Running"].state, by_title["Running"].interruptions) == (JobState.QUEUED, 1)
    assert [orphan.path.name for orphan in reader.orphans(9)] == ["Alone_dub_de.wav"]
    assert [request.kind for request in ledger.requests.pending()] == [RequestKind.CANCEL]
    assert len(ledger.observations()) == by_title["Completed"].attempts + ("Stems" in by_title)
    left = stems_of("Stems_dub_fr")
    assert (left in reader.known_files()) == ("Stems" in by_title)

    assert not enqueue(ledger, a_pair("Completed")).created
    assert enqueue(ledger, a_pair("Completed", dub_version=2)).created
    waiting = ledger.ready(99)
    assert [job.title for job in waiting] == ["Superseded", "Retried", "Running", "Completed"]
    assert waiting[2].master_info == INFO
    for job in waiting:
        complete(ledger, claim(ledger, job.job_id))
    assert ledger.queued_count() == 0
    assert enqueue(ledger, replace(a_pair("New"), master=stems_of("New_master"))).created
    (new,) = ledger.ready(9)
    assert [stem.channel for stem in new.master.stems] == ["L", "R", "C"]
    reader.close()
    ledger.close()
