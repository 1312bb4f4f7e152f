"""`syncctl stats`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from syncd.cli.access import ledger
from syncd.cli.jobs import PAUSED_NOTE, parse_since
from syncd.cli.options import (
    WHEN,
    ConfigOption,
    JsonOption,
    LanguageOption,
    PriorityOption,
    ProfileFilter,
    TitleOption,
)
from syncd.cli.output import console, plain, print_json
from syncd.clock import utc_now
from syncd.ledger.records import JobFilter
from syncd.ledger.stats import Day, Spread, Stats

DEFAULT_SINCE: Final = "7d"


def stats(
    since: Annotated[
        str, typer.Option("--since", metavar="WHEN", help=f"Of jobs that ended since {WHEN}.")
    ] = DEFAULT_SINCE,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """How much was done, how long it took, and what came of it."""
    until = utc_now()
    filters = JobFilter(title=title, language=language, priority=priority, profile=profile)
    with ledger(config) as reader:
        told = reader.stats(parse_since(since, until), until, filters)
        is_paused = reader.is_paused()
        waiting = {state.value: count for state, count in reader.counts(filters).items()}
    if as_json:
        print_json({"stats": told, "jobs_now": waiting, "paused": is_paused})
        return
    view = _view(told, waiting)
    if is_paused:
        view += [Text(), Text(PAUSED_NOTE)]
    console().print(Group(*view))


def _view(told: Stats, waiting: Mapping[str, int]) -> list[RenderableType]:
    parts: list[RenderableType] = [
        Text(f"Jobs that ended from {told.since:%Y-%m-%d %H:%M} to {told.until:%Y-%m-%d %H:%M} UTC", style="bold"),
        _totals(told, waiting),
    ]
    if told.work is not None:
        parts += [Text(), _durations(told)]
    if told.days:
        parts += [Text(), _days(told.days)]
    return parts


def _totals(told: Stats, waiting: Mapping[str, int]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Now", f"{waiting['running']} running, {waiting['queued']} queued")
    table.add_row("Ended", _listed(told.ended) or "none")
    if told.verdicts:
        table.add_row("Verdicts", _listed(told.verdicts))
    if told.errors:
        table.add_row("Errors", _listed(told.errors))
    table.add_row("Completed", f"{told.jobs_an_hour:.1f} an hour; {told.busiest_hour_jobs} in the busiest hour")
    for name, share in (
        ("To be checked by a person", told.review_share),
        ("More than one attempt", told.retried_share),
        (f"Less than was asked for (of {told.reports_read} reports)", told.degraded_share),
    ):
        if share is not None:
            table.add_row(name, f"{share:.1%}")
    return table


def _durations(told: Stats) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("SECONDS", overflow="fold")
    for heading in ("JOBS", "MEDIAN", "95 %", "99 %", "LONGEST"):
        table.add_column(heading, justify="right", no_wrap=True)
    stages = sorted(told.stages.items(), key=lambda item: -item[1].median_s)
    for name, spread in (("waiting", told.wait), ("at work", told.work), *((f"  {n}", s) for n, s in stages)):
        if spread is not None:
            table.add_row(plain(name), *_figures(spread))
    return table


def _figures(spread: Spread) -> tuple[str, ...]:
    seconds = (spread.median_s, spread.p95_s, spread.p99_s, spread.longest_s)
    return (str(spread.count), *(f"{one:.2f}" for one in seconds))


def _days(days: tuple[Day, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("DAY (UTC)", no_wrap=True)
    for heading in ("COMPLETED", "FAILED", "TO CHECK"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("VERDICTS", overflow="fold")
    for day in days:
        table.add_row(
            day.day.isoformat(), str(day.completed), str(day.not_completed), str(day.review), _listed(day.verdicts)
        )
    return table


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())
