"""A throw-away machine under a real systemd: the host's programs, in namespaces and on an overlay of their own.

Root is needed, and a kernel that allows it; `why_none` says what is missing.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from tests.acceptance.service import wait_for

BOOT: Final = Path(__file__).with_name("boot.sh")
SYSTEMD: Final = Path("/lib/systemd/systemd")
PROGRAMS: Final = ("bash", "hostname", "ip", "nsenter", "pivot_root", "setpriv", "unshare", "useradd", "systemctl")
NAMESPACES: Final = ("--pid", "--mount", "--uts", "--ipc", "--net", "--cgroup")
CLEAN: Final = (
    "env",
    "-i",
    "LANG=C.UTF-8",
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "SYSTEMD_COLORS=0",
    "SYSTEMD_PAGER=",
    "TERM=dumb",
)
BOOT_S: Final = 120.0
"""Preparing included."""
COMMAND_S: Final = 60.0


def why_none() -> str | None:
    """What keeps a machine from being booted here; None: nothing."""
    if os.geteuid() != 0:
        return "Only root can boot a systemd of its own."
    if not SYSTEMD.exists():
        return f"There is no {SYSTEMD} (package systemd)."
    missing = [program for program in PROGRAMS if shutil.which(program) is None]
    if missing:
        return f"These programs are missing: {', '.join(missing)}."
    groups = _control_groups()
    if groups is None or not os.access(groups, os.W_OK):
        return "No control groups of version 2 are mounted to be written to."
    return _why_no_namespaces()


def _why_no_namespaces() -> str | None:
    with tempfile.TemporaryDirectory(prefix="syncd-machine-") as folder:
        script = (
            'set -e; mount -t tmpfs t "$1"; mkdir "$1/u" "$1/w" "$1/r"; '
            'mount -t overlay o -o "lowerdir=/,upperdir=$1/u,workdir=$1/w" "$1/r"; mount -t cgroup2 c "$1/r/sys"'
        )
        trial = ["unshare", "--fork", *NAMESPACES, "--propagation", "private", "bash", "-c", script, "bash", folder]
        done = subprocess.run(trial, capture_output=True, text=True, check=False, timeout=COMMAND_S)
    return None if done.returncode == 0 else f"The kernel does not allow it: {done.stderr.strip().splitlines()[-1:]}."


def _control_groups() -> Path | None:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    return next((Path(fields[1]) for fields in mounts if fields[2] == "cgroup2"), None)


class Machine:
    """Booted when made; to be shut down."""

    def __init__(self, prepare: str, binds: Mapping[Path, str], *, files: Path) -> None:
        """`prepare`: what its shell runs before systemd does. `binds`: what of the host lies where. `files`: /files."""
        groups = _control_groups()
        assert groups is not None
        self.files = files
        files.chmod(0o755)  # For users of the machine.
        self._folder = Path(tempfile.mkdtemp(prefix="syncd-machine-"))
        self._group = groups / self._folder.name
        self._group.mkdir()
        self._console = self._folder.with_suffix(".console")
        (files / "prepare.sh").write_text(prepare, encoding="utf-8")
        enter = 'echo $$ >"$1/cgroup.procs"; shift; exec "$@"'
        boot = ["bash", str(BOOT), str(self._folder), "machine", "/files/prepare.sh", f"{files}:/files"]
        with self._console.open("wb") as console:
            self._outer = subprocess.Popen(
                ["bash", "-c", enter, "bash", str(self._group)]
                + ["unshare", "--fork", "--kill-child", *NAMESPACES, "--propagation", "private", *boot]
                + [f"{source}:{target}" for source, target in binds.items()],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        self._first_pid = 0
        try:
            wait_for(self._is_up, deadline_s=BOOT_S, what="the machine")
        except BaseException:
            self.shut_down()
            raise

    def _is_up(self) -> bool:
        assert self._outer.poll() is None, f"the machine did not boot: {self._console.read_text(errors='replace')}"
        children = Path(f"/proc/{self._outer.pid}/task/{self._outer.pid}/children")
        with suppress(OSError, ValueError, IndexError):
            self._first_pid = int(children.read_text(encoding="ascii").split()[0])
            if Path(f"/proc/{self._first_pid}/comm").read_text(encoding="ascii").strip() == "systemd":
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                return state in {"running", "degraded"}
        return False

    def run(
        self, *command: str, user: str | None = None, check: bool = True, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command inside, as root or as one of its users, with `text` as its input."""
        whose = () if user is None else ("setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups")
        inside = ("nsenter", f"--target={self._first_pid}", "-m", "-u", "-i", "-n", "-p", "-C", "--root", "--wdns=/")
        done = subprocess.run(
            [*inside, *CLEAN, *whose, *command],
            capture_output=True,
            text=True,
            input=text,
            timeout=COMMAND_S,
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def shell(self, script: str, *, user: str | None = None) -> str:
        """What a script prints."""
        return self.run("bash", "-euo", "pipefail", "-c", script, user=user).stdout

    def write(self, path: str, text: str) -> None:
        """A file of root's, and the folders above it."""
        self.run("bash", "-c", 'mkdir -p "$(dirname "$0")"; cat >"$0"', path, text=text)

    def shut_down(self) -> None:
        """Nothing of it is left."""
        if self._first_pid and self._outer.poll() is None:
            self.run("systemctl", "exit", "0", check=False)
            with suppress(subprocess.TimeoutExpired):
                self._outer.wait(timeout=20.0)
        if self._outer.poll() is None:
            os.killpg(self._outer.pid, signal.SIGKILL)
            self._outer.wait()
        wait_for(self._is_swept, deadline_s=20.0, what="an empty control group")
        self._folder.rmdir()
        self._console.unlink()

    def _is_swept(self) -> bool:
        with suppress(OSError):
            for folder, _, _ in os.walk(self._group, topdown=False):
                Path(folder).rmdir()
        return not self._group.exists()
