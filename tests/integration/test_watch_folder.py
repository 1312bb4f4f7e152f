"""A watched folder over its whole life: orphans, ambiguity, restarts, folders that come and go, limits."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from syncd.config import WatchSection
from syncd.domain import MediaFile, OrphanReason
from syncd.errors import ErrorCode, SyncdError
from syncd.temporary import temporary_name
from syncd.watch import folder as folder_module
from syncd.watch import rescan as rescan_module
from syncd.watch.events import (
    EventsLost,
    FilesSettled,
    FilesUnsettled,
    OrphanResolved,
    PairFound,
    RescanDone,
    WatchEvent,
    WatchTrouble,
)
from syncd.watch.examine import fingerprint, identify, identify_side
from syncd.watch.folder import Folder
from syncd.watch.inbox import Inbox
from syncd.watch.rescan import Listing, Tree, Unreadable, walk
from syncd.watch.teller import Teller
from tests.integration.watching import DEADLINE_S, Watching, wav_bytes


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


def put(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(wav_bytes())


# --- what is settled -------------------------------------------------------------------------------------------------


def test_all_pairs_are_told_of_before_the_files_count_as_settled(drop: Path) -> None:
    put(drop, *(f"T{i}_{side}.wav" for i in range(20) for side in ("master", "dub_fr", "dub_de")))
    with Watching(drop) as watching:
        watching.wait_until_settled()
        told = tuple(watching.events)
    settled = next(i for i, event in enumerate(told) if isinstance(event, FilesSettled))
    assert sum(isinstance(event, PairFound) for event in told[:settled]) == 40


def test_what_a_killed_daemon_left_half_written_is_removed_and_nothing_else(drop: Path) -> None:
    program = "from syncd.temporary import temporary_name; print(temporary_name(b'x'))"
    dead = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
    for name in (dead, temporary_name(b"x"), ".somebodys.tmp"):
        (drop / name).write_bytes(b"{")
    with Watching(drop) as watching:
        watching.wait_until_settled()
        assert dead not in {path.name for path in drop.iterdir()}
        assert len(list(drop.iterdir())) == 2


def test_an_empty_folder_is_settled(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()


def test_a_new_file_unsettles_and_settles_again(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        put(drop, "Film_master.wav")
        watching.wait_for(lambda: len(watching.of(FilesSettled)) == 2, "the second settling")
        kinds = [type(event) for event in watching.events if isinstance(event, FilesSettled | FilesUnsettled)]
    assert kinds == [FilesSettled, FilesUnsettled, FilesSettled]


def test_a_file_that_vanishes_while_it_arrives_holds_nothing_up(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        put(drop, "Film_master.wav")
        watching.wait_for(lambda: watching.of(FilesUnsettled), "the file's arrival")
        (drop / "Film_master.wav").unlink()
        watching.wait_for(lambda: len(watching.of(FilesSettled)) == 2, "the second settling")


# --- known files -----------------------------------------------------------------------------------------------------


def known_as(path: Path, fingerprint: str) -> MediaFile:
    file = identify(path)
    return replace(file, identity=replace(file.identity, fingerprint=fingerprint))


def test_known_files_are_neither_waited_for_nor_read_but_they_pair(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    known = {path: known_as(path, "00" * 16) for path in drop.iterdir()}
    with Watching(drop, known=known, settle_seconds=3600.0) as watching:
        (pair,) = watching.wait_for_pairs(1)
        watching.wait_until_settled()
    assert pair.master == known[pair.master.path]
    assert pair.dub == known[pair.dub.path]


def test_a_known_file_that_changed_while_nobody_watched_is_read_again(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    known = {path: known_as(path, "00" * 16) for path in drop.iterdir()}
    (drop / "Film_dub_fr.wav").write_bytes(wav_bytes(0.1))
    with Watching(drop, known=known) as watching:
        (pair,) = watching.wait_for_pairs(1)
    assert pair.master.identity.fingerprint == "00" * 16
    assert pair.dub.identity == identify(drop / "Film_dub_fr.wav").identity


def test_a_known_file_that_could_not_be_read_is_tried_again(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    known = {path: known_as(path, "") for path in drop.iterdir()}
    with Watching(drop, known=known) as watching:
        (pair,) = watching.wait_for_pairs(1)
    assert pair.master.identity.fingerprint
    assert pair.dub.identity.fingerprint


def test_known_files_of_an_ambiguous_title_make_no_pair(drop: Path) -> None:
    names = ["Film_dub_fr.wav", "Film_master.mov", "Film_master.wav"]
    put(drop, *names)
    known = {path: known_as(path, "00" * 16) for path in drop.iterdir()}
    with Watching(drop, known=known, settle_seconds=3600.0) as watching:
        for name in names:
            assert watching.wait_for_orphan(name).reason is OrphanReason.AMBIGUOUS_PAIR
    assert watching.pairs == []


# --- orphans ---------------------------------------------------------------------------------------------------------


def test_files_without_partner_are_told_of_with_the_reason_and_taken_back(drop: Path) -> None:
    put(drop, "A_master.wav", "B_dub_fr.wav", "C.wav")
    with Watching(drop, orphan_after_seconds=0.3) as watching:
        assert watching.wait_for_orphan("A_master.wav").reason is OrphanReason.NO_DUB
        no_master = watching.wait_for_orphan("B_dub_fr.wav")
        assert no_master.reason is OrphanReason.NO_MASTER
        assert "B_master.wav" in no_master.message
        assert watching.wait_for_orphan("C.wav").reason is OrphanReason.NO_ROLE
        put(drop, "A_dub_fr.wav")
        watching.wait_for(lambda: OrphanResolved(3, drop / "A_master.wav") in watching.events, "the partner")
        (drop / "C.wav").unlink()
        watching.rescan()
        watching.wait_for(lambda: OrphanResolved(3, drop / "C.wav") in watching.events, "the file's end")
        assert len(watching.orphans) == 3


@pytest.mark.parametrize(("whole", "broken"), [("A_dub_fr.wav", "A_master.wav"), ("A_master.wav", "a dub pt-BR.wav")])
def test_a_partner_that_is_there_and_not_complete_is_not_called_missing(drop: Path, whole: str, broken: str) -> None:
    put(drop, whole, "B_master.wav")
    (drop / broken).write_bytes(wav_bytes(1.0)[:50_000])
    with Watching(drop, orphan_after_seconds=0.5) as watching:
        message = watching.wait_for_orphan(whole).message
        assert message.startswith(f"'{whole}' waits for '{broken}', which is not complete")
        assert "is missing beside it" in watching.wait_for_orphan("B_master.wav").message
        (drop / broken).write_bytes(wav_bytes(1.0))
        watching.wait_for_pairs(1)


def test_a_pair_held_back_by_a_second_master_that_is_not_complete_is_listed_with_what_it_waits_for(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    (drop / "Film_master.bwf").write_bytes(wav_bytes(1.0)[:50_000])
    with Watching(drop, orphan_after_seconds=0.5) as watching:
        message = watching.wait_for_orphan("Film_dub_fr.wav").message
        assert message.startswith("'Film_dub_fr.wav' waits for 'Film_master.bwf', which is not complete")
        assert watching.pairs == []
        (drop / "Film_master.bwf").unlink()
        watching.rescan()
        watching.wait_for_pairs(1)


def test_a_listed_dub_stops_waiting_for_an_upload_that_was_given_up(drop: Path) -> None:
    put(drop, "Film_dub_fr.wav")
    (drop / "Film_master.wav").write_bytes(wav_bytes(1.0)[:50_000])
    with Watching(drop, orphan_after_seconds=0.5) as watching:
        assert "waits for 'Film_master.wav'" in watching.wait_for_orphan("Film_dub_fr.wav").message
        (drop / "Film_master.wav").unlink()
        watching.rescan()
        watching.wait_for(lambda: "is missing beside it" in watching.orphans[-1].message, "what is true now")


def test_a_moment_without_the_file_server_costs_no_pair(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    blips = [OSError(errno.ESTALE, "Stale file handle")]
    real = folder_module.Folder._standing_file

    def look_up(tree: Tree, path: str) -> object:
        if blips and is_standing.is_set():
            raise blips.pop()
        return rescan_module.look_up(tree, path)

    is_standing = threading.Event()

    def standing_file(folder: Folder, path: str) -> MediaFile | None:
        is_standing.set()
        try:
            return real(folder, path)
        finally:
            is_standing.clear()

    monkeypatch.setattr(folder_module, "look_up", look_up)
    monkeypatch.setattr(folder_module.Folder, "_standing_file", standing_file)
    with Watching(drop) as watching:
        watching.wait_for(lambda: not blips, "the moment")
        watching.rescan()
        watching.wait_for_pairs(1)


def test_a_folder_that_closes_before_its_file_settles_breaks_nothing(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    closed = threading.Event()
    closed.set()

    def look_up(tree: Tree, path: str) -> object:
        if closed.is_set() and path == "Film_master.wav":
            raise PermissionError(errno.EACCES, "Permission denied")
        return rescan_module.look_up(tree, path)

    monkeypatch.setattr(folder_module, "look_up", look_up)
    with Watching(drop, orphan_after_seconds=0.0) as watching:
        watching.wait_for_orphan("Film_dub_fr.wav")
        closed.clear()
        watching.rescan()
        watching.wait_for_pairs(1)
        assert watching.of(WatchTrouble) == []


def test_two_masters_make_no_pair_until_one_is_gone(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav", "Film_master.mov")
    with Watching(drop) as watching:
        for name in ("Film_master.wav", "Film_dub_fr.wav", "Film_master.mov"):
            assert watching.wait_for_orphan(name).reason is OrphanReason.AMBIGUOUS_PAIR
        assert watching.pairs == []
        (drop / "Film_master.mov").unlink()
        watching.rescan()
        (pair,) = watching.wait_for_pairs(1)
        assert pair.master.path.name == "Film_master.wav"
        assert watching.wait_for(lambda: len(watching.of(OrphanResolved)) == 3, "the resolution")


def test_a_master_that_was_taken_away_unseen_makes_nothing_ambiguous(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    with Watching(drop) as watching:
        watching.wait_for_pairs(1)
        (drop / "Film_master.wav").unlink()
        put(drop, "Film_master.mov")
        watching.wait_for(lambda: watching.pairs[-1].master.path.name == "Film_master.mov", "the new master")
    assert watching.orphans == []


# --- what does not count ---------------------------------------------------------------------------------------------


def test_links_out_of_the_tree_are_not_followed(drop: Path, tmp_path: Path) -> None:
    put(tmp_path, "outside/Film_dub_fr.wav", "outside/deep/Film_master.wav", "outside/deep/Film_dub_fr.wav")
    put(drop, "Film_master.wav", "sub/original.wav")
    (drop / "Film_dub_fr.wav").symlink_to(tmp_path / "outside" / "Film_dub_fr.wav")
    (drop / "Film_dub_es.wav").symlink_to("nowhere.wav")
    (drop / "Film_dub_it.wav").symlink_to("Film_dub_it.wav")
    (drop / "deep").symlink_to(tmp_path / "outside" / "deep")
    (drop / "Film_dub_de.wav").symlink_to("sub/original.wav")
    with Watching(drop) as watching:
        watching.wait_until_settled()
        watching.let_a_whole_life_pass()
    assert watching.dubs() == ["Film_dub_de.wav", "clock_dub_fr.wav"]
    assert watching.pairs[0].dub.path == drop / "Film_dub_de.wav"


def test_excluded_hidden_and_foreign_folders_are_not_read(drop: Path) -> None:
    for folder in ("done", ".trash", "@eaDir", "a/failed"):
        put(drop, f"{folder}/Film_master.wav", f"{folder}/Film_dub_fr.wav")
    with Watching(drop, excluded=[drop / "done", drop / "a" / "failed", drop.parent / "other"]) as watching:
        watching.wait_until_settled()
        put(drop, "done/New_master.wav", "done/New_dub_fr.wav")
        watching.let_a_whole_life_pass()
    assert watching.dubs() == ["clock_dub_fr.wav"]


def test_folders_below_count_only_if_asked_for(drop: Path) -> None:
    put(drop, "below/Film_master.wav", "below/Film_dub_fr.wav")
    with Watching(drop, recursive=False) as watching:
        watching.wait_until_settled()
        put(drop, "below/New_master.wav", "below/New_dub_fr.wav")
        watching.let_a_whole_life_pass()
    assert watching.dubs() == ["clock_dub_fr.wav"]


def test_pipes_and_folders_with_media_names_do_no_harm(drop: Path) -> None:
    os.mkfifo(drop / "Pipe_master.wav")
    (drop / "Folder_master.wav").mkdir()
    with Watching(drop) as watching:
        watching.let_a_whole_life_pass()
        os.mkfifo(drop / "Pipe_dub_fr.wav")
        watching.let_a_whole_life_pass("more")
    assert sorted(watching.dubs()) == ["clock_dub_fr.wav", "more_dub_fr.wav"]


# --- the folder itself -----------------------------------------------------------------------------------------------


def test_a_folder_that_is_removed_and_made_again_is_watched_again(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    with Watching(drop) as watching:
        watching.wait_for_pairs(1)
        shutil.rmtree(drop)
        trouble = watching.wait_for_trouble()
        assert trouble.code is ErrorCode.FILE_NOT_FOUND
        assert str(drop) in trouble.message
        drop.mkdir()
        watching.wait_for(lambda: len(watching.of(FilesSettled)) == 2, "the new folder")
        put(drop, "New_master.wav", "New_dub_fr.wav")
        watching.wait_for_dub("New_dub_fr.wav")


def test_a_folder_that_appears_after_the_start_is_picked_up(tmp_path: Path) -> None:
    with Watching(tmp_path / "later") as watching:
        assert watching.wait_for_trouble().code is ErrorCode.FILE_NOT_FOUND
        put(tmp_path / "later", "Film_master.wav", "Film_dub_fr.wav")
        watching.wait_for_dub("Film_dub_fr.wav")


def test_a_watched_folder_may_be_a_link(drop: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(drop)
    with Watching(tmp_path / "link") as watching:
        watching.wait_until_settled()
        put(drop, "Film_master.wav", "Film_dub_fr.wav")
        pair = watching.wait_for_dub("Film_dub_fr.wav")
    assert pair.dub.path == tmp_path / "link" / "Film_dub_fr.wav"


def test_polling_finds_what_events_would_have_told(drop: Path) -> None:
    with Watching(drop, polling="always", rescan_seconds=1.0) as watching:
        watching.wait_until_settled()
        put(drop, "Film_master.wav", "Film_dub_fr.wav")
        watching.wait_for_dub("Film_dub_fr.wav")


def test_a_folder_exchanged_for_another_is_listened_to_anew(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        drop.rename(drop.with_name("old"))
        drop.mkdir()
        watching.wait_for(lambda: len(watching.of(FilesSettled)) == 2, "the new folder")
        put(drop, "Film_master.wav", "Film_dub_fr.wav")
        watching.wait_for_dub("Film_dub_fr.wav")


def test_a_folder_that_is_unmounted_and_mounted_again_is_watched_again(tmp_path: Path) -> None:
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces, to mount for one process only")
    script = textwrap.dedent(
        """
        import subprocess, sys
        from pathlib import Path
        from tests.integration.watching import Watching, wav_bytes

        drop = Path(sys.argv[1])

        def mount():
            subprocess.run(["mount", "-t", "tmpfs", "none", drop], check=True)

        def put(title):
            for side in ("master", "dub_fr"):
                (drop / f"{title}_{side}.wav").write_bytes(wav_bytes())

        mount()
        with Watching(drop) as watching:
            put("First")
            watching.wait_for_dub("First_dub_fr.wav")
            subprocess.run(["umount", drop], check=True)
            mount()  # the same device and inode numbers, and none of the watches
            put("Second")
            watching.wait_for_dub("Second_dub_fr.wav")
            put("Third")
            watching.wait_for_dub("Third_dub_fr.wav")
        """
    )
    (tmp_path / "drop").mkdir()
    command = [*alone, sys.executable, "-c", script, str(tmp_path / "drop")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_a_rescan_counts_what_no_event_told_of(drop: Path) -> None:
    events: list[WatchEvent] = []
    section = WatchSection(path=drop, settle_seconds=0.0)
    folder = Folder(
        Tree(str(drop), recursive=True), section, teller=Teller(0, events.append), recall=lambda _path: None
    )

    def rescan() -> RescanDone:
        folder.begin_rescan(counts_missed=True)
        while folder.is_walking:
            folder.work()
        return [event for event in events if isinstance(event, RescanDone)][-1]

    put(drop, "Film_master.wav")
    assert (rescan().files, rescan().missed) == (1, 0)
    put(drop, "Film_dub_fr.wav")
    assert rescan().missed == 0  # its event may be on its way
    (drop / "Film_dub_fr.wav").rename(drop / "Film_dub_de.wav")
    changed_ns = (drop / "Film_dub_de.wav").stat().st_ctime_ns
    while time.time_ns() - changed_ns < 2.1e9:
        time.sleep(0.05)
    assert (rescan().files, rescan().missed) == (2, 0)
    assert [event.missed for event in events if isinstance(event, RescanDone)] == [0, 0, 0, 1, 0]


def test_a_folder_read_in_parts_loses_and_finds_files_like_any_other(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.watch.rescan.FILES_AT_ONCE", 3)
    events: list[WatchEvent] = []
    section = WatchSection(path=drop, settle_seconds=0.0, orphan_after_seconds=0.0)
    folder = Folder(
        Tree(str(drop), recursive=True), section, teller=Teller(0, events.append), recall=lambda _path: None
    )

    def rescan() -> int:
        folder.begin_rescan(counts_missed=True)
        while folder.is_walking or not folder.is_settled:
            folder.work()
        return [event for event in events if isinstance(event, RescanDone)][-1].files

    put(drop, *(f"below/T{i}_dub.wav" for i in range(10)))
    assert rescan() == 10
    assert rescan() == 10
    assert not [event for event in events if isinstance(event, OrphanResolved)]
    for i in (0, 4, 9):
        (drop / f"below/T{i}_dub.wav").unlink()
    put(drop, "below/T5_master.wav")
    assert rescan() == 8
    resolved = sorted(event.path.name for event in events if isinstance(event, OrphanResolved))
    assert resolved == ["T0_dub.wav", "T4_dub.wav", "T5_dub.wav", "T9_dub.wav"]


def slowly(tree: Tree, start: str = "") -> Iterator[Listing | Unreadable]:
    """Reading a disk so slow that each folder takes a turn of its own, when all is read."""
    for item in walk(tree, start):
        yield item
        if not start:
            time.sleep(0.06)


def test_a_rescan_that_is_wanted_during_another_follows_it(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Events may have been lost of what lies in folders that it has read already."""
    put(drop, *(f"show{i}/T_master.wav" for i in range(9)))
    with Watching(drop) as watching:
        watching.wait_until_settled()
        monkeypatch.setattr("syncd.watch.folder.walk", slowly)
        before = len(watching.of(RescanDone))
        watching.watcher.rescan_now()
        began_s = watching.watcher.last_tick_s()
        watching.wait_for_turn(after_s=began_s)
        watching.watcher.rescan_now()
        assert len(watching.of(RescanDone)) == before
        watching.wait_for(lambda: len(watching.of(RescanDone)) == before + 2, "two rescans")


