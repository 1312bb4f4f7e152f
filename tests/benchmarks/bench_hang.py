"""A model that stands still on a card, early, a little later and near the end: what it costs its own job and others.

Three cards of the stand-in for the driver, the real daemon and its workers. «Own time» is what the same programme took
undisturbed just before.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Final

from syncd.domain import JobState
from tests.acceptance.service import wait_for
from tests.acceptance.test_cards import STALL_S, OnCards
from tests.material import make_pair

LENGTH_S: Final = 1_000.0
"""Fifty windows a side."""
AT_WINDOW: Final = {"3 %": 0, "10 %": 8, "90 %": 90}
"""The first of the batch that holds this share of the hundred windows."""
OTHERS: Final = 4
BEYOND_S: Final = 10.0


def run() -> list[tuple[str, str, str]]:
    """One hang a row."""
    with tempfile.TemporaryDirectory(prefix="syncd-hang-") as folder:
        return [_hung_at(share, Path(folder) / f"{AT_WINDOW[share]}") for share in AT_WINDOW]


def _hung_at(share: str, home: Path) -> tuple[str, str, str]:
    for made in ("", "long", "short"):
        (home / made).mkdir()
    long = make_pair(home / "long", seed=78, duration_s=LENGTH_S, offset_s=1.25)
    short = make_pair(home / "short", seed=77, duration_s=40.0, offset_s=-0.75)
    on_cards = OnCards(home)
    try:
        on_cards.service.start()
        on_cards.drop(long, "calm")
        (calm,) = on_cards.service.wait_for_jobs(1, deadline_s=120.0)
        assert calm.started_at is not None
        assert calm.finished_at is not None
        own_s = (calm.finished_at - calm.started_at).total_seconds()
        (on_cards.orders / f"hang.{AT_WINDOW[share]}").touch()
        on_cards.drop(long, "hung")
        wait_for(lambda: not list(on_cards.orders.iterdir()), what="a model that hangs")
        hung_s = time.time()
        others = {on_cards.drop(short, f"other{i}") for i in range(OTHERS)}
        jobs = {job.title: job for job in on_cards.service.wait_for_jobs(2 + OTHERS, deadline_s=180.0)}
    finally:
        on_cards.service.close()
    done, hung = {title for title in others if jobs[title].state is JobState.COMPLETED}, jobs["hung"]
    retried = sum(jobs[title].attempts > 1 for title in others)
    assert hung.finished_at is not None
    after_s = hung.finished_at.timestamp() - hung_s - STALL_S - own_s
    holds = len(done) == OTHERS and not retried and hung.state is JobState.COMPLETED and after_s <= BEYOND_S
    told = (
        f"report {after_s:+.1f} s beyond its threshold of {STALL_S:g} s and its own time of {own_s:.1f} s; "
        f"{hung.attempts} attempts; of {OTHERS} others {len(done)} done, {retried} retried"
    )
    return f"hung at {share} of its windows", told if holds else f"{told}  MISSED", f"{BEYOND_S:g} s; all, 0"
