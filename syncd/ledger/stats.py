"""What came of the jobs of some days, and how long they took: read from rows and reports that are there anyway."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, Select, func, select

from syncd.domain import JobState, Verdict
from syncd.ledger.models import jobs, reports
from syncd.ledger.rows import Conditions

REPORTS_READ: Final = 2_000
"""Stages and fallbacks stand in the reports; of so many, the newest, they are read."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One job that has ended."""

    enqueued_at: datetime
    started_at: datetime | None
    """Of its last attempt; None: nobody looked at it."""
    finished_at: datetime
    state: JobState
    attempts: int
    verdict: Verdict | None = None
    is_review: bool = False
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class Processed:
    """What one report says of the work."""

    stages_s: Mapping[str, float]
    degraded: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Spread:
    """How some durations are distributed, in seconds."""

    count: int
    median_s: float
    p95_s: float
    p99_s: float
    longest_s: float


@dataclass(frozen=True, slots=True)
class Day:
    """What ended on one day (UTC)."""

    day: date
    completed: int
    not_completed: int
    """Failed or quarantined."""
    review: int
    verdicts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Stats:
    """Of the jobs that ended between two moments."""

    since: datetime
    until: datetime
    ended: Mapping[str, int]
    """By state."""
    verdicts: Mapping[str, int]
    errors: Mapping[str, int]
    """By code."""
    review_share: float | None
    """Of the completed jobs; None: there is none."""
    retried_share: float | None
    """Of the completed jobs, those that took more than one attempt."""
    degraded_share: float | None
    """Of the reports read, those of jobs that got less than was asked for."""
    reports_read: int
    jobs_an_hour: float
    busiest_hour_jobs: int
    wait: Spread | None
    """From enqueued to the last attempt's start."""
    work: Spread | None
    """From there to the end, of completed jobs."""
    stages: Mapping[str, Spread]
    days: tuple[Day, ...]
    """Oldest first; days on which nothing ended are left out."""


def summarise(ended: Sequence[Ended], processed: Sequence[Processed], since: datetime, until: datetime) -> Stats:
    """Figures of jobs that ended between the two moments."""
    completed = [job for job in ended if job.state is JobState.COMPLETED]
    started = [job for job in completed if job.started_at is not None]
    hours = Counter(job.finished_at.replace(minute=0, second=0, microsecond=0) for job in completed)
    stages: defaultdict[str, list[float]] = defaultdict(list)
    for one in processed:
        for stage, took_s in one.stages_s.items():
            stages[stage].append(took_s)
    return Stats(
        since=since,
        until=until,
        ended=_counted(job.state.value for job in ended),
        verdicts=_counted(job.verdict.value for job in ended if job.verdict is not None),
        errors=_counted(job.error_code for job in ended if job.error_code is not None and job.verdict is None),
        review_share=_share(sum(job.is_review for job in completed), len(completed)),
        retried_share=_share(sum(job.attempts > 1 for job in completed), len(completed)),
        degraded_share=_share(sum(bool(one.degraded) for one in processed), len(processed)),
        reports_read=len(processed),
        jobs_an_hour=len(completed) / max(1e-9, (until - since).total_seconds() / 3600.0),
        busiest_hour_jobs=max(hours.values(), default=0),
        wait=spread([_seconds(job.enqueued_at, job.started_at) for job in started]),
        work=spread([_seconds(job.started_at, job.finished_at) for job in started]),
        stages={stage: found for stage, took_s in stages.items() if (found := spread(took_s)) is not None},
        days=_days(ended),
    )


def spread(seconds: Sequence[float]) -> Spread | None:
    """None of no durations."""
    if not seconds:
        return None
    hundredths = statistics.quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else [seconds[0]] * 99
    return Spread(len(seconds), hundredths[49], hundredths[94], hundredths[98], max(seconds))


def read_ended(connection: Connection, since: datetime, asked: Conditions = ()) -> list[Ended]:
    """The jobs that ended since then, of those of which the conditions hold."""
    return [
        Ended(
            enqueued_at=row.enqueued_at,
            started_at=row.started_at,
            finished_at=row.finished_at,
            state=JobState(row.state),
            attempts=row.attempts,
            verdict=None if row.verdict is None else Verdict(row.verdict),
            is_review=bool(row.review),
            error_code=row.error_code,
        )
        for row in connection.execute(_select_ended(since).where(*asked))
    ]


def read_processed(connection: Connection, since: datetime, asked: Conditions = ()) -> list[Processed]:
    """What the newest reports of completed jobs say of the work; what cannot be read is left out."""
    newest = (
        select(jobs.c.id)
        .where(jobs.c.state == JobState.COMPLETED, jobs.c.finished_at >= since, *asked)
        .order_by(jobs.c.id.desc())
        .limit(REPORTS_READ)
        .subquery()
    )
    processing = func.json_extract(reports.c.report, "$.processing.stages", "$.processing.degraded")
    rows = connection.execute(select(processing).join_from(newest, reports, reports.c.job_id == newest.c.id))
    return [one for (text,) in rows if text is not None and (one := _processed(text)) is not None]


def _processed(text: str) -> Processed | None:
    try:
        stages, degraded = msgspec.json.decode(text, type=tuple[dict[str, float], tuple[str, ...] | None])
    except msgspec.ValidationError:
        return None
    return Processed(stages, degraded or ())


def _select_ended(since: datetime) -> Select[Any]:
    columns = ("enqueued_at", "started_at", "finished_at", "state", "attempts", "verdict", "review", "error_code")
    return select(*(jobs.c[name] for name in columns)).where(jobs.c.finished_at >= since)


def _days(ended: Iterable[Ended]) -> tuple[Day, ...]:
    by_day: defaultdict[date, list[Ended]] = defaultdict(list)
    for job in ended:
        by_day[job.finished_at.date()].append(job)
    return tuple(
        Day(
            day=day,
            completed=sum(job.state is JobState.COMPLETED for job in there),
            not_completed=sum(job.state in {JobState.FAILED, JobState.QUARANTINED} for job in there),
            review=sum(job.is_review for job in there),
            verdicts=_counted(job.verdict.value for job in there if job.verdict is not None),
        )
        for day, there in sorted(by_day.items())
    )


def _counted(names: Iterable[str]) -> dict[str, int]:
    """The most frequent first."""
    return dict(Counter(names).most_common())


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _seconds(start: datetime | None, end: datetime | None) -> float:
    """Never below zero, whatever clocks did."""
    return 0.0 if start is None or end is None else max(0.0, (end - start).total_seconds())
