"""How a ledger comes to be, is brought up to date, and is refused."""

from __future__ import annotations

import re
import shutil
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.models import metadata
from syncd.ledger.reader import LedgerReader
from syncd.ledger.requests import RequestBox
from syncd.ledger.schema import REVISION, bring_up_to_date, migrations_folder, read_revision
from tests.integration.ledger_material import a_pair, complete, enqueue, start

NEXT = """
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade():
    op.execute("ALTER TABLE jobs ADD COLUMN note TEXT")
    {more}
"""


def squeezed(sql: str) -> str:
    """One form for text that means the same."""
    return re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", re.sub(r"\s+", " ", sql))).strip()


def schema_of_file(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type IN ('table', 'index') AND sql <> ''")
        return {name: squeezed(sql) for name, sql in rows if not name.startswith(("sqlite_", "alembic_"))}


def schema_of_models() -> dict[str, str]:
    dialect = sqlite.dialect()
    tables = {
        table.name: squeezed(str(CreateTable(table).compile(dialect=dialect))) for table in metadata.tables.values()
    }
    indexes = {
        str(index.name): squeezed(str(CreateIndex(index).compile(dialect=dialect)))
        for table in metadata.tables.values()
        for index in table.indexes
    }
    return tables | indexes


def later_migrations(folder: Path, more: str = "") -> Path:
    """This program's migrations and one more."""
    scripts = folder / "migrations 100%"
    shutil.copytree(migrations_folder(), scripts, ignore=shutil.ignore_patterns("__pycache__"))
    (scripts / "versions" / "revision_0005.py").write_text(NEXT.format(more=more), encoding="utf-8")
    return scripts


def test_the_migrated_schema_is_the_models_schema(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path / "ledger.db")
    assert schema_of_file(tmp_path / "ledger.db") == schema_of_models()


def test_every_table_is_strict_and_every_rule_has_a_name(tmp_path: Path) -> None:
    bring_up_to_date(tmp_path / "ledger.db")
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        tables = connection.execute(
            "SELECT name, strict FROM pragma_table_list WHERE schema = 'main' AND type = 'table'"
        )
        loose = {name for name, strict in tables if not strict}
        assert loose == {"alembic_version", "sqlite_schema", "sqlite_sequence"}
        for (sql,) in connection.execute("SELECT sql FROM sqlite_schema WHERE type = 'table' AND sql LIKE '%STRICT'"):
            rules = len(re.findall(r"\b(CHECK|FOREIGN KEY|UNIQUE) ?\(", sql))
            assert len(re.findall(r"CONSTRAINT \w+ (CHECK|FOREIGN KEY|UNIQUE)", sql)) == rules


def test_the_code_knows_the_newest_revision() -> None:
    written = [
        re.findall(r'^revision(?:: Final)? = "(\d+)"', script.read_text(encoding="utf-8"), re.MULTILINE)
        for script in (migrations_folder() / "versions").glob("*.py")
    ]
    assert max(revision for (revision,) in written) == REVISION


def test_a_new_ledger_is_made_with_its_folders_and_the_group_may_use_it(tmp_path: Path) -> None:
    path = tmp_path / "state" / "syncd" / "ledger.db"
    ledger = Ledger.open(path)
    assert read_revision(path) == REVISION
    shared = path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH)
    assert (path.parent / "ledger.db-wal").stat().st_mode & (stat.S_IRGRP | stat.S_IROTH) == shared
    ledger.close()
    assert list(path.parent.glob("*.bak")) == []


