"""What is compared with what: each channel with its own like, and a bed without its centre with what comes nearest."""

from __future__ import annotations

import pytest

from syncd.analysis.evidence import ChannelEvidence, SideEvidence, shared_channels
from syncd.analysis.features import Activity


class Nothing:
    samples = frames = 0

    def read(self, start: int, count: int) -> None: ...

    def read_band(self, band: int) -> None: ...


def side(*names: str) -> SideEvidence:
    nothing = Nothing()
    return SideEvidence(1.0, {name: ChannelEvidence(nothing, nothing, Activity(-20.0, 5.0)) for name in names})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("master", "dub", "pairs"),
    [
        (("mid",), ("mid",), [("mid", "mid", "mid")]),
        (("mid", "side"), ("mid",), [("mid", "mid", "mid")]),
        (("mid", "side"), ("mid", "side"), [("mid", "mid", "mid"), ("side", "side", "side")]),
        (
            ("mid", "side", "no_centre"),
            ("mid", "side", "no_centre"),
            [("mid", "mid", "mid"), ("side", "side", "side"), ("no_centre", "no_centre", "no_centre")],
        ),
        (("mid", "no_centre"), ("mid",), [("mid", "mid", "mid"), ("no_centre", "no_centre", "mid")]),
        (("mid",), ("mid", "no_centre"), [("mid", "mid", "mid"), ("no_centre", "mid", "no_centre")]),
    ],
)
def test_channels_are_paired_with_their_like(
    master: tuple[str, ...], dub: tuple[str, ...], pairs: list[tuple[str, str, str]]
) -> None:
    one, other = side(*master), side(*dub)
    found = shared_channels(one, other)
    assert [pair.name for pair in found] == [name for name, _, _ in pairs]
    for pair, (_, ours, theirs) in zip(found, pairs, strict=True):
        assert pair.master is one.channels[ours]
        assert pair.dub is other.channels[theirs]
