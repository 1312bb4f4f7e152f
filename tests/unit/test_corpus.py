"""The corpus is honest: what a case says is true of its sound, found again by means that share no code with it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import av
import numpy as np
import pytest
import scipy.fft
import scipy.signal

from syncd.domain import Coverage, Estimate, MeasuredSide, Rate, Result, Segment, SegmentKind, Verdict
from tests.benchmarks.bench_corpus import Judged, calibration, table, written
from tests.material import spoken
from tests.material.corpus import Case, corpus, heard_truth, render_case, write_case
from tests.material.dirt import Bell, Compressor, Dirt, Equaliser, Level, Noise, Polarity, Reverb, Swapped, treat
from tests.material.judging import Outcome, judge
from tests.material.kinds import KINDS
from tests.material.kinds.mixes import LOSSY
from tests.material.kinds.start import PAL
from tests.material.programme import Programme
from tests.material.recipes import CaseTruth, Piece, Side, Speed, Stretcher, TrueCut, TrueSegment
from tests.material.rendering import through_codec
from tests.material.script import render_line
from tests.material.seeds import RATE_HZ, Samples
from tests.material.speed import played
from tests.material.stretch import stretched
from tests.material.writers import Encoding

WAV = (Encoding(".wav", "wav", "pcm_s16le"),)


def small(**changes: object) -> Case:
    """A case of 12 s without dialogue, so that nothing but the shared bed is heard."""
    plain = Case(
        name="small",
        kind="plain",
        seed=3,
        duration_s=12.0,
        master=Side(language=None),
        dub=Side(language=None),
        pieces=(Piece("programme", 12 * RATE_HZ, -60_000),),
        speed=Speed(phase_s=0.4 / RATE_HZ),
    )
    return dataclasses.replace(plain, **changes)  # type: ignore[arg-type] # fields by name


def lag_s(one: Samples, other: Samples) -> float:
    """How much later ``one`` has what ``other`` has, to parts of a sample; both ``(n,)`` at 48 kHz."""
    size = scipy.fft.next_fast_len(one.size + other.size, real=True)
    spectra = [scipy.fft.rfft(sound * scipy.signal.windows.tukey(sound.size, 0.1), size) for sound in (one, other)]
    cross = spectra[0] * np.conj(spectra[1])
    hz = np.arange(cross.size) * (RATE_HZ / size)
    cross = np.where((hz > 100.0) & (hz < 12_000.0), cross / (np.abs(cross) + 1e-12), 0.0)
    dense = scipy.fft.irfft(cross, 16 * size)
    best = int(np.argmax(np.abs(dense)))
    before, peak, after = (float(dense[(best + step) % dense.size]) for step in (-1, 0, 1))
    place = best + 0.5 * (before - after) / (before - 2.0 * peak + after)
    return (place if place < dense.size / 2 else place - dense.size) / (16 * RATE_HZ)


def line_error_s(case: Case, at_s: float, *, window_s: float = 1.0) -> float:
    """How far the dub around ``at_s`` lies from where the case's truth puts it in the master.

    The window is played at the master's speed by a spectral resampling of its own and compared by its phase.
    """
    master, dub, _ = render_case(case)
    return window_error_s(case.truth(), master, dub, at_s, window_s=window_s)


def window_error_s(truth: CaseTruth, master: Samples, dub: Samples, at_s: float, *, window_s: float = 1.0) -> float:
    segment = next(s for s in truth.segments if s.dub_start_s <= at_s <= s.dub_end_s)
    n = round(window_s * RATE_HZ)
    first = round(at_s * RATE_HZ) - n // 2
    margin = 4096
    raw = dub[:, first - margin : first + n + margin].mean(axis=0).astype(np.float64)
    dense = scipy.signal.resample(raw * scipy.signal.windows.tukey(raw.size, 0.1), 16 * raw.size)
    # Where in the dub the master's samples from `begin` on should lie.
    begin = round((truth.rate * first / RATE_HZ + segment.offset_s) * RATE_HZ)
    moments_s = ((begin + np.arange(n)) / RATE_HZ - segment.offset_s) / truth.rate
    place = (moments_s * RATE_HZ - (first - margin)) * 16.0
    return lag_s(np.interp(place, np.arange(dense.size), dense), master[:, begin : begin + n].mean(axis=0))


# ---------------------------------------------------------------- the cases


def test_the_corpus_has_several_hundred_cases_of_every_kind_and_each_is_possible() -> None:
    cases = corpus()
    assert len(cases) >= 300
    assert len({case.name for case in cases}) == len(cases)
    assert {case.kind for case in cases} == set(KINDS)
    for case in cases:
        truth = case.truth()
        assert case.dub_duration_s > 10.0, case.name
        assert 0.9 < truth.rate < 1.1, case.name
        assert (truth.expects == "refusal") == (not truth.segments), case.name
        for segment in truth.segments:
            assert 0.0 <= segment.dub_start_s < segment.dub_end_s <= case.dub_duration_s + 1e-6, case.name
            ends_s = [truth.rate * end_s + segment.offset_s for end_s in (segment.dub_start_s, segment.dub_end_s)]
            assert -1e-4 < ends_s[0] < ends_s[1] < case.duration_s + 1e-4, case.name
        places_s = [cut.dub_s for cut in truth.cuts]
        assert places_s == sorted(places_s), case.name


def test_the_same_seed_draws_the_same_cases_and_asking_for_fewer_changes_none() -> None:
    everything = {case.name: case for case in corpus()}
    assert everything == {case.name: case for case in corpus()}
    for case in corpus(["edits", "lossy"], 3):
        assert case == everything[case.name]
    assert corpus(["plain"], 1, seed=1) != corpus(["plain"], 1, seed=2)


def test_an_edited_case_has_more_than_one_segment_and_an_unrelated_one_none() -> None:
    for case in corpus(["edits", "pal_edits"]):
        assert len(case.truth().segments) >= 2
        assert case.truth().cuts
    for case in corpus(["unrelated", "nothing"]):
        assert case.truth().offset_s is None


def test_a_case_is_rendered_the_same_each_time() -> None:
    case = small(
        duration_s=8.0,
        master=Side(language=1, bed_db=-9.0),
        dub=Side(language=2, speech="espeak", remix_seed=5, dirt=(Noise(-30.0), Reverb(0.4, 0.0))),
        pieces=(Piece("programme", 4 * RATE_HZ, 0), Piece("foreign", 3 * RATE_HZ, seed=9)),
    )
    first, second = render_case(case), render_case(case)
    assert np.array_equal(first.master, second.master)
    assert np.array_equal(first.dub, second.dub)


# ---------------------------------------------------------------- speed


@pytest.mark.parametrize(
    "speed", [Speed(PAL, 3e-6), Speed(1.0 / PAL), Speed(1.00003, 1e-5), Speed(0.94), Speed(1.0, 7e-6)]
)
def test_sound_at_another_speed_is_heard_at_the_moments_that_the_truth_states(speed: Speed) -> None:
    rng = np.random.default_rng(1)
    hz, turn = rng.uniform(50.0, 15_000.0, 12), rng.uniform(0.0, 6.28, 12)

    def sines(t_s: np.ndarray) -> np.ndarray:
        return np.asarray(0.05 * np.sin(2.0 * np.pi * hz[:, np.newaxis] * t_s + turn[:, np.newaxis]).sum(axis=0))

    source = sines(np.arange(10 * RATE_HZ) / RATE_HZ).astype(np.float32)[np.newaxis]
    heard = played(source, speed, 8 * RATE_HZ)[0, 4096:]
    expected = sines(speed.rate * (4096 + np.arange(heard.size)) / RATE_HZ + speed.phase_s)
    assert float(np.sqrt(np.mean(np.square(heard - expected)) / np.mean(np.square(expected)))) < 10 ** (-70 / 20)


def test_a_wobbling_speed_stays_as_near_to_its_line_as_it_says() -> None:
    speed = Speed(1.0, wobble_share=0.002, wobble_hz=0.5)
    ramp = np.arange(12 * RATE_HZ, dtype=np.float64)[np.newaxis] / RATE_HZ
    heard = played(ramp.astype(np.float32), speed, 10 * RATE_HZ)[0].astype(np.float64)
    away_s = heard[RATE_HZ:-RATE_HZ] - np.arange(RATE_HZ, 9 * RATE_HZ) / RATE_HZ
    assert float(np.abs(away_s).max()) == pytest.approx(speed.wobble_s, rel=0.02)
    assert abs(float(away_s.mean())) < 1e-5


@pytest.mark.parametrize("rate", [PAL, 1.0 / PAL, 1.0001, 0.9447])
def test_a_dub_at_another_speed_lies_on_its_line_to_a_hundredth_of_a_millisecond(rate: float) -> None:
    case = small(speed=Speed(rate, 0.37 / RATE_HZ))
    master, dub, _ = render_case(case)
    for at_s in (3.0, 9.5):
        assert abs(window_error_s(case.truth(), master, dub, at_s)) < 1e-5


@pytest.mark.parametrize("stretcher", ["atempo", "vocoder", "wsola"])
@pytest.mark.parametrize("rate", [25 / 24, 0.95])
def test_a_stretched_dub_keeps_its_line_and_its_pitch(stretcher: Stretcher, rate: float) -> None:
    sound = Programme(4, 60.0).bed(0, 24 * RATE_HZ)
    n_samples = round(23 * RATE_HZ / rate)
    slower = stretched(sound, Speed(rate, stretcher=stretcher), n_samples)
    assert slower.shape == (2, n_samples)
    assert abs(_rise_lag_s(sound, slower, rate)) < 0.003
    tone = np.tile(0.3 * np.sin(2.0 * np.pi * 440.0 / RATE_HZ * np.arange(4 * RATE_HZ)), (2, 1)).astype(np.float32)
    kept = stretched(tone, Speed(rate, stretcher=stretcher), 3 * RATE_HZ)
    assert _pitch_hz(kept) == pytest.approx(440.0, abs=1.5)
    raised = stretched(tone, Speed(1.0, stretcher=stretcher, semitones=1.0), 3 * RATE_HZ)
    assert _pitch_hz(raised) == pytest.approx(440.0 * 2 ** (1 / 12), abs=1.5)


def _pitch_hz(sound: Samples) -> float:
    middle = sound[0, RATE_HZ : 2 * RATE_HZ] * np.hanning(RATE_HZ)
    return float(np.argmax(np.abs(np.fft.rfft(middle))))


def _rise_lag_s(sound: Samples, stretched_sound: Samples, rate: float) -> float:
    """By the rises of the spectrum, 200 a second, the second put onto the first's clock."""
    curves = [_rises(sound), _rises(stretched_sound)]
    place = np.arange(len(curves[0])) / rate
    onto = np.stack([np.interp(place, np.arange(len(curves[1])), band) for band in curves[1].T], axis=1)
    size = scipy.fft.next_fast_len(2 * len(onto))
    cross = (scipy.fft.rfft(curves[0], size, axis=0) * np.conj(scipy.fft.rfft(onto, size, axis=0))).sum(axis=1)
    near = np.roll(scipy.fft.irfft(cross, size), 20)[:41]
    best = int(np.argmax(near))
    before, peak, after = near[best - 1 : best + 2]
    return float(best - 20 + 0.5 * (before - after) / (before - 2.0 * peak + after)) / 200.0


