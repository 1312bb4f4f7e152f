"""Which file systems keep their changes to themselves: events do not come for what another machine writes. Pure."""

from __future__ import annotations

import re
from typing import Final

_SILENT: Final = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p ceph glusterfs lustre afs "  # noqa: SIM905 (each word on its own line reads worse)
    "gpfs beegfs orangefs pvfs2 ocfs2 gfs2 coda virtiofs vboxsf vmhgfs prl_fs fuseblk fuse".split()
)
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


def needs_polling(real_path: str, mountinfo: str) -> bool:
    """Whether the folder lies on, or contains, a network or FUSE file system.

    `real_path` has no symbolic links; `mountinfo` is the text of ``/proc/self/mountinfo``, see proc_pid_mountinfo(5).
    """
    deepest, deepest_type = "", ""
    for mount_point, kind in _mounts(mountinfo):
        # Later lines cover earlier ones at the same place.
        if _is_within(real_path, mount_point) and len(mount_point) >= len(deepest):
            deepest, deepest_type = mount_point, kind
        elif _is_within(mount_point, real_path) and _is_silent(kind):
            return True
    return _is_silent(deepest_type)


def _mounts(mountinfo: str) -> list[tuple[str, str]]:
    mounts = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        if len(fields := left.split(" ")) > 4 and right:
            mount_point = _OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4])
            mounts.append((mount_point, right.split(" ")[0]))
    return mounts


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _is_silent(kind: str) -> bool:
    return kind in _SILENT or kind.startswith("fuse.")
