from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.service import Service
from tests.material import PairTruth, make_pair
from tests.material.swell import make_swelling_pair


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that is not started yet."""
    service = Service(tmp_path)
    yield service
    service.close()


@pytest.fixture(scope="session")
def short_pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Twelve seconds, the dub 0.75 s late."""
    return make_pair(tmp_path_factory.mktemp("short"), seed=1, duration_s=12.0, offset_s=-0.75)


@pytest.fixture(scope="session")
def long_pair(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Twenty minutes: long enough to be interrupted."""
    return make_swelling_pair(tmp_path_factory.mktemp("long"), 1200.0, offset_s=1.25)
