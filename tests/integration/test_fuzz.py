"""The short form of ``make fuzz``, always with the same seed: what it once found stays found."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.feed import Feeding


def test_hostile_files_get_an_answer_or_a_code_and_never_harm_the_worker(tmp_path: Path) -> None:
    feeding = Feeding(tmp_path, seed=1)
    feeding.run(150)
    assert feeding.faults == []
    assert feeding.outcomes["MEDIA_UNREADABLE"] > 0
    assert feeding.outcomes["measured"] > 0
