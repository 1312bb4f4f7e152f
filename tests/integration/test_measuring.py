"""Two real files in, one answer out: offsets to a fraction of a sample, and no answer where there is none."""

from __future__ import annotations

import os
import threading
import wave
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    Estimate,
    MethodResult,
    MethodStatus,
    Result,
    SegmentKind,
    Verdict,
)
from syncd.errors import ErrorCode, SyncdError
from syncd.plots import Plots
from syncd.protocol import MeasureRequest, ProbeRequest
from syncd.worker.measuring import Canceled, Measurement, measure_pair, probe_files
from tests.material import PairTruth, Programme, make_pair, make_unrelated_pair, write_silence, write_tone

RATE_HZ = 48_000
METHODS = ("correlation", "spectral")
Floats = NDArray[Any]


class Listener:
    """Keeps what it hears; calls the task off at a stage, if one is named."""

    def __init__(self, cancel_at: str | None = None) -> None:
        self.steps: list[tuple[str, int, int, str]] = []
        self.methods: list[str] = []
        self.threads_at_once = 0
        self._cancel_at = cancel_at
        self._inside = threading.Semaphore(1)

    def progress(self, stage: str, done: int, total: int, text: str) -> None:
        assert self._inside.acquire(blocking=False), "two threads speak at once"
        self.steps.append((stage, done, total, text))
        self._inside.release()
        if stage == self._cancel_at:
            raise Canceled

    def method_done(self, result: MethodResult) -> None:
        self.methods.append(result.method)


def measurement(
    scratch: Path,
    master: Path,
    dub: Path,
    *,
    methods: tuple[str, ...] = METHODS,
    listener: Listener | None = None,
    max_duration_s: float | None = None,
    html: bool = True,
) -> Measurement:
    request = MeasureRequest(
        task_id=1,
        master_path=os.fsencode(master),
        dub_path=os.fsencode(dub),
        master_track=None,
        dub_track=None,
        language="fr",
        settings=AnalysisSettings(methods, TOLERANCES["ebu-r37"], html=html),
        scratch_folder=os.fsencode(scratch / "scratch"),
        max_duration_s=max_duration_s,
    )
    return measure_pair(request, listener or Listener())


def answer(scratch: Path, master: Path, dub: Path) -> Result:
    return measurement(scratch, master, dub).result


def offset_s(result: Result) -> float:
    assert result.consensus is not None, (result.verdict, result.reasons)
    return result.consensus.offset_s


@pytest.fixture(scope="module")
def show() -> tuple[Floats, Floats, Floats]:
    """A minute of a programme: bed, dialogue, the same dialogue in another language, each (2, n)."""
    programme = Programme(31, 60.0, RATE_HZ)
    n = programme.n_samples
    return programme.bed(0, n) * 0.2, programme.dialogue(1, 0, n) * 0.5, programme.dialogue(2, 0, n) * 0.5


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> PairTruth:
    """Twelve seconds of a pair, for what does not depend on the sound."""
    return make_pair(tmp_path_factory.mktemp("small"), seed=74, duration_s=12.0, offset_s=-0.3)


@pytest.fixture(scope="module")
def master(show: tuple[Floats, Floats, Floats]) -> Floats:
    bed, english, _ = show
    return bed + english


@pytest.fixture(scope="module")
def dub(show: tuple[Floats, Floats, Floats]) -> Floats:
    bed, _, french = show
    return bed + french


def write_wav(path: Path, sound: Floats) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(sound.shape[0])
        file.setsampwidth(2)
        file.setframerate(RATE_HZ)
        file.writeframes((np.clip(sound, -1.0, 1.0).T * 32_767).astype("<i2").tobytes())
    return path


def faster(sound: Floats, rate: float) -> Floats:
    times = np.arange(int(sound.shape[1] / rate)) * rate
    return np.stack([np.interp(times, np.arange(channel.size), channel) for channel in sound])


