"""One master, many dubs: whom to admit while a worker makes a master's features. Pure.

The first job of a master decodes it and keeps what it made; its other dubs cost half if they wait for that. So they are
held back as long as something else can use the room, and only so long: where nothing else waits, an idle slot decodes
the master once more rather than stand still. A job makes its master from its claim until its worker says that the
features are there, or is gone; a worker's death ends the holding back like its success.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from syncd.domain import Identity, ReadyJob


@dataclass(frozen=True, slots=True)
class MasterFeatures:
    """Jobs that agree in this share what is made of their master."""

    master: Identity
    track: int | None
    chroma: bool
    """Chroma is made only for those who ask; features without it serve nobody who does."""


def features_of(job: ReadyJob) -> MasterFeatures:
    """What a job needs of its master."""
    return MasterFeatures(job.master.identity, job.master_track, "chroma" in job.settings.methods)


def next_to_try(waiting: Sequence[MasterFeatures], being_made: Collection[MasterFeatures]) -> int:
    """Which of the waiting jobs (at least one, in the queue's order) is to be tried next.

    The first whose master nobody is making; where all would wait for one, the first.
    """
    return next((i for i, features in enumerate(waiting) if features not in being_made), 0)
