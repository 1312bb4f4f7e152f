"""The corpus: several hundred pairs with a known truth, of every kind that dubs come in.

`corpus` names the cases (values only), `render_case` makes their sound, `write_case` their files. The same seed gives
the same cases, sample by sample. What each kind is, `kinds` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from tests.material.kinds import KINDS
from tests.material.recipes import Case, CaseTruth, Side, TrueCut
from tests.material.rendering import Rendered, render_case
from tests.material.seeds import Samples, stream
from tests.material.writers import write_audio, write_wav

__all__ = ["Case", "CaseTruth", "Rendered", "WrittenCase", "corpus", "render_case", "write_case"]

SEED: Final = 2026
_SILENT_DB: Final = -60.0
"""Against the dub's RMS: quieter than this nobody can say where a cut is."""
_FRAME_S: Final = 0.01


@dataclass(frozen=True, slots=True)
class WrittenCase:
    """Two files and what is true of them; `truth.cuts` know how silent it is around them."""

    master_path: Path
    dub_path: Path
    truth: CaseTruth


def corpus(kinds: Iterable[str] | None = None, per_kind: int | None = None, seed: int = SEED) -> tuple[Case, ...]:
    """The cases of these kinds (all), ``per_kind`` of each (each kind's own number); KeyError: no such kind.

    A case depends on seed, kind and its number within the kind alone: asking for fewer leaves the others as they are.
    """
    cases: list[Case] = []
    for name in KINDS if kinds is None else kinds:
        kind = KINDS[name]
        for number in range(kind.usual_number if per_kind is None else per_kind):
            drawn = kind.draw(stream(seed, f"corpus {name}", number), number)
            cases.append(replace(drawn, name=f"{name}-{number:03d}", kind=name))
    return tuple(cases)


def write_case(case: Case, folder: Path) -> WrittenCase:
    """Write ``<name>_master.*`` and ``<name>_dub.*`` into the folder."""
    rendered = render_case(case)
    rates_hz = rendered.sample_rates
    return WrittenCase(
        _write_side(case.master, rendered.master, rates_hz[0], folder / f"{case.name}_master"),
        _write_side(case.dub, rendered.dub, rates_hz[1], folder / f"{case.name}_dub"),
        heard_truth(case, rendered.dub, rates_hz[1]),
    )


def _write_side(side: Side, sound: Samples, sample_rate_hz: int, stem: Path) -> Path:
    encoding = side.encodings[-1]
    path = stem.with_name(stem.name + encoding.suffix)
    if encoding.codec == "pcm_s16le" and encoding.muxer == "wav" and sound.shape[0] <= 2:
        return write_wav(path, sound, sample_rate_hz)
    return write_audio(path, sound, sample_rate_hz, encoding=encoding)


def heard_truth(case: Case, dub: Samples, sample_rate_hz: int) -> CaseTruth:
    """The case's truth with the silence around each cut as it is in the sound."""
    truth = case.truth()
    if not truth.cuts:
        return truth
    frame = round(_FRAME_S * sample_rate_hz)
    n_frames = dub.shape[1] // frame
    power = np.square(dub[:, : n_frames * frame]).reshape(dub.shape[0], n_frames, frame).mean(axis=(0, 2))
    silent = power < power.mean() * 10.0 ** (_SILENT_DB / 10.0)
    return replace(truth, cuts=tuple(_with_silence(cut, silent) for cut in truth.cuts))


def _with_silence(cut: TrueCut, silent: np.ndarray) -> TrueCut:
    """Widened over the silent frames that lie next to it on either side."""
    at = round(cut.dub_s / _FRAME_S)
    near = [frame for frame in range(max(0, at - 2), min(silent.size, at + 2)) if silent[frame]]
    if not near:
        return cut
    begin, end = near[0], near[-1] + 1
    while begin > 0 and silent[begin - 1]:
        begin -= 1
    while end < silent.size and silent[end]:
        end += 1
    return TrueCut(cut.dub_s, min(begin * _FRAME_S, cut.dub_s), max(end * _FRAME_S, cut.dub_s))