def late(sound: Floats, seconds: float) -> Floats:
    return np.concatenate((np.zeros((sound.shape[0], round(seconds * RATE_HZ))), sound), axis=1)


@pytest.mark.parametrize(
    ("true_s", "options"),
    [
        (-2.4567891, {}),
        (3.2171003, {"dub_sample_rate_hz": 44_100}),
        (-0.0123457, {"dub_channels": 1, "container": "flac"}),
        (0.0, {"dub_container": "mkv-flac"}),
    ],
)
def test_plain_pairs_are_right_to_a_hundredth_of_a_millisecond(
    tmp_path: Path, true_s: float, options: dict[str, Any]
) -> None:
    pair = make_pair(tmp_path, seed=71, duration_s=12.0, offset_s=true_s, **options)
    result = answer(tmp_path, pair.master_path, pair.dub_path)
    assert offset_s(result) == pytest.approx(true_s, abs=1e-5)
    assert result.verdict is (Verdict.OFFSET if abs(true_s) > 0.06 else Verdict.IN_SYNC)
    assert not result.review
    assert result.overall_confidence > 0.95
    assert {m.status for m in result.method_results} == {MethodStatus.OK}


@pytest.mark.parametrize("container", ["mp4", "mp3", "opus"])
def test_lossy_dubs_are_right_to_half_a_millisecond(tmp_path: Path, container: str) -> None:
    pair = make_pair(tmp_path, seed=72, duration_s=10.0, offset_s=-0.51237, dub_container=container)
    assert offset_s(answer(tmp_path, pair.master_path, pair.dub_path)) == pytest.approx(-0.51237, abs=5e-4)


def test_the_delay_that_a_container_cannot_signal_is_named(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, seed=72, duration_s=10.0, offset_s=-0.5, dub_container="aac")
    result = answer(tmp_path, pair.master_path, pair.dub_path)
    assert result.dub.codec_delay_ms == pytest.approx(1_024 / 48.0)
    assert offset_s(result) == pytest.approx(-0.5 - 1_024 / 48_000, abs=5e-4)
    assert any("encoder" in warning for warning in result.warnings)


def test_a_short_excerpt_is_found_in_a_long_master(tmp_path: Path, master: Floats, dub: Floats) -> None:
    start = round(41.5 * RATE_HZ)
    excerpt = write_wav(tmp_path / "dub.wav", dub[:, start : start + 12 * RATE_HZ])
    result = answer(tmp_path, write_wav(tmp_path / "master.wav", master), excerpt)
    assert offset_s(result) == pytest.approx(41.5, abs=1e-5)
    assert result.coverage.dub == pytest.approx(1.0)
    assert [s.kind for s in result.timeline] == [SegmentKind.UNMATCHED, SegmentKind.MATCH, SegmentKind.UNMATCHED]


def test_swapping_the_sides_turns_the_answer_around(tmp_path: Path, master: Floats, dub: Floats) -> None:
    one, other = write_wav(tmp_path / "1.wav", master), write_wav(tmp_path / "2.wav", late(dub, 1.25))
    there, back = answer(tmp_path, one, other), answer(tmp_path, other, one)
    assert offset_s(there) == pytest.approx(-1.25, abs=1e-5)
    assert offset_s(back) == pytest.approx(1.25, abs=1e-5)
    assert there.verdict is back.verdict is Verdict.OFFSET


def test_inverted_polarity_quiet_and_mono_change_nothing(tmp_path: Path, master: Floats, dub: Floats) -> None:
    odd = write_wav(tmp_path / "2.wav", -0.05 * late(dub, 1.25).mean(axis=0, keepdims=True))
    result = answer(tmp_path, write_wav(tmp_path / "1.wav", master), odd)
    assert offset_s(result) == pytest.approx(-1.25, abs=1e-5)
    assert result.channels_used == "mid"


