"""What the ledger keeps for hand-over: which jobs have ended, what is being moved, and where files are then."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syncd.domain import FileMove, FileStamp, JobState, Moving, Pair
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
from tests.integration.ledger_material import (
    INFO,
    a_pair,
    claim,
    complete,
    enqueue,
    fail,
    renamed,
    start,
    stems_of,
)

SIDECAR = Path("/drop/Heist_dub_fr.wav.sync.json")


def moving(job_id: int, media_id: int, *sources: Path) -> Moving:
    return Moving(job_id, media_id, tuple(FileMove(source, Path("/done") / source.name, 1, 2) for source in sources))


def stamps(order: Moving) -> dict[Path, FileStamp]:
    return {move.target: FileStamp(9, number, 1001, 2, 3, 8) for number, move in enumerate(order.files)}


def test_jobs_that_were_completed_failed_or_quarantined_have_ended_and_no_others(ledger: Ledger) -> None:
    completed, failed, quarantined, canceled = (start(ledger, a_pair(title)) for title in "abcd")
    enqueue(ledger, a_pair("e"))
    complete(ledger, completed)
    fail(ledger, failed)
    ledger.cancel(canceled.job_id)
    fail(ledger, quarantined, quarantine=True)
    ended = ledger.handover.ended_after(0, 10)
    assert [each.job_id for each in ended] == [completed.job_id, failed.job_id, quarantined.job_id]
    assert ledger.handover.ended_after(ended[0].event_id, 1) == [ended[1]]
    assert ledger.handover.ended_after(ledger.last_event_id(), 10) == []


def test_how_far_hand_over_has_come_outlives_the_daemon(tmp_path: Path) -> None:
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert ledger.handover.done() is None
    ledger.handover.set_done(17)
    ledger.close()
    ledger = Ledger.open(tmp_path / "ledger.db")
    assert ledger.handover.done() == 17
    ledger.handover.set_done(None)
    assert ledger.handover.done() is None
    ledger.close()


def test_what_is_being_moved_is_kept_until_it_has(ledger: Ledger) -> None:
    order = moving(1, 2, Path("/drop/odd \udcff.wav"))
    assert ledger.handover.moving() is None
    ledger.handover.begin_moving(order)
    assert ledger.handover.moving() == order
    ledger.handover.not_moved(order.job_id, "No room.")
    assert ledger.handover.moving() is None


def test_paths_follow_the_files_and_the_pair_is_known_in_both_places(ledger: Ledger, tmp_path: Path) -> None:
    pair = a_pair()
    lease = start(ledger, pair)
    ledger.record_media_info(pair.dub.path, pair.dub.identity, INFO)
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    assert (subject.dub.sidecars, subject.master.dubs) == ((SIDECAR,), (pair.dub.path,))
    for side, sources in ((subject.dub, (pair.dub.path, SIDECAR)), (subject.master, (pair.master.path,))):
        order = moving(lease.job_id, side.media_id, *sources)
        ledger.handover.begin_moving(order)
        ledger.handover.end_moving(order, stamps(order))
    reader = LedgerReader.open(tmp_path / "ledger.db")
    job = reader.job(lease.job_id)
    assert job is not None
    assert (job.state, job.sidecar_path) == (JobState.COMPLETED, Path("/done") / SIDECAR.name)
    assert (job.master_path, job.dub_path) == (Path("/done/Heist_master.wav"), Path("/done/Heist_dub_fr.wav"))
    assert [event.verb for event in reader.events(lease.job_id)][-2:] == ["moved", "moved"]
    known = {file.path: file for file in reader.known_files()}
    reader.close()
    assert set(known) == {job.master_path, job.dub_path}
    assert known[job.dub_path].identity == pair.dub.identity
    assert known[job.dub_path].stamp.device == 9
    for where in (pair, renamed(pair, Path("/done"))):
        again = enqueue(ledger, where)
        assert (again.job_id, again.created) == (lease.job_id, False)
    # Dropped anew it is other contents' place: what was moved is not overtaken by it.
    newer = enqueue(ledger, a_pair(dub_version=2))
    assert newer.created
    after = ledger.handover.subject(lease.job_id)
    assert after is not None
    assert after.job.superseded_by is None


def test_a_retry_measures_the_files_where_they_are_now(ledger: Ledger) -> None:
    pair = a_pair()
    lease = start(ledger, pair)
    fail(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    order = moving(lease.job_id, subject.dub.media_id, pair.dub.path)
    ledger.handover.end_moving(order, stamps(order))
    ledger.record_media_info(Path("/done") / pair.dub.path.name, pair.dub.identity, INFO)
    ledger.retry_as_new(lease.job_id)
    (ready,) = ledger.ready(5)
    assert ready.dub.path == Path("/done") / pair.dub.path.name
    assert ready.dub_info == INFO


def test_a_file_is_wanted_while_any_job_of_it_waits_or_runs(ledger: Ledger) -> None:
    first, second = a_pair(language="fr"), a_pair(language="de")
    lease = start(ledger, first)
    other = enqueue(ledger, second)
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    assert (subject.dub.is_wanted, subject.master.is_wanted) == (False, True)
    complete(ledger, claim(ledger, other.job_id))
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    assert not subject.master.is_wanted
    assert set(subject.master.dubs) == {first.dub.path, second.dub.path}


def test_stems_follow_each_under_its_own_name(ledger: Ledger) -> None:
    pair = Pair("Heist", a_pair().master, stems_of("Heist_dub_fr"), "fr")
    lease = start(ledger, pair)
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    order = moving(lease.job_id, subject.dub.media_id, *(stem.path for stem in pair.dub.stems))
    ledger.handover.end_moving(order, stamps(order))
    after = ledger.handover.subject(lease.job_id)
    assert after is not None
    assert [stem.path for stem in after.dub.file.stems] == [Path("/done") / stem.path.name for stem in pair.dub.stems]
    assert [stem.stamp.inode for stem in after.dub.file.stems] == [0, 1, 2]
    assert after.dub.file.path == after.dub.file.stems[0].path


def test_two_tracks_of_one_file_follow_together(ledger: Ledger) -> None:
    file = a_pair().master
    lease = start(ledger, Pair("Film", file, file, "fr", 0, 1))
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    order = moving(lease.job_id, subject.dub.media_id, file.path)
    ledger.handover.end_moving(order, stamps(order))
    after = ledger.handover.subject(lease.job_id)
    assert after is not None
    assert after.master.file == after.dub.file == replace(file, path=order.files[0].target, stamp=after.dub.file.stamp)


def test_a_place_that_held_another_version_takes_the_file(ledger: Ledger, reader: LedgerReader) -> None:
    old = start(ledger, renamed(a_pair(dub_version=7), Path("/done")))
    complete(ledger, old)
    pair = a_pair()
    lease = start(ledger, pair)
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    order = moving(lease.job_id, subject.dub.media_id, pair.dub.path)
    ledger.handover.end_moving(order, stamps(order))
    known = {file.path: file.identity for file in reader.known_files()}
    assert known[Path("/done/Heist_dub_fr.wav")] == pair.dub.identity


def test_files_that_somebody_took_away_leave_the_paths_as_they_were(ledger: Ledger) -> None:
    pair = a_pair()
    lease = start(ledger, pair)
    complete(ledger, lease)
    subject = ledger.handover.subject(lease.job_id)
    assert subject is not None
    ledger.handover.end_moving(moving(lease.job_id, subject.dub.media_id, pair.dub.path), {})
    after = ledger.handover.subject(lease.job_id)
    assert after is not None
    assert after.job.dub_path == pair.dub.path
