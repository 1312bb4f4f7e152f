"""Two reports say the same where words are alike and figures are as near as machines may differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.golden.comparing import difference, rounded, settled


@pytest.mark.parametrize(
    ("kept", "measured"),
    [
        ({"offset_seconds": 1.2345}, {"offset_seconds": 1.23460001}),
        ({"offset_frames": {"25.0": 61.4}}, {"offset_frames": {"25.0": 61.5}}),
        ({"timeline": [{"dub_end": 40.0}]}, {"timeline": [{"dub_end": 39.9951}]}),
        ({"sync_status": "2.457 s late"}, {"sync_status": "2.456 s late"}),
        ({"argv": ["atrim=start_sample=117922"]}, {"argv": ["atrim=start_sample=117925"]}),
        ({"quality_score": 1766.8}, {"quality_score": 1800.0}),
        ({"confidence": None}, {"confidence": None}),
    ],
)
def test_what_another_machine_may_find_is_the_same(kept: Any, measured: Any) -> None:
    assert not difference(kept, measured)
    assert settled(kept, measured) == kept


@pytest.mark.parametrize(
    ("kept", "measured", "told"),
    [
        ({"offset_seconds": 1.2345}, {"offset_seconds": 1.2348}, '+ "offset_seconds": 1.2348'),
        ({"verdict": "offset"}, {"verdict": "drift"}, '+ "verdict": "drift"'),
        ({"sync_status": "2.457 s late"}, {"sync_status": "2.457 s early"}, '- "sync_status": "2.457 s late"'),
        ({"sync_status": "2.457 s late"}, {"sync_status": "2.465 s late"}, '+ "sync_status": "2.465 s late"'),
        ({"channels": 2}, {"channels": 1}, '+ "channels": 1'),
        ({"review": True}, {"review": False}, '+ "review": false'),
        ({"confidence": 0.99}, {"confidence": None}, '+ "confidence": null'),
        ({"rate": None}, {"rate": 1.0}, '+ "rate": 1.0'),
        ({"a": 1}, {"a": 1, "b": 2}, '+ "b": 2'),
        ({"a": 1, "b": 2}, {"a": 1}, '- "b": 2'),
        ({"warnings": ["x"]}, {"warnings": ["x", "y"]}, '+  "y"'),
    ],
)
def test_anything_more_is_told_line_by_line(kept: Any, measured: Any, told: str) -> None:
    assert told in difference(kept, measured).splitlines()


def test_what_agrees_is_left_as_it_is_kept_where_something_else_changed() -> None:
    kept = {"verdict": "offset", "offset_seconds": 1.2345, "confidence": 0.99}
    measured = {"verdict": "drift", "offset_seconds": 1.23451, "confidence": 0.42123}
    assert settled(kept, measured) == {"verdict": "drift", "offset_seconds": 1.2345, "confidence": 0.42}


def test_figures_are_kept_as_finely_as_their_grain() -> None:
    report = {"offset_seconds": -2.456700004, "confidence": 0.9987, "channels": 2, "lag_end_ms": -0.00001}
    assert rounded(report) == {"offset_seconds": -2.4567, "confidence": 1.0, "channels": 2, "lag_end_ms": 0.0}
