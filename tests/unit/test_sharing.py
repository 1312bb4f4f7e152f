"""Who is admitted while a worker makes a master's features: others first, and somebody always."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.domain import Identity
from syncd.supervisor.sharing import MasterFeatures, next_to_try


def features(name: str, *, track: int | None = None, chroma: bool = False) -> MasterFeatures:
    return MasterFeatures(Identity(100, 1, name), track, chroma)


A, B, C = features("a"), features("b"), features("c")


@pytest.mark.parametrize(
    ("waiting", "being_made", "place"),
    [
        ([A, A, B], [], 0),
        ([A, A, B], [A], 2),
        ([A, B, C], [A, B], 2),
        ([A, B], [C], 0),
    ],
)
def test_dubs_of_a_master_in_the_making_let_others_go_first(
    waiting: list[MasterFeatures], being_made: list[MasterFeatures], place: int
) -> None:
    assert next_to_try(waiting, being_made) == place


def test_where_all_would_wait_the_first_goes() -> None:
    assert next_to_try([A, A, B], [A, B]) == 0


def test_another_track_or_chroma_is_another_thing_to_make() -> None:
    assert next_to_try([features("a", track=1)], [A]) == 0
    assert next_to_try([A, features("a", track=1)], [A]) == 1
    assert next_to_try([A, features("a", chroma=True)], [A]) == 1


@given(st.lists(st.sampled_from([A, B, C]), min_size=1), st.sets(st.sampled_from([A, B, C])))
def test_somebody_is_always_tried_and_never_over_the_head_of_one_as_free(
    waiting: list[MasterFeatures], being_made: set[MasterFeatures]
) -> None:
    place = next_to_try(waiting, being_made)
    passed_over = waiting[:place]
    assert all(one in being_made for one in passed_over)
    assert waiting[place] not in being_made or all(one in being_made for one in waiting)
