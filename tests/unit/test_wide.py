"""One long correlation over all lags: beds that the curves cannot hear, clips too short to say their speed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import soxr
from numpy.typing import NDArray

from syncd.analysis.evidence import ChannelPair
from syncd.analysis.survey import Gap
from syncd.analysis.wide import SPEEDS, wide_search, wide_within
from syncd.domain import Verdict
from tests.unit.in_memory import SR_HZ, answer_to, pair_of, quietly, tune

Floats = NDArray[Any]


def talk(seconds: float, seed: int) -> Floats:
    """What lies over a bed and is not shared: noise that comes and goes as speech does."""
    rng = np.random.default_rng(seed)
    gate = np.repeat(rng.uniform(size=int(seconds * 4) + 1) < 0.7, SR_HZ // 4)[: int(seconds * SR_HZ)]
    return 0.3 * gate * rng.standard_normal(int(seconds * SR_HZ))


def buried(seconds: float, *, late_s: float = 0.0, rate: float = 1.0, bed_gain: float = 2.0) -> tuple[Floats, Floats]:
    """A bed far below what is spoken over it: master, and a dub that is late or runs at another speed."""
    bed = bed_gain * tune(seconds, 11)
    late = np.concatenate((np.zeros(round(late_s * SR_HZ)), bed))[: bed.size]
    dub = late if rate == 1.0 else soxr.resample(late, rate, 1.0)
    return bed + talk(seconds, 1), dub + talk(dub.size / SR_HZ, 2)[: dub.size]


def pair(master: Floats, dub: Floats) -> ChannelPair:
    return pair_of(master.astype(np.float32), dub.astype(np.float32))


def test_a_bed_far_below_what_is_spoken_over_it_is_found() -> None:
    (found, *_) = wide_search([pair(*buried(60.0, late_s=2.5))], quietly)
    assert found.rate == 1.0
    assert found.lag_s == pytest.approx(-2.5, abs=1e-4)


@pytest.mark.parametrize("rate", SPEEDS[1:])
def test_a_short_clip_is_found_at_every_well_known_speed(rate: float) -> None:
    (found, *_) = wide_search([pair(*buried(12.0, rate=rate, bed_gain=4.0))], quietly)
    assert found.rate == rate
    assert found.lag_s == pytest.approx(0.0, abs=1e-3)


def test_what_shares_nothing_is_not_found() -> None:
    master, dub = tune(40.0, 1) + talk(40.0, 3), tune(40.0, 2) + talk(40.0, 4)
    assert wide_search([pair(master, dub)], quietly) == ()


def test_silence_is_not_found_either() -> None:
    master, _ = buried(20.0)
    assert wide_search([pair(master, np.zeros(master.size))], quietly) == ()


def test_within_a_gap_only_the_gap_is_looked_at() -> None:
    bed = 3.0 * tune(60.0, 7)
    master, dub = bed + talk(60.0, 1), bed + talk(60.0, 2)
    gap = Gap(dub_s=(30.0, 45.0), master_s=(20.0, 50.0))
    (found,) = wide_within([pair(master, dub)], 1.0, gap)
    assert found.lag_s == pytest.approx(0.0, abs=1e-3)
    assert wide_within([pair(master, dub)], 1.0, Gap(dub_s=(30.0, 45.0), master_s=(50.0, 60.0))) == ()


def test_an_analysis_finds_the_speed_of_a_clip_that_is_too_short_for_its_curves() -> None:
    decision = answer_to(*buried(12.0, rate=25 / 24, bed_gain=4.0)).decision
    assert decision.verdict is Verdict.DRIFT
    assert decision.rate is not None
    assert decision.rate.ratio == pytest.approx(25 / 24, rel=2e-6)
    assert decision.consensus is not None
    assert decision.consensus.offset_s == pytest.approx(0.0, abs=1e-3)


def words_of(vocabulary: int, seed: int, *sides: int, seconds: float = 120.0) -> list[Floats]:
    """The same words in an order and at times of each side's own, as one synthetic voice, or one library, has them."""
    rng = np.random.default_rng(seed)
    words = [0.3 * rng.standard_normal(int(rng.uniform(0.25, 0.6) * SR_HZ)) for _ in range(vocabulary)]
    return [spoken(words, np.random.default_rng(side), seconds) for side in sides]


def spoken(words: list[Floats], rng: np.random.Generator, seconds: float) -> Floats:
    sound = 0.003 * rng.standard_normal(int(seconds * SR_HZ))
    at_s = rng.uniform(0.3, 2.5)
    while True:
        word = words[rng.integers(len(words))]
        first = int(at_s * SR_HZ)
        if first + word.size > sound.size:
            return sound
        sound[first : first + word.size] += word
        at_s += word.size / SR_HZ + rng.uniform(0.3, 2.5)


def test_words_that_are_said_again_at_other_times_vouch_for_no_offset() -> None:
    """They fit at many places, each by a few windows: dialogue lay where a voice had said the same word."""
    master, dub = words_of(12, 4, 41, 42)
    result = answer_to(master.astype(np.float32), dub.astype(np.float32))
    assert len(wide_search([pair(master, dub)], quietly)) > 4
    assert result.decision.verdict in {Verdict.NO_MATCH, Verdict.INCONCLUSIVE}
