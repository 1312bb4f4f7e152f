"""Every fault by its name, and how one is brought about and judged."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from tests.acceptance.service import Service
from tests.chaos import disk_faults, faults
from tests.chaos.pairs import ManyPairs
from tests.chaos.shim import mounted
from tests.chaos.site import Site, Skipped

HOUR_S: Final = 3600
ONE_SLOT: Final = "[workers]\ncpu_slots = 1\n"
TWO_SLOTS: Final = "[workers]\ncpu_slots = 2\n"
QUICK_STALLS: Final = f"{TWO_SLOTS}stall_seconds = {faults.STALL_S}\n"
SMALL_DISK_MB: Final = 64


@dataclass(frozen=True)
class Fault:
    """One way in which something breaks."""

    injected: str
    run: Callable[[Site], str]
    """Brings it about, and says what was seen."""
    extra: str = TWO_SLOTS
    """Of the configuration."""
    needs_small_disk: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of it."""

    seen: str
    broken: tuple[str, ...] = ()
    """Promises."""
    is_skipped: bool = False


FAULTS: Final[dict[str, Fault]] = {
    "daemon-killed": Fault(
        "SIGKILL of the daemon at each change of a job", faults.the_daemon_is_killed_at_every_point, ONE_SLOT
    ),
    "daemon-killed-in-stages": Fault("the same in each stage", faults.the_daemon_is_killed_in_every_stage, ONE_SLOT),
    "daemon-stopped": Fault(
        "SIGSTOP of daemon and worker, SIGCONT", faults.the_daemon_is_stopped_for_a_while, QUICK_STALLS
    ),
    "worker-killed": Fault("SIGKILL of a worker in each stage", faults.a_worker_is_killed_in_every_stage),
    "worker-stopped": Fault("SIGSTOP of a worker", partial(faults.a_worker_stands_still, act="stop"), QUICK_STALLS),
    "lock-held": Fault(
        "interpreter lock held, idle", partial(faults.a_worker_stands_still, act="hold the interpreter"), QUICK_STALLS
    ),
    "lock-held-computing": Fault(
        "interpreter lock held by a regular expression",
        partial(faults.a_worker_stands_still, act="compute with the interpreter held"),
        QUICK_STALLS,
    ),
    "pipe-closed-by-worker": Fault("worker closes its pipe, lives on", faults.a_worker_closes_its_line),
    "pipe-closed-by-daemon": Fault("the daemon's end of the pipe is closed", faults.the_daemon_closes_its_line),
    "memory-eaten": Fault("a worker takes more than it was promised", faults.a_worker_eats_memory),
    "ledger-full": Fault("ENOSPC on the ledger", partial(disk_faults.the_ledger_fails, number=errno.ENOSPC)),
    "ledger-eio": Fault("EIO on the ledger", partial(disk_faults.the_ledger_fails, number=errno.EIO)),
    "ledger-turns-read-only": Fault(
        "EROFS on the open ledger", partial(disk_faults.the_ledger_fails, number=errno.EROFS)
    ),
    "ledger-read-only": Fault("EROFS on the ledger at the start", disk_faults.the_ledger_is_read_only_at_the_start),
    "folder-full": Fault("ENOSPC beside the media", partial(disk_faults.the_folder_fails, number=errno.ENOSPC)),
    "folder-eio": Fault("EIO beside the media", partial(disk_faults.the_folder_fails, number=errno.EIO)),
    "folder-read-only": Fault("EROFS beside the media", partial(disk_faults.the_folder_fails, number=errno.EROFS)),
    "cache-full": Fault("ENOSPC on cache and scratch", partial(disk_faults.the_cache_fails, number=errno.ENOSPC)),
    "cache-eio": Fault("EIO on cache and scratch", partial(disk_faults.the_cache_fails, number=errno.EIO)),
    "media-eio": Fault("EIO on a master that is being read", disk_faults.the_master_cannot_be_read),
    "worker-not-started": Fault("ENOSPC where workers' output is kept", disk_faults.no_worker_can_be_started),
    "log-full": Fault("ENOSPC on the daemon's log", disk_faults.the_log_fails),
    "disk-full": Fault("a small disk, really full", disk_faults.the_disk_is_really_full, needs_small_disk=True),
    "clock-forward": Fault("wall clock 3 h forward", partial(disk_faults.the_clock_is_set, off_s=3 * HOUR_S)),
    "clock-back": Fault("wall clock 3 h back", partial(disk_faults.the_clock_is_set, off_s=-3 * HOUR_S)),
}


def bring_about(fault: Fault, pairs: ManyPairs, folder: Path) -> Outcome:
    """The fault, in a service of its own in this empty folder; which promises were broken."""
    home = folder / "home"
    home.mkdir()
    try:
        with mounted(f"-t tmpfs -o size={SMALL_DISK_MB}m", "none", home) if fault.needs_small_disk else nullcontext():
            service = Service(home, extra=fault.extra, logs=folder)
            try:
                site = Site(service, pairs)
                seen = fault.run(site)
                return Outcome(seen, tuple(site.broken()))
            finally:
                service.close()
    except Skipped as reason:
        return Outcome(str(reason), is_skipped=True)
    except AssertionError as error:
        return Outcome("it did not come to an end", (str(error)[:2000],))
