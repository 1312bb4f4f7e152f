"""Embeddings: what a model hears, frame after frame, streamed window by window so that memory does not grow.

A side is cut into windows of one length, since models take them in batches and many look at a window as a whole. Of
what they make of it a sixth is dropped at each inner edge, where a frame has heard one half of its surroundings only.
The last window is moved left and never filled up: models that normalise over a window would hear the silence. A side
shorter than a window is one window of its own length.

Glossary: a `frame` is one embedding, `dims` numbers; `hop_samples` from frame to frame; `receptive_samples` what one
frame is made of, its surroundings not counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from syncd.analysis.evidence import Beat, SampleSource

Floats = NDArray[np.float32]
Matrix = NDArray[np.float64]

SR_HZ: Final = 16_000
WINDOW_S: Final = 30.0
"""Long enough for what looks at all of it, short enough for a batch of several on a small card."""
DROPPED_SHARE: Final = 6
"""One part in so many of a window is dropped at each inner edge."""
KEPT_DIMS: Final = 48
"""What is kept of a frame. Inner products of thousands of frames survive a random projection; memory would not survive
768 dimensions of a long film."""
CLIP_DEVIATIONS: Final = 4.0
"""A single event counts no more than this in any dimension."""
SHRINKAGE: Final = 0.05
"""Share of the mean variance that is added to every axis before all are scaled alike: what hardly moves is mostly
noise."""
OUTER_EDGE_FRAMES: Final = 64
"""Left out at both ends of a side where frames see their window: convolutions over 128 frames and more hear that it
ends, and two sides would agree about that."""
_AT_ONCE: Final = 4_096
"""Frames."""


@dataclass(frozen=True)
class FrameRule:
    """Where the frames of a model lie."""

    hop_samples: int
    receptive_samples: int
    sees_window: bool
    """Whether a frame also depends on the rest of its window; if not, windows are joined without loss."""

    @property
    def frames_per_s(self) -> float:
        """Frames a second."""
        return SR_HZ / self.hop_samples

    @property
    def first_centre_s(self) -> float:
        """The middle of what the first frame is made of."""
        return 0.5 * (self.receptive_samples - 1) / SR_HZ

    def frames_in(self, samples: int) -> int:
        """How many a sound of this length has."""
        return max(0, (samples - self.receptive_samples) // self.hop_samples + 1)

    def samples_for(self, frames: int) -> int:
        """The shortest sound that has so many."""
        return (frames - 1) * self.hop_samples + self.receptive_samples


class Embedder(Protocol):
    """A model that is ready to hear windows of 16 kHz mono."""

    @property
    def name(self) -> str:
        """As in the configuration."""

    @property
    def checkpoint(self) -> str:
        """Which weights; empty where there are none."""

    @property
    def rule(self) -> FrameRule:
        """Where its frames lie."""

    @property
    def dims(self) -> int:
        """Of a frame, `KEPT_DIMS` at most: a model that has more projects them (`projection`) where it computes."""

    @property
    def device(self) -> str:
        """cpu, or the card's name."""

    @property
    def dtype(self) -> str:
        """What it computes in."""

    @property
    def batch(self) -> int:
        """Windows at once at most; fewer after memory did not suffice."""

    def take_at_once(self, windows: int) -> None:
        """From now on up to so many windows are a batch."""

    def ready(self, windows: Floats) -> Any:
        """Windows (n, samples) brought to where they are computed with: from another thread, a batch ahead."""

    def embed(self, windows: Any) -> Floats:
        """Windows (n, samples), made `ready` or not, to (n, frames, dims)."""


class FrameSource(Protocol):
    """Frames that are read where they are needed; also a `BandSource`."""

    @property
    def frames(self) -> int:
        """How many."""

    @property
    def dims(self) -> int:
        """Of a frame."""

    def read_band(self, band: int) -> Floats:
        """One dimension of all frames, shape (frames,)."""

    def read(self, start: int, count: int) -> Floats:
        """Shape (count, dims); zeros before the first frame and after the last."""


class FrameStore(FrameSource, Protocol):
    """Frames that grow."""

    def append(self, frames: Floats) -> None:
        """Add frames, shape (n, dims)."""

    def flush(self) -> None:
        """To be called once after the last `append`."""


@dataclass(frozen=True)
class Window:
    """A stretch of a side, and which of its frames are kept."""

    start: int
    """First sample."""
    samples: int
    skipped: int
    """Frames dropped at its beginning."""
    kept: int


def cut_windows(samples: int, rule: FrameRule, window_s: float = WINDOW_S) -> tuple[Window, ...]:
    """The windows of a side of so many samples; kept frames, one window after the other, are those of the whole."""
    frames = rule.frames_in(samples)
    if frames == 0:
        return ()
    within = rule.frames_in(round(window_s * SR_HZ))
    if frames <= within:
        return (Window(0, rule.samples_for(frames), 0, frames),)
    dropped = within // DROPPED_SHARE if rule.sees_window else 0
    windows = []
    first, done = 0, 0
    while done < frames:
        first = min(first, frames - within)
        end = frames if first == frames - within else first + within - dropped
        windows.append(Window(first * rule.hop_samples, rule.samples_for(within), done - first, end - done))
        done = end
        first = done - dropped
    return tuple(windows)


