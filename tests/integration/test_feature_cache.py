"""A master that was measured is not decoded for its next dub, and never is a figure another for it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result, Role
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import CacheOrder, MeasureRequest
from syncd.worker import cache_folder, feature_cache, measuring
from syncd.worker.feature_cache import Damaged, Header, check_header
from syncd.worker.measuring import Measurement, TaskListener, measure_pair
from syncd.worker.scratch import read_into
from tests.material import PairTruth, make_pair

PLENTY_BYTES = 1 << 30
KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from syncd.worker import feature_cache
from tests.integration.test_feature_cache import measured
def stop(descriptor, data, position, write=feature_cache._write):
    write(descriptor, data[: len(data) // 2], position)
    os.kill(os.getpid(), signal.SIGKILL)
feature_cache._write = stop
measured(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
"""


class Listener:
    """Keeps the stages it hears of; does something at one of them."""

    def __init__(self, at: str = "", act: Callable[[], None] = lambda: None) -> None:
        self.stages: set[str] = set()
        self._at, self._act = at, act

    def progress(self, stage: str, _done: int, _total: int, text: str) -> None:
        assert text
        if stage == self._at and stage not in self.stages:
            self._act()
        self.stages.add(stage)

    def method_done(self, result: MethodResult) -> None: ...


def measured(
    home: Path,
    master: Path,
    dub: Path,
    *,
    max_bytes: int | None = PLENTY_BYTES,
    methods: tuple[str, ...] = ("correlation", "onset"),
    listener: TaskListener | None = None,
    on_master_ready: Callable[[], None] = lambda: None,
) -> Measurement:
    request = MeasureRequest(
        task_id=1,
        master_path=os.fsencode(master),
        dub_path=os.fsencode(dub),
        master_track=None,
        dub_track=None,
        language=None,
        settings=AnalysisSettings(methods, TOLERANCES["ebu-r37"]),
        scratch_folder=os.fsencode(home / "scratch"),
        cache=None if max_bytes is None else CacheOrder(os.fsencode(home / "features"), max_bytes),
    )
    return measure_pair(request, listener or Listener(), on_master_ready=on_master_ready)


def figures(result: Result) -> bytes:
    """Everything but how long it took, as bytes."""
    methods = tuple(replace(method, processing_s=0.0) for method in result.method_results)
    return msgspec.json.encode(replace(result, stage_seconds={}, method_results=methods))


def taken(measurement: Measurement) -> tuple[str, ...]:
    assert measurement.cache is not None
    return measurement.cache.taken


def notes(measurement: Measurement) -> tuple[str, ...]:
    assert measurement.cache is not None
    return measurement.cache.notes


def entry(home: Path) -> Path:
    (path,) = (home / "features").glob("*.features")
    return path


@pytest.fixture(autouse=True)
def _full_disk_is_no_matter_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_folder, "LEAVE_FREE_BYTES", 0)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    return make_pair(tmp_path_factory.mktemp("pair"), seed=74, duration_s=14.0, offset_s=-0.3)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, pair: PairTruth) -> bytes:
    """What is true without a cache."""
    without = measured(tmp_path_factory.mktemp("plain"), pair.master_path, pair.dub_path, max_bytes=None)
    assert without.cache is None
    return figures(without.result)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, pair: PairTruth) -> Path:
    """A folder with the master's entry in it, not to be changed."""
    home = tmp_path_factory.mktemp("kept")
    assert taken(measured(home, pair.master_path, pair.dub_path)) == ()
    return home


@pytest.fixture
def home(tmp_path: Path, kept: Path) -> Path:
    """A copy of it, to be used."""
    shutil.copytree(kept / "features", tmp_path / "features")
    return tmp_path


@pytest.fixture
def master(tmp_path: Path, pair: PairTruth) -> Path:
    """A copy of the master that may be changed."""
    (tmp_path / "media").mkdir()
    return Path(shutil.copy2(pair.master_path, tmp_path / "media" / "show_master.wav"))


def test_the_second_dub_does_not_decode_the_master_and_finds_the_same(
    home: Path, pair: PairTruth, plain: bytes
) -> None:
    listener = Listener()
    again = measured(home, pair.master_path, pair.dub_path, listener=listener)
    assert taken(again) == ("master",)
    assert notes(again) == ()
    assert "decode_master" not in listener.stages
    assert {"fetch_master", "decode_dub"} <= listener.stages
    assert figures(again.result) == plain


