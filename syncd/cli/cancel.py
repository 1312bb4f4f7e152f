"""`syncctl cancel`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.choosing import in_state, named_or_filtered
from syncd.cli.jobs import job_filter
from syncd.cli.options import (
    ConfigOption,
    JsonOption,
    LanguageOption,
    PriorityOption,
    ProfileFilter,
    SinceOption,
    SomeJobIds,
    TitleOption,
)
from syncd.cli.output import print_json
from syncd.domain import JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import RequestKind

CALLED_OFF: Final = (JobState.QUEUED, JobState.RUNNING)
"""What has not ended."""


def cancel(
    job_ids: SomeJobIds = None,
    state: Annotated[
        JobState | None,
        typer.Option("--state", metavar="STATE", help="All jobs in this state instead: queued or running."),
    ] = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    since: SinceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Call jobs off, waiting or running; no report is written for them.

    The pair is not measured again by itself; 'syncctl retry' does.
    """
    if state not in {None, *CALLED_OFF}:
        raise SyncdError(ErrorCode.USAGE, f"No job that is {state} is called off: --state takes queued and running.")
    filters = job_filter(None, None, None, title, language, priority, profile, None, since)
    wanted = named_or_filtered(config, job_ids, in_state(filters, state))
    request = ask(config, RequestKind.CANCEL, {"job_ids": wanted})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    elif request.outcome is None:
        typer.echo(kept_note(request))
    else:
        if not wanted:
            typer.echo("There is nothing to call off.")
        for word in ("canceled", "already_final"):
            for job_id in _ids(request.outcome.get(word)):
                typer.echo(f"Job {job_id} {'is canceled' if word == 'canceled' else 'had ended already'}.")


def _ids(value: object) -> list[object]:
    return value if isinstance(value, list) else []
