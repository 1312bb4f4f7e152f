"""Delay that an encoder adds and the file does not signal.

Every listener hears it, so it stays in the offset; the report names it as the suspected part. Whether it is signalled
is read from the file itself and not guessed from its format: the same AAC is signalled in MP4 by an edit list, and in a
fragmented MP4 by nothing. Measured against the source with ffmpeg's encoders (tests/unit/test_priming.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class SuspectedDelay:
    """What an encoder probably put before the sound."""

    ms: float
    reason: str
    """Half a sentence: who does so, how much, and what is missing in the file."""


@dataclass(frozen=True, slots=True)
class _Priming:
    name: str
    samples: int
    others: str = ""
    """What else is known to occur."""


_PRIMING: Final = {
    "aac": _Priming("AAC", 1024, "others up to 2112"),
    "aac_latm": _Priming("AAC", 1024, "others up to 2112"),
    "mp3": _Priming("MP3", 1105, "others 528 to 1681"),
    "mp2": _Priming("MP2", 481),
    "ac3": _Priming("AC-3", 256),
    "eac3": _Priming("E-AC-3", 256),
    "dts": _Priming("DTS", 512),
    "dca": _Priming("DTS", 512),
    "opus": _Priming("Opus", 312, "others 120 to 312"),
    "wmav1": _Priming("WMA", 2048),
    "wmav2": _Priming("WMA", 2048),
    "adpcm_g722": _Priming("G.722", 22),
    "g723_1": _Priming("G.723.1", 60),
    "amr_nb": _Priming("AMR", 40),
    "nellymoser": _Priming("Nellymoser", 128),
}
"""By ffmpeg's name of the codec: samples at the track's own rate. What is not listed was measured and adds none."""


def suspected_delay(codec: str, container: str, sample_rate_hz: int, *, is_signalled: bool) -> SuspectedDelay | None:
    """What the encoder probably put before the sound; None where the file signals it or the codec adds none."""
    priming = _PRIMING.get(codec)
    if is_signalled or priming is None or sample_rate_hz <= 0:
        return None
    others = f" ({priming.others})" if priming.others else ""
    reason = (
        f"{priming.name} encoders put {priming.samples} samples{others} before the sound, "
        f"and this file ({container.partition(',')[0]}) does not signal them"
    )
    return SuspectedDelay(1000.0 * priming.samples / sample_rate_hz, reason)
