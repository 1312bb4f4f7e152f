"""A ledger after a bad end: it is checked, and set aside when it is damaged."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from syncd.errors import ErrorCode, SyncdError
from syncd.ledger import care
from syncd.ledger import care as care_module
from syncd.ledger.care import Mark, check_due, set_aside
from syncd.ledger.file import LedgerFile
from syncd.ledger.ledger import Ledger
from syncd.ledger.lock import LedgerLock
from syncd.ledger.reader import LedgerReader
from tests.integration.ledger_material import a_pair, complete, enqueue, start

NOTES = b"these are somebody's notes " * 100
PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Of a ledger with a job in it, closed in good order."""
    ledger = Ledger.open(tmp_path / "ledger.db")
    complete(ledger, start(ledger))
    ledger.close()
    return tmp_path / "ledger.db"


def mark(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return str(connection.execute("SELECT value FROM service WHERE key = 'ledger'").fetchone()[0])


def leave_open(path: Path) -> None:
    """As a daemon that was killed would."""
    ledger = Ledger.open(path)
    ledger._file.disconnect()
    ledger._file._lock.release()


def tear(path: Path) -> None:
    """Spoil the pages of the table of events, so that nothing but a check or a look at them finds it."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT rootpage FROM sqlite_schema WHERE name IN ('events', 'ix_events_job')"
        pages = [page for (page,) in connection.execute(query)]
    content = bytearray(path.read_bytes())
    for page in pages:
        content[(page - 1) * PAGE : page * PAGE] = b"\x5a" * PAGE
    path.write_bytes(content)


def set_aside_files(path: Path) -> list[str]:
    return sorted(file.name for file in path.parent.glob("ledger.db.damaged.*"))


@pytest.mark.parametrize(
    ("left", "pragma"),
    [(Mark.CLOSED, None), (Mark.OPEN, "quick_check"), (None, "quick_check"), (Mark.DAMAGED, "integrity_check")],
)
def test_only_a_ledger_that_was_closed_in_good_order_is_not_checked(left: str | None, pragma: str | None) -> None:
    assert check_due(left) == pragma


def test_the_mark_says_open_while_it_is_and_closed_afterwards(path: Path) -> None:
    assert mark(path) == Mark.CLOSED
    ledger = Ledger.open(path)
    assert mark(path) == Mark.OPEN
    ledger.close()
    ledger.close()
    assert mark(path) == Mark.CLOSED


def test_after_a_kill_a_torn_page_is_found_before_anything_is_written(path: Path) -> None:
    leave_open(path)
    tear(path)
    with pytest.raises(SyncdError, match=r"is damaged|cannot be read as a database") as refused:
        Ledger.open(path)
    assert refused.value.code is ErrorCode.LEDGER_DAMAGED
    assert mark(path) == Mark.OPEN


def test_a_whole_ledger_goes_on_after_a_kill(path: Path) -> None:
    leave_open(path)
    ledger = Ledger.open(path, sets_aside=True)
    assert ledger.set_aside is None
    assert not enqueue(ledger, a_pair()).created
    ledger.close()
    assert set_aside_files(path) == []


def test_a_check_that_is_called_off_leaves_the_ledger_to_be_checked_at_the_next_start(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_open(path)
    monkeypatch.setattr(care_module, "_ASKED_EVERY", 1)
    for _ in range(2):
        with pytest.raises(care_module.CheckCalledOff):
            Ledger.open(path, sets_aside=True, is_called_off=lambda: True)
    assert set_aside_files(path) == []
    ledger = Ledger.open(path, sets_aside=True)
    assert ledger.set_aside is None
    ledger.close()


def test_damage_met_while_it_runs_has_everything_checked_at_the_next_start(path: Path) -> None:
    ledger = Ledger.open(path)
    ledger.checkpoint()
    tear(path)
    other = Ledger(LedgerFile(path, ledger._file._lock))
    with pytest.raises(SyncdError) as met:
        enqueue(other, a_pair("Second"))
    assert met.value.code is ErrorCode.LEDGER_DAMAGED
    ledger._file.disconnect()
    other.close()
    assert mark(path) == Mark.DAMAGED
    again = Ledger.open(path, sets_aside=True)
    assert again.set_aside is not None
    again.close()


def test_a_damaged_ledger_is_set_aside_whole_and_a_fresh_one_begun(path: Path) -> None:
    leave_open(path)
    tear(path)
    path.chmod(0o640)
    before = path.read_bytes()
    ledger = Ledger.open(path, sets_aside=True)
    assert ledger.set_aside is not None
    assert re.fullmatch(r"ledger\.db\.damaged\.\d{8}T\d{12}Z", ledger.set_aside.kept.name)
    assert ledger.set_aside.kept.read_bytes() == before
    assert str(path) in ledger.set_aside.reason
    assert enqueue(ledger, a_pair()).created
    assert path.stat().st_mode & 0o777 == 0o640
    ledger.close()
    reader = LedgerReader.open(path)
    assert sum(reader.counts().values()) == 1
    reader.close()


def test_its_logs_go_with_it(path: Path) -> None:
    for log in ("-wal", "-shm"):
        path.with_name(path.name + log).write_bytes(b"torn")
    kept = set_aside(path)
    assert kept is not None
    assert [name.removeprefix(kept.name) for name in set_aside_files(path)] == ["", "-shm", "-wal"]
    assert [file.name for file in path.parent.glob("ledger.db-*")] == []
    assert path.stat().st_size == 0


def test_a_link_to_the_ledger_goes_on_pointing_to_it(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "here.db"
    link.symlink_to(path)
    path.write_bytes(NOTES)
    Ledger.open(link, sets_aside=True).close()
    assert link.is_symlink()
    assert mark(path) == Mark.CLOSED
    assert len(set_aside_files(path)) == 1


def test_a_file_that_is_no_database_is_set_aside_and_not_lost(path: Path) -> None:
    path.write_bytes(NOTES)
    ledger = Ledger.open(path, sets_aside=True)
    assert ledger.set_aside is not None
    assert ledger.set_aside.kept.read_bytes() == NOTES
    ledger.close()


def test_a_database_of_somebody_else_is_never_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE recipes (name TEXT)")
    with pytest.raises(SyncdError, match="not a ledger of syncd"):
        Ledger.open(path, sets_aside=True)
    assert set_aside_files(path) == []


def test_a_folder_that_may_not_be_written_to_is_said_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(care, "sync", refuse)
    with pytest.raises(SyncdError, match="could not be set aside") as refused:
        set_aside(path)
    assert refused.value.code is ErrorCode.PERMISSION_DENIED


def test_a_ledger_that_somebody_has_is_not_set_aside(path: Path) -> None:
    path.write_bytes(NOTES)
    lock = LedgerLock.take(path)
    with pytest.raises(SyncdError) as refused:
        Ledger.open(path, sets_aside=True)
    assert refused.value.code is ErrorCode.LEDGER_IN_USE
    assert path.read_bytes() == NOTES
    lock.release()


def test_the_log_is_empty_after_closing_even_with_a_reader_at_hand(path: Path) -> None:
    ledger = Ledger.open(path)
    reader = LedgerReader.open(path)
    enqueue(ledger, a_pair("Second"))
    assert sum(reader.counts().values()) == 2
    assert ledger.log_bytes() > 0
    ledger.close()
    assert ledger.log_bytes() == 0
    reader.close()
