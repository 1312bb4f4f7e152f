"""Each method by itself: right to its interval, unmoved by what does not matter, and silent where there is nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import numpy as np
import pytest
import scipy.signal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.chunks import CHUNK_S, ChunkSearch, plan_chunks
from syncd.analysis.evidence import MID, ChannelPair
from syncd.analysis.methods import Evidence, MethodAnswer, SegmentHint, registry
from syncd.config import MethodName
from syncd.domain import Estimate, Inconclusive
from tests.unit.in_memory import SR_HZ, channel_of, coarse_search, moved, pair_of, quietly, tune

Floats = NDArray[Any]
NAMES = ("mfcc", "onset", "chroma", "chunked")


@pytest.fixture(scope="module")
def master() -> Floats:
    """A tune of forty seconds; its ends are silent, so that it can be shifted around."""
    sound = tune(40.0, 5)
    sound[: 6 * SR_HZ] *= 0.0
    sound[-6 * SR_HZ :] *= 0.0
    return sound


def evidence_of(pair: ChannelPair, *, rate: float = 1.0, segments: tuple[SegmentHint, ...] = ()) -> Evidence:
    coarse = coarse_search(pair.master.levels, pair.dub.levels, rate=rate)
    return Evidence((pair,), coarse=(coarse,), rate=rate, segments=segments)


def asked(name: str, master: Floats, dub: Floats, *, rate: float = 1.0) -> MethodAnswer:
    return registry()[name].run(evidence_of(pair_of(master, dub), rate=rate), quietly)


def estimate(answer: MethodAnswer) -> Estimate:
    assert isinstance(answer.outcome, Estimate), answer
    return answer.outcome


def reason(answer: MethodAnswer) -> str:
    assert isinstance(answer.outcome, Inconclusive), answer
    return answer.outcome.reasons[0]


def assert_found(answer: MethodAnswer, offset_s: float) -> None:
    """Right to the interval that the answer states, and that one narrow enough to mean something."""
    found = estimate(answer)
    assert abs(found.offset_s - offset_s) * 1000.0 <= found.uncertainty_ms
    assert found.uncertainty_ms <= 12.0
    assert 0.0 < found.confidence < 1.0


def test_every_method_that_a_profile_may_name_is_registered_under_its_name() -> None:
    assert set(registry()) == set(get_args(MethodName))
    assert all(name == method.name for name, method in registry().items())


@pytest.mark.parametrize("name", NAMES)
@given(late_s=st.floats(-5.0, 5.0))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_delayed_dub_is_late_by_its_delay(name: str, master: Floats, late_s: float) -> None:
    assert_found(asked(name, master, moved(master, late_s)), -late_s)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["quieter", "inverted", "noisy", "darker", "with other sounds"])
def test_what_does_not_move_a_dub_does_not_move_its_offset(name: str, change: str, master: Floats) -> None:
    rng = np.random.default_rng(9)
    late = moved(master, 1.2345)
    dub = {
        "quieter": 0.03 * late,
        "inverted": -late,
        "noisy": late + 0.3 * late.std() * rng.standard_normal(late.size),
        "darker": scipy.signal.sosfiltfilt(scipy.signal.butter(1, 1500.0, fs=SR_HZ, output="sos"), late),
        "with other sounds": late + 0.4 * tune(40.0, 77),
    }[change]
    assert_found(asked(name, master, dub), -1.2345)


@pytest.mark.parametrize("seed", range(20))
def test_unrelated_material_is_refused_by_every_method_with_figures(seed: int) -> None:
    evidence = evidence_of(pair_of(tune(30.0, 100 + seed), tune(30.0, 200 + seed)))
    for name in NAMES:
        answer = registry()[name].run(evidence, quietly)
        assert "deviations" in reason(answer), name
        assert "are needed" in reason(answer), name


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["silence", "tone", "steady noise"])
def test_what_cannot_be_placed_is_refused_with_a_reason(name: str, kind: str, master: Floats) -> None:
    t = np.arange(30 * SR_HZ) / SR_HZ
    sounds = {
        "silence": np.zeros(t.size),
        "tone": 0.1 * np.sin(2 * np.pi * 440.0 * t),
        "steady noise": 0.05 * np.random.default_rng(3).standard_normal(t.size),
    }
    other = sounds[kind] if kind != "steady noise" else 0.05 * np.random.default_rng(4).standard_normal(t.size)
    assert reason(asked(name, sounds[kind], other))
    assert reason(asked(name, master, sounds[kind]))


@pytest.mark.parametrize("name", NAMES)
def test_a_shared_jingle_is_no_shared_programme(name: str) -> None:
    ours, theirs = tune(90.0, 31), tune(90.0, 32)
    theirs[10 * SR_HZ : 16 * SR_HZ] = ours[10 * SR_HZ : 16 * SR_HZ]
    assert reason(asked(name, ours, theirs))


@pytest.mark.parametrize("name", NAMES)
def test_a_dub_at_another_speed_has_the_offset_of_its_start(name: str, master: Floats) -> None:
    rate = 25.0 / 24.0
    dub = scipy.signal.resample_poly(moved(master, -0.7), 24, 25)
    assert_found(asked(name, master, dub, rate=rate), 0.7)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [1.0, 2.5, 6.0])
def test_very_short_dubs_are_placed_or_refused_but_break_nothing(name: str, seconds: float, master: Floats) -> None:
    start = 12 * SR_HZ
    answer = asked(name, master, master[start : start + int(seconds * SR_HZ)])
    if isinstance(answer.outcome, Estimate):
        assert abs(answer.outcome.offset_s - 12.0) * 1000.0 <= answer.outcome.uncertainty_ms


@pytest.mark.parametrize("name", NAMES)
def test_an_excerpt_is_placed_in_its_master(name: str, master: Floats) -> None:
    assert_found(asked(name, master, master[round(8.2345 * SR_HZ) : 31 * SR_HZ]), round(8.2345 * SR_HZ) / SR_HZ)


@pytest.mark.parametrize("semitones", [-5, -1, 0, 3, 6])
def test_a_bed_in_another_key_is_found_with_its_transposition(semitones: int) -> None:
    answer = asked("chroma", tune(40.0, 11), moved(tune(40.0, 11, semitones=semitones), 0.25))
    assert answer.metadata["pitch_shift_semitones"] == semitones
    assert abs(estimate(answer).offset_s + 0.25) * 1000.0 <= estimate(answer).uncertainty_ms


def test_chroma_says_that_it_was_not_taken(master: Floats) -> None:
    pair = pair_of(master, master)
    bare = ChannelPair(MID, replace(pair.master, chroma=None), pair.dub)
    assert "not taken" in reason(registry()["chroma"].run(evidence_of(bare), quietly))


def test_tempo_and_key_of_both_sides_are_told(master: Floats) -> None:
    onset, chroma = asked("onset", master, master), asked("chroma", master, master)
    assert onset.metadata["master_tempo_bpm"] == onset.metadata["dub_tempo_bpm"]
    assert chroma.metadata["master_key"] == chroma.metadata["dub_key"]


@pytest.mark.parametrize("name", ["mfcc", "onset"])
def test_where_the_survey_placed_pieces_only_those_of_the_offset_are_looked_at(name: str) -> None:
    ours, theirs = tune(60.0, 41), tune(60.0, 42)
    theirs[36 * SR_HZ :] = ours[36 * SR_HZ :]
    pair = pair_of(ours, theirs)
    whole = registry()[name].run(evidence_of(pair), quietly)
    piece = registry()[name].run(evidence_of(pair, segments=(SegmentHint(36.0, 60.0, 0.0),)), quietly)
    assert_found(piece, 0.0)
    share = [float(str(a.metadata["windows_bearing"])) / int(str(a.metadata["windows"])) for a in (whole, piece)]
    assert share[0] < 0.6 < share[1]


class TestChunked:
    def test_chunks_are_two_minutes_with_ten_seconds_in_common_and_reach_the_end(self) -> None:
        plan = plan_chunks(50 * 1_800, 50.0)
        assert plan.length_s == CHUNK_S
        assert np.diff(plan.starts).max() == 50 * 110
        assert plan.span_s(len(plan.starts) - 1)[1] == 1_800.0

    @given(frames=st.integers(50, 200_000))
    def test_chunks_of_any_dub_lie_within_it_and_leave_next_to_nothing_out(self, frames: int) -> None:
        plan = plan_chunks(frames, 50.0)
        ends = [start + plan.length for start in plan.starts]
        assert plan.starts[0] == 0
        assert all(after < before for after, before in zip(plan.starts[1:], ends, strict=False))
        assert frames - plan.length // 6 <= ends[-1] <= frames

    def test_the_offset_that_most_of_the_duration_stands_behind_is_the_answer(self) -> None:
        ours = tune(150.0, 51)
        dub = np.concatenate((ours[: 40 * SR_HZ], np.zeros(3 * SR_HZ), ours[40 * SR_HZ : -3 * SR_HZ]))
        answer = asked("chunked", ours, dub)
        assert abs(estimate(answer).offset_s + 3.0) < 1e-4
        offsets = answer.metadata["chunk_offset_seconds"]
        assert isinstance(offsets, list)
        assert {round(float(offset)) for offset in offsets} == {0, -3}

    def test_chunks_that_each_keep_another_offset_have_no_common_one(self) -> None:
        ours = tune(120.0, 52)
        gap = np.zeros(2 * SR_HZ)
        parts = np.split(ours, [30 * SR_HZ, 60 * SR_HZ, 90 * SR_HZ])
        dub = np.concatenate((parts[0], gap, parts[1], gap, parts[2], gap, parts[3]))
        answer = asked("chunked", ours, dub)
        assert "different offsets" in reason(answer)

    def test_a_chunk_that_fits_none_of_the_suggestions_is_looked_for_everywhere(self) -> None:
        ours = tune(150.0, 53)
        evidence = Evidence((pair_of(ours, ours[100 * SR_HZ :]),))
        assert_found(registry()["chunked"].run(evidence, quietly), 100.0)

    def test_a_chunk_far_away_is_where_it_is(self) -> None:
        ours = channel_of(tune(120.0, 54))
        theirs = channel_of(tune(120.0, 54)[90 * SR_HZ :])
        plan = plan_chunks(theirs.levels.frames, 50.0)
        search = ChunkSearch(ours.levels, theirs.levels, plan, 1.0)
        for chunk, lag_s in search.far({0: -20.0, 1: 300.0}, quietly)[::2]:
            assert abs(lag_s - 90.0) < 0.05, chunk

    def test_each_chunk_is_told(self) -> None:
        ours = tune(60.0, 55)
        told = asked("chunked", ours, moved(ours, 0.5)).metadata
        assert told["chunks"] == told["chunks_agreeing"] == told["chunks_by_waveform"] == 3
        assert told["chunk_offset_seconds"] == pytest.approx([-0.5] * 3, abs=1e-4)
