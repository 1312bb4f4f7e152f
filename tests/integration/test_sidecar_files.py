import errno
import html
import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from rich.console import Console

from syncd.cli.report_view import report_view
from syncd.domain import AiResult, Estimate, Failure, Inconclusive
from syncd.errors import ErrorCode, SyncdError
from syncd.reports.facts import ReportSubject, WrittenReport
from syncd.reports.html import PAGE_MARK
from syncd.reports.report import write_reports
from syncd.reports.sidecar import build_report
from syncd.reports.store import MAX_REPORT_BYTES, read_report, write_fault, write_sidecar, write_text_atomically
from tests.material.report_examples import PROCESSING, SETTINGS, media_file, result, subject

UNWRITABLE = Path("/sys/kernel")
"""A folder that not even root may write to."""


def write(pair: ReportSubject, fallback: Path | None = None, offset_s: float = -2.456) -> WrittenReport:
    return write_reports(pair, result(offset_s), PROCESSING, fallback=fallback)


def wait_until(happened: Callable[[], bool], deadline_s: float = 20.0) -> None:
    end = time.monotonic() + deadline_s
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.0005)


def test_the_report_lies_beside_the_dub_with_its_page(tmp_path: Path) -> None:
    written = write(subject(tmp_path / "Film_dub_fr.wav"))
    assert written.sidecar_path == tmp_path / "Film_dub_fr.wav.sync.json"
    assert written.html_path == tmp_path / "Film_dub_fr.wav.sync.html"
    text = written.sidecar_path.read_text(encoding="utf-8")
    assert text == written.json_text
    assert text.endswith("}\n")
    assert read_report(written.sidecar_path) == json.loads(text)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "Film_dub_fr.wav.sync.html",
        "Film_dub_fr.wav.sync.json",
    ]


@pytest.mark.parametrize(
    ("outcome", "said"),
    [(Estimate(-2.46, 0.9, 3.0), "2.46"), (Inconclusive(("nothing <b>changes",)), "nothing <b>changes")],
)
def test_what_a_model_says_stands_on_the_page_and_on_the_terminal(
    tmp_path: Path, outcome: Estimate | Inconclusive, said: str
) -> None:
    ai = AiResult("wav2vec2", "base 0123", outcome, 0.41, 0.975, 0.93, 45, "cpu", "float32", 1, 9.5)
    whole = replace(result(-2.456), ai=ai)
    written = write_reports(subject(tmp_path / "Film_dub.wav"), whole, PROCESSING, fallback=None)
    assert written.html_path is not None
    page = written.html_path.read_text(encoding="utf-8")
    assert "wav2vec2, base 0123" in page
    assert "97.5 % of its windows" in page
    assert html.escape(said) in page
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(report_view(json.loads(written.json_text)))
    terminal = console.export_text()
    assert f"wav2vec2 on cpu: {said}" in terminal
    assert "consistency 0.97" in terminal or "consistency 0.98" in terminal


def test_a_profile_without_pages_gets_none(tmp_path: Path) -> None:
    written = write(subject(tmp_path / "Film_dub.wav", settings=replace(SETTINGS, html=False)))
    assert written.html_path is None
    assert len(list(tmp_path.iterdir())) == 1


def test_a_failed_job_leaves_a_report_and_a_page_too(tmp_path: Path) -> None:
    failure = Failure(ErrorCode.MEDIA_UNREADABLE, "It is not media.", {"tracks": ["0", "1"], "size": 3})
    written = write_reports(subject(tmp_path / "Film_dub.wav"), failure, PROCESSING, fallback=None)
    assert read_report(written.sidecar_path)["status"] == "failed"
    assert written.html_path is not None
    assert "MEDIA_UNREADABLE" in written.html_path.read_text(encoding="utf-8")


def test_the_same_question_again_takes_the_same_name(tmp_path: Path) -> None:
    pair = subject(tmp_path / "Film_dub.wav")
    first = write(pair)
    newer_master = replace(pair, master=media_file(pair.master.path, "another version"))
    assert write(newer_master, offset_s=1.0).sidecar_path == first.sidecar_path
    assert read_report(first.sidecar_path)["consensus_offset"]["offset_seconds"] == 1.0


