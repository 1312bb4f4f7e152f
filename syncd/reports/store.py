"""Reports on the disk: written so that a crash leaves none or a whole one, read so that nothing odd does harm."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from syncd.errors import ErrorCode, SyncdError
from syncd.reports.facts import Report
from syncd.reports.plain import path_text
from syncd.reports.sidecar import report_to_text
from syncd.temporary import temporary_name

MAX_REPORT_BYTES: Final = 8 * 1024 * 1024
"""Far above any report (some 10 kB); whatever is larger is not one."""
SCHEMA_FAMILY: Final = "sync_report."

_WRITE_FAULTS: Final = {
    errno.ENOSPC: (ErrorCode.DISK_FULL, "There is no space left for"),
    errno.EDQUOT: (ErrorCode.DISK_FULL, "The quota leaves no space for"),
    errno.EIO: (ErrorCode.DISK_FAULT, "The disk reported an error when syncd wrote"),
    errno.EACCES: (ErrorCode.PERMISSION_DENIED, "syncd may not write"),
    errno.EPERM: (ErrorCode.PERMISSION_DENIED, "syncd may not write"),
    errno.EROFS: (ErrorCode.PERMISSION_DENIED, "The file system is read-only, so syncd cannot write"),
    errno.ENOENT: (ErrorCode.FILE_NOT_FOUND, "The folder is gone in which syncd would write"),
    errno.ENOTDIR: (ErrorCode.FILE_NOT_FOUND, "The folder is gone in which syncd would write"),
}


def write_sidecar(path: Path, report: Report) -> None:
    """Write the report as JSON; see `write_text_atomically`."""
    write_text_atomically(path, report_to_text(report))


def write_text_atomically(path: Path, text: str) -> None:
    """Put the whole text at `path`, in place of what was there, or leave everything as it was.

    A dot-named temporary in the same folder (watchers ignore those), fsync, rename, fsync of the folder. The group may
    read it. Raises `SyncdError` DISK_FULL, DISK_FAULT, PERMISSION_DENIED, FILE_NOT_FOUND (the folder is gone) or
    INTERNAL.
    """
    temporary = path.with_name(temporary_name(os.fsencode(path.name)))
    with _faults_named(path):
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o664)
        try:
            with os.fdopen(descriptor, "wb") as file:
                _let_group_read(file.fileno())
                file.write(text.encode("utf-8"))
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        sync_folder(path.parent)


def read_report(path: Path) -> Report:
    """A report of any version of ours, with whatever fields it has.

    Never waits (on a pipe) and never reads more than 8 MiB. Raises `SyncdError` FILE_NOT_FOUND, PERMISSION_DENIED, or
    MEDIA_UNREADABLE when the file is no report.
    """
    try:
        text = _read_bounded(path).decode("utf-8")
        report = json.loads(text)
    except FileNotFoundError as error:
        raise SyncdError(ErrorCode.FILE_NOT_FOUND, f"There is no report at {path_text(path)}.") from error
    except PermissionError as error:
        raise SyncdError(ErrorCode.PERMISSION_DENIED, f"syncd may not read {path_text(path)}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _no_report(path) from error
    if not isinstance(report, dict) or not str(report.get("schema")).startswith(SCHEMA_FAMILY):
        raise _no_report(path)
    return report


def _no_report(path: Path) -> SyncdError:
    return SyncdError(ErrorCode.MEDIA_UNREADABLE, f"{path_text(path)} is not a report of syncd.")


def _read_bounded(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_REPORT_BYTES:
            raise ValueError("not a regular file of a report's size")
        return file.read(MAX_REPORT_BYTES + 1)


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_fault(path, error) from error


def write_fault(path: Path, error: OSError) -> SyncdError:
    """What a failed write means for people, with the folder in the details."""
    unforeseen = (ErrorCode.INTERNAL, f"An unforeseen error ({error.strerror}) kept syncd from writing")
    code, words = _WRITE_FAULTS.get(error.errno or 0, unforeseen)
    return SyncdError(code, f"{words} {path_text(path)}.", {"folder": path_text(path.parent)})


def _let_group_read(descriptor: int) -> None:
    mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
    if not mode & stat.S_IRGRP:  # a strict umask; syncctl's users read as the service's group
        os.fchmod(descriptor, mode | stat.S_IRGRP)


def sync_folder(folder: Path) -> None:
    """Make the rename last; where the folder may not be opened or synced, the report stands all the same."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except PermissionError:  # a drop box: to be written to and not to be read
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network and FUSE file systems cannot
            raise
    finally:
        os.close(descriptor)