def _rises(sound: Samples) -> np.ndarray:
    frames = np.lib.stride_tricks.sliding_window_view(sound.mean(axis=0), 960)[::240] * np.hanning(960)
    bands = np.abs(np.fft.rfft(frames))[:, :200].reshape(len(frames), 20, 10).sum(axis=2)
    rises = np.maximum(np.diff(np.log(bands + 1e-3), axis=0), 0.0)
    return np.asarray(rises - rises.mean(axis=0))


# ---------------------------------------------------------------- edits


def test_each_segment_of_an_edited_dub_lies_where_the_truth_puts_it() -> None:
    second = RATE_HZ
    case = small(
        duration_s=20.0,
        pieces=(
            Piece("programme", 5 * second, 1234),
            Piece("foreign", 3 * second, seed=77),
            Piece("programme", 4 * second, 5 * second + 1234),
            Piece("programme", 4 * second, 13 * second + 4321),
        ),
        speed=Speed(1.001, 0.25 / RATE_HZ),
        expects="segments",
    )
    truth = case.truth()
    assert len(truth.segments) == 3
    assert [round(cut.dub_s, 1) for cut in truth.cuts] == [5.0, 8.0, 12.0]
    master, dub, _ = render_case(case)
    for at_s in (2.5, 10.0, 14.0):
        assert abs(window_error_s(truth, master, dub, at_s, window_s=2.0)) < 1e-5
    elsewhere = dataclasses.replace(truth, segments=(TrueSegment(5.0, 8.0, truth.segments[0].offset_s),))
    assert abs(window_error_s(elsewhere, master, dub, 6.5, window_s=2.0)) > 1e-4


