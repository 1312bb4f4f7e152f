import base64
import copy
import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import (
    AiResult,
    AudioTrack,
    CacheUse,
    Candidate,
    Coverage,
    Estimate,
    Failure,
    Inconclusive,
    MeasuredSide,
    MediaInfo,
    MethodResult,
    MethodStatus,
    Rate,
    Result,
    Segment,
    SegmentKind,
    Stem,
    Verdict,
)
from syncd.errors import ErrorCode, SyncdError, error_advice
from syncd.reports.facts import Report, new_analysis_id
from syncd.reports.sidecar import build_report, report_to_text, schema_text
from tests.material.report_examples import MOMENT, PROCESSING, SIDE, result, subject

SCHEMA = json.loads(schema_text())


def closed(schema: Any) -> Any:
    """The schema with every described object closed: readers tolerate new names, the writer may not invent any."""
    if isinstance(schema, list):
        return [closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items() if key != "allOf"}
    if "properties" in inner and "required" in inner:
        inner["additionalProperties"] = False
    return inner


OPEN_VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
CLOSED_VALIDATOR = jsonschema.Draft202012Validator(closed(SCHEMA))


def built(outcome: Result | Failure, **changes: Any) -> Report:
    return build_report(subject(**changes), outcome, PROCESSING, syncd_version="0.1.0")


def check(report: Report) -> Report:
    """Validate what a reader would read, and hand that on."""
    read: Report = json.loads(report_to_text(report))
    OPEN_VALIDATOR.validate(read)
    CLOSED_VALIDATOR.validate(read)
    assert read == report
    return read


def test_what_came_from_the_cache_is_told_where_there_is_one() -> None:
    use = CacheUse(("master",), ("The cache /c could not be written to: No space left on device.",))
    with_cache = replace(PROCESSING, cache=use)
    processing = check(build_report(subject(), result(), with_cache, syncd_version="0.1.0"))["processing"]
    assert processing["from_cache"] == ["master"]
    assert processing["cache_warnings"] == list(use.notes)
    assert "from_cache" not in check(built(result()))["processing"]


finite = st.floats(-1e6, 1e6)
shares = st.floats(0.0, 1.0)
# Names of files reach reasons and messages, so any text may hold the surrogates that stand for bytes.
texts = st.text(st.characters(), max_size=20)
estimates = st.builds(Estimate, finite, shares, st.floats(0.0, 1e4))
inconclusive = st.builds(Inconclusive, st.lists(texts, max_size=2).map(tuple))
metadata = st.dictionaries(
    texts,
    st.one_of(texts, st.integers(), st.floats(), st.booleans(), st.none(), st.lists(st.floats(), max_size=2)),
    max_size=3,
)
sides = st.builds(
    MeasuredSide,
    st.floats(0.0, 1e6),
    st.integers(8_000, 192_000),
    st.integers(1, 24),
    st.sampled_from(["pcm_s16le", "aac", "flac", "dts", "opus", "pcm_f32be", "ac3"]),
    st.sampled_from(["wav", "matroska,webm", "mov,mp4,m4a,3gp,3g2,mj2"]),
    st.integers(0, 7),
    st.none() | st.just("01:00:00:00"),
    st.none() | st.sampled_from(["25", "24000/1001", "23.976", "nonsense", "1/0"]),
    st.none() | st.floats(0.0, 50.0),
)
methods = st.builds(
    MethodResult,
    st.sampled_from(["correlation", "spectral"]),
    st.sampled_from(MethodStatus),
    estimates | inconclusive,
    st.floats(),
    st.floats(0.0, 1e4),
    metadata,
)
ais = st.builds(
    AiResult,
    st.sampled_from(["wav2vec2", "yamnet", "spectral-embedding"]),
    texts,
    estimates | inconclusive,
    st.none() | st.floats(-1.0, 1.0),
    st.none() | shares,
    shares,
    st.integers(0, 10_000),
    texts,
    st.sampled_from(["float32", "bfloat16"]),
    st.integers(1, 64),
    st.floats(0.0, 1e4),
)
ends = st.none() | finite
segments = st.builds(
    Segment, st.sampled_from(SegmentKind), ends, ends, ends, ends, ends, ends, ends, st.none() | shares
)
rates = st.builds(
    Rate, st.floats(0.5, 2.0), st.none() | st.floats(0.0, 1e3), st.none() | st.just("25/23.976"), st.none() | finite
)


