"""What `shim.c` does to a daemon and its workers, while one wants it; and file systems that are mounted for a while."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.acceptance.service import Service
from tests.chaos.site import Skipped

SOURCE: Final = Path(__file__).with_suffix(".c")


class Shim:
    """The shim of `shim.c`, compiled into the service's home and put before its daemon and workers."""

    def __init__(self, service: Service) -> None:
        """Raises `Skipped` where it cannot be compiled."""
        self._control = service.home / "shim"
        service.environment |= shim_environment(self._control)

    @contextmanager
    def failing(self, number: int, prefixes: Collection[Path]) -> Iterator[None]:
        """While inside, these paths meet this errno."""
        self._put("disk", "".join(f"{number} {prefix}\n" for prefix in prefixes))
        try:
            yield
        finally:
            (self._control / "disk").unlink()

    @contextmanager
    def failing_to_read(self, number: int, prefix: Path, *, from_byte: int = 0) -> Iterator[None]:
        """While inside, reading these files meets this errno, from that byte on."""
        self._put("reads", f"{number} {from_byte} {prefix}\n")
        try:
            yield
        finally:
            (self._control / "reads").unlink()

    def set_clock(self, off_s: int) -> None:
        """The wall clock is off by so much, from now on."""
        self._put("clock", str(off_s))

    def _put(self, name: str, text: str) -> None:
        """Whole or not at all."""
        draft = self._control / f"{name}.new"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self._control / name)


def shim_environment(control: Path) -> dict[str, str]:
    """What puts the shim before a process, compiled into this new folder; raises `Skipped` where it cannot be."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Skipped("there is no C compiler")
    control.mkdir()
    library = control / "shim.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], check=True)
    return {"LD_PRELOAD": str(library), "SHIM_CONTROL": str(control)}


@contextmanager
def mounted(options: str, source: Path | str, place: Path) -> Iterator[None]:
    """Something at this place; raises `Skipped` where that is not allowed."""
    if os.geteuid() != 0:
        raise Skipped("only root can mount")
    done = subprocess.run(["mount", *options.split(), source, place], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Skipped(f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", place], check=True)
