"""Dialogue alone places a dub: the detector, the lines it hears, the lag at which they start together.

The voices are those of `tests.material.speech`, which the detector takes for people.
"""

from __future__ import annotations

import functools
import subprocess
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.signal
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from syncd.analysis.dialogue import place_by_starts, run_apart, search_dialogue
from syncd.analysis.evidence import MID, Beat, ChannelEvidence, ChannelPair
from syncd.analysis.features import Activity
from syncd.analysis.methods import Evidence, MethodAnswer, SegmentHint
from syncd.analysis.methods.speech import Speech, answer_at
from syncd.analysis.onnx_tensors import read_onnx_floats
from syncd.analysis.rate import KNOWN_SPEEDS
from syncd.analysis.silero import FRAMES_PER_S, SR_HZ, load_silero, read_speech
from syncd.analysis.speech import Lines, hear_lines, speech_spans
from syncd.domain import Estimate, Inconclusive, Rate
from tests.material import Programme
from tests.material.seeds import stream
from tests.material.speech import language, speak, voice

Floats = NDArray[Any]
LIVELY = Activity(level_db=-30.0, modulation_db=5.0)
CLIPS = 48
MASTER_TONGUE, DUB_TONGUE = 1, 2


def unheard(_done: int, _total: int) -> None:
    """A beat that nobody listens to."""


class Sound:
    """A `SampleSource` in memory."""

    def __init__(self, samples: Floats) -> None:
        self._samples = samples.astype(np.float32)

    @property
    def samples(self) -> int:
        return int(self._samples.size)

    def read(self, start: int, count: int) -> Floats:
        out = np.zeros(count, dtype=np.float32)
        first, last = max(0, start), min(self.samples, start + count)
        if first < last:
            out[first - start : last - start] = self._samples[first:last]
        return out


class NoCurve:
    """The flux that this method does not look at."""

    frames = 0

    def read_band(self, band: int) -> Floats:
        raise AssertionError(f"band {band} is not of interest")


@functools.cache
def clip(tongue: int, number: int) -> Floats:
    """One line at 16 kHz without silence before it; the same number lasts about as long in every language."""
    rng = stream(5, "clip", tongue, number)
    length_s = float(stream(5, "length", number).uniform(0.9, 3.5) * rng.uniform(0.8, 1.12))
    sound = speak(language(tongue), voice(stream(5, "voice", tongue, number % 5)), length_s, rng)
    thinned: Floats = scipy.signal.resample_poly(sound, 1, 3)
    loud = np.flatnonzero(np.abs(thinned) > 0.02 * np.abs(thinned).max())
    return thinned[loud[0] : loud[-1]]


@dataclass(frozen=True)
class Dialogue:
    """When which line is spoken."""

    starts_s: Floats
    duration_s: float

    def moved(self, shift_s: float, *, jitter_s: float = 0.0, seed: int = 9, rate: float = 1.0) -> Dialogue:
        """As a dub speaks it: t = (t_master - shift) / rate, give or take."""
        jitter = np.random.default_rng(seed).uniform(-jitter_s, jitter_s, self.starts_s.size)
        return Dialogue((self.starts_s - shift_s) / rate + jitter, self.duration_s / rate)

    def spoken(self, tongue: int, *, level: float = 1.0) -> Floats:
        """(n,) at 16 kHz over a faint hiss; lines that do not fit are left out."""
        sound = 1e-4 * np.random.default_rng(tongue).standard_normal(round(self.duration_s * SR_HZ))
        for number, start_s in enumerate(self.starts_s):
            line, first = clip(tongue, number % CLIPS), round(start_s * SR_HZ)
            if first >= 0 and first + line.size <= sound.size:
                sound[first : first + line.size] += line
        return level * sound


def dialogue(seed: int, duration_s: float = 240.0, *, step_s: float | None = None) -> Dialogue:
    """Lines with pauses of every length between them, or every `step_s`."""
    rng = np.random.default_rng(seed)
    starts, now_s = [], float(rng.uniform(0.5, 3.0))
    while now_s < duration_s - 4.0:
        starts.append(now_s)
        now_s += step_s or clip(MASTER_TONGUE, (len(starts) - 1) % CLIPS).size / SR_HZ + 0.8 + rng.exponential(1.2)
    return Dialogue(np.array(starts), duration_s)