@st.composite
def results(draw: st.DrawFn) -> Result:
    verdict = draw(st.sampled_from(Verdict))
    decided = verdict not in (Verdict.INCONCLUSIVE, Verdict.NO_MATCH)
    return Result(
        master=draw(sides),
        dub=draw(sides),
        verdict=verdict,
        review=draw(st.booleans()),
        consensus=draw(estimates if decided else st.none() | estimates),
        rate=draw(st.none() | rates),
        timeline=tuple(draw(st.lists(segments, max_size=3))),
        coverage=Coverage(draw(shares), draw(shares)),
        candidates=tuple(draw(st.lists(st.builds(Candidate, finite, finite), max_size=2))),
        method_results=tuple(draw(st.lists(methods, max_size=2))),
        overall_confidence=draw(shares),
        method_agreement=draw(st.none() | shares),
        channels_used=draw(texts),
        reasons=tuple(draw(st.lists(texts, max_size=2))),
        warnings=tuple(draw(st.lists(texts, max_size=2))),
        settings=draw(metadata),
        stage_seconds=draw(st.dictionaries(texts, st.floats(0.0, 1e4), max_size=2)),
        ai=draw(st.none() | ais),
    )


@given(results())
def test_every_result_makes_a_report_that_the_schema_describes(outcome: Result) -> None:
    report = check(built(outcome))
    assert report["verdict"] == outcome.verdict.value
    assert "\n" not in report["sync_status"]


@given(
    st.builds(
        Failure,
        st.sampled_from(ErrorCode),
        texts,
        st.dictionaries(texts, texts | st.integers() | st.floats() | st.lists(texts, max_size=2), max_size=2),
    )
)
def test_every_failure_makes_a_report_that_says_what_to_do(failure: Failure) -> None:
    report = check(built(failure, job_id=None))
    assert (report["status"], report["verdict"], report["consensus_offset"]) == ("failed", "inconclusive", None)
    assert report["error"]["code"] == failure.code.value
    assert report["recommendations"] == [error_advice(failure.code)]


def test_the_schema_is_a_schema_and_describes_every_field() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    def undescribed(schema: Any, where: str) -> list[str]:
        if not isinstance(schema, dict):
            return []
        fields = schema.get("properties", {}).items()
        missing = [f"{where}.{name}" for name, field in fields if not field.get("description")]
        deeper = [each for name, field in fields for each in undescribed(field, f"{where}.{name}")]
        return missing + deeper + undescribed(schema.get("items"), f"{where}[]")

    assert undescribed(SCHEMA, "report") == []
    assert undescribed(SCHEMA["$defs"]["side"], "side") == []
    assert undescribed(SCHEMA["$defs"]["segment"], "segment") == []


def test_a_reader_with_this_schema_tolerates_a_later_optional_field() -> None:
    report = copy.deepcopy(built(result()))
    report["added_later"] = report["master"]["added_later"] = 1
    OPEN_VALIDATOR.validate(report)
    with pytest.raises(jsonschema.ValidationError):
        CLOSED_VALIDATOR.validate(report)


def test_the_fields_stand_in_the_order_of_the_design() -> None:
    names = list(built(result()))
    listed = [name for name in SCHEMA["properties"] if name in names]
    assert names == listed
    assert names[:3] == ["schema", "syncd_version", "analysis_id"]
    assert names[-1] == "error"


