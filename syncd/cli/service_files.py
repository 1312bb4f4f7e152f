"""Which files make a host run syncd as a service, what is in each, and whether one that lies there may be replaced."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import syncd
from syncd.config import DEFAULT_CONFIG_PATH, Config, hidden_folder

_UNITS: Final = Path("/etc/systemd/system")
_DROP_INS: Final = _UNITS / "syncd.service.d"
_PROGRAM_IN_UNIT: Final = "/opt/syncd/bin/syncd"
_CONFIG_IN_UNIT: Final = str(DEFAULT_CONFIG_PATH)
_SEAL: Final = "# Placed by 'syncctl install-service', which updates it until it is edited (sha256 of the rest: {}).\n"
_SEAL_PATTERN: Final = re.compile(re.escape(_SEAL).replace(r"\{\}", "([0-9a-f]{64})"))
_OWNED: Final = (Path("/var/lib/syncd"), Path("/var/cache/syncd"), Path("/srv/drop"))
"""What the unit itself lets the service write to."""
_PLAIN: Final = re.compile(r"/[A-Za-z0-9_./+@-]*")
"""What a unit takes as it stands: no specifier, no quotation."""


class Fate(StrEnum):
    """What becomes of a file."""

    PLACED = "placed"
    UNCHANGED = "unchanged"
    UPDATED = "updated"
    """It was as an earlier call had placed it."""
    REPLACED = "replaced"
    """It had been edited, and force was asked for; a copy stays beside it."""
    KEPT = "kept"
    """It has been edited."""
    REMOVED = "removed"
    """It is for another kind of host."""


@dataclass(frozen=True, slots=True)
class Installation:
    """What the files depend on."""

    programs: Path
    """The folder with `syncd` in it."""
    config_path: Path = DEFAULT_CONFIG_PATH
    has_gpu: bool = False
    has_models: bool = False
    """Whether torch is installed, which compiles at run time."""
    config: Config | None = None
    """As it lies there already; None: the one to begin with, of which nothing follows."""


@dataclass(frozen=True, slots=True)
class ServiceFile:
    """A file and its whole content; None: it is not to be there."""

    path: Path
    text: str | None


def sources_folder() -> Path:
    """Units and their like: inside the installed package, or beside it in a checkout."""
    package = Path(syncd.__file__).parent
    shipped = package / "systemd"
    return shipped if shipped.is_dir() else package.parent / "systemd"


def starting_config() -> Path:
    """The configuration that a host begins with."""
    shipped = sources_folder() / "syncd.toml"
    return shipped if shipped.is_file() else sources_folder().parent / "config" / "syncd.toml"


def service_files(installation: Installation) -> list[ServiceFile]:
    """All of them, in the order in which they are told."""
    needs_models_drop_in = installation.has_models and not installation.has_gpu
    config = installation.config or Config()
    folders = [folder for folder in writable_folders(config) if why_hidden(folder) is None]
    unit = _source("syncd.service").replace(_PROGRAM_IN_UNIT, str(installation.programs / "syncd"))
    return [
        ServiceFile(_UNITS / "syncd.service", _sealed(unit.replace(_CONFIG_IN_UNIT, str(installation.config_path)))),
        ServiceFile(_DROP_INS / "50-gpu.conf", _sealed(_source("gpu.conf")) if installation.has_gpu else None),
        ServiceFile(_DROP_INS / "50-models.conf", _sealed(_source("models.conf")) if needs_models_drop_in else None),
        ServiceFile(_DROP_INS / "50-metrics.conf", _sealed(_source("metrics.conf")) if config.metrics.listen else None),
        ServiceFile(_DROP_INS / "50-hub.conf", _sealed(_source("hub.conf")) if config.ai.allow_download else None),
        ServiceFile(_DROP_INS / "50-folders.conf", _sealed(_folders_drop_in(folders)) if folders else None),
        ServiceFile(Path("/etc/sysusers.d/syncd.conf"), _sealed(_source("sysusers.conf"))),
        ServiceFile(Path("/etc/tmpfiles.d/syncd.conf"), _sealed(_source("tmpfiles.conf"))),
        ServiceFile(installation.config_path, _sealed(starting_config().read_text(encoding="utf-8"))),
    ]


def writable_folders(config: Config) -> list[Path]:
    """What the service writes to beside what systemd makes for it: each once, by the outermost folder that is named."""
    reports = config.reports
    told = [
        *(section.path for section in config.watch),
        *(folder for folder in (reports.fallback, reports.done, reports.failed) if folder is not None),
        config.ledger.path.parent,
        config.cache_folder,
    ]
    named = {Path(os.path.normpath(folder)) for folder in told}
    outermost = {folder for folder in named if named.isdisjoint(folder.parents)}
    return sorted(folder for folder in outermost if not any(map(folder.is_relative_to, _OWNED)))


def _folders_drop_in(folders: Sequence[Path]) -> str:
    """A folder that is not there at the start is no fault of the unit's."""
    lines = "".join(f"ReadWritePaths={_quoted(f'-{folder}')}\n" for folder in folders)
    return f"# The folders of the configuration; 'syncctl install-service' makes it anew.\n[Service]\n{lines}"


def _quoted(text: str) -> str:
    """As one word of a unit's line (systemd.syntax), without specifiers."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def decide(present: str | None, wanted: str | None, *, force: bool) -> Fate:
    """What is to become of a file, from what it holds and what it should hold; None: there is none."""
    if present == wanted:
        return Fate.UNCHANGED
    if present is None:
        return Fate.PLACED
    if not (force or is_as_placed(present)):
        return Fate.KEPT
    if wanted is None:
        return Fate.REMOVED
    return Fate.UPDATED if is_as_placed(present) else Fate.REPLACED


def is_as_placed(text: str) -> bool:
    """Whether nobody has edited it since some version of syncd placed it."""
    seal = _SEAL_PATTERN.match(text)
    return seal is not None and seal[1] == _digest(text[seal.end() :])


def why_hidden(folder: Path) -> str | None:
    """What keeps the service from a folder of its configuration; None: nothing."""
    if not str(folder).isprintable():
        return f"{folder} cannot stand in a unit"
    hidden = hidden_folder(folder)
    return None if hidden is None else f"{folder} lies below {hidden}, which the service does not see"


def why_unreachable(path: Path) -> str | None:
    """What keeps the service from this path, or a unit from naming it; None: nothing."""
    if not _PLAIN.fullmatch(str(path)):
        return f"{path} cannot stand in a unit as it is"
    return why_hidden(path)


def next_commands(root: Path, missing: Sequence[Path] = ()) -> tuple[str, ...]:
    """What is left to whoever placed the files; `missing`: folders that files are to be moved to."""
    if root != Path("/"):
        return (
            f"systemd-sysusers --root={root} syncd.conf && systemd-tmpfiles --root={root} --create syncd.conf",
            f"systemctl --root={root} enable syncd.service",
        )
    made = f"install -d -o syncd -g syncd -m 2775 {shlex.join(map(str, missing))}"
    return (
        "systemd-sysusers syncd.conf && systemd-tmpfiles --create syncd.conf",
        *([made] if missing else []),
        "systemctl daemon-reload && systemctl enable syncd.service && systemctl restart syncd.service",
    )


def _source(name: str) -> str:
    return (sources_folder() / name).read_text(encoding="utf-8")


def _sealed(text: str) -> str:
    return _SEAL.format(_digest(text)) + text


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
