"""Sound that no offset can be read from: never an exception, never an offset, always a reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.analysis.methods import registry
from syncd.analysis.verdict import Decision
from syncd.domain import MethodStatus, SegmentKind, Verdict
from tests.unit.in_memory import SR_HZ, answer_to, tune

Floats = NDArray[Any]
SECONDS = 20.0
ALL = tuple(name for name in registry() if name != "speech")
"""`speech` has tests of its own; its model is not everywhere."""


def click(at_s: float, seconds: float = SECONDS) -> Floats:
    sound = np.zeros(int(seconds * SR_HZ))
    sound[int(at_s * SR_HZ)] = 1.0
    return sound


def tone(hz: float, seconds: float = SECONDS, level: float = 0.3) -> Floats:
    return level * np.sin(2.0 * np.pi * hz * np.arange(int(seconds * SR_HZ)) / SR_HZ)


def noise(seed: int, seconds: float = SECONDS) -> Floats:
    return 0.1 * np.random.default_rng(seed).standard_normal(int(seconds * SR_HZ))


def unplaceable(kind: str, seed: int = 1) -> Floats:
    n = int(SECONDS * SR_HZ)
    times_s = np.arange(n) / SR_HZ
    return {
        "digital silence": np.zeros(n),
        "dither": np.random.default_rng(seed).integers(-1, 2, n) / 32_768.0,
        "direct current": np.full(n, 0.5),
        "full scale, all of it": np.full(n, 1.0),
        "a tone": tone(440.0),
        "a tone, clipped": np.clip(tone(440.0, level=20.0), -1.0, 1.0),
        "mains hum": tone(50.0) + tone(100.0),
        "steady noise": noise(seed),
        "a single click": click(7.0),
        "a square wave, all samples at either end": np.where(times_s * 880.0 % 1.0 < 0.5, 1.0, -1.0),
        "tiny numbers": 1e-30 * noise(seed),
        "huge numbers": 1e6 * noise(seed),
    }[kind]


KINDS = (
    "digital silence",
    "dither",
    "direct current",
    "full scale, all of it",
    "a tone",
    "a tone, clipped",
    "mains hum",
    "steady noise",
    "a single click",
    "a square wave, all samples at either end",
    "tiny numbers",
    "huge numbers",
)


@pytest.fixture(scope="session")
def programme() -> Floats:
    """Twenty-four seconds in stereo."""
    middle, side = tune(24.0, 61), tune(24.0, 62)
    return np.stack((middle + 0.4 * side, middle - 0.4 * side))


def refused(master: Floats, dub: Floats, methods: tuple[str, ...] = ALL) -> Decision:
    """The decision, which names no offset, of an analysis in which nothing broke."""
    answer = answer_to(master, dub, methods=methods)
    assert all(result.status is not MethodStatus.FAILED for result in answer.method_results), answer.method_results
    decision = answer.decision
    assert decision.verdict in {Verdict.INCONCLUSIVE, Verdict.NO_MATCH}, decision.consensus
    assert decision.consensus is None
    assert decision.rate is None
    assert decision.reasons
    assert {segment.kind for segment in decision.timeline} <= {SegmentKind.UNMATCHED}
    return decision


@pytest.mark.parametrize("kind", KINDS)
def test_a_side_with_nothing_to_place_is_refused_on_either_side(kind: str, programme: Floats) -> None:
    bad = unplaceable(kind)
    for decision in (refused(programme, bad), refused(bad, programme)):
        assert decision.verdict is Verdict.INCONCLUSIVE or kind == "a single click"


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "a single click"])
def test_two_sides_with_nothing_to_place_are_not_called_in_sync(kind: str) -> None:
    assert refused(unplaceable(kind), unplaceable(kind, seed=2)).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize("other_hz", [50.0, 60.0])
def test_hum_on_both_sides_is_no_programme(other_hz: float) -> None:
    refused(tone(50.0) + tone(100.0), (tone(other_hz) + tone(2.0 * other_hz))[: 17 * SR_HZ])


@pytest.mark.parametrize("apart_s", [0.0, 0.1, 0.5, 1.0, 5.0])
def test_one_click_on_each_side_is_no_programme(apart_s: float) -> None:
    refused(click(7.0), click(7.0 + apart_s))


@pytest.mark.parametrize("seconds", [0.0, 1e-4, 0.01, 0.3])
def test_a_clip_too_short_to_hold_anything_breaks_nothing(seconds: float, programme: Floats) -> None:
    clip = programme[:, 10 * SR_HZ : 10 * SR_HZ + max(1, int(seconds * SR_HZ))]
    refused(programme, clip)
    refused(clip, programme)
    refused(clip, clip)


@pytest.mark.parametrize("seconds", [1.0, 2.0, 4.0])
def test_a_short_clip_is_placed_rightly_or_not_at_all(seconds: float, programme: Floats) -> None:
    clip = programme[:, 10 * SR_HZ : int((10.0 + seconds) * SR_HZ)]
    decision = answer_to(programme, clip, methods=ALL).decision
    assert decision.consensus is None or decision.consensus.offset_s == pytest.approx(10.0, abs=1e-3)
    other = tune(seconds, 77)
    refused(programme, other)


@pytest.mark.parametrize("seed", range(4))
def test_short_clips_of_other_programmes_fit_nowhere(seed: int, programme: Floats) -> None:
    refused(programme, tune(3.0 + seed, 700 + seed))


def test_clipped_programmes_of_different_kinds_are_as_different(programme: Floats) -> None:
    other = np.stack((tune(24.0, 63), tune(24.0, 64)))
    refused(np.clip(40.0 * programme, -1.0, 1.0), np.clip(40.0 * other, -1.0, 1.0))


def test_a_dub_clipped_to_shreds_lies_where_it_lay(programme: Floats) -> None:
    decision = answer_to(programme, np.clip(40.0 * programme[:, 2 * SR_HZ :], -1.0, 1.0)).decision
    assert decision.consensus is not None
    assert decision.consensus.offset_s == pytest.approx(2.0, abs=1e-4)


def test_a_dub_of_telephone_bandwidth_lies_where_it_lay(programme: Floats) -> None:
    """8 kHz: nothing above 4 kHz is left once it has been brought to the rate of the analysis."""
    spectrum = np.fft.rfft(programme[:, 2 * SR_HZ :])
    spectrum[:, np.fft.rfftfreq(22 * SR_HZ, 1.0 / SR_HZ) > 3_700.0] = 0.0
    narrow = np.fft.irfft(spectrum, 22 * SR_HZ)
    decision = answer_to(programme, narrow).decision
    assert decision.consensus is not None
    assert decision.consensus.offset_s == pytest.approx(2.0, abs=1e-4)
    refused(np.stack((tune(24.0, 65), tune(24.0, 66))), narrow)


def test_a_constant_added_to_one_side_moves_nothing(programme: Floats) -> None:
    decision = answer_to(programme, programme[:, SR_HZ:] + 0.4).decision
    assert decision.consensus is not None
    assert decision.consensus.offset_s == pytest.approx(1.0, abs=1e-4)


def test_a_click_in_the_silence_beside_the_programme_moves_nothing(programme: Floats) -> None:
    dub = np.concatenate((np.zeros((2, 3 * SR_HZ)), programme), axis=1)
    dub[:, SR_HZ] = 1.0
    decision = answer_to(programme, dub).decision
    assert decision.consensus is not None
    assert decision.consensus.offset_s == pytest.approx(-3.0, abs=1e-4)
