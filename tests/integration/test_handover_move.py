"""Files that move together, on real file systems, with crashes in the middle."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from syncd.domain import FileMove
from syncd.handover import move
from syncd.handover.move import NotMoved, carry_out, look

CONTENT = {"x.wav": b"sound" * 1000, "x.wav.sync.json": b"{}", "x.wav.sync.html": b"<p>"}


CRASHED = 77
"""The status of a process that ended in the middle."""
REFUSED = 78


@pytest.fixture(params=["here", "elsewhere"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A folder on the same file system, or on another."""
    folder = tmp_path / "done"
    folder.mkdir()
    if request.param == "here":
        yield folder
        return
    if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=False).returncode:
        pytest.skip("Only root can mount a second file system here.")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def files(tmp_path: Path, into: Path) -> tuple[FileMove, ...]:
    drop = tmp_path / "drop" / "sub"
    drop.mkdir(parents=True)
    for name, content in CONTENT.items():
        (drop / name).write_bytes(content)
        os.utime(drop / name, ns=(1, 1_700_000_000_123_456_789))
    return look([(drop / name, into / "sub" / name) for name in CONTENT])


def all_below(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_all_arrive_as_they_were_and_nothing_stays(tmp_path: Path, target: Path) -> None:
    moves = files(tmp_path, target)
    moves[0].source.chmod(0o640)
    carry_out(moves)
    assert all_below(target) == CONTENT
    assert all_below(tmp_path / "drop") == {}
    status = moves[0].target.stat()
    assert status.st_mtime_ns == 1_700_000_000_123_456_789
    assert status.st_mode & 0o777 == 0o640


def test_a_name_that_is_taken_is_left_alone_and_all_stay(tmp_path: Path, target: Path) -> None:
    moves = files(tmp_path, target)
    moves[2].target.parent.mkdir()
    moves[2].target.write_bytes(b"another's")
    with pytest.raises(NotMoved, match="taken"):
        carry_out(moves)
    assert all_below(target) == {"x.wav.sync.html": b"another's"}
    assert all_below(tmp_path / "drop") == CONTENT


def test_a_full_disk_leaves_everything_where_it_was(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = files(tmp_path, target)

    def full(source: Path, into: Path) -> None:
        if source.name.endswith(".html") or into.name.endswith(".html"):
            raise OSError(errno.ENOSPC, "No space left on device", str(into))
        rename(source, into)

    rename = move._rename
    monkeypatch.setattr(move, "_rename", full)
    with pytest.raises(NotMoved, match="No space left"):
        carry_out(moves)
    assert all_below(target) == {}
    assert all_below(tmp_path / "drop") == CONTENT


def test_a_file_system_that_is_really_full(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "none"]
    if os.geteuid() != 0 or subprocess.run(["mount", *options, folder], check=False).returncode:
        pytest.skip("Only root can mount a second file system here.")
    try:
        moves = files(tmp_path, folder)
        (moves[0].source).write_bytes(bytes(1 << 20))
        moves = look([(each.source, each.target) for each in moves])
        with pytest.raises(NotMoved, match="No space left"):
            carry_out(moves)
        assert all_below(folder) == {}
        assert len(all_below(tmp_path / "drop")) == 3
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("closed", ["drop/sub", "done"])
def test_a_folder_that_may_not_be_written_to_leaves_everything_where_it_was(tmp_path: Path, closed: str) -> None:
    (tmp_path / "done").mkdir()
    moves = files(tmp_path, tmp_path / "done")
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.is_relative_to(Path(tempfile.gettempdir())) and folder != Path(tempfile.gettempdir()):
            folder.chmod(0o755)
    for path in (tmp_path / "drop", tmp_path / "drop" / "sub", tmp_path / "done"):
        path.chmod(0o777)
    (tmp_path / closed).chmod(0o555)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if os.geteuid() == 0:
                os.setuid(65534)
            carry_out(moves)
        except NotMoved as error:
            status = REFUSED if "Permission denied" in str(error) else 2
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == REFUSED
    assert all_below(tmp_path / "done") == {}
    assert all_below(tmp_path / "drop") == CONTENT


def test_a_file_that_changed_since_is_not_moved(tmp_path: Path, target: Path) -> None:
    moves = files(tmp_path, target)
    moves[0].source.write_bytes(b"a newer version")
    with pytest.raises(NotMoved, match="changed meanwhile"):
        carry_out(moves)
    assert all_below(target) == {}


def test_a_link_is_no_file_to_move(tmp_path: Path) -> None:
    link = tmp_path / "x.wav"
    link.symlink_to("/etc/passwd")
    with pytest.raises(NotMoved, match="no plain file"):
        look([(link, tmp_path / "y.wav")])


STEPS: list[tuple[Any, str]] = [
    (move, "_rename"),
    (move, "sync_folder"),
    (move, "_copy"),
    (move, "_let_go"),
    (move.os, "open"),
    (move.os, "fsync"),
    (move.Path, "rename"),
    (move.Path, "unlink"),
]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step[1])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_crash_at_any_step_loses_nothing_and_the_next_run_finishes(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, step: tuple[Any, str], when: str, number: int
) -> None:
    moves = files(tmp_path, target)
    owner, name = step
    child = os.fork()
    if child == 0:
        try:
            monkeypatch.setattr(owner, name, crashing(getattr(owner, name), when, number))
            carry_out(moves)
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in {0, CRASHED}
    contents = [*all_below(tmp_path / "drop").values(), *all_below(target).values()]
    assert all(content in contents for content in CONTENT.values()), "something was lost"
    carry_out(moves)
    assert all_below(tmp_path / "drop") == {}
    assert all_below(target) == CONTENT


def crashing(real: Callable[..., Any], when: str, number: int) -> Callable[..., Any]:
    """The process ends at once, as if it had been killed, before or after so many calls."""
    calls = 0

    def doomed(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number and when == "before":
            os._exit(CRASHED)
        answer = real(*arguments, **options)
        if calls == number:
            os._exit(CRASHED)
        return answer

    return doomed
