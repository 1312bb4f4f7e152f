"""`syncctl show`."""

from __future__ import annotations

import json
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from syncd.cli.access import ledger
from syncd.cli.jobs import PAUSED_NOTE, note, offset_text
from syncd.cli.options import ConfigOption, JobId, JsonOption
from syncd.cli.output import plain, print_json, print_whole
from syncd.cli.report_view import report_view
from syncd.domain import Estimate, JobState, MethodResult
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Attempt, Event, Job


def show(job_id: JobId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one job: where it stands, its report, its attempts and what happened to it."""
    with ledger(config) as reader:
        job = reader.job(job_id)
        if job is None:
            raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
        report = final_report(reader, job_id)
        attempts, events = reader.attempts(job_id), reader.events(job_id)
        methods = reader.partial_methods(job_id)
        is_paused = reader.is_paused()
    if as_json:
        print_json({"job": job, "report": report, "methods": methods, "attempts": attempts, "events": events})
        return
    print_whole(*_view(job, report, methods, attempts, events, is_paused=is_paused))


def final_report(reader: LedgerReader, job_id: int) -> dict[str, Any] | None:
    """The finished report as the ledger keeps it."""
    text = reader.report(job_id)
    return None if text is None else dict(json.loads(text))


def _view(
    job: Job,
    report: dict[str, Any] | None,
    methods: list[MethodResult],
    attempts: list[Attempt],
    events: list[Event],
    *,
    is_paused: bool,
) -> list[RenderableType]:
    parts: list[RenderableType] = [_head(job, events), Text()]
    if is_paused and job.state is JobState.QUEUED:
        parts += [Text(PAUSED_NOTE, style="yellow"), Text()]
    if report is not None:
        parts += [report_view(report), Text()]
    elif methods:
        parts += [_methods_so_far(methods), Text()]
    parts += [_attempts(attempts), Text()]
    for attempt in attempts:
        if attempt.stack is not None:
            where = f" (stage {attempt.stage})" if attempt.stage else ""
            title = f"What the worker of attempt {attempt.number} last printed{where}"
            parts += [Text(title, style="bold"), *map(plain, attempt.stack.splitlines()), Text()]
    return [*parts, _events(events)]


def _head(job: Job, events: list[Event]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Job", plain(f"{job.job_id}: {job.title}" + (f" ({job.language})" if job.language else "")))
    table.add_row("State", plain(job.state.value + (f": {note(job)}" if note(job) else "")))
    table.add_row("Master", plain(job.master_path))
    table.add_row("Dub", plain(job.dub_path))
    if (again := [_where_or_why(event) for event in events if event.verb == "found_again"]) and again[-1]:
        table.add_row("Found again", plain(again[-1]))
    table.add_row("Profile", plain(f"{job.profile}, {job.priority.value} priority"))
    if job.sidecar_path:
        table.add_row("Report", plain(job.sidecar_path))
    return table


def _methods_so_far(methods: list[MethodResult]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("METHOD SO FAR", "STATUS", "OFFSET", "WHY"):
        table.add_column(heading, overflow="fold")
    for result in methods:
        outcome = result.outcome
        offset, why = (
            (offset_text(outcome.offset_s), "") if isinstance(outcome, Estimate) else ("", "; ".join(outcome.reasons))
        )
        table.add_row(plain(result.method), result.status.value, offset, plain(why))
    return table


def _attempts(attempts: list[Attempt]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("ATTEMPT", "STARTED (UTC)", "SECONDS", "DEVICE", "OUTCOME", "WHY"):
        table.add_column(heading, overflow="fold")
    for attempt in attempts:
        spent = (attempt.finished_at - attempt.started_at).total_seconds() if attempt.finished_at else None
        why = f"{attempt.failure.code.value}: {attempt.failure.message}" if attempt.failure else attempt.reason or ""
        table.add_row(
            str(attempt.number),
            f"{attempt.started_at:%Y-%m-%d %H:%M:%S}",
            "" if spent is None else f"{spent:.1f}",
            attempt.device,
            attempt.outcome.value if attempt.outcome else "running",
            plain(why),
        )
    return table


def _where_or_why(event: Event) -> str:
    """Where the dub was found or lies now; or why it is where it is."""
    details = event.details
    is_of_a_place = event.verb in {"found_again", "moved"}
    told = details.get("dub") or details.get("to") if is_of_a_place else details.get("reason")
    return told if isinstance(told, str) else ""


def _events(events: list[Event]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("WHEN (UTC)", "WHAT", "STATE"):
        table.add_column(heading)
    table.add_column("WHERE OR WHY", overflow="fold")
    for event in events:
        table.add_row(
            f"{event.at:%Y-%m-%d %H:%M:%S}",
            plain(event.verb),
            plain(event.state_after.value if event.state_after else ""),
            plain(_where_or_why(event)),
        )
    return table
