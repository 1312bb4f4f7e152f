"""The curve is librosa's, however the sound is cut into blocks."""

from __future__ import annotations

from typing import Any

import librosa
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.character import key_of, tempo_bpm
from syncd.analysis.features import (
    CHROMA,
    COARSE_MEL,
    FINE_MEL,
    ChromaMaker,
    LevelMaker,
    MelLayout,
    chroma_filters,
    flux_of,
    mel_filters,
    mfcc_of,
    mfcc_weights,
    onset_strength_of,
)
from tests.material import Programme

Floats = NDArray[Any]


def levels_of(sound: Floats, layout: MelLayout, cuts: list[int] | None = None) -> Floats:
    maker = LevelMaker(layout)
    parts = np.split(sound, sorted(cuts or []))
    return np.concatenate([*(maker.feed(part) for part in parts), maker.finish()], axis=1)


def chroma_of(sound: Floats, cuts: list[int] | None = None) -> Floats:
    maker = ChromaMaker(CHROMA)
    parts = np.split(sound, sorted(cuts or []))
    return np.concatenate([*(maker.feed(part) for part in parts), maker.finish()], axis=1)


def programme(seconds: float, seed: int = 3) -> Floats:
    show = Programme(seed, seconds, 16_000)
    return np.asarray(show.bed(0, show.n_samples)[0] * 0.3, dtype=np.float32)


@pytest.mark.parametrize("layout", [COARSE_MEL, FINE_MEL])
def test_the_mel_filters_are_librosas(layout: MelLayout) -> None:
    theirs = librosa.filters.mel(
        sr=layout.sr_hz, n_fft=layout.n_fft, n_mels=layout.n_mels, fmin=layout.low_hz, fmax=layout.high_hz
    )
    np.testing.assert_allclose(mel_filters(layout), theirs, atol=1e-7)


def test_the_chroma_filters_are_librosas() -> None:
    theirs = librosa.filters.chroma(sr=CHROMA.sr_hz, n_fft=CHROMA.n_fft, tuning=0.0)
    np.testing.assert_allclose(chroma_filters(CHROMA), theirs, atol=1e-6)


@pytest.mark.parametrize("kind", ["programme", "noise"])
def test_the_chroma_is_librosas(kind: str) -> None:
    noise = np.random.default_rng(4).standard_normal(48_000).astype(np.float32)
    sound = programme(6.0) if kind == "programme" else noise
    theirs = librosa.feature.chroma_stft(
        y=sound,
        sr=CHROMA.sr_hz,
        n_fft=CHROMA.n_fft,
        hop_length=CHROMA.hop_samples,
        tuning=0.0,
        pad_mode="constant",
    )
    np.testing.assert_allclose(chroma_of(sound), theirs, atol=1e-4)


@given(cuts=st.lists(st.integers(0, 40_000), max_size=6))
@settings(max_examples=15, deadline=None)
def test_blocks_of_any_size_give_the_same_chroma(cuts: list[int]) -> None:
    sound = np.random.default_rng(6).standard_normal(40_000).astype(np.float32) * 0.1
    np.testing.assert_allclose(chroma_of(sound, cuts), chroma_of(sound), atol=1e-5)


def test_silence_has_no_chroma() -> None:
    assert not chroma_of(np.zeros(20_000, dtype=np.float32)).any()


@pytest.mark.parametrize("kind", ["programme", "noise"])
def test_cepstrum_and_onset_strength_are_librosas(kind: str) -> None:
    noise = np.random.default_rng(7).standard_normal((24, 500)).astype(np.float32) * 10.0 - 40.0
    levels = levels_of(programme(6.0), COARSE_MEL) if kind == "programme" else noise
    np.testing.assert_allclose(mfcc_of(levels), librosa.feature.mfcc(S=levels, n_mfcc=13), atol=1e-4)
    np.testing.assert_allclose(mfcc_weights(24) @ levels, mfcc_of(levels), atol=1e-3)
    strength = librosa.onset.onset_strength(S=levels, sr=16_000, hop_length=320, n_fft=512)
    np.testing.assert_allclose(onset_strength_of(levels), strength, atol=1e-4)


