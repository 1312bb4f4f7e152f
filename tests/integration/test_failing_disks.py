"""A disk that gives out in the middle of a file is the disk's fault, whatever the demuxer makes of it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError
from syncd.media.decode import DecodeReport, decode_blocks
from syncd.media.probe import probe
from syncd.watch.examine import identify
from tests.chaos.shim import shim_environment
from tests.chaos.site import Skipped
from tests.material.writers import ENCODINGS, Encoding, write_audio

RATE_HZ = 48_000
KINDS = {
    **{name: ENCODINGS[name] for name in ("wav", "flac", "mp4", "mov", "mkv", "ac3", "aac", "opus", "mp3")},
    "ts": Encoding(".ts", "mpegts", "aac", bit_rate=192_000),
    "aiff": Encoding(".aiff", "aiff", "pcm_s16be"),
    "caf": Encoding(".caf", "caf", "pcm_s16le"),
}
ASK = """
import json, sys
from tests.integration import test_failing_disks
print(json.dumps([getattr(test_failing_disks, sys.argv[1])(name) for name in sys.argv[2:]]))
"""


def code_of_reading(name: str) -> str | None:
    """What comes of probing and decoding the file; None: sound."""
    try:
        probe(Path(name))
        for _ in decode_blocks(Path(name), 0, DecodeReport()):
            pass
    except SyncdError as error:
        return error.code.value
    return None


def code_of_identifying(name: str) -> str | None:
    """What comes of asking which version it is."""
    try:
        identify(Path(name))
    except SyncdError as error:
        return error.code.value
    return None


def codes_elsewhere(
    files: list[Path], environment: dict[str, str], question: str = "code_of_reading"
) -> dict[str, str | None]:
    """The same in a process to which the shim was put."""
    command = [sys.executable, "-c", ASK, question, *map(str, files)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(zip((file.stem for file in files), json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Noise in every kind of container."""
    folder = tmp_path_factory.mktemp("media")
    noise: NDArray[Any] = np.random.default_rng(3).normal(0.0, 0.1, (2, 20 * RATE_HZ))
    return [
        write_audio(folder / f"{name}{encoding.suffix}", noise, RATE_HZ, encoding=encoding)
        for name, encoding in KINDS.items()
    ]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    try:
        return shim_environment(tmp_path / "shim")
    except Skipped as reason:
        pytest.skip(str(reason))


def break_reading(environment: dict[str, str], files: list[Path], share: float) -> None:
    rules = "".join(f"{errno.EIO} {int(file.stat().st_size * share)} {file}\n" for file in files)
    (Path(environment["SHIM_CONTROL"]) / "reads").write_text(rules, encoding="utf-8")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.6, 0.999])
def test_a_disk_that_gives_out_is_no_fault_of_the_media(
    files: list[Path], environment: dict[str, str], share: float
) -> None:
    break_reading(environment, files, share)
    assert codes_elsewhere(files, environment) == dict.fromkeys(KINDS, ErrorCode.DISK_FAULT.value)


def test_a_disk_that_is_well_is_not_blamed_for_a_file_that_ends_early(files: list[Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut.wav"
    whole = files[0].read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    assert code_of_reading(str(cut)) == ErrorCode.MEDIA_TRUNCATED.value


def test_sound_files_on_a_disk_that_is_well_are_read(files: list[Path], environment: dict[str, str]) -> None:
    assert codes_elsewhere(files, environment) == dict.fromkeys(KINDS)


def test_a_version_that_the_disk_does_not_give_is_the_disks_fault(
    files: list[Path], environment: dict[str, str]
) -> None:
    break_reading(environment, files, 0.999)
    answers = codes_elsewhere(files, environment, "code_of_identifying")
    assert answers == dict.fromkeys(KINDS, ErrorCode.DISK_FAULT.value)