def projection(dims: int) -> Floats:
    """Orthonormal columns, the same for ever: shape (dims, `KEPT_DIMS`), or (dims, dims) where there are fewer."""
    if dims <= KEPT_DIMS:
        return np.eye(dims, dtype=np.float32)
    drawn = np.random.Generator(np.random.PCG64(dims)).standard_normal((dims, KEPT_DIMS))
    columns, upper = np.linalg.qr(drawn)
    return np.asarray(columns * np.sign(np.diag(upper)), dtype=np.float32)


@dataclass(frozen=True)
class Moments:
    """Mean and covariance of frames."""

    count: int
    mean: Matrix
    covariance: Matrix

    @classmethod
    def of(cls, sums: Matrix, products: Matrix, count: int) -> Self:
        """From sums over the frames."""
        mean = sums / max(1, count)
        return cls(count, mean, products / max(1, count) - np.outer(mean, mean))


def embed_side(
    sound: SampleSource, embedder: Embedder, store: FrameStore, beat: Beat, window_s: float = WINDOW_S
) -> Moments:
    """Put the frames of the side into `store`; `beat` counts windows. Memory: a few batches.

    The next batch is read and the last one put away while the model hears one, so that a card need not wait.
    """
    windows = cut_windows(sound.samples, embedder.rule, window_s)
    batch = max(1, embedder.batch)
    groups = [windows[first : first + batch] for first in range(0, len(windows), batch)]
    kept = _Keeper(store, embedder.dims)

    def read(group: Sequence[Window]) -> Any:
        return embedder.ready(np.stack([sound.read(window.start, window.samples) for window in group]))

    with ThreadPoolExecutor(1, "windows") as reading, ThreadPoolExecutor(1, "frames") as keeping:
        ahead = [reading.submit(read, group) for group in groups[:1]]
        behind: list[Future[None]] = []
        for number, group in enumerate(groups):
            beat(number * batch, len(windows))
            given = ahead.pop().result()
            ahead += [reading.submit(read, following) for following in groups[number + 1 : number + 2]]
            frames = embedder.embed(given)
            for put_away in behind:
                put_away.result()
            behind = [keeping.submit(kept.add, group, frames)]
        for put_away in behind:
            put_away.result()
    store.flush()
    return Moments.of(kept.sums, kept.products, store.frames)


class _Keeper:
    """Puts frames away, and adds up what their moments need."""

    def __init__(self, store: FrameStore, dims: int) -> None:
        self._store = store
        self.sums, self.products = np.zeros(dims), np.zeros((dims, dims))

    def add(self, windows: Sequence[Window], frames: Floats) -> None:
        for window, heard in zip(windows, frames, strict=True):
            kept = heard[window.skipped : window.skipped + window.kept]
            self._store.append(kept)
            exact = kept.astype(np.float64)
            self.sums += exact.sum(axis=0)
            self.products += exact.T @ exact


def settle(
    source: FrameSource, rule: FrameRule, moments: Moments, scale: Floats, store: FrameStore, beat: Beat
) -> None:
    """Write the frames without their mean, scaled by `common_scale`, single events clipped, the ends left out."""
    mean = moments.mean.astype(np.float32)
    edge = min(OUTER_EDGE_FRAMES, source.frames // 8) if rule.sees_window else 0
    for start in range(0, source.frames, _AT_ONCE):
        beat(start, source.frames)
        frames = source.read(start, min(_AT_ONCE, source.frames - start))
        frames -= mean
        frames[: max(0, edge - start)] = 0.0
        frames[max(0, source.frames - edge - start) :] = 0.0
        store.append(np.clip(frames @ scale, -CLIP_DEVIATIONS, CLIP_DEVIATIONS))
    store.flush()


def common_scale(sides: Sequence[Moments]) -> Floats:
    """The matrix that gives both sides' frames together deviation 1 along every axis, shape (dims, dims).

    Models let a few directions dwarf all others, which then would decide every comparison alone. Symmetric: no axis
    becomes another. Zeros where nothing ever changes.
    """
    count = sum(side.count for side in sides)
    covariance = sum((side.covariance * (side.count / max(1, count)) for side in sides), np.zeros(()))
    variances, axes = np.linalg.eigh(np.atleast_2d(covariance))
    usual = float(np.mean(np.maximum(variances, 0.0)))
    if usual <= 1e-12:
        return np.zeros_like(axes, dtype=np.float32)
    deviations = np.sqrt(np.maximum(variances, 0.0) + SHRINKAGE * usual)
    return np.asarray((axes / deviations) @ axes.T, dtype=np.float32)
