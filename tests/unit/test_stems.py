"""One mono file a channel: which belong together, when they are a side, and what they sound like together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.domain import Role
from syncd.media.decode import SAMPLE_RATE_HZ, DecodeReport, decode_blocks
from syncd.media.stems import MonoFile, decode_stems, layout_of, probe_stems
from syncd.watch.naming import NameRules
from syncd.watch.stems import StemBook, stem_name
from tests.material import write_wav
from tests.material.tracks import SoundTrack, write_tracks

Floats = NDArray[Any]
RATE_HZ = 48_000
QUIET_S = 5.0


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "base", "channel"),
    [
        ("Film_master.L.wav", "Film_master.wav", "L"),
        ("Film_master_r.WAV", "Film_master.WAV", "R"),
        ("a/b/Film_dub_fr LFE.wav", "a/b/Film_dub_fr.wav", "LFE"),
        ("Film_dub_fr-Ls.wav", "Film_dub_fr.wav", "Ls"),
        ("Film_dub_fr.rRS.wav", "Film_dub_fr.wav", "Rrs"),
        ("dub/fr/Film.C.wav", "dub/fr/Film.wav", "C"),
    ],
)
def test_a_name_that_ends_in_a_channel_is_a_stem(path: str, base: str, channel: str) -> None:
    name = stem_name(path)
    assert name is not None
    assert (name.base, name.channel) == (base, channel)


@pytest.mark.parametrize(
    "path", ["Film_master.wav", "L.wav", "FilmL.wav", "Film_master.M.wav", "Film.L/master.wav", "Film_master.L", "x"]
)
def test_other_names_are_none(path: str) -> None:
    assert stem_name(path) is None


def test_stems_belong_together_by_folder_name_separator_and_kind() -> None:
    def group(path: str) -> str:
        name = stem_name(path)
        assert name is not None
        return name.group

    assert group("a/Film_master.L.wav") == group("a/film_MASTER.r.WAV")
    others = ("b/Film_master.L.wav", "a/Film_master_L.wav", "a/Film_master.L.flac", "a/Film_dub.L.wav")
    assert len({group(path) for path in ("a/Film_master.L.wav", *others)}) == 5


# --- the book --------------------------------------------------------------------------------------------------------


def stand(book: StemBook, *paths: str, now_s: float = 0.0) -> list[tuple[str, ...]]:
    for path in paths:
        book.arriving(path, now_s)
    for path in paths:
        book.settle(path)
    return [standing for _, standing in book.pop_ready(now_s + QUIET_S)]


def channels(book: StemBook, unit: str) -> list[str]:
    return [channel for channel, _ in book.stems(unit)]


def test_left_and_right_and_what_lies_beside_them_are_one_side() -> None:
    book = StemBook(quiet_s=QUIET_S)
    ((unit,),) = stand(book, *(f"Film_dub_fr.{name}.wav" for name in ("Rs", "LFE", "C", "R", "L", "Ls")))
    assert channels(book, unit) == ["L", "R", "C", "LFE", "Ls", "Rs"]
    parsed = NameRules().parse(unit)
    assert parsed is not None
    assert (parsed.title, parsed.role, parsed.language) == ("Film", Role.DUB, "fr")
    assert not book


@pytest.mark.parametrize(
    "names",
    [
        ("Film_master.L.wav",),
        ("Film_master.C.wav", "Film_master.LFE.wav"),
        ("Film_master.L.wav", "Film_master_R.wav"),
        ("Film_master.L.wav", "Film_master.R.wav", "Film_master.r.wav"),
    ],
)
def test_without_both_of_them_once_each_is_a_file_of_its_own(names: tuple[str, ...]) -> None:
    book = StemBook(quiet_s=QUIET_S)
    standing = stand(book, *names)
    assert sorted(unit for units in standing for unit in units) == sorted(names)


def test_a_side_waits_for_every_stem_that_is_there_and_for_a_quiet_time() -> None:
    book = StemBook(quiet_s=QUIET_S)
    left, right, centre = (f"Film_master.{name}.wav" for name in ("L", "R", "C"))
    book.arriving(left, 0.0)
    book.arriving(right, 1.0)
    book.settle(left)
    assert book.pop_ready(100.0) == []
    book.settle(right)
    assert book.next_due_s() == 1.0 + QUIET_S
    assert book.pop_ready(1.0 + QUIET_S - 0.1) == []
    book.arriving(centre, 5.9)
    assert book.pop_ready(100.0) == []
    book.settle(centre)
    assert book.pop_ready(5.9 + QUIET_S - 0.1) == []
    ((_, (unit,)),) = book.pop_ready(5.9 + QUIET_S)
    assert channels(book, unit) == ["L", "R", "C"]


def test_stems_that_were_known_before_wait_for_nothing() -> None:
    book = StemBook(quiet_s=QUIET_S)
    assert len(stand(book, "Film_master.L.wav", "Film_master.R.wav", now_s=-math.inf)) == 1


def test_a_changed_stem_takes_the_side_back_until_it_has_settled() -> None:
    book = StemBook(quiet_s=QUIET_S)
    ((unit,),) = stand(book, "Film_master.L.wav", "Film_master.R.wav")
    assert book.arriving("Film_master.R.wav", 50.0) == (unit, (unit,))
    assert book
    book.settle("Film_master.R.wav")
    assert book.pop_ready(50.0) == [(unit, (unit,))]


def test_a_late_stem_and_a_lost_one_change_what_the_side_is() -> None:
    book = StemBook(quiet_s=QUIET_S)
    ((alone,),) = stand(book, "Film_master.L.wav")
    assert alone == "Film_master.L.wav"
    unit, fallen = book.arriving("Film_master.R.wav", 10.0)
    assert fallen == ("Film_master.L.wav",)
    book.settle("Film_master.R.wav")
    assert book.pop_ready(15.0) == [(unit, (unit,))]
    assert book.gone("Film_master.L.wav", 20.0) == (unit, (unit,))
    assert book.pop_ready(25.0) == [(unit, ("Film_master.R.wav",))]
    expected, fallen = book.gone("Film_master.R.wav", 30.0)
    assert expected is None
    assert set(fallen) == {"Film_master.R.wav", unit}
    assert not book


# --- the sound -------------------------------------------------------------------------------------------------------


def noise(seed: int, seconds: float, rate_hz: int = RATE_HZ) -> Floats:
    """Below 4 kHz, so that any rate holds it."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(round(seconds * rate_hz)))
    spectrum[round(4_000 * seconds) :] = 0.0
    return 0.1 * np.fft.irfft(spectrum, round(seconds * rate_hz)) * np.sqrt(rate_hz / 8_000)