def test_a_cut_within_black_may_be_anywhere_in_it() -> None:
    case = small(
        pieces=(Piece("programme", 5 * RATE_HZ, 0), Piece("programme", 4 * RATE_HZ, 7 * RATE_HZ)),
        blacks=((4.5, 5.25), (6.5, 7.5)),
        speed=Speed(),
        expects="segments",
    )
    dub = render_case(case).dub
    cut = heard_truth(case, dub, RATE_HZ).cuts[0]
    assert cut.dub_s == pytest.approx(5.0)
    assert cut.silent_from_s == pytest.approx(4.5, abs=0.02)
    assert cut.silent_to_s == pytest.approx(5.5, abs=0.02)


def test_a_leader_delays_the_dub_by_its_length() -> None:
    case = small(pieces=(Piece("slate", 5 * RATE_HZ), Piece("programme", 7 * RATE_HZ, 0)), speed=Speed())
    assert case.truth().offset_s == pytest.approx(-5.0)
    assert abs(line_error_s(case, 9.0)) < 1e-6


# ---------------------------------------------------------------- dirt, channels, codecs


@pytest.fixture(scope="module")
def bed() -> Samples:
    return Programme(4, 60.0).bed(0, 5 * RATE_HZ)


@pytest.mark.parametrize(
    ("dirt", "within_s"),
    [
        (Level(-12.0), 1e-9),
        (Noise(-20.0, pink=True), 1e-5),
        (Polarity(), 1e-9),
        (Swapped(), 1e-9),
        (Compressor(-6.0, 6.0), 1e-6),
        (Equaliser((Bell(900.0, 9.0, 0.4), Bell(4000.0, -12.0, 0.0))), 1e-6),
        (Equaliser((Bell(900.0, 9.0, 0.4), Bell(4000.0, -12.0, 0.0)), "minimum"), 1e-3),
        (Reverb(1.0, 0.0), 1e-5),
    ],
    ids=lambda value: type(value).__name__,
)
def test_dirt_changes_the_sound_and_not_its_time(bed: Samples, dirt: Dirt, within_s: float) -> None:
    treated = treat(bed, dirt, 1)
    assert treated.shape == bed.shape
    assert not np.allclose(treated, bed)
    side = 1 if isinstance(dirt, Swapped) else 0
    assert abs(lag_s(treated[side], bed[0])) <= within_s


