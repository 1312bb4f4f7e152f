"""What sounds like one offset and is not: never told with confidence, never without a word."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result, SegmentKind, Verdict
from syncd.protocol import MeasureRequest
from syncd.worker.measuring import measure_pair
from tests.material import Programme, write_wav

RATE_HZ = 48_000
SETTINGS = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])

Sound = NDArray[np.float32]


class Deaf:
    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


@pytest.fixture(scope="module")
def master() -> Sound:
    return np.asarray(Programme(1, 60.0, RATE_HZ).mix(1)(0, 60 * RATE_HZ), dtype=np.float32)


@pytest.fixture(scope="module")
def stranger() -> Sound:
    return np.asarray(Programme(51, 60.0, RATE_HZ).mix(2)(0, 60 * RATE_HZ), dtype=np.float32)


def measured(folder: Path, master: Sound, dub: Sound) -> Result:
    paths = [write_wav(folder / f"{name}.wav", sound, RATE_HZ) for name, sound in (("m", master), ("d", dub))]
    request = MeasureRequest(1, *(os.fsencode(p) for p in paths), None, None, None, SETTINGS, os.fsencode(folder))
    return measure_pair(request, Deaf()).result


def without(sound: Sound, at_s: float, length_s: float) -> Sound:
    return np.concatenate([sound[:, : int(at_s * RATE_HZ)], sound[:, int((at_s + length_s) * RATE_HZ) :]], axis=1)


def test_a_programme_is_in_sync_with_itself(tmp_path: Path, master: Sound) -> None:
    result = measured(tmp_path, master, master)
    assert result.verdict is Verdict.IN_SYNC
    assert not result.review


@pytest.mark.parametrize(("at_s", "length_s"), [(50.0, 1.0), (54.0, 0.08), (57.0, 1.0), (3.0, 0.5), (30.0, 0.08)])
def test_a_cut_anywhere_is_found_or_asks_for_a_look(
    tmp_path: Path, master: Sound, at_s: float, length_s: float
) -> None:
    result = measured(tmp_path, master, without(master, at_s, length_s))
    if result.verdict is Verdict.EDITED:
        missing = [s for s in result.timeline if s.kind is SegmentKind.MISSING]
        assert [s.master_start_s for s in missing] == [pytest.approx(at_s, abs=0.1)]
        assert [s.master_end_s for s in missing] == [pytest.approx(at_s + length_s, abs=0.1)]
    else:
        assert result.review
        assert result.warnings or result.reasons


@pytest.mark.parametrize("shared_s", [6.0, 12.0])
def test_a_shared_title_sequence_is_no_shared_programme(
    tmp_path: Path, master: Sound, stranger: Sound, shared_s: float
) -> None:
    cut = int(shared_s * RATE_HZ)
    result = measured(tmp_path, master, np.concatenate([master[:, :cut], stranger[:, cut:]], axis=1))
    assert result.review
    assert result.overall_confidence < SETTINGS.confidence_threshold


def test_what_repeats_itself_is_not_said_to_be_another_programme(tmp_path: Path) -> None:
    time_s = np.arange(40 * RATE_HZ) / RATE_HZ
    beeps = 0.1 * np.sin(2 * np.pi * 440 * time_s) + 0.3 * np.sin(2 * np.pi * 880 * time_s) * (time_s % 1.0 < 0.05)
    sound = np.tile(beeps.astype(np.float32), (2, 1))
    result = measured(tmp_path, sound, sound[:, : 33 * RATE_HZ])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert any("repeats itself" in reason for reason in result.reasons)
