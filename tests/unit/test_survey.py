"""The survey: at which speed and in which pieces a dub lies, to a frame; and word of how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.analysis.evidence import MID, ChannelEvidence, ChannelPair
from syncd.analysis.features import COARSE_MEL, Activity
from syncd.analysis.survey import Surveyor
from syncd.analysis.thresholds import THRESHOLDS
from tests.unit.in_memory import SR_HZ, Curve, Sound, pair_of, quietly, tune

Floats = NDArray[Any]


class Enough(Exception):
    """Raised by a beat that ends the work."""


def test_every_speed_that_is_tried_moves_the_progress_on() -> None:
    beats: list[tuple[int, int]] = []
    surveyor = Surveyor((pair_of(tune(30.0, 1), tune(30.0, 2)),))
    surveyor.survey(lambda done, total: beats.append((done, total)))
    done = [done for done, _ in beats]
    assert len(done) > 10
    assert done == list(range(len(done)))
    assert all(done < total for done, total in beats)


def test_a_survey_is_called_off_before_the_first_comparison() -> None:
    def stop(done: int, total: int) -> None:
        raise Enough(f"{done} of {total}")

    sound = tune(20.0, 3)
    with pytest.raises(Enough):
        Surveyor((pair_of(sound, sound),)).survey(stop)


def test_an_excerpt_is_one_piece_and_a_cut_makes_two() -> None:
    ours = tune(80.0, 4)
    (found,) = Surveyor((pair_of(ours, ours[20 * SR_HZ : 60 * SR_HZ]),)).survey(quietly)
    assert found.rate == 1.0
    assert [piece.lag_s for piece in found.pieces] == [pytest.approx(20.0, abs=0.02)]
    cut = np.concatenate((ours[: 40 * SR_HZ], ours[43 * SR_HZ :]))
    (found,) = Surveyor((pair_of(ours, cut),)).survey(quietly)
    assert [piece.lag_s for piece in found.pieces] == [pytest.approx(lag_s, abs=0.02) for lag_s in (0.0, 3.0)]
    assert found.pieces[0].end_s == pytest.approx(40.0, abs=13.0)
    assert found.pieces[1].start_s == pytest.approx(40.0, abs=13.0)


def random_flux(minutes: float, seed: int) -> Floats:
    """Every band rises by chance."""
    frames = round(60.0 * minutes * COARSE_MEL.frames_per_s)
    return np.random.default_rng(seed).exponential(1.0, (COARSE_MEL.n_mels, frames)).astype(np.float32)


def far_between(minutes: float, seed: int) -> Floats:
    """The same with a blow in all bands every four seconds or so."""
    rng = np.random.default_rng(seed)
    flux = 0.3 * random_flux(minutes, seed)
    every = rng.uniform(0.8, 1.2, flux.shape[1] // 200) * 4.0 * COARSE_MEL.frames_per_s
    at = np.cumsum(every).astype(int)
    at = at[at < flux.shape[1]]
    flux[:, at] += rng.uniform(2.0, 12.0, at.size)
    return flux


def rising(flux: Floats) -> ChannelEvidence:
    """Levels that rise as the flux says, and never fall."""
    return ChannelEvidence(Sound(np.zeros(1)), Curve(np.cumsum(flux, axis=1, dtype=np.float64)), Activity(-30.0, 5.0))


@pytest.mark.parametrize(
    ("flux", "minutes"), [(random_flux, 20.0), (far_between, 3.0)], ids=["much of everything", "a blow now and then"]
)
@pytest.mark.parametrize("seed", range(3))
def test_what_is_not_shared_has_no_pieces_however_long_or_sparse(
    flux: Callable[[float, int], Floats], minutes: float, seed: int
) -> None:
    """Nor does it stand out enough to doubt that the two have nothing in common."""
    pair = ChannelPair(MID, rising(flux(minutes, 2 * seed)), rising(flux(minutes, 2 * seed + 1)))
    (found,) = Surveyor((pair,)).survey(quietly)
    assert found.pieces == ()
    assert found.deviations < THRESHOLDS.coarse_doubt_deviations


def test_two_blocks_that_happen_to_lie_on_a_line_do_not_settle_the_speed() -> None:
    """Most of the dub runs 0.8 % faster; two parts of it fit the master as they are, a little apart."""
    master = random_flux(5.0, 7)
    frames_per_s = COARSE_MEL.frames_per_s
    dub = np.stack([np.interp(np.arange(0, band.size, 1.008), np.arange(band.size), band) for band in master])
    for start_s, lag_s in ((30.0, 0.0), (180.0, 0.3)):
        first, lag, length = (round(s * frames_per_s) for s in (start_s, lag_s, 26.0))
        dub[:, first : first + length] = master[:, first + lag : first + lag + length]
    (found, *_) = Surveyor((ChannelPair(MID, rising(master), rising(dub.astype(np.float32))),)).survey(quietly)
    assert found.rate == pytest.approx(1.008, abs=2e-4)