def test_unrelated_programmes_are_said_not_to_match(tmp_path: Path) -> None:
    pair = make_unrelated_pair(tmp_path, seed=5, duration_s=15.0)
    result = answer(tmp_path, pair.master_path, pair.dub_path)
    assert result.verdict is Verdict.NO_MATCH
    assert result.consensus is None
    assert result.reasons


def test_nothing_to_hear_is_inconclusive_with_its_reason(tmp_path: Path, master: Floats) -> None:
    silence = write_silence(tmp_path / "silence.wav", 30.0)
    tone = write_tone(tmp_path / "tone.wav", 30.0)
    noise = write_wav(tmp_path / "noise.wav", np.random.default_rng(1).standard_normal((2, 30 * RATE_HZ)) * 0.05)
    real = write_wav(tmp_path / "real.wav", master)
    for other, word in ((silence, "silent"), (tone, "tone"), (noise, "noise")):
        result = answer(tmp_path, real, other)
        assert result.verdict is Verdict.INCONCLUSIVE
        assert result.consensus is None
        assert word in result.reasons[0]


@pytest.mark.parametrize(
    ("rate", "name"), [(1.0 + 200e-6, None), (1.001, "24/23.976"), (25 / 24, "25/24"), (24 / 25, "24/25")]
)
def test_another_speed_is_measured_and_named(
    tmp_path: Path, master: Floats, dub: Floats, rate: float, name: str | None
) -> None:
    one, other = write_wav(tmp_path / "1.wav", master), write_wav(tmp_path / "2.wav", late(faster(dub, rate), 1.0))
    result = answer(tmp_path, one, other)
    assert result.verdict is Verdict.DRIFT
    assert result.rate is not None
    assert result.rate.name == name
    assert result.rate.ratio == pytest.approx(rate, rel=3e-6)
    assert result.consensus is not None
    assert result.consensus.offset_s == pytest.approx(-rate * 1.0, abs=0.001)


@pytest.mark.parametrize(("at", "seconds"), [(0.5, 5.0), (0.3, -4.0), (0.5, 0.04), (0.75, 0.08)])
def test_a_cut_or_an_insert_is_found_with_both_offsets_and_its_place(
    tmp_path: Path, master: Floats, dub: Floats, at: float, seconds: float
) -> None:
    cut = round(at * dub.shape[1])
    gap = round(abs(seconds) * RATE_HZ)
    edited = (
        np.concatenate((dub[:, :cut], np.zeros((2, gap)), dub[:, cut:]), axis=1)
        if seconds > 0
        else np.concatenate((dub[:, :cut], dub[:, cut + gap :]), axis=1)
    )
    result = answer(tmp_path, write_wav(tmp_path / "1.wav", master), write_wav(tmp_path / "2.wav", edited))
    assert result.verdict is Verdict.EDITED
    before, after = (s for s in result.timeline if s.kind is SegmentKind.MATCH)
    assert before.offset_s == pytest.approx(0.0, abs=1e-4)
    assert after.offset_s == pytest.approx(-seconds, abs=1e-4)
    assert before.dub_end_s == pytest.approx(cut / RATE_HZ, abs=0.1)
    between = SegmentKind.INSERTED if seconds > 0 else SegmentKind.MISSING
    assert [s.kind for s in result.timeline if s.kind not in {SegmentKind.MATCH, SegmentKind.UNMATCHED}] == [between]


