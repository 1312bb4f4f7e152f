"""Of several audio tracks the right one is measured, or somebody is asked to look."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from av.stream import Disposition

from syncd.domain import AudioTrack, MediaInfo
from syncd.errors import ErrorCode, SyncdError
from syncd.media.choosing import Choice, choose_track
from syncd.media.names import language_fit, spoken_language
from syncd.media.probe import probe
from tests.material.tracks import SoundTrack, write_tracks

FILM = Path("film.mkv")


def track(
    language: str | None = None, *, title: str | None = None, is_default: bool = False, purpose: str | None = None
) -> AudioTrack:
    return AudioTrack(0, "aac", 48_000, 2, "stereo", language, title, is_default=is_default, purpose=purpose)


def film(*tracks: AudioTrack) -> MediaInfo:
    return MediaInfo("matroska,webm", 10.0, tuple(replace(each, index=i) for i, each in enumerate(tracks)))


def chosen(
    info: MediaInfo,
    language: str | None = None,
    *,
    wanted: int | None = None,
    default_decides: bool = False,
    besides: int | None = None,
) -> Choice:
    return choose_track(info, FILM, wanted=wanted, language=language, default_decides=default_decides, besides=besides)


def test_the_track_that_was_asked_for_is_taken_whatever_it_is() -> None:
    assert chosen(film(track("en"), track("fr", purpose="commentary")), "en", wanted=1) == Choice(1)


def test_a_track_that_is_not_there_is_refused_with_a_list() -> None:
    with pytest.raises(SyncdError) as caught:
        chosen(film(track("en"), track("fr"), track("de")), wanted=3)
    assert caught.value.code is ErrorCode.TRACK_NOT_FOUND
    listed = caught.value.details["tracks"]
    assert isinstance(listed, list)
    assert len(listed) == 3


def test_the_only_track_is_taken_whatever_it_calls_itself() -> None:
    assert chosen(film(track()), "fr") == Choice(0)
    assert chosen(film(track("eng", purpose="commentary")), "fr") == Choice(0)


@pytest.mark.parametrize(
    ("wanted", "index"), [("fr", 1), ("fr-CA", 1), ("fra", 1), ("pt-BR", 3), ("pt-PT", 2), ("pt", 4), ("nb", 5)]
)
def test_the_language_decides_and_its_region_where_there_are_two(wanted: str, index: int) -> None:
    info = film(track("eng"), track("fre"), track("pt-PT"), track("pt-BR"), track("por"), track("nor"))
    assert chosen(info, wanted) == Choice(index)


def test_commentary_and_audio_description_are_not_taken_for_the_programme() -> None:
    info = film(track("fr", purpose="audio description"), track("fr", purpose="commentary"), track("fr"), track("en"))
    assert chosen(info, "fr") == Choice(2)
    assert chosen(film(track(), track(purpose="commentary"))) == Choice(0)


def test_where_all_are_commentary_the_first_is_taken_with_a_doubt() -> None:
    choice = chosen(film(track(purpose="commentary"), track(purpose="commentary")))
    assert choice.index == 0
    assert choice.doubt is not None


def test_of_two_in_the_language_the_default_one_is_taken() -> None:
    assert chosen(film(track("fr"), track("fr", is_default=True), track("en")), "fr") == Choice(1)
    both = chosen(film(track("fr", is_default=True), track("fr", is_default=True)), "fr")
    assert both.index == 0
    assert both.doubt is not None


def test_a_default_is_an_answer_for_a_master_and_none_for_a_dub() -> None:
    info = film(track("en"), track("fr", is_default=True), track("de"))
    assert chosen(info, default_decides=True) == Choice(1)
    dub = chosen(info)
    assert dub.index == 1
    assert dub.doubt is not None


def test_a_language_that_no_track_has_is_a_doubt_that_lists_them() -> None:
    choice = chosen(film(track("eng", title="Main"), track("fre"), track("ger")), "ja")
    assert choice.index == 0
    assert choice.doubt is not None
    assert "ja" in choice.doubt
    assert "0: aac, stereo, eng, Main; 1: aac, stereo, fre" in choice.doubt


def test_the_other_side_of_the_pair_is_never_measured_against_itself() -> None:
    two = film(track("en", is_default=True), track("fr"))
    assert chosen(two, besides=0) == Choice(1)
    assert chosen(two, default_decides=True, besides=1) == Choice(0)
    with pytest.raises(SyncdError) as caught:
        chosen(two, wanted=0, besides=0)
    assert caught.value.code is ErrorCode.TRACK_NOT_FOUND


def test_a_file_with_one_track_may_be_compared_with_itself() -> None:
    assert chosen(film(track("en")), besides=0) == Choice(0)
    assert chosen(film(track("en")), wanted=0, besides=0) == Choice(0)


def test_languages_are_the_same_in_two_letters_and_three() -> None:
    assert spoken_language("fra") == spoken_language("fre") == spoken_language("fr_FR") == "fr"
    assert spoken_language("nob") == spoken_language("no") == spoken_language("nor")
    assert spoken_language("tlh") == "tlh"
    assert spoken_language(None) is None
    assert [language_fit(tag, "pt-BR") for tag in ("pt-BR", "por", "pt-PT", "es", None)] == [3, 2, 1, 0, 0]


def test_a_container_says_what_its_tracks_are_for(tmp_path: Path) -> None:
    sound = np.zeros((2, 24_000))
    path = write_tracks(
        tmp_path / "film.mkv",
        [
            SoundTrack(sound, language="eng", title="Director's Commentary", disposition=Disposition(0)),
            SoundTrack(sound, language="fra", disposition=Disposition.comment),
            SoundTrack(sound, language="fra", disposition=Disposition.default),
            SoundTrack(sound, language="deu", title="Hörfilmfassung", disposition=Disposition(0)),
            SoundTrack(sound, language="eng", disposition=Disposition.visual_impaired),
        ],
    )
    info = probe(path)
    assert [each.purpose for each in info.tracks] == [
        "commentary",
        "commentary",
        None,
        "audio description",
        "audio description",
    ]
    assert [each.is_default for each in info.tracks] == [False, False, True, False, False]
    assert choose_track(info, path, wanted=None, language="fr") == Choice(2)


@pytest.mark.parametrize(
    ("title", "purpose"),
    [
        ("Audio Description (Stereo)", "audio description"),
        ("Audiodeskription", "audio description"),
        ("Audiodescription", "audio description"),
        ("Commentaire du réalisateur", "commentary"),
        ("Comentarios", "commentary"),
        ("Audiokommentar", "commentary"),
        ("M&E", "without dialogue"),
        ("English 5.1", None),
        ("Documentary mix", None),
        ("SoundHandler", None),
    ],
)
def test_titles_stand_in_for_flags(tmp_path: Path, title: str, purpose: str | None) -> None:
    path = write_tracks(tmp_path / "a.mkv", [SoundTrack(np.zeros((2, 24_000)), title=title)])
    assert probe(path).tracks[0].purpose == purpose
