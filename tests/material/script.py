"""Who speaks when: slots that follow from the programme, lines that follow from the language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tests.material.scenes import Scene
from tests.material.seeds import RATE_HZ, Samples, stream
from tests.material.speech import Voice, language, speak, voice

_SPEAKERS: Final = 5
JITTER_S: Final = 0.15
"""How far a language's line may start from its slot, unless somebody says otherwise."""
_LONGEST_GAP_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the script, the same in every language."""

    scene_index: int
    number: int
    start_s: float
    """Against the programme's start."""
    duration_s: float
    speaker: int


@dataclass(frozen=True, slots=True)
class Line:
    """A slot as one language speaks it."""

    slot: Slot
    first_sample: int
    duration_s: float

    @property
    def n_samples(self) -> int:
        """An upper bound of the rendered length."""
        return round(self.duration_s * RATE_HZ) + RATE_HZ


def slots(seed: int, plan: Scene) -> list[Slot]:
    """The lines of a scene: turns of talk with pauses until the scene's share of talk is used up."""
    rng = stream(seed, "script", plan.index)
    scene_s = plan.n_samples / RATE_HZ
    position_s = float(rng.uniform(0.3, 2.5))
    found: list[Slot] = []
    while position_s < scene_s - 1.2:
        duration_s = float(rng.uniform(0.8, 4.2))
        duration_s = min(duration_s, scene_s - position_s)
        speaker = int(rng.integers(_SPEAKERS))
        found.append(Slot(plan.index, len(found), plan.first_sample / RATE_HZ + position_s, duration_s, speaker))
        gap_s = duration_s * (1.0 - plan.mood.talk) / plan.mood.talk
        position_s += duration_s + min(_LONGEST_GAP_S, float(rng.uniform(0.2, 1.8)) * gap_s) + 0.25
    return found


def line(seed: int, language_seed: int, slot: Slot, jitter_s: float = JITTER_S) -> Line:
    """The same slot in a language: up to ``jitter_s`` earlier or later, and of another length."""
    rng = stream(seed, "line", language_seed, slot.scene_index, slot.number)
    start_s = slot.start_s + float(rng.uniform(-jitter_s, jitter_s))
    return Line(slot, round(start_s * RATE_HZ), slot.duration_s * float(rng.uniform(0.8, 1.12)))


def render_line(seed: int, language_seed: int, spoken: Line) -> Samples:
    """The line's sound, ``(n,)``; one speaker keeps one voice through the programme."""
    slot = spoken.slot
    rng = stream(seed, "utterance", language_seed, slot.scene_index, slot.number)
    return speak(language(language_seed), _cast(seed, language_seed, slot.speaker), spoken.duration_s, rng)


def _cast(seed: int, language_seed: int, speaker: int) -> Voice:
    return voice(stream(seed, "voice", language_seed, speaker))