@pytest.mark.parametrize("kind", ["programme", "noise"])
def test_the_tempo_is_librosas_window_for_window_and_keeps_with_fewer_windows(kind: str) -> None:
    noise = np.random.default_rng(8).random(3_000).astype(np.float32)
    strength = onset_strength_of(levels_of(programme(40.0), COARSE_MEL)) if kind == "programme" else noise
    theirs = librosa.feature.tempo(onset_envelope=strength, sr=16_000, hop_length=320)[0]
    assert tempo_bpm(strength, 50.0, frames_apart=1) == pytest.approx(theirs)
    assert tempo_bpm(strength, 50.0) == pytest.approx(theirs)


@given(bpm=st.sampled_from([75.0, 100.0, 120.0, 150.0]))
def test_a_beat_has_its_tempo(bpm: float) -> None:
    beats = np.zeros(3_000, dtype=np.float32)
    beats[:: round(3_000.0 / bpm)] = 1.0
    assert tempo_bpm(beats, 50.0) == pytest.approx(bpm, rel=0.03)


def test_what_never_begins_has_no_tempo_and_what_has_no_notes_no_key() -> None:
    assert tempo_bpm(np.zeros(3_000, dtype=np.float32), 50.0) is None
    assert key_of(np.full(12, 0.3)) is None


@given(tonic=st.integers(0, 11))
def test_a_scale_with_a_strong_tonic_has_its_key(tonic: int) -> None:
    names = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
    major = np.array([1.0, 0, 0.5, 0, 0.7, 0.5, 0, 0.8, 0, 0.5, 0, 0.4])
    minor = np.array([1.0, 0, 0.5, 0.8, 0, 0.5, 0, 0.8, 0.5, 0, 0.4, 0])
    for mode, scale in (("major", major), ("minor", minor)):
        key = key_of(np.roll(scale, tonic))
        assert key is not None
        assert key.name == f"{names[tonic]} {mode}"
        assert 0.8 < key.likeness <= 1.0


def test_levels_and_flux_are_librosas_to_a_ten_thousandth_of_a_decibel() -> None:
    sound = programme(4.0)
    spectrum = librosa.feature.melspectrogram(
        y=sound,
        sr=COARSE_MEL.sr_hz,
        n_fft=COARSE_MEL.n_fft,
        hop_length=COARSE_MEL.hop_samples,
        n_mels=COARSE_MEL.n_mels,
        fmin=COARSE_MEL.low_hz,
        fmax=COARSE_MEL.high_hz,
        pad_mode="constant",
    )
    level_db = librosa.power_to_db(spectrum, ref=1.0, amin=COARSE_MEL.floor_power, top_db=None)
    theirs = np.maximum(0.0, np.diff(level_db, axis=1, prepend=level_db[:, :1]))
    ours = levels_of(sound, COARSE_MEL)
    np.testing.assert_allclose(ours, level_db, atol=1e-4)
    np.testing.assert_allclose(flux_of(ours), theirs, atol=1e-4)


@given(cuts=st.lists(st.integers(0, 20_000), max_size=6))
@settings(max_examples=25, deadline=None)
def test_blocks_of_any_size_give_the_same_levels(cuts: list[int]) -> None:
    sound = np.random.default_rng(5).standard_normal(20_000).astype(np.float32) * 0.1
    whole = levels_of(sound, COARSE_MEL)
    np.testing.assert_allclose(levels_of(sound, COARSE_MEL, cuts), whole, atol=1e-3)


def test_silence_has_no_flux_and_no_activity() -> None:
    maker = LevelMaker(COARSE_MEL)
    assert not flux_of(maker.feed(np.zeros(64_000, dtype=np.float32))).any()
    assert maker.activity().modulation_db == 0.0
    assert maker.activity().level_db == pytest.approx(-80.0)


def test_a_steady_noise_is_less_active_than_any_programme() -> None:
    noise, show = LevelMaker(COARSE_MEL), LevelMaker(COARSE_MEL)
    noise.feed((np.random.default_rng(1).standard_normal(160_000) * 0.05).astype(np.float32))
    show.feed(programme(10.0))
    assert noise.activity().modulation_db < 0.7
    assert show.activity().modulation_db > 2.0
