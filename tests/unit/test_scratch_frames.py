from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from syncd.worker.scratch import Scratch
from syncd.worker.scratch_frames import FRAMES_A_CHUNK, ScratchFrames


@given(st.lists(st.integers(0, 6_000), max_size=5), st.integers(-50, 20_000), st.integers(0, 9_000))
@settings(max_examples=30, deadline=None)
def test_frames_come_back_by_dimension_and_by_time(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], start: int, count: int
) -> None:
    with Scratch(tmp_path_factory.mktemp("frames")) as scratch:
        store = ScratchFrames(scratch.open_file(), 3)
        whole = np.random.default_rng(1).standard_normal((sum(lengths), 3)).astype(np.float32)
        done = 0
        for length in lengths:
            store.append(whole[done : done + length])
            done += length
        store.flush()
        assert store.frames == done
        assert np.array_equal(store.read_band(2), whole[:, 2])
        around = np.zeros((done + count + 20_100, 3), dtype=np.float32)
        around[50 : 50 + done] = whole
        assert np.array_equal(store.read(start, count), around[50 + start : 50 + start + count])


def test_half_precision_takes_half_the_space(tmp_path: Path) -> None:
    frames = np.linspace(-4, 4, 2 * FRAMES_A_CHUNK, dtype=np.float32).reshape(-1, 2)
    with Scratch(tmp_path) as scratch:
        store = ScratchFrames(scratch.open_file(), 2, np.float16)
        store.append(frames)
        store.flush()
        assert scratch.bytes_written == frames.size * 2
        assert np.allclose(store.read(0, FRAMES_A_CHUNK), frames, atol=2e-3)