def test_a_folder_that_appears_while_all_is_read_is_not_taken_for_gone(
    drop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("syncd.watch.folder.walk", slowly)
    put(drop, *(f"show{i}/T_master.wav" for i in range(9)))
    events: list[WatchEvent] = []
    section = WatchSection(path=drop, settle_seconds=0.0)
    folder = Folder(
        Tree(str(drop), recursive=True), section, teller=Teller(0, events.append), recall=lambda _path: None
    )

    def rescan(meanwhile: Callable[[], None]) -> None:
        folder.begin_rescan(counts_missed=True)
        folder.work()
        meanwhile()
        while folder.is_walking or not folder.is_settled:
            folder.work()

    def arrives(name: str) -> None:
        put(drop, name)
        folder.note(name)

    rescan(lambda: None)
    rescan(lambda: arrives("new/Film_master.wav"))
    arrives("new/Film_dub_fr.wav")
    while not folder.is_settled:
        folder.work()
    assert [event.pair.title for event in events if isinstance(event, PairFound)] == ["Film"]


# --- faults and limits -----------------------------------------------------------------------------------------------


def test_a_fault_in_the_thread_is_told_of_and_the_watching_goes_on(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    faults = iter([ZeroDivisionError("made up")])

    def fail_once(event: WatchEvent) -> None:
        if isinstance(event, PairFound) and (fault := next(faults, None)):
            raise fault

    with Watching(drop, disturb=fail_once) as watching:
        trouble = watching.wait_for_trouble()
        assert trouble.code is ErrorCode.INTERNAL
        assert "made up" in trouble.message
        watching.wait_for_pairs(2)  # the one that was lost comes again
        watching.wait_until_settled()
        put(drop, "Film_dub_de.wav")
        watching.wait_for_dub("Film_dub_de.wav")


def test_the_thread_ticks_while_nothing_happens_and_stops_at_once(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        watching.wait_for_turn(after_s=watching.watcher.last_tick_s())
        began_s = time.monotonic()
        watching.watcher.stop()
        assert time.monotonic() - began_s < 1.0


def test_a_queue_of_events_that_overflows_loses_no_file(drop: Path) -> None:
    script = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from syncd.config import WatchSection
        from syncd.watch.events import EventsLost, FilesSettled, PairFound
        from syncd.watch.known import NOTHING_KNOWN
        from syncd.watch.watcher import Watcher

        pairs, enough = [], threading.Event()

        def hear(event):
            if isinstance(event, FilesSettled):
                print("settled", flush=True)
            if isinstance(event, PairFound):
                pairs.append(event)
                if len(pairs) == int(sys.argv[2]):
                    enough.set()

        section = WatchSection(path=Path(sys.argv[1]), settle_seconds=0.2, rescan_seconds=3600.0)
        watcher = Watcher(section, index=0, known=NOTHING_KNOWN, emit=hear)
        watcher.start()
        enough.wait(60)
        watcher.stop()
        print(len(pairs), flush=True)
        """
    )
    queue_length = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if queue_length > 50_000:
        pytest.skip("the queue of this machine is too long to fill quickly")
    pairs = queue_length // 4 + 500  # two files a pair, two events a file
    with subprocess.Popen(
        [sys.executable, "-c", script, str(drop), str(pairs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "settled\n"
        process.send_signal(signal.SIGSTOP)  # nobody empties the queue
        for i in range(pairs):
            for name in (f"T{i}_master.flac", f"T{i}_dub.flac"):
                (drop / name).write_bytes(b"fLaC")
        process.send_signal(signal.SIGCONT)
        rest, errors = process.communicate(timeout=60)
    assert rest.splitlines()[-1] == str(pairs)
    assert "overflow" in errors


def test_a_hint_ends_the_waiting() -> None:
    inbox = Inbox()
    taken: list[tuple[list[str], bool]] = []
    cases: list[tuple[Callable[[], None], tuple[list[str], bool]]] = [
        (lambda: inbox.put("a"), (["a"], False)),
        (inbox.lose, ([], True)),
        (inbox.wake, ([], False)),
    ]
    for tell, expected in cases:
        waiting = threading.Thread(target=lambda: taken.append(inbox.take(3600.0)), daemon=True)
        waiting.start()
        tell()
        waiting.join(DEADLINE_S)
        assert not waiting.is_alive()
        assert taken.pop() == expected


def test_too_many_hints_become_one_rescan() -> None:
    inbox = Inbox()
    for i in range(100_001):
        inbox.put(str(i))
    paths, lost = inbox.take(0.0)
    assert lost
    assert len(paths) == 1


def test_a_file_that_changes_while_it_is_read_settles_again(drop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.wav")
    changes = iter([wav_bytes(0.2)])

    def disturbed(descriptor: int) -> bytes:
        read = fingerprint(descriptor)
        if (data := next(changes, None)) is not None:
            for side in ("master", "dub_fr"):
                (drop / f"Film_{side}.wav").write_bytes(data)
        return read

    monkeypatch.setattr("syncd.watch.folder.fingerprint", disturbed)
    with Watching(drop) as watching:
        watching.wait_until_settled()
    (pair,) = watching.pairs
    assert pair.master.identity == identify(drop / "Film_master.wav").identity
    assert pair.dub.identity == identify(drop / "Film_dub_fr.wav").identity


def test_reaching_the_limit_of_watches_is_named_and_polling_takes_over(drop: Path) -> None:
    limit = Path("/proc/sys/user/max_inotify_watches")
    alone = ["unshare", "--user", "--map-root-user"]
    if not limit.exists() or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs user namespaces, to lower the limit for one process only")
    script = textwrap.dedent(
        """
        import sys, threading
        from pathlib import Path
        from syncd.config import WatchSection
        from syncd.watch.events import EventsLost, FilesSettled, PairFound, WatchTrouble
        from syncd.watch.known import NOTHING_KNOWN
        from syncd.watch.watcher import Watcher

        Path("/proc/sys/user/max_inotify_watches").write_text(sys.argv[2])
        found, limited = threading.Event(), threading.Event()

        def hear(event):
            if isinstance(event, WatchTrouble):
                print(event.code, event.message, flush=True)
                limited.set()
            elif isinstance(event, PairFound):
                found.set()

        folder = Path(sys.argv[1])
        section = WatchSection(path=folder, settle_seconds=0.2, rescan_seconds=1.0)
        watcher = Watcher(section, index=0, known=NOTHING_KNOWN, emit=hear)
        watcher.start()
        limited.wait(20)
        for name in ("Film_master.flac", "Film_dub_fr.flac"):
            (folder / "d9" / name).write_bytes(b"fLaC")
        found.wait(20)
        watcher.stop()
        print("found" if found.is_set() else "not found")
        """
    )
    for i in range(10):
        (drop / f"d{i}").mkdir()
    for allowed in ("0", "4"):
        command = [*alone, sys.executable, "-c", script, str(drop), allowed]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        trouble, verdict = done.stdout.splitlines()
        assert trouble.startswith("WATCH_LIMIT")
        assert "fs.inotify.max_user_watches" in trouble
        assert verdict == "found"


# --- files that people name themselves -------------------------------------------------------------------------------


def test_identify_says_which_version_of_a_file_lies_there(drop: Path) -> None:
    put(drop, "a.wav")
    one = identify(drop / "a.wav")
    (drop / "b.wav").hardlink_to(drop / "a.wav")
    assert identify(drop / "b.wav").identity == one.identity
    (drop / "a.wav").write_bytes(wav_bytes(value=7))
    assert identify(drop / "a.wav").identity.fingerprint != one.identity.fingerprint


def test_identify_reads_little_of_a_large_file_but_its_middle_too(drop: Path) -> None:
    path = drop / "large.wav"
    with path.open("wb") as file:
        file.truncate(3 * 2**30)
    empty = identify(path)
    with path.open("r+b") as file:
        file.seek(3 * 2**29)
        file.write(b"x")
    assert identify(path).identity.fingerprint != empty.identity.fingerprint


@pytest.mark.parametrize(
    ("name", "code"), [("nothing.wav", ErrorCode.FILE_NOT_FOUND), ("folder", ErrorCode.MEDIA_UNREADABLE)]
)
def test_identify_refuses_what_is_no_file(drop: Path, name: str, code: ErrorCode) -> None:
    (drop / "folder").mkdir()
    with pytest.raises(SyncdError) as caught:
        identify(drop / name)
    assert caught.value.code is code


# --- stems -----------------------------------------------------------------------------------------------------------


def test_stems_are_one_side_of_a_pair(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        put(drop, "Film_master.wav", *(f"Film_dub_fr.{name}.wav" for name in ("L", "R", "C")))
        (pair,) = watching.wait_for_pairs(1)
        watching.wait_until_settled()
    assert len(watching.pairs) == 1
    assert (pair.title, pair.language, pair.master.stems) == ("Film", "fr", ())
    assert pair.dub.path == drop / "Film_dub_fr.L.wav"
    assert [(stem.channel, stem.path.name) for stem in pair.dub.stems] == [
        (name, f"Film_dub_fr.{name}.wav") for name in ("L", "R", "C")
    ]
    assert pair.dub.identity.size_bytes == sum(stem.identity.size_bytes for stem in pair.dub.stems)


def test_a_changed_stem_or_a_new_one_is_a_new_version_of_the_side(drop: Path) -> None:
    with Watching(drop) as watching:
        put(drop, "Film_dub_fr.wav", "Film_master_L.wav", "Film_master_R.wav")
        (first,) = watching.wait_for_pairs(1)
        (drop / "Film_master_R.wav").write_bytes(wav_bytes(0.1, value=2))
        second = watching.wait_for_pairs(2)[1]
        put(drop, "Film_master_C.wav")
        third = watching.wait_for_pairs(3)[2]
    assert len({pair.master.identity.fingerprint for pair in (first, second, third)}) == 3
    assert [stem.channel for stem in third.master.stems] == ["L", "R", "C"]


def test_a_lonely_side_of_stems_is_told_of_once_and_taken_back(drop: Path) -> None:
    with Watching(drop, orphan_after_seconds=0.0) as watching:
        put(drop, "Film_dub_fr.L.wav", "Film_dub_fr.R.wav")
        orphan = watching.wait_for_orphan("Film_dub_fr.L.wav")
        assert orphan.reason is OrphanReason.NO_MASTER
        put(drop, "Film_master.wav")
        watching.wait_for_pairs(1)
        watching.wait_for(lambda: watching.of(OrphanResolved), "the orphan's end")
    assert [event.path.name for event in watching.of(OrphanResolved)] == ["Film_dub_fr.L.wav"]


def test_stems_and_a_whole_mix_of_one_title_are_ambiguous(drop: Path) -> None:
    with Watching(drop) as watching:
        put(drop, "Film_dub_fr.wav", "Film_master.wav", "Film_master.L.wav", "Film_master.R.wav")
        assert watching.wait_for_orphan("Film_master.L.wav").reason is OrphanReason.AMBIGUOUS_PAIR
    assert watching.pairs == []


def test_known_stems_pair_without_being_waited_for(drop: Path) -> None:
    put(drop, "Film_master.wav", "Film_dub_fr.L.wav", "Film_dub_fr.R.wav")
    known = {path: known_as(path, "00" * 16) for path in drop.iterdir()}
    with Watching(drop, known=known, settle_seconds=3600.0) as watching:
        (pair,) = watching.wait_for_pairs(1)
        watching.wait_until_settled()
    assert [stem.identity.fingerprint for stem in pair.dub.stems] == ["00" * 16] * 2


def test_whoever_names_the_left_stem_means_the_side(drop: Path) -> None:
    put(drop, *(f"Film.{name}.wav" for name in ("L", "R", "C")), "Other.L.wav", "Film.wav")
    side = identify_side(drop / "Film.L.wav")
    assert [stem.channel for stem in side.stems] == ["L", "R", "C"]
    assert identify_side(drop / "Film.R.wav") == identify(drop / "Film.R.wav")
    assert identify_side(drop / "Other.L.wav") == identify(drop / "Other.L.wav")
    with pytest.raises(SyncdError):
        identify_side(drop / "nowhere" / "Film.L.wav")


def test_lost_events_are_told_and_the_folder_is_read_instead(tmp_path: Path) -> None:
    with Watching(tmp_path) as watching:
        watching.wait_until_settled()
        read = len(watching.of(RescanDone))
        watching.watcher._inbox.lose()
        watching.wait_for(lambda: watching.of(EventsLost), "lost events")
        watching.wait_for(lambda: len(watching.of(RescanDone)) > read, "a rescan")
    assert watching.of(EventsLost) == [EventsLost(3)]
