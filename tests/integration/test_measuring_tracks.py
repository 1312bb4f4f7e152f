"""Several tracks in a container: master and dub may be two of them."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.stream import Disposition

from syncd.domain import TOLERANCES, AnalysisSettings, MethodResult, Result, Verdict
from syncd.errors import ErrorCode, SyncdError
from syncd.protocol import MeasureRequest
from syncd.worker.measuring import measure_pair
from tests.material import Programme
from tests.material.tracks import SoundTrack, write_tracks

RATE_HZ = 48_000
LATE_S = 0.75


class Deaf:
    def progress(self, stage: str, done: int, total: int, text: str) -> None: ...

    def method_done(self, result: MethodResult) -> None: ...


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """English, then a commentary, then French that is 0.75 s late."""
    programme = Programme(43, 12.0, RATE_HZ)
    n = programme.n_samples
    bed = programme.bed(0, n) * 0.2
    english, french = (bed + programme.dialogue(language, 0, n) * 0.5 for language in (1, 2))
    late = np.concatenate((np.zeros((2, round(LATE_S * RATE_HZ))), french), axis=1)
    return write_tracks(
        tmp_path_factory.mktemp("film") / "film.mkv",
        [
            SoundTrack(english, language="eng", disposition=Disposition.default),
            SoundTrack(bed * 0.1, language="eng", disposition=Disposition.comment),
            SoundTrack(late, language="fra", disposition=Disposition(0)),
        ],
        RATE_HZ,
    )


def measured(
    film: Path, scratch: Path, *, master_track: int | None, dub_track: int | None, language: str | None
) -> Result:
    settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
    name = os.fsencode(film)
    request = MeasureRequest(1, name, name, master_track, dub_track, language, settings, os.fsencode(scratch))
    return measure_pair(request, Deaf()).result


@pytest.mark.parametrize(
    ("master_track", "dub_track", "language"), [(0, 2, None), (None, 2, None), (None, None, "fr"), (0, None, "fr")]
)
def test_two_tracks_of_one_container_are_a_pair(
    film: Path, tmp_path: Path, master_track: int | None, dub_track: int | None, language: str | None
) -> None:
    result = measured(film, tmp_path, master_track=master_track, dub_track=dub_track, language=language)
    assert (result.master.track, result.dub.track) == (0, 2)
    assert result.verdict is Verdict.OFFSET
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-LATE_S, abs=1e-4)
    assert not result.review


def test_a_track_against_itself_is_refused(film: Path, tmp_path: Path) -> None:
    with pytest.raises(SyncdError) as caught:
        measured(film, tmp_path, master_track=1, dub_track=1, language=None)
    assert caught.value.code is ErrorCode.TRACK_NOT_FOUND
    assert "one track, not two" in caught.value.message


def test_a_guess_is_said_and_asks_for_a_look(film: Path, tmp_path: Path) -> None:
    result = measured(film, tmp_path, master_track=0, dub_track=None, language="ja")
    assert result.review
    assert any("none or several of them are in ja" in warning for warning in result.warnings)


def test_timecodes_that_contradict_the_sound_are_told(tmp_path: Path) -> None:
    programme = Programme(45, 12.0, RATE_HZ)
    n = programme.n_samples
    bed = programme.bed(0, n) * 0.2
    english, french = (bed + programme.dialogue(language, 0, n) * 0.5 for language in (1, 2))
    late = np.concatenate((np.zeros((2, round(LATE_S * RATE_HZ))), french), axis=1)
    rate = Fraction(25)

    def pair(folder: Path, dub_timecode: str) -> Result:
        folder.mkdir()
        paths = [
            write_tracks(folder / name, [SoundTrack(sound, codec="pcm_s16le")], picture_rate=rate, timecode=timecode)
            for name, sound, timecode in (("m.mov", english, "01:00:00:00"), ("d.mov", late, dub_timecode))
        ]
        settings = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
        request = MeasureRequest(1, *(os.fsencode(p) for p in paths), None, None, None, settings, os.fsencode(folder))
        return measure_pair(request, Deaf()).result

    wrong, right = pair(tmp_path / "1", "01:00:02:00"), pair(tmp_path / "2", "00:59:59:06")
    assert wrong.timecode_offset_s == pytest.approx(2.0)
    assert any("2.000 s early; by the sound it is 0.750 s late" in warning for warning in wrong.warnings)
    assert right.timecode_offset_s == pytest.approx(-0.76)
    assert not any("timecode" in warning for warning in right.warnings)


def test_a_track_in_an_unknown_codec_is_passed_over_and_refused_by_number(film: Path, tmp_path: Path) -> None:
    """The second track's codec name is overwritten: nobody has a decoder for it."""
    data = film.read_bytes()
    second = data.index(b"A_FLAC", data.index(b"A_FLAC") + 1)
    odd = tmp_path / "odd.mkv"
    odd.write_bytes(data[:second] + b"A_WHAT" + data[second + 6 :])
    result = measured(odd, tmp_path, master_track=None, dub_track=None, language="fr")
    assert (result.master.track, result.dub.track) == (0, 2)
    with pytest.raises(SyncdError) as caught:
        measured(odd, tmp_path, master_track=0, dub_track=1, language=None)
    assert caught.value.code is ErrorCode.MEDIA_UNREADABLE
    assert "codec that cannot be read" in caught.value.message
