"""How often a watched folder is read as a whole."""

from __future__ import annotations

import pytest

from syncd.watch.pace import rescan_interval_s


def test_a_folder_that_is_soon_read_is_read_as_often_as_is_wanted() -> None:
    assert rescan_interval_s(60.0, polls=False, took_s=0.1, worked_s=0.05) == 60.0


@pytest.mark.parametrize("worked_s", [1.5, 3.0, 30.0])
@pytest.mark.parametrize("polls", [False, True])
def test_rescans_never_take_more_than_their_share_of_a_core(worked_s: float, polls: bool) -> None:
    interval_s = rescan_interval_s(60.0, polls=polls, took_s=worked_s, worked_s=worked_s)
    assert worked_s / interval_s <= 0.02
    assert interval_s <= 100 * worked_s


def test_a_folder_that_sends_no_events_is_polled_faster() -> None:
    assert rescan_interval_s(60.0, polls=True, took_s=0.1, worked_s=0.05) == 10.0
    assert rescan_interval_s(3.0, polls=True, took_s=0.1, worked_s=0.04) == 3.0


def test_a_slow_server_is_polled_less_often_but_as_often_as_is_wanted() -> None:
    assert rescan_interval_s(60.0, polls=True, took_s=2.0, worked_s=0.1) == pytest.approx(40.0)
    assert rescan_interval_s(60.0, polls=True, took_s=50.0, worked_s=0.1) == 60.0
