"""One answer from what was found, by the order of the verdicts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.analysis.consensus import Consensus, find_consensus
from syncd.analysis.features import Activity
from syncd.analysis.steadiness import spread_ms, support_of
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.timeline import coverage_of
from syncd.analysis.tracks import FineResult, WindowTrack
from syncd.analysis.verdict import Decision, Findings, Heard, Placed, decide, timeline_of
from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Candidate,
    Estimate,
    Inconclusive,
    MethodResult,
    MethodStatus,
    Rate,
    Segment,
    SegmentKind,
    Verdict,
)

SETTINGS = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
LIVELY = Activity(level_db=-30.0, modulation_db=5.0)


def result(method: str, offset_s: float, *, confidence: float = 0.99, uncertainty_ms: float = 0.1) -> MethodResult:
    return MethodResult(method, MethodStatus.OK, Estimate(offset_s, confidence, uncertainty_ms), 50.0, 0.1)


def decision(
    consensus: Consensus,
    *,
    master: Activity = LIVELY,
    dub: Activity = LIVELY,
    seconds: float = 60.0,
    best_deviations: float = 4.4,
    **found: Any,
) -> Decision:
    sides = Heard("master", seconds, master), Heard("dub", seconds, dub)
    findings = Findings(consensus=consensus, best_deviations=best_deviations, lags=10_000, **found)
    return decide(*sides, findings, SETTINGS)


def match(start_s: float, end_s: float, offset_s: float) -> Segment:
    return Segment(SegmentKind.MATCH, start_s + offset_s, end_s + offset_s, start_s, end_s, offset_s, 0.0, 0.0, 0.9)


def placed(*timeline: Segment, rate: Rate | None = None, support: float = 1.0) -> Placed:
    longest = max((s for s in timeline if s.kind is SegmentKind.MATCH), key=lambda s: s.dub_end_s - s.dub_start_s)  # type: ignore[operator]
    estimate = Estimate(longest.offset_s or 0.0, 0.99, 0.1)
    return Placed(estimate, timeline, rate or Rate(), by_waves=True, support=support)


NOTHING = Consensus(None, None)


def agreed(offset_s: float) -> Consensus:
    return find_consensus((result("correlation", offset_s), result("spectral", offset_s + 0.001, uncertainty_ms=2.0)))


def track(lags_s: list[float], *, height: float = 40.0, window_s: float = 8.0) -> WindowTrack:
    lags = np.array(lags_s)
    common_s = float(np.median(lags))
    return WindowTrack(
        dub_centre_s=np.asarray(window_s * (np.arange(lags.size) + 0.5), dtype=np.float64),
        lag_s=lags,
        sounding=np.ones(lags.size, dtype=np.bool_),
        deviations=np.full(lags.size, height),
        heard=np.full(lags.size, height >= THRESHOLDS.window_heard_deviations),
        supports=np.abs(lags - common_s) < 0.0005,
        window_s=window_s,
    )


def found(lags_s: list[float], *, deviations: float = 100.0) -> FineResult:
    return FineResult(float(np.median(lags_s)), deviations, track(lags_s))


@pytest.mark.parametrize(
    ("offset_s", "verdict"),
    [(0.0, Verdict.IN_SYNC), (-0.0599, Verdict.IN_SYNC), (-0.061, Verdict.OFFSET), (0.041, Verdict.OFFSET)],
)
def test_late_and_early_have_limits_of_their_own(offset_s: float, verdict: Verdict) -> None:
    assert decision(agreed(offset_s)).verdict is verdict


def test_an_interval_across_a_limit_asks_for_a_look() -> None:
    wide = find_consensus((result("spectral", -0.0595, uncertainty_ms=2.0),))
    assert decision(wide).review
    assert not decision(agreed(-0.030)).review


def test_nothing_beyond_chance_in_two_programmes_is_no_match() -> None:
    answer = decision(NOTHING)
    assert answer.verdict is Verdict.NO_MATCH
    assert answer.consensus is None
    assert 0.5 < answer.confidence < 1.0
    assert "4.4 deviations" in answer.reasons[0]


@pytest.mark.parametrize(
    ("activity", "words"),
    [(Activity(-80.0, 0.0), "is silent"), (Activity(-20.0, 0.4), "tone or a steady noise")],
)
def test_what_cannot_be_heard_is_inconclusive_and_never_no_match(activity: Activity, words: str) -> None:
    answer = decision(NOTHING, dub=activity)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert words in answer.reasons[0]
    assert answer.review


def test_a_few_seconds_prove_nothing() -> None:
    answer = decision(NOTHING, seconds=4.0)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert "too short" in answer.reasons[0]


def test_a_peak_between_chance_and_match_is_left_open() -> None:
    answer = decision(NOTHING, best_deviations=7.0, candidates=(Candidate(-2.0, 7.0),))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert answer.candidates == (Candidate(-2.0, 7.0),)


def test_a_speed_that_moves_the_sound_is_drift_and_one_within_its_uncertainty_is_not() -> None:
    line = match(0.0, 60.0, -0.01)
    assert decision(agreed(-0.01), placed=placed(line, rate=Rate(1.0002, 1.0))).verdict is Verdict.DRIFT
    assert decision(agreed(-0.01), placed=placed(line, rate=Rate(1.0002, 300.0))).verdict is Verdict.IN_SYNC
    assert decision(agreed(-0.01), placed=placed(line, rate=Rate(1.00002, 1.0))).verdict is Verdict.IN_SYNC


def test_pieces_that_differ_in_offset_are_edited_even_at_another_speed() -> None:
    missing = Segment(SegmentKind.MISSING, 30.0, 40.0, None, None)
    answer = decision(
        agreed(0.0), placed=placed(match(0.0, 30.0, 0.0), missing, match(30.0, 55.0, 10.0), rate=Rate(1.04, 1.0))
    )
    assert answer.verdict is Verdict.EDITED
    assert answer.consensus is not None
    assert answer.consensus.offset_s == 0.0
    assert answer.rate == Rate(1.04, 1.0)


def test_several_offsets_that_fit_alike_take_the_offset_back() -> None:
    rivals = (Candidate(-1.0, 50.0), Candidate(4.0, 40.0))
    answer = decision(agreed(-1.0), rivals=rivals)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert answer.consensus is None
    assert "repeats itself" in answer.reasons[0]
    assert answer.candidates == rivals


def test_a_shared_title_is_not_a_shared_programme() -> None:
    answer = decision(agreed(-1.0), placed=placed(match(10.0, 18.0, -1.0)))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert "title sequence" in answer.reasons[0]


def test_an_end_where_both_sides_differ_asks_for_a_look_and_keeps_the_offset() -> None:
    foreign = (
        Segment(SegmentKind.UNMATCHED, 39.0, 60.0, None, None),
        Segment(SegmentKind.UNMATCHED, None, None, 40.0, 60.0),
    )
    answer = decision(agreed(-1.0), placed=placed(match(1.0, 40.0, -1.0), *foreign))
    assert answer.verdict is Verdict.OFFSET
    assert answer.review
    assert any("nothing agrees" in warning for warning in answer.warnings)


def test_an_offset_that_few_windows_bear_asks_for_a_look() -> None:
    answer = decision(agreed(-1.0), placed=placed(match(1.0, 60.0, -1.0), support=0.3))
    assert answer.verdict is Verdict.OFFSET
    assert answer.review


def test_methods_that_agree_are_surer_than_one_and_the_narrowest_speaks() -> None:
    both = find_consensus(
        (result("correlation", -1.0, confidence=0.9), result("spectral", -1.004, confidence=0.8, uncertainty_ms=3.0))
    )
    assert both.estimate is not None
    assert both.estimate.offset_s == -1.0
    assert both.estimate.confidence == pytest.approx(0.98)
    assert both.agreement == 1.0


def test_methods_that_disagree_cost_confidence_and_are_named() -> None:
    torn = find_consensus((result("correlation", -1.0), result("spectral", 7.0, confidence=0.6)))
    answer = decision(torn)
    assert torn.agreement == 0.5
    assert answer.review
    assert any("spectral" in warning for warning in answer.warnings)
    assert answer.confidence < 0.8


def test_methods_that_name_different_pieces_of_one_timeline_agree() -> None:
    both = find_consensus((result("correlation", -1.0), result("onset", 7.0)), (-1.0, 7.0))
    assert both.agreement == 1.0
    assert both.dissenters == ()


def test_faint_waveforms_give_way_to_two_methods_that_exclude_them() -> None:
    faint = MethodResult("correlation", MethodStatus.OK, Estimate(0.0, 0.9, 0.5), 12.0, 0.1)
    others = (result("mfcc", 0.010, uncertainty_ms=2.0), result("onset", 0.0105, uncertainty_ms=3.0))
    torn = find_consensus((faint, *others))
    assert torn.estimate is not None
    assert torn.estimate.offset_s == 0.010
    sure = MethodResult("correlation", MethodStatus.OK, Estimate(0.0, 0.9, 0.5), 90.0, 0.1)
    kept = find_consensus((sure, *others))
    assert kept.estimate is not None
    assert kept.estimate.offset_s == 0.0


def test_methods_that_vouch_for_nothing_make_no_consensus() -> None:
    silent = MethodResult("spectral", MethodStatus.INCONCLUSIVE, Inconclusive(("nothing",)), 3.0, 0.1)
    assert find_consensus((silent,)).estimate is None


@given(master_s=st.floats(1.0, 10_000.0), dub_s=st.floats(1.0, 10_000.0), share=st.floats(0.01, 0.99))
def test_the_timeline_accounts_for_every_second_of_both_sides(master_s: float, dub_s: float, share: float) -> None:
    offset_s = -dub_s + share * (master_s + dub_s)
    timeline = timeline_of(master_s, dub_s, Estimate(offset_s, 0.9, 0.1))
    for first, last, whole_s in (
        ("master_start_s", "master_end_s", master_s),
        ("dub_start_s", "dub_end_s", dub_s),
    ):
        spans = [(getattr(s, first), getattr(s, last)) for s in timeline if getattr(s, first) is not None]
        assert sum(end - start for start, end in spans) == pytest.approx(whole_s, abs=1e-6)
        assert spans == sorted(spans)
    match = next(s for s in timeline if s.kind is SegmentKind.MATCH)
    assert match.master_start_s == pytest.approx((match.dub_start_s or 0.0) + offset_s, abs=1e-9)
    coverage = coverage_of(timeline, master_s, dub_s)
    assert 0.0 <= coverage.master <= 1.0
    assert 0.0 <= coverage.dub <= 1.0


def test_scatter_widens_the_interval() -> None:
    rng = np.random.default_rng(1)
    narrow = found([1e-6 * float(x) for x in rng.standard_normal(40)])
    wide = found([3e-4 * float(x) for x in rng.standard_normal(40)])
    assert spread_ms(narrow) < spread_ms(wide)
    assert support_of(narrow).share == 1.0
