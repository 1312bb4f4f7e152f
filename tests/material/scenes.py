"""The plan of a programme: scenes of four to twenty seconds, each drawn from the seed and its number alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tests.material.seeds import RATE_HZ, stream

MEAN_SCENE_S: Final = 12.0
_BOUNDARY_JITTER_S: Final = 4.0
TAIL_S: Final = 2.5
"""How long a scene may still be heard after the next has begun."""


@dataclass(frozen=True, slots=True)
class Mood:
    """What a kind of scene is made of: levels in dB against the scene's own (None: absent) and events per second."""

    name: str
    music_db: float | None
    percussion_db: float | None
    ambience_db: float
    foley_per_s: float
    level_db: float
    talk: float
    """Share of the scene's time in which somebody speaks."""


MOODS: Final = (
    Mood("song", -2.0, -6.0, -22.0, 0.3, 1.0, 0.35),
    Mood("score", -2.0, None, -14.0, 0.5, -3.0, 0.6),
    Mood("chase", -5.0, -3.0, -10.0, 1.8, 2.0, 0.35),
    Mood("street", None, None, -4.0, 1.6, -4.0, 0.7),
    Mood("crowd", -9.0, None, -2.0, 0.8, -2.0, 0.6),
    Mood("room", None, None, -8.0, 0.9, -13.0, 0.8),
    Mood("night", -6.0, None, -4.0, 0.4, -10.0, 0.4),
)
_WEIGHTS: Final = (0.2, 0.2, 0.15, 0.15, 0.1, 0.12, 0.08)


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene; it starts at ``first_sample`` of the programme (48 kHz) and the next one ``n_samples`` later."""

    index: int
    first_sample: int
    n_samples: int
    mood: Mood
    level_db: float
    tempo_bpm: float
    root_midi: int
    minor: bool
    reverb_s: float

    @property
    def rendered_samples(self) -> int:
        """With the tail that is heard under the next scene."""
        return self.n_samples + round(TAIL_S * RATE_HZ)


def scene(seed: int, index: int) -> Scene:
    """Scene ``index`` (any whole number: programmes go on before their start and after their end)."""
    rng = stream(seed, "scene", index)
    first, following = _boundary(seed, index), _boundary(seed, index + 1)
    mood = MOODS[int(rng.choice(len(MOODS), p=_WEIGHTS))]
    return Scene(
        index=index,
        first_sample=first,
        n_samples=following - first,
        mood=mood,
        level_db=mood.level_db + float(rng.uniform(-2.5, 2.5)),
        tempo_bpm=float(rng.uniform(62.0, 148.0)),
        root_midi=int(rng.integers(43, 55)),
        minor=bool(rng.uniform() < 0.55),
        reverb_s=float(rng.uniform(0.25, 1.6)),
    )


@dataclass(frozen=True, slots=True)
class Style:
    """What programmes of one series share: tempo, key and moods, and not a note."""

    tempo_bpm: float
    root_midi: int
    minor: bool
    moods: tuple[int, ...]
    """Into `MOODS`."""


def styled_scene(style: Style, seed: int, index: int) -> Scene:
    """Scene ``index`` of a programme in that style."""
    own = scene(seed, index)
    mood = MOODS[style.moods[int(stream(seed, "style", index).integers(len(style.moods)))]]
    return replace(
        own, mood=mood, level_db=mood.level_db, tempo_bpm=style.tempo_bpm, root_midi=style.root_midi, minor=style.minor
    )


def scenes_within(plan: Callable[[int], Scene], first_sample: int, n_samples: int) -> Iterator[Scene]:
    """The scenes heard in a stretch of the programme, in their order; ``plan`` gives a scene by its number."""
    first, end = first_sample, first_sample + n_samples
    reach = (_BOUNDARY_JITTER_S + MEAN_SCENE_S + TAIL_S) * RATE_HZ
    mean = MEAN_SCENE_S * RATE_HZ
    for index in range(int((first - reach) // mean), int((end + reach) // mean) + 1):
        candidate = plan(index)
        if candidate.first_sample < end and candidate.first_sample + candidate.rendered_samples > first:
            yield candidate


def _boundary(seed: int, index: int) -> int:
    jitter_s = float(stream(seed, "boundary", index).uniform(-_BOUNDARY_JITTER_S, _BOUNDARY_JITTER_S))
    return round((index * MEAN_SCENE_S + jitter_s) * RATE_HZ)
