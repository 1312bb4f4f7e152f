"""`syncctl list`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer
from rich.table import Table
from rich.text import Text

from syncd.cli.access import ledger
from syncd.cli.options import (
    CodeOption,
    ConfigOption,
    JsonOption,
    LanguageOption,
    PriorityOption,
    ProfileFilter,
    ReviewOption,
    SinceOption,
    StateOption,
    TitleOption,
    VerdictOption,
    job_number,
)
from syncd.cli.output import confidence_text, console, plain, print_json
from syncd.clock import utc_now
from syncd.domain import JobState, Priority, Verdict
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.records import Job, JobFilter, OrphanRecord, PageKey
from syncd.units import seconds_to_ms

STATE_STYLES = {
    JobState.RUNNING: "cyan",
    JobState.COMPLETED: "green",
    JobState.FAILED: "red",
    JobState.QUARANTINED: "red",
}
BeforeId = Annotated[
    int | None,
    typer.Option("--before", metavar="ID", parser=job_number, help="The next page: jobs older than this one."),
]
PAUSED_NOTE: Final = "Paused: no job is begun; 'syncctl resume' goes on."
LEFT_OUT: Final = ("CONF", "LANG", "OFFSET", "VERDICT")
LEAST_TITLE: Final = 16
LEAST_NOTE: Final = 30
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


def list_jobs(
    state: StateOption = None,
    verdict: VerdictOption = None,
    review: ReviewOption = None,
    title: TitleOption = None,
    language: LanguageOption = None,
    priority: PriorityOption = None,
    profile: ProfileFilter = None,
    code: CodeOption = None,
    since: SinceOption = None,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="List files that wait for a partner instead, with what is missing.")
    ] = False,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, max=10000, help="Rows on a page.")] = 50,
    before: BeforeId = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List jobs, newest first."""
    filters = job_filter(state, verdict, review, title, language, priority, profile, code, since)
    if orphans and (filters != JobFilter() or before is not None):
        raise SyncdError(ErrorCode.USAGE, "--orphans lists files and not jobs: of the other options it takes --limit.")
    with ledger(config) as reader:
        if orphans:
            print_orphans(reader.orphans(limit), reader.orphan_count(), as_json=as_json)
            return
        page = reader.jobs(filters, limit=limit, after=PageKey(before) if before else None)
        is_paused = reader.is_paused()
    if as_json:
        print_json({"jobs": page.jobs, "next": page.next.before_job_id if page.next else None})
        return
    out = console()
    table, notes = job_table(page.jobs, out.width)
    out.print(table)
    for job_id, text in notes:
        out.print(plain(f"{job_id}: {text}"))
    if is_paused:
        out.print(PAUSED_NOTE)
    if page.next:
        out.print(f"More: add --before {page.next.before_job_id}")


def job_filter(
    state: list[JobState] | None,
    verdict: list[Verdict] | None,
    review: bool | None,
    title: str | None,
    language: str | None,
    priority: Priority | None,
    profile: str | None,
    code: ErrorCode | None,
    since: str | None,
) -> JobFilter:
    """What the options of a command ask for; raises `SyncdError` USAGE."""
    return JobFilter(
        states=frozenset(state or ()),
        verdicts=frozenset(verdict or ()),
        review=review,
        title=title,
        language=language,
        priority=priority,
        profile=profile,
        code=code,
        since=parse_since(since, utc_now()) if since else None,
    )


