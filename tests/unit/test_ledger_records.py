"""What goes into the ledger comes out again, byte for byte."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from syncd.ledger.columns import PathBytes, Unsigned64, from_json, readable, readable_path, to_json
from syncd.ledger.records import path_from_json, path_to_json

DIALECT = sqlite.dialect()
PATHS = st.binary(min_size=1, max_size=60).filter(lambda raw: b"\0" not in raw).map(lambda raw: Path(os.fsdecode(raw)))


@given(PATHS)
def test_every_path_survives_a_payload(path: Path) -> None:
    carried = json.loads(json.dumps(path_to_json(path)))
    assert path_from_json(carried) == path


def test_a_payload_shows_a_utf8_path_as_text_and_any_other_as_base64() -> None:
    assert path_to_json(Path("/drop/Übung 🎬.wav")) == {"path": "/drop/Übung 🎬.wav"}
    assert path_to_json(Path(os.fsdecode(b"/drop/\xff.wav"))) == {"path_base64": "L2Ryb3Av/y53YXY="}


@pytest.mark.parametrize("value", [None, "/drop/a.wav", {}, {"path": 3}, {"path_base64": "?"}])
def test_what_is_no_path_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"path|base64"):
        path_from_json(value)


@given(PATHS)
def test_every_path_survives_a_column(path: Path) -> None:
    column = PathBytes()
    assert column.process_result_value(column.process_bind_param(path, DIALECT), DIALECT) == path


@given(st.integers(min_value=0, max_value=2**64 - 1))
def test_every_inode_number_survives_a_column(number: int) -> None:
    column = Unsigned64()
    kept = column.process_bind_param(number, DIALECT)
    assert kept is not None
    assert -(2**63) <= kept < 2**63
    assert column.process_result_value(kept, DIALECT) == number


@given(st.text(alphabet=st.characters(), max_size=40))
def test_any_text_becomes_storable_and_readable_text_stays_as_it_is(text: str) -> None:
    kept = readable(text)
    kept.encode("utf-8")
    assert kept == text or any("\ud800" <= letter <= "\udfff" for letter in text)


def test_a_name_that_is_not_utf8_is_shown_with_its_bytes_written_out() -> None:
    assert readable_path(Path(os.fsdecode(b"/drop/caf\xe9.wav"))) == "/drop/caf\\xe9.wav"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_never_becomes_json(value: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json({"offset_s": value})


def test_text_with_stray_bytes_survives_json() -> None:
    text = os.fsdecode(b"caf\xe9")
    assert from_json(to_json({"name": text}), dict[str, str]) == {"name": text}


def test_importing_the_ledger_loads_neither_alembic_nor_the_orm() -> None:
    program = (
        "import sys, syncd.ledger.ledger, syncd.ledger.reader, syncd.ledger.requests\n"
        "print([name for name in ('alembic', 'sqlalchemy.orm', 'numpy', 'av') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"
