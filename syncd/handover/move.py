"""Files moved together, for good or not at all: whatever is in the way, and wherever a crash breaks it off.

`carry_out` may be called again with the same files after a crash, and finishes what was begun. A name is claimed by
an empty file that nobody else made, so nothing is ever written over. Onto another file system a file is copied under
a hidden name, synced, renamed, and only then removed where it was.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from syncd.domain import FileMove, FileStamp
from syncd.handover.places import Names
from syncd.reports.store import sync_folder
from syncd.temporary import ENDING

_PIECE_BYTES: Final = 4 << 20


class NotMoved(Exception):
    """Everything lies where it was; says why in a sentence."""


def look(names: Names) -> tuple[FileMove, ...]:
    """The files as they lie there now. Raises `NotMoved` where one is no plain file, or cannot be looked at."""
    moves = []
    for source, target in names:
        try:
            status = source.lstat()
        except OSError as error:
            raise NotMoved(f"{source} cannot be looked at: {error.strerror}.") from error
        if not stat.S_ISREG(status.st_mode):
            raise NotMoved(f"{source} is no plain file, and is left alone.")
        moves.append(FileMove(source, target, status.st_size, status.st_mtime_ns))
    return tuple(moves)


def carry_out(moves: Sequence[FileMove]) -> None:
    """Move all of them. Raises `NotMoved`; then each is back where it was."""
    placed: list[FileMove] = []
    try:
        for move in moves:
            placed += [move] if _place(move) else []
        for move in moves:
            _let_go(move)
    except OSError as error:
        lost = _undo(placed)
        for move in moves:
            _clear(move)
        told = f" What could not be put back lies there still: {', '.join(lost)}." if lost else ""
        raise NotMoved(f"{error.filename or moves[0].target}: {error.strerror}.{told}") from error


def stamp_of(path: Path) -> FileStamp:
    """What `stat` says of it now."""
    status = path.stat()
    return FileStamp(
        status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_blocks
    )


def _place(move: FileMove) -> bool:
    """Put the file where it belongs (a copied one is still where it was too); False: it is gone, there is nothing."""
    source, target = move.source, move.target
    if not _is_same(source, move):
        if os.path.lexists(target) and _is_same(target, move):
            return True  # Moved before a crash; what lies there now under the old name is another's.
        if os.path.lexists(source):
            raise OSError(errno.EBUSY, "it has changed meanwhile", os.fspath(source))
        _clear(move)
        return False
    if os.path.lexists(target):
        if _is_same(target, move) and _is_equal(source, target):
            return True  # Copied before a crash.
        if not _is_empty_claim(target, move):
            raise OSError(errno.EEXIST, "the name was taken meanwhile", os.fspath(target))
        target.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _rename(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:  # also said of one file system that is mounted in two places
            raise
        _copy(move)
    sync_folder(target.parent)
    sync_folder(source.parent)
    return True


def _rename(source: Path, target: Path) -> None:
    """Over an empty file of ours alone; raises OSError, FileExistsError among them."""
    os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
    try:
        source.rename(target)
    except BaseException:
        with contextlib.suppress(OSError):
            target.unlink()
        raise


def _copy(move: FileMove) -> None:
    """With its times and rights, which are part of what the ledger knows the file by."""
    draft = _draft(move)
    draft.unlink(missing_ok=True)  # One that a crash cut off.
    try:
        with move.source.open("rb") as there, draft.open("xb") as here:
            shutil.copyfileobj(there, here, _PIECE_BYTES)
            here.flush()
            status = os.fstat(there.fileno())
            with contextlib.suppress(PermissionError):  # only root gives files away
                os.fchown(here.fileno(), status.st_uid, status.st_gid)
            with contextlib.suppress(PermissionError):
                os.fchmod(here.fileno(), stat.S_IMODE(status.st_mode))
            os.utime(here.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
            os.fsync(here.fileno())
        if not _is_same(move.source, move):
            raise OSError(errno.EBUSY, "it changed while it was copied", os.fspath(move.source))
        if not _is_same(draft, move):
            raise OSError(errno.ENOTSUP, "its file system does not keep modification times", os.fspath(move.target))
        _rename(draft, move.target)
    except BaseException:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise


def _let_go(move: FileMove) -> None:
    """Remove what was copied; a newer version that took its name stays."""
    if _is_same(move.source, move) and _is_same(move.target, move):
        move.source.unlink()
        sync_folder(move.source.parent)


def _undo(placed: Sequence[FileMove]) -> list[str]:
    """Back where they were, the last one first; what could not be is named."""
    lost = []
    for move in reversed(placed):
        try:
            if _is_same(move.source, move):
                move.target.unlink(missing_ok=True)
            else:
                back = FileMove(move.target, move.source, move.size_bytes, move.mtime_ns)
                _place(back)
                _let_go(back)
        except OSError:
            lost.append(os.fspath(move.target))
    return lost


def _draft(move: FileMove) -> Path:
    """A hidden name beside the target that a later run of the same move finds again, and no other move takes."""
    digest = hashlib.sha256(os.fsencode(move.source) + b"\0" + os.fsencode(move.target)).hexdigest()[:32]
    return move.target.with_name(f".{digest}{ENDING}")


def _clear(move: FileMove) -> None:
    """Of a move that does not come about: what a crash may have left."""
    with contextlib.suppress(OSError):
        _draft(move).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        if _is_empty_claim(move.target, move):
            move.target.unlink()


def _is_same(path: Path, move: FileMove) -> bool:
    """Whether a file of that size and time lies there. Raises OSError where that cannot be found out."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and (status.st_size, status.st_mtime_ns) == (move.size_bytes, move.mtime_ns)


def _is_empty_claim(target: Path, move: FileMove) -> bool:
    """Whether a crash between claim and rename left it: empty, and only ours to read."""
    status = target.lstat()
    is_ours = stat.S_ISREG(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o600 and status.st_uid == os.geteuid()
    return is_ours and status.st_size == 0 and move.size_bytes > 0


def _is_equal(one: Path, other: Path) -> bool:
    """To the last byte: only after a crash, and before a source is removed that this process did not copy."""
    with one.open("rb") as first, other.open("rb") as second:
        while piece := first.read(_PIECE_BYTES):
            if second.read(_PIECE_BYTES) != piece:
                return False
        return not second.read(1)
