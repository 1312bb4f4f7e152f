"""`syncctl`: the commands, one file each, and the one place where an error becomes a sentence and an exit status."""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from syncd import __version__
from syncd.cli import (
    analyze,
    cancel,
    devices,
    doctor,
    export,
    install_service,
    jobs,
    models,
    pause,
    priority,
    prune,
    rebuild,
    retry,
    schema,
    show,
    stats,
    submit,
    watch,
)
from syncd.cli.manual import MANUALS, STATUSES, docs_folder
from syncd.cli.output import OutputFault, give_output_up, print_json, printable, tell_output_faults_apart
from syncd.errors import ErrorCode, SyncdError, error_advice, error_exit_code
from syncd.telemetry import configure_logs

EPILOG: Final = (
    "'syncctl COMMAND --help' has a command's options and examples. Documentation: "
    f"{docs_folder() / 'index.md'}\n\nExit status: {', '.join(f'{n} {what}' for n, what in STATUSES.items())}."
)

app = typer.Typer(
    name="syncctl",
    help="Look into syncd's ledger and steer its jobs.",
    epilog=EPILOG,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncctl {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Look into syncd's ledger and steer its jobs."""


COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "list": jobs.list_jobs,
    "show": show.show,
    "watch": watch.watch,
    "submit": submit.submit,
    "retry": retry.retry,
    "cancel": cancel.cancel,
    "priority": priority.priority,
    "pause": pause.pause,
    "resume": pause.resume,
    "prune": prune.prune,
    "rebuild": rebuild.rebuild,
    "stats": stats.stats,
    "analyze": analyze.analyze,
    "schema": schema.schema,
    "devices": devices.devices,
    "doctor": doctor.doctor,
    "install-service": install_service.install_service,
}
"""In the order in which --help lists them."""

for _name, _command in COMMANDS.items():
    app.command(_name, short_help=MANUALS[_name].brief, epilog=MANUALS[_name].epilog)(_command)
app.add_typer(models.app, name="models", short_help=MANUALS["models"].brief, epilog=MANUALS["models"].epilog)
app.add_typer(export.app, name="export", short_help=MANUALS["export"].brief, epilog=MANUALS["export"].epilog)


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run a command; ends the process with its exit status."""
    configure_logs("warning")
    signal.signal(signal.SIGTERM, _end)  # So that what was begun (a worker, a scratch folder) is cleared away.
    tell_output_faults_apart()
    try:
        _run()
    except OutputFault as fault:
        sys.stderr.write(f"syncctl: Standard output cannot be written to: {fault.strerror}.\n")
        give_output_up()
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _run() -> None:
    try:
        _call()
    except SyncdError as error:
        _fail(error)
    except (OutputFault, BrokenPipeError):
        raise
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - whatever nobody thought of: a sentence, and its trace for who mends it
        _fail(
            SyncdError(ErrorCode.INTERNAL, f"syncctl met a {type(error).__name__}; its trace lies in {_kept(error)}.")
        )


def _call() -> None:
    """What is printed has been taken when this returns."""
    try:
        app()
    finally:
        sys.stdout.flush()


def _fail(error: SyncdError) -> NoReturn:
    if "--json" in sys.argv:
        told = {"code": error.code, "message": error.message, "advice": error_advice(error.code)}
        print_json({"error": {**told, "details": error.details}})
    sys.stderr.write(f"syncctl: {printable(error)}\n")
    sys.exit(error_exit_code(error.code))


def _kept(error: Exception) -> str:
    """The file that the trace was written to."""
    with tempfile.NamedTemporaryFile("w", prefix="syncctl-", suffix=".trace", delete=False, errors="replace") as file:
        file.write("".join(traceback.format_exception(error)))
    return file.name


if __name__ == "__main__":
    main()
