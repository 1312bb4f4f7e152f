"""`syncctl models`: which models are configured, whether they are there and sound, and how fast they hear."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from syncd.cli.access import configuration
from syncd.cli.manual import MANUALS
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import console, plain, print_json
from syncd.config import Config
from syncd.errors import ErrorCode, SyncdError
from syncd.worker.models.files import data_sha256, is_hub_name, read_header, speech_model_files, yamnet_files

LOAD_WAIT_S: Final = 600.0
"""A model may have to be fetched first."""

app = typer.Typer(help="The models that confirm answers: which are configured, and whether they work.")


class Standing(StrEnum):
    """How a model stands."""

    READY = "ready"
    """It is there and whole, or needs no files."""
    AT_HUB = "at_hub"
    """It is named as the hub names it; what is kept here of it is seen when it is loaded."""
    MISSING = "missing"
    """Nothing is there, and no profile asks for it."""
    WRONG = "wrong"
    """It is damaged, of the wrong kind, or missing though a profile asks for it."""


@dataclass(frozen=True, slots=True)
class ModelLine:
    """A model as it is configured, and what was found."""

    model: str
    source: str
    profiles: tuple[str, ...]
    """That ask for it by name."""
    standing: Standing
    message: str
    size_bytes: int = 0
    sha256: str = ""
    loaded: dict[str, Any] | None = None
    """What it said of itself in a worker; None: it was not loaded."""


LoadOption = Annotated[bool, typer.Option("--load", help="Load each in a worker and let it hear half a minute.")]


def device_name(text: str) -> str:
    """Where a model can be loaded; raises `typer.BadParameter`."""
    if text != "cpu" and re.fullmatch(r"cuda(:\d+)?", text) is None:
        raise typer.BadParameter(f"{text!r} is neither cpu nor cuda.")
    return text


DeviceOption = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", parser=device_name, help="Where it is loaded: cpu or cuda."),
]


@app.callback(invoke_without_command=True)
def models(context: typer.Context, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """The models that confirm answers: which are configured, and whether they work."""
    if context.invoked_subcommand is None:
        list_models(config, as_json)


@app.command("list", short_help=MANUALS["models list"].brief, epilog=MANUALS["models list"].epilog)
def list_models(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Say which models are configured, and whether their files are there."""
    _show(looked_at(configuration(config), checksums=False), as_json)


@app.command("check", short_help=MANUALS["models check"].brief, epilog=MANUALS["models check"].epilog)
def check(
    config: ConfigOption = None, as_json: JsonOption = False, load: LoadOption = False, device: DeviceOption = "cpu"
) -> None:
    """Say whether the files are whole, by their checksums."""
    settings = configuration(config)
    lines = looked_at(settings, checksums=True)
    if load:
        lines = [_loaded(line, settings, device) for line in lines]
    _show(lines, as_json)
    if any(line.standing is Standing.WRONG for line in lines):
        raise typer.Exit(1)


@app.command("warm", short_help=MANUALS["models warm"].brief, epilog=MANUALS["models warm"].epilog)
def warm(config: ConfigOption = None, as_json: JsonOption = False, device: DeviceOption = "cpu") -> None:
    """Load every model that is there once: fetched where that is allowed, read into the system's cache, tried."""
    check(config, as_json, load=True, device=device)


@app.command("convert", short_help=MANUALS["models convert"].brief, epilog=MANUALS["models convert"].epilog)
def convert(
    source: Annotated[Path, typer.Argument(metavar="YAMNET.h5", help="YAMNet's published Keras weights.")],
    target: Annotated[Path, typer.Argument(metavar="OUT.safetensors", help="What is to be written.")],
    config: ConfigOption = None,  # noqa: ARG001 - every command takes both
    as_json: JsonOption = False,
) -> None:
    """Make of YAMNet's published weights (storage.googleapis.com/audioset/yamnet.h5) the file that syncd reads."""
    program = [sys.executable, "-m", "syncd.worker.models.convert", str(source), str(target)]
    done = subprocess.run(program, capture_output=True, check=False, timeout=LOAD_WAIT_S)  # noqa: S603 - our own
    if done.returncode != 0:
        raise SyncdError(ErrorCode.USAGE, _last_line(done.stderr) or "The weights could not be converted.")
    checksum = done.stdout.decode("ascii").strip()
    if as_json:
        print_json({"path": target, "sha256": checksum})
    else:
        console().print(plain(f"{target} is written (SHA-256 {checksum}); name it in ai.yamnet."))


