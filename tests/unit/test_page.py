"""The page as text: bounded, escaped, under a policy that lets nothing in; what is drawn is tried in a browser."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd import __version__
from syncd.domain import Failure, Result, Verdict
from syncd.errors import ErrorCode
from syncd.plots import Plots
from syncd.reports.html import MOST_PAGE_BYTES, PAGE_MARK, UPLOT_VERSION, VERDICTS, asset, digest, render_page
from syncd.reports.sidecar import build_report
from tests.material.plot_examples import plots
from tests.material.report_examples import PROCESSING, result, subject

NASTY = "</script><script>alert(1)</script> \"'&\u202egnp\n\x1b[31m"


def report(outcome: Result | Failure, dub: str = "Film_dub_fr.wav", **changes: Any) -> dict[str, Any]:
    return build_report(subject(Path("/drop") / dub, **changes), outcome, PROCESSING, syncd_version=__version__)


def page(outcome: Result | Failure | None = None, drawn: Plots | None = None, dub: str = "Film_dub_fr.wav") -> str:
    return render_page(report(outcome or result(), dub), drawn)


def figures(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', text, re.DOTALL)
    return dict(json.loads(found))


def test_the_verdict_stands_first_in_words_and_a_sign_not_in_colour_alone() -> None:
    text = page(drawn=plots())
    body = text[text.index("<body>") :]
    assert "✖" in body
    headings = re.findall(r"<h[12][^>]*>(.*?)</h[12]>", body)
    assert headings[0].startswith("The dub is 2.456 s late")
    assert headings[1:7] == [
        "Offset over time", "Correlation", "Waveforms and spectrograms", "Methods", "Timecode", "What to do",
    ]  # fmt: skip


@pytest.mark.parametrize("verdict", list(Verdict))
def test_every_verdict_has_a_sign_and_words_of_its_own(verdict: Verdict) -> None:
    assert len({(sign, words) for _, sign, words in VERDICTS.values()}) == len(VERDICTS)
    assert verdict.value in VERDICTS


def test_a_page_with_all_its_figures_stays_within_its_bound() -> None:
    text = page(drawn=plots(windows=1_200, places=6))
    assert figures(text)["plots"] is not None
    assert len(text.encode()) <= MOST_PAGE_BYTES


def test_figures_that_would_make_the_page_too_large_are_left_out_and_the_words_stay() -> None:
    text = page(drawn=plots(places=40))
    assert len(text.encode()) <= MOST_PAGE_BYTES
    assert figures(text)["plots"] is None
    assert "2.456 s late" in text


def test_a_report_without_figures_is_still_a_page_with_its_timeline_drawn() -> None:
    text = page()
    assert figures(text)["timeline"][0]["kind"] == "match"
    assert 'id="chart-offset"' in text
    assert "Waveforms" not in text


def test_a_failed_job_has_a_page_without_charts() -> None:
    text = page(Failure(ErrorCode.MEDIA_UNREADABLE, "It <cannot> be read."))
    assert "MEDIA_UNREADABLE" in text
    assert "It &lt;cannot&gt; be read." in text
    assert "uPlot" not in text


def test_a_pair_that_is_no_match_shows_the_correlation_against_chance() -> None:
    outcome = result(None, Verdict.NO_MATCH, reasons=("They share nothing.",))
    text = page(outcome, plots(is_placed=False))
    assert "Not the same programme" in text
    assert 'id="chart-whole"' in text
    assert 'id="chart-close"' not in text
    assert "Corrected" not in text


def test_the_policy_names_every_script_and_style_of_the_page_and_nothing_else() -> None:
    text = page(drawn=plots())
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == "'none'"
    for element, kind in (("script", "script-src"), ("style", "style-src")):
        bodies = re.findall(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert bodies
        assert {digest(body) for body in bodies} == set(parts[kind].split())
    assert "unsafe" not in policy
    assert " style=" not in text
    assert not re.search(r"\son[a-z]+=", text[text.index("<body>") : text.index("<script>")])


@pytest.mark.parametrize("where", ["dub", "advice", "reason", "plots"])
def test_nothing_from_outside_becomes_markup_or_turns_the_text_round(where: str) -> None:
    outcome, drawn, dub = result(), plots(), "Film_dub_fr.wav"
    match where:
        case "dub":
            dub = NASTY.replace("/", "∕")
        case "advice":
            outcome = replace(outcome, warnings=(NASTY,))
        case "reason":
            outcome = result(None, Verdict.INCONCLUSIVE, reasons=(NASTY,))
        case _:
            drawn = replace(drawn, channel=NASTY, places=(replace(drawn.places[0], label=NASTY),))
    text = page(outcome, drawn, dub)
    assert "<script>alert" not in text
    shown = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert "alert(1)" in shown
    assert "\u202e" not in shown
    assert "\x1b" not in shown


def test_the_command_stands_once_whole_and_ready_to_be_copied() -> None:
    told = report(result(), 'it\'s a "dub".wav')
    text = render_page(told, None)
    (command,) = re.findall(r'<pre id="command"[^>]*>(.*?)</pre>', text, re.DOTALL)
    assert html.unescape(command) == told["correction"]["shell"]
    assert text.count(command) == 1
    assert 'data-copies="command"' in text


def test_every_chart_says_in_words_what_it_shows() -> None:
    text = page(drawn=plots())
    charts = re.findall(r"<(?:div class=\"chart\"|canvas)[^>]*>", text)
    assert len(charts) > 10
    for chart in charts:
        assert 'role="img"' in chart
        assert re.search(r'aria-label="[^"]{10,}"', chart)


def test_the_mark_stands_near_the_top() -> None:
    assert PAGE_MARK.encode() in page(drawn=plots()).encode()[:1024]


def test_the_library_is_handed_on_with_its_licence() -> None:
    text = page(drawn=plots())
    assert "Permission is hereby granted, free of charge" in text
    assert f"uPlot (v{UPLOT_VERSION})" in text
    assert UPLOT_VERSION in asset("uplot/README.md")
