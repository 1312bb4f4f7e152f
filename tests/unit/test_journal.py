"""Entries in the journal's own protocol, read back as the journal does."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.journal import MOST_BYTES, Journal, encode, field_name, is_ours


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    heard.bind(os.fspath(tmp_path / "socket"))
    heard.settimeout(10.0)
    yield heard
    heard.close()


def decode(entry: bytes) -> dict[str, bytes]:
    fields = {}
    while entry:
        name, mark, rest = re.split(rb"([=\n])", entry, maxsplit=1)
        if mark == b"=":
            value, _, entry = rest.partition(b"\n")
        else:
            length = int.from_bytes(rest[:8], "little")
            value, entry = rest[8 : 8 + length], rest[9 + length :]
        fields[name.decode()] = value
    return fields


@given(st.dictionaries(st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True), st.text(max_size=200), max_size=8))
def test_whatever_a_value_holds_it_arrives_as_it_was(fields: dict[str, str]) -> None:
    arrived = decode(encode(fields))
    assert arrived == {name: text.encode("utf-8", "backslashreplace") for name, text in fields.items()}


def test_no_value_can_forge_a_field() -> None:
    assert set(decode(encode({"SYNCD_TITLE": "Heist\nPRIORITY=0"}))) == {"SYNCD_TITLE"}


@given(st.text(min_size=1, max_size=100))
def test_every_name_is_one_that_the_journal_takes(key: str) -> None:
    assert re.fullmatch(r"SYNCD_[A-Z0-9_]*", field_name(key))
    assert len(field_name(key)) <= 64


def test_an_entry_reaches_the_socket_whole_and_a_long_value_is_cut(listener: socket.socket, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "socket")
    assert journal.send({"MESSAGE": "report job=12", "SYNCD_JOB": "12", "SYNCD_STACK": "x" * (2 * MOST_BYTES)})
    fields = decode(listener.recv(1 << 20))
    assert fields["SYNCD_JOB"] == b"12"
    assert len(fields["SYNCD_STACK"]) == MOST_BYTES
    journal.close()


def test_a_journal_that_is_gone_or_does_not_listen_holds_nobody_up(listener: socket.socket, tmp_path: Path) -> None:
    """More than any buffer takes is sent to one that never reads."""
    nobody = Journal(tmp_path / "none")
    assert not nobody.send({"MESSAGE": "x"})
    nobody.close()
    busy = Journal(tmp_path / "socket")
    assert not all(busy.send({"MESSAGE": "x" * 30_000}) for _ in range(2_000))
    busy.close()
    listener.close()


def test_only_the_stream_that_systemd_named_is_the_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "stream").open("wb") as stream, (tmp_path / "other").open("wb") as other:
        status = os.fstat(stream.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        assert is_ours(stream.fileno())
        assert not is_ours(other.fileno())
    assert not is_ours(987_654)
