"""Surround sound: the dialogue in the centre is left out, and what remains decides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result, Verdict
from syncd.protocol import MeasureRequest
from syncd.worker.measuring import measure_pair
from tests.material import Programme
from tests.material.tracks import SoundTrack, write_tracks

RATE_HZ = 48_000
Floats = NDArray[Any]


class Deaf:
    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


@pytest.fixture(scope="module")
def stems() -> dict[str, Floats]:
    """Twenty seconds of a bed, quiet under dialogue in two languages."""
    programme = Programme(41, 20.0, RATE_HZ)
    n = programme.n_samples
    return {
        "bed": programme.bed(0, n) * 0.02,
        "en": programme.dialogue(1, 0, n).mean(axis=0) * 0.5,
        "fr": programme.dialogue(2, 0, n).mean(axis=0) * 0.5,
    }


def surround(bed: Floats, dialogue: Floats, *, sides: int = 2) -> Floats:
    """L R C LFE and `sides` surrounds: dialogue in the centre alone, the bed all around."""
    left, right = bed
    lfe = 0.5 * (left + right)
    return np.stack([left, right, dialogue, lfe, *[0.7 * left, 0.7 * right] * (sides // 2)])


def stereo(bed: Floats, dialogue: Floats) -> Floats:
    return np.stack([channel + 0.7 * dialogue for channel in bed])


def late(sound: Floats, seconds: float) -> Floats:
    return np.concatenate((np.zeros((sound.shape[0], round(seconds * RATE_HZ))), sound), axis=1)


def measured(folder: Path, master: tuple[str, SoundTrack], dub: tuple[str, SoundTrack]) -> Result:
    paths = [write_tracks(folder / name, [track], RATE_HZ) for name, track in (master, dub)]
    settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
    request = MeasureRequest(1, *(os.fsencode(p) for p in paths), None, None, None, settings, os.fsencode(folder))
    return measure_pair(request, Deaf()).result


@pytest.mark.parametrize(
    ("layout", "sides", "name", "codec"),
    [("5.1", 2, "mov", "pcm_s24le"), ("7.1", 4, "wav", "pcm_s24le"), ("5.1", 2, "flac", "flac")],
)
def test_two_surround_mixes_are_compared_without_their_centres(
    tmp_path: Path, stems: dict[str, Floats], layout: str, sides: int, name: str, codec: str
) -> None:
    master = SoundTrack(surround(stems["bed"], stems["en"], sides=sides), layout, codec)
    dub = SoundTrack(late(surround(stems["bed"], stems["fr"], sides=sides), 0.75), layout, codec)
    result = measured(tmp_path, (f"m.{name}", master), (f"d.{name}", dub))
    assert result.verdict is Verdict.OFFSET
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-0.75, abs=1e-4)
    assert result.channels_used in {"side", "no_centre"}


def test_surround_against_its_stereo_fold_down_is_found(tmp_path: Path, stems: dict[str, Floats]) -> None:
    master = SoundTrack(surround(stems["bed"] * 5, stems["en"]), "5.1", "flac")
    dub = SoundTrack(late(stereo(stems["bed"] * 5, stems["fr"]), 0.75), "stereo", "flac")
    result = measured(tmp_path, ("m.flac", master), ("d.flac", dub))
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-0.75, abs=1e-4)


def test_dialogue_alone_in_the_centre_is_no_evidence_of_its_own(tmp_path: Path, stems: dict[str, Floats]) -> None:
    """The same lines in both files, 0.3 s apart, over a bed that says otherwise: the bed decides."""
    master = SoundTrack(surround(stems["bed"] * 5, stems["en"]), "5.1", "flac")
    shifted = np.concatenate((stems["en"][round(0.3 * RATE_HZ) :], np.zeros(round(0.3 * RATE_HZ))))
    dub = SoundTrack(late(surround(stems["bed"] * 5, shifted), 0.75), "5.1", "flac")
    result = measured(tmp_path, ("m.flac", master), ("d.flac", dub))
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-0.75, abs=1e-3)
