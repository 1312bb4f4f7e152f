"""An edited dub in pieces, and in words."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import TOLERANCES, MeasuredSide, Rate, Result, Segment, SegmentKind, Verdict
from syncd.reports.conform import MOST_PIECES, Piece, conform_graph, conform_pieces, silences
from syncd.reports.correction import correction
from syncd.reports.recommend import recommendations, sync_status
from tests.material.report_examples import SETTINGS, SIDE, result

RATE_HZ = 48_000
DUB = Path("/drop/Film_dub_fr.wav")


def match(dub_start_s: float, dub_end_s: float, offset_s: float, ratio: float = 1.0) -> Segment:
    on_master = ratio * dub_start_s + offset_s, ratio * dub_end_s + offset_s
    return Segment(SegmentKind.MATCH, *on_master, dub_start_s, dub_end_s, offset_s, 0.0, 0.0, 0.99)


def edited(*timeline: Segment, **changes: object) -> Result:
    matches = [s for s in timeline if s.kind is SegmentKind.MATCH]
    return result(matches[0].offset_s or 0.0, Verdict.EDITED, timeline=timeline, **changes)


CUT = (
    match(2.0, 10.0, -2.0),
    Segment(SegmentKind.MISSING, 8.0, 13.0, None, None),
    match(10.0, 20.0, 3.0),
    Segment(SegmentKind.INSERTED, None, None, 20.0, 26.0),
    match(26.0, 30.0, -3.0),
    Segment(SegmentKind.REPLACED, 27.0, 29.0, 30.0, 32.0),
    match(32.0, 40.0, -3.0),
)


def test_each_piece_goes_to_its_place_and_what_is_missing_is_silent() -> None:
    pieces = conform_pieces(edited(*CUT))
    in_seconds = [(p.start / RATE_HZ, p.end and p.end / RATE_HZ, p.place / RATE_HZ) for p in pieces]
    assert in_seconds == [(2.0, 10.0, 0.0), (10.0, 20.0, 13.0), (26.0, 30.0, 23.0), (32.0, None, 29.0)]
    assert [(a / RATE_HZ, b / RATE_HZ) for a, b in silences(pieces)] == [(8.0, 13.0), (27.0, 29.0)]


def test_the_head_is_kept_as_far_as_it_fits_before_the_first_match() -> None:
    late = conform_pieces(edited(match(5.0, 10.0, -2.0), match(12.0, 20.0, -4.0)))
    assert (late[0].start, late[0].place) == (2 * RATE_HZ, 0)
    early = conform_pieces(edited(match(5.0, 10.0, 3.0), match(12.0, 20.0, 1.0)))
    assert (early[0].start, early[0].place) == (0, 3 * RATE_HZ)


def test_pieces_are_counted_after_the_speed_is_undone() -> None:
    first, second = conform_pieces(
        edited(match(10.0, 20.0, -10.4, 1.04), match(30.0, 40.0, -20.8, 1.04), rate=Rate(1.04))
    )
    assert (first.start, first.end, first.place) == (499_200, 998_400, 0)
    assert (second.start, second.place) == (1_497_600, round((31.2 - 20.8) * RATE_HZ))


def test_neighbours_that_touch_on_both_clocks_are_one_piece() -> None:
    assert len(conform_pieces(edited(match(0.0, 10.0, 1.0), match(10.0, 20.0, 1.0), match(20.0, 30.0, 2.0)))) == 2


segments = st.lists(
    st.tuples(st.floats(0.0, 30.0), st.floats(-0.01, 40.0), st.floats(-5.0, 30.0)), min_size=1, max_size=30
)


@given(
    segments, st.sampled_from((1.0, 0.96, 1.0427083)), st.sampled_from((8_000, 44_100, 48_000)), st.floats(-90.0, 90.0)
)
def test_whatever_the_timeline_pieces_keep_their_offsets_and_never_overlap(
    drawn: list[tuple[float, float, float]], ratio: float, rate_hz: int, first_s: float
) -> None:
    """Also where matches touch, overlap by a rounding, or lie before the master's beginning."""
    timeline, dub_s, offset_s = [], 0.0, first_s
    for left_out_s, length_s, silence_s in drawn:
        dub_s += left_out_s
        offset_s += silence_s - ratio * left_out_s
        timeline.append(match(dub_s, dub_s + length_s, offset_s, ratio))
        dub_s += max(0.0, length_s)
    side = replace(SIDE, sample_rate_hz=rate_hz)
    pieces = conform_pieces(edited(*timeline, rate=Rate(ratio), dub=side))
    shifts = {round((segment.offset_s or 0.0) * rate_hz) for segment in timeline}
    for piece in pieces:
        assert piece.place - piece.start in shifts
        assert piece.place >= 0
        assert piece.start >= 0
    for before, after in pairwise(pieces):
        assert before.place < before.place_end <= after.place
        assert before.end is not None
        assert before.end <= after.start
    assert [piece.end for piece in pieces[-1:]] in ([], [None])
    kept = sum(piece.place_end - piece.place for piece in pieces[:-1])
    silent = sum(end - start for start, end in silences(pieces))
    assert not pieces or kept + silent == pieces[-1].place
    assert not pieces or _length_of(conform_graph(pieces, "0:a:0", ("anull",), rate_hz)) == pieces[-1].place


