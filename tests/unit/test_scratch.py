"""Scratch files give back what was put in, leave nothing behind, and say when the disk is full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.errors import ErrorCode, SyncdError
from syncd.worker.scratch import Scratch, ScratchCurve, ScratchSound

DISK_FULL_PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from syncd.errors import SyncdError
from syncd.worker.scratch import Scratch, ScratchSound
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
with Scratch(Path(sys.argv[1])) as scratch:
    sound = ScratchSound(scratch.open_file())
    try:
        for _ in range(10):
            sound.append(np.ones(50_000, dtype=np.float32))
    except SyncdError as error:
        print(error.code, error.message)
"""


@given(
    blocks=st.lists(st.integers(1, 900), min_size=1, max_size=8),
    start=st.integers(-500, 5_000),
    count=st.integers(1, 6_000),
    loudness=st.floats(1e-6, 60.0),
)
@settings(max_examples=60, deadline=None)
def test_any_stretch_reads_back_to_sixteen_bits_of_its_block(
    tmp_path_factory: pytest.TempPathFactory, blocks: list[int], start: int, count: int, loudness: float
) -> None:
    rng = np.random.default_rng(len(blocks))
    written = [(rng.standard_normal(n) * loudness).astype(np.float32) for n in blocks]
    whole = np.concatenate((np.zeros(7_000), *written, np.zeros(12_000)))
    with Scratch(tmp_path_factory.getbasetemp()) as scratch:
        sound = ScratchSound(scratch.open_file())
        for block in written:
            sound.append(block)
        assert sound.samples == sum(blocks)
        read = sound.read(start, count)
    loudest = max(float(np.abs(block).max()) for block in written)
    np.testing.assert_allclose(read, whole[7_000 + start : 7_000 + start + count], atol=loudest / 60_000)


def test_silence_reads_back_as_silence(tmp_path: Path) -> None:
    with Scratch(tmp_path) as scratch:
        sound = ScratchSound(scratch.open_file())
        sound.append(np.zeros(1_000, dtype=np.float32))
        assert not sound.read(0, 1_000).any()
        assert sound.peak == 0.0


def test_a_band_reads_back_across_chunks(tmp_path: Path) -> None:
    flux = np.random.default_rng(1).random((24, 10_000)).astype(np.float32)
    with Scratch(tmp_path) as scratch:
        curve = ScratchCurve(scratch.open_file(), 24)
        for part in np.array_split(flux, 37, axis=1):
            curve.append(part)
        curve.flush()
        assert curve.frames == 10_000
        for band in (0, 11, 23):
            np.testing.assert_array_equal(curve.read_band(band), flux[band])


def test_nothing_is_left_in_the_folder_even_while_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "scratch"
    with Scratch(folder) as scratch:
        sound = ScratchSound(scratch.open_file())
        sound.append(np.ones(1_000, dtype=np.float32))
        assert list(folder.iterdir()) == []
        assert scratch.bytes_written == 2_000


def test_a_folder_that_is_a_file_is_an_error_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("")
    with Scratch(path) as scratch, pytest.raises(SyncdError) as caught:
        scratch.open_file()
    assert str(path) in caught.value.message


def test_a_full_disk_has_its_own_code(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", DISK_FULL_PROGRAM, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout.startswith(ErrorCode.DISK_FULL)
    assert str(tmp_path) in ended.stdout
