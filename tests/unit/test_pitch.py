"""How far the pitch moved: of notes, whatever their speed, and unknown where there are none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.signal
from numpy.typing import NDArray

from syncd.analysis.pitch import pitch_shift_semitones, semitones_of_rate
from tests.unit.in_memory import SR_HZ, pair_of, tune

Floats = NDArray[Any]
SECONDS = 40.0
WHOLE = [(0.0, SECONDS, 0.0)]


def notes(seconds: float, seed: int, *, semitones: float = 0.0) -> Floats:
    """Three voices of notes with five partials, at any pitch within three octaves."""
    rng = np.random.default_rng(seed)
    sound = 1e-4 * np.random.default_rng(seed + 1).standard_normal(int(seconds * SR_HZ))
    for _ in range(3):
        at = 0
        while at < sound.size:
            length = min(int(rng.uniform(0.12, 0.6) * SR_HZ), sound.size - at)
            hz = 110.0 * 2.0 ** (rng.uniform(0.0, 3.0) + semitones / 12.0)
            t = np.arange(length) / SR_HZ
            note = sum(0.6**k * np.sin(2.0 * np.pi * k * hz * t) for k in range(1, 6))
            sound[at : at + length] += (
                0.1 * rng.uniform(0.1, 1.0) * note * np.exp(-3.0 * t) * np.minimum(1.0, t / 0.004)
            )
            at += length
    return sound


@pytest.mark.parametrize("semitones", [-2.0, -0.5, 0.0, 0.7067, 1.0, 2.0])
def test_notes_that_were_moved_are_as_much_higher(semitones: float) -> None:
    pair = pair_of(notes(SECONDS, 21), notes(SECONDS, 21, semitones=semitones))
    assert pitch_shift_semitones(pair, 1.0, WHOLE) == pytest.approx(semitones, abs=0.06)


@pytest.mark.parametrize("semitones", [-2, -1, 0, 1, 2])
def test_a_tune_in_another_key_is_told_rightly(semitones: int) -> None:
    """Though every semitone of tempered music is like every other."""
    told = pitch_shift_semitones(pair_of(tune(SECONDS, 21), tune(SECONDS, 21, semitones=semitones)), 1.0, WHOLE)
    assert told == pytest.approx(semitones, abs=0.06)


@pytest.mark.parametrize("semitones", [0.0, 0.7067])
def test_notes_are_told_under_other_sound_that_is_louder(semitones: float) -> None:
    ours, theirs = notes(SECONDS, 21), notes(SECONDS, 21, semitones=semitones)
    pair = pair_of(ours + 1.4 * notes(SECONDS, 31), theirs + 1.4 * notes(SECONDS, 41))
    assert pitch_shift_semitones(pair, 1.0, WHOLE) == pytest.approx(semitones, abs=0.06)


@pytest.mark.parametrize("seed", range(4))
def test_other_notes_say_nothing_of_the_pitch(seed: int) -> None:
    assert pitch_shift_semitones(pair_of(notes(20.0, seed), notes(20.0, 50 + seed)), 1.0, [(0.0, 20.0, 0.0)]) is None


@pytest.mark.parametrize(("up", "down"), [(24, 25), (25, 24)])
def test_a_dub_that_simply_runs_faster_is_higher_by_its_speed(up: int, down: int) -> None:
    rate = down / up
    master = notes(SECONDS, 22)
    dub = scipy.signal.resample_poly(master, up, down)
    told = pitch_shift_semitones(pair_of(master, dub), rate, [(0.0, SECONDS - 1.0, 0.0)])
    assert told == pytest.approx(semitones_of_rate(rate), abs=0.06)


def test_moments_are_paired_by_the_speed_however_late_they_come() -> None:
    """At the end of two minutes the same note lies five seconds apart on the two clocks."""
    master = notes(120.0, 25)
    dub = scipy.signal.resample_poly(master, 24, 25)
    told = pitch_shift_semitones(pair_of(master, dub), 25 / 24, [(100.0, 119.0, 0.0)])
    assert told == pytest.approx(semitones_of_rate(25 / 24), abs=0.06)


def test_stretches_are_compared_at_their_own_lags() -> None:
    master, higher = notes(60.0, 23), notes(60.0, 23, semitones=1)
    cut = np.concatenate((higher[: 25 * SR_HZ], higher[30 * SR_HZ :]))
    told = pitch_shift_semitones(pair_of(master, cut), 1.0, [(0.0, 25.0, 0.0), (25.0, 55.0, 5.0)])
    assert told == pytest.approx(1.0, abs=0.06)


def test_swapping_the_sides_turns_the_pitch_around() -> None:
    low, high = notes(SECONDS, 24), notes(SECONDS, 24, semitones=1)
    there, back = (pitch_shift_semitones(pair, 1.0, WHOLE) for pair in (pair_of(low, high), pair_of(high, low)))
    assert there is not None
    assert back == pytest.approx(-there, abs=0.03)


def test_noise_and_silence_have_no_pitch_to_tell_by() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = (0.1 * rng.standard_normal(int(20 * SR_HZ)) for _ in range(2))
    silence = np.zeros(int(20 * SR_HZ))
    for pair in (pair_of(ours, theirs), pair_of(silence, ours), pair_of(silence, silence)):
        assert pitch_shift_semitones(pair, 1.0, [(0.0, 20.0, 0.0)]) is None
    assert pitch_shift_semitones(pair_of(ours, theirs), 1.0, []) is None


def test_four_percent_are_seven_tenths_of_a_semitone() -> None:
    assert semitones_of_rate(25 / 24) == pytest.approx(0.7067, abs=1e-4)
    assert semitones_of_rate(2.0) == 12.0
    assert semitones_of_rate(0.5) == -12.0
