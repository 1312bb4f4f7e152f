"""What is found in the middle of a piece, and what is too short to be one."""

from __future__ import annotations

from syncd.analysis.align import Aligned
from syncd.analysis.solve import _laid_into
from syncd.analysis.survey import Piece


def piece(start_s: float, end_s: float, lag_s: float) -> Aligned:
    return Aligned(Piece(start_s, end_s, lag_s, 100.0), None, None)


def told(*pieces: Aligned) -> list[tuple[float, float, float]]:
    return [(one.piece.start_s, one.piece.end_s, one.piece.lag_s) for one in pieces]


def test_a_piece_that_is_found_inside_another_parts_it() -> None:
    """Else the one found would have to lie before or behind all of the other, and swallow half of it."""
    laid = _laid_into((piece(0.0, 240.0, -0.5),), (piece(43.0, 49.0, 4.3),))
    assert told(*laid) == [(0.0, 43.0, -0.5), (43.0, 49.0, 4.3), (49.0, 240.0, -0.5)]


def test_nothing_is_left_of_a_piece_but_what_is_long_enough_to_be_one() -> None:
    """A rest of 20 ms behind a cut would be a second cut, and half a second beside it nobody's."""
    laid = _laid_into((piece(0.0, 59.02, 0.0),), (piece(50.02, 59.0, 1.0),))
    assert told(*laid) == [(0.0, 50.02, 0.0), (50.02, 59.0, 1.0)]


def test_pieces_found_beside_others_lie_in_order_of_time() -> None:
    laid = _laid_into((piece(60.0, 90.0, 5.0), piece(90.0, 200.0, 9.0)), (piece(0.0, 50.0, 1.0),))
    assert told(*laid) == [(0.0, 50.0, 1.0), (60.0, 90.0, 5.0), (90.0, 200.0, 9.0)]


def test_two_that_are_found_in_one_leave_three_parts_of_it() -> None:
    laid = _laid_into((piece(0.0, 100.0, 0.0),), (piece(20.0, 30.0, 2.0), piece(60.0, 70.0, 3.0)))
    assert [one.piece.lag_s for one in laid] == [0.0, 2.0, 0.0, 3.0, 0.0]
