"""What needs a real card; without one it is skipped, and says why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    why = None if torch.cuda.is_available() else pytest.mark.skip(reason="there is no CUDA card here")
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if why is not None:
                item.add_marker(why)
