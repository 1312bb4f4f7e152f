"""Where the files of an ended job go, and what they are called there. Pure: which names are free it is told."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from syncd.config import Config
from syncd.domain import JobState, MediaFile
from syncd.reports.names import fitted_name
from syncd.watch.stems import stem_name

Names = list[tuple[Path, Path]]
"""From where to where, for each file."""


def folder_for(state: JobState, config: Config) -> Path | None:
    """Into which folder the files of a job go that ended so; None: they stay."""
    if state is JobState.COMPLETED:
        return config.reports.done
    return config.reports.failed if state in (JobState.FAILED, JobState.QUARANTINED) else None


def watched_folder(path: Path, config: Config) -> Path | None:
    """The innermost watched folder in which it lies; None: it lies elsewhere, and stays there."""
    around = [section.path for section in config.watch if section.path in path.parents]
    return max(around, key=lambda folder: len(folder.parts), default=None)


def media_paths(file: MediaFile) -> list[Path]:
    """The file, or each stem of a side; the one that names the side first."""
    return [stem.path for stem in file.stems] or [file.path]


def choose_names(
    media: Sequence[Path], reports: Iterable[Path], *, below: Path, into: Path, is_free: Callable[[Path], bool]
) -> Names:
    """The folders below the watched one are kept; where any name is taken all get the same number.

    Reports are called after the file they are about, whatever that is called now.
    """
    folder = into / media[0].parent.relative_to(below)
    for number in itertools.count(1):
        mark = "" if number == 1 else f".{number}"
        names = {path: folder / _marked(path, mark, are_stems=len(media) > 1) for path in media}
        names |= {path: folder / _report_name(path, media, mark) for path in reports}
        if all(is_free(target) for target in names.values()) and len(set(names.values())) == len(names):
            return list(names.items())
    raise AssertionError("numbers do not end")


def _marked(path: Path, mark: str, *, are_stems: bool) -> str:
    """`Heist_dub_fr.2.wav`: before the extension (and a stem's channel), so that it is still the same kind of file."""
    ending = path.suffix
    if are_stems and (stem := stem_name(path.name)) is not None:
        ending = path.name.removeprefix(stem.base.removesuffix(path.suffix))
    return fitted_name(os.fsencode(path.name.removesuffix(ending)), mark + ending)


def _report_name(report: Path, media: Sequence[Path], mark: str) -> str:
    for path in media:
        if report.name.startswith(path.name):
            marked = _marked(path, mark, are_stems=len(media) > 1)
            return fitted_name(os.fsencode(marked), report.name.removeprefix(path.name))
    stem, dot, ending = report.name.partition(".sync.")  # a name that was cut
    return fitted_name(os.fsencode(stem + mark), dot + ending)