def test_a_compressor_makes_the_loud_softer_against_the_soft(bed: Samples) -> None:
    def range_db(sound: Samples) -> float:
        power = np.square(sound).reshape(2, -1, 4800).mean(axis=(0, 2))
        return float(10.0 * np.log10(np.percentile(power, 95) / np.percentile(power, 20)))

    assert range_db(treat(bed, Compressor(-12.0, 8.0), 1)) < range_db(bed) - 3.0


@pytest.mark.parametrize("encoding", LOSSY, ids=lambda e: f"{e.codec}-{e.bit_rate // 1000}")
def test_a_lossy_codec_moves_the_sound_by_less_than_its_limit(bed: Samples, encoding: Encoding) -> None:
    decoded = through_codec(bed, encoding)
    assert decoded.shape == bed.shape
    assert abs(lag_s(decoded.mean(axis=0), bed.mean(axis=0))) < 1e-4


def test_remixed_beds_differ_and_lie_together() -> None:
    case = small(dub=Side(language=None, remix_seed=9), speed=Speed(phase_s=0.0), outside="programme")
    master, dub, _ = render_case(case)
    assert (
        abs(float(np.corrcoef(master[0, 60_000:], dub[0, : -60_000 or None][: master.shape[1] - 60_000])[0, 1])) < 0.95
    )
    assert abs(line_error_s(case, 6.0, window_s=3.0)) < 1e-3


