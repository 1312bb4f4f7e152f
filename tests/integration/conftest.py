"""A ledger of the test's own, and one who reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger.open(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def reader(ledger: Ledger, tmp_path: Path) -> Iterator[LedgerReader]:  # noqa: ARG001 - the ledger makes the file
    opened = LedgerReader.open(tmp_path / "ledger.db")
    yield opened
    opened.close()
