"""What watchers find waits for the main loop, in bounded memory and without holding up a stop."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from syncd import intake as intake_module
from syncd.config import Config, LedgerSection, WatchSection
from syncd.domain import OrphanReason
from syncd.errors import ErrorCode, SyncdError
from syncd.intake import Intake
from syncd.ledger.care import MARK, Mark
from syncd.ledger.ledger import Ledger
from syncd.watch.events import OrphanFound
from tests.acceptance.service import wait_for
from tests.integration.ledger_material import an_orphan
from tests.integration.watching import wav_bytes

BACKLOG = 3
PAIRS = 20


@pytest.fixture
def intake(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Intake]:
    """With more pairs in its folder than it lets wait."""
    monkeypatch.setattr(intake_module, "BACKLOG", BACKLOG)
    for number in range(PAIRS):
        for side in ("master", "dub_fr"):
            path = tmp_path / "drop" / f"T{number}_{side}.wav"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(wav_bytes(value=number))
    intake = Intake(ledger, lambda _job_id, _now_s: None, lambda: None)
    watch = (WatchSection(path=tmp_path / "drop", settle_seconds=0.0),)
    intake.watch(Config(ledger=LedgerSection(path=tmp_path / "ledger.db"), watch=watch))
    yield intake
    intake.unwatch()


def has_a_backlog(intake: Intake) -> bool:
    """The main loop comes round, and takes nothing."""
    intake.take(slice_s=0.0)
    return intake.backlog > BACKLOG


def test_a_watcher_that_finds_more_than_may_wait_goes_on_when_some_was_taken(intake: Intake, ledger: Ledger) -> None:
    wait_for(lambda: has_a_backlog(intake), what="a backlog")
    most = 0
    while not intake.is_done:
        most = max(most, intake.backlog)
        intake.take(slice_s=0.001)
    assert most == BACKLOG + 1
    assert ledger.queued_count() == PAIRS


def test_a_watcher_that_waits_for_the_main_loop_stops_at_once(intake: Intake) -> None:
    wait_for(lambda: has_a_backlog(intake), what="a backlog")
    began_s = time.monotonic()
    intake.unwatch()
    assert time.monotonic() - began_s < 1.0


def test_damage_met_while_files_are_recalled_has_the_ledger_checked_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_ledger: Path) -> None:
        raise SyncdError(ErrorCode.LEDGER_DAMAGED, "A page cannot be read.")

    monkeypatch.setattr(intake_module, "_known_files", damaged)
    path = tmp_path / "ledger.db"
    ledger = Ledger.open(path)
    intake = Intake(ledger, lambda _job_id, _now_s: None, lambda: None)
    intake.watch(Config(ledger=LedgerSection(path=path)))

    def is_met() -> bool:
        try:
            intake.take()
        except SyncdError as error:
            return error.code is ErrorCode.LEDGER_DAMAGED
        return False

    wait_for(is_met, what="the damage")
    ledger.close()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM service WHERE key = ?", [MARK]).fetchone() == (Mark.DAMAGED,)


def told_of(intake: Intake, *events: OrphanFound) -> list[str]:
    """The names of which the log speaks when watchers say this."""
    for event in events:
        intake._hear(intake._generation, event)
    with structlog.testing.capture_logs() as lines:
        intake.take()
    return [Path(line["path"]).name for line in lines if line["event"] == "orphan"]


def test_a_file_without_partner_is_listed_at_once_and_told_of_when_its_time_is_over(ledger: Ledger) -> None:
    intake = Intake(ledger, lambda _job_id, _now_s: None, lambda: None)
    orphan = an_orphan("Alone_dub_de.wav")
    assert told_of(intake, OrphanFound(0, orphan, is_overdue=False)) == []
    assert ledger.orphan_paths() == [orphan.file.path]
    assert intake.counted.orphans == 0
    assert told_of(intake, OrphanFound(0, orphan, is_overdue=True)) == ["Alone_dub_de.wav"]
    assert intake.counted.orphans == 1


def test_a_name_that_no_waiting_mends_is_told_of_once_in_all(ledger: Ledger) -> None:
    hopeless = OrphanFound(0, replace(an_orphan(), reason=OrphanReason.NO_ROLE), is_overdue=True)
    for expected in (["Alone_dub_de.wav"], []):
        assert told_of(Intake(ledger, lambda _job_id, _now_s: None, lambda: None), hopeless) == expected


def test_a_file_whose_time_runs_out_in_a_later_run_is_told_of_then(ledger: Ledger) -> None:
    orphan = an_orphan()
    for is_overdue, expected in ((False, []), (True, ["Alone_dub_de.wav"])):
        intake = Intake(ledger, lambda _job_id, _now_s: None, lambda: None)
        assert told_of(intake, OrphanFound(0, orphan, is_overdue)) == expected