def test_a_loop_is_ambiguous_and_its_offsets_are_listed(tmp_path: Path, show: tuple[Floats, Floats, Floats]) -> None:
    bed, english, french = show
    period = round(4.3 * RATE_HZ)
    loop = np.tile(bed[:, :period], (1, bed.shape[1] // period + 1))[:, : bed.shape[1]]
    one, other = write_wav(tmp_path / "1.wav", loop + english), write_wav(tmp_path / "2.wav", late(loop + french, 1.0))
    result = answer(tmp_path, one, other)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "repeats" in result.reasons[0]
    assert len(result.candidates) >= 2
    assert any(abs(c.offset_s + 1.0) < 1e-3 for c in result.candidates)


def test_a_shared_title_sequence_is_no_shared_programme(tmp_path: Path, master: Floats) -> None:
    other = Programme(77, 60.0, RATE_HZ)
    different = other.bed(0, other.n_samples) * 0.2 + other.dialogue(1, 0, other.n_samples) * 0.5
    titled = np.concatenate((master[:, : 7 * RATE_HZ], different[:, 7 * RATE_HZ :]), axis=1)
    result = answer(tmp_path, write_wav(tmp_path / "1.wav", master), write_wav(tmp_path / "2.wav", titled))
    assert result.consensus is None
    assert result.verdict in {Verdict.INCONCLUSIVE, Verdict.NO_MATCH}


def test_a_half_replaced_dub_keeps_its_offset_and_asks_for_a_look(tmp_path: Path, master: Floats, dub: Floats) -> None:
    other = Programme(78, 60.0, RATE_HZ)
    half = dub.shape[1] // 2
    replaced = np.concatenate((dub[:, :half], other.bed(half, dub.shape[1] - half) * 0.3), axis=1)
    result = answer(tmp_path, write_wav(tmp_path / "1.wav", master), write_wav(tmp_path / "2.wav", replaced))
    assert offset_s(result) == pytest.approx(0.0, abs=1e-5)
    assert result.review
    assert any("nothing can be heard to agree" in warning for warning in result.warnings)


def test_every_method_finds_the_offset_by_itself_and_says_how_sure_it_is(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, seed=75, duration_s=40.0, offset_s=-1.2345)
    methods = ("correlation", "mfcc", "onset", "spectral", "chunked", "chroma")
    result = measurement(tmp_path, pair.master_path, pair.dub_path, methods=methods).result
    assert [method.method for method in result.method_results] == list(methods)
    for method in result.method_results:
        assert isinstance(method.outcome, Estimate), (method.method, method.outcome)
        assert abs(method.outcome.offset_s - pair.offset_s) * 1000.0 <= method.outcome.uncertainty_ms, method.method
    assert result.method_agreement == 1.0
    assert offset_s(result) == pytest.approx(pair.offset_s, abs=1e-4)


@pytest.mark.parametrize("method", ["mfcc", "onset", "chunked", "chroma"])
def test_one_method_alone_measures_and_is_called_off(tmp_path: Path, small: PairTruth, method: str) -> None:
    alone = measurement(tmp_path, small.master_path, small.dub_path, methods=(method,)).result
    (found,) = alone.method_results
    assert found.status in {MethodStatus.OK, MethodStatus.INCONCLUSIVE}
    if isinstance(found.outcome, Estimate):
        assert abs(found.outcome.offset_s - small.offset_s) * 1000.0 <= found.outcome.uncertainty_ms
    listener = Listener(cancel_at=method)
    with pytest.raises(Canceled):
        measurement(tmp_path, small.master_path, small.dub_path, methods=(method,), listener=listener)


def test_each_method_tells_as_soon_as_it_ends_and_the_report_keeps_the_profiles_order(
    tmp_path: Path, small: PairTruth
) -> None:
    listener = Listener()
    result = measurement(
        tmp_path, small.master_path, small.dub_path, methods=("spectral", "correlation"), listener=listener
    ).result
    assert [one.method for one in result.method_results] == ["spectral", "correlation"]
    assert listener.methods == ["correlation", "spectral"]
    assert all(isinstance(one.outcome, Estimate) for one in result.method_results)


def test_progress_names_the_stages_and_tells_people_where_it_is(tmp_path: Path, small: PairTruth) -> None:
    listener = Listener()
    measurement(tmp_path, small.master_path, small.dub_path, listener=listener)
    stages = list(dict.fromkeys(step[0] for step in listener.steps))
    assert set(stages[:2]) == {"decode_master", "decode_dub"}
    assert stages[2:] == ["curves", "survey", "speeds", "onsets", "correlation", "timeline", "rivals", "draw"]
    assert all(0 <= done <= total for _, done, total, _ in listener.steps)
    assert "Reading the master: 0:12 of 0:12" in {text for _, _, _, text in listener.steps}


@pytest.mark.parametrize("stage", ["decode_master", "decode_dub", "onsets", "correlation"])
def test_a_task_is_called_off_from_every_stage(tmp_path: Path, small: PairTruth, stage: str) -> None:
    with pytest.raises(Canceled):
        measurement(tmp_path, small.master_path, small.dub_path, listener=Listener(cancel_at=stage))
    assert list((tmp_path / "scratch").iterdir()) == []
    assert threading.active_count() == 1 + sum(t.daemon for t in threading.enumerate())


def test_a_file_that_changes_while_it_is_read_is_left_to_settle(tmp_path: Path, small: PairTruth) -> None:

    class Touching(Listener):
        def progress(self, stage: str, done: int, total: int, text: str) -> None:
            super().progress(stage, done, total, text)
            os.utime(small.dub_path)

    with pytest.raises(SyncdError) as caught:
        measurement(tmp_path, small.master_path, small.dub_path, listener=Touching())
    assert caught.value.code is ErrorCode.FILE_CHANGED


def test_too_short_and_too_long_are_refused_by_name(tmp_path: Path) -> None:
    long = write_silence(tmp_path / "long.wav", 20.0)
    short = write_silence(tmp_path / "short.wav", 0.5)
    with pytest.raises(SyncdError) as caught:
        measurement(tmp_path, long, short)
    assert caught.value.code is ErrorCode.MEDIA_TOO_SHORT
    assert "short.wav" in caught.value.message
    with pytest.raises(SyncdError) as caught:
        measurement(tmp_path, long, long, max_duration_s=10.0)
    assert caught.value.code is ErrorCode.MEDIA_TOO_LONG


def test_every_threshold_is_in_the_settings(tmp_path: Path, small: PairTruth) -> None:
    measured = measurement(tmp_path, small.master_path, small.dub_path)
    assert measured.scratch_bytes > 0
    settings = measured.result.settings
    assert settings["threshold_fine_match_deviations"] == 8.0
    assert settings["tolerance"] == "ebu-r37"
    assert set(measured.result.stage_seconds) >= {"decode", "survey", "correlation", "spectral"}


def test_probing_names_the_first_file_that_is_at_fault(tmp_path: Path) -> None:
    good = write_silence(tmp_path / "good.wav", 2.0)
    assert probe_files(ProbeRequest(1, (os.fsencode(good), os.fsencode(good))))[1].duration_s == pytest.approx(2.0)
    with pytest.raises(SyncdError) as caught:
        probe_files(ProbeRequest(1, (os.fsencode(good), os.fsencode(tmp_path / "gone.wav"))))
    assert "gone.wav" in caught.value.message


def test_figures_are_made_for_a_page_alone(tmp_path: Path, small: PairTruth) -> None:
    with_page = measurement(tmp_path, small.master_path, small.dub_path)
    without = measurement(tmp_path, small.master_path, small.dub_path, html=False)
    assert with_page.plots is not None
    assert without.plots is None
    assert without.result.consensus == with_page.result.consensus


def test_figures_travel_in_bounded_size(tmp_path: Path, small: PairTruth) -> None:
    plots = measurement(tmp_path, small.master_path, small.dub_path).plots
    assert plots is not None
    assert len(msgspec.msgpack.encode(plots)) < 200_000
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(plots), type=Plots) == plots


def test_a_report_never_fails_for_want_of_its_figures(
    tmp_path: Path, small: PairTruth, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("syncd.worker.measuring.draw", broken)
    measured = measurement(tmp_path, small.master_path, small.dub_path)
    assert measured.plots is None
    assert measured.result.consensus is not None
    assert "ZeroDivisionError" in capsys.readouterr().err
