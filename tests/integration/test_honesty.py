"""What sounds like one offset and is not: told for what it is, or never with confidence and never without a word."""

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


@pytest.fixture(scope="module")
def dubbed() -> Sound:
    """The master in another language."""
    return np.asarray(Programme(1, 60.0, RATE_HZ).mix(2)(0, 60 * RATE_HZ), dtype=np.float32)


def parts(*pieces: tuple[Sound, float]) -> Sound:
    """So many seconds of each, one after another."""
    return np.concatenate([sound[:, : int(seconds * RATE_HZ)] for sound, seconds in pieces], axis=1)


def test_music_that_comes_again_does_not_make_the_whole_ambiguous(
    tmp_path: Path, master: Sound, dubbed: Sound, stranger: Sound
) -> None:
    """The two halves are one, and between them the bed is not heard: its repetition stands nearly as high."""
    other = np.asarray(Programme(52, 30.0, RATE_HZ).mix(2)(0, 30 * RATE_HZ), dtype=np.float32)
    ours, theirs = (
        parts((sound, 45.0), (between, 30.0), (sound, 45.0)) for sound, between in ((master, stranger), (dubbed, other))
    )
    result = measured(tmp_path, ours, theirs)
    assert result.consensus is not None, result.reasons
    assert result.consensus.offset_s == pytest.approx(0.0, abs=1e-4)


def test_episodes_that_share_a_quarter_are_no_master_and_dub(
    tmp_path: Path, master: Sound, dubbed: Sound, stranger: Sound
) -> None:
    other = np.asarray(Programme(52, 50.0, RATE_HZ).mix(2)(0, 50 * RATE_HZ), dtype=np.float32)
    result = measured(tmp_path, parts((master, 16.0), (stranger, 48.0)), parts((dubbed, 16.0), (other, 48.0)))
    assert (result.verdict, result.consensus) == (Verdict.INCONCLUSIVE, None)
    assert "share a title" in result.reasons[0]


def misplaced_s(result: Result, at_s: float, length_s: float) -> float:
    """How many seconds of the dub are said to match where they do not lie (by more than 10 ms)."""
    total_s = 0.0
    for segment in result.timeline:
        if segment.kind is SegmentKind.MATCH:
            assert segment.dub_start_s is not None
            assert segment.dub_end_s is not None
            assert segment.offset_s is not None
            before_s = max(0.0, min(at_s, segment.dub_end_s) - segment.dub_start_s)
            after_s = max(0.0, segment.dub_end_s - max(at_s, segment.dub_start_s))
            total_s += before_s * (abs(segment.offset_s) > 0.01)
            total_s += after_s * (abs(segment.offset_s - length_s) > 0.01)
    return total_s


@pytest.mark.parametrize(("at_s", "length_s"), [(50.0, 1.0), (54.0, 0.08), (20.0, 0.3)])
def test_a_cut_is_told_with_its_place_and_its_length(
    tmp_path: Path, master: Sound, at_s: float, length_s: float
) -> None:
    result = measured(tmp_path, master, without(master, at_s, length_s))
    assert result.verdict is Verdict.EDITED
    assert [s.kind for s in result.timeline] == [SegmentKind.MATCH, SegmentKind.MISSING, SegmentKind.MATCH]
    first, missing, second = result.timeline
    assert missing.master_start_s == pytest.approx(at_s, abs=0.1)
    assert (missing.master_end_s or 0.0) - (missing.master_start_s or 0.0) == pytest.approx(length_s, abs=1e-3)
    assert first.offset_s == pytest.approx(0.0, abs=1e-4)
    assert second.offset_s == pytest.approx(length_s, abs=1e-4)
    assert misplaced_s(result, at_s, length_s) <= 0.1


@pytest.mark.parametrize(
    ("at_s", "length_s"),
    [
        (3.0, 0.5),
        (57.0, 1.0),
    ],
)
def test_an_end_too_short_to_be_placed_behind_a_cut_is_not_said_to_match(
    tmp_path: Path, master: Sound, at_s: float, length_s: float
) -> None:
    result = measured(tmp_path, master, without(master, at_s, length_s))
    assert misplaced_s(result, at_s, length_s) <= 0.1


@pytest.mark.parametrize("at_s", [25.0, 30.0, 40.0])
def test_a_cut_of_two_frames_amid_a_piece_asks_for_a_look_at_least(tmp_path: Path, master: Sound, at_s: float) -> None:
    result = measured(tmp_path, master, without(master, at_s, 0.08))
    if misplaced_s(result, at_s, 0.08) > 0.1 or result.verdict is not Verdict.EDITED:
        assert result.review
        assert result.overall_confidence < SETTINGS.confidence_threshold
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