def _length_of(graph: str) -> int:
    """Samples before the last piece, as the filters say it."""
    total = 0
    *chains, last = [chain for chain in graph.split(";") if "atrim" in chain]
    for chain in (*chains, last):
        total += sum(int(n) for n in re.findall(r"(?:pad_len=|delays=)(\d+)", chain))
    for start, end in (re.findall(r"(?:start|end)_sample=(\d+)", chain)[:2] for chain in chains):
        total += int(end) - int(start)
    return total


def test_each_cut_is_faded_and_neither_head_nor_tail() -> None:
    graph = conform_graph((Piece(0, 9_000, 0), Piece(10_000, None, 9_000)), "0:a:2", ("anull",), RATE_HZ)
    first, second = (chain for chain in graph.split(";") if "atrim" in chain)
    assert graph.startswith("[0:a:2]anull,asplit=2")
    assert "t=out:ss=8760:ns=240" in first
    assert "t=in" not in first
    assert "t=in:ss=0:ns=240" in second
    assert "t=out" not in second


def many(count: int) -> Result:
    return edited(*(match(10.0 * i, 10.0 * i + 9.0, -float(i)) for i in range(count)))


def test_more_pieces_than_a_command_bears_have_none_and_it_is_said() -> None:
    assert correction(many(MOST_PIECES), DUB) is not None
    assert correction(many(MOST_PIECES + 1), DUB) is None
    said = recommendations(many(MOST_PIECES + 1), SETTINGS, None)
    assert any(f"No command is offered: the dub lies in {MOST_PIECES + 1} pieces" in words for words in said)


def test_the_cut_list_is_in_the_masters_own_timecode() -> None:
    master = replace(SIDE, frame_rate="25/1", start_timecode="10:00:00:00")
    report = edited(*CUT, master=master)
    said = recommendations(report, SETTINGS, correction(report, DUB))
    assert said[0] == "Conform the dub segment by segment along the timeline of this report."
    assert said[1] == (
        "Cut list, in the master's timecode at 25 fps: missing from 10:00:08:00 to 10:00:13:00 (5.000 s); inserted at "
        "10:00:23:00 (6.000 s, from 0:20.000 to 0:26.000 of the dub); replaced from 10:00:27:00 to 10:00:29:00 "
        "(2.000 s) by 2.000 s, from 0:30.000 to 0:32.000 of the dub."
    )
    assert said[2] == (
        "The dub has nothing for 7.000 s of the master; there the conformed dub is silent, and a person has to fill "
        "it: from 10:00:08:00 to 10:00:13:00 (5.000 s), from 10:00:27:00 to 10:00:29:00 (2.000 s)."
    )
    assert said[3].startswith("This does it")


