"""The cache's folder stays within its bound, forgets what was used longest ago and outlives its writers' deaths."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from syncd.worker import cache_folder
from syncd.worker.cache_folder import LOCK_NAME, CacheFolder, NotKept

DYING_WRITER = """
import os, signal, sys
from pathlib import Path
from syncd.worker.cache_folder import CacheFolder
with CacheFolder(Path(sys.argv[1]), 10_000).draft("victim", 4_000) as draft:
    os.pwrite(draft.descriptor, b"half", 0)
    print("writing", flush=True)
    sys.stdin.read()
"""
BUSY_WRITER = """
import os, sys
from pathlib import Path
from syncd.worker.cache_folder import CacheFolder, NotKept
folder = CacheFolder(Path(sys.argv[1]), 10_000)
for number in range(40):
    name = f"{sys.argv[2]}{number % 7}"
    try:
        with folder.draft(name, 3_000) as draft:
            os.pwrite(draft.descriptor, name[:1].encode() * 2_500, 0)
            draft.commit(2_500)
    except NotKept:
        continue
"""


@pytest.fixture(autouse=True)
def _full_disk_is_no_matter_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "LEAVE_FREE_BYTES", 0)


def put(folder: CacheFolder, name: str, size_bytes: int, used_at_s: int = 0) -> Path:
    with folder.draft(name, size_bytes) as draft:
        os.pwrite(draft.descriptor, name[:1].encode() * size_bytes, 0)
        draft.commit(size_bytes)
    path = folder.path / f"{name}.features"
    if used_at_s:
        os.utime(path, (used_at_s, used_at_s))
    return path


def entries(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.features")}


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {LOCK_NAME}


def test_an_entry_is_there_only_when_it_is_whole(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path / "deep" / "features", 10_000)
    with folder.draft("a", 3_000) as draft:
        os.pwrite(draft.descriptor, b"abc", 0)
        assert folder.open_entry("a") is None
        draft.commit(3)
    descriptor = folder.open_entry("a")
    assert descriptor is not None
    assert os.pread(descriptor, 10, 0) == b"abc"
    os.close(descriptor)
    assert files(folder.path) == {"a.features"}


def test_a_draft_that_is_given_up_leaves_nothing(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    with pytest.raises(OSError, match="disk"), folder.draft("a", 3_000):
        raise OSError("disk")
    assert files(tmp_path) == set()


def test_what_was_used_longest_ago_makes_room(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    for age, name in enumerate("abc"):
        put(folder, name, 3_000, used_at_s=1_000 + age)
    descriptor = folder.open_entry("a")  # now the latest
    assert descriptor is not None
    put(folder, "d", 3_000)
    assert entries(tmp_path) == {"a", "c", "d"}
    put(folder, "e", 4_000)
    assert entries(tmp_path) == {"a", "d", "e"}
    os.close(descriptor)


def test_a_reader_keeps_what_lost_its_name(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 4_000)
    put(folder, "a", 3_000)
    descriptor = folder.open_entry("a")
    assert descriptor is not None
    put(folder, "b", 3_000)
    assert entries(tmp_path) == {"b"}
    assert os.pread(descriptor, 4_000, 0) == b"a" * 3_000
    folder.discard("a", descriptor)
    folder.discard("b", descriptor)
    os.close(descriptor)
    assert entries(tmp_path) == {"b"}, "another entry than the one that is open was removed"


def test_what_is_larger_than_the_bound_is_not_kept_and_pushes_nothing_out(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 4_000)
    put(folder, "a", 3_000)
    with pytest.raises(NotKept, match="max_bytes"), folder.draft("b", 5_000):
        pass
    assert entries(tmp_path) == {"a"}


def test_a_draft_counts_before_it_is_written(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 5_000)
    with folder.draft("a", 3_000), pytest.raises(NotKept, match="Other workers"), folder.draft("b", 3_000):
        pass


def test_a_nearly_full_disk_is_left_to_the_scratch_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    put(folder, "a", 3_000)
    monkeypatch.setattr(cache_folder, "LEAVE_FREE_BYTES", 1 << 60)
    with pytest.raises(NotKept, match="are free in"), folder.draft("b", 3_000):
        pass


def test_what_a_killed_writer_left_is_removed_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    with subprocess.Popen(
        [sys.executable, "-c", DYING_WRITER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        folder.tidy()
        assert len(files(tmp_path)) == 1, "a living writer's draft is gone"
        writer.send_signal(signal.SIGKILL)
    assert len(files(tmp_path)) == 1
    folder.tidy()
    assert files(tmp_path) == set()
    assert folder.open_entry("victim") is None


def test_a_lowered_bound_holds_from_the_next_start(tmp_path: Path) -> None:
    for age, name in enumerate("abc"):
        put(CacheFolder(tmp_path, 10_000), name, 3_000, used_at_s=1_000 + age)
    CacheFolder(tmp_path, 7_000).tidy()
    assert entries(tmp_path) == {"b", "c"}
    CacheFolder(tmp_path, 0).tidy()
    assert entries(tmp_path) == set()
    CacheFolder(tmp_path / "never made", 0).tidy()
    assert not (tmp_path / "never made").exists()


def test_a_lock_that_nobody_lets_go_of_costs_the_entry_and_not_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_folder, "LOCK_WAIT_S", 0.1)
    with (tmp_path / LOCK_NAME).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(NotKept, match="lock"), CacheFolder(tmp_path, 10_000).draft("a", 100):
            pass


def test_a_link_in_an_entrys_place_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "a.features").symlink_to(tmp_path / "secret")
    with pytest.raises(OSError, match="symbolic"):
        CacheFolder(tmp_path, 10_000).open_entry("a")


def test_many_writers_and_readers_at_once_keep_the_bound_and_see_whole_entries(tmp_path: Path) -> None:
    folder = CacheFolder(tmp_path, 10_000)
    writers = [subprocess.Popen([sys.executable, "-c", BUSY_WRITER, str(tmp_path), name]) for name in "xyz"]
    torn: list[bytes] = []
    over = threading.Event()

    def read() -> None:
        while not over.is_set():
            for name in entries(tmp_path):
                descriptor = folder.open_entry(name)
                if descriptor is not None:
                    content = os.pread(descriptor, 9_000, 0)
                    if content != name[:1].encode() * 2_500:
                        torn.append(content)
                    os.close(descriptor)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0, 0]
    finally:
        over.set()
        reader.join()
    assert torn == []
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 10_000
    assert not list(tmp_path.glob(".draft-*"))
    assert entries(tmp_path)