def looked_at(config: Config, *, checksums: bool) -> list[ModelLine]:
    """Each as it is configured."""
    sources = {"wav2vec2": config.ai.wav2vec2, "yamnet": str(config.ai.yamnet), "spectral-embedding": ""}
    return [_line(config, model, source, checksums=checksums) for model, source in sources.items()]


def _line(config: Config, model: str, source: str, *, checksums: bool) -> ModelLine:
    profiles = tuple(sorted(name for name, profile in config.profiles.items() if profile.ai == model))
    if model == "spectral-embedding":
        return ModelLine(model, "", profiles, Standing.READY, "It needs no files.")
    if model == "wav2vec2" and is_hub_name(source):
        how = "fetched when it is first needed" if config.ai.allow_download else "used if it is kept here already"
        return ModelLine(model, source, profiles, Standing.AT_HUB, f"A name at the hub: {how}.")
    path = Path(source)
    try:
        files = speech_model_files(path) if model == "wav2vec2" else yamnet_files(path)
        checksum = files.sha256() if checksums else ""
        if checksums and model == "yamnet" and read_header(path)[0].get("data_sha256") != data_sha256(path):
            message = f"{path} is damaged: its checksum is not the one that it was made with; copy it again."
            return ModelLine(model, source, profiles, Standing.WRONG, message, files.size_bytes, checksum)
    except SyncdError as error:
        is_missing = not os.path.lexists(path) and not profiles
        return ModelLine(model, source, profiles, Standing.MISSING if is_missing else Standing.WRONG, error.message)
    except OSError as error:
        return ModelLine(model, source, profiles, Standing.WRONG, f"{path} cannot be read: {error.strerror}.")
    message = f"{files.kind}, {files.size_bytes / 1e6:.1f} MB."
    return ModelLine(model, source, profiles, Standing.READY, message, files.size_bytes, checksum)


def _loaded(line: ModelLine, config: Config, device: str) -> ModelLine:
    """The line after the model was loaded in a process of its own."""
    if line.standing not in {Standing.READY, Standing.AT_HUB}:
        return line
    allowed = "yes" if config.ai.allow_download else "no"
    program = [sys.executable, "-m", "syncd.worker.models.check", line.model, line.source, allowed, device]
    try:
        done = subprocess.run(program, capture_output=True, check=False, timeout=LOAD_WAIT_S)  # noqa: S603 - our own
        answer = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        answer = {"error": {"message": f"It was not loaded within {LOAD_WAIT_S:.0f} s."}}
    except ValueError:
        answer = {"error": {"message": _last_line(done.stderr) or "The process that loaded it ended without a word."}}
    is_wrong = "error" in answer
    message = answer["error"]["message"] if is_wrong else line.message
    standing = Standing.WRONG if is_wrong else Standing.READY
    said = None if is_wrong else answer
    return ModelLine(
        line.model, line.source, line.profiles, standing, message, line.size_bytes, line.sha256, loaded=said
    )


def _show(lines: list[ModelLine], as_json: bool) -> None:
    if as_json:
        print_json({"ok": all(line.standing is not Standing.WRONG for line in lines), "models": lines})
        return
    styles = {Standing.READY: "green", Standing.AT_HUB: "green", Standing.MISSING: "yellow", Standing.WRONG: "red"}
    for line in lines:
        used = f" (profiles: {', '.join(line.profiles)})" if line.profiles else ""
        head = plain(f"{line.standing.value:8}", styles[line.standing])
        console().print(head.append_text(plain(f" {line.model}{used}: {line.message}")))
        if line.source:
            console().print(plain(f"         {line.source}" + (f"  SHA-256 {line.sha256}" if line.sha256 else "")))
        if line.loaded is not None:
            said = line.loaded
            console().print(
                plain(
                    f"         {said['dimensions']} dimensions every {said['hop_seconds']:g} s on {said['device']} "
                    f"({said['dtype']}); loaded in {said['load_seconds']:.1f} s, a second of sound takes "
                    f"{1000 * said['seconds_a_second']:.2f} ms"
                )
            )


def _last_line(text: bytes) -> str:
    return (text.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
