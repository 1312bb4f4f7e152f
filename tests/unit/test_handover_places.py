from __future__ import annotations

from pathlib import Path

import pytest

from syncd.config import Config, parse_config
from syncd.domain import JobState
from syncd.handover.places import choose_names, folder_for, watched_folder

DROP, DONE = Path("/drop"), Path("/done")
CONFIG = parse_config(
    "[[watch]]\npath='/drop'\n[[watch]]\npath='/drop/inner'\n[reports]\ndone='/done'\nfailed='/failed'\n", "t"
)


def chosen(media: list[str], reports: list[str], taken: set[str]) -> dict[str, str]:
    names = choose_names(
        [Path(path) for path in media],
        [Path(path) for path in reports],
        below=DROP,
        into=DONE,
        is_free=lambda path: str(path) not in taken,
    )
    return {str(source): str(target) for source, target in names}


@pytest.mark.parametrize(
    ("state", "folder"),
    [
        (JobState.COMPLETED, Path("/done")),
        (JobState.FAILED, Path("/failed")),
        (JobState.QUARANTINED, Path("/failed")),
        (JobState.CANCELED, None),
        (JobState.SUPERSEDED, None),
    ],
)
def test_the_end_of_a_job_says_where_its_files_go(state: JobState, folder: Path | None) -> None:
    assert folder_for(state, CONFIG) == folder
    assert folder_for(state, Config()) is None


def test_the_innermost_watched_folder_is_a_files_own() -> None:
    assert watched_folder(Path("/drop/a/x.wav"), CONFIG) == Path("/drop")
    assert watched_folder(Path("/drop/inner/x.wav"), CONFIG) == Path("/drop/inner")
    assert watched_folder(Path("/dropped/x.wav"), CONFIG) is None


def test_the_folders_below_the_watched_one_are_kept() -> None:
    assert chosen(["/drop/a/b/x.wav"], ["/drop/a/b/x.wav.sync.json"], set()) == {
        "/drop/a/b/x.wav": "/done/a/b/x.wav",
        "/drop/a/b/x.wav.sync.json": "/done/a/b/x.wav.sync.json",
    }


def test_one_name_that_is_taken_gives_all_the_same_number() -> None:
    taken = {"/done/x.wav.sync.html", "/done/x.2.wav"}
    reports = ["/drop/x.wav.sync.json", "/drop/x.wav.sync.html", "/drop/x.wav.other.quick.sync.json"]
    assert chosen(["/drop/x.wav"], reports, taken) == {
        "/drop/x.wav": "/done/x.3.wav",
        "/drop/x.wav.sync.json": "/done/x.3.wav.sync.json",
        "/drop/x.wav.sync.html": "/done/x.3.wav.sync.html",
        "/drop/x.wav.other.quick.sync.json": "/done/x.3.wav.other.quick.sync.json",
    }


@pytest.mark.parametrize("between", [".", "_", "-", " "])
def test_stems_keep_together_and_their_channels_last(between: str) -> None:
    left, right = f"{between}L.wav", f"{between}R.wav"
    assert chosen([f"/drop/x{left}", f"/drop/x{right}"], [f"/drop/x{left}.sync.json"], {f"/done/x{right}"}) == {
        f"/drop/x{left}": f"/done/x.2{left}",
        f"/drop/x{right}": f"/done/x.2{right}",
        f"/drop/x{left}.sync.json": f"/done/x.2{left}.sync.json",
    }


def test_a_report_from_the_fallback_folder_comes_to_its_dub() -> None:
    assert chosen(["/drop/x.wav"], ["/reports/x.wav.0a1b2c3d.sync.json"], set()) == {
        "/drop/x.wav": "/done/x.wav",
        "/reports/x.wav.0a1b2c3d.sync.json": "/done/x.wav.0a1b2c3d.sync.json",
    }


def test_names_at_the_limit_stay_within_it_and_apart() -> None:
    name = "é" * 125 + ".wav"
    cut = "é" * 100 + ".0a1b2c3d.sync.json"
    names = chosen([f"/drop/{name}"], [f"/drop/{cut}"], {f"/done/{name}"})
    assert all(len(Path(target).name.encode()) <= 255 for target in names.values())
    assert names[f"/drop/{name}"].endswith(".2.wav")
    assert names[f"/drop/{cut}"].endswith(".2.sync.json")
