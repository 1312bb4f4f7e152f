"""`syncctl priority`."""

from __future__ import annotations

from typing import Annotated

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.options import ConfigOption, JobIds, JsonOption, one_of
from syncd.cli.output import print_json
from syncd.domain import Priority
from syncd.ledger.records import RequestKind


def priority(
    job_ids: JobIds,
    to: Annotated[Priority, typer.Option("--to", metavar="RANK", help=f"The new rank: {one_of(Priority)}.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Rank waiting jobs anew.

    A low job waits longer, never for ever.
    """
    request = ask(config, RequestKind.PRIORITY, {"job_ids": job_ids, "priority": to})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    elif request.outcome is None:
        typer.echo(kept_note(request))
    else:
        changed = request.outcome.get("changed")
        for job_id in job_ids:
            done = isinstance(changed, list) and job_id in changed
            typer.echo(f"Job {job_id} {f'has {to.value} priority now' if done else 'does not wait any more'}.")
