"""Scratch files: sounds and curves of a job, on disk instead of in memory.

Each file has no name (it is unlinked as soon as it is made), so nothing is left behind however the worker ends. Reading
goes through `pread` and not through a memory map: mapped pages would count as the worker's own memory.
"""

from __future__ import annotations

import errno
import os
import tempfile
from bisect import bisect_right
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from syncd.errors import ErrorCode, SyncdError

FULL_SCALE: Final = 32_767
FRAMES_A_CHUNK: Final = 4_096
"""Of a curve: 82 s, and 16 KiB to read for one band of it."""


class Scratch:
    """All scratch files of one job; `close` gives their space back."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: list[int] = []
        self._lock = Lock()
        self._bytes_written = 0

    @property
    def bytes_written(self) -> int:
        """So far, all files together."""
        return self._bytes_written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give all space back; the sounds and curves kept here cannot be read any more."""
        with self._lock:
            while self._descriptors:
                os.close(self._descriptors.pop())

    def adopt(self, descriptor: int) -> None:
        """Close the descriptor (of a file that is read as scratch files are) with the others."""
        with self._lock:
            self._descriptors.append(descriptor)

    def open_file(self) -> ScratchFile:
        """A new empty file; raises `SyncdError` PERMISSION_DENIED, DISK_FULL or DISK_FAULT."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                descriptor = os.dup(file.fileno())
        except OSError as error:
            raise _failure(self._folder, error) from error
        with self._lock:
            self._descriptors.append(descriptor)
        return ScratchFile(self, descriptor)

    def write(self, descriptor: int, data: memoryview, position: int) -> None:
        """Write all of `data` at `position`; raises `SyncdError` DISK_FULL or DISK_FAULT."""
        try:
            while data:
                written = os.pwrite(descriptor, data, position)
                position += written
                data = data[written:]
                with self._lock:
                    self._bytes_written += written
        except OSError as error:
            raise _failure(self._folder, error) from error


class ScratchFile:
    """One file: appended to by one thread, read by any."""

    def __init__(self, scratch: Scratch, descriptor: int) -> None:
        self._scratch = scratch
        self._descriptor = descriptor
        self.size_bytes = 0

    def append(self, values: NDArray[np.generic]) -> None:
        """Add the array's bytes at the end."""
        data = np.ascontiguousarray(values).data.cast("B")
        self._scratch.write(self._descriptor, data, self.size_bytes)
        self.size_bytes += len(data)

    def read_into(self, values: NDArray[np.generic], position: int) -> None:
        """Fill the contiguous array from `position`; raises EOFError beyond what was written."""
        read_into(self._descriptor, values, position)


def read_into(descriptor: int, values: NDArray[np.generic], position: int) -> None:
    """Fill the contiguous array from `position` of the file; raises EOFError beyond its end, and OSError."""
    data = values.data.cast("B")
    while data:
        count = os.preadv(descriptor, [data], position)
        if count == 0:
            raise EOFError(f"{len(data)} bytes are missing at {position} of a scratch file")
        data = data[count:]
        position += count


class Readable(Protocol):
    """Bytes on disk, read where they lie."""

    def read_into(self, values: NDArray[np.generic], position: int) -> None:
        """Fill the contiguous array from `position`; raises EOFError beyond the end."""


class StoredSound:
    """A `SampleSource`: 16 bits a sample, each block with a scale of its own."""

    def __init__(self, file: Readable, starts: list[int], scales: list[float], samples: int) -> None:
        self.file = file
        self.starts = starts
        """First sample of each block."""
        self.scales = scales
        """Full scale 1.0 of one step of 16 bits, a block."""
        self._samples = samples

    @property
    def samples(self) -> int:
        """Its length."""
        return self._samples

    def read(self, start: int, count: int) -> NDArray[np.float32]:
        """`count` samples from `start`; zeros before the start and beyond the end."""
        sound = np.zeros(count, dtype=np.float32)
        first, last = max(0, start), min(self._samples, start + count)
        if first >= last:
            return sound
        stored = np.empty(last - first, dtype=np.int16)
        self.file.read_into(stored, first * stored.itemsize)
        inner = sound[first - start : last - start]
        inner[:] = stored
        for block in range(bisect_right(self.starts, first) - 1, bisect_right(self.starts, last - 1)):
            begin = max(self.starts[block] - first, 0)
            end = self.starts[block + 1] - first if block + 1 < len(self.starts) else inner.size
            inner[begin:end] *= np.float32(self.scales[block])
        return sound