def test_only_the_master_is_kept(kept: Path) -> None:
    assert len(list((kept / "features").glob("*.features"))) == 1
    assert not list((kept / "features").glob(".draft-*"))


def test_a_pair_that_is_swapped_takes_the_old_master_as_its_dub(home: Path, pair: PairTruth) -> None:
    swapped = measured(home, pair.dub_path, pair.master_path)
    assert taken(swapped) == ("dub",)
    without = measured(home, pair.dub_path, pair.master_path, max_bytes=None)
    assert figures(swapped.result) == figures(without.result)
    assert taken(measured(home, pair.dub_path, pair.master_path)) == ("master", "dub")


def test_a_master_that_was_renamed_or_copied_with_its_time_is_the_same(home: Path, pair: PairTruth) -> None:
    copy = shutil.copy2(pair.master_path, home / "another name.wav")
    assert taken(measured(home, Path(copy), pair.dub_path)) == ("master",)


@pytest.mark.parametrize("how", ["content", "time", "content under the old time"])
def test_a_master_that_changed_is_decoded_again(tmp_path: Path, master: Path, pair: PairTruth, how: str) -> None:
    measured(tmp_path, master, pair.dub_path)
    before = master.stat()
    if how == "time":
        os.utime(master, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    else:
        with master.open("r+b") as stream:  # a quarter in: none of what a fingerprint looks at
            stream.seek(before.st_size // 4)
            stream.write(bytes(200_000))
    if how == "content under the old time":
        os.utime(master, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = measured(tmp_path, master, pair.dub_path)
    assert taken(after) == ()
    without = measured(tmp_path, master, pair.dub_path, max_bytes=None)
    assert figures(after.result) == figures(without.result)


def test_a_master_that_changes_while_it_is_decoded_is_not_kept(tmp_path: Path, master: Path, pair: PairTruth) -> None:
    touch = Listener("decode_master", lambda: os.utime(master, ns=(1, 1)))
    with pytest.raises(SyncdError) as caught:
        measured(tmp_path, master, pair.dub_path, listener=touch)
    assert caught.value.code is ErrorCode.FILE_CHANGED
    assert not list(tmp_path.glob("features/*"))


def test_chroma_is_made_where_the_kept_features_have_none_and_kept_then(home: Path, pair: PairTruth) -> None:
    methods = ("correlation", "chroma")
    assert taken(measured(home, pair.master_path, pair.dub_path, methods=methods)) == ()
    again = measured(home, pair.master_path, pair.dub_path, methods=methods)
    assert taken(again) == ("master",)
    without = measured(home, pair.master_path, pair.dub_path, methods=methods, max_bytes=None)
    assert figures(again.result) == figures(without.result)
    assert taken(measured(home, pair.master_path, pair.dub_path)) == ("master",)


def test_another_version_of_the_analysis_makes_its_own(
    home: Path, pair: PairTruth, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_cache, "ANALYSIS_VERSION", 999)
    assert taken(measured(home, pair.master_path, pair.dub_path)) == ()


def test_another_worker_is_told_as_soon_as_the_master_is_kept_and_not_before(tmp_path: Path, pair: PairTruth) -> None:
    seen: list[bool] = []

    def look() -> None:
        seen.append(bool(list(tmp_path.glob("features/*.features"))))

    measured(tmp_path, pair.master_path, pair.dub_path, on_master_ready=look)
    measured(tmp_path, pair.master_path, pair.dub_path, on_master_ready=look)
    assert seen == [True, True]


# --- damage ----------------------------------------------------------------------------------------------------------


def places(size_bytes: int) -> Iterator[int]:
    yield from (0, 1, size_bytes // 3, size_bytes // 2, size_bytes * 9 // 10)
    yield from range(size_bytes - 6_000, size_bytes, 397)
    yield from range(size_bytes - 48, size_bytes, 5)


def test_wherever_a_bit_flips_the_entry_is_not_believed(home: Path, pair: PairTruth) -> None:
    path = entry(home)
    whole = path.read_bytes()
    descriptor = os.open(path, os.O_RDWR)
    side = measuring._Side.of(Role.MASTER, pair.master_path, (), None, None, None)
    source = measuring._Reader(
        None,
        None,
        None,
        measuring.feature_cache(b"/nowhere", 1),
        lambda: None,
        chroma=False,  # type: ignore[arg-type] # only its source is asked for
    )._source(side)
    assert source is not None
    try:
        for place in places(len(whole)):
            os.pwrite(descriptor, bytes([whole[place] ^ 0x10]), place)
            with pytest.raises(Damaged):
                feature_cache.verify(descriptor, feature_cache.read_header(descriptor, source), lambda *_: None)
            os.pwrite(descriptor, whole[place : place + 1], place)
        feature_cache.verify(descriptor, feature_cache.read_header(descriptor, source), lambda *_: None)
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("share", [0.0, 0.0001, 0.4, 0.999999])
def test_a_torn_entry_is_removed_and_the_answer_is_the_same(
    home: Path, pair: PairTruth, plain: bytes, share: float
) -> None:
    path = entry(home)
    os.truncate(path, int(path.stat().st_size * share))
    after = measured(home, pair.master_path, pair.dub_path)
    assert taken(after) == ()
    assert any("damaged" in note for note in notes(after))
    assert figures(after.result) == plain
    assert taken(measured(home, pair.master_path, pair.dub_path)) == ("master",)


def test_a_flipped_bit_in_the_sound_costs_a_decoding_and_no_figure(home: Path, pair: PairTruth, plain: bytes) -> None:
    path = entry(home)
    content = bytearray(path.read_bytes())
    content[1_000] ^= 0x40
    path.write_bytes(content)
    after = measured(home, pair.master_path, pair.dub_path)
    assert taken(after) == ()
    assert figures(after.result) == plain


def test_an_entry_under_another_files_name_is_not_believed(home: Path, pair: PairTruth) -> None:
    measured(home, pair.dub_path, pair.master_path)  # a second entry: of the dub
    ours, theirs = sorted((home / "features").glob("*.features"))
    content = ours.read_bytes()
    ours.write_bytes(theirs.read_bytes())
    theirs.write_bytes(content)
    after = measured(home, pair.master_path, pair.dub_path)
    assert taken(after) == ()
    assert any("another file" in note for note in notes(after))


def header_of(home: Path) -> tuple[Header, tuple[str, ...]]:
    path = entry(home)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        tail = np.empty(48, dtype=np.uint8)
        read_into(descriptor, tail, path.stat().st_size - 48)
        _, header_bytes, _ = feature_cache._TAIL.unpack(tail.tobytes())
        text = os.pread(descriptor, header_bytes, path.stat().st_size - 48 - header_bytes)
    finally:
        os.close(descriptor)
    header = feature_cache._header.decode(text)
    return header, tuple(channel.name for channel in header.channels)


def test_a_header_that_says_what_cannot_be_is_refused(kept: Path) -> None:
    header, rows = header_of(kept)
    check_header(header, rows)
    channel = header.channels[0]
    sound, levels = channel.sound, channel.levels
    change = msgspec.structs.replace

    def with_channel(**parts: object) -> Header:
        return change(header, channels=[change(channel, **parts), *header.channels[1:]])

    impossible = [
        change(header, channels=[]),
        change(header, channels=[channel, channel]),
        change(header, checksums=header.checksums[:-1]),
        change(header, report=replace(header.report, samples=header.report.samples + 320)),
        change(header, report=replace(header.report, samples=0)),
        change(header, report=replace(header.report, damaged_packets=-1)),
        with_channel(name="centre"),
        with_channel(level_db=float("inf")),
        with_channel(modulation_db=-1.0),
        with_channel(modulation_db=float("nan")),
        with_channel(sound=change(sound, position=-1)),
        with_channel(sound=change(sound, position=header.data_bytes)),
        with_channel(sound=change(sound, starts=[1, *sound.starts[1:]])),
        with_channel(sound=change(sound, starts=sound.starts[::-1])),
        with_channel(sound=change(sound, scales=[*sound.scales[:-1], 1e9])),
        with_channel(sound=change(sound, scales=[*sound.scales[:-1], float("nan")])),
        with_channel(sound=change(sound, scales=sound.scales[:-1])),
        with_channel(levels=change(levels, chunks=[])),
        with_channel(levels=change(levels, chunks=[(8, frames) for _, frames in levels.chunks])),
        with_channel(levels=change(levels, chunks=[(0, -1), *levels.chunks])),
        with_channel(levels=change(levels, position=header.data_bytes - 1)),
    ]
    for wrong in impossible:
        with pytest.raises(Damaged):
            check_header(wrong, rows)


# --- trouble ---------------------------------------------------------------------------------------------------------


def test_a_writer_that_is_killed_leaves_no_entry_and_its_draft_goes_with_the_next(
    tmp_path: Path, pair: PairTruth, plain: bytes
) -> None:
    program = [sys.executable, "-c", KILLED_WRITER, str(tmp_path), str(pair.master_path), str(pair.dub_path)]
    assert subprocess.run(program, check=False, timeout=120).returncode == -signal.SIGKILL
    assert len(list(tmp_path.glob("features/.draft-*"))) == 1
    assert not list(tmp_path.glob("features/*.features"))
    after = measured(tmp_path, pair.master_path, pair.dub_path)
    assert taken(after) == ()
    assert figures(after.result) == plain
    assert not list(tmp_path.glob("features/.draft-*"))
    assert taken(measured(tmp_path, pair.master_path, pair.dub_path)) == ("master",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_full_disk_costs_the_entry_and_not_the_job(
    tmp_path: Path, pair: PairTruth, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "features").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(tmp_path / "features")]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        # So that the writing itself meets the end of the disk.
        monkeypatch.setattr(cache_folder, "LEAVE_FREE_BYTES", -(1 << 40))
        full = measured(tmp_path, pair.master_path, pair.dub_path)
        assert figures(full.result) == plain
        assert any("No space left" in note for note in notes(full))
        assert not list(tmp_path.glob("features/.draft-*"))
    finally:
        subprocess.run(["umount", str(tmp_path / "features")], check=True)


def test_a_disk_that_is_nearly_full_is_left_alone(
    tmp_path: Path, pair: PairTruth, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_folder, "LEAVE_FREE_BYTES", 1 << 60)
    full = measured(tmp_path, pair.master_path, pair.dub_path)
    assert figures(full.result) == plain
    assert any("are free in" in note for note in notes(full))


@pytest.mark.parametrize("what", ["a file", "nothing that can be made", "a folder in the entry's place"])
def test_a_cache_that_cannot_be_used_costs_the_entry_and_not_the_job(
    tmp_path: Path, kept: Path, pair: PairTruth, plain: bytes, what: str
) -> None:
    folder = tmp_path / "features"
    if what == "a file":
        folder.write_text("")
    elif what == "nothing that can be made":
        folder.symlink_to("/proc/self/nowhere/features")
    else:
        (folder / entry(kept).name).mkdir(parents=True)
    after = measured(tmp_path, pair.master_path, pair.dub_path)
    assert taken(after) == ()
    assert notes(after)
    assert figures(after.result) == plain


def test_an_entry_that_is_larger_than_the_bound_is_not_kept(tmp_path: Path, pair: PairTruth, plain: bytes) -> None:
    after = measured(tmp_path, pair.master_path, pair.dub_path, max_bytes=100_000)
    assert figures(after.result) == plain
    assert any("max_bytes" in note for note in notes(after))


def test_an_entry_that_vanishes_under_the_analysis_costs_time_and_no_figure(
    home: Path, pair: PairTruth, plain: bytes
) -> None:
    path = entry(home)
    shrink = Listener("onsets", lambda: os.truncate(path, 1_000))
    after = measured(home, pair.master_path, pair.dub_path, listener=shrink)
    assert figures(after.result) == plain
    assert taken(after) == ()
    assert any("began again" in note for note in notes(after))


def test_an_entry_that_is_evicted_under_the_analysis_is_read_to_its_end(
    home: Path, pair: PairTruth, plain: bytes
) -> None:
    evict = Listener("survey", lambda: entry(home).unlink())
    after = measured(home, pair.master_path, pair.dub_path, listener=evict)
    assert taken(after) == ("master",)
    assert figures(after.result) == plain


def test_several_at_once_find_the_same(tmp_path: Path, pair: PairTruth, plain: bytes) -> None:
    answers: list[bytes] = []

    def work() -> None:
        answers.extend(figures(measured(tmp_path, pair.master_path, pair.dub_path).result) for _ in range(2))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [plain] * 6
    assert {path.suffix for path in (tmp_path / "features").iterdir()} <= {".features", ""}
