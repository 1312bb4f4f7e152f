"""A pair becomes a job, once."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.domain import (
    ANALYSIS_VERSION,
    Failure,
    FileStamp,
    Identity,
    JobState,
    MediaFile,
    Pair,
    PastAnswer,
    PastReport,
    Priority,
    Verdict,
)
from syncd.errors import ErrorCode
from syncd.ledger import enqueue as enqueue_module
from syncd.ledger.enqueue import Acquaintance, deserted_job_id
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import FoundAgain, StaleLease
from tests.integration.ledger_material import (
    SETTINGS,
    a_file,
    a_pair,
    an_orphan,
    claim,
    complete,
    enqueue,
    fail,
    renamed,
    start,
)


def state(reader: LedgerReader, job_id: int) -> JobState:
    job = reader.job(job_id)
    assert job is not None
    return job.state


def points_to(reader: LedgerReader, job_id: int) -> int | None:
    job = reader.job(job_id)
    assert job is not None
    return job.superseded_by


def test_the_same_pair_twice_is_one_job(ledger: Ledger) -> None:
    first = enqueue(ledger, a_pair())
    again = enqueue(ledger, a_pair())
    assert first.created
    assert (again.created, again.job_id) == (False, first.job_id)


def test_a_master_with_two_dubs_is_two_jobs(ledger: Ledger) -> None:
    assert enqueue(ledger, a_pair(language="fr")).created
    assert enqueue(ledger, a_pair(language="de")).created
    assert ledger.queued_count() == 2


def test_another_profile_or_other_tracks_are_another_job(ledger: Ledger) -> None:
    pair = a_pair()
    assert enqueue(ledger, pair).created
    assert ledger.enqueue(pair, profile="fine", settings=SETTINGS, priority=Priority.NORMAL).created
    assert enqueue(ledger, replace(pair, dub_track=1)).created
    assert ledger.queued_count() == 3


@pytest.mark.parametrize("end", [complete, fail])
def test_a_pair_that_has_ended_is_not_run_again_by_a_rescan(ledger: Ledger, end: object) -> None:
    lease = start(ledger)
    end(ledger, lease)  # type: ignore[operator]  # two of the verbs, alike in their parameters
    again = enqueue(ledger, a_pair())
    assert (again.created, again.job_id) == (False, lease.job_id)


def test_a_canceled_pair_does_not_come_back_by_itself(ledger: Ledger) -> None:
    job_id = enqueue(ledger, a_pair()).job_id
    ledger.cancel(job_id)
    assert not enqueue(ledger, a_pair()).created


@pytest.mark.parametrize("code", [ErrorCode.FILE_NOT_FOUND, ErrorCode.FILE_CHANGED])
def test_a_job_that_failed_for_a_file_gone_starts_anew_when_the_file_is_there(ledger: Ledger, code: ErrorCode) -> None:
    lease = start(ledger)
    fail(ledger, lease, Failure(code, "It was not there."))
    assert enqueue(ledger, a_pair()).created


def test_force_runs_a_completed_pair_again_but_not_one_that_is_live(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    assert not enqueue(ledger, a_pair(), force=True).created
    complete(ledger, lease)
    again = enqueue(ledger, a_pair(), force=True)
    assert again.created
    assert points_to(reader, lease.job_id) == again.job_id
    assert state(reader, lease.job_id) is JobState.COMPLETED


def test_a_newer_analysis_measures_a_completed_pair_again_only_when_it_is_asked_to(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = start(ledger)
    complete(ledger, old)
    monkeypatch.setattr(enqueue_module, "ANALYSIS_VERSION", 999)
    assert not enqueue(ledger, a_pair()).created
    new = enqueue(ledger, a_pair(), force=True)
    assert new.created
    with closing(sqlite3.connect(tmp_path / "ledger.db")) as connection:
        versions = dict(connection.execute("SELECT id, analysis_version FROM jobs").fetchall())
    assert versions == {old.job_id: ANALYSIS_VERSION, new.job_id: 999}


def test_a_new_version_takes_the_place_of_a_queued_job(ledger: Ledger, reader: LedgerReader) -> None:
    old = enqueue(ledger, a_pair()).job_id
    new = enqueue(ledger, a_pair(dub_version=2))
    assert new.superseded == (old,)
    assert new.superseded_running == ()
    assert state(reader, old) is JobState.SUPERSEDED
    assert points_to(reader, old) == new.job_id


def test_a_new_version_takes_the_place_of_a_running_job(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    new = enqueue(ledger, a_pair(master_version=2))
    assert new.superseded_running == (lease.job_id,)
    assert state(reader, lease.job_id) is JobState.SUPERSEDED
    with pytest.raises(StaleLease):
        complete(ledger, lease)
    assert [job.job_id for job in ledger.ready(5)] == [new.job_id]


def test_a_new_version_leaves_a_finished_job_as_it_ended(ledger: Ledger, reader: LedgerReader) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    new = enqueue(ledger, a_pair(dub_version=2))
    assert (new.superseded, new.superseded_running) == ((), ())
    assert state(reader, lease.job_id) is JobState.COMPLETED
    assert points_to(reader, lease.job_id) == new.job_id


def test_an_old_version_put_back_is_measured_again(ledger: Ledger, reader: LedgerReader) -> None:
    """The sidecar beside the dub speaks of the version in between."""
    complete(ledger, start(ledger))
    between = start(ledger, a_pair(dub_version=2))
    complete(ledger, between)
    back = enqueue(ledger, a_pair())
    assert back.created
    assert points_to(reader, between.job_id) == back.job_id
    assert a_pair().dub in reader.known_files()


def deserted_by(ledger: Ledger, pair: Pair) -> int | None:
    """The job whose files became this pair, as the daemon finds out."""
    elsewhere = ledger.acquaintance(pair, profile="default", settings=SETTINGS).elsewhere
    assert elsewhere is not None
    return deserted_job_id(elsewhere)


def test_a_renamed_pair_is_the_same_job(ledger: Ledger, tmp_path: Path) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    again = enqueue(ledger, renamed(a_pair(), tmp_path))
    assert (again.created, again.job_id) == (False, lease.job_id)


def test_a_renamed_pair_is_said_to_be_found_again_once_for_each_place(
    ledger: Ledger, reader: LedgerReader, tmp_path: Path
) -> None:
    lease = start(ledger)
    complete(ledger, lease)
    there, elsewhere = renamed(a_pair(), tmp_path), renamed(a_pair(), tmp_path / "elsewhere")
    assert enqueue(ledger, a_pair()).found_again is None
    told = [enqueue(ledger, pair).found_again for pair in (there, there, elsewhere, there)]
    assert [again is not None for again in told] == [True, False, True, False]
    job = reader.job(lease.job_id)
    assert job is not None
    assert told[0] == FoundAgain(JobState.COMPLETED, job.sidecar_path)
    history = [event for event in reader.events(lease.job_id) if event.verb == "found_again"]
    assert [event.details["dub"] for event in history] == [str(there.dub.path), str(elsewhere.dub.path)]


def test_a_pair_renamed_while_it_waits_is_measured_where_it_lies_now(ledger: Ledger, tmp_path: Path) -> None:
    job_id = enqueue(ledger, a_pair()).job_id
    moved = renamed(a_pair(), tmp_path)
    deserted = deserted_by(ledger, moved)
    assert not enqueue(ledger, moved, deserted_job_id=deserted).created
    assert [(job.job_id, job.master, job.dub) for job in ledger.ready(5)] == [(job_id, moved.master, moved.dub)]


def test_a_pair_linked_while_it_waits_stays_where_it_is(ledger: Ledger, tmp_path: Path) -> None:
    pair = renamed(a_pair(), tmp_path)
    pair.master.path.touch()
    pair.dub.path.touch()
    enqueue(ledger, pair)
    link = renamed(pair, tmp_path / "links")
    enqueue(ledger, link, deserted_job_id=deserted_by(ledger, link))
    assert [job.master for job in ledger.ready(5)] == [pair.master]


def test_of_a_pair_in_its_place_no_disk_is_asked(ledger: Ledger) -> None:
    enqueue(ledger, a_pair())
    known = ledger.acquaintance(a_pair(), profile="default", settings=SETTINGS)
    assert known == Acquaintance(is_unheard_of=False)


def test_of_an_unheard_pair_the_report_is_asked_for(ledger: Ledger) -> None:
    known = ledger.acquaintance(a_pair(), profile="default", settings=SETTINGS)
    assert known == Acquaintance(is_unheard_of=True)


def test_a_known_version_linked_over_a_waiting_pair_takes_its_place(ledger: Ledger, reader: LedgerReader) -> None:
    done = start(ledger, a_pair("Done"))
    complete(ledger, done)
    waiting = enqueue(ledger, a_pair("Waiting")).job_id
    source, target = a_pair("Done"), a_pair("Waiting")
    over = replace(
        target,
        master=replace(source.master, path=target.master.path),
        dub=replace(source.dub, path=target.dub.path),
    )
    answer = enqueue(ledger, over)
    assert (answer.created, answer.job_id, answer.superseded) == (False, done.job_id, (waiting,))
    assert points_to(reader, waiting) == done.job_id


def test_two_unreadable_files_of_one_size_are_not_taken_for_each_other(ledger: Ledger) -> None:
    def unread(pair: Pair) -> Pair:
        identity = replace(pair.dub.identity, fingerprint="")
        return replace(pair, dub=replace(pair.dub, identity=identity))

    one = unread(a_pair(language="fr"))
    assert enqueue(ledger, one).created
    assert not enqueue(ledger, one).created
    other = replace(one, dub=replace(one.dub, path=Path("/drop/Heist_dub_b.wav")))
    assert enqueue(ledger, other).created


def test_both_sides_may_lie_in_one_container(ledger: Ledger) -> None:
    movie = a_file("/drop/movie.mkv")
    pair = Pair("movie", movie, movie, "fr", master_track=0, dub_track=1)
    job_id = enqueue(ledger, pair).job_id
    (job,) = ledger.ready(5)
    assert (job.job_id, job.master, job.dub, job.master_track, job.dub_track) == (job_id, movie, movie, 0, 1)


def test_known_files_are_the_newest_version_of_every_path(ledger: Ledger, reader: LedgerReader) -> None:
    enqueue(ledger, a_pair())
    enqueue(ledger, a_pair(dub_version=2))
    ledger.record_orphan(an_orphan())
    expected = {a_pair().master, a_pair(dub_version=2).dub, an_orphan().file}
    assert set(reader.known_files()) == expected


def test_a_file_that_was_only_touched_from_outside_keeps_its_job_and_gets_its_new_stamp(
    ledger: Ledger, reader: LedgerReader
) -> None:
    pair = a_pair()
    job_id = enqueue(ledger, pair).job_id
    remounted = replace(pair, dub=replace(pair.dub, stamp=replace(pair.dub.stamp, device=99, inode=2**64 - 1)))
    assert enqueue(ledger, remounted).job_id == job_id
    assert remounted.dub in reader.known_files()


def test_names_of_any_bytes_go_through_unharmed(ledger: Ledger, reader: LedgerReader) -> None:
    raw = b"/drop/a\nb'\"<script>\xff\xf0\x9f\x8e\xac_master.wav"
    master = MediaFile(Path(os.fsdecode(raw)), Identity(1, 2, "aa"), FileStamp(1, 2, 1, 2, 3))
    pair = Pair(os.fsdecode(b"a\nb\xff"), master, a_file("/drop/dub.wav"))
    job_id = enqueue(ledger, pair).job_id
    (ready,) = ledger.ready(1)
    job = reader.job(job_id)
    assert job is not None
    assert os.fsencode(ready.master.path) == os.fsencode(job.master_path) == raw
    assert master in reader.known_files()


def test_an_orphan_that_found_its_partner_is_none_any_more(ledger: Ledger, reader: LedgerReader) -> None:
    orphan = an_orphan("Heist_dub_fr.wav", "No master for Heist.")
    ledger.record_orphan(orphan)
    assert reader.orphans(10)
    enqueue(ledger, a_pair())
    assert reader.orphans(10) == []


def test_a_pair_waits_with_all_that_a_worker_must_know(ledger: Ledger) -> None:
    pair = a_pair()
    job_id = enqueue(ledger, pair, priority=Priority.HIGH).job_id
    (job,) = ledger.ready(1)
    assert (job.job_id, job.title, job.master, job.dub, job.language) == (job_id, "Heist", pair.master, pair.dub, "fr")
    assert (job.profile, job.settings, job.priority) == ("default", SETTINGS, Priority.HIGH)
    assert (job.attempts, job.interruptions, job.master_info, job.dub_info) == (0, 0, None, None)


def test_high_goes_first_then_by_arrival(ledger: Ledger) -> None:
    low = enqueue(ledger, a_pair("low"), priority=Priority.LOW).job_id
    first = enqueue(ledger, a_pair("first")).job_id
    second = enqueue(ledger, a_pair("second")).job_id
    high = enqueue(ledger, a_pair("high"), priority=Priority.HIGH).job_id
    assert [job.job_id for job in ledger.ready(9)] == [high, first, second, low]
    assert [job.job_id for job in ledger.ready(2)] == [high, first]


def test_a_low_job_that_has_waited_goes_before_a_high_one_that_comes_now(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta  # noqa: PLC0415 - only this test turns the clock

    from syncd.clock import utc_now  # noqa: PLC0415

    monkeypatch.setattr("syncd.ledger.ledger.utc_now", lambda: utc_now() - timedelta(hours=2, minutes=1))
    low = enqueue(ledger, a_pair("low"), priority=Priority.LOW).job_id
    monkeypatch.undo()
    high = enqueue(ledger, a_pair("high"), priority=Priority.HIGH).job_id
    assert [job.job_id for job in ledger.ready(9)] == [low, high]


def test_a_job_ranked_anew_moves_and_one_that_has_ended_does_not(ledger: Ledger) -> None:
    first = enqueue(ledger, a_pair("first")).job_id
    second = enqueue(ledger, a_pair("second")).job_id
    assert ledger.set_priority(second, Priority.HIGH)
    assert [job.job_id for job in ledger.ready(9)] == [second, first]
    complete(ledger, claim(ledger, first))
    assert not ledger.set_priority(first, Priority.LOW)
    assert not ledger.set_priority(777, Priority.LOW)


PAST = PastReport(
    '{"schema":"sync_report.v1"}',
    Path("/drop/Heist_dub_fr.wav.sync.json"),
    datetime(2026, 8, 27, 14, 30, tzinfo=UTC),
    PastAnswer(Verdict.OFFSET, review=False, offset_s=-0.5, confidence=0.98),
)


def record(ledger: Ledger, past: PastReport = PAST) -> int | None:
    return ledger.record_past(a_pair(), past, profile="default", settings=SETTINGS, priority=Priority.NORMAL)


def is_unheard_of(ledger: Ledger, pair: Pair) -> bool:
    return ledger.is_unheard_of(pair, profile="default", settings=SETTINGS)


def test_a_job_recorded_from_its_report_has_ended_and_is_not_measured_again(
    ledger: Ledger, reader: LedgerReader
) -> None:
    assert is_unheard_of(ledger, a_pair())
    job_id = record(ledger)
    assert job_id is not None
    job = reader.job(job_id)
    assert job is not None
    assert (job.state, job.verdict, job.offset_s, job.attempts) == (JobState.COMPLETED, Verdict.OFFSET, -0.5, 0)
    assert (job.finished_at, job.sidecar_path, job.origin) == (PAST.created_at, PAST.path, "sidecar")
    assert reader.report(job_id) == PAST.text
    assert [(event.verb, event.state_after) for event in reader.events(job_id)] == [("recorded", JobState.COMPLETED)]
    assert not enqueue(ledger, a_pair()).created
    assert enqueue(ledger, a_pair(dub_version=2)).created


def test_a_failure_recorded_from_its_report_may_be_retried(ledger: Ledger, reader: LedgerReader) -> None:
    failure = Failure(ErrorCode.MEDIA_TRUNCATED, "Short.", {"at_s": 3})
    job_id = record(ledger, replace(PAST, outcome=failure))
    assert job_id is not None
    job = reader.job(job_id)
    assert job is not None
    assert (job.state, job.failure) == (JobState.FAILED, failure)
    assert not enqueue(ledger, a_pair()).created
    assert state(reader, ledger.retry_as_new(job_id)) is JobState.QUEUED


def test_a_report_against_the_rules_is_not_recorded(ledger: Ledger, reader: LedgerReader) -> None:
    assert record(ledger, replace(PAST, text="not JSON")) is None
    assert sum(reader.counts().values()) == 0
    assert is_unheard_of(ledger, a_pair())


def test_what_was_once_in_a_place_or_of_a_version_is_not_unheard_of(ledger: Ledger) -> None:
    enqueue(ledger, a_pair())
    assert not is_unheard_of(ledger, a_pair(dub_version=2))
    assert not is_unheard_of(ledger, renamed(a_pair(), Path("/elsewhere")))
    assert is_unheard_of(ledger, a_pair("Other"))