def listen(
    master: Floats, dub: Floats, *, rate: float = 1.0, segments: tuple[SegmentHint, ...] = (), beat: Beat = unheard
) -> MethodAnswer:
    """What the method says of two sounds; `segments`: where a bed placed the dub."""
    sides = [ChannelEvidence(Sound(sound), NoCurve(), LIVELY) for sound in (master, dub)]
    return Speech().run(Evidence((ChannelPair(MID, *sides),), rate=rate, segments=segments), beat)


def estimate(answer: MethodAnswer) -> Estimate:
    assert isinstance(answer.outcome, Estimate), answer.outcome
    return answer.outcome


def refusal(answer: MethodAnswer) -> str:
    assert isinstance(answer.outcome, Inconclusive), answer.outcome
    return "; ".join(answer.outcome.reasons)


def as_lines(spoken: Dialogue, lengths_s: Floats) -> Lines:
    """As a perfect detector would hear it."""
    moments_s = (np.arange(round(spoken.duration_s * FRAMES_PER_S)) + 0.5) / FRAMES_PER_S
    inside = (spoken.starts_s <= moments_s[:, None]) & (moments_s[:, None] < spoken.starts_s + lengths_s)
    return Lines(inside.any(axis=1).astype(np.float32), spoken.starts_s, spoken.starts_s + lengths_s)


@pytest.fixture(scope="module")
def master() -> Floats:
    return dialogue(1).spoken(MASTER_TONGUE)


def test_the_network_says_what_the_original_says_frame_by_frame(master: Floats) -> None:
    # 40 s, longer than a block, and loud enough for both.
    sound = (4.0 * master[: 40 * SR_HZ + 100]).astype(np.float32)
    (ours,) = read_speech(load_silero(), [Sound(sound)], [1.0], unheard)
    theirs = np.array(original_probabilities(np.pad(sound, (0, -sound.size % 512))))
    assert ours.shape == theirs.shape
    assert np.mean(np.abs(ours - theirs) < 0.01) >= 0.99
    assert 0.2 < ours.mean() < 0.95


def original_probabilities(sound: Floats) -> list[float]:
    """By the package's own network, one frame after the other."""
    import torch  # noqa: PLC0415 - seconds to import, and only here

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import silero_vad  # noqa: PLC0415 - sets torch to one thread

        network = silero_vad.load_silero_vad()
    torch.set_num_threads(threads)
    with torch.no_grad():
        return [float(network(torch.from_numpy(frame), SR_HZ)) for frame in sound.reshape(-1, 512)]


def test_two_sounds_read_together_are_heard_as_if_each_were_read_alone(master: Floats) -> None:
    model, short = load_silero(), Sound(master[: 7 * SR_HZ])
    together = read_speech(model, [Sound(master[: 50 * SR_HZ]), short], [2.0, 3.0], unheard)
    (alone,) = read_speech(model, [short], [3.0], unheard)
    assert together[1].shape == alone.shape
    assert np.allclose(together[1], alone, atol=1e-4)


def test_an_empty_sound_has_no_frames() -> None:
    assert read_speech(load_silero(), [Sound(np.zeros(0))], [1.0], unheard)[0].size == 0


def test_listening_needs_no_torch_and_leaves_none_behind() -> None:
    program = (
        "import sys, numpy as np\n"
        "from tests.unit.test_speech import Sound, unheard\n"
        "from syncd.analysis.silero import load_silero, read_speech\n"
        "read_speech(load_silero(), [Sound(np.zeros(16000))], [1.0], unheard)\n"
        "assert not {'torch', 'silero_vad', 'onnxruntime'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=Path(__file__).parents[2])


def test_an_onnx_file_that_is_cut_short_is_refused(tmp_path: Path) -> None:
    import importlib.util  # noqa: PLC0415 - where the package lies

    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    whole = (Path(spec.origin).parent / "data" / "silero_vad_16k_op15.onnx").read_bytes()
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="cut short"):
        read_onnx_floats(cut)


