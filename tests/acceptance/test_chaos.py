"""The storm's short form: daemon and workers killed at random moments, and nothing lost, doubled or left behind."""

from __future__ import annotations

from tests.acceptance.service import Service
from tests.chaos.soak import soak
from tests.chaos.storm import Storm


def test_kills_of_daemon_and_workers_lose_nothing_and_do_nothing_twice(service: Service) -> None:
    storm = Storm(service, jobs=6, kills=4, seed=4)
    storm.run()
    assert list(storm.faults()) == []
    assert storm.killed == 4


def test_a_row_of_jobs_leaves_neither_descriptors_nor_threads_nor_another_worker(service: Service) -> None:
    service.extra = "[workers]\ncpu_slots = 1\n"
    service.write_config()
    growth = soak(service, jobs=40, warm_up=20)
    assert growth.completed == growth.jobs
    for before, after in (growth.daemon, growth.worker):
        assert after.pid == before.pid
        assert after.descriptors <= before.descriptors
        assert after.threads <= before.threads
