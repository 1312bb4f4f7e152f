"""Windows, projections and scales: what a model is given, and what is kept of what it says."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from syncd.analysis.embeddings import (
    KEPT_DIMS,
    OUTER_EDGE_FRAMES,
    SHRINKAGE,
    SR_HZ,
    FrameRule,
    common_scale,
    cut_windows,
    embed_side,
    projection,
    settle,
)
from syncd.worker.models.spectral import RULE, SpectralEmbedder
from tests.unit.in_memory import Floats, Frames, Sound, quietly, tune

SPEECH = FrameRule(320, 400, sees_window=True)
SCENES = FrameRule(7_680, 15_600, sees_window=False)
rules = st.sampled_from([SPEECH, SCENES, RULE])


@given(st.integers(0, 40 * 60 * SR_HZ), rules)
def test_the_kept_frames_of_all_windows_are_those_of_the_whole_side(samples: int, rule: FrameRule) -> None:
    windows = cut_windows(samples, rule)
    kept = [
        window.start // rule.hop_samples + frame
        for window in windows
        for frame in range(window.skipped, window.skipped + window.kept)
    ]
    assert kept == list(range(rule.frames_in(samples)))


@given(st.integers(30 * SR_HZ, 40 * 60 * SR_HZ), rules)
def test_windows_are_of_one_length_start_at_a_hop_and_end_within_the_side(samples: int, rule: FrameRule) -> None:
    windows = cut_windows(samples, rule)
    assert len({window.samples for window in windows}) == 1
    assert all(window.start % rule.hop_samples == 0 for window in windows)
    assert all(window.start >= 0 and window.start + window.samples <= samples for window in windows)
    assert windows[-1].start + windows[-1].samples > samples - rule.hop_samples


@given(st.integers(61 * SR_HZ, 20 * 60 * SR_HZ))
def test_a_sixth_is_dropped_at_each_inner_edge(samples: int) -> None:
    windows = cut_windows(samples, SPEECH)
    within = SPEECH.frames_in(windows[0].samples)
    for before, after in pairwise(windows):
        assert after.skipped >= within // 6
        assert within - before.skipped - before.kept == within // 6
    assert windows[0].skipped == 0


def test_a_short_side_is_one_window_of_its_own_length() -> None:
    (window,) = cut_windows(5 * SR_HZ, SPEECH)
    assert (window.start, window.skipped, window.kept) == (0, 0, SPEECH.frames_in(5 * SR_HZ))
    assert window.samples <= 5 * SR_HZ
    assert cut_windows(399, SPEECH) == ()


def test_a_projection_keeps_lengths_and_is_the_same_for_ever() -> None:
    columns = projection(768)
    assert columns.shape == (768, KEPT_DIMS)
    assert np.allclose(columns.T @ columns, np.eye(KEPT_DIMS), atol=1e-5)
    assert np.array_equal(columns, projection(768))
    assert columns[0, :3] == pytest.approx([-0.055060, -0.047204, -0.008858], abs=1e-5)
    assert np.array_equal(projection(16), np.eye(16))


@dataclass
class Echo:
    """An embedder whose frames say which samples they were made of."""

    name: str = "echo"
    checkpoint: str = ""
    rule: FrameRule = SPEECH
    dims: int = 2
    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 3
    most_at_once: int = 0

    def take_at_once(self, windows: int) -> None:
        self.batch = windows

    def ready(self, windows: Floats) -> Floats:
        return windows

    def embed(self, windows: Floats) -> Floats:
        self.most_at_once = max(self.most_at_once, windows.shape[0])
        firsts = windows[:, :: self.rule.hop_samples][:, : self.rule.frames_in(windows.shape[1])]
        return np.stack((firsts, -firsts), axis=2)


def test_frames_stream_a_batch_at_a_time_and_in_order() -> None:
    ramp = np.arange(130 * SR_HZ) / SR_HZ
    model, store, told = Echo(), Frames(np.zeros((0, 2))), []
    moments = embed_side(Sound(ramp), model, store, lambda done, total: told.append((done, total)))
    expected = ramp[::320][: SPEECH.frames_in(ramp.size)]
    assert np.allclose(store.values[:, 0], expected, atol=1e-4)
    assert model.most_at_once == 3
    assert told == [(0, 6), (3, 6)]
    assert moments.count == expected.size
    assert moments.mean == pytest.approx([expected.mean(), -expected.mean()], rel=1e-4)
    assert moments.covariance[0, 1] == pytest.approx(-expected.var(), rel=1e-3)


def test_frames_that_see_nothing_beyond_themselves_are_joined_without_loss() -> None:
    sound, model = tune(70.0, 5).astype(np.float32), SpectralEmbedder()
    store = Frames(np.zeros((0, model.dims)))
    embed_side(Sound(sound), model, store, quietly)
    (whole,) = model.embed(sound[None, :])
    assert np.allclose(store.values, whole, atol=1e-4)


def test_a_direction_that_dwarfs_the_others_decides_nothing_alone() -> None:
    rng = np.random.default_rng(1)
    stretch = np.array([100.0, 1.0, 1.0]) @ np.linalg.qr(rng.standard_normal((3, 3)))[0].T
    frames = rng.standard_normal((5_000, 3)) * np.array([100.0, 1.0, 1.0]) + 7.0 * stretch
    store, scaled = Frames(np.zeros((0, 3))), Frames(np.zeros((0, 3)))
    moments = embed_side(Sound(np.arange(5_000.0)), _Given(frames), store, quietly)
    settle(store, SCENES, moments, common_scale([moments, moments]), scaled, quietly)
    spread = scaled.values.std(axis=0)
    assert spread[0] < 1.1
    assert 1.0 / spread[1] < (1.0 + SHRINKAGE * 3334) ** 0.5 * 1.1, "raw, it would be a hundred times less"
    assert np.abs(scaled.values.mean(axis=0)).max() < 0.05


def test_what_never_changes_is_scaled_to_nothing() -> None:
    store = Frames(np.zeros((0, 3)))
    moments = embed_side(Sound(np.zeros(100)), _Given(np.full((100, 3), 2.5)), store, quietly)
    assert not common_scale([moments, moments]).any()


def test_frames_that_heard_their_side_end_are_left_out() -> None:
    rng = np.random.default_rng(2)
    frames = Frames(rng.standard_normal((1_000, 2)))
    moments = embed_side(Sound(np.zeros(1_000)), _Given(frames.values), Frames(np.zeros((0, 2))), quietly)
    ends, whole = Frames(np.zeros((0, 2))), Frames(np.zeros((0, 2)))
    settle(frames, SPEECH, moments, np.eye(2, dtype=np.float32), ends, quietly)
    settle(frames, SCENES, moments, np.eye(2, dtype=np.float32), whole, quietly)
    assert not ends.values[:OUTER_EDGE_FRAMES].any()
    assert not ends.values[-OUTER_EDGE_FRAMES:].any()
    inner = slice(OUTER_EDGE_FRAMES, -OUTER_EDGE_FRAMES)
    assert np.array_equal(ends.values[inner], whole.values[inner])
    assert whole.values[:OUTER_EDGE_FRAMES].any()


class _Given(Echo):
    """An embedder that says the same frames whatever it hears, one a sample."""

    def __init__(self, frames: Floats) -> None:
        super().__init__(rule=FrameRule(1, 1, sees_window=False), dims=frames.shape[1], batch=1)
        self._frames = frames

    def embed(self, windows: Floats) -> Floats:
        return np.broadcast_to(self._frames[: windows.shape[1]], (windows.shape[0], *self._frames.shape)).astype(
            np.float32
        )
