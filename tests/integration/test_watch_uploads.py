"""The short form of `tests.chaos.uploads`: files arrive in every way, each pair is told of when it is whole."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.service import Service
from tests.chaos.uploads import Judgement, Uploads, heard_by_a_watcher, recorded_by_the_daemon
from tests.chaos.ways import WAYS


def test_no_pair_is_told_of_before_it_is_whole_and_none_twice_or_never(tmp_path: Path) -> None:
    uploads, judged = heard_by_a_watcher(tmp_path, count=120, seed=11)
    assert judged.faults == []
    assert set(uploads.ways) == {way.__name__ for way in WAYS}
    assert_the_machine_held_up_few(uploads, judged)


def test_the_daemon_records_each_uploaded_pair_once_and_as_it_was_when_it_was_whole(tmp_path: Path) -> None:
    service = Service(tmp_path)
    try:
        uploads, judged = recorded_by_the_daemon(service, count=30, seed=12)
    finally:
        service.close()
    assert judged.faults == []
    assert_the_machine_held_up_few(uploads, judged)


def assert_the_machine_held_up_few(uploads: Uploads, judged: Judgement) -> None:
    """Or nothing would have been judged."""
    assert judged.unfair < len(uploads.files) / 4
