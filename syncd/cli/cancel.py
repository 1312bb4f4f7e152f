"""`syncctl cancel`."""

from __future__ import annotations

import typer

from syncd.cli.access import ask, kept_note
from syncd.cli.options import ConfigOption, JobIds, JsonOption
from syncd.cli.output import print_json
from syncd.ledger.records import RequestKind


def cancel(job_ids: JobIds, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Call jobs off, waiting or running; no report is written for them.

    The pair is not measured again by itself; 'syncctl retry' does.
    """
    request = ask(config, RequestKind.CANCEL, {"job_ids": job_ids})
    if as_json:
        print_json({"request_id": request.request_id, "outcome": request.outcome})
    elif request.outcome is None:
        typer.echo(kept_note(request))
    else:
        for word in ("canceled", "already_final"):
            for job_id in _ids(request.outcome.get(word)):
                typer.echo(f"Job {job_id} {'is canceled' if word == 'canceled' else 'had ended already'}.")


def _ids(value: object) -> list[object]:
    return value if isinstance(value, list) else []