def test_what_a_model_says_stands_beside_the_answer_and_not_in_it() -> None:
    ai = AiResult("wav2vec2", "base 0123", Estimate(-2.4601, 0.9, 3.0), 0.41, 0.975, 0.93, 45, "cpu", "float32", 1, 9.5)
    report = check(built(replace(result(-2.456), ai=ai)))
    told = report["ai_result"]
    assert report["consensus_offset"]["offset_seconds"] == -2.456
    assert (told["model"], told["checkpoint"], told["windows"], told["device"]) == ("wav2vec2", "base 0123", 45, "cpu")
    assert (told["embedding_similarity"], told["temporal_consistency"]) == (0.41, 0.975)
    assert told["offset"] == {"offset_seconds": -2.4601, "confidence": 0.9, "uncertainty_ms": 3.0}
    silent = check(built(replace(result(-2.456), ai=replace(ai, outcome=Inconclusive(("nothing changes",))))))
    assert (silent["ai_result"]["offset"], silent["ai_result"]["reasons"]) == (None, ["nothing changes"])


def test_the_offset_is_told_in_seconds_samples_frames_and_timecode() -> None:
    report = check(built(result(-2.456)))
    offset = report["consensus_offset"]
    assert offset["offset_seconds"] == -2.456
    assert (offset["offset_samples"], offset["sample_rate"]) == (-117_888, 48_000)
    assert offset["offset_frames"] == {
        "23.976": -58.9,
        "24.0": -58.9,
        "25.0": -61.4,
        "29.97": -73.6,
        "30.0": -73.7,
        "48.0": -117.9,
        "50.0": -122.8,
        "59.94": -147.2,
        "60.0": -147.4,
    }
    assert offset["offset_timecode"] == "-00:00:02:11 @25"


def test_samples_are_counted_at_the_dubs_own_rate() -> None:
    report = built(result(1.0, dub=replace(SIDE, sample_rate_hz=44_100)))
    assert (report["consensus_offset"]["offset_samples"], report["consensus_offset"]["sample_rate"]) == (44_100, 44_100)


def test_the_timecode_counts_at_the_masters_whole_frame_rate() -> None:
    report = built(result(-1.5, master=replace(SIDE, frame_rate="24/1")))
    assert report["consensus_offset"]["offset_timecode"] == "-00:00:01:12 @24"


@pytest.mark.parametrize(
    ("frame_rate", "start", "timecode"),
    [
        ("23.976", "01:00:00:00", "-00:01:00:00 @23.976"),
        ("29.97", "01:00:00;00", "-00:01:00;02 @29.97"),
        ("29.97", "01:00:00:00", "-00:01:00:00 @29.97"),
        ("29.97", None, "-00:01:00;02 @29.97"),
        ("30000/1001", None, "-00:01:00;02 @29.97"),
    ],
)
def test_the_timecode_counts_at_fractional_rates_as_the_master_does(
    frame_rate: str, start: str | None, timecode: str
) -> None:
    """Sixty times the second's nominal count of frames, minus none."""
    master = replace(SIDE, frame_rate=frame_rate, start_timecode=start)
    report = check(built(result(-60.06, master=master)))
    assert report["consensus_offset"]["offset_timecode"] == timecode


def test_what_the_timecodes_alone_say_stands_beside_the_offset() -> None:
    report = check(built(replace(result(-2.456), timecode_offset_s=-2.44)))
    assert report["consensus_offset"]["timecode_offset_seconds"] == -2.44
    assert "timecode_offset_seconds" not in built(result(-2.456))["consensus_offset"]


def test_a_side_of_stems_names_them_all_and_gets_no_command_for_one_of_them() -> None:
    plain = subject()
    left = plain.dub
    stems = tuple(Stem(name, left.path.with_name(f"d.{name}.wav"), left.identity, left.stamp) for name in ("L", "R"))
    asked = replace(plain, dub=replace(left, stems=stems))
    report = check(build_report(asked, result(-2.456), PROCESSING, syncd_version="0.1.0"))
    assert [stem["channel"] for stem in report["dub"]["stems"]] == ["L", "R"]
    assert report["correction"] is None
    assert "stems" not in report["master"]


