"""The kinds of the corpus: each draws its cases from a random stream, every parameter of them.

Limits are those that the analysis is held to: 0.1 ms wherever music and effects are shared and nothing moves them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tests.material.kinds import apart, mixes, start, timing
from tests.material.recipes import Case


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind's cases are drawn (from a stream and the number within the kind), and how many there usually are."""

    draw: Callable[[start.Rng, int], Case]
    usual_number: int


KINDS: Final[dict[str, Kind]] = {
    "plain": Kind(start.plain, 8),
    "level": Kind(mixes.level, 6),
    "noise": Kind(mixes.noise, 9),
    "polarity": Kind(mixes.polarity, 4),
    "swapped": Kind(mixes.swapped, 4),
    "mono": Kind(mixes.mono, 6),
    "sample_rates": Kind(mixes.sample_rates, 16),
    "formats": Kind(mixes.formats, 6),
    "compression": Kind(mixes.compression, 9),
    "linear_eq": Kind(mixes.linear_eq, 8),
    "minimum_eq": Kind(mixes.minimum_eq, 8),
    "ducking": Kind(mixes.ducking, 8),
    "quiet_bed": Kind(mixes.quiet_bed, 10),
    "loud_bed": Kind(mixes.loud_bed, 4),
    "dirty": Kind(mixes.dirty, 20),
    "remixed": Kind(mixes.remixed, 14),
    "reverb": Kind(mixes.reverb, 14),
    "reverb_wet": Kind(mixes.reverb_wet, 12),
    "lossy": Kind(mixes.lossy, 28),
    "double_encoded": Kind(mixes.double_encoded, 8),
    "5.1": Kind(mixes.surround, 9),
    "7.1": Kind(mixes.surround_7, 3),
    "leader": Kind(timing.leader, 12),
    "trailer": Kind(timing.trailer, 6),
    "partial": Kind(timing.partial, 6),
    "edits": Kind(timing.edits, 32),
    "rates": Kind(timing.rates, 30),
    "long": Kind(timing.half_an_hour, 3),
    "pal_edits": Kind(timing.pal_edits, 12),
    "wow": Kind(timing.wow, 6),
    "pitch_kept": Kind(timing.pitch_kept, 15),
    "repitched": Kind(timing.repitched, 6),
    "excerpt": Kind(timing.excerpt, 6),
    "clip": Kind(timing.clip, 12),
    "dialogue_only": Kind(apart.dialogue_only, 15),
    "dialogue_speed": Kind(apart.dialogue_speed, 6),
    "other_bed": Kind(apart.other_bed, 6),
    "loops": Kind(apart.loops, 6),
    "nothing": Kind(apart.nothing, 9),
    "unrelated": Kind(apart.unrelated, 24),
    "unrelated_hard": Kind(apart.unrelated_hard, 12),
    "shared_title": Kind(apart.shared_title, 8),
}
