"""The installed service under a real systemd."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.acceptance.service import wait_for
from tests.material import PairTruth
from tests.systemd.conftest import boot
from tests.systemd.unit import SYNCCTL, Unit


def start_with_a_job_running(unit: Unit, pair: PairTruth) -> int:
    unit.start()
    unit.drop(pair)
    unit.wait_for_job("running")
    return unit.pid


def test_it_starts_and_a_dropped_pair_gets_its_report(unit: Unit, short_pair: PairTruth) -> None:
    unit.start()
    report_path = unit.drop(short_pair)
    unit.wait_for_job("completed")
    report = unit.report(report_path)
    assert report["consensus_offset"]["offset_seconds"] == pytest.approx(short_pair.offset_s, abs=0.001)
    status = unit.wait_for_status("0 queued, 0 running")
    assert f'Status: "{status}"' in unit.systemctl("status")
    for event in ("started", "enqueue", "completed"):
        assert f'"event": "{event}"' in unit.journal(), event
