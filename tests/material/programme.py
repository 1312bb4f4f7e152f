"""A programme that exists only as a seed: any stretch of its bed, its dialogue in any language, or their mix."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Final, Literal

import numpy as np

from tests.material.bed import BED_RMS_DB, Remix, render_scene
from tests.material.delay import Render, Resampled, Shifted
from tests.material.scenes import Scene, scene, scenes_within
from tests.material.script import JITTER_S, Line, line, render_line, slots
from tests.material.seeds import RATE_HZ, Samples, db_to_gain
from tests.material.speech import SPEECH_RMS_DB

Outside = Literal["silence", "programme"]
"""What is heard before the programme's start and after its end."""

BED_LEVEL_DB: Final = -9.0
"""Bed against dialogue."""

SayLine = Callable[[int, int, Line], Samples]
"""``(programme's seed, language's seed, line)`` -> the line's sound, ``(n,)`` with n at most ``line.n_samples``."""

PlanScene = Callable[[int, int], Scene]
"""``(programme's seed, number)`` -> the scene; its times must be `scenes.scene`'s."""

_EDGE_S: Final = 0.03
_DUCK_RAMP_S: Final = 0.25
_CEILING: Final = 0.98


_rendered = functools.lru_cache(maxsize=16)(render_scene)
"""The latest scenes (some megabytes each), whichever programme asked: several are often made of one seed."""