def job_table(jobs: tuple[Job, ...], width: int) -> tuple[Table, list[tuple[int, str]]]:
    """One row a job, in so many columns of the terminal; and the notes, by job, that have no room in it.

    A number is never cut, a title last of all: where there is little room, first the notes stand below, then
    confidence, language, offset and verdict are left out.
    """
    columns = {
        "ID": [Text(str(job.job_id)) for job in jobs],
        "STATE": [plain(job.state.value, STATE_STYLES.get(job.state, "")) for job in jobs],
        "TITLE": [plain(job.title) for job in jobs],
        "LANG": [plain(job.language or "") for job in jobs],
        "VERDICT": [Text(verdict_text(job)) for job in jobs],
        "OFFSET": [Text(offset_text(job.offset_s)) for job in jobs],
        "CONF": [Text("" if job.confidence is None else confidence_text(job.confidence)) for job in jobs],
        "NOTE": [plain(note(job)) for job in jobs],
    }
    wanted = {name: max((cell.cell_len for cell in cells), default=0) for name, cells in columns.items()}
    is_noted_below = wanted["NOTE"] > 0 and _least_width(columns, wanted) > width
    if is_noted_below or not wanted["NOTE"]:
        del columns["NOTE"]
    for name in LEFT_OUT:
        if _least_width(columns, wanted) > width:
            del columns[name]
    widths = {name: max(len(name), wanted[name]) for name in columns}
    left = width - 2 * (len(columns) - 1) - sum(w for name, w in widths.items() if name not in {"TITLE", "NOTE"})
    widths["TITLE"] = max(
        1, min(widths["TITLE"], left - min(wanted["NOTE"], LEAST_NOTE) if "NOTE" in columns else left)
    )
    widths["NOTE"] = max(1, min(max(len("NOTE"), wanted["NOTE"]), left - widths["TITLE"]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name,
            width=widths[name],
            justify="right" if name in {"ID", "OFFSET", "CONF"} else "left",
            no_wrap=name != "NOTE",
            overflow="ellipsis" if name == "TITLE" else "fold",
        )
    for row in zip(*columns.values(), strict=True):
        table.add_row(*row)
    return table, [(job.job_id, note(job)) for job in jobs if note(job)] if is_noted_below else []


def _least_width(columns: Mapping[str, object], wanted: Mapping[str, int]) -> int:
    """Below which something in these columns would have to be broken."""
    least = {**wanted, "TITLE": min(wanted["TITLE"], LEAST_TITLE), "NOTE": min(wanted["NOTE"], LEAST_NOTE)}
    return sum(max(len(name), least[name]) for name in columns) + 2 * (len(columns) - 1)


def verdict_text(job: Job) -> str:
    """In a word, and whether a person should look."""
    return f"{job.verdict.value}{' (check)' if job.review else ''}" if job.verdict else ""


def offset_text(offset_s: float | None) -> str:
    """Early or late, never plus or minus."""
    if offset_s is None:
        return ""
    if abs(offset_s) < 5e-8:
        return "0 ms"
    amount = f"{seconds_to_ms(abs(offset_s)):.2f} ms" if abs(offset_s) < 1.0 else f"{abs(offset_s):.4f} s"
    return f"{amount} {'late' if offset_s < 0 else 'early'}"


def left_text(left_s: float) -> str:
    """As exact as an estimate is: seconds, then minutes, then hours and minutes."""
    if left_s < 90.0:
        return f"{max(1, round(left_s))} s"
    minutes = round(left_s / 60.0)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def note(job: Job) -> str:
    """What else matters about the job, in a few words."""
    if job.state is JobState.RUNNING and job.progress:
        return job.progress.text + (f" ({left_text(job.eta_s)} left)" if job.eta_s is not None else "")
    if job.superseded_by is not None:
        return f"see job {job.superseded_by}"
    if job.failure is not None and job.state is not JobState.COMPLETED:
        return f"{job.failure.code.value}: {job.failure.message}"
    return ""


def print_orphans(orphans: list[OrphanRecord], total: int, *, as_json: bool) -> None:
    """Files without partner; `total`: how many there are, beside these too."""
    if as_json:
        print_json({"orphans": orphans, "total": total})
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("FILE", "SINCE", "WHY"):
        table.add_column(heading, overflow="fold")
    for orphan in orphans:
        table.add_row(plain(orphan.path), f"{orphan.since:%Y-%m-%d %H:%M}", plain(orphan.message))
    out = console()
    out.print(table)
    if total > len(orphans):
        out.print(f"{total - len(orphans)} more: add --limit {total}")


def parse_since(text: str, now: datetime) -> datetime:
    """A date, a moment or a span before now; raises `SyncdError` USAGE."""
    try:
        if match := re.fullmatch(r"(\d+)([smhdw])", text):
            return now - timedelta(seconds=int(match[1]) * _UNITS_S[match[2]])
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SyncdError(ErrorCode.USAGE, f"{text!r} is no date and no span of time.") from error