@given(junk=st.binary(max_size=200))
def test_whatever_the_bytes_reading_an_onnx_file_ends_in_weights_or_in_a_refusal(
    junk: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "junk.onnx"
    path.write_bytes(junk)
    try:
        read_onnx_floats(path)
    except ValueError as refused:
        assert str(refused)  # noqa: PT017 - either end is right


def test_lines_start_where_they_were_put() -> None:
    script = dialogue(3)
    (heard,) = hear_lines(load_silero(), [Sound(script.spoken(DUB_TONGUE))], unheard)
    errors_s = np.abs(script.starts_s[:, None] - heard.starts_s).min(axis=1)
    assert np.median(errors_s) < 0.016
    assert np.mean(errors_s < 0.1) > 0.85


def test_a_quiet_dub_is_heard_as_well_as_a_loud_one(master: Floats) -> None:
    loud, quiet = hear_lines(load_silero(), [Sound(master), Sound(0.003 * master)], unheard)
    assert abs(loud.starts_s.size - quiet.starts_s.size) <= 1


def test_short_pauses_lie_within_a_line_and_short_noises_are_none() -> None:
    probability = np.zeros(200, dtype=np.float32)
    probability[20:40] = probability[45:70] = 0.9
    probability[100:103] = 0.9
    probability[120:160] = 0.4
    assert speech_spans(probability) == [(20, 70)]


@pytest.mark.parametrize("offset_s", [-7.313, 4.25])
def test_a_dub_that_shares_no_bed_is_placed_by_when_people_speak(master: Floats, offset_s: float) -> None:
    dub = dialogue(1).moved(offset_s, jitter_s=0.08).spoken(DUB_TONGUE)
    answer = listen(master, dub)
    found = estimate(answer)
    assert abs(found.offset_s - offset_s) < 0.04
    assert abs(found.offset_s - offset_s) * 1000.0 <= found.uncertainty_ms
    assert 20.0 <= found.uncertainty_ms < 100.0
    assert answer.metadata["rests_on"] == "dialogue timing"
    assert isinstance(answer.metadata["lines_matched"], int)
    assert 20 <= answer.metadata["lines_matched"] <= len(dialogue(1).starts_s)


def test_delaying_the_dub_by_a_tenth_moves_the_answer_down_by_a_tenth(master: Floats) -> None:
    script = dialogue(1).moved(0.0, jitter_s=0.05)
    plain = estimate(listen(master, script.spoken(DUB_TONGUE)))
    late = estimate(listen(master, script.moved(-0.1).spoken(DUB_TONGUE)))
    assert plain.offset_s - late.offset_s == pytest.approx(0.1, abs=0.02)


def test_at_a_known_speed_the_offset_is_that_of_the_formula(master: Floats) -> None:
    rate = 25.0 / 23.976
    dub = dialogue(1).moved(-3.0, jitter_s=0.05, rate=rate).spoken(DUB_TONGUE)
    placed = (SegmentHint(0.0, 230.0, -3.0),)
    assert estimate(listen(master, dub, rate=rate, segments=placed)).offset_s == pytest.approx(-3.0, abs=0.04)
    # What a bed told is not searched for again.
    assert isinstance(listen(master, dub, segments=placed).outcome, Inconclusive)


def test_a_pal_dub_without_its_bed_is_placed_at_its_speed(master: Floats) -> None:
    dub = dialogue(1).moved(-3.0, jitter_s=0.05, rate=25.0 / 24.0).spoken(DUB_TONGUE)
    answer = listen(master, dub)
    assert estimate(answer).offset_s == pytest.approx(-3.0, abs=0.06)
    assert answer.rate is not None
    assert answer.rate.ratio == pytest.approx(25.0 / 24.0, abs=0.0011)


def lines_of(script: Dialogue, seed: int) -> Lines:
    """As a perfect detector hears them, of many lengths."""
    return as_lines(script, np.random.default_rng(seed).uniform(0.8, 1.6, script.starts_s.size))


def speed_and_offset(master: Lines, dub: Lines) -> tuple[Rate, float]:
    from syncd.analysis.methods import speech  # noqa: PLC0415 - beyond the contract

    own, coarse = speech._searched(Evidence(()), MID, (master, dub), unheard)
    assert own is not None
    return own, estimate(answer_at(own, coarse, master, dub, {})).offset_s


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    name=st.sampled_from([None, *KNOWN_SPEEDS]),
    offset_s=st.floats(-20.0, 20.0),
    jitter_s=st.floats(0.0, 0.06),
)
def test_lines_without_a_bed_tell_each_known_speed_and_where_they_lie(
    seed: int, name: str | None, offset_s: float, jitter_s: float
) -> None:
    script = dialogue(seed, 600.0)
    rate = float(KNOWN_SPEEDS[name]) if name else 1.0
    dub = script.moved(offset_s, jitter_s=jitter_s, seed=seed, rate=rate)
    kept = (dub.starts_s > 0.0) & (dub.starts_s < dub.duration_s - 2.0)
    own, found_s = speed_and_offset(
        lines_of(script, seed), lines_of(Dialogue(dub.starts_s[kept], dub.duration_s), seed + 1)
    )
    assert (own.name, own.ratio) == (name, pytest.approx(rate))
    assert found_s == pytest.approx(offset_s, abs=0.04)


