"""Many small pairs for a service, each another version of one of a few."""

from __future__ import annotations

from pathlib import Path

from tests.material import PairTruth, make_pair

PAIRS_MADE = 4
DURATION_S = 8.0
OFFSET_S = -0.75


class ManyPairs:
    """Makes a few, drops as many as are wanted."""

    def __init__(self, folder: Path) -> None:
        self._made: list[PairTruth] = []
        for i in range(PAIRS_MADE):
            place = folder / f"made{i}"
            place.mkdir(parents=True)
            self._made.append(make_pair(place, seed=700 + i, duration_s=DURATION_S, offset_s=OFFSET_S))

    def drop(self, folder: Path, number: int) -> str:
        """One pair into a watched folder; returns its title."""
        title = f"show{number:05d}"
        pair = self._made[number % PAIRS_MADE]
        for role, source in (("master", pair.master_path), ("dub", pair.dub_path)):
            sound = bytearray(source.read_bytes())
            sound[-4:] = number.to_bytes(4, "little")  # Another version of the file, to the sample the same sound.
            (folder / f"{title}_{role}.wav").write_bytes(sound)
        return title
