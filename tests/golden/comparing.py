"""Whether two reports say the same: words alike, figures as near as machines may differ, and the difference as a text.

Another processor rounds otherwise in the last place, and what was found may move by a little of a step. So a figure has
a *grain* by its name (the nearest name above it that has one). What has none must be the same.
"""

from __future__ import annotations

import difflib
import json
import math
import re
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Grain:
    """How finely a figure is kept, and how far another may lie from it."""

    step: float
    share: float = 0.0
    """Of the figure itself, where that is more than the step."""

    @property
    def decimals(self) -> int:
        """That the step needs."""
        return max(0, -math.floor(math.log10(self.step) + 1e-9))

    def covers(self, kept: float, measured: float) -> bool:
        """One step, and half of one for the rounding."""
        return abs(kept - measured) <= max(1.5 * self.step, self.share * abs(kept))


_OFFSET: Final = Grain(1e-4)
_PLACE: Final = Grain(0.01)
_SHARE: Final = Grain(0.01)
_RATE: Final = Grain(1e-6)
_SCORE: Final = Grain(0.1, share=0.05)
_COUNT: Final = Grain(1.0)

GRAINS: Final[dict[str, Grain]] = {
    "offset_seconds": _OFFSET,
    "chunk_offset_seconds": Grain(1e-3),
    "coarse_offset_seconds": Grain(1e-3),
    "duration_seconds": _OFFSET,
    "offset_samples": Grain(5.0),
    "offset_frames": Grain(0.1),
    "codec_delay_ms": Grain(0.1),
    "lag_start_ms": Grain(0.1),
    "lag_end_ms": Grain(0.1),
    "uncertainty_ms": Grain(0.01, share=0.1),
    "lines_scatter_ms": Grain(0.1, share=0.1),
    "ratio": _RATE,
    "rate": _RATE,
    "ppm": Grain(1.0),
    "uncertainty_ppm": Grain(0.1, share=0.1),
    "rate_uncertainty_ppm": Grain(0.1, share=0.1),
    "pitch_semitones": Grain(0.01),
    "master_start": _PLACE,
    "master_end": _PLACE,
    "dub_start": _PLACE,
    "dub_end": _PLACE,
    "coverage": Grain(1e-3),
    "confidence": _SHARE,
    "overall_confidence": _SHARE,
    "method_agreement": _SHARE,
    "master_key_likeness": _SHARE,
    "dub_key_likeness": _SHARE,
    "quality_score": _SCORE,
    "fine_deviations": _SCORE,
    "chunk_deviations": _SCORE,
    "windows_bearing": _SCORE,
    "windows_agreeing": _COUNT,
    "lags_compared": _COUNT,
    "speech_seconds_master": Grain(0.1),
    "speech_seconds_dub": Grain(0.1),
}

_FIGURE: Final = re.compile(r"(\d+(?:\.\d+)?)")
_TEXT_SHARE: Final = 2e-4
"""Of a figure within a sentence or a command; and never less than its last digit."""


def rounded(value: Any, grain: Grain | None = None) -> Any:
    """Figures to their grains, as they are kept."""
    if isinstance(value, dict):
        return {name: rounded(inner, GRAINS.get(name, grain)) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner, grain) for inner in value]
    if grain is None or not _is_figure(value) or isinstance(value, int):
        return value
    return round(value, grain.decimals) + 0.0  # no negative zero


def settled(kept: Any, measured: Any, grain: Grain | None = None) -> Any:
    """What was measured, but wherever it agrees with what is kept, that."""
    if isinstance(kept, dict) and isinstance(measured, dict):
        return {name: settled(kept.get(name), inner, GRAINS.get(name, grain)) for name, inner in measured.items()}
    if isinstance(kept, list) and isinstance(measured, list) and len(kept) == len(measured):
        return [settled(*both, grain) for both in zip(kept, measured, strict=True)]
    if isinstance(kept, str) and isinstance(measured, str):
        return kept if _reads_alike(kept, measured) else measured
    if grain is not None and _is_figure(kept) and _is_figure(measured):
        return kept if grain.covers(kept, measured) else rounded(measured, grain)
    return measured


def difference(kept: Any, measured: Any) -> str:
    """A unified diff of what does not agree; empty where all of it does."""
    before, after = (to_text(report).splitlines() for report in (kept, settled(kept, measured)))
    return "\n".join(difflib.unified_diff(before, after, "kept", "measured", lineterm=""))


def to_text(report: Any) -> str:
    """As it is kept."""
    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reads_alike(kept: str, measured: str) -> bool:
    """The same words, and figures that differ in their last digit at most."""
    ours, theirs = _FIGURE.split(kept), _FIGURE.split(measured)
    if ours[::2] != theirs[::2]:
        return False
    return all(_is_near(*figures) for figures in zip(ours[1::2], theirs[1::2], strict=True))


def _is_near(kept: str, measured: str) -> bool:
    last_digit = 10.0 ** -len(kept.partition(".")[2])
    return Grain(last_digit, _TEXT_SHARE).covers(float(kept), float(measured))