def test_surround_has_its_dialogue_in_the_centre_and_folds_down_in_time() -> None:
    talking = small(master=Side(language=1, layout="5.1"), dub=Side(language=1, fold_down=True))
    master, dub, _ = render_case(talking)
    assert (master.shape[0], dub.shape[0]) == (6, 2)
    silent = render_case(dataclasses.replace(talking, master=Side(layout="5.1", language=None))).master
    changed = [float(np.abs(one - other).max()) > 1e-3 for one, other in zip(master, silent, strict=True)]
    assert changed == [False, False, True, False, False, False]
    assert abs(window_error_s(talking.truth(), master[:2], dub, 6.0, window_s=4.0)) < 1e-5


def test_other_sample_rates_and_mono_keep_the_moments() -> None:
    case = small(dub=Side(language=None, sample_rate_hz=16_000, layout="mono"))
    master, dub, rates_hz = render_case(case)
    assert rates_hz == (48_000, 16_000)
    assert dub.shape == (1, 12 * 16_000)
    back = scipy.signal.resample(dub, 12 * RATE_HZ, axis=1)
    assert abs(window_error_s(case.truth(), master, back, 6.0, window_s=3.0)) < 2e-5


# ---------------------------------------------------------------- speech


@pytest.mark.skipif(spoken.espeak() is None, reason="espeak-ng is not installed")
def test_lines_are_spoken_at_the_level_of_the_others() -> None:
    n = 20 * RATE_HZ
    ours, theirs = (Programme(3, 20.0, say=say).dialogue(2, 0, n)[0] for say in (spoken.say_line, render_line))
    loudness_db = [10.0 * np.log10(np.mean(np.square(sound[np.abs(sound) > 1e-3]))) for sound in (ours, theirs)]
    assert loudness_db[0] == pytest.approx(loudness_db[1], abs=4.0)
    assert float(np.abs(ours).max()) <= 0.5


def test_lines_are_made_without_the_program_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spoken, "espeak", lambda: None)
    n = 5 * RATE_HZ
    assert np.array_equal(
        Programme(3, 20.0, say=spoken.say_line).dialogue(2, 0, n), Programme(3, 20.0).dialogue(2, 0, n)
    )


def test_lines_start_at_their_slots_where_no_jitter_is_wanted() -> None:
    strict = [Programme(3, 20.0, jitter_s=0.0).dialogue(language, 0, 20 * RATE_HZ)[0] for language in (1, 2)]
    starts = [np.flatnonzero(np.diff((np.abs(sound) > 1e-4).astype(int), prepend=0) == 1) for sound in strict]
    first_s = [start[0] / RATE_HZ for start in starts]
    assert first_s[0] == pytest.approx(first_s[1], abs=0.08)


# ---------------------------------------------------------------- files


def test_a_written_case_can_be_read_and_has_the_channels_it_says(tmp_path: Path) -> None:
    wide = Side(language=None, layout="7.1", encodings=(Encoding(".wav", "wav", "pcm_s24le"),))
    case = small(duration_s=3.0, pieces=(Piece("programme", 3 * RATE_HZ),), master=wide)
    case = dataclasses.replace(case, dub=Side(language=None, encodings=(LOSSY[0], LOSSY[3])))
    files = write_case(case, tmp_path)
    assert (files.master_path.suffix, files.dub_path.suffix) == (".wav", ".mp4")
    for path, channels in ((files.master_path, 8), (files.dub_path, 2)):
        with av.open(str(path)) as container:
            assert container.streams.audio[0].channels == channels
            assert sum(frame.samples for frame in container.decode(audio=0)) >= 3 * RATE_HZ


