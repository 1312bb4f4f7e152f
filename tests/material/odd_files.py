"""Files with nothing to hear, and files that are at fault."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tests.material.seeds import RATE_HZ, Samples, db_to_gain
from tests.material.writers import write_audio, write_wav


def write_silence(path: Path, duration_s: float, *, sample_rate_hz: int = RATE_HZ, channels: int = 2) -> Path:
    """Digital silence; the suffix chooses the encoding."""
    return _write(path, _silence(round(duration_s * sample_rate_hz), channels), sample_rate_hz)


def write_tone(
    path: Path,
    duration_s: float,
    *,
    frequency_hz: float = 1000.0,
    level_db: float = -18.0,
    sample_rate_hz: int = RATE_HZ,
    channels: int = 2,
) -> Path:
    """A steady sine (peak level against full scale), as on a line-up leader."""
    t_s = np.arange(round(duration_s * sample_rate_hz)) / sample_rate_hz
    tone = (db_to_gain(level_db) * np.sin(2 * np.pi * frequency_hz * t_s)).astype(np.float32)
    return _write(path, np.tile(tone, (channels, 1)), sample_rate_hz)


def write_truncated_copy(source: Path, path: Path, *, keep: float = 0.6) -> Path:
    """The first ``keep`` (0…1) of a file's bytes: a copy that broke off. Its header still promises the rest."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    return path


def write_empty_file(path: Path) -> Path:
    """No bytes at all."""
    path.write_bytes(b"")
    return path


def write_text_as(path: Path) -> Path:
    """Words under the name of a sound file."""
    path.write_text("This is a note to the mixer, not a recording.\n" * 40, encoding="utf-8")
    return path


def _silence(n_samples: int, channels: int) -> Iterator[Samples]:
    for first in range(0, n_samples, RATE_HZ):
        yield np.zeros((channels, min(RATE_HZ, n_samples - first)), np.float32)


def _write(path: Path, samples: Samples | Iterator[Samples], sample_rate_hz: int) -> Path:
    if path.suffix == ".wav":
        return write_wav(path, samples, sample_rate_hz)
    return write_audio(path, samples, sample_rate_hz)
