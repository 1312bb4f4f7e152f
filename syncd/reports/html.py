"""The page beside the sidecar: the same report for the eye. One file, no script, nothing from another host."""

from __future__ import annotations

from typing import Final

from syncd.reports.facts import Report
from syncd.reports.recommend import amount, early_or_late

PAGE_MARK: Final = '<meta name="generator" content="syncd">'
"""Stands near the top of every page: what carries it may be replaced by a newer page."""


def render_page(report: Report) -> str:
    """The HTML text of a report by sync_report.v1; every value in it is escaped."""
    # Loaded with the first page: a daemon whose profiles want none never pays for it.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("syncd.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "clock": _clock,
        "early_or_late": _early_or_late,
        "duration": _duration,
        "mebibytes": _mebibytes,
        "or_dash": _or_dash,
    }
    return environment.get_template("report.html.j2").render(report=report, mark=PAGE_MARK)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _clock(moment_s: float | None) -> str:
    """H:MM:SS.mmm from the start of the file."""
    if moment_s is None:
        return "–"
    total_ms = round(abs(moment_s) * 1000)
    minutes, rest_ms = divmod(total_ms, 60_000)
    hours, minute = divmod(minutes, 60)
    return f"{'-' if moment_s < 0 and total_ms else ''}{hours}:{minute:02d}:{rest_ms / 1000:06.3f}"


def _early_or_late(offset_s: float | None) -> str:
    return "–" if offset_s is None else early_or_late(offset_s)


def _duration(seconds: float | None) -> str:
    return "–" if seconds is None else amount(seconds)


def _mebibytes(size_bytes: int | None) -> str:
    return "–" if size_bytes is None else f"{size_bytes / 2**20:.0f} MiB"


def _or_dash(value: object) -> object:
    return "–" if value is None or value == "" else value
