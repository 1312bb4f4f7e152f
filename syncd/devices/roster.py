"""Which cards there are, and what was heard of each last. Nothing is asked here: frames in, readings out."""

from __future__ import annotations

from typing import Final

import msgspec

from syncd.devices.frames import Read
from syncd.devices.readings import GpuReading, Heard

NAMELESS: Final = "card-{index}"
"""Stands for the UUID of a card that never told it; nothing can be bound to it."""
FIRST_WORD_S: Final = 2.0
"""A listed card that has said nothing for so long is told of all the same."""

MOST_XIDS: Final = 16
"""Errors kept for a card between two answers."""


class Roster:
    """The cards of the machine, over the lives of the processes that ask for them."""

    def __init__(self) -> None:
        self._card_count = 0
        self._counted_at_s = 0.0
        self._readings: dict[int, tuple[GpuReading, ...]] = {}
        self._heard_at_s: dict[int, float] = {}
        self._xids: dict[int, list[int]] = {}

    def set_count(self, card_count: int, now_s: float) -> None:
        """The driver lists so many cards; those behind are gone."""
        if card_count != self._card_count:
            self._card_count, self._counted_at_s = card_count, now_s
        for index in [i for i in self._readings if i >= card_count]:
            del self._readings[index], self._heard_at_s[index]

    def take(self, read: Read) -> None:
        """What a card says now; a card in trouble keeps the names that it had, one that is not listed is no card."""
        if read.index >= self._card_count:
            return
        readings = read.readings
        if read.trouble is not None:
            known = self._readings.get(read.index) or (_nameless(read.index),)
            readings = tuple(_in_trouble(reading, read.trouble) for reading in known)
        self._readings[read.index] = readings
        self._heard_at_s[read.index] = read.at_s

    def note_xid(self, index: int, xid: int) -> None:
        """An error that the driver told of; all slices of the card share it."""
        self._xids[index] = [*self._xids.get(index, ()), xid][-MOST_XIDS:]

    def is_in_trouble(self) -> bool:
        """Whether a card answers that it cannot be used: whoever asks anew may find it well again."""
        return any(reading.trouble is not None for readings in self._readings.values() for reading in readings)

    def oldest_s(self, now_s: float) -> float:
        """How long the card that has been silent longest has been so; 0 without cards."""
        return max((now_s - self._last_word_s(index) for index in range(self._card_count)), default=0.0)

    def answer(self, now_s: float) -> tuple[Heard, ...]:
        """The latest of every card in PCI order; errors are told once."""
        heard = tuple(
            Heard(msgspec.structs.replace(reading, xids=tuple(self._xids.get(index, ()))), age_s)
            for index in range(self._card_count)
            for reading, age_s in self._latest(index, now_s)
        )
        # An error can be told before the first reading of its card is there; it is kept for that.
        told = {one.reading.index for one in heard}
        self._xids = {index: xids for index, xids in self._xids.items() if index not in told}
        return heard

    def _latest(self, index: int, now_s: float) -> list[tuple[GpuReading, float]]:
        age_s = max(0.0, now_s - self._last_word_s(index))
        if index in self._readings:
            return [(reading, age_s) for reading in self._readings[index]]
        return [(_in_trouble(_nameless(index), "no answer yet"), age_s)] if age_s > FIRST_WORD_S else []

    def _last_word_s(self, index: int) -> float:
        return self._heard_at_s.get(index, self._counted_at_s)


def _nameless(index: int) -> GpuReading:
    return GpuReading(NAMELESS.format(index=index), index, "unknown", 0, 0)


def _in_trouble(reading: GpuReading, trouble: str) -> GpuReading:
    return GpuReading(
        reading.uuid,
        reading.index,
        reading.name,
        total_bytes=0,
        free_bytes=0,
        compute_capability=reading.compute_capability,
        ecc_errors=reading.ecc_errors,
        trouble=trouble,
    )
