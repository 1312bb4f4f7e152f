"""What embeddings say together: moved sides are found where they were moved to, and strangers are not found at all."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.analysis.embedding_alignment import (
    Agreement,
    Sides,
    Stretch,
    agree,
    apart_s,
    close_s,
    heard_windows,
    model_confidence,
)
from syncd.analysis.embeddings import FrameRule
from syncd.domain import Estimate, Inconclusive
from syncd.units import swap_sides
from tests.unit.in_memory import Floats, Frames, quietly

RULE = FrameRule(320, 400, sees_window=True)
SLOW = FrameRule(7_680, 15_600, sees_window=False)
DIMS = 12
FINE = 16
"""Steps a frame of the process that both sides hear."""
PAL = 25 / 23.976


def programme(seconds: float, seed: int, rule: FrameRule = RULE) -> Floats:
    """Something that happens, `FINE` steps a frame, about as quick as embeddings change; shape (steps, dims)."""
    rng = np.random.default_rng(seed)
    steps = int(seconds * rule.frames_per_s * FINE)
    smooth = scipy.ndimage.gaussian_filter1d(rng.standard_normal((steps, DIMS)), 1.5 * FINE, axis=0)
    scaled: Floats = smooth / smooth.std()
    return scaled


def heard(process: Floats, start_s: float, seconds: float, speed: float = 1.0, rule: FrameRule = RULE) -> Floats:
    """Frames of a side that begins at that moment of the process and plays at that speed."""
    frames = rule.frames_in(int(seconds * 16_000))
    centres_s = rule.first_centre_s + np.arange(frames) / rule.frames_per_s
    places = (start_s + centres_s * speed) * rule.frames_per_s * FINE
    return np.stack([np.interp(places, np.arange(len(process)), band) for band in process.T], axis=1)


def noisy(frames: Floats, share: float, seed: int) -> Frames:
    noise = np.random.default_rng(seed).standard_normal(frames.shape)
    return Frames(np.clip(((1.0 - share) * frames + share * noise) / np.hypot(1.0 - share, share), -4, 4))


def pair(offset_s: float, rate: float = 1.0, seed: int = 1, noise: float = 0.4, rule: FrameRule = RULE) -> Sides:
    """Ninety seconds of a master and a dub: ``t_master = rate * t_dub + offset_s``."""
    process = programme(240.0, seed, rule)
    master = heard(process, 60.0, 90.0, rule=rule)
    dub = heard(process, 60.0 + offset_s, 90.0 / rate, rate, rule)
    return Sides(noisy(master, noise, seed + 1), noisy(dub, noise, seed + 2), rule, rate)


def placed_at(sides: Sides, offset_s: float) -> Agreement:
    start_s, end_s = max(0.0, offset_s), min(90.0, 90.0 + offset_s)
    return agree(sides, (Stretch(start_s, end_s, offset_s),), quietly)


def estimate(agreement: Agreement) -> Estimate:
    assert isinstance(agreement.outcome, Estimate), agreement.outcome
    return agreement.outcome


@given(st.floats(-25.0, 25.0), st.sampled_from([1.0, PAL, 1 / PAL, 1.001]), st.integers(0, 1000))
@settings(max_examples=12, deadline=None)
def test_a_dub_is_found_where_it_was_moved_to(offset_s: float, rate: float, seed: int) -> None:
    found = estimate(agree(pair(offset_s, rate, seed), (), quietly))
    assert found.offset_s == pytest.approx(offset_s, abs=0.006)
    assert found.confidence > 0.9


@given(st.floats(-20.0, 20.0), st.sampled_from([1.0, PAL, 0.96]))
@settings(max_examples=6, deadline=None)
def test_moving_the_dub_moves_the_answer_by_as_much(offset_s: float, rate: float) -> None:
    here = estimate(agree(pair(offset_s, rate), (), quietly)).offset_s
    there = estimate(agree(pair(offset_s + 1.7, rate), (), quietly)).offset_s
    assert there - here == pytest.approx(1.7, abs=0.008)


@given(st.floats(-20.0, 20.0), st.sampled_from([1.0, PAL]))
@settings(max_examples=6, deadline=None)
def test_the_sides_may_change_places(offset_s: float, rate: float) -> None:
    sides = pair(offset_s, rate)
    there = estimate(agree(sides, (), quietly)).offset_s
    back = Sides(sides.dub, sides.master, sides.rule, 1.0 / rate)
    swapped = estimate(agree(back, (), quietly)).offset_s
    assert swapped == pytest.approx(swap_sides(rate, there)[1], abs=0.006)


@given(st.integers(0, 10_000))
@settings(max_examples=12, deadline=None)
def test_strangers_are_not_found(seed: int) -> None:
    ours, theirs = (Frames(heard(programme(95.0, each), 0, 90.0)) for each in (seed, seed + 1))
    sides = Sides(ours, theirs, RULE)
    agreement = agree(sides, (), quietly)
    assert isinstance(agreement.outcome, Inconclusive)
    assert "deviations over chance" in agreement.outcome.reasons[0]
    assert agreement.model_confidence == 0.0
    assert agreement.similarity is None


def test_silence_vouches_for_nothing() -> None:
    silent = Frames(np.zeros((3_000, DIMS)))
    agreement = agree(Sides(pair(0.0).master, silent, RULE), (Stretch(0.0, 60.0, 0.0),), quietly)
    assert agreement.outcome == Inconclusive(("the embeddings of a side never change",))
    assert (agreement.similarity, agreement.consistency, agreement.model_confidence) == (None, None, 0.0)


def test_a_side_of_a_few_frames_says_that_it_is_too_short() -> None:
    few = Frames(np.random.default_rng(1).standard_normal((20, DIMS)))
    outcome = agree(Sides(pair(0.0).master, few, RULE), (), quietly).outcome
    assert isinstance(outcome, Inconclusive)
    assert "fewer than" in outcome.reasons[0]


def test_a_loop_fits_in_two_places_and_is_not_placed() -> None:
    once = heard(programme(31.0, 5), 0.0, 30.0)
    sides = Sides(Frames(np.concatenate((once, once))), Frames(once), RULE)
    outcome = agree(sides, (), quietly).outcome
    assert isinstance(outcome, Inconclusive)
    assert "about equally well" in outcome.reasons[0]


def test_a_right_placement_is_confirmed_and_a_wrong_one_is_not() -> None:
    sides = pair(-3.21)
    right, wrong = placed_at(sides, -3.21), placed_at(sides, -9.0)
    assert right.consistency == 1.0
    assert right.similarity is not None
    assert right.similarity > 0.3
    assert right.model_confidence > 0.8
    assert wrong.consistency is not None
    assert wrong.consistency < 0.4
    assert wrong.similarity == pytest.approx(0.0, abs=0.05)
    assert wrong.model_confidence == 0.0


def test_a_placement_half_a_second_off_is_not_confirmed() -> None:
    assert placed_at(pair(-3.21), -3.71).consistency == 0.0


@pytest.mark.parametrize("shift_s", [-0.3, 0.3])
def test_windows_say_by_how_much_their_placement_is_off(shift_s: float) -> None:
    windows = list(heard_windows(pair(2.0), (Stretch(2.0, 90.0, 2.0 - shift_s),), quietly))
    assert np.median([window.lag_s for window in windows]) == pytest.approx(shift_s, abs=0.005)


def test_pieces_that_the_report_places_are_no_rivals_of_each_other() -> None:
    process = programme(240.0, 3)
    master = Frames(heard(process, 10.0, 120.0))
    dub = Frames(np.concatenate((heard(process, 10.0, 60.0), heard(process, 75.0, 60.0))))
    # The dub lacks five seconds after its first minute.
    placement = (Stretch(0.0, 60.0, 0.0), Stretch(65.0, 120.0, 5.0))
    alone, told = agree(Sides(master, dub, RULE), (), quietly), agree(Sides(master, dub, RULE), placement, quietly)
    assert isinstance(alone.outcome, Inconclusive)
    assert min(abs(estimate(told).offset_s - offset_s) for offset_s in (0.0, 5.0)) < 0.02
    assert told.consistency is not None
    assert told.consistency > 0.9


def test_slow_frames_are_evidence_and_hardly_an_offset() -> None:
    found = estimate(agree(pair(-7.3, rule=SLOW, noise=0.2), (), quietly))
    assert found.offset_s == pytest.approx(-7.3, abs=apart_s(SLOW))
    assert found.confidence < 0.5, "half a frame of film is far finer than half a second"


shares = st.floats(0.0, 1.0)


@given(shares, shares, st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_confidence_grows_with_similarity_and_with_consistency(
    lower: float, higher: float, few: int, more: int, windows: int
) -> None:
    lower, higher = sorted((lower, higher))
    few, more = sorted((min(few, windows), min(more, windows)))

    def confidence(similarity: float, near: int) -> float:
        return model_confidence(similarity, [True] * near + [False] * (windows - near), RULE)

    assert confidence(lower, few) <= confidence(higher, few) <= confidence(higher, more) <= 1.0
    assert close_s(RULE) < apart_s(RULE)