class ScratchSound(StoredSound):
    """A sound that grows.

    A quarter less to write than it costs to scale, half the disk of float32, and rounding stays 98 dB below the
    loudest sample of every four seconds.
    """

    def __init__(self, file: ScratchFile) -> None:
        super().__init__(file, [], [], 0)
        self._scratch_file = file
        self.peak = 0.0

    def append(self, block: NDArray[np.float32]) -> None:
        """Add a block, shape (n,), finite."""
        if block.size == 0:
            return
        peak = float(max(block.max(), -block.min()))
        scaled = block * np.float32(FULL_SCALE / peak if peak > 0.0 else 0.0)
        np.rint(scaled, out=scaled)
        self._scratch_file.append(scaled.astype(np.int16))
        self.starts.append(self._samples)
        self.scales.append(peak / FULL_SCALE)
        self._samples += block.size
        self.peak = max(self.peak, peak)


class StoredCurve:
    """A `BandSource`: chunks of frames, each chunk band after band, so that one band is read without the others."""

    def __init__(self, file: Readable, bands: int, chunks: list[tuple[int, int]]) -> None:
        self.file = file
        self.bands = bands
        self.chunks = chunks
        """(position in bytes, frames) of each."""

    @property
    def frames(self) -> int:
        """Its length."""
        return sum(frames for _, frames in self.chunks)

    def read_band(self, band: int) -> NDArray[np.float32]:
        """The whole curve of one band, shape (frames,)."""
        curve = np.empty(sum(frames for _, frames in self.chunks), dtype=np.float32)
        done = 0
        for position, frames in self.chunks:
            self.file.read_into(curve[done : done + frames], position + band * frames * curve.itemsize)
            done += frames
        return curve


class ScratchCurve(StoredCurve):
    """A curve that grows."""

    def __init__(self, file: ScratchFile, bands: int) -> None:
        super().__init__(file, bands, [])
        self._scratch_file = file
        self._pending: list[NDArray[np.float32]] = []
        self._pending_frames = 0

    @property
    def frames(self) -> int:
        """How many were appended."""
        return super().frames + self._pending_frames

    def append(self, frames: NDArray[np.float32]) -> None:
        """Add frames, shape (bands, n)."""
        self._pending.append(frames)
        self._pending_frames += frames.shape[1]
        if self._pending_frames >= FRAMES_A_CHUNK:
            self.flush()

    def flush(self) -> None:
        """Write what is pending; to be called once after the last `append`."""
        if not self._pending_frames:
            return
        chunk = np.concatenate(self._pending, axis=1)
        self.chunks.append((self._scratch_file.size_bytes, chunk.shape[1]))
        self._scratch_file.append(chunk)
        self._pending = []
        self._pending_frames = 0


def _failure(folder: Path, error: OSError) -> SyncdError:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return SyncdError(ErrorCode.DISK_FULL, f"There is no space left in {folder} for scratch files.")
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return SyncdError(ErrorCode.PERMISSION_DENIED, f"Scratch files may not be written in {folder}.")
    if error.errno == errno.EIO:
        return SyncdError(
            ErrorCode.DISK_FAULT, f"The disk reported an error when scratch files were written in {folder}."
        )
    return SyncdError(ErrorCode.INTERNAL, f"Scratch files cannot be kept in {folder}: {error.strerror}.")