def test_the_pragmas_hold(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    with ledger._file.writing() as quick:
        assert quick.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert quick.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert quick.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
        assert quick.exec_driver_sql("PRAGMA synchronous").scalar() == 1
    with ledger._file.writing_durably() as sure:
        assert sure.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with ledger._file.reading() as reading:
        assert reading.exec_driver_sql("PRAGMA query_only").scalar() == 1
    ledger.close()


def test_an_older_ledger_is_backed_up_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    complete(ledger, start(ledger))
    ledger.close()
    backup = bring_up_to_date(path, scripts=later_migrations(tmp_path), target="0005")
    assert read_revision(path) == "0005"
    assert backup is not None
    assert re.fullmatch(r"ledger\.db\.0004\.\d{8}T\d{12}Z\.bak", backup.name)
    assert read_revision(backup) == REVISION
    for file, columns in ((path, "state, note"), (backup, "state")):
        with closing(sqlite3.connect(file)) as connection:
            assert connection.execute(f"SELECT {columns} FROM jobs").fetchone()[0] == "completed"  # noqa: S608 - ours


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ('raise RuntimeError("half way")', "half way"),
        ('op.execute("DELETE FROM media")', "2 rows point to nothing"),
    ],
)
def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path, more: str, message: str) -> None:
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    enqueue(ledger, a_pair())
    ledger.close()
    before = schema_of_file(path)
    with pytest.raises((RuntimeError, SyncdError), match=message):
        bring_up_to_date(path, scripts=later_migrations(tmp_path, more), target="0005")
    assert read_revision(path) == REVISION
    assert schema_of_file(path) == before
    ledger = Ledger.open(path)
    assert ledger.queued_count() == 1
    ledger.close()


def test_a_ledger_of_a_newer_syncd_is_refused_by_everybody(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    bring_up_to_date(path)
    bring_up_to_date(path, scripts=later_migrations(tmp_path), target="0005")
    for opener in (Ledger.open, LedgerReader.open, RequestBox.open):
        with pytest.raises(SyncdError, match="has revision 0005") as refused:
            opener(path)
        assert refused.value.code is ErrorCode.LEDGER_NEWER


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"these are somebody's notes " * 100)
    for opener in (Ledger.open, LedgerReader.open, RequestBox.open):
        with pytest.raises(SyncdError) as refused:
            opener(path)
        assert refused.value.code is ErrorCode.LEDGER_DAMAGED
    assert path.read_bytes() == b"these are somebody's notes " * 100


def test_a_database_of_somebody_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(SyncdError, match="not a ledger of syncd"):
        Ledger.open(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_schema").fetchall() == [("recipes",)]


def test_a_ledger_with_torn_pages_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    Ledger.open(path).close()
    content = bytearray(path.read_bytes())
    content[100:4096] = b"\x5a" * 3996
    path.write_bytes(content)
    with pytest.raises(SyncdError) as refused:
        Ledger.open(path)
    assert refused.value.code is ErrorCode.LEDGER_DAMAGED


def test_readers_do_not_make_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    for opener in (LedgerReader.open, RequestBox.open):
        with pytest.raises(SyncdError) as refused:
            opener(path)
        assert (refused.value.code, path.exists()) == (ErrorCode.NO_LEDGER, False)
    path.touch()
    with pytest.raises(SyncdError) as refused:
        LedgerReader.open(path)
    assert refused.value.code is ErrorCode.NO_LEDGER


def test_a_folder_that_cannot_be_made_is_an_error_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file stands where the folder should be")
    with pytest.raises(SyncdError) as refused:
        Ledger.open(tmp_path / "state" / "ledger.db")
    assert refused.value.code is ErrorCode.PERMISSION_DENIED


def test_a_full_disk_is_an_error_of_its_own_and_nothing_recorded_is_lost(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    kept = enqueue(ledger, a_pair("Kept")).job_id
    with ledger._file.writing() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        for number in range(1000):
            enqueue(ledger, a_pair(f"Filler {number} {'x' * 2000}"))

    with pytest.raises(SyncdError, match="is full") as refused:
        fill()
    assert refused.value.code is ErrorCode.DISK_FULL
    with ledger._file.writing() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert kept in [job.job_id for job in ledger.ready(1000)]
    assert enqueue(ledger, a_pair("After")).created
    ledger.close()


def test_the_log_is_folded_in_when_asked_and_a_reader_in_the_way_is_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    log = tmp_path / "ledger.db-wal"
    ledger = Ledger.open(path)
    reader = LedgerReader.open(path)
    enqueue(ledger, a_pair())
    assert log.stat().st_size > 0
    with reader._snapshot() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM jobs").scalar()
        enqueue(ledger, a_pair("Second"))
        ledger.checkpoint()
        assert log.stat().st_size > 0
    ledger.checkpoint()
    assert log.stat().st_size == 0
    assert reader.counts() == ledger.counts()
    reader.close()
    ledger.close()
