"""Lines spoken by espeak-ng in real languages, where it is installed; by `speech` where it is not."""

from __future__ import annotations

import functools
import io
import shutil
import subprocess
import wave
from typing import Final

import numpy as np
import scipy.signal

from tests.material.script import Line, render_line
from tests.material.seeds import RATE_HZ, Samples, db_to_gain, stream
from tests.material.speech import SPEECH_RMS_DB

_WORDS_PER_S: Final = 2.6
_FRAME: Final = 240
_PEAK_LIMIT: Final = 0.5
_VARIANTS: Final = ("m1", "m2", "m3", "m4", "m7", "f1", "f2", "f3", "f4", "f5")
_WORDS: Final = {
    "en-gb": "we never told them where the money was hidden because nobody asked before the train left at seven and "
    "your brother said it would rain all night so take the old road behind the church",
    "fr-fr": "je ne savais pas que la porte restait ouverte toute la nuit quand ton frère est parti vers le village "
    "avec une valise et deux billets pour demain matin parce que personne ne voulait attendre",
    "de": "wir haben gestern niemanden gesehen der das alte Haus am Fluss verlassen hat obwohl dein Bruder sagte dass "
    "der Zug erst morgen früh kommt und es die ganze Nacht regnen soll",
    "es": "nadie sabía que la casa estaba vacía desde el verano cuando tu hermano salió hacia el pueblo con una maleta "
    "y dos billetes para mañana porque no quería esperar la lluvia",
    "it": "non sapevo che la porta fosse rimasta aperta tutta la notte quando tuo fratello è partito per il paese con "
    "una valigia e due biglietti per domani mattina perché nessuno voleva aspettare",
    "pl": "nikt nie wiedział że stary dom nad rzeką stoi pusty od lata kiedy twój brat wyjechał do miasta z walizką i "
    "dwoma biletami na jutro rano bo nie chciał czekać na deszcz",
    "hu": "senki sem tudta hogy a régi ház a folyónál nyár óta üres amikor a bátyád elment a faluba egy bőrönddel és "
    "két jeggyel holnap reggelre mert nem akart várni az esőre",
    "tr": "kimse nehir kenarındaki eski evin yazdan beri boş olduğunu bilmiyordu kardeşin bir bavul ve yarın sabah "
    "için iki biletle köye gittiğinde çünkü yağmuru beklemek istemedi",
    "ru": "никто не знал что старый дом у реки пуст с лета когда твой брат уехал в город с чемоданом и двумя билетами "
    "на завтра утром потому что он не хотел ждать дождя",
}
"""Enough to shuffle: what is said means nothing, how it sounds is the language's own."""


@functools.cache
def espeak() -> str | None:
    """The program's path, if it is installed."""
    return shutil.which("espeak-ng")


def say_line(seed: int, language_seed: int, spoken: Line) -> Samples:
    """The line's sound, ``(n,)``, at the level that `speech.speak` has; what does not fit its time is cut off."""
    program = espeak()
    if program is None:
        return render_line(seed, language_seed, spoken)
    slot = spoken.slot
    rng = stream(seed, "utterance", language_seed, slot.scene_index, slot.number)
    cast = stream(seed, "voice", language_seed, slot.speaker)
    tongue = sorted(_WORDS)[language_seed % len(_WORDS)]
    words = rng.choice(_WORDS[tongue].split(), max(2, round(spoken.duration_s * _WORDS_PER_S)))
    voice = f"{tongue}+{cast.choice(_VARIANTS)}"
    pitch, speed = str(int(cast.integers(25, 75))), str(int(cast.integers(150, 200)))
    asked = [program, "-v", voice, "-p", pitch, "-s", speed, "--stdout", " ".join(words)]
    told = subprocess.run(asked, capture_output=True, check=True).stdout
    return _fitted(_decoded(told), spoken)


def _decoded(told: bytes) -> Samples:
    """espeak's WAV (16-bit mono, its sizes unknown while it is written) at 48 kHz, its silent ends off."""
    with wave.open(io.BytesIO(told)) as file:
        rate_hz = file.getframerate()
        data = file.readframes(len(told) // 2)
    sound = np.frombuffer(data[: len(data) // 2 * 2], "<i2").astype(np.float32) / 32768.0
    sounding = np.flatnonzero(np.abs(sound) > 0.01)
    if sounding.size:
        sound = sound[sounding[0] : sounding[-1] + 1]
    return np.asarray(scipy.signal.resample_poly(sound, RATE_HZ, rate_hz), np.float32)


def _fitted(sound: Samples, spoken: Line) -> Samples:
    sound = sound[: round(spoken.duration_s * RATE_HZ)].copy()
    edge = min(960, sound.size // 2)
    sound[:edge] *= np.linspace(0.0, 1.0, edge, dtype=np.float32)
    sound[sound.size - edge :] *= np.linspace(1.0, 0.0, edge, dtype=np.float32)
    whole = sound[: sound.size // _FRAME * _FRAME]
    power = np.square(whole).reshape(-1, _FRAME).mean(axis=1)
    sounding = power[power > 0.01 * power.max(initial=0.0)]
    rms = float(np.sqrt(sounding.mean())) if sounding.size else 1.0
    bent = _PEAK_LIMIT * np.tanh(sound * (db_to_gain(SPEECH_RMS_DB) / (rms * _PEAK_LIMIT)))
    return np.asarray(bent, np.float32)
