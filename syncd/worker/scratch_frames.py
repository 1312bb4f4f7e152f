"""Embeddings in scratch files: chunks of frames, each chunk dimension after dimension."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from syncd.worker.scratch import ScratchFile

Floats = NDArray[np.float32]

FRAMES_A_CHUNK: Final = 4_096
"""8 KiB to read for one dimension of it in half precision, 384 KiB for all of 48."""


class ScratchFrames:
    """A `FrameStore`; chunks are of one length but for the last, so that any frame's place is known."""

    def __init__(self, file: ScratchFile, dims: int, dtype: type[np.floating] = np.float32) -> None:
        self._file = file
        self._dims = dims
        self._dtype = np.dtype(dtype)
        self._pending: list[Floats] = []
        self._pending_frames = 0
        self._written = 0

    @property
    def frames(self) -> int:
        """How many were appended."""
        return self._written + self._pending_frames

    @property
    def dims(self) -> int:
        """Of a frame."""
        return self._dims

    def append(self, frames: Floats) -> None:
        """Add frames, shape (n, dims)."""
        self._pending.append(frames)
        self._pending_frames += frames.shape[0]
        if self._pending_frames >= FRAMES_A_CHUNK:
            waiting = np.concatenate(self._pending)
            whole = waiting.shape[0] // FRAMES_A_CHUNK * FRAMES_A_CHUNK
            for start in range(0, whole, FRAMES_A_CHUNK):
                self._write(waiting[start : start + FRAMES_A_CHUNK])
            self._pending, self._pending_frames = [waiting[whole:]], waiting.shape[0] - whole

    def flush(self) -> None:
        """Write what is pending; to be called once after the last `append`."""
        if self._pending_frames:
            self._write(np.concatenate(self._pending))
        self._pending, self._pending_frames = [], 0

    def read_band(self, band: int) -> Floats:
        """One dimension of all frames, shape (frames,)."""
        curve = np.empty(self._written, dtype=self._dtype)
        for start in range(0, self._written, FRAMES_A_CHUNK):
            frames = self._frames_from(start)
            position = (start * self._dims + band * frames) * self._dtype.itemsize
            self._file.read_into(curve[start : start + frames], position)
        return curve.astype(np.float32)

    def read(self, start: int, count: int) -> Floats:
        """Shape (count, dims); zeros before the first frame and after the last."""
        frames = np.zeros((count, self._dims), dtype=np.float32)
        first, last = max(0, start), min(self._written, start + count)
        if first >= last:
            return frames
        for begin in range(first - first % FRAMES_A_CHUNK, last, FRAMES_A_CHUNK):
            chunk = np.empty((self._dims, self._frames_from(begin)), dtype=self._dtype)
            self._file.read_into(chunk, begin * self._dims * self._dtype.itemsize)
            low, high = max(first, begin), min(last, begin + chunk.shape[1])
            frames[low - start : high - start] = chunk[:, low - begin : high - begin].T
        return frames

    def _frames_from(self, start: int) -> int:
        return min(FRAMES_A_CHUNK, self._written - start)

    def _write(self, frames: Floats) -> None:
        self._file.append(np.ascontiguousarray(frames.T.astype(self._dtype)))
        self._written += frames.shape[0]
