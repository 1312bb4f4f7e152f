"""Timelines for editing systems, read back by the libraries that such systems build on."""

from __future__ import annotations

import csv
import io
from typing import Any

import mido
import opentimelineio as otio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.errors import ErrorCode, SyncdError
from syncd.reports.exchange import FORMATS, read_timeline, write_timeline


def match(master_start: float, master_end: float, dub_start: float, dub_end: float | None = None) -> dict[str, Any]:
    if dub_end is None:
        dub_end = dub_start + master_end - master_start
    return {
        "kind": "match",
        "master_start": master_start,
        "master_end": master_end,
        "dub_start": dub_start,
        "dub_end": dub_end,
        "offset_seconds": master_start - dub_start,
    }


def report(*timeline: dict[str, Any], name: str = "Heist_dub_fr.wav", **master: Any) -> dict[str, Any]:
    return {
        "master": {"path": "/drop/Heist_master.mov", "sample_rate": 48_000, **master},
        "dub": {"path": f"/drop/{name}", "sample_rate": 48_000},
        "timeline": list(timeline),
    }


EDITED = (
    match(0.0, 100.0, 2.44),
    {"kind": "missing", "master_start": 100.0, "master_end": 112.0},
    match(112.0, 300.0, 102.44),
    {"kind": "inserted", "dub_start": 290.44, "dub_end": 300.44},
    match(300.0, 330.0, 300.44),
)


def edl(given_report: dict[str, Any]) -> str:
    return write_timeline(read_timeline(given_report), "edl").decode()


def events(text: str) -> list[list[str]]:
    """The timecodes of each event: source in and out, record in and out."""
    return [line.split()[-4:] for line in text.splitlines() if line[:3].isdecimal()]


def test_an_edl_places_each_piece_of_the_dub_in_the_masters_timecode() -> None:
    text = edl(report(*EDITED, start_timecode="10:00:00:00", frame_rate="25"))
    assert text.startswith("TITLE: Heist_dub_fr.wav on Heist_master.mov\nFCM: NON-DROP FRAME\n")
    assert events(text) == [
        ["00:00:02:11", "00:01:42:11", "10:00:00:00", "10:01:40:00"],
        ["00:01:42:11", "00:04:50:11", "10:01:52:00", "10:05:00:00"],
        ["00:05:00:11", "00:05:30:11", "10:05:00:00", "10:05:30:00"],
    ]
    assert "HEISTDUB" in text


def test_where_the_master_has_no_frames_those_that_are_asked_for_count_and_else_25() -> None:
    given = report(match(0.0, 60.0, 0.0))
    texts = [write_timeline(read_timeline(given, frame_rate=rate), "edl").decode() for rate in (None, "24")]
    assert ["00:01:00:00" in text for text in texts] == [True, True]
    late = report(match(0.5, 60.0, 0.0))
    frames = [write_timeline(read_timeline(late, frame_rate=rate), "edl").decode() for rate in (None, "50", "24")]
    assert ["00:00:00:12" in text or "00:00:00:13" in text for text in frames] == [True, False, True]
    assert "00:00:00:25" in frames[1]
    own = report(match(0.5, 60.0, 0.0), frame_rate="24")
    assert write_timeline(read_timeline(own, frame_rate="50"), "edl") == write_timeline(read_timeline(own), "edl")


def test_at_29_97_an_edl_counts_drop_frame_and_says_so() -> None:
    text = edl(report(match(0.0, 60.06, 0.0), frame_rate="30000/1001"))
    assert "FCM: DROP FRAME" in text
    assert events(text)[0][3] == "00:01:00;02"


def test_a_dub_of_another_speed_has_its_motion_line_and_as_much_of_it_as_is_played() -> None:
    """At PAL speed 96 s of dub fill 100.1 s of master: it is to be played at 23.976 frames of 25."""
    text = edl(report(match(10.0, 110.1, 0.0, 96.0), frame_rate="25"))
    assert events(text) == [["00:00:00:00", "00:01:36:00", "00:00:10:00", "00:01:50:02"]]
    motion = next(line for line in text.splitlines() if line.startswith("M2"))
    assert motion.split() == ["M2", "HEISTDUB", "023.98", "00:00:00:00"]