def test_no_match_gives_no_offset_even_if_a_method_had_one() -> None:
    report = check(built(result(-2.456, Verdict.NO_MATCH, reasons=("Nothing in common.",))))
    assert report["consensus_offset"] is None
    assert report["correction"] is None


@pytest.mark.parametrize("consensus", [None, Estimate(math.nan, 0.9, 0.1), Estimate(1.0, 0.9, math.inf)])
def test_a_verdict_without_a_finite_offset_is_refused_as_our_own_fault(consensus: Estimate | None) -> None:
    with pytest.raises(SyncdError) as caught:
        built(result(consensus=consensus))
    assert caught.value.code is ErrorCode.INTERNAL


def test_figures_that_are_not_finite_become_null() -> None:
    method = replace(result().method_results[0], quality_score=math.inf, metadata={"peak": math.nan, "all": [math.inf]})
    report = check(built(result(method_results=(method,))))
    assert report["method_results"][0]["quality_score"] is None
    assert report["method_results"][0]["metadata"] == {"peak": None, "all": [None]}


def test_values_are_rounded_to_what_carries_meaning() -> None:
    report = built(result(-0.12345678949, review=True))
    assert report["consensus_offset"]["offset_seconds"] == -0.123457
    assert str(built(result(-1e-9, Verdict.IN_SYNC))["consensus_offset"]["offset_seconds"]) == "0.0"


def test_a_name_of_odd_bytes_is_readable_and_whole() -> None:
    name = b'/drop/caf\xe9 "x" \xf0\x9f\x8e\xac\n_dub_fr.wav'
    odd = subject(Path(os.fsdecode(name)), Path("/drop/Film 🎬_master.wav"))
    report = check(build_report(odd, result(), PROCESSING, syncd_version="0.1.0"))
    assert report["dub"]["path"] == '/drop/caf\\xe9 "x" 🎬\n_dub_fr.wav'
    assert base64.b64decode(report["dub"]["path_base64"]) == name
    assert report["master"]["path"] == "/drop/Film 🎬_master.wav"
    assert "path_base64" not in report["master"]


def test_a_failed_report_tells_what_the_probe_knew() -> None:
    info = MediaInfo("wav", 12.5, (AudioTrack(0, "pcm_s16le", 48_000, 1, "mono"),), "01:00:00:00", "25")
    failure = Failure(ErrorCode.MEDIA_TRUNCATED, "The file\nends early.", {"expected_bytes": 10})
    report = check(built(failure, dub_info=info))
    assert (report["dub"]["codec"], report["dub"]["duration_seconds"], report["dub"]["track"]) == ("pcm_s16le", 12.5, 0)
    assert report["master"]["codec"] is None
    assert report["sync_status"] == "The pair could not be analysed: The file ends early."
    assert report["review"] is True


def test_a_failed_report_guesses_no_track_of_several() -> None:
    tracks = tuple(AudioTrack(i, "aac", 48_000, 2, "stereo") for i in range(2))
    failure = Failure(ErrorCode.WORKER_STALLED, "It hung.")
    info = MediaInfo("mov", 12.5, tracks)
    assert built(failure, dub_info=info)["dub"]["track"] is None
    assert built(failure, dub_info=info, dub_track=1)["dub"]["track"] == 1
    assert built(failure, dub_info=info, dub_track=5)["dub"]["codec"] is None


def test_settings_hold_the_profile_and_every_threshold() -> None:
    settings = built(result())["settings"]
    assert settings == {
        "peak_deviations": 8.0,
        "methods": ["correlation", "spectral"],
        "ai": "off",
        "confidence_threshold": 0.8,
        "html": True,
    }


def test_an_analysis_is_named_by_its_utc_time_and_eight_digits() -> None:
    assert new_analysis_id(MOMENT, "abc1234567") == "analysis_20260827_143052_abc12345"