def written(folder: Path, sounds: dict[str, Floats], rate_hz: int = RATE_HZ) -> list[MonoFile]:
    return [
        MonoFile(name, write_wav(folder / f"x.{name}.wav", sound[None], rate_hz, sample_format="s24"))
        for name, sound in sounds.items()
    ]


def together(stems: list[MonoFile]) -> tuple[Floats, DecodeReport]:
    report = DecodeReport()
    return np.concatenate(list(decode_stems(stems, report)), axis=1), report


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("L", "R"), "stereo"),
        (("L", "R", "C"), "3.0"),
        (("L", "R", "C", "LFE", "Ls", "Rs"), "5.1(side)"),
        (("L", "R", "C", "LFE", "Ls", "Rs", "Lrs", "Rrs"), "7.1"),
    ],
)
def test_stems_sound_as_one_file_of_their_layout(tmp_path: Path, names: tuple[str, ...], layout: str) -> None:
    stems = written(tmp_path, {name: noise(i, 3.0) for i, name in enumerate(names)})
    assert layout_of(stems) == layout
    info = probe_stems(stems)
    assert (info.tracks[0].channels, info.tracks[0].layout) == (len(names), layout)
    assert info.duration_s == pytest.approx(3.0)
    heard, report = together(stems)
    native = [n for n in ("L", "R", "C", "LFE", "Lrs", "Rrs", "Ls", "Rs") if n in names]
    sound = np.stack([noise(names.index(name), 3.0) for name in native])
    one = write_tracks(tmp_path / "one.wav", [SoundTrack(sound, layout, "pcm_s24le")])
    expected = np.concatenate(list(decode_blocks(one, 0, DecodeReport())), axis=1)
    np.testing.assert_allclose(heard, expected, atol=2e-6)
    assert report.samples == expected.shape[1]
    assert report.warnings(Path("x")) == ()


def test_a_shorter_stem_ends_in_silence_and_is_told(tmp_path: Path) -> None:
    stems = written(tmp_path, {"L": noise(1, 9.0), "R": noise(2, 2.5), "C": noise(3, 9.0)})
    heard, report = together(stems)
    assert heard.shape[1] == 9 * SAMPLE_RATE_HZ
    tail = heard[:, 3 * SAMPLE_RATE_HZ :]
    np.testing.assert_allclose(tail[1], tail[2], atol=1e-6)  # left alone is in both
    (told,) = report.warnings(Path("x"))
    assert "R 2.500 s" in told


def test_stems_of_different_rates_lie_on_the_same_instant(tmp_path: Path) -> None:
    left = written(tmp_path, {"L": noise(1, 4.0)})
    slower = np.fft.irfft(np.fft.rfft(noise(1, 4.0)), 4 * 44_100) * 44_100 / RATE_HZ
    right = written(tmp_path, {"R": slower}, 44_100)
    heard, report = together([*left, *right])
    assert np.abs(heard[1, 2_000:-2_000]).max() < 0.001 * np.abs(heard[0]).max()  # left minus right: nothing
    assert any("44100 and 48000 Hz" in told for told in report.warnings(Path("x")))


def test_a_stem_that_is_not_mono_is_folded_down_and_told(tmp_path: Path) -> None:
    stems = written(tmp_path, {"L": noise(1, 2.0)})
    wide = write_wav(tmp_path / "x.R.wav", np.stack([noise(2, 2.0), noise(3, 2.0)]), RATE_HZ)
    _, report = together([*stems, MonoFile("R", wide)])
    assert any("2 channels" in told for told in report.warnings(Path("x")))
