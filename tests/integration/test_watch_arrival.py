"""Files arrive in every way that people, programs and protocols have found; each is paired when it is whole."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncd.watch.examine import ignore_lease_signals
from tests.integration.watching import SETTLE_S, Watching, wav_bytes


@pytest.fixture(autouse=True)
def lease_signals() -> Iterator[None]:
    before = signal.getsignal(signal.SIGIO)
    ignore_lease_signals()
    yield
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def drop(tmp_path: Path) -> Path:
    folder = tmp_path / "drop"
    folder.mkdir()
    return folder


@pytest.fixture
def film(drop: Path) -> Path:
    """A drop folder with a master in it."""
    (drop / "Film_master.wav").write_bytes(wav_bytes())
    return drop


def test_files_that_lie_there_at_the_start_are_paired(film: Path) -> None:
    (film / "Film_dub_pt-BR.wav").write_bytes(wav_bytes())
    with Watching(film) as watching:
        (pair,) = watching.wait_for_pairs(1)
    assert (pair.title, pair.language) == ("Film", "pt-BR")
    assert pair.master.path == film / "Film_master.wav"
    assert pair.dub.identity.size_bytes == len(wav_bytes())
    assert len(pair.dub.identity.fingerprint) == 32
    assert pair.dub.stamp.inode == (film / "Film_dub_pt-BR.wav").stat().st_ino


def test_a_copy_in_chunks_is_paired_when_it_is_whole_and_once(film: Path) -> None:
    data = wav_bytes(1.0)
    with Watching(film) as watching:
        watching.wait_until_settled()
        for start in range(0, len(data), 16000):
            with (film / "Film_dub_fr.wav").open("ab") as file:
                file.write(data[start : start + 16000])
            time.sleep(SETTLE_S / 3)
        pair = watching.wait_for_dub("Film_dub_fr.wav")
        watching.let_a_whole_life_pass()
        assert watching.dubs().count("Film_dub_fr.wav") == 1
    assert pair.dub.identity.size_bytes == len(data)


def test_a_copy_whose_header_promises_more_waits_through_any_pause(film: Path) -> None:
    data = wav_bytes(1.0)
    target = film / "Film_dub_fr.wav"
    with Watching(film) as watching:
        target.write_bytes(data[:50_000])
        watching.let_a_whole_life_pass()
        assert "Film_dub_fr.wav" not in watching.dubs()
        with target.open("ab") as file:
            file.write(data[50_000:])
        assert watching.wait_for_dub("Film_dub_fr.wav").dub.identity.size_bytes == len(data)


def test_a_file_that_a_program_holds_open_for_writing_waits(film: Path) -> None:
    target = film / "Film_dub_fr.flac"  # says nothing of its length
    with Watching(film) as watching:
        with target.open("wb") as file:
            file.write(b"fLaC" + b"\1" * 1000)
            file.flush()
            watching.let_a_whole_life_pass("one")
            watching.let_a_whole_life_pass("two")
            assert "Film_dub_fr.flac" not in watching.dubs()
            file.write(b"\2" * 1000)
        assert watching.wait_for_dub("Film_dub_fr.flac").dub.identity.size_bytes == 2004


def test_reserved_space_is_not_mistaken_for_a_file(film: Path) -> None:
    data = wav_bytes(1.0)
    target = film / "Film_dub_fr.wav"
    with Watching(film) as watching:
        with target.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, len(data))
        watching.let_a_whole_life_pass()
        assert "Film_dub_fr.wav" not in watching.dubs()
        with target.open("r+b") as file:
            file.write(data)
        pair = watching.wait_for_dub("Film_dub_fr.wav")
        watching.let_a_whole_life_pass("later")
        assert watching.dubs().count("Film_dub_fr.wav") == 1
    assert pair.dub.stamp.mtime_ns == target.stat().st_mtime_ns


@pytest.mark.parametrize("scratch", ["Film_dub_fr.wav.part", ".Film_dub_fr.wav.X1y2Z3", "Film_dub_fr.wav~"])
def test_a_file_renamed_into_place_is_found_under_its_final_name_only(film: Path, scratch: str) -> None:
    with Watching(film) as watching:
        watching.wait_until_settled()
        (film / scratch).write_bytes(wav_bytes())
        (film / scratch).rename(film / "Film_dub_fr.wav")
        watching.wait_for_dub("Film_dub_fr.wav")
    assert watching.dubs() == ["Film_dub_fr.wav"]


def test_a_file_moved_in_from_elsewhere_is_found(film: Path, tmp_path: Path) -> None:
    with Watching(film) as watching:
        watching.wait_until_settled()
        (tmp_path / "elsewhere.wav").write_bytes(wav_bytes())
        (tmp_path / "elsewhere.wav").rename(film / "Film_dub_fr.wav")
        watching.wait_for_dub("Film_dub_fr.wav")


def test_an_upload_that_ends_with_link_and_unlink_is_found(film: Path) -> None:
    with Watching(film) as watching:
        watching.wait_until_settled()
        (film / "upload.tmp").write_bytes(wav_bytes())
        (film / "Film_dub_fr.wav").hardlink_to(film / "upload.tmp")
        (film / "upload.tmp").unlink()
        watching.wait_for_dub("Film_dub_fr.wav")


def test_a_hard_link_is_a_file_like_any_other(film: Path) -> None:
    with Watching(film) as watching:
        watching.wait_until_settled()
        (film / "Film_dub_fr.wav").hardlink_to(film / "Film_master.wav")
        pair = watching.wait_for_dub("Film_dub_fr.wav")
    assert pair.dub.identity == pair.master.identity
    assert pair.dub.path != pair.master.path


def test_names_are_bytes_and_come_through_unharmed(drop: Path) -> None:
    titles = [
        b"new\nline",
        b"quo\"te'",
        "\U0001f3ac emoji".encode(),
        b"latin\xff\xfe1",
        b"<script>",
        b"-rf $(x)",
        b"A" * 239,
    ]
    names = [(title + b"_master.wav", title + b"_dub_fr.wav") for title in titles]
    assert max(len(name) for pair in names for name in pair) == 250
    with Watching(drop) as watching:
        for pair in names:
            for name in pair:
                (drop / os.fsdecode(name)).write_bytes(wav_bytes())
        found = watching.wait_for_pairs(len(titles))
    got = {(os.fsencode(pair.master.path.name), os.fsencode(pair.dub.path.name)) for pair in found}
    assert got == set(names)
    assert all(pair.title.encode() for pair in found)


def test_a_name_as_long_as_the_file_system_allows_pairs(drop: Path) -> None:
    long_dub, long_master = f"{'x' * 247}_dub.wav", f"{'x' * 247}_ov.wav"
    assert len(long_dub) == 255
    pattern = r"^(?P<title>x+)_(?P<role>ov|dub)\.wav$"
    with Watching(drop, patterns=(pattern,)) as watching:
        for name in (long_dub, long_master):
            (drop / name).write_bytes(wav_bytes())
        watching.wait_for_dub(long_dub)


def test_a_file_in_a_folder_made_a_moment_ago_is_not_missed(drop: Path) -> None:
    with Watching(drop) as watching:
        watching.wait_until_settled()
        for i in range(30):
            folder = drop / f"show{i}" / "Film"
            folder.mkdir(parents=True)
            (folder / "master.wav").write_bytes(wav_bytes())
            (folder / "dub_fr.wav").write_bytes(wav_bytes())
        found = watching.wait_for_pairs(30)
    assert len({pair.dub.path for pair in found}) == 30
    assert {pair.title for pair in found} == {"Film"}


def test_ten_folders_deep_is_as_good_as_one(drop: Path) -> None:
    deep = Path(*(f"level{i}" for i in range(10)))
    with Watching(drop) as watching:
        watching.wait_until_settled()
        for side in ("master", "dub_fr"):
            (drop / deep).mkdir(parents=True, exist_ok=True)
            (drop / deep / f"Film_{side}.wav").write_bytes(wav_bytes())
        assert watching.wait_for_dub("Film_dub_fr.wav").dub.path.parent == drop / deep


@pytest.mark.parametrize("years", [-40, 40])
def test_a_file_whose_clock_is_wrong_settles_like_any_other(film: Path, years: int) -> None:
    dub, when_s = film / "Film_dub_fr.wav", time.time() + years * 365 * 86_400
    with Watching(film) as watching:
        watching.wait_until_settled()
        dub.write_bytes(wav_bytes())
        os.utime(dub, (when_s, when_s))
        assert watching.wait_for_dub(dub.name).dub.stamp.mtime_ns == dub.stat().st_mtime_ns


def test_a_file_written_over_and_given_its_old_time_back_is_a_new_version(film: Path) -> None:
    dub = film / "Film_dub_fr.wav"
    dub.write_bytes(wav_bytes(value=1))
    times = dub.stat().st_atime_ns, dub.stat().st_mtime_ns
    with Watching(film) as watching:
        first = watching.wait_for_dub(dub.name)
        dub.write_bytes(wav_bytes(value=2))
        os.utime(dub, ns=times)
        second = watching.wait_for_pairs(2)[-1]
    assert second.dub.identity.mtime_ns == first.dub.identity.mtime_ns
    assert second.dub.identity.fingerprint != first.dub.identity.fingerprint


def test_a_folder_moved_in_with_its_files_is_read(drop: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    for folder in ("master", "dub/fr", "dub/de"):
        (outside / folder).mkdir(parents=True)
        (outside / folder / "Film.wav").write_bytes(wav_bytes())
    with Watching(drop) as watching:
        watching.wait_until_settled()
        outside.rename(drop / "inside")
        found = watching.wait_for_pairs(2)
        assert {pair.language for pair in found} == {"fr", "de"}
        (drop / "inside").rename(drop / "again")
        watching.wait_for(
            lambda: {pair.dub.path.parts[-4] for pair in watching.pairs[2:]} == {"again"}, "the new folder"
        )


def test_a_thousand_pairs_dropped_at_once_are_all_found_and_none_twice(drop: Path) -> None:
    data = wav_bytes(0.005)
    with Watching(drop) as watching:
        watching.wait_until_settled()
        for i in range(1000):
            (drop / f"T{i}_master.wav").write_bytes(data)
            (drop / f"T{i}_dub_fr.wav").write_bytes(data)
        watching.wait_for_pairs(1000)
        watching.let_a_whole_life_pass()
    assert len(watching.dubs()) == len(set(watching.dubs())) == 1001


def test_a_replaced_dub_is_a_new_version(film: Path, tmp_path: Path) -> None:
    (film / "Film_dub_fr.wav").write_bytes(wav_bytes())
    with Watching(film) as watching:
        (old,) = watching.wait_for_pairs(1)
        (tmp_path / "new.wav").write_bytes(wav_bytes(value=2))
        (tmp_path / "new.wav").replace(film / "Film_dub_fr.wav")
        _, new = watching.wait_for_pairs(2)
    assert new.master.identity == old.master.identity
    assert new.dub.identity != old.dub.identity
    assert new.dub.stamp.inode != old.dub.stamp.inode


def test_a_master_written_over_in_place_pairs_anew_with_all_its_dubs(film: Path) -> None:
    for language in ("fr", "de"):
        (film / f"Film_dub_{language}.wav").write_bytes(wav_bytes())
    with Watching(film) as watching:
        watching.wait_for_pairs(2)
        (film / "Film_master.wav").write_bytes(wav_bytes(0.1))
        found = watching.wait_for_pairs(4)
    assert {pair.language for pair in found[2:]} == {"fr", "de"}
    assert {pair.master.identity.size_bytes for pair in found[2:]} == {len(wav_bytes(0.1))}


@pytest.mark.parametrize("content", [b"", wav_bytes(1.0)[:50_000]], ids=["empty", "truncated"])
def test_a_file_that_stays_incomplete_is_passed_on_as_it_is(film: Path, content: bytes) -> None:
    (film / "Film_dub_fr.wav").write_bytes(content)
    with Watching(film, incomplete_after_seconds=1.0) as watching:
        pair = watching.wait_for_dub("Film_dub_fr.wav")
    assert pair.dub.identity.size_bytes == len(content)
    assert pair.dub.identity.fingerprint


def test_a_file_that_may_not_be_read_is_passed_on_without_a_fingerprint() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "Film_master.wav").write_bytes(wav_bytes())
        (folder / "Film_dub_fr.wav").write_bytes(wav_bytes())
        (folder / "Film_dub_fr.wav").chmod(0)
        with _ordinary_user(), Watching(folder) as watching:
            (pair,) = watching.wait_for_pairs(1)
    assert pair.master.identity.fingerprint
    assert pair.dub.identity.fingerprint == ""
    assert pair.dub.identity.size_bytes == len(wav_bytes())


@contextmanager
def _ordinary_user() -> Iterator[None]:
    """Without root's right to read everything, whoever runs the tests."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)
