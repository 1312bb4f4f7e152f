"""What `syncctl doctor` asks of the machine: decoders, models, clock and systemd."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from syncd.cli.finding import Check, Finding
from syncd.cli.models import Standing, looked_at
from syncd.cli.service_files import writable_folders
from syncd.config import Config

CODECS_COMMAND: Final = (sys.executable, "-m", "syncd.worker.codecs")
"""Only workers' own code loads FFmpeg."""
ASK_WAIT_S: Final = 10.0
AHEAD_S: Final = 60.0
"""A clock behind what is already written by less than this was merely corrected."""
SYSTEMD: Final = Path("/run/systemd/system")
UNIT: Final = "syncd.service"
ASKED: Final = ("LoadState", "UnitFileState", "NRestarts", "ProtectSystem", "ReadWritePaths")
TAKEN_OVER: Final = "systemctl daemon-reload && systemctl restart syncd"
MANY_RESTARTS: Final = 3


def codecs() -> Check:
    """Whether this build of FFmpeg decodes what dubs come in."""
    said = _asked(*CODECS_COMMAND)
    if said is None:
        return Check("codecs", Finding.WRONG, "FFmpeg's libraries cannot be loaded.", "Install syncd again, whole.")
    if lacking := said.splitlines():
        advice = "Jobs whose files come in it fail; PyAV's own wheel decodes all of them."
        return Check("codecs", Finding.WARNING, f"This build of FFmpeg does not decode {', '.join(lacking)}.", advice)
    return Check("codecs", Finding.OK, "FFmpeg decodes all that dubs usually come in.")


def programs() -> Iterator[Check]:
    """What the report's advice is carried out with."""
    if shutil.which("ffmpeg") is None:
        advice = "Measuring needs none; who copies a correction's command from a report needs it there."
        yield Check("ffmpeg", Finding.WARNING, "There is no program ffmpeg on the path.", advice)


def models(config: Config) -> Iterator[Check]:
    """Those that a profile asks for by name, and those that are there."""
    for line in looked_at(config, checksums=False):
        if line.standing is Standing.WRONG and line.profiles:
            advice = f"'syncctl models check' says more; asked for by {', '.join(line.profiles)}, reports come without."
            yield Check("model", Finding.WRONG, f"{line.model}: {line.message}", advice)
        elif line.standing is Standing.WRONG:
            yield Check("model", Finding.WARNING, f"{line.model}: {line.message}", "'syncctl models check' says more.")
        elif line.standing is not Standing.MISSING:
            yield Check("model", Finding.OK, f"{line.model}: {line.message}")


def clock(newest: datetime | None, now: datetime) -> Iterator[Check]:
    """Whether it runs with others' and has not been set back; `newest`: what the ledger wrote last."""
    if newest is not None and newest - now > timedelta(seconds=AHEAD_S):
        message = f"It says {now:%Y-%m-%d %H:%M:%S} UTC, and the ledger was written at {newest:%Y-%m-%d %H:%M:%S}."
        yield Check("clock", Finding.WARNING, message, "It was set back, or ran ahead once: set it right.")
    said = _asked("timedatectl", "show", "--property=NTPSynchronized", "--value")
    if said == "no":
        advice = "Dates in reports are this clock's: 'timedatectl set-ntp true' has it kept right."
        yield Check("clock", Finding.WARNING, "It is kept by no time server.", advice)
    elif said == "yes":
        yield Check("clock", Finding.OK, "It is kept by a time server.")


def service(config: Config) -> Iterator[Check]:
    """How systemd has the unit, where it runs this machine."""
    if not SYSTEMD.is_dir():
        return
    said = _asked("systemctl", "show", UNIT, f"--property={','.join(ASKED)}")
    if said is not None:
        told = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
        yield unit_check(told)
        yield from sandbox_checks(told, writable_folders(config))


def sandbox_checks(told: Mapping[str, str], folders: Sequence[Path]) -> Iterator[Check]:
    """Whether the unit lets the service write where the configuration says; `told` by `systemctl show`."""
    if told.get("LoadState") != "loaded" or told.get("ProtectSystem") != "strict":
        return
    allowed = told.get("ReadWritePaths", "")
    for folder in folders:
        # Paths stand there side by side, spaces in them and all.
        named = (rf'(?:^|[ "])[-+]*{re.escape(str(path))}(?:$|[ "])' for path in (folder, *folder.parents))
        if not any(re.search(pattern, allowed) for pattern in named):
            message = f"{UNIT} does not let the service write to {folder}."
            yield Check("systemd", Finding.WRONG, message, f"'syncctl install-service' does; then '{TAKEN_OVER}'.")


def unit_check(told: Mapping[str, str]) -> Check:
    """Of what `systemctl show` says of the unit."""
    if told.get("LoadState") != "loaded":
        advice = "'syncctl install-service' places it; then 'systemctl enable --now syncd'."
        return Check("systemd", Finding.WARNING, f"It has no {UNIT}.", advice)
    if (restarts := int(told.get("NRestarts") or 0)) >= MANY_RESTARTS:
        advice = "'journalctl -u syncd' says what it ended of."
        return Check("systemd", Finding.WARNING, f"{UNIT} was started again {restarts} times by itself.", advice)
    if told.get("UnitFileState") not in {"enabled", "static", "linked"}:
        advice = "'systemctl enable syncd' has it started with the machine."
        return Check("systemd", Finding.WARNING, f"{UNIT} is not enabled.", advice)
    return Check("systemd", Finding.OK, f"{UNIT} is there and enabled.")


def _asked(program: str, *arguments: str) -> str | None:
    """What it prints; None: it is not there, or cannot say."""
    path = shutil.which(program)
    if path is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own programs, and ours
            [path, *arguments], capture_output=True, text=True, timeout=ASK_WAIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
