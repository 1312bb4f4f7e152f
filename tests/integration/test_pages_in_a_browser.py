"""Report and index as a person opens them: a real Chromium, from the folder, without a network."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from syncd.domain import Failure, Result, Verdict
from syncd.errors import ErrorCode
from syncd.plots import Plots
from syncd.reports.index import INDEX_NAME, Listed, address_of, index_page
from syncd.reports.report import write_reports
from tests.browser import Browser, find_chromium
from tests.material.plot_examples import plots
from tests.material.report_examples import PROCESSING, result, subject

CHROMIUM = find_chromium()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium here (Debian's package: chromium)")

LINE = Listed(
    title="b",
    language="fr",
    dub="b.wav",
    verdict="offset",
    review=False,
    offset_s=-0.5,
    created_at=datetime(2026, 8, 27, tzinfo=UTC),
    link="./b.html",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert CHROMIUM is not None
    with Browser(CHROMIUM, tmp_path_factory.mktemp("profile")) as started:
        yield started


def written(folder: Path, outcome: Result | Failure, drawn: Plots | None, name: str = "Film_dub_fr.wav") -> Path:
    made = write_reports(subject(folder / name), outcome, PROCESSING, fallback=None, plots=drawn)
    assert made.html_path is not None
    return made.html_path


def opened(browser: Browser, page: Path) -> None:
    """Open it and see that it is content and alone."""
    browser.open(page)
    assert browser.complaints() == []
    assert browser.requests() == [page.as_uri()]


def charts(browser: Browser) -> int:
    return int(browser.run("document.querySelectorAll('.chart canvas').length"))


def test_a_report_draws_all_its_charts_and_asks_nobody_for_anything(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    # Offset, lanes, two correlations, and waveforms before and after at four places.
    assert charts(browser) == 4 + 2 * 4
    spectrograms = "[...document.querySelectorAll('canvas.sound')]"
    assert browser.run(f"{spectrograms}.length") == 16
    assert browser.run(f"{spectrograms}.every((each) => each.width === 160 && each.height === 40)")


@pytest.mark.parametrize(
    ("outcome", "drawn", "count"),
    [
        (result(), None, 2),
        (result(None, Verdict.NO_MATCH), plots(is_placed=False, places=3), 2 + 3),
        (result(None, Verdict.INCONCLUSIVE), plots(is_placed=False, places=0, whole=None, master_speech=None), 1),
        (Failure(ErrorCode.MEDIA_UNREADABLE, "It cannot be read."), None, 0),
    ],
    ids=["an old report", "no match", "hardly anything", "failed"],
)
def test_whatever_is_missing_the_page_stands(
    browser: Browser, tmp_path: Path, outcome: Result | Failure, drawn: Plots | None, count: int
) -> None:
    opened(browser, written(tmp_path, outcome, drawn))
    assert charts(browser) == count


def test_the_button_copies_the_command(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    browser("Browser.grantPermissions", session=None, permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    command = browser.run("document.getElementById('command').textContent")
    assert command.startswith("ffmpeg ")
    browser("Page.bringToFront")
    browser.run("document.querySelector('button[data-copies]').click()")
    browser.wait_for("document.getElementById('copied').textContent === 'Copied.'")
    assert browser.run("navigator.clipboard.readText()") == command


def test_where_the_clipboard_is_refused_the_command_is_selected(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    browser.run("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    browser.run("document.querySelector('button[data-copies]').click()")
    browser.wait_for("document.getElementById('copied').textContent.startsWith('Selected')")
    assert browser.run("getSelection().toString()") == browser.run("document.getElementById('command').textContent")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_either_light(browser: Browser, tmp_path: Path, scheme: str) -> None:
    browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    opened(browser, written(tmp_path, result(review=True), plots()))
    ratios = browser.run(CONTRASTS)
    assert len(ratios) > 20
    # WCAG 2.2, level AA.
    assert min(ratio for _, ratio in ratios) >= 4.5, min(ratios, key=lambda each: each[1])
    dark = browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 27)"
    assert dark is (scheme == "dark")


CONTRASTS = """(() => {
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (node) => {
    for (let at = node; at; at = at.parentElement) {
      const color = parse(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] > 0) return color.slice(0, 3);
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('body *')]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length)
    .map((e) => {
      const [a, b] = [light(parse(getComputedStyle(e).color).slice(0, 3)), light(ground(e))];
      return [e.tagName + ': ' + e.textContent.slice(0, 40), (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)];
    });
})()"""


def test_the_keyboard_reaches_everything_and_is_held_by_nothing(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    reachable = browser.run("document.querySelectorAll('a[href], button:not([hidden]), summary, [tabindex]').length")
    browser("Page.bringToFront")
    seen = []
    for _ in range(reachable + 1):
        for kind in ("keyDown", "keyUp"):
            browser("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        seen.append(browser.run("document.activeElement.outerHTML.slice(0, 80)"))
        focus = "getComputedStyle(document.activeElement).outlineStyle"
        assert seen[-1].startswith("<body") or browser.run(focus) != "none", seen[-1]
    assert len(set(seen)) >= reachable


def test_headings_leave_out_no_step_and_tables_name_their_columns(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    levels = browser.run("[...document.querySelectorAll('h1,h2,h3,h4')].map((e) => Number(e.tagName[1]))")
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in itertools.pairwise(levels))
    assert browser.run("[...document.querySelectorAll('th')].every((e) => e.scope)")
    assert browser.run("document.documentElement.lang") == "en"


def test_printed_it_is_dark_on_white_without_buttons(browser: Browser, tmp_path: Path) -> None:
    opened(browser, written(tmp_path, result(), plots()))
    browser("Emulation.setEmulatedMedia", media="print", features=[])
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("document.querySelector('button[data-copies]').getClientRects().length") == 0
    assert len(browser("Page.printToPDF")["data"]) > 10_000
    browser("Emulation.setEmulatedMedia", media="", features=[])


def test_the_page_fits_a_narrow_window(browser: Browser, tmp_path: Path) -> None:
    page = written(tmp_path, result(), plots())
    browser("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    opened(browser, page)
    assert browser.run("document.documentElement.scrollWidth <= innerWidth")
    browser("Emulation.clearDeviceMetricsOverride")


@pytest.mark.parametrize(
    "name",
    [
        "</script><script>alert(1)_dub.wav".replace("/", "∕"),
        "quote\" and 'quote' <b>_dub.wav",
        "line\nbreak_dub.wav",
        "\u202egnp.vaw_dub.wav",
        "caf\udce9_dub.wav",
        "javascript:alert(1)_dub.wav",
        "100%25 #1?_dub.wav",
    ],
)
def test_a_hostile_name_is_text_and_the_index_leads_to_its_page(browser: Browser, tmp_path: Path, name: str) -> None:
    page = written(tmp_path, result(), plots(), name)
    line = replace(LINE, title=name, dub=name, link=address_of(page, tmp_path))
    index = tmp_path / INDEX_NAME
    index.write_text(index_page(tmp_path, [line], more=False), encoding="utf-8")
    opened(browser, index)
    assert browser.run("document.querySelectorAll('script').length") == 1
    browser.run("void setTimeout(() => document.querySelector('#reports a').click())")
    browser.wait_for("document.readyState === 'complete' && document.title.startsWith('Out of sync')")
    assert browser.run("document.documentElement.dataset.drawn") == "12"
    assert browser.complaints() == []


def test_the_index_is_sorted_by_any_column_and_what_has_no_value_stays_last(browser: Browser, tmp_path: Path) -> None:
    lines = [
        LINE,
        replace(LINE, title="a", offset_s=None, verdict="no_match", review=True),
        replace(LINE, title="c", offset_s=-10.0, verdict="in_sync"),
        replace(LINE, title="10", offset_s=2.0, verdict="failed", created_at=None),
    ]
    index = tmp_path / INDEX_NAME
    index.write_text(index_page(tmp_path, lines, more=True), encoding="utf-8")
    opened(browser, index)
    titles = "[...document.querySelectorAll('#reports tbody a')].map((a) => a.textContent)"
    assert browser.run(titles) == ["b", "a", "c", "10"]
    offset = "document.querySelectorAll('th button')[3]"
    browser.run(f"{offset}.click()")
    assert browser.run(titles) == ["c", "b", "10", "a"]
    browser.run(f"{offset}.click()")
    assert browser.run(titles) == ["10", "b", "c", "a"]
    assert browser.run(f"{offset}.parentNode.ariaSort") == "descending"
