"""Faults one by one, the short form: the quickest and most telling of `make chaos`, each against a real service."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.chaos.catalogue import FAULTS, ONE_SLOT, Fault, bring_about
from tests.chaos.faults import the_daemon_is_killed_at
from tests.chaos.pairs import ManyPairs

CHANGES = ("queued", "claimed", "result received", "report named")
SHORT = ("ledger-eio", "media-eio", "disk-full", "clock-back")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> ManyPairs:
    return ManyPairs(tmp_path_factory.mktemp("pairs"))


def holds(fault: Fault, pairs: ManyPairs, folder: Path) -> None:
    outcome = bring_about(fault, pairs, folder)
    if outcome.is_skipped:
        pytest.skip(outcome.seen)
    assert not outcome.broken, "\n".join((outcome.seen, *outcome.broken))


def test_a_daemon_killed_at_a_change_of_a_job_neither_loses_nor_doubles_it(pairs: ManyPairs, tmp_path: Path) -> None:
    holds(Fault("SIGKILL", partial(the_daemon_is_killed_at, points=CHANGES), ONE_SLOT), pairs, tmp_path)


@pytest.mark.parametrize("name", SHORT)
def test_a_fault_that_passes_costs_no_job(name: str, pairs: ManyPairs, tmp_path: Path) -> None:
    holds(FAULTS[name], pairs, tmp_path)


def test_every_fault_is_described_where_operators_look() -> None:
    page = Path("docs/what-can-go-wrong.md").read_text(encoding="utf-8")
    assert [name for name in FAULTS if f"`{name}`" not in page] == []
