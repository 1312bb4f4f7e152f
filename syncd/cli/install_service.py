"""`syncctl install-service`."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

import syncd
from syncd.cli.options import JsonOption
from syncd.cli.output import print_json, printable
from syncd.cli.service_files import (
    Fate,
    Installation,
    ServiceFile,
    decide,
    is_as_placed,
    next_commands,
    service_files,
    why_hidden,
    why_unreachable,
    writable_folders,
)
from syncd.config import DEFAULT_CONFIG_PATH, Config, load_config
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.engine import explain_os
from syncd.temporary import temporary_name

DRIVER: Final = Path("/proc/driver/nvidia/version")
_NOTES: Final = {
    Fate.KEPT: " (edited; --force replaces it and leaves a copy)",
    Fate.REPLACED: " (the edited one is beside it, with .bak)",
}
_HOST: Final = Path("/")


def install_service(
    print_only: Annotated[bool, typer.Option("--print", help="Print the files, and place none.")] = False,
    root: Annotated[
        Path, typer.Option("--root", metavar="DIR", help="The root of an image, for those who build one.")
    ] = _HOST,
    gpu: Annotated[
        bool | None,
        typer.Option("--gpu/--cpu", help="Whether jobs use GPUs; else whether a driver is there.", show_default=False),
    ] = None,
    programs: Annotated[
        Path | None,
        typer.Option(
            "--bin", metavar="DIR", help="Where syncd will lie; else where this syncctl lies.", show_default=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace edited files too; a copy stays.")] = False,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help="The service's configuration file; else /etc/syncd/syncd.toml.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Place systemd's unit for syncd, its user, its folder and a starting configuration.

    Files that were edited since are kept; call it again after an upgrade.
    """
    root = root.absolute()
    installation = Installation(
        programs=programs or Path(sys.executable).parent,
        config_path=config or DEFAULT_CONFIG_PATH,
        has_gpu=gpu if gpu is not None else root == _HOST and DRIVER.exists(),
        has_models=importlib.util.find_spec("torch") is not None,
        config=None if force else _present_config(root, config or DEFAULT_CONFIG_PATH),
    )
    files = service_files(installation)
    if print_only:
        _print_files([file for file in files if file.text is not None], as_json=as_json)
        return
    _refuse_what_cannot_run(installation, is_here=programs is None)
    if root == _HOST and os.geteuid() != 0:
        raise SyncdError(
            ErrorCode.USAGE, "Only root may place these files: call it with sudo, or with --print or --root."
        )
    fates = [(file.path, _carry_out(root / file.path.relative_to("/"), file.text, force=force)) for file in files]
    told = [(path, fate) for path, fate in fates if fate is not None]
    commands, notes = next_commands(root, _missing(installation.config)), _notes(installation)
    if as_json:
        placed = [{"path": path, "fate": fate} for path, fate in told]
        print_json({"files": placed, "next": list(commands), "notes": notes})
        return
    for path, fate in told:
        typer.echo(f"{fate.value:<10} {printable(path)}{_NOTES.get(fate, '')}")
    for note in notes:
        typer.echo(printable(note))
    typer.echo("Name your folders in the configuration, and call this again where they change; then:")
    for command in commands:
        typer.echo(f"  {printable(command)}")


def _present_config(root: Path, path: Path) -> Config | None:
    """The one that lies there and stays, whose folders and addresses the unit must allow; raises CONFIG_INVALID."""
    present = root / path.relative_to("/")
    return load_config(present) if os.path.lexists(present) else None


def _missing(config: Config | None) -> list[Path]:
    """Folders that only syncd writes to, and that the service could not make: its part of the tree is read-only."""
    reports = Config().reports if config is None else config.reports
    told = (reports.fallback, reports.done, reports.failed)
    return [folder for folder in told if folder is not None and not os.path.lexists(folder)]


def _notes(installation: Installation) -> list[str]:
    """What no drop-in of ours can mend."""
    folders = [] if installation.config is None else writable_folders(installation.config)
    return [f"{reason}: name another, or mount it elsewhere." for reason in map(why_hidden, folders) if reason]


def _print_files(files: list[ServiceFile], *, as_json: bool) -> None:
    if as_json:
        print_json({"files": [{"path": file.path, "text": file.text} for file in files]})
        return
    for file in files:
        typer.echo(f"# --- {printable(file.path)}\n{file.text}")


def _refuse_what_cannot_run(installation: Installation, *, is_here: bool) -> None:
    """A service that cannot reach its own program would only be found out by its start."""
    for path in _needed_paths(installation, is_here=is_here):
        if (reason := why_unreachable(path)) is not None:
            raise SyncdError(
                ErrorCode.USAGE, f"{reason}: install syncd with a python3 that lies elsewhere, as in /opt/syncd."
            )
    if is_here and not (installation.programs / "syncd").exists():
        raise SyncdError(ErrorCode.USAGE, f"There is no syncd in {installation.programs}: name its folder with --bin.")


def _needed_paths(installation: Installation, *, is_here: bool) -> Iterator[Path]:
    yield installation.programs
    yield installation.config_path
    if is_here:
        yield Path(sys.executable).resolve()
        yield Path(syncd.__file__).resolve()


def _carry_out(path: Path, wanted: str | None, *, force: bool) -> Fate | None:
    """What became of the file; None: there was nothing to do and nothing to tell."""
    try:
        present = path.read_text(encoding="utf-8", errors="surrogateescape") if os.path.lexists(path) else None
        if present is None and wanted is None:
            return None
        fate = decide(present, wanted, force=force)
        if present is not None and fate in {Fate.REPLACED, Fate.REMOVED} and not is_as_placed(present):
            path.with_name(path.name + ".bak").write_text(present, encoding="utf-8", errors="surrogateescape")
        if fate is Fate.REMOVED:
            path.unlink()
        elif wanted is not None and fate in {Fate.PLACED, Fate.UPDATED, Fate.REPLACED}:
            _write(path, wanted)
    except OSError as error:
        raise explain_os(error, f"{path} cannot be written") from error
    return fate


def _write(path: Path, text: str) -> None:
    """Whole or not at all; for everybody to read, as all of /etc's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(temporary_name(os.fsencode(path.name)))
    temporary.write_text(text, encoding="utf-8")
    temporary.chmod(0o644)
    temporary.rename(path)