def test_a_clock_that_drifts_is_measured_by_the_lines_within_what_they_state() -> None:
    script = dialogue(21, 1200.0)
    dub = script.moved(1.0, jitter_s=0.03, rate=1.0005)
    own, found_s = speed_and_offset(lines_of(script, 1), lines_of(dub, 2))
    assert own.name is None
    assert own.uncertainty_ppm is not None
    assert abs(own.ratio - 1.0005) * 1e6 <= own.uncertainty_ppm < 200.0
    assert found_s == pytest.approx(1.0, abs=0.06)


def test_what_is_stated_of_a_known_speed_is_half_an_interval_that_holds_the_truth_and_no_more() -> None:
    stated_ppm = {rate: [stated_uncertainty_ppm(seed, rate) for seed in range(12)] for rate in (1.0, 1.0002)}
    # The reach within which a known speed is not excluded is twice as wide as what one is measured to.
    assert np.median(stated_ppm[1.0]) < 1.6 * np.median(stated_ppm[1.0002])


def stated_uncertainty_ppm(seed: int, rate: float) -> float:
    """Of quarter of an hour of lines at that rate, which it is asserted to hold."""
    script = dialogue(seed, 900.0)
    dub = script.moved(1.0, jitter_s=0.06, seed=seed, rate=rate)
    own, _ = speed_and_offset(lines_of(script, seed), lines_of(dub, seed + 1))
    assert own.uncertainty_ppm is not None
    # Nineteen in twenty hold it; none is off by more than half as much again.
    assert abs(own.ratio / rate - 1.0) * 1e6 <= 1.5 * own.uncertainty_ppm
    return own.uncertainty_ppm


def test_few_lines_leave_the_speed_open_and_say_so() -> None:
    script = dialogue(22, 90.0)
    own, _ = speed_and_offset(lines_of(script, 1), lines_of(script.moved(0.5, jitter_s=0.05), 2))
    assert (own.ratio, own.uncertainty_ppm) == (1.0, None)


def test_where_music_is_shared_too_the_dialogue_agrees(master: Floats) -> None:
    offset_s = 1.2
    programme = Programme(8, 260.0, 16_000)
    bed, dub_bed = (programme.bed(0, 240 * 16_000, shift_s=shift_s).mean(axis=0) for shift_s in (0.0, offset_s))
    gain = 0.25 * float(np.std(master)) / float(np.std(bed))
    dub = dialogue(1).moved(offset_s, jitter_s=0.08).spoken(DUB_TONGUE)
    found = estimate(listen(master + gain * bed, dub + gain * dub_bed))
    assert abs(found.offset_s - offset_s) * 1000.0 <= found.uncertainty_ms


def test_another_programme_in_the_same_language_is_refused_with_the_figure(master: Floats) -> None:
    reason = refusal(listen(master, dialogue(77).spoken(MASTER_TONGUE)))
    assert "deviations over chance, 6.5 are needed" in reason


def test_half_a_minute_of_dialogue_is_not_enough() -> None:
    script = dialogue(5, 45.0)
    reason = refusal(listen(script.spoken(MASTER_TONGUE), script.moved(0.5).spoken(DUB_TONGUE)))
    assert "s of dialogue are heard on the master" in reason


def test_a_master_on_which_nobody_speaks_is_named(master: Floats) -> None:
    hiss = 0.05 * np.random.default_rng(1).standard_normal(60 * SR_HZ)
    assert "nobody is heard to speak on the master" in refusal(listen(hiss, master))
    assert "nobody is heard to speak on the dub" in refusal(listen(master, np.zeros(60 * SR_HZ)))


