"""The comparison with other tools is fair: what each named is held against the truth in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks.bench_peers import TOOLS, Pair, absence, told
from tests.material.recipes import TrueSegment


def a_pair(*segments: TrueSegment, rate: float = 1.0, minutes: float = 4.0) -> Pair:
    return Pair("a pair", Path("m.wav"), Path("d.wav"), rate, segments, minutes)


def an_answer(*offsets_s: float, rate: float = 1.0) -> dict[str, Any]:
    return {"offsets_s": list(offsets_s), "rate": rate, "says": "score 9"}


WHOLE = TrueSegment(0.0, 100.0, 2.0)
PIECES = (TrueSegment(0.0, 60.0, 2.0), TrueSegment(60.0, 100.0, 27.0))


def test_an_offset_is_as_wrong_as_where_it_is_most_wrong() -> None:
    assert told(a_pair(WHOLE), an_answer(2.005)) == "5 ms off (score 9)"
    assert told(a_pair(WHOLE, rate=1.04), an_answer(2.0)) == "4.00 s off (score 9)"
    assert told(a_pair(WHOLE, rate=1.04), an_answer(2.0, rate=1.04)) == "below 0.001 ms off (score 9)"


def test_of_an_edited_dub_every_piece_among_the_candidates_counts() -> None:
    assert told(a_pair(*PIECES), an_answer(27.0)) == "below 0.001 ms off, 1 of 2 pieces (score 9)"
    assert told(a_pair(*PIECES), an_answer(27.0, 9.0, 2.01)) == "below 0.001 ms off, 2 of 2 pieces (score 9)"


def test_naming_nothing_is_right_only_where_there_is_nothing() -> None:
    assert told(a_pair(), an_answer()) == "right: names none (score 9)"
    assert told(a_pair(), an_answer(31.2)) == "names 31.2 s (score 9)"
    assert told(a_pair(WHOLE), an_answer()) == "names none (score 9)"


def test_what_cannot_be_measured_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BENCH_PEERS", str(tmp_path))
    ours, *others = (absence(tool, a_pair(WHOLE)) for tool in TOOLS)
    assert ours is None
    assert all(why is not None and "--install" in why for why in others)
    assert "left out" in (absence(TOOLS[-1], a_pair(WHOLE, minutes=30.0)) or "")
