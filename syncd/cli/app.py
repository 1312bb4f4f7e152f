"""`syncctl`: the commands, one file each, and the one place where an error becomes a sentence and an exit status."""

from __future__ import annotations

import signal
import sys
import tempfile
import traceback
from types import FrameType
from typing import Annotated, NoReturn

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
from syncd.cli.output import print_json, printable
from syncd.errors import ErrorCode, SyncdError, error_advice, error_exit_code
from syncd.telemetry import configure_logs

app = typer.Typer(
    name="syncctl",
    help="Look into syncd's ledger and steer its jobs.",
    no_args_is_help=True,
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


app.command("list")(jobs.list_jobs)
app.command("show")(show.show)
app.command("watch")(watch.watch)
app.command("submit")(submit.submit)
app.command("retry")(retry.retry)
app.command("cancel")(cancel.cancel)
app.command("priority")(priority.priority)
app.command("pause")(pause.pause)
app.command("resume")(pause.resume)
app.command("prune")(prune.prune)
app.command("rebuild")(rebuild.rebuild)
app.command("stats")(stats.stats)
app.command("analyze")(analyze.analyze)
app.command("schema")(schema.schema)
app.command("devices")(devices.devices)
app.command("doctor")(doctor.doctor)
app.command("install-service")(install_service.install_service)
app.add_typer(models.app, name="models")
app.add_typer(export.app, name="export")


def _end(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)


def main() -> None:
    """Run a command; ends the process with its exit status."""
    configure_logs("warning")
    signal.signal(signal.SIGTERM, _end)  # So that what was begun (a worker, a scratch folder) is cleared away.
    try:
        app()
    except SyncdError as error:
        _fail(error)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - whatever nobody thought of: a sentence, and its trace for who mends it
        _fail(
            SyncdError(ErrorCode.INTERNAL, f"syncctl met a {type(error).__name__}; its trace lies in {_kept(error)}.")
        )


def _fail(error: SyncdError) -> NoReturn:
    if "--json" in sys.argv:
        print_json({"error": {"code": error.code, "message": error.message, "advice": error_advice(error.code)}})
    sys.stderr.write(f"syncctl: {printable(error)}\n")
    sys.exit(error_exit_code(error.code))


def _kept(error: Exception) -> str:
    """The file that the trace was written to."""
    with tempfile.NamedTemporaryFile("w", prefix="syncctl-", suffix=".trace", delete=False, errors="replace") as file:
        file.write("".join(traceback.format_exception(error)))
    return file.name


if __name__ == "__main__":
    main()
