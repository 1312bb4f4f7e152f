"""Twenty scrapers as fast as they can: what they get from the real daemon, what it costs, what its main loop feels."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
import psutil

from tests.acceptance.test_metrics import SCRAPERS, Scraped

SCRAPED_S: Final = 10.0
SLOW_TURN_S: Final = "0.1"


def run() -> list[tuple[str, str, str]]:
    """An idle daemon, then one that is scraped."""
    with tempfile.TemporaryDirectory(prefix="syncd-metrics-") as folder:
        scraped = Scraped(Path(folder))
        try:
            scraped.start()
            return _measured(scraped)
        finally:
            scraped.service.close()


def _measured(scraped: Scraped) -> list[tuple[str, str, str]]:
    assert scraped.service.process is not None
    daemon = psutil.Process(scraped.service.process.pid)
    idle_share = _cpu_share(daemon, lambda: time.sleep(SCRAPED_S))
    took_s: list[float] = []
    scraped_share = _cpu_share(daemon, lambda: _scrape(scraped, took_s))
    p50, p99 = 1000.0 * np.quantile(took_s, [0.5, 0.99])
    slow = scraped.turns_longer_than(SLOW_TURN_S)
    answers = f"{len(took_s) / SCRAPED_S:.0f} answers a second, p50 {p50:.1f} ms, p99 {p99:.1f} ms"
    cost = f"{scraped_share:.1%} of a core"
    return [
        ("an idle daemon that hands metrics over", f"{idle_share:.1%} of a core", "1 %"),
        (f"{SCRAPERS} scrapers at once, as fast as they can", f"{answers}, {cost}", "p99 100 ms"),
        (f"turns of the main loop above {SLOW_TURN_S} s meanwhile", f"{slow:.0f}", "0"),
    ]


def _scrape(scraped: Scraped, took_s: list[float]) -> None:
    until_s = time.monotonic() + SCRAPED_S

    def scrape() -> None:
        while (began_s := time.monotonic()) < until_s:
            assert scraped.get("/metrics")[0] == 200
            took_s.append(time.monotonic() - began_s)

    threads = [threading.Thread(target=scrape) for _ in range(SCRAPERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cpu_share(process: psutil.Process, meanwhile: Callable[[], None]) -> float:
    before, began_s = process.cpu_times(), time.monotonic()
    meanwhile()
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - began_s)