def test_a_folder_that_moved_keeps_its_names(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    write(subject(tmp_path / "before" / "Film_dub.wav"))
    (tmp_path / "before").rename(tmp_path / "after")
    assert write(subject(tmp_path / "after" / "Film_dub.wav")).sidecar_path.name == "Film_dub.wav.sync.json"


def test_a_second_master_profile_or_track_gets_a_name_of_its_own(tmp_path: Path) -> None:
    dub = tmp_path / "Film_dub.wav"
    pairs = [
        subject(dub),
        subject(dub, tmp_path / "Other_master.wav"),
        subject(dub, profile="strict"),
        subject(dub, tmp_path / "Other_master.mov"),
    ]
    written = [write(pair) for pair in pairs]
    other_track = replace(result().dub, track=1)
    written.append(write_reports(pairs[0], result(dub=other_track), PROCESSING, fallback=None))
    names = [each.sidecar_path.name for each in written]
    assert names[:3] == [
        "Film_dub.wav.sync.json",
        "Film_dub.wav.Other_master.default.sync.json",
        "Film_dub.wav.Film_master.strict.sync.json",
    ]
    assert len(set(names)) == len(names)
    # Each finds its own again.
    assert [write(pair).sidecar_path.name for pair in pairs] == names[:4]
    pages = {each.html_path for each in written}
    assert len(pages) == len(written)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[1, 2]", b'{"schema": "sync_report.v1"}', b"\xff\xfe", b"[" * 100_000, b"my notes"]
)
def test_a_strangers_file_is_never_overwritten(tmp_path: Path, content: bytes) -> None:
    taken = tmp_path / "Film_dub.wav.sync.json"
    taken.write_bytes(content)
    written = write(subject(tmp_path / "Film_dub.wav"))
    assert written.sidecar_path.name == "Film_dub.wav.Film_master.default.sync.json"
    assert taken.read_bytes() == content


def test_pipes_folders_links_and_giants_in_the_way_do_no_harm(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a_dub.wav.sync.json")
    (tmp_path / "b_dub.wav.sync.json").mkdir()
    (tmp_path / "elsewhere").write_text("mine", encoding="utf-8")
    (tmp_path / "c_dub.wav.sync.json").symlink_to(tmp_path / "elsewhere")
    with (tmp_path / "d_dub.wav.sync.json").open("wb") as giant:
        giant.truncate(MAX_REPORT_BYTES + 1)
    for letter in "abcd":
        written = write(subject(tmp_path / f"{letter}_dub.wav"))
        assert written.sidecar_path.name == f"{letter}_dub.wav.Film_master.default.sync.json"
    assert (tmp_path / "elsewhere").read_text(encoding="utf-8") == "mine"


def test_a_strangers_page_is_left_alone_and_the_sidecar_stands(tmp_path: Path) -> None:
    page = tmp_path / "Film_dub.wav.sync.html"
    page.write_text("<p>mine</p>", encoding="utf-8")
    written = write(subject(tmp_path / "Film_dub.wav"))
    assert written.html_path is None
    assert written.html_error is not None
    assert written.html_error.code is ErrorCode.PERMISSION_DENIED
    assert page.read_text(encoding="utf-8") == "<p>mine</p>"
    assert read_report(written.sidecar_path)["verdict"] == "offset"


@pytest.mark.parametrize(
    "name",
    [
        b"Film_dub_caf\xe9.wav",
        b"new\nline \"quoted\" 'too' \xf0\x9f\x8e\xac_dub.wav",
        b"<script>alert(1)_dub.wav",
        b"-n_dub.wav",
        b"x" * 255,
        "é".encode() * 127,
    ],
)
def test_any_name_gets_a_report_and_a_page(tmp_path: Path, name: bytes) -> None:
    written = write(subject(tmp_path / os.fsdecode(name)))
    assert read_report(written.sidecar_path)["verdict"] == "offset"
    assert written.html_path is not None
    page = written.html_path.read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script>")


def test_the_page_is_whole_in_itself(tmp_path: Path) -> None:
    written = write(subject(tmp_path / "Film_dub.wav"))
    assert written.html_path is not None
    page = written.html_path.read_text(encoding="utf-8")
    assert PAGE_MARK in page
    assert page.index("2.456 s late") < page.index("correlation")
    own = page.replace("/*! https://github.com/leeoniya/uPlot", "")
    assert "http:" not in own
    assert "https:" not in own
    assert "<link" not in own
    assert "<img" not in own
    assert "src=" not in own


def test_a_folder_that_may_not_be_written_to_sends_the_report_to_the_fallback(tmp_path: Path) -> None:
    if not UNWRITABLE.is_dir():
        pytest.skip("there is no folder here that nobody may write to")
    pair = subject(UNWRITABLE / "Film_dub.wav")
    with pytest.raises(SyncdError) as caught:
        write(pair)
    assert caught.value.code is ErrorCode.PERMISSION_DENIED
    first = write(pair, tmp_path / "reports").sidecar_path
    assert first.parent == tmp_path / "reports"
    second = write(subject(UNWRITABLE / "mm" / "Film_dub.wav"), tmp_path / "reports").sidecar_path
    assert first != second
    assert write(pair, tmp_path / "reports").sidecar_path == first


def test_a_folder_that_is_gone_is_an_error_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SyncdError) as caught:
        write(subject(tmp_path / "gone" / "Film_dub.wav"), tmp_path / "reports")
    assert caught.value.code is ErrorCode.FILE_NOT_FOUND
    assert not (tmp_path / "reports").exists()


def test_a_full_disk_is_an_error_of_its_own_and_leaves_nothing_behind(tmp_path: Path) -> None:
    script = f"""
        import os, sys
        from pathlib import Path
        from syncd.errors import SyncdError
        from syncd.reports.store import write_text_atomically
        folder = Path({str(tmp_path)!r})
        write_text_atomically(folder / "a.sync.json", "old")
        try:
            write_text_atomically(folder / "a.sync.json", "x" * 1_000_000)
        except SyncdError as error:
            print(error.code.value, sorted(os.listdir(folder)), (folder / "a.sync.json").read_text())
    """
    mount = 'mount -t tmpfs -o size=64k none "$1" || exit 77; exec "$2" -c "$3"'
    arguments = ["sh", "-c", mount, "sh", str(tmp_path), sys.executable, textwrap.dedent(script)]
    namespaces = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]
    ended = subprocess.run([*namespaces, *arguments], capture_output=True, text=True, check=False, timeout=60)
    if ended.returncode in (1, 77):
        pytest.skip(f"no small file system can be mounted here: {ended.stderr.strip()}")
    assert ended.stdout.strip() == "DISK_FULL ['a.sync.json'] old", ended.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, ErrorCode.DISK_FULL),
        (errno.EDQUOT, ErrorCode.DISK_FULL),
        (errno.EROFS, ErrorCode.PERMISSION_DENIED),
        (errno.EPERM, ErrorCode.PERMISSION_DENIED),
        (errno.ENOTDIR, ErrorCode.FILE_NOT_FOUND),
        (errno.EIO, ErrorCode.DISK_FAULT),
        (errno.ELOOP, ErrorCode.INTERNAL),
    ],
)
def test_every_fault_of_writing_has_its_code(number: int, code: ErrorCode) -> None:
    assert write_fault(Path("/drop/a.sync.json"), OSError(number, os.strerror(number))).code is code


