"""One answer from what was found, by the order of the verdicts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from syncd.analysis.align import Aligned, Alignment
from syncd.analysis.calibration import together
from syncd.analysis.consensus import Consensus, find_consensus
from syncd.analysis.evidence import MID
from syncd.analysis.features import Activity
from syncd.analysis.measure import _as_sure_as_its_own
from syncd.analysis.solve import Solution
from syncd.analysis.steadiness import is_match, spread_ms, support_of
from syncd.analysis.survey import Piece
from syncd.analysis.thresholds import THRESHOLDS
from syncd.analysis.timeline import Match, Stretch, segments_of
from syncd.analysis.tracks import FineResult, WindowTrack
from syncd.analysis.verdict import Decision, Findings, Heard, Placed, decide
from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Candidate,
    Estimate,
    Inconclusive,
    MethodResult,
    MethodStatus,
    Rate,
    SegmentKind,
    Verdict,
)

SETTINGS = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
LIVELY = Activity(level_db=-30.0, modulation_db=5.0)
SECONDS = 60.0


def result(method: str, offset_s: float, *, confidence: float = 0.99, uncertainty_ms: float = 0.1) -> MethodResult:
    return MethodResult(method, MethodStatus.OK, Estimate(offset_s, confidence, uncertainty_ms), 50.0, 0.1)


def decision(
    findings: Findings, *, master: Activity = LIVELY, dub: Activity = LIVELY, seconds: float = SECONDS
) -> Decision:
    return decide(Heard("master", seconds, master), Heard("dub", seconds, dub), findings, SETTINGS)


NOTHING = Findings(Consensus(None, None), best_deviations=4.4, lags=10_000)


def agreed(offset_s: float) -> Consensus:
    return find_consensus((result("correlation", offset_s), result("spectral", offset_s + 0.001, uncertainty_ms=2.0)))


def placed(*matches: Match, rate: Rate | None = None, support: float = 1.0, uncertainty_ms: float = 0.1) -> Findings:
    """Stretches of a dub of a minute (times on the master's clock), the longest of which the methods vouch for."""
    speed = rate or Rate(1.0, 1.0)
    offset_s = max(matches, key=lambda one: one[1] - one[0])[2]
    timeline = segments_of(matches, speed.ratio, SECONDS, SECONDS, 0.99)
    where = Placed(Estimate(offset_s, 0.99, uncertainty_ms), timeline, speed, by_waves=True, support=support)
    return Findings(agreed(offset_s), where, best_deviations=60.0, lags=10_000)


WHOLE = (0.0, 60.0, 0.0)
CUT = (0.0, 30.0, 0.0), (30.0, 55.0, 5.0)
FAST = Rate(1.001, 3.0, "24/23.976")


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
    assert decision(Findings(agreed(offset_s))).verdict is verdict
    assert decision(placed((0.0, 60.0, offset_s))).verdict is verdict


def test_an_interval_across_a_limit_asks_for_a_look() -> None:
    wide = decision(Findings(find_consensus((result("spectral", -0.0595, uncertainty_ms=2.0),))))
    assert wide.review
    assert any("crosses a limit" in warning for warning in wide.warnings)
    assert decision(placed((0.1, 60.0, -0.0595), uncertainty_ms=2.0)).review
    assert not decision(placed((0.1, 60.0, -0.030), uncertainty_ms=2.0)).review


class TestOrder:
    """The first that holds, from «nothing to decide on» to «in sync»."""

    def test_what_lies_in_one_piece_at_one_speed_is_in_sync(self) -> None:
        answer = decision(placed(WHOLE))
        assert answer.verdict is Verdict.IN_SYNC
        assert not answer.review
        assert answer.coverage.master == answer.coverage.dub == 1.0
        assert answer.rate == Rate(1.0, 1.0)

    def test_a_speed_goes_before_an_offset(self) -> None:
        answer = decision(placed((1.0, 60.0, -1.0), rate=FAST))
        assert answer.verdict is Verdict.DRIFT
        assert answer.rate == FAST
        assert answer.consensus is not None
        assert answer.consensus.offset_s == -1.0

    def test_a_speed_is_told_where_no_stretch_was_placed_too(self) -> None:
        """The methods' offset is the intercept of that speed: at another one it would be another offset."""
        answer = decision(Findings(agreed(-1.0), rate=FAST, best_deviations=60.0, lags=10_000))
        assert answer.verdict is Verdict.DRIFT
        assert answer.rate == FAST
        (match,) = (segment for segment in answer.timeline if segment.kind is SegmentKind.MATCH)
        assert match.dub_start_s == pytest.approx(1.0 / FAST.ratio)
        assert match.lag_end_ms == pytest.approx(1000.0 * (-1.0 + 0.001 * SECONDS))

    def test_a_speed_that_nothing_measured_asks_for_a_look(self) -> None:
        measured = decision(Findings(agreed(-1.0), rate=FAST, best_deviations=60.0))
        tried = decision(Findings(agreed(-1.0), rate=Rate(1.001), best_deviations=60.0))
        assert not measured.review
        assert tried.review
        assert "the best of those tried" in tried.warnings[0]

    def test_edits_go_before_a_speed_which_is_told_all_the_same(self) -> None:
        answer = decision(placed(*CUT, rate=FAST))
        assert answer.verdict is Verdict.EDITED
        assert answer.rate == FAST
        assert SegmentKind.MISSING in {segment.kind for segment in answer.timeline}

    def test_nothing_to_vouch_for_goes_before_what_was_placed(self) -> None:
        found = placed(*CUT)
        assert decision(replace(found, consensus=Consensus(None, None))).verdict is not Verdict.EDITED

    def test_two_places_that_fit_equally_well_go_before_everything(self) -> None:
        rivals = (Candidate(0.0, 50.0), Candidate(4.0, 48.0))
        answer = decision(replace(placed(*CUT, rate=FAST), rivals=rivals))
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert (answer.consensus, answer.rate, answer.confidence) == (None, None, 0.0)
        assert answer.candidates == rivals
        assert "repeats itself" in answer.reasons[0]
        assert {segment.kind for segment in answer.timeline} == {SegmentKind.UNMATCHED}

    def test_episodes_that_share_a_quarter_beside_strangers_are_no_one_programme(self) -> None:
        title = (20.0, 35.0, 0.0)
        answer = decision(placed(title))
        assert (answer.verdict, answer.consensus) == (Verdict.INCONCLUSIVE, None)
        assert "25 %" in answer.reasons[0]
        assert answer.candidates[0].offset_s == 0.0

    def test_an_excerpt_has_no_strangers_beside_it(self) -> None:
        timeline = segments_of(((0.0, 15.0, 20.0),), 1.0, SECONDS, 15.0, 0.99)
        where = Placed(Estimate(20.0, 0.99, 0.1), timeline, Rate(1.0, 1.0), by_waves=True, support=1.0)
        found = Findings(agreed(20.0), where, best_deviations=60.0, lags=10_000)
        heads = Heard("master", SECONDS, LIVELY), Heard("dub", 15.0, LIVELY)
        answer = decide(*heads, found, SETTINGS)
        assert (answer.verdict, answer.confidence > 0.9) == (Verdict.OFFSET, True)

    def test_the_less_of_both_is_shared_the_less_sure_is_the_report(self) -> None:
        most, some = (decision(placed((0.0, seconds, 0.0))).confidence for seconds in (40.0, 22.0))
        assert most > 0.9
        assert some == pytest.approx(most * 2 * 22 / 60, rel=0.01)

    def test_sound_that_is_the_same_for_a_few_windows_is_told_as_that(self) -> None:
        answer = decision(replace(NOTHING, best_deviations=6.6, alike_in_part=(4, 28)))
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert "4 of 28" in answer.reasons[0]

    def test_an_offset_that_dialogue_alone_gives_says_so(self) -> None:
        alone = find_consensus((result("speech", -1.8, uncertainty_ms=28.0),))
        assert any("when people speak" in warning for warning in decision(Findings(alone)).warnings)
        assert not any("when people speak" in warning for warning in decision(Findings(agreed(-1.8))).warnings)

    def test_a_few_shared_seconds_are_no_shared_programme(self) -> None:
        answer = decision(placed((0.0, 11.0, 0.0)))
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert answer.consensus is None
        assert answer.candidates == (Candidate(0.0, 60.0),)
        assert "18 %" in answer.reasons[0]
        assert decision(placed((0.0, 22.0, 0.0))).consensus is not None


class TestDrift:
    def test_a_speed_within_its_own_uncertainty_is_none(self) -> None:
        assert decision(placed(WHOLE, rate=Rate(1.001, 1_100.0))).verdict is Verdict.IN_SYNC

    @pytest.mark.parametrize(
        ("ppm", "verdict"), [(80.0, Verdict.IN_SYNC), (90.0, Verdict.DRIFT), (-90.0, Verdict.DRIFT)]
    )
    def test_a_speed_counts_once_it_moves_the_sound_by_five_milliseconds(self, ppm: float, verdict: Verdict) -> None:
        ratio = 1.0 + ppm * 1e-6
        answer = decision(placed((0.0, 60.0 * min(1.0, ratio), 0.0), rate=Rate(ratio, 1.0)))
        assert answer.verdict is verdict
        assert answer.rate is not None
        assert answer.rate.ratio == ratio

    def test_a_drift_across_a_limit_of_the_tolerance_needs_no_look_for_it(self) -> None:
        assert not decision(placed((0.1, 60.0, -0.0595), rate=FAST, uncertainty_ms=2.0)).review


class TestEdited:
    @pytest.mark.parametrize(
        ("matches", "kind"),
        [
            (CUT, SegmentKind.MISSING),
            (((0.0, 30.0, 0.0), (35.0, 60.0, -5.0)), SegmentKind.INSERTED),
            (((0.0, 30.0, 0.0), (35.0, 60.0, 0.0)), SegmentKind.REPLACED),
        ],
    )
    def test_inner_material_that_differs_is_an_edit(self, matches: tuple[Match, ...], kind: SegmentKind) -> None:
        answer = decision(placed(*matches))
        assert answer.verdict is Verdict.EDITED
        assert kind in {segment.kind for segment in answer.timeline}
        assert not answer.review

    def test_a_longer_head_or_tail_is_no_edit(self) -> None:
        answer = decision(placed((5.0, 60.0, -5.0)))
        assert answer.verdict is Verdict.OFFSET
        assert [segment.kind for segment in answer.timeline] == [
            SegmentKind.UNMATCHED,
            SegmentKind.MATCH,
            SegmentKind.UNMATCHED,
        ]


def test_an_end_where_both_sides_have_something_else_asks_for_a_look() -> None:
    answer = decision(placed((0.0, 40.0, 0.0)))
    assert answer.verdict is Verdict.IN_SYNC
    assert answer.review
    assert "From 0:40 to 1:00 of the dub nothing can be heard to agree" in answer.warnings[0]
    assert not decision(placed((0.0, 59.5, 0.0))).review


def test_an_offset_that_stands_on_few_windows_asks_for_a_look() -> None:
    answer = decision(placed(WHOLE, support=0.4))
    assert answer.review
    assert "Only 40 %" in answer.warnings[0]
    assert answer.confidence < decision(placed(WHOLE)).confidence


def test_nothing_beyond_chance_in_two_programmes_is_no_match() -> None:
    answer = decision(NOTHING)
    assert answer.verdict is Verdict.NO_MATCH
    assert answer.consensus is None
    assert answer.rate is None
    assert 0.5 < answer.confidence < 1.0
    assert "4.4 deviations" in answer.reasons[0]


@pytest.mark.parametrize(
    ("activity", "words"),
    [(Activity(-80.0, 0.0), "is silent"), (Activity(-20.0, 0.4), "tone or a steady noise")],
)
@pytest.mark.parametrize("role", ["master", "dub"])
def test_what_cannot_be_heard_is_inconclusive_and_never_no_match(activity: Activity, words: str, role: str) -> None:
    answer = decision(NOTHING, **{role: activity})
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert words in answer.reasons[0]
    assert role in answer.reasons[0]
    assert answer.review


@pytest.mark.parametrize("role", ["master", "dub"])
def test_a_steady_side_is_never_placed(role: str) -> None:
    steady = Activity(-20.0, 0.4)
    found = placed(WHOLE)
    assert found.placed is not None
    by_onsets = replace(found, placed=replace(found.placed, by_waves=False))
    for less in (found, by_onsets, replace(found, placed=None)):
        answer = decision(less, **{role: steady})
        assert answer.verdict is Verdict.INCONCLUSIVE
        assert answer.consensus is None
        assert "tone or a steady noise" in answer.reasons[0]
    assert decision(by_onsets).verdict is Verdict.IN_SYNC


def test_a_side_that_fits_itself_elsewhere_is_named_and_never_said_not_to_match() -> None:
    answer = decision(replace(NOTHING, repeating=("master", "dub")))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert ["master" in answer.reasons[0], "dub" in answer.reasons[1]] == [True, True]
    assert all("repeats itself" in reason for reason in answer.reasons)


def test_a_few_seconds_prove_nothing() -> None:
    answer = decision(NOTHING, seconds=4.0)
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert "too short" in answer.reasons[0]


def test_a_peak_between_chance_and_match_is_left_open() -> None:
    candidates = (Candidate(-2.0, 7.0),)
    answer = decision(replace(NOTHING, best_deviations=7.0, candidates=candidates))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert answer.candidates == candidates


def test_a_programme_that_repeats_itself_lists_its_candidates() -> None:
    candidates = (Candidate(-2.0, 9.0), Candidate(4.0, 8.0))
    answer = decision(replace(NOTHING, repeating=("master",), candidates=candidates))
    assert answer.verdict is Verdict.INCONCLUSIVE
    assert answer.candidates == candidates


def test_a_stretch_is_no_surer_than_its_own_waveforms_make_it() -> None:
    pieces = [
        Aligned(Piece(a, b, lag_s, 50.0), None, found([lag_s] * 6 + [lag_s + 0.1] * off, deviations=height))
        for (a, b, lag_s), height, off in zip(CUT, (300.0, 8.0), (0, 6), strict=True)
    ]
    alignment = Alignment(MID, 1.0, 1.0, tuple(pieces), by_waves=True)
    stretches = tuple(Stretch(one.piece.start_s, one.piece.end_s, one) for one in pieces)
    solution = Solution(alignment, stretches)
    laid = segments_of(CUT, 1.0, SECONDS, SECONDS, 0.99)
    told = [_as_sure_as_its_own(s, solution).confidence for s in laid if s.kind is SegmentKind.MATCH]
    strong, weak = told
    assert strong is not None
    assert weak is not None
    assert strong == 0.99
    assert weak < 0.9


def test_methods_that_agree_are_surer_than_one_and_the_narrowest_speaks() -> None:
    both = find_consensus(
        (result("correlation", -1.0, confidence=0.9), result("spectral", -1.004, confidence=0.8, uncertainty_ms=3.0))
    )
    assert both.estimate is not None
    assert both.estimate.offset_s == -1.0
    alone = find_consensus((result("correlation", -1.0, confidence=0.9),)).estimate
    assert alone is not None
    assert both.estimate.confidence > alone.confidence
    assert both.estimate.confidence == pytest.approx(together([0.9, 0.8], []))
    assert both.agreement == 1.0


def test_methods_that_disagree_cost_confidence_and_are_named() -> None:
    torn = find_consensus((result("correlation", -1.0, confidence=0.95), result("spectral", 7.0, confidence=0.9)))
    answer = decision(Findings(torn))
    assert torn.agreement == 0.5
    assert torn.estimate is not None
    assert torn.estimate.confidence == pytest.approx(together([0.95], [0.9]))
    assert answer.review
    assert any("spectral" in warning for warning in answer.warnings)
    assert (
        answer.confidence
        < decision(Findings(find_consensus((result("correlation", -1.0, confidence=0.95),)))).confidence
    )


def test_methods_that_vouch_for_nothing_make_no_consensus() -> None:
    silent = MethodResult("spectral", MethodStatus.INCONCLUSIVE, Inconclusive(("nothing",)), 3.0, 0.1)
    assert find_consensus((silent,)).estimate is None


def test_a_stray_window_here_and_there_is_noise() -> None:
    lags = [0.0] * 40
    lags[7], lags[20], lags[33] = 0.1, -0.05, 0.2
    steady = found(lags)
    assert is_match(steady, support_of(steady))
    assert support_of(steady).agreeing == 37
    assert spread_ms(steady) < 1.0


def test_a_lag_that_few_windows_stand_behind_is_no_match() -> None:
    scattered = found([0.0] * 5 + [0.01 * k for k in range(1, 41)])
    thin = replace(scattered, lag_s=0.0, track=replace(scattered.track, supports=np.arange(45) < 5))
    assert not is_match(thin, support_of(thin))


def test_scatter_widens_the_interval() -> None:
    rng = np.random.default_rng(1)
    narrow = found([1e-6 * float(x) for x in rng.standard_normal(40)])
    wide = found([3e-4 * float(x) for x in rng.standard_normal(40)])
    assert spread_ms(narrow) < spread_ms(wide)
    assert support_of(narrow).share == 1.0


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
