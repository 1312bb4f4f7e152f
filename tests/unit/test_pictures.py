"""What is drawn of a pair: at which places, of which part of the dub, and no more than a page can carry."""

from __future__ import annotations

import numpy as np
import pytest

from syncd.analysis.features import COARSE_MEL, LevelMaker
from syncd.analysis.lagmap import LagCurve
from syncd.analysis.pictures import MOST_SPANS, beats_of, likeness, spans_of
from syncd.analysis.places import Stretch, marked_places, span_pieces, stretches_of
from syncd.analysis.speech import Lines
from syncd.analysis.survey import MOST_SHOWN, LagProfile
from syncd.domain import Segment, SegmentKind

ONE = (Stretch(2.0, 1_800.0, 0.5),)
CUT = (Stretch(0.0, 600.0, 0.5), Stretch(600.0, 900.0, -11.5), Stretch(960.0, 1_800.0, 48.5))


def test_a_plain_pair_is_looked_at_near_its_ends_and_in_the_middle() -> None:
    marked = marked_places(ONE, 1_800.0, 1_799.5)
    assert [(each.label, each.centre_s) for each in marked] == [("start", 6.0), ("middle", 901.0), ("end", 1_796.0)]


def test_every_place_may_move_only_towards_the_inside() -> None:
    start, middle, end = marked_places(ONE, 1_800.0, 1_799.5)
    assert start.step_s > 0.0
    assert middle.step_s > 0.0
    assert end.step_s < 0.0


def test_a_cut_is_looked_at_where_it_is_and_where_material_is_missing_at_its_beginning() -> None:
    cuts = [each for each in marked_places(CUT, 1_800.0, 1_750.0) if each.label == "cut"]
    assert [(each.centre_s, each.step_s) for each in cuts] == [(600.0, 0.0), (900.0, 0.0)]


def test_a_handful_is_enough_however_many_cuts_there_are() -> None:
    many = tuple(Stretch(60.0 * i, 60.0 * i + 60.0, float(i)) for i in range(50))
    assert len(marked_places(many, 3_000.0, 3_000.0)) <= 6


def test_places_do_not_show_the_same_seconds_twice() -> None:
    short = (Stretch(0.0, 10.0, 0.0),)
    centres = [each.centre_s for each in marked_places(short, 10.0, 10.0)]
    assert len(centres) == 1
    assert len(marked_places((Stretch(0.0, 40.0, 0.0),), 40.0, 40.0)) == 3


def test_without_an_answer_both_sides_are_looked_at_where_both_have_something() -> None:
    marked = marked_places((), 1_800.0, 600.0)
    assert [each.centre_s for each in marked] == [60.0, 300.0, 540.0]


def test_an_excerpt_over_a_cut_is_put_together_from_both_sides_of_it() -> None:
    assert list(span_pieces(CUT, 598.0, 602.0)) == [(598.0, 600.0, 0.5), (600.0, 602.0, -11.5)]
    assert list(span_pieces(CUT, 898.0, 902.0)) == [(898.0, 900.0, -11.5)]


def test_only_what_matches_counts_as_a_stretch() -> None:
    timeline = (
        Segment(SegmentKind.UNMATCHED, 0.0, 2.0, None, None),
        Segment(SegmentKind.MATCH, 2.0, 9.0, 1.5, 8.5, 0.5),
        Segment(SegmentKind.INSERTED, None, None, 8.5, 12.0),
    )
    assert stretches_of(timeline) == (Stretch(2.0, 9.0, 0.5),)


def lines(count: int) -> Lines:
    starts_s = np.arange(count) * 3.0
    return Lines(np.zeros(10, dtype=np.float32), starts_s, starts_s + 1.0)


def test_speech_is_told_line_by_line_and_a_very_long_talk_joined_where_it_pauses_least() -> None:
    assert spans_of(lines(2)) == ((0.0, 1.0), (3.0, 4.0))
    spans = spans_of(lines(4_000))
    assert len(spans) == MOST_SPANS
    assert spans[0][0] == 0.0
    assert spans[-1][1] == pytest.approx(3_999 * 3.0 + 1.0)
    assert all(a < b for a, b in spans)


def test_a_thinned_curve_keeps_its_highest_peak_and_where_it_stands() -> None:
    deviations = np.zeros(90_001, dtype=np.float32)
    deviations[70_000] = 40.0
    profile = LagProfile.of(LagCurve(-45_000, deviations), 50.0)
    assert profile.deviations.size <= MOST_SHOWN
    top = int(np.argmax(profile.deviations))
    assert profile.deviations[top] == 40.0
    assert profile.first_s + top * profile.step_s == pytest.approx(25_000 / 50.0, abs=profile.step_s)


def test_a_short_curve_is_kept_as_it_is() -> None:
    profile = LagProfile.of(LagCurve(-3, np.arange(7, dtype=np.float32)), 50.0)
    assert (profile.first_s, profile.step_s) == (-0.06, 0.02)
    assert profile.deviations.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_beats_fall_where_something_begins() -> None:
    sound = np.zeros(4 * 16_000, dtype=np.float32)
    burst = np.random.default_rng(1).normal(0.0, 0.3, 800).astype(np.float32)
    clicks_s = np.arange(0.3, 4.0, 0.5)
    for at_s in clicks_s:
        sound[round(at_s * 16_000) :][: burst.size] += burst
    maker = LevelMaker(COARSE_MEL)
    beats_s = beats_of(maker.feed(sound), COARSE_MEL.frames_per_s, 120.0)
    assert len(beats_s) == len(clicks_s)
    assert np.abs(np.asarray(beats_s) - clicks_s).max() < 0.03


def test_silence_has_no_beats() -> None:
    assert beats_of(np.full((40, 160), -80.0, dtype=np.float32), 40.0, 120.0) == ()


def test_likeness_is_one_of_the_same_sound_none_of_strangers_and_zero_of_silence() -> None:
    rng = np.random.default_rng(2)
    one, other = (rng.normal(-30.0, 8.0, (40, 160)).astype(np.float32) for _ in range(2))
    assert likeness(one, one - 12.0) == pytest.approx(1.0)
    assert abs(likeness(one, other)) < 0.1
    assert likeness(one, np.full((40, 160), -80.0, dtype=np.float32)) == 0.0
    assert likeness(one[:, :0], other[:, :0]) == 0.0
