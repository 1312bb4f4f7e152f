"""The index of a folder: what it lists, when it is written, and what it never touches."""

from __future__ import annotations

import html
import re
import threading
import time
from pathlib import Path

import pytest

from syncd.config import Config, LedgerSection, ReportsSection, WatchSection
from syncd.domain import Pair
from syncd.errors import ErrorCode, SyncdError
from syncd.indexing import LEAST_INTERVAL_S, Indexer, is_due, write_index
from syncd.ledger.ledger import Ledger
from syncd.reports.html import PAGE_MARK
from syncd.reports.index import INDEX_NAME
from syncd.reports.names import page_path
from tests.integration.ledger_material import TRUNCATED, a_file, enqueue, start


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def pair_in(folder: Path, title: str, version: int = 1) -> Pair:
    return Pair(title, a_file(folder / f"{title}_master.wav"), a_file(folder / f"{title}_dub_fr.wav", version), "fr")


def sidecar_of(pair: Pair, *, page: bool = True) -> Path:
    """Both files, or the sidecar alone, as the report thread leaves them."""
    sidecar = pair.dub.path.with_name(f"{pair.dub.path.name}.sync.json")
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    sidecar.write_text("{}", encoding="utf-8")
    if page:
        page_path(sidecar).write_text(PAGE_MARK, encoding="utf-8")
    return sidecar


def completed(ledger: Ledger, pair: Pair, *, verdict: str = "offset", page: bool = True, review: bool = False) -> None:
    ledger.complete(
        start(ledger, pair),
        report_json='{"schema":"sync_report.v1"}',
        sidecar_path=sidecar_of(pair, page=page),
        verdict=verdict,
        review=review,
        offset_s=-0.5,
        confidence=0.98,
        observation=None,
    )


def listed(folder: Path) -> list[tuple[str, str, str]]:
    """Title, address and verdict of every line, as written."""
    text = (folder / INDEX_NAME).read_text(encoding="utf-8")
    rows = re.findall(r'<a href="([^"]*)">(.*?)</a>.*?data-key="([A-Z][^"]*)"', text)
    return [(html.unescape(title), html.unescape(link), verdict) for link, title, verdict in rows]


def test_every_report_stands_in_it_newest_first_with_a_link_to_its_page(
    ledger: Ledger, drop: Path, tmp_path: Path
) -> None:
    completed(ledger, pair_in(drop, "Heist"))
    completed(ledger, pair_in(drop / "below", "Sequel"), verdict="in_sync")
    write_index(drop, tmp_path / "ledger.db")
    assert listed(drop) == [
        ("Sequel", "./below/Sequel_dub_fr.wav.sync.html", "In sync"),
        ("Heist", "./Heist_dub_fr.wav.sync.html", "Out of sync"),
    ]


def test_a_failed_job_stands_in_it_and_one_without_a_page_leads_to_its_sidecar(
    ledger: Ledger, drop: Path, tmp_path: Path
) -> None:
    pair = pair_in(drop, "Heist")
    ledger.fail(start(ledger, pair), TRUNCATED, report_json="{}", sidecar_path=sidecar_of(pair, page=False))
    write_index(drop, tmp_path / "ledger.db")
    assert listed(drop) == [("Heist", "./Heist_dub_fr.wav.sync.json", "Failed")]


