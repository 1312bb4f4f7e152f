"""Confidence: from evidence to a probability, and from observations to the curves that say so."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.analysis.calibration import (
    CALIBRATION,
    Curve,
    confidence_of,
    share_of,
    share_that_holds,
    together,
    within_half_a_frame,
)
from syncd.analysis.methods import registry
from syncd.domain import Verdict
from tests.calibration.fit import cross_checked, fit, laplace, method_curve, reliability, split
from tests.calibration.observed import Observed, Twice, Voice, kept_for_good

CURVE = Curve(intercept=-12.0, per_log_height=6.0, per_share=2.0, most=0.99)
probabilities = st.floats(0.01, 0.99)


def test_every_method_and_every_verdict_with_an_offset_is_calibrated() -> None:
    assert set(CALIBRATION.methods) == set(registry())
    assert set(CALIBRATION.holds) == {Verdict.IN_SYNC, Verdict.OFFSET, Verdict.DRIFT, Verdict.EDITED}


def test_the_calibration_says_what_it_rests_on() -> None:
    pairs = CALIBRATION.summary["pairs"]
    assert isinstance(pairs, int)
    assert pairs >= 1000


def test_no_certainty_exceeds_what_the_data_bear() -> None:
    for curve in (*CALIBRATION.methods.values(), *CALIBRATION.holds.values(), CALIBRATION.no_match):
        assert 0.0 < curve.probability(1e9, 1.0) <= curve.most < 1.0
    assert CALIBRATION.most < 1.0


def test_a_constant_offset_that_half_of_the_windows_do_not_share_is_no_sure_report() -> None:
    assert share_that_holds(Verdict.OFFSET, 0.5) < 0.5
    assert share_that_holds(Verdict.OFFSET, 0.95) > 0.9


@given(low=st.floats(0.0, 1e4), more=st.floats(0.0, 1e4), share=st.floats(0.0, 1.0))
def test_more_evidence_is_never_less_certain(low: float, more: float, share: float) -> None:
    assert CURVE.probability(low, share) <= CURVE.probability(low + more, share)
    assert CURVE.probability(low, share) <= CURVE.probability(low, 1.0)


@pytest.mark.parametrize(
    ("metadata", "share"),
    [
        ({"windows_agreeing": 6, "windows_with_sound": 8}, 0.75),
        ({"windows_bearing": 2.5, "windows_with_sound": 10}, 0.25),
        ({"chunks_agreeing": 3, "chunks": 4}, 0.75),
        ({"lines_matched": 12, "lines_in_common_stretch": 48}, 0.25),
        ({"windows_agreeing": 0, "windows_with_sound": 0}, 1.0),
        ({}, 1.0),
    ],
)
def test_the_share_of_what_agrees_is_read_off_a_methods_own_figures(metadata: dict[str, float], share: float) -> None:
    assert share_of(dict(metadata)) == pytest.approx(share)


def test_an_interval_of_half_a_frame_holds_nineteen_in_twenty() -> None:
    assert within_half_a_frame(20.0) == pytest.approx(0.95, abs=1e-4)
    assert within_half_a_frame(1.96 * 20.0) == pytest.approx(0.6827, abs=1e-4)
    assert within_half_a_frame(0.0) == 1.0


def test_a_wide_interval_costs_confidence_however_sure_the_lag_is() -> None:
    sure = confidence_of("speech", 1e6, {}, 1.0)
    assert confidence_of("speech", 1e6, {}, 60.0) == pytest.approx(sure * within_half_a_frame(60.0))


@given(probabilities)
def test_one_method_alone_says_no_more_than_it_says_with_others(probability: float) -> None:
    assert together([probability], []) <= min(probability, CALIBRATION.most) + 1e-12
    assert together([probability], []) <= together([probability, probability], []) + 1e-12


@given(probabilities, probabilities)
def test_another_that_agrees_never_takes_anything_away(one: float, other: float) -> None:
    assert together([one, other], []) >= together([max(one, other)], []) - 1e-12
    assert together([one, other], []) == together([other, one], [])


@given(probabilities, probabilities)
def test_another_that_disagrees_never_adds_anything(one: float, other: float) -> None:
    assert together([one], [other]) <= together([one], []) + 1e-12


def test_a_sure_dissenter_takes_away_more_than_an_unsure_one() -> None:
    against = msgspec.structs.replace(CALIBRATION, per_dissenter=0.5)
    assert together([0.95], [0.95], against) < together([0.95], [0.6], against) < together([0.95], [], against)


# ---------------------------------------------------------------- what was observed


@pytest.fixture(scope="module")
def committed() -> list[Twice]:
    return kept_for_good()


def test_the_committed_curves_are_those_of_the_committed_observations(committed: list[Twice]) -> None:
    fitted = fit(*split(committed))
    assert fitted.summary == CALIBRATION.summary
    assert (fitted.per_other, fitted.per_dissenter, fitted.alone, fitted.most) == (
        CALIBRATION.per_other,
        CALIBRATION.per_dissenter,
        CALIBRATION.alone,
        pytest.approx(CALIBRATION.most),
    )
    for ours, theirs in (
        *((fitted.methods[name], CALIBRATION.methods[name]) for name in CALIBRATION.methods),
        *((fitted.holds[verdict], CALIBRATION.holds[verdict]) for verdict in CALIBRATION.holds),
        (fitted.no_match, CALIBRATION.no_match),
    ):
        assert msgspec.structs.astuple(ours) == pytest.approx(msgspec.structs.astuple(theirs), abs=2e-3)


def test_what_is_stated_above_nine_tenths_is_right_more_than_nine_times_in_ten(committed: list[Twice]) -> None:
    """By curves that were fitted on the other half of the programmes."""
    high = [one for one in reliability(*cross_checked(committed)) if one.low >= 0.9]
    assert sum(one.right for one in high) > 0.9 * sum(one.number for one in high)
    assert all(one.stated <= one.interval()[1] for one in high)


def test_pairs_that_share_nothing_were_given_no_offset(committed: list[Twice]) -> None:
    nothing = [one.usual for one in committed if one.usual.what == "unrelated"]
    assert len(nothing) > 100
    assert not any(one.given for one in nothing)


# ---------------------------------------------------------------- the fits


def voices(count: int, seed: int) -> list[Voice]:
    """Offsets whose odds are those of `CURVE`."""
    rng = np.random.default_rng(seed)
    heights, shares = rng.uniform(3.0, 20.0, count), rng.uniform(0.0, 1.0, count)
    chances = [CURVE.probability(float(h), float(s)) for h, s in zip(heights, shares, strict=True)]
    right = rng.uniform(size=count) < np.array(chances)
    return [
        Voice("mfcc", float(h), float(s), 1.0, right_lag=bool(r), together=True)
        for h, s, r in zip(heights, shares, right, strict=True)
    ]


def test_the_curve_that_made_the_data_is_found_again() -> None:
    found = method_curve(voices(6000, 1))
    for height in (5.0, 7.0, 10.0):
        for share in (0.2, 0.8):
            assert found.probability(height, share) == pytest.approx(CURVE.probability(height, share), abs=0.05)


def test_a_method_that_was_never_wrong_is_not_believed_without_limit() -> None:
    never_wrong = [Voice("mfcc", 8.0 + i, 1.0, 1.0, right_lag=True, together=True) for i in range(40)]
    assert method_curve(never_wrong).probability(1e6, 1.0) <= 0.92


def test_what_was_never_seen_is_even() -> None:
    assert laplace([]) == 0.5
    assert method_curve([]).probability(100.0, 1.0) == 0.5


def observed(number: int, *, right: bool, dissent: bool) -> Observed:
    """Two methods' offset is given; onset says the same, or another one, which is right if that is wrong."""
    agreeing = [Voice(name, 30.0, 1.0, 1.0, right_lag=right, together=True) for name in ("correlation", "spectral")]
    other = Voice("onset", 8.0, 1.0, 1.0, right_lag=right != dissent, together=not dissent)
    return Observed(
        number=number,
        what="shared",
        verdict="offset",
        shorter_s=60.0,
        voices=[*agreeing, other],
        given=True,
        error_ms=0.0 if right else 500.0,
        uncertainty_ms=1.0,
        confidence=0.9,
        overall_confidence=0.9,
        objected=False,
        all_right=right,
    )


def test_dissent_counts_as_far_as_it_was_a_bad_sign() -> None:
    quiet = [observed(i, right=i % 20 != 0, dissent=False) for i in range(1000)]
    bad_sign = [observed(i, right=i % 2 == 0, dissent=True) for i in range(100)]
    no_sign = [observed(i, right=i % 20 != 0, dissent=True) for i in range(100)]
    assert fit(quiet + bad_sign, quiet).per_dissenter > fit(quiet + no_sign, quiet).per_dissenter


def test_reliability_counts_what_was_right_of_what_was_stated() -> None:
    bins = reliability([0.91, 0.93, 0.94, 0.2], [True, True, False, False])
    assert [(b.number, b.right) for b in bins] == [(1, 0), (3, 2)]
    low, high = bins[1].interval()
    assert low < 2 / 3 < high
    assert math.isclose(bins[1].stated, 0.9266, abs_tol=1e-3)
