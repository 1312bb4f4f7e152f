"""How much is admitted to the cards: less after trouble, more after calm. Pure.

Each death by memory and each hang on a card makes the supervisor more careful by one tier, at once; a row of jobs that
went well takes it back by one. In a more careful tier every promise is larger, and fewer jobs share a card.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final


class Tier(IntEnum):
    """From everything that fits to one job a card."""

    NORMAL = 0
    STABLE = 1
    DEFENSIVE = 2
    MINIMAL = 3


SAFETY: Final = {Tier.NORMAL: 1.0, Tier.STABLE: 1.15, Tier.DEFENSIVE: 1.3, Tier.MINIMAL: 1.3}
"""Promises are so many times what is predicted."""
MOST_A_CARD: Final = {Tier.NORMAL: 64, Tier.STABLE: 64, Tier.DEFENSIVE: 2, Tier.MINIMAL: 1}
CALM_JOBS: Final = 12
"""So many in a row that went well end a tier."""


@dataclass(frozen=True, slots=True)
class Caution:
    """Where admission to the cards stands."""

    tier: Tier = Tier.NORMAL
    calm_jobs: int = 0

    @property
    def safety(self) -> float:
        """What promises are multiplied by."""
        return SAFETY[self.tier]

    @property
    def most_a_card(self) -> int:
        """How many jobs may share one."""
        return MOST_A_CARD[self.tier]

    def after_trouble(self) -> Caution:
        """A job ran out of a card's memory, or hung on it."""
        return Caution(Tier(min(Tier.MINIMAL, self.tier + 1)))

    def after_success(self) -> Caution:
        """A job that used a card went well."""
        if self.tier is Tier.NORMAL:
            return self
        if self.calm_jobs + 1 < CALM_JOBS:
            return replace(self, calm_jobs=self.calm_jobs + 1)
        return Caution(Tier(self.tier - 1))
