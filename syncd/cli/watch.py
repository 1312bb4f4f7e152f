"""`syncctl watch`."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Annotated, Final

import typer
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from syncd.cli.access import ledger
from syncd.cli.jobs import PAUSED_NOTE, STATE_STYLES, left_text, note, offset_text
from syncd.cli.options import (
    ConfigOption,
    JsonOption,
    LanguageOption,
    PriorityOption,
    ProfileFilter,
    TitleOption,
    job_number,
)
from syncd.cli.output import console, plain, print_json
from syncd.domain import FINAL_STATES, JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job, JobFilter

INTERVAL_S: Final = 0.2
EXIT_JOB_FAILED: Final = 3
RECENT: Final = 10
MaybeJobId = Annotated[
    int | None,
    typer.Argument(metavar="ID", parser=job_number, help="One job, until it ends; else all.", show_default=False),
]


def watch(
    job_id: MaybeJobId = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow what is running, live, until Ctrl-C; with an ID, one job until it ends.

    With --json a line is printed whenever a job has changed.
    """
    filters = JobFilter(title=title, language=language, priority=priority, profile=profile)
    if job_id is not None and filters != JobFilter():
        raise SyncdError(ErrorCode.USAGE, "An ID names one job: with it there is nothing to filter.")
    with ledger(config) as reader:
        if as_json:
            _follow_json(reader, job_id, filters)
        else:
            _follow_live(reader, job_id, filters)
        job = reader.job(job_id) if job_id is not None else None
    if job is not None and job.state in (JobState.FAILED, JobState.QUARANTINED):
        raise typer.Exit(EXIT_JOB_FAILED)


def _follow_live(reader: LedgerReader, job_id: int | None, filters: JobFilter) -> None:
    out = console()
    with Live(console=out, refresh_per_second=8, transient=False) as live:
        while True:
            jobs = current_jobs(reader, job_id, filters)
            paused = [PAUSED_NOTE] if reader.is_paused() else []
            live.update(Group(live_table(jobs), *paused), refresh=True)
            if job_id is not None and jobs[0].state in FINAL_STATES:
                break
            time.sleep(INTERVAL_S)
    if not out.is_terminal:
        out.line()  # On a terminal `Live` ends the last one itself.


def _follow_json(reader: LedgerReader, job_id: int | None, filters: JobFilter) -> None:
    """One line whenever a job changed."""
    told: dict[int, Job] = {}
    while True:
        jobs = current_jobs(reader, job_id, filters)
        for job in jobs:
            if told.get(job.job_id) != job:
                told[job.job_id] = job
                print_json({"job": job})
        if job_id is not None and jobs[0].state in FINAL_STATES:
            return
        time.sleep(INTERVAL_S)


def current_jobs(reader: LedgerReader, job_id: int | None, filters: JobFilter) -> tuple[Job, ...]:
    """The job asked for; or what the filters leave of those that run, and the latest besides."""
    if job_id is not None:
        job = reader.job(job_id)
        if job is None:
            raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
        return (job,)
    running = reader.jobs(replace(filters, states=frozenset({JobState.RUNNING})), limit=50, after=None).jobs
    latest = reader.jobs(filters, limit=RECENT, after=None).jobs
    return (*running, *(job for job in latest if job.state is not JobState.RUNNING))


def live_table(jobs: tuple[Job, ...]) -> Table:
    """One row a job, with a bar where it runs."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("ID", justify="right", no_wrap=True)
    for heading in ("STATE", "TITLE", "LANG", "PROGRESS", "WHAT"):
        table.add_column(heading, overflow="fold")
    table.add_column("LEFT", justify="right", no_wrap=True)
    for job in jobs:
        progress = job.progress if job.state is JobState.RUNNING else None
        bar = ProgressBar(total=max(1, progress.total), completed=progress.done, width=20) if progress else ""
        table.add_row(
            str(job.job_id),
            plain(job.state.value, STATE_STYLES.get(job.state, "")),
            plain(job.title),
            plain(job.language or ""),
            bar,
            plain(_what(job)),
            left_text(job.eta_s) if progress and job.eta_s is not None else "",
        )
    return table


def _what(job: Job) -> str:
    if job.state is JobState.COMPLETED and job.verdict is not None:
        return " ".join(part for part in (job.verdict.value, offset_text(job.offset_s)) if part)
    if job.state is JobState.RUNNING and job.progress:
        return job.progress.text
    return note(job)