@pytest.mark.parametrize("coarse_error_s", [-0.12, 0.12])
def test_the_starts_mend_what_the_coarse_lag_missed(coarse_error_s: float) -> None:
    script = dialogue(14, 300.0)
    dub = script.moved(2.0, jitter_s=0.04)
    placed = place_by_starts(script.starts_s, dub.starts_s, 1.0, 2.0 + coarse_error_s)
    assert placed is not None
    assert placed.lag_s == pytest.approx(2.0, abs=0.02)


def moved_after(script: Dialogue, moment_s: float, shift_s: float) -> Dialogue:
    starts_s = np.where(script.starts_s > moment_s, script.starts_s + shift_s, script.starts_s)
    return Dialogue(starts_s, script.duration_s + shift_s)


def test_a_dub_whose_last_third_is_moved_has_no_one_offset() -> None:
    script = dialogue(11, 600.0)
    lengths_s = np.full(script.starts_s.size, 1.5)
    reason = refusal(answer_of(as_lines(script, lengths_s), as_lines(moved_after(script, 420.0, 7.3), lengths_s)))
    assert "the lines do not start together as elsewhere" in reason


def test_the_stretch_that_does_not_fit_is_named_and_a_whole_dub_has_none() -> None:
    script = dialogue(11, 600.0)
    apart = run_apart(script.starts_s, moved_after(script, 420.0, 7.3).starts_s, 1.0, 0.0)
    assert apart is not None
    first_s, last_s = apart
    assert 350.0 < first_s < 440.0
    assert last_s > 550.0
    assert run_apart(script.starts_s, script.moved(0.0, jitter_s=0.08).starts_s, 1.0, 0.0) is None


def test_lines_at_a_steady_beat_fit_at_every_beat_and_are_refused() -> None:
    script = dialogue(12, 300.0, step_s=4.0)
    lines = as_lines(script, np.full(script.starts_s.size, 1.5))
    assert isinstance(answer_of(lines, lines).outcome, Inconclusive)


def answer_of(master: Lines, dub: Lines) -> MethodAnswer:
    """Of lines that are heard already."""
    return answer_at(Rate(), search_dialogue(MID, master, dub, 1.0, unheard), master, dub, {})


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    offset_s=st.floats(-40.0, 40.0),
    jitter_s=st.floats(0.0, 0.08),
    missing=st.floats(0.0, 0.15),
)
def test_wherever_the_dub_lies_its_lines_tell(seed: int, offset_s: float, jitter_s: float, missing: float) -> None:
    rng = np.random.default_rng(seed)
    script = dialogue(seed, 420.0)
    lengths_s = rng.uniform(0.8, 1.6, script.starts_s.size)
    dub = script.moved(offset_s, jitter_s=jitter_s, seed=seed)
    kept = (rng.uniform(size=dub.starts_s.size) >= missing) & (dub.starts_s > 0.0) & (dub.starts_s < 418.0)
    theirs = as_lines(Dialogue(dub.starts_s[kept], 420.0), lengths_s[kept] * rng.uniform(0.8, 1.2, int(kept.sum())))
    ours = as_lines(script, lengths_s)
    coarse = search_dialogue(MID, ours, theirs, 1.0, unheard)
    placed = place_by_starts(ours.starts_s, theirs.starts_s, 1.0, coarse.peaks[0].lag_s)
    assert placed is not None
    assert abs(placed.lag_s - offset_s) < 0.04
    assert placed.uncertainty_ms >= 20.0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_two_programmes_seldom_speak_together(seed: int) -> None:
    one, other = (dialogue(2 * seed + part, 300.0) for part in (0, 1))
    heard = [as_lines(script, np.full(script.starts_s.size, 1.3)) for script in (one, other)]
    assert isinstance(answer_of(heard[0], heard[1]).outcome, Inconclusive)


def test_without_the_package_the_method_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, master: Floats) -> None:
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    assert "silero-vad is not installed" in refusal(listen(master[:SR_HZ], master[:SR_HZ]))


def test_whoever_counts_the_work_can_end_it(master: Floats) -> None:
    class Enough(Exception):
        pass

    steps: list[tuple[int, int]] = []

    def beat(done: int, total: int) -> None:
        steps.append((done, total))
        if done == 2:
            raise Enough

    with pytest.raises(Enough):
        listen(master, master, beat=beat)
    assert [done for done, _ in steps] == [0, 1, 2]
    assert len({total for _, total in steps}) == 1