class Programme:
    """A programme of music, effects and dialogue, the same at every sample rate and in blocks of every size.

    ``seed`` chooses everything. All positions are counted from the programme's start; it goes on before zero and after
    ``duration_s`` as if nothing had been cut (``outside="programme"``), or is silent there (``"silence"``).
    Scenes are kept while they are near; memory does not grow with the length. ``remix`` gives the bed's layers another
    balance, ``jitter_s`` says how far lines may start from their slots, ``say`` makes their sound,
    ``plan`` draws the scenes.
    """

    def __init__(
        self,
        seed: int,
        duration_s: float,
        sample_rate_hz: int = RATE_HZ,
        *,
        outside: Outside = "silence",
        remix: Remix | None = None,
        jitter_s: float = JITTER_S,
        say: SayLine = render_line,
        plan: PlanScene = scene,
    ) -> None:
        self.seed = seed
        self.duration_s = duration_s
        self.sample_rate_hz = sample_rate_hz
        self.outside: Outside = outside
        self._scene = functools.lru_cache(maxsize=4096)(functools.partial(plan, seed))
        self._scene_sound = functools.partial(_rendered, seed, remix=remix)
        self._line_sound = functools.lru_cache(maxsize=24)(functools.partial(say, seed))
        self._jitter_s = jitter_s

    @property
    def n_samples(self) -> int:
        """The programme's length at its sample rate."""
        return round(self.duration_s * self.sample_rate_hz)

    def bed(self, first_sample: int, n_samples: int, *, shift_s: float = 0.0) -> Samples:
        """Music and effects, ``(2, n_samples)``: sample k is the moment ``(first_sample + k) / rate + shift_s``."""
        return self._at_rate(self._bed, shift_s)(first_sample, n_samples)

    def dialogue(self, language: int, first_sample: int, n_samples: int, *, shift_s: float = 0.0) -> Samples:
        """The lines in the language of that seed, the same on both sides, ``(2, n_samples)``."""
        return self._at_rate(functools.partial(self._dialogue, language), shift_s)(first_sample, n_samples)

    def mix(
        self,
        language: int | None,
        *,
        bed_level_db: float | None = BED_LEVEL_DB,
        duck_db: float = 0.0,
        shift_s: float = 0.0,
        sample_rate_hz: int | None = None,
    ) -> Render:
        """Bed and dialogue together, as a renderer ``(first_sample, n_samples) -> (2, n_samples)``.

        ``language`` is the seed of the language spoken (None: no dialogue), ``bed_level_db`` the bed's level against
        the dialogue's (None: no bed; above −3 dB peaks may be clipped), ``duck_db`` how far the bed steps back under
        lines. ``sample_rate_hz`` overrides the programme's. Make one and ask it for block after block: it remembers
        what neighbouring blocks share.
        """
        return self._at_rate(functools.partial(self._mix, language, bed_level_db, duck_db), shift_s, sample_rate_hz)

    def _at_rate(self, source: Render, shift_s: float, sample_rate_hz: int | None = None) -> Render:
        return Resampled(Shifted(source, shift_s), sample_rate_hz or self.sample_rate_hz)

    # Below: at 48 kHz.

    def _mix(
        self, language: int | None, bed_level_db: float | None, duck_db: float, first_sample: int, n_samples: int
    ) -> Samples:
        out = np.zeros((2, n_samples), np.float32)
        if bed_level_db is not None:
            level_db = bed_level_db + SPEECH_RMS_DB - BED_RMS_DB
            out += self._bed(first_sample, n_samples) * np.float32(db_to_gain(level_db))
        if language is None:
            return out
        if duck_db:
            out *= self.ducking(language, duck_db, first_sample, n_samples)
        out += self._dialogue(language, first_sample, n_samples)
        return np.asarray(np.clip(out, -_CEILING, _CEILING))

    def _bed(self, first_sample: int, n_samples: int) -> Samples:
        out = np.zeros((2, n_samples), np.float32)
        for plan in self._scenes(first_sample, n_samples):
            _add_overlap(out, first_sample, self._scene_sound(plan), plan.first_sample)
        return self._edged(out, first_sample)

    def _dialogue(self, language: int, first_sample: int, n_samples: int) -> Samples:
        out = np.zeros((2, n_samples), np.float32)
        for spoken in self._lines(language, first_sample, n_samples):
            _add_overlap(out, first_sample, self._line_sound(language, spoken)[np.newaxis], spoken.first_sample)
        return self._edged(out, first_sample)

    def ducking(self, language: int, duck_db: float, first_sample: int, n_samples: int) -> Samples:
        """The bed's gain under the lines of a language, ``(n_samples,)`` at 48 kHz."""
        moment_s = (first_sample + np.arange(n_samples)) / RATE_HZ
        depth = np.zeros(n_samples)
        for spoken in self._lines(language, first_sample, n_samples):
            start_s = spoken.first_sample / RATE_HZ
            inside_s = np.minimum(
                moment_s - start_s + _DUCK_RAMP_S, start_s + spoken.duration_s + _DUCK_RAMP_S - moment_s
            )
            depth = np.maximum(depth, np.clip(inside_s / _DUCK_RAMP_S, 0.0, 1.0))
        return np.asarray(10.0 ** (-abs(duck_db) / 20.0 * depth), np.float32)

    def _scenes(self, first_sample: int, n_samples: int) -> Iterator[Scene]:
        return scenes_within(self._scene, first_sample, n_samples)

    def _lines(self, language: int, first_sample: int, n_samples: int) -> Iterator[Line]:
        margin = RATE_HZ
        for plan in scenes_within(self._scene, first_sample - margin, n_samples + 2 * margin):
            for slot in slots(self.seed, plan):
                spoken = line(self.seed, language, slot, self._jitter_s)
                starts_before_end = spoken.first_sample - margin < first_sample + n_samples
                if starts_before_end and spoken.first_sample + spoken.n_samples + margin > first_sample:
                    yield spoken

    def _edged(self, sound: Samples, first_sample: int) -> Samples:
        """Silence outside the programme, with soft edges inside it (a hard one could not be delayed exactly)."""
        if self.outside == "programme":
            return sound
        end, edge = round(self.duration_s * RATE_HZ), round(_EDGE_S * RATE_HZ)
        n_samples = sound.shape[1]
        start_at, end_at = np.clip([-first_sample, end - first_sample], 0, n_samples)
        sound[:, :start_at] = 0.0
        sound[:, end_at:] = 0.0
        for ramp_first in (0, end - edge):
            near = slice(*np.clip([ramp_first - first_sample, ramp_first + edge - first_sample], 0, n_samples))
            position = first_sample + np.arange(near.start, near.stop)
            inside = np.clip(np.minimum(position, end - position) / edge, 0.0, 1.0)
            sound[:, near] *= (0.5 - 0.5 * np.cos(np.pi * inside)).astype(np.float32)
        return sound


def _add_overlap(out: Samples, out_first: int, piece: Samples, piece_first: int) -> None:
    """Add the part of ``piece`` that lies within ``out``; both know where they begin."""
    begin = max(out_first, piece_first)
    end = min(out_first + out.shape[1], piece_first + piece.shape[1])
    if begin < end:
        out[:, begin - out_first : end - out_first] += piece[:, begin - piece_first : end - piece_first]