def test_a_kept_pair_is_rendered_once_and_again_when_its_recipe_changes(tmp_path: Path) -> None:
    case = small(duration_s=2.0, pieces=(Piece("programme", 2 * RATE_HZ),))
    with written(case, tmp_path) as files:
        stamp = files.dub_path.stat().st_mtime_ns
    with written(dataclasses.replace(case, limit_ms=7.0), tmp_path) as files:
        assert files.dub_path.stat().st_mtime_ns == stamp
        assert files.truth.limit_ms == 7.0
    with written(dataclasses.replace(case, seed=4), tmp_path) as files:
        assert files.dub_path.stat().st_mtime_ns != stamp
    with written(case, None) as files:
        assert files.master_path.exists()
    assert not files.master_path.exists()


# ---------------------------------------------------------------- the judge

SEGMENTS = (TrueSegment(0.0, 50.0, -2.0), TrueSegment(80.0, 120.0, -30.0))
EDITED = CaseTruth(
    rate=1.0,
    offset_s=-2.0,
    segments=SEGMENTS,
    cuts=(TrueCut(50.0, 49.0, 50.0), TrueCut(80.0, 80.0, 80.0)),
    pitch_kept=False,
    semitones=0.0,
    expects="segments",
    limit_ms=1.0,
    rate_limit_ppm=2.0,
    interval_counts=False,
    master_duration_s=100.0,
    dub_duration_s=120.0,
)
WHOLE = dataclasses.replace(EDITED, segments=(TrueSegment(0.0, 100.0, -2.0),), cuts=(), expects="line", limit_ms=0.1)
NOTHING = dataclasses.replace(WHOLE, segments=(), offset_s=None, expects="refusal")


def match(dub_start_s: float, dub_end_s: float, offset_s: float) -> Segment:
    start_s, end_s = dub_start_s + offset_s, dub_end_s + offset_s
    return Segment(SegmentKind.MATCH, start_s, end_s, dub_start_s, dub_end_s, offset_s, 0.0, 0.0, 0.9)


def answered(
    offset_s: float | None,
    *timeline: Segment,
    verdict: Verdict = Verdict.OFFSET,
    rate: float = 1.0,
    half_ms: float = 0.1,
) -> Result:
    side = MeasuredSide(100.0, RATE_HZ, 2, "pcm_s16le", "wav", 0)
    return Result(
        master=side,
        dub=side,
        verdict=verdict,
        review=False,
        consensus=None if offset_s is None else Estimate(offset_s, 0.95, half_ms),
        rate=None if offset_s is None else Rate(rate),
        timeline=timeline,
        coverage=Coverage(1.0, 1.0),
        candidates=(),
        method_results=(),
        overall_confidence=0.9,
        method_agreement=None,
        channels_used="mid",
        reasons=("so it is",),
    )


def test_a_right_answer_holds() -> None:
    outcome = judge(WHOLE, answered(-2.00005, match(0.0, 100.0, -2.00005)), cpu_s=1.5)
    assert outcome.hold, outcome.why
    assert outcome.offset_error_ms == pytest.approx(0.05)
    assert outcome.interval_holds
    assert outcome.cpu_s == 1.5


@pytest.mark.parametrize(
    ("result", "false", "why"),
    [
        (answered(-2.0005, match(0.0, 100.0, -2.0005)), False, "offset 0.5 ms off"),
        (answered(2.0, match(0.0, 100.0, 2.0)), True, "offset 4000 ms off"),
        (answered(None, verdict=Verdict.NO_MATCH), False, "refused: so it is"),
        (answered(-2.0, match(0.0, 100.0, -2.0), rate=1.0001), False, "rate 100 ppm off"),
        (answered(-2.0, match(0.0, 100.0, -2.0), verdict=Verdict.EDITED), False, "verdict edited"),
        (answered(-2.0, match(0.0, 60.0, -2.0), match(60.0, 100.0, -1.0)), False, "1 segments invented"),
    ],
)
def test_a_wrong_answer_does_not_hold_and_the_judge_says_why(result: Result, false: bool, why: str) -> None:
    outcome = judge(WHOLE, result)
    assert not outcome.hold
    assert outcome.false_offset == false
    assert why in outcome.why


