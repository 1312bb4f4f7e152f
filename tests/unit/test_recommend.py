import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import (
    TOLERANCES,
    Candidate,
    Estimate,
    Failure,
    Rate,
    Segment,
    SegmentKind,
    Tolerance,
    Verdict,
)
from syncd.errors import ErrorCode, error_advice
from syncd.reports.correction import correction, shell_line
from syncd.reports.master_clock import native_rate
from syncd.reports.recommend import (
    early_or_late,
    failure_recommendations,
    failure_status,
    recommendations,
    sync_status,
)
from tests.material.report_examples import SETTINGS, SIDE, result

EBU = TOLERANCES["ebu-r37"]
DUB = Path("/drop/Film_dub_fr.wav")


def test_a_late_dub_is_called_late() -> None:
    said = "The dub is 2.456 s late (61.4 frames at 25 fps): outside EBU R37 (40 ms early, 60 ms late)."
    assert sync_status(result(-2.456), EBU) == said


def test_an_early_dub_is_called_early_and_counted_at_the_masters_rate() -> None:
    early = result(0.25, master=replace(SIDE, frame_rate="24000/1001"))
    said = "The dub is 250.0 ms early (6.0 frames at 23.976 fps): outside ITU-R BT.1359 (45 ms early, 125 ms late)."
    assert sync_status(early, TOLERANCES["itu-bt1359"]) == said


def test_in_sync_says_how_far_within_what() -> None:
    said = "The dub is in sync: 12.0 ms late, within EBU R37 (40 ms early, 60 ms late)."
    assert sync_status(result(-0.012, Verdict.IN_SYNC), EBU) == said
    exact = "The dub is in sync: less than 0.1 ms off, within the tolerance of this profile (5 ms early, 7.5 ms late)."
    assert sync_status(result(0.00001, Verdict.IN_SYNC), Tolerance("custom", 5.0, 7.5)) == exact


def test_another_programme_is_told_with_the_reasons() -> None:
    unlike = result(None, Verdict.NO_MATCH, reasons=("Nothing in common was found.", "The lengths differ by half."))
    said = "These do not seem to be the same programme: Nothing in common was found; The lengths differ by half."
    assert sync_status(unlike, EBU) == said


def test_no_answer_is_told_with_the_reasons() -> None:
    silent = result(None, Verdict.INCONCLUSIVE, reasons=("the dub is silent",))
    assert sync_status(silent, EBU) == "No offset can be given: the dub is silent."
    assert sync_status(result(None, Verdict.INCONCLUSIVE), EBU) == "No offset can be given."


def test_drift_tells_the_speed_and_the_start() -> None:
    fast = result(-0.5, Verdict.DRIFT, rate=Rate(25 / 23.976, name="25/23.976"))
    said = "The dub drifts: it plays 4.271 % faster than the master (25/23.976) and is 500.0 ms late at its start."
    assert sync_status(fast, EBU) == said
    slow = result(0.0, Verdict.DRIFT, rate=Rate(1 - 50e-6))
    assert "it plays 50.0 ppm slower than the master and is less than 0.1 ms off" in sync_status(slow, EBU)


def test_edits_are_counted() -> None:
    kinds = (SegmentKind.MATCH, SegmentKind.MISSING, SegmentKind.MATCH, SegmentKind.UNMATCHED)
    timeline = tuple(Segment(kind, 0.0, 1.0, 0.0, 1.0) for kind in kinds)
    said = sync_status(result(-1.0, Verdict.EDITED, timeline=timeline), EBU)
    assert "(2 matching, 1 missing): no single offset fits it; its longest match is 1.000 s late." in said


def test_a_failure_is_told_on_one_line_with_its_advice() -> None:
    failure = Failure(ErrorCode.MEDIA_UNREADABLE, "a\nb\udcff.wav is not media.")
    assert failure_status(failure) == "The pair could not be analysed: a b\\xff.wav is not media."
    assert failure_recommendations(failure) == [error_advice(ErrorCode.MEDIA_UNREADABLE)]


@given(st.floats(-1e5, 1e5))
def test_words_say_early_or_late_and_never_plus_or_minus(offset_s: float) -> None:
    words = early_or_late(offset_s)
    assert "-" not in words
    assert "+" not in words
    if abs(offset_s) >= 0.0001:
        assert words.endswith("late" if offset_s < 0 else "early")


@pytest.mark.parametrize(
    ("told", "name"),
    [("25/1", "25.0"), ("23.976", "23.976"), ("30000/1001", "29.97"), ("12", "25.0"), (None, "25.0"), ("x", "25.0")],
)
def test_a_frame_rate_is_known_by_its_value(told: str | None, name: str) -> None:
    assert native_rate(told)[0] == name


def test_a_shift_is_advised_with_the_command_that_does_it() -> None:
    late = result(-2.456)
    mend = correction(late, DUB)
    assert mend is not None
    move, command = recommendations(late, SETTINGS, mend)
    assert move == "Move the dub 2.456 s (117888 samples at 48000 Hz) earlier: cut that much from its head."
    assert command.endswith(mend["shell"])
    assert "silence in front" in recommendations(result(2.456), SETTINGS, None)[0]


