"""The errors that people meet: a stable code, what happened, what to do.

Three kinds: the *media's* (the file is at fault; trying again changes nothing), the *machinery's* (a worker, a disk or
a device failed; tried again), the *operator's* (a wrong command or configuration). The codes are the same in the
ledger, the sidecar and the commands.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

DetailValue = str | int | float | list[str]


class ErrorKind(StrEnum):
    """Who can mend it, and so whether it is tried again."""

    MEDIA = "media"
    """The file is at fault: final."""
    MACHINERY = "machinery"
    """A process, disk or device failed: retried."""
    OPERATOR = "operator"
    """A command or the configuration is wrong: refused at the door."""


class ErrorCode(StrEnum):
    """Stable names; scripts may depend on them."""

    FILE_NOT_FOUND = "FILE_NOT_FOUND"
    """A file or a watched folder is not where it was named."""
    FILE_CHANGED = "FILE_CHANGED"
    """A file was replaced or written to while it was measured."""
    MEDIA_UNREADABLE = "MEDIA_UNREADABLE"
    """What is in the file is no audio or video that ffmpeg's libraries can read, or it is damaged."""
    NO_AUDIO = "NO_AUDIO"
    """The file has no audio track."""
    MEDIA_TRUNCATED = "MEDIA_TRUNCATED"
    """The file ends before its own header says that it does: a copy that broke off."""
    MEDIA_TOO_SHORT = "MEDIA_TOO_SHORT"
    """A side is too short to be placed at all."""
    MEDIA_TOO_LONG = "MEDIA_TOO_LONG"
    """The programme is longer than limits.max_duration_seconds."""
    MEDIA_TOO_LARGE = "MEDIA_TOO_LARGE"
    """The file is larger than limits.max_file_bytes."""
    TRACK_NOT_FOUND = "TRACK_NOT_FOUND"
    """The audio track that was asked for is not in the container, or both sides are the same track."""
    AMBIGUOUS_PAIR = "AMBIGUOUS_PAIR"
    """Two masters claim one title, so none of its files is paired; they are listed as orphans, and no job is made."""
    PERMISSION_DENIED = "PERMISSION_DENIED"
    """A file may not be read, a report may not be written, or somebody outside the service's group called a command."""
    DISK_FULL = "DISK_FULL"
    """A disk or a quota is full: that of the media, the ledger or the cache."""
    DISK_FAULT = "DISK_FAULT"
    """A disk or a mount does not answer as it should, also where that looks like a file that ends early."""
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    """A worker needed more memory than it was promised and was ended, it alone; or the machine has too little for the
    job."""
    GPU_OUT_OF_MEMORY = "GPU_OUT_OF_MEMORY"
    """A model needed more of the GPU's memory than it was promised, even window by window."""
    GPU_FAILED = "GPU_FAILED"
    """The GPU or its driver failed while a model computed."""
    FOLDER_STALLED = "FOLDER_STALLED"
    """A folder does not answer: a network mount that hangs, mostly. What is in it waits, all else goes on."""
    WORKER_CRASHED = "WORKER_CRASHED"
    """A worker process ended in the middle of a job."""
    WORKER_STALLED = "WORKER_STALLED"
    """A worker made no progress for longer than its stage ever takes, and was ended."""
    TIME_LIMIT = "TIME_LIMIT"
    """A job took longer than workers.job_seconds, and was ended."""
    INTERRUPTED = "INTERRUPTED"
    """The service died ten times while this job ran, so it is not tried again."""
    MODEL_UNAVAILABLE = "MODEL_UNAVAILABLE"
    """A model is missing, damaged or of the wrong kind. The report comes without it, and says so in a warning."""
    QUEUE_FULL = "QUEUE_FULL"
    """limits.max_queued jobs are waiting already, so a submit was refused; folders wait by themselves."""
    WATCH_LIMIT = "WATCH_LIMIT"
    """The kernel watches no more folders (fs.inotify.max_user_watches), so this one is polled."""
    CONFIG_INVALID = "CONFIG_INVALID"
    """The configuration cannot be read, or something in it is wrong: every fault is named with its key."""
    USAGE = "USAGE"
    """The command cannot be carried out as it was given."""
    NOT_FOUND = "NOT_FOUND"
    """There is no such job, or it has no timeline."""
    NO_LEDGER = "NO_LEDGER"
    """There is no ledger where the configuration says: syncd has not run yet, or with another configuration."""
    LEDGER_IN_USE = "LEDGER_IN_USE"
    """Another syncd has this ledger."""
    LEDGER_NEWER = "LEDGER_NEWER"
    """A newer syncd has changed the ledger's tables; this one does not know them."""
    LEDGER_DAMAGED = "LEDGER_DAMAGED"
    """The ledger's file is damaged, or it is no ledger at all."""
    INTERNAL = "INTERNAL"
    """Something happened that nobody foresaw."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    kind: ErrorKind
    advice: str
    exit_code: int = 1


_MEANINGS: Final[dict[ErrorCode, _Meaning]] = {
    ErrorCode.FILE_NOT_FOUND: _Meaning(
        ErrorKind.MEDIA, "Put the file back or mend its name, then drop or submit it again.", 1
    ),
    ErrorCode.FILE_CHANGED: _Meaning(
        ErrorKind.MEDIA, "Wait until whatever writes the file is done; the new version is picked up by itself."
    ),
    ErrorCode.MEDIA_UNREADABLE: _Meaning(
        ErrorKind.MEDIA, "Play the file in another program; if that fails too, export or copy it again."
    ),
    ErrorCode.NO_AUDIO: _Meaning(ErrorKind.MEDIA, "Export the file with its audio track and drop it again."),
    ErrorCode.MEDIA_TRUNCATED: _Meaning(ErrorKind.MEDIA, "Copy the file again from its source and compare the sizes."),
    ErrorCode.MEDIA_TOO_SHORT: _Meaning(
        ErrorKind.MEDIA, "Deliver a longer excerpt; what is this short cannot be placed reliably."
    ),
    ErrorCode.MEDIA_TOO_LONG: _Meaning(
        ErrorKind.MEDIA, "Raise limits.max_duration_seconds in the configuration, or cut the file into reels."
    ),
    ErrorCode.MEDIA_TOO_LARGE: _Meaning(
        ErrorKind.MEDIA, "Raise limits.max_file_bytes in the configuration, or deliver the audio alone."
    ),
    ErrorCode.TRACK_NOT_FOUND: _Meaning(
        ErrorKind.MEDIA, "Choose one of the tracks listed in the details with --master-track or --dub-track."
    ),
    ErrorCode.AMBIGUOUS_PAIR: _Meaning(
        ErrorKind.MEDIA, "Leave one master per title in the folder, or name the pair with 'syncctl submit'."
    ),
    ErrorCode.PERMISSION_DENIED: _Meaning(
        ErrorKind.MACHINERY,
        "If the service was refused, give its user the right to read the file and to write beside it; if you were, "
        "join the group syncd ('usermod -aG syncd USER') and log in anew.",
    ),
    ErrorCode.DISK_FULL: _Meaning(ErrorKind.MACHINERY, "Free some space on the named file system."),
    ErrorCode.DISK_FAULT: _Meaning(
        ErrorKind.MACHINERY, "Look at the disk or mount of what is named ('dmesg', 'findmnt'); syncd goes on by itself."
    ),
    ErrorCode.OUT_OF_MEMORY: _Meaning(ErrorKind.MACHINERY, "Lower workers.cpu_slots, or give the machine more memory."),
    ErrorCode.GPU_OUT_OF_MEMORY: _Meaning(
        ErrorKind.MACHINERY, "Lower workers.gpu_memory_fraction, or set workers.devices to 'cpu'."
    ),
    ErrorCode.GPU_FAILED: _Meaning(
        ErrorKind.MACHINERY, "Look at the card with 'syncctl devices' and 'dmesg'; its jobs go on elsewhere."
    ),
    ErrorCode.FOLDER_STALLED: _Meaning(
        ErrorKind.MACHINERY, "Check the mount that the folder is on ('findmnt', 'dmesg')."
    ),
    ErrorCode.WORKER_CRASHED: _Meaning(
        ErrorKind.MACHINERY, "See 'syncctl show' for the attempts; 'syncctl retry' starts the job again."
    ),
    ErrorCode.WORKER_STALLED: _Meaning(
        ErrorKind.MACHINERY, "See 'syncctl show' for where it stood; 'syncctl retry' starts the job again."
    ),
    ErrorCode.TIME_LIMIT: _Meaning(
        ErrorKind.MACHINERY, "Raise workers.job_seconds in the configuration, then 'syncctl retry'."
    ),
    ErrorCode.INTERRUPTED: _Meaning(
        ErrorKind.MACHINERY,
        "See 'journalctl -u syncd' and 'dmesg' for what ended the service; 'syncctl retry' starts the job again.",
    ),
    ErrorCode.MODEL_UNAVAILABLE: _Meaning(
        ErrorKind.MACHINERY, "Check the models and the paths in [ai] of the configuration with 'syncctl models check'."
    ),
    ErrorCode.QUEUE_FULL: _Meaning(
        ErrorKind.OPERATOR, "Wait for jobs to finish, or raise limits.max_queued in the configuration."
    ),
    ErrorCode.WATCH_LIMIT: _Meaning(
        ErrorKind.MACHINERY, "Raise the limit with sysctl; until then syncd polls, which is slower but misses nothing."
    ),
    ErrorCode.CONFIG_INVALID: _Meaning(
        ErrorKind.OPERATOR, "Mend what is named; 'syncd --check --config FILE' tries it.", 2
    ),
    ErrorCode.USAGE: _Meaning(ErrorKind.OPERATOR, "Add --help to the command to see how it is used.", 2),
    ErrorCode.NOT_FOUND: _Meaning(
        ErrorKind.OPERATOR, "'syncctl list' shows the jobs that exist, 'syncctl show ID' what came of one.", 4
    ),
    ErrorCode.NO_LEDGER: _Meaning(
        ErrorKind.OPERATOR, "Start syncd once, or name the right configuration with --config.", 10
    ),
    ErrorCode.LEDGER_IN_USE: _Meaning(
        ErrorKind.OPERATOR, "Stop the other syncd on this ledger first ('systemctl stop syncd').", 11
    ),
    ErrorCode.LEDGER_NEWER: _Meaning(
        ErrorKind.OPERATOR, "Install the newer syncd again, or restore the backup beside the ledger.", 12
    ),
    ErrorCode.LEDGER_DAMAGED: _Meaning(
        ErrorKind.OPERATOR,
        "Start syncd, or 'syncctl rebuild': a damaged ledger is set aside and made anew from the reports; another "
        "program's file is left alone, so name another ledger.path then.",
    ),
    ErrorCode.INTERNAL: _Meaning(
        ErrorKind.MACHINERY,
        "This is a fault in syncd: please report it with the log of the job, or the trace that is named.",
    ),
}


_OF_DISKS: Final = frozenset(
    {
        errno.EIO,
        errno.ENXIO,
        errno.ENODEV,
        errno.EREMOTEIO,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENOTCONN,
        errno.EUCLEAN,
    }
)


def is_of_the_disk(error: OSError) -> bool:
    """Whether a disk or mount failed, and not what was asked of it."""
    return error.errno in _OF_DISKS


def error_kind(code: ErrorCode) -> ErrorKind:
    """Who can mend it."""
    return _MEANINGS[code].kind


def error_advice(code: ErrorCode) -> str:
    """What to do about it, in one sentence."""
    return _MEANINGS[code].advice


def error_exit_code(code: ErrorCode) -> int:
    """The exit status of a command that ends with this error."""
    return _MEANINGS[code].exit_code


class SyncdError(Exception):
    """What went wrong (one sentence), under a stable code; the advice follows from the code."""

    def __init__(self, code: ErrorCode, message: str, details: Mapping[str, DetailValue] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details: dict[str, DetailValue] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} {error_advice(self.code)}"
