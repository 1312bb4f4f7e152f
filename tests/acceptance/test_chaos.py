"""The storm's short form: daemon and workers killed at random moments, and nothing lost, doubled or left behind."""

from __future__ import annotations

from tests.acceptance.service import Service
from tests.chaos.storm import Storm


def test_kills_of_daemon_and_workers_lose_nothing_and_do_nothing_twice(service: Service) -> None:
    storm = Storm(service, jobs=12, kills=10, seed=4)
    storm.run()
    assert list(storm.faults()) == []
    assert storm.restarts_s