def test_a_newer_report_takes_the_older_ones_line(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    completed(ledger, pair_in(drop, "Heist"))
    completed(ledger, pair_in(drop, "Heist", version=2), verdict="in_sync")
    write_index(drop, tmp_path / "ledger.db")
    assert [verdict for _, _, verdict in listed(drop)] == ["In sync"]


def test_what_is_gone_what_lies_elsewhere_and_what_still_waits_is_not_listed(
    ledger: Ledger, drop: Path, tmp_path: Path
) -> None:
    completed(ledger, pair_in(drop, "Stays"))
    completed(ledger, pair_in(drop, "Gone"))
    completed(ledger, pair_in(tmp_path / "drop2", "Neighbour"))
    completed(ledger, pair_in(tmp_path / "drop!", "Another"))
    enqueue(ledger, pair_in(drop, "Waits"))
    for left in drop.glob("Gone*"):
        left.unlink()
    write_index(drop, tmp_path / "ledger.db")
    assert [title for title, _, _ in listed(drop)] == ["Stays"]


def test_a_strangers_file_of_that_name_is_left_alone(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    completed(ledger, pair_in(drop, "Heist"))
    (drop / INDEX_NAME).write_text("<p>mine</p>", encoding="utf-8")
    with pytest.raises(SyncdError) as caught:
        write_index(drop, tmp_path / "ledger.db")
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    assert (drop / INDEX_NAME).read_text(encoding="utf-8") == "<p>mine</p>"


def test_a_folder_without_reports_gets_no_page(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    enqueue(ledger, pair_in(drop, "Waits"))
    write_index(drop, tmp_path / "ledger.db")
    assert list(drop.iterdir()) == []


def test_a_page_that_would_say_the_same_is_not_written_again(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    completed(ledger, pair_in(drop, "Heist"))
    write_index(drop, tmp_path / "ledger.db")
    before = (drop / INDEX_NAME).stat()
    write_index(drop, tmp_path / "ledger.db")
    after = (drop / INDEX_NAME).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


@pytest.mark.parametrize(
    ("event", "shown", "now_s", "written_at_s", "is_idle", "due"),
    [
        (5, None, 0.0, None, False, True),
        (5, 5, 1e6, 0.0, True, False),
        (6, 5, 1.0, 0.0, True, True),
        (6, 5, LEAST_INTERVAL_S - 0.1, 0.0, False, False),
        (6, 5, LEAST_INTERVAL_S, 0.0, False, True),
    ],
    ids=["never written", "nothing happened", "at rest", "under load, a moment ago", "under load, long ago"],
)
def test_an_index_is_written_at_rest_and_seldom_under_load(
    event: int, shown: int | None, now_s: float, written_at_s: float | None, is_idle: bool, due: bool
) -> None:
    assert is_due(event, shown, now_s, written_at_s, is_idle=is_idle) is due


def config_of(tmp_path: Path, drop: Path, *, index: bool = True) -> Config:
    ledger = LedgerSection(path=tmp_path / "ledger.db")
    return Config(ledger=ledger, watch=(WatchSection(path=drop),), reports=ReportsSection(index=index))


def test_the_indexer_follows_the_ledger_and_knows_when_it_has_caught_up(
    ledger: Ledger, drop: Path, tmp_path: Path
) -> None:
    woken = threading.Event()
    indexer = Indexer(config_of(tmp_path, drop), ledger.last_event_id, woken.set)
    for now_s, title in ((0.0, "One"), (10.0, "Two")):
        completed(ledger, pair_in(drop, title))
        assert not indexer.is_done()
        woken.clear()
        indexer.tend(now_s, is_idle=True)
        assert woken.wait(20.0)
        assert indexer.is_done()
        assert title in {each for each, _, _ in listed(drop)}


def test_folders_that_pairs_are_moved_to_have_an_index_of_their_own(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    done, failed = tmp_path / "done", tmp_path / "failed"
    reports = ReportsSection(done=done, failed=failed)
    completed(ledger, pair_in(done / "week 1", "Heist"))
    indexer = Indexer(
        config_of(tmp_path, drop).model_copy(update={"reports": reports}), ledger.last_event_id, lambda: None
    )
    indexer.tend(0.0, is_idle=True)
    end_s = time.monotonic() + 20.0
    while not indexer.is_done():
        assert time.monotonic() < end_s
    assert [link for _, link, _ in listed(done)] == ["./week%201/Heist_dub_fr.wav.sync.html"]
    assert not failed.exists()


def test_a_thousand_reports_under_load_cost_a_few_pages_not_a_thousand(
    drop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []
    monkeypatch.setattr("syncd.indexing.write_index", lambda folder, _ledger: written.append(folder))
    events = iter(range(10**6))
    indexer = Indexer(config_of(tmp_path, drop), lambda: next(events), lambda: None)
    for turn in range(1_000):
        indexer.tend(0.1 * turn, is_idle=False)
    end_s = time.monotonic() + 20.0
    while len(written) < 4 and time.monotonic() < end_s:
        time.sleep(0.001)
    assert len(written) == 4


def test_switched_off_nothing_is_written_and_nothing_waited_for(ledger: Ledger, drop: Path, tmp_path: Path) -> None:
    completed(ledger, pair_in(drop, "Heist"))
    indexer = Indexer(config_of(tmp_path, drop, index=False), ledger.last_event_id, lambda: None)
    indexer.tend(0.0, is_idle=True)
    assert indexer.is_done()
    assert not (drop / INDEX_NAME).exists()
