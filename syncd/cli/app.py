"""`syncctl`: the commands, one file each, and the one place where an error becomes a sentence and an exit status.

A command is imported when it is called, or when all are asked for: together they take longer to load than to run.
"""

from __future__ import annotations

import gc
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping
from importlib import import_module
from types import FrameType
from typing import Annotated, Final, NoReturn

import typer

from syncd import __version__
from syncd.cli.manual import MANUALS, STATUSES, docs_folder
from syncd.cli.output import OutputFault, give_output_up, print_json, printable, tell_output_faults_apart
from syncd.errors import ErrorCode, SyncdError, error_advice, error_exit_code

EPILOG: Final = (
    "'syncctl COMMAND --help' has a command's options and examples. Documentation: "
    f"{docs_folder() / 'index.md'}\n\nExit status: {', '.join(f'{n} {what}' for n, what in STATUSES.items())}."
)

PLACES: Final[Mapping[str, str]] = {
    "list": "jobs:list_jobs",
    "show": "show:show",
    "watch": "watch:watch",
    "submit": "submit:submit",
    "retry": "retry:retry",
    "cancel": "cancel:cancel",
    "priority": "priority:priority",
    "pause": "pause:pause",
    "resume": "pause:resume",
    "prune": "prune:prune",
    "rebuild": "rebuild:rebuild",
    "stats": "stats:stats",
    "analyze": "analyze:analyze",
    "schema": "schema:schema",
    "devices": "devices:devices",
    "doctor": "doctor:doctor",
    "install-service": "install_service:install_service",
    "models": "models:app",
    "export": "export:app",
}
"""Where each command is, in the order in which --help lists them."""


def application(*names: str) -> typer.Typer:
    """`syncctl` with these commands; without any: with all."""
    app = typer.Typer(
        name="syncctl",
        help="Look into syncd's ledger and steer its jobs.",
        epilog=EPILOG,
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )
    app.callback()(_root)
    for name in names or PLACES:
        command, told = _loaded(name), MANUALS[name]
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=told.brief, epilog=told.epilog)
        else:
            app.command(name, short_help=told.brief, epilog=told.epilog)(command)
    return app


def _loaded(name: str) -> Callable[..., None] | typer.Typer:
    module, _, attribute = PLACES[name].partition(":")
    gc.disable()  # Loading makes many objects and no garbage: looking for some takes an eighth of the time.
    try:
        command: Callable[..., None] | typer.Typer = getattr(import_module(f"syncd.cli.{module}"), attribute)
    finally:
        gc.enable()
    if "structlog" in sys.modules:  # Only what starts workers or asks the cards logs; the others do without loading it.
        import_module("syncd.telemetry").configure_logs("warning")
    return command


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"syncctl {__version__}")
        raise typer.Exit


def _root(
    _version_wanted: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Look into syncd's ledger and steer its jobs."""


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run a command; ends the process with its exit status."""
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
    asked = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    app = application(asked) if asked in PLACES else application()
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