def test_a_target_that_cannot_be_replaced_leaves_no_temporary(tmp_path: Path) -> None:
    (tmp_path / "a.sync.json").mkdir()
    with pytest.raises(SyncdError):
        write_text_atomically(tmp_path / "a.sync.json", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["a.sync.json"]


def test_the_group_may_read_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_text_atomically(tmp_path / "a.sync.json", "text")
    finally:
        os.umask(before)
    assert (tmp_path / "a.sync.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "content", [b"", b"null", b'{"schema": "another.v1"}', b"\xff", b'{"schema": "sync_report.v1"']
)
def test_what_is_no_report_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.sync.json"
    path.write_bytes(content)
    with pytest.raises(SyncdError) as caught:
        read_report(path)
    assert caught.value.code is ErrorCode.MEDIA_UNREADABLE
    with pytest.raises(SyncdError) as caught:
        read_report(tmp_path / "none.sync.json")
    assert caught.value.code is ErrorCode.FILE_NOT_FOUND


def test_a_report_of_a_later_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.sync.json"
    path.write_text('{"schema": "sync_report.v2", "new": 1}', encoding="utf-8")
    assert read_report(path)["new"] == 1


WRITER = """
import sys
from pathlib import Path
from syncd.reports.store import write_text_atomically
target, example = map(Path, sys.argv[1:])
text = example.read_text(encoding="utf-8")
while True:
    write_text_atomically(target, text)
"""


def _holds_anything(folder: Path) -> bool:
    return any(folder.iterdir())


def kill_a_writer(target: Path, example: Path, *, when: Callable[[], bool], after_s: float) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(target), str(example)])
    try:
        wait_until(when)
        time.sleep(after_s)
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait(timeout=20)


def test_a_writer_killed_at_any_moment_leaves_none_or_a_whole_one(tmp_path: Path) -> None:
    report = build_report(subject(), result(), PROCESSING, syncd_version="0.1.0")
    report["settings"]["filling"] = ["x" * 50] * 20_000  # large enough to be caught half way
    example = tmp_path / "example.json"
    write_sidecar(example, report)
    caught_at_work = 0
    for i in range(12):
        target = tmp_path / str(i) / "a.sync.json"
        target.parent.mkdir()
        must_exist = i % 2 == 1
        moment = target.exists if must_exist else partial(_holds_anything, target.parent)
        kill_a_writer(target, example, when=moment, after_s=0.0007 * i)
        left = {path.name for path in target.parent.iterdir()}
        assert all(name.startswith(".") for name in left - {target.name})
        assert target.name in left or not must_exist
        assert not target.exists() or target.read_bytes() == example.read_bytes()
        caught_at_work += bool(left - {target.name})
    assert caught_at_work > 0, "no writer was caught at work: this has shown nothing"
