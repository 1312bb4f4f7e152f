"""The page beside the sidecar: the same report for the eye. One file that opens from a folder and asks nobody for more.

Charts are drawn in the browser by uPlot from the figures that the worker made; without them (an old report, a failed
job) the page is its words and tables. A policy in the page forbids everything that is not the page's own.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

import msgspec

from syncd.plots import Plots
from syncd.reports.facts import Report
from syncd.reports.recommend import amount, early_or_late

if TYPE_CHECKING:
    import jinja2

PAGE_MARK: Final = '<meta name="generator" content="syncd">'
"""Stands near the top of every page: what carries it may be replaced by a newer page."""
MOST_PAGE_BYTES: Final = 400_000
"""A page is mailed and opened over slow links. Figures that would make it larger are left out."""
UPLOT_VERSION: Final = "1.6.32"

_TRICKS: Final = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069\\ufeff]")
"""Control characters, those of writing direction among them."""

VERDICTS: Final = {
    "in_sync": ("good", "✔", "In sync"),
    "offset": ("bad", "✖", "Out of sync"),
    "drift": ("bad", "↗", "Drifts"),
    "edited": ("bad", "✂", "Edited"),
    "no_match": ("bad", "≠", "Not the same programme"),
    "inconclusive": ("odd", "?", "No answer"),
    "failed": ("bad", "!", "Failed"),
}
"""Of each verdict its tone, its sign and its words: colour alone never says it."""


def render_page(report: Report, plots: Plots | None = None) -> str:
    """The HTML text of a report by sync_report.v1; every value in it is escaped. At most `MOST_PAGE_BYTES` of figures.

    A report whose own words are longer is shown whatever it takes, without figures.
    """
    page = _rendered(report, plots)
    return page if plots is None or len(page.encode()) <= MOST_PAGE_BYTES else _rendered(report, None)


def _rendered(report: Report, plots: Plots | None) -> str:
    figures = figures_text(report, plots) if plots is not None or _matches(report) else None
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            plots=plots,
            mark=PAGE_MARK,
            figures=figures,
            verdict=VERDICTS.get(
                report["verdict"] if report["status"] == "completed" else "failed", VERDICTS["failed"]
            ),
            advice=[each for each in report["recommendations"] if not _is_command(each, report)],
            styles=[asset("uplot/uPlot.min.css"), asset("page.css")] if figures else [asset("page.css")],
            scripts=[_uplot(), asset("copy.js"), asset("charts.js")] if figures else [asset("copy.js")],
        )
    )


def figures_text(report: Report, plots: Plots | None) -> str:
    """What the charts are drawn from, as JSON that cannot end the element it stands in."""
    offset = report["consensus_offset"]
    figures = {
        "plots": plots,
        "timeline": report["timeline"],
        "tolerance": report["tolerance"],
        "offset_s": offset["offset_seconds"] if offset else None,
        "master_s": report["master"]["duration_seconds"] or 0.0,
    }
    text = msgspec.json.encode(figures).decode()
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


@cache
def asset(name: str) -> str:
    """A file of the package that pages carry."""
    return resources.files("syncd.reports").joinpath("assets", name).read_text(encoding="utf-8").strip()


@cache
def digest(text: str) -> str:
    """As a content security policy names what may run."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _uplot() -> str:
    """The library with its licence, which asks to be handed on with it."""
    return f"/*\n{asset('uplot/LICENSE')}\n*/\n{asset('uplot/uPlot.iife.min.js')}"


@cache
def _environment() -> jinja2.Environment:
    # Loaded with the first page: a daemon whose profiles want none never pays for it.
    import jinja2  # noqa: PLC0415

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("syncd.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_plainly_shown,
    )
    environment.filters |= {
        "percent": _percent,
        "clock": _clock,
        "early_or_late": _early_or_late,
        "duration": _duration,
        "mebibytes": _mebibytes,
        "or_dash": _or_dash,
        "likeness": _likeness,
        "digest": digest,
        "file_name": _file_name,
    }
    return environment


def render_index(**values: Any) -> str:
    """The page that lists a folder's reports."""
    page = {"mark": PAGE_MARK, "styles": [asset("page.css")], "scripts": [asset("sort.js")], "verdicts": VERDICTS}
    return _environment().get_template("index.html.j2").render(**page, **values)


def _matches(report: Report) -> bool:
    return any(segment["kind"] == "match" for segment in report["timeline"])


def _is_command(advice: str, report: Report) -> bool:
    """Whether it is the sentence that spells the command, which has a place of its own."""
    command = report["correction"]
    return bool(command) and command["shell"] in advice


def _plainly_shown(value: Any) -> Any:
    """A text from outside with its control characters spelled out: none may turn its neighbours' order round."""
    # `Markup` is the page's own text.
    return _TRICKS.sub(lambda found: ascii(found[0])[1:-1], value) if type(value) is str else value


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _likeness(correlation: float | None) -> str:
    return "–" if correlation is None else f"{round(correlation, 2) + 0.0:.2f}"


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


def _file_name(path: str) -> str:
    return path.rsplit("/", 1)[-1]
