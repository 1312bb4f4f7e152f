"""`syncctl priority`."""

from __future__ import annotations

from typing import Annotated

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.choosing import in_state, named_or_filtered
from syncd.cli.jobs import job_filter
from syncd.cli.options import (
    ConfigOption,
    JsonOption,
    LanguageOption,
    ProfileFilter,
    SinceOption,
    SomeJobIds,
    TitleOption,
    one_of,
)
from syncd.cli.output import print_json
from syncd.domain import JobState, Priority
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import RequestKind


def priority(
    to: Annotated[Priority, typer.Option("--to", metavar="RANK", help=f"The new rank: {one_of(Priority)}.")],
    job_ids: SomeJobIds = None,
    state: Annotated[
        JobState | None,
        typer.Option("--state", metavar="STATE", help="All jobs in this state instead, which is queued."),
    ] = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    profile: ProfileFilter = None,
    since: SinceOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank waiting jobs anew.

    A low job waits longer, never for ever.
    """
    if state not in {None, JobState.QUEUED}:
        raise SyncdError(ErrorCode.USAGE, f"No job that is {state} waits any more: --state takes queued.")
    filters = job_filter(None, None, None, title, language, None, profile, None, since)
    wanted = named_or_filtered(config, job_ids, in_state(filters, state))
    request = ask(config, RequestKind.PRIORITY, {"job_ids": wanted, "priority": to})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    elif request.outcome is None:
        typer.echo(kept_note(request))
    else:
        changed = request.outcome.get("changed")
        if not wanted:
            typer.echo("There is nothing to rank.")
        for job_id in wanted:
            done = isinstance(changed, list) and job_id in changed
            typer.echo(f"Job {job_id} {f'has {to.value} priority now' if done else 'does not wait any more'}.")