def test_lines_are_compared_at_the_ends_of_the_match_and_not_by_their_intercepts() -> None:
    outcome = judge(WHOLE, answered(-2.0, match(0.0, 100.0, -2.0), rate=1.000002))
    assert outcome.intercept_error_ms == 0.0
    assert outcome.offset_error_ms == pytest.approx(0.2)
    assert outcome.rate_error_ppm == pytest.approx(2.0)
    assert not outcome.hold


def test_an_offset_for_what_has_none_is_a_false_one() -> None:
    assert judge(NOTHING, answered(None, verdict=Verdict.INCONCLUSIVE)).hold
    outcome = judge(NOTHING, answered(3.0, match(0.0, 100.0, 3.0)))
    assert outcome.false_offset
    assert not outcome.hold


def edited(*timeline: Segment) -> Outcome:
    return judge(EDITED, answered(-2.0, *timeline, verdict=Verdict.EDITED))


def test_all_segments_found_with_boundaries_in_the_silence_hold() -> None:
    outcome = edited(match(0.1, 49.3, -2.0002), match(80.05, 120.0, -30.0))
    assert outcome.hold, outcome.why
    assert outcome.boundary_error_s == pytest.approx(0.05)
    assert outcome.offset_error_ms == pytest.approx(0.2)


def test_a_missing_an_invented_and_a_divided_segment_do_not_hold() -> None:
    assert edited(match(0.0, 50.0, -2.0)).segments_missing == 1
    invented = edited(match(0.0, 50.0, -2.0), match(55.0, 75.0, -7.0), match(80.0, 120.0, -30.0))
    assert (invented.segments_missing, invented.segments_invented) == (0, 1)
    divided = edited(match(0.0, 20.0, -2.0), match(20.0, 50.0, -2.0), match(80.0, 120.0, -30.0))
    assert (divided.segments_missing, divided.segments_invented) == (0, 1)
    assert not divided.hold


def test_a_boundary_beside_the_silence_does_not_hold() -> None:
    outcome = edited(match(0.0, 48.7, -2.0), match(80.0, 120.0, -30.0))
    assert outcome.boundary_error_s == pytest.approx(0.3)
    assert "a boundary 0.3 s off" in outcome.why


def test_an_ambiguous_pair_may_be_refused_and_a_title_may_be_told_as_what_it_is() -> None:
    ambiguous = dataclasses.replace(WHOLE, expects="ambiguous")
    assert judge(ambiguous, answered(None, verdict=Verdict.INCONCLUSIVE)).hold
    assert not judge(ambiguous, answered(1.5, match(0.0, 100.0, 1.5))).hold
    title = dataclasses.replace(WHOLE, expects="title", offset_s=None, segments=(TrueSegment(30.0, 50.0, -12.0),))
    assert judge(title, answered(None, verdict=Verdict.NO_MATCH)).hold
    assert judge(title, answered(-12.0, match(30.2, 49.0, -12.0), verdict=Verdict.EDITED)).hold
    assert not judge(title, answered(-12.0, verdict=Verdict.OFFSET)).hold
    assert not judge(title, answered(-12.0, match(12.0, 100.0, -12.0))).hold


def test_an_interval_that_must_hold_the_truth_is_judged() -> None:
    strict = dataclasses.replace(WHOLE, limit_ms=40.0, interval_counts=True)
    assert judge(strict, answered(-2.03, match(0.0, 100.0, -2.03), half_ms=35.0)).hold
    assert "interval" in judge(strict, answered(-2.03, match(0.0, 100.0, -2.03), half_ms=10.0)).why


def test_the_tables_tell_what_was_judged() -> None:
    good = judge(WHOLE, answered(-2.0, match(0.0, 100.0, -2.0)))
    bad = judge(NOTHING, answered(3.0, match(0.0, 100.0, 3.0)))
    judged = [Judged("plain-000", "plain", good), Judged("unrelated-000", "unrelated", bad)]
    assert [list(column.cells)[-1] for column in table(judged).columns][:3] == ["all", "2", "50%"]
    assert list(calibration(judged).columns[3].cells) == ["0.500"]
    assert math.isfinite(good.offset_error_ms or 0.0)