def test_an_edl_is_read_back_by_the_library_that_others_read_it_with() -> None:
    timeline = otio.adapters.read_from_string(
        edl(report(*EDITED, start_timecode="10:00:00:00", frame_rate="25")), "cmx_3600", rate=25
    )
    clips = list(timeline.find_clips())
    assert [clip.source_range.start_time.value for clip in clips] == [61, 2561, 7511]
    assert [clip.source_range.duration.value for clip in clips] == [2500, 4700, 750]


def test_otio_keeps_the_dubs_samples_and_the_masters_start() -> None:
    written = write_timeline(read_timeline(report(*EDITED, start_timecode="10:00:00:00", frame_rate="25")), "otio")
    timeline = otio.adapters.read_from_string(written.decode(), "otio_json")
    assert timeline.global_start_time.to_seconds() == 36_000.0
    track = timeline.tracks[0]
    assert [type(child).__name__ for child in track] == ["Clip", "Gap", "Clip", "Clip"]
    first = track[0]
    assert (first.source_range.start_time.value, first.source_range.start_time.rate) == (117_120, 48_000)
    assert track[2].range_in_parent().start_time.value == 112 * 48_000


@given(st.lists(st.tuples(st.floats(0.1, 900.0), st.floats(0.0, 60.0)), min_size=1, max_size=30))
def test_however_many_pieces_no_frame_is_lost_or_gained_on_the_way(spans: list[tuple[float, float]]) -> None:
    pieces, at_s = [], 0.0
    for length_s, gap_s in spans:
        pieces.append(match(at_s, at_s + length_s, 5.0 + at_s))
        at_s += length_s + gap_s
    timeline = otio.adapters.read_from_string(
        write_timeline(read_timeline(report(*pieces)), "otio").decode(), "otio_json"
    )
    last = list(timeline.find_clips())[-1].range_in_parent()
    assert last.end_time_exclusive().value == round(pieces[-1]["master_end"] * 48_000)


def test_where_two_pieces_overlap_the_later_one_gives_way() -> None:
    text = edl(report(match(0.0, 10.0, 0.0), match(9.0, 20.0, 30.0), match(15.0, 16.0, 50.0), frame_rate="25"))
    assert events(text) == [
        ["00:00:00:00", "00:00:10:00", "00:00:00:00", "00:00:10:00"],
        ["00:00:31:00", "00:00:41:00", "00:00:10:00", "00:00:20:00"],
    ]


def test_midi_markers_stand_at_their_second_whatever_the_session_counts_in() -> None:
    written = write_timeline(read_timeline(report(*EDITED)), "midi")
    file = mido.MidiFile(file=io.BytesIO(written))
    at_s, told = 0.0, []
    for message in file:
        at_s += message.time
        if message.type == "marker":
            told.append((round(at_s, 3), message.text))
    assert told == [
        (0.0, "dub 2440.0 ms late"),
        (100.0, "missing in dub: 12.000 s"),
        (112.0, "dub 9560.0 ms early"),
        (300.0, "only in dub: 10.000 s"),
        (300.0, "dub 440.0 ms late"),
    ]


def test_reaper_gets_a_marker_wherever_something_changes() -> None:
    written = write_timeline(read_timeline(report(*EDITED)), "reaper").decode()
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [row["#"] for row in rows] == ["M1", "M2", "M3", "M4", "M5"]
    assert [float(row["Start"]) for row in rows] == [0.0, 100.0, 112.0, 300.0, 300.0]
    assert rows[1]["Name"] == "missing in dub: 12.000 s"


@pytest.mark.parametrize("name", ['a\n001  X A C 00"', "=cmd|x", "\u202egnp.wav", "日本語_dub_ja.wav", "\x1b[2J.wav"])
@pytest.mark.parametrize("kind", sorted(FORMATS))
def test_no_name_breaks_a_line_or_a_format(name: str, kind: str) -> None:
    written = write_timeline(read_timeline(report(match(0.0, 10.0, 1.0), name=name)), kind)
    if kind == "edl":
        assert len(events(written.decode())) == 1
        assert written.decode().isprintable() or all(line.isprintable() for line in written.decode().splitlines())
    else:
        assert b"\x1b[2J" not in written


@pytest.mark.parametrize(
    "broken",
    [None, {}, report(), report({"kind": "unmatched", "dub_start": 0.0, "dub_end": 9.0}), {"timeline": "none"}],
)
def test_a_report_that_places_nothing_is_refused_in_words(broken: object) -> None:
    with pytest.raises(SyncdError) as refused:
        read_timeline(broken)
    assert refused.value.code is ErrorCode.NOT_FOUND
