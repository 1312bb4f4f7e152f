"""A look inside a quiet file: is somebody writing it, is it as long as it says, which version is it?

Reads at most some 300 KiB of a file, whatever its size.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import signal
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from syncd.domain import Identity, MediaFile, Stem
from syncd.errors import ErrorCode, SyncdError, is_of_the_disk
from syncd.headers import missing_bytes
from syncd.watch.names import is_media
from syncd.watch.settle import Look
from syncd.watch.stamps import PackedStamp, pack_stat, unpack_stamp
from syncd.watch.stems import StemBook, stem_name

_SAMPLE_BYTES: Final = 65536
FINGERPRINT_BYTES: Final = 16


def ignore_lease_signals() -> None:
    """Let the signal pass that the kernel sends when somebody opens a file for writing in the instant of our looking.

    Its default action would end the process. Call once, from the main thread; without it `Look.WRITTEN` is not
    recognised and the quiet time decides alone.
    """
    signal.signal(signal.SIGIO, signal.SIG_IGN)


@contextmanager
def opened(path: str) -> Iterator[int]:
    """A descriptor for reading; raises OSError, BlockingIOError if another program's lease forbids it for now.

    Never waits: neither for such a lease nor for the other end of a pipe that took the file's place.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def look_inside(descriptor: int) -> Look:
    """What speaks for or against the file being complete: `WHOLE`, `WRITTEN` or `SHORT`; raises OSError."""
    if _has_writer(descriptor):
        return Look.WRITTEN
    size_bytes = os.fstat(descriptor).st_size
    if size_bytes == 0 or missing_bytes(lambda offset, count: os.pread(descriptor, count, offset), size_bytes):
        return Look.SHORT
    return Look.WHOLE


def look_of_error(error: OSError) -> Look:
    """What a failed opening or reading says of the file."""
    if isinstance(error, BlockingIOError):
        return Look.WRITTEN
    return Look.FORBIDDEN if isinstance(error, PermissionError) else Look.FAULTY


def fingerprint(descriptor: int) -> bytes:
    """16 bytes (BLAKE2b) over the size and the first, middle and last 64 KiB; raises OSError."""
    size_bytes = os.fstat(descriptor).st_size
    digest = hashlib.blake2b(size_bytes.to_bytes(8, "little"), digest_size=FINGERPRINT_BYTES)
    if size_bytes <= 3 * _SAMPLE_BYTES:
        starts: tuple[int, ...] = tuple(range(0, size_bytes, _SAMPLE_BYTES))
    else:
        starts = (0, (size_bytes - _SAMPLE_BYTES) // 2, size_bytes - _SAMPLE_BYTES)
    for start in starts:
        digest.update(_sample(descriptor, start))
    return digest.digest()


def _sample(descriptor: int, start: int) -> bytes:
    """Whole, or to the file's end; a call that meets a disk's fault in its middle only returns less."""
    sample = b""
    while len(sample) < _SAMPLE_BYTES and (
        piece := os.pread(descriptor, _SAMPLE_BYTES - len(sample), start + len(sample))
    ):
        sample += piece
    return sample


def stamp_of(descriptor: int) -> PackedStamp:
    """The stamp of the file that is open here, whatever its name means by now."""
    return pack_stat(os.fstat(descriptor))


def identify(path: Path) -> MediaFile:
    """The version of the file as it lies there, complete or not: for files that people name themselves.

    Raises `SyncdError` FILE_NOT_FOUND, PERMISSION_DENIED, DISK_FAULT or MEDIA_UNREADABLE.
    """
    try:
        with opened(os.fspath(path)) as descriptor:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise SyncdError(ErrorCode.MEDIA_UNREADABLE, f"{path} is not a regular file.")
            return media_file(path, stamp_of(descriptor), fingerprint(descriptor))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise SyncdError(ErrorCode.FILE_NOT_FOUND, f"There is no file at {path}.") from error
    except PermissionError as error:
        raise SyncdError(ErrorCode.PERMISSION_DENIED, f"{path} may not be read by this user.") from error
    except OSError as error:
        code = ErrorCode.DISK_FAULT if is_of_the_disk(error) else ErrorCode.MEDIA_UNREADABLE
        raise SyncdError(code, f"{path} cannot be read: {error.strerror}.") from error


def identify_side(path: Path) -> MediaFile:
    """As `identify`; whoever names the left one of several stems means all that lie beside it."""
    name = stem_name(path.name)
    if name is None or name.channel != "L":
        return identify(path)
    try:
        beside = [each.name for each in path.parent.iterdir() if is_media(each.name)]
    except OSError:
        return identify(path)
    book = StemBook(quiet_s=0.0)
    for each in beside:
        other = stem_name(each)
        if other is not None and other.group == name.group:
            book.arriving(each, 0.0)
            book.settle(each)
    sides = [book.stems(unit) for _, units in book.pop_ready(0.0) for unit in units]
    stems = next((side for side in sides if side), ())
    return (
        stems_file([(channel, identify(path.with_name(each))) for channel, each in stems]) if stems else identify(path)
    )


def media_file(path: Path, packed: PackedStamp, digest: bytes) -> MediaFile:
    """The value that travels; an empty digest stands for a file that could not be read."""
    stamp = unpack_stamp(packed)
    return MediaFile(path, Identity(stamp.size_bytes, stamp.mtime_ns, digest.hex()), stamp)


def stems_file(channels: Sequence[tuple[str, MediaFile]]) -> MediaFile:
    """One side made of several files, the left channel's first: a new version of any makes a new version of it."""
    files = [file for _, file in channels]
    digest = hashlib.blake2b(digest_size=FINGERPRINT_BYTES)
    for channel, file in channels:
        digest.update(f"{channel} {file.identity.size_bytes} {file.identity.fingerprint}\n".encode())
    is_read = all(file.identity.fingerprint for file in files)
    identity = Identity(
        sum(file.identity.size_bytes for file in files),
        max(file.identity.mtime_ns for file in files),
        digest.hexdigest() if is_read else "",
    )
    stems = tuple(Stem(channel, file.path, file.identity, file.stamp) for channel, file in channels)
    return MediaFile(files[0].path, identity, files[0].stamp, stems)


def single_files(file: MediaFile) -> Iterator[tuple[Path, MediaFile]]:
    """What a watcher may meet of it, by path: the file, or each stem of a side."""
    if not file.stems:
        yield file.path, file
    for stem in file.stems:
        yield stem.path, MediaFile(stem.path, stem.identity, stem.stamp)


def _has_writer(descriptor: int) -> bool:
    """Whether somebody has the file open for writing, as far as the kernel says.

    A read lease is granted only where nobody does. File systems without leases and files of other owners (without
    CAP_LEASE) answer with other errors: unknown, so the quiet time decides.
    """
    if signal.getsignal(signal.SIGIO) is not signal.SIG_IGN:
        return False
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    return False