def test_without_a_timecode_the_master_counts_from_zero_at_its_native_rate() -> None:
    said = recommendations(edited(*CUT, master=replace(SIDE, frame_rate="24000/1001")), SETTINGS, None)[1]
    assert "in the master's time from 00:00:00:00 at 23.976 fps: missing from 00:00:08:00 to 00:00:13:00" in said


def test_a_long_cut_list_ends_with_a_count() -> None:
    timeline = []
    for i in range(14):
        timeline += [
            match(10.0 * i, 10.0 * i + 10.0, 2.0 * i),
            Segment(SegmentKind.MISSING, 12.0 * i + 10, 12.0 * i + 12, None, None),
        ]
    timeline.append(match(140.0, 150.0, 28.0))
    said = recommendations(edited(*timeline), SETTINGS, None)[1]
    assert said.count("missing from") == 10
    assert said.endswith("; and 4 more in the timeline of this report.")


def test_edits_at_another_speed_tell_both() -> None:
    fast = edited(match(0.0, 10.0, 0.0, 1.0427), match(10.0, 20.0, 5.0, 1.0427), rate=Rate(1.0427, None, None, 0.72))
    said = sync_status(fast, TOLERANCES["ebu-r37"])
    assert "(2 matching) and plays 4.270 % faster than the master, its pitch raised by 0.72 semitones: no" in said
    assert recommendations(fast, SETTINGS, None)[1].startswith("Resample the dub to be 1.042700000 times as long")


def drifting(rate: Rate, offset_s: float = -0.5, dub: MeasuredSide = SIDE) -> Result:
    return result(offset_s, Verdict.DRIFT, rate=rate, dub=dub)


def test_a_drift_says_what_undoes_it_and_why() -> None:
    moved = recommendations(drifting(Rate(25 / 23.976, None, "25/23.976", 0.72)), SETTINGS, None)
    assert moved[1].endswith("times as long (rate.ratio): its pitch moved with its speed, and comes back with it.")
    assert moved[2].startswith("Then move the dub 500.0 ms (24000 samples at 48000 Hz) earlier")
    kept = recommendations(drifting(Rate(25 / 23.976, None, "25/23.976", 0.0)), SETTINGS, None)
    assert "its pitch as it is: it was kept when the speed was changed" in kept[1]
    other = recommendations(drifting(Rate(25 / 23.976, None, None, -1.5)), SETTINGS, None)
    assert other[2] == "The dub's pitch is lowered by 1.50 semitones besides; no command here changes that."
    clock = recommendations(drifting(Rate(1 + 50e-6)), SETTINGS, None)
    assert clock[1].endswith("too little to move its pitch.")
    unknown = recommendations(drifting(Rate(1.04)), SETTINGS, None)
    assert "its pitch could not be told" in unknown[1]


def test_drift_tells_the_pitch() -> None:
    told = sync_status(drifting(Rate(25 / 23.976, None, "25/23.976", 0.72)), TOLERANCES["ebu-r37"])
    assert "faster than the master (25/23.976), its pitch raised by 0.72 semitones, and is 500.0 ms late" in told
    kept = sync_status(drifting(Rate(0.96, None, None, 0.01)), TOLERANCES["ebu-r37"])
    assert "4.000 % slower than the master, its pitch kept, and is" in kept


def test_words_for_speeds_and_edits_say_neither_plus_nor_minus() -> None:
    slow = replace(edited(*CUT, rate=Rate(0.96, None, None, -0.7)), warnings=())
    words = [sync_status(slow, TOLERANCES["ebu-r37"]), *recommendations(slow, SETTINGS, None)]
    assert not any(re.search(r"[-+]\d", word) for word in words)