def test_in_sync_needs_nothing() -> None:
    assert recommendations(result(0.0, Verdict.IN_SYNC), SETTINGS, None) == ["Nothing needs to be done."]


def test_a_review_for_the_warnings_sake_claims_no_limit_crossed() -> None:
    asked = result(-0.2, review=True, warnings=("The method speech vouches for another offset: 0.3 s early.",))
    (advice,) = [line for line in recommendations(asked, SETTINGS, None) if line.startswith("Check")]
    assert advice == "Check it by eye and ear: the warnings say why."


def test_one_place_that_fits_is_not_called_several() -> None:
    undecided = result(None, Verdict.INCONCLUSIVE, candidates=(Candidate(-8.0, 6.6),), reasons=("Too little.",))
    assert recommendations(undecided, SETTINGS, None)[0].startswith("One place fits in part")


def test_a_dub_in_another_key_at_the_same_speed_is_told_so() -> None:
    raised = result(-0.4, rate=Rate(1.0, 1.0, None, 1.003))
    assert "The dub's pitch is raised by 1.00 semitones; no command here changes that." in recommendations(
        raised, SETTINGS, None
    )


def test_a_review_says_why() -> None:
    unsure = result(-0.01, Verdict.IN_SYNC, review=True, overall_confidence=0.62)
    assert "the confidence is 0.62, below the 0.8" in recommendations(unsure, SETTINGS, None)[-1]
    wide = result(-0.05, Verdict.IN_SYNC, review=True, consensus=Estimate(-0.05, 0.9, 25.0))
    assert "known to 25.0 ms either way" in recommendations(wide, SETTINGS, None)[-1]


def test_what_repeats_is_offered_for_choice() -> None:
    loop = result(None, Verdict.INCONCLUSIVE, candidates=(Candidate(-1.0, 9.0), Candidate(3.0, 8.9)))
    assert "1.000 s late, 3.000 s early" in recommendations(loop, SETTINGS, None)[0]


def test_a_codecs_delay_is_never_silent() -> None:
    aac = replace(SIDE, codec="aac", container="matroska,webm", codec_delay_ms=21.33)
    assert (
        "21.3 ms of the dub's sound (aac in matroska,webm)"
        in recommendations(result(-1.0, dub=aac), SETTINGS, None)[-1]
    )


@pytest.mark.parametrize("verdict", [v for v in Verdict if v is not Verdict.OFFSET])
def test_one_piece_at_the_masters_speed_has_a_command_for_an_offset_only(verdict: Verdict) -> None:
    assert correction(result(-0.03, verdict), DUB) is None


def test_a_shift_below_half_a_sample_has_no_command() -> None:
    assert correction(result(0.000001), DUB) is None


@pytest.mark.parametrize(
    ("codec", "channels", "extension", "encoder"),
    [
        ("pcm_s16le", 2, "wav", "pcm_s16le"),
        ("pcm_s24be", 6, "wav", "pcm_s24le"),
        ("pcm_f32le", 2, "wav", "pcm_f32le"),
        ("flac", 2, "flac", "flac"),
        ("flac", 16, "wav", "pcm_s24le"),
        ("aac", 2, "m4a", "aac"),
        ("ac3", 6, "mp4", "ac3"),
        ("eac3", 8, "flac", "flac"),
        ("opus", 6, "flac", "flac"),
        ("dts", 6, "flac", "flac"),
        ("wmav2", 2, "flac", "flac"),
    ],
)
def test_the_corrected_dub_keeps_its_codec_or_loses_nothing(
    codec: str, channels: int, extension: str, encoder: str
) -> None:
    mend = correction(result(dub=replace(SIDE, codec=codec, channels=channels)), DUB)
    assert mend is not None
    assert mend["argv"][-1] == f"file:/drop/Film_dub_fr.synced.{extension}"
    assert mend["argv"][mend["argv"].index("-c:a") + 1] == encoder


@pytest.mark.parametrize(("container", "option"), [("mov,mp4,m4a,3gp,3g2,mj2", "-copyts"), ("mpegts", "null")])
def test_a_containers_own_clock_is_kept(container: str, option: str) -> None:
    mend = correction(result(dub=replace(SIDE, container=container)), DUB)
    plain = correction(result(), DUB)
    assert mend is not None
    assert plain is not None
    assert option in mend["argv"]
    assert option not in plain["argv"]


def test_the_chosen_track_alone_is_mapped_and_nothing_is_overwritten() -> None:
    mend = correction(result(dub=replace(SIDE, track=3)), DUB)
    assert mend is not None
    assert mend["argv"][mend["argv"].index("-map") + 1] == "0:a:3"
    assert "-n" in mend["argv"]
    assert "argv_base64" not in mend
    assert shlex.split(mend["shell"]) == mend["argv"]


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_the_line_for_bash_is_printable_and_on_one_line(name: str) -> None:
    line = shell_line(["ffmpeg", "-i", f"file:/drop/{name}"])
    assert line.isprintable()
