"""The survey: at which speed and in which pieces a dub lies, to a frame; and word of how far it is."""

from __future__ import annotations

import numpy as np
import pytest

from syncd.analysis.survey import Surveyor
from tests.unit.in_memory import SR_HZ, pair_of, quietly, tune


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
