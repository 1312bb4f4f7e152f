"""`syncctl retry`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from syncd.cli.access import ask, kept_note, ledger
from syncd.cli.choosing import in_state, named_or_filtered
from syncd.cli.jobs import job_filter
from syncd.cli.options import (
    CodeOption,
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
from syncd.domain import FINAL_STATES, JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import RequestKind

RETRIED: Final = (JobState.FAILED, JobState.QUARANTINED, JobState.CANCELED)
"""Without --force."""


def retry(
    job_ids: SomeJobIds = None,
    state: Annotated[
        JobState | None,
        typer.Option(
            "--state",
            metavar="STATE",
            help="All jobs in this state instead that no newer job replaced: failed, quarantined, canceled, or, with "
            "--force, completed.",
        ),
    ] = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    code: CodeOption = None,
    since: SinceOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also jobs that were completed.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start ended jobs anew: each gets a new job, and the old one points to it.

    It is measured with the profile's settings of then; after a change of the profile use 'syncctl submit --force'.
    """
    if state is not None:
        _refuse_state(state, force=force)
    filters = job_filter(None, None, None, title, language, priority, profile, code, since)
    wanted = named_or_filtered(config, job_ids, in_state(filters, state))
    _refuse_unfit(config, wanted, force=force)
    request = ask(config, RequestKind.RETRY, {"job_ids": wanted})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    elif request.outcome is None:
        typer.echo(kept_note(request))
    else:
        made = request.outcome["jobs"]
        if not made:
            typer.echo("There is nothing to retry.")
        for old, new in made.items() if isinstance(made, dict) else ():
            typer.echo(f"Job {old} goes on as job {new}.")


def _refuse_state(state: JobState, *, force: bool) -> None:
    """Whether or not there is such a job."""
    if state not in RETRIED and not (state is JobState.COMPLETED and force):
        named = ", ".join(each.value for each in RETRIED)
        raise SyncdError(
            ErrorCode.USAGE,
            f"No job that is {state.value} is retried: --state takes {named} and, with --force, completed.",
        )


def _refuse_unfit(config: ConfigOption, job_ids: list[int], *, force: bool) -> None:
    with ledger(config) as reader:
        for job_id in job_ids:
            job = reader.job(job_id)
            if job is None:
                raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
            if job.state not in FINAL_STATES:
                raise SyncdError(ErrorCode.USAGE, f"Job {job_id} is {job.state.value}: it has not ended yet.")
            if job.state is JobState.COMPLETED and not force:
                raise SyncdError(ErrorCode.USAGE, f"Job {job_id} is completed; --force measures it again.")
