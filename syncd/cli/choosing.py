"""Which jobs a command acts on: those that are named, or all in a state that its filters leave."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from syncd.cli.access import ledger
from syncd.domain import JobState
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Job, JobFilter, PageKey

PAGE_JOBS: Final = 500


def named_or_filtered(config: Path | None, job_ids: Sequence[int] | None, filters: JobFilter) -> list[int]:
    """The numbers of the jobs; raises `SyncdError` USAGE where neither names nor a state are given, or both, and
    NOT_FOUND where there is no job of a number: whether the daemon runs or not.

    By a filter only those are meant that no newer job replaced.
    """
    if bool(job_ids) == bool(filters.states):
        raise SyncdError(ErrorCode.USAGE, "Name jobs or --state, one of the two.")
    if job_ids:
        if filters != JobFilter():
            raise SyncdError(ErrorCode.USAGE, "A number names one job: with it there is nothing to filter.")
        with ledger(config) as reader:
            for job_id in job_ids:
                if reader.job(job_id) is None:
                    raise SyncdError(ErrorCode.NOT_FOUND, f"There is no job {job_id}.")
        return list(job_ids)
    with ledger(config) as reader:
        return sorted(job.job_id for job in all_jobs(reader, filters) if job.superseded_by is None)


def all_jobs(reader: LedgerReader, filters: JobFilter) -> Iterator[Job]:
    """Page after page, so that a million jobs take no memory."""
    after: PageKey | None = None
    while True:
        page = reader.jobs(filters, limit=PAGE_JOBS, after=after)
        yield from page.jobs
        if page.next is None:
            return
        after = page.next


def in_state(filters: JobFilter, state: JobState | None) -> JobFilter:
    """The same of that state; without one, as they are."""
    return replace(filters, states=frozenset({state})) if state is not None else filters
