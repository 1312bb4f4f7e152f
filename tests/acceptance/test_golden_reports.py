"""Reports on a few small pairs, through files, daemon and sidecar, against what is kept of them in tests/golden."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from syncd.reports.html import MOST_PAGE_BYTES
from syncd.reports.index import INDEX_NAME
from tests.golden.cases import CASES
from tests.golden.comparing import difference
from tests.golden.reports import drop_all, kept_path, kept_report, stable_report
from tests.material.recipes import Case

every_pair = pytest.mark.parametrize("case", CASES, ids=lambda case: str(case.name))


@pytest.fixture(scope="module")
def sidecars(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return drop_all(tmp_path_factory.mktemp("golden"))


@every_pair
def test_a_report_says_what_it_said(sidecars: dict[str, Path], case: Case) -> None:
    changes = difference(kept_report(case.name), stable_report(sidecars[case.name]))
    assert not changes, f"\n{changes}\nIf that is meant: python -m tests.golden --write"


@every_pair
def test_each_report_has_a_page_that_says_the_same(sidecars: dict[str, Path], case: Case) -> None:
    page = sidecars[case.name].with_suffix(".html").read_text(encoding="utf-8")
    assert json.loads(sidecars[case.name].read_text(encoding="utf-8"))["sync_status"] in html.unescape(page)


@every_pair
def test_each_page_shows_why(sidecars: dict[str, Path], case: Case) -> None:
    text = sidecars[case.name].with_suffix(".html").read_text(encoding="utf-8")
    assert len(text.encode()) <= MOST_PAGE_BYTES
    (found,) = re.findall(r'id="figures">(.*?)</script>', text, re.DOTALL)
    drawn = json.loads(found)["plots"]
    is_placed = case.expects not in {"refusal", "ambiguous"}
    assert drawn["places"]
    assert all((place["after"] is not None) is is_placed for place in drawn["places"])
    assert drawn["whole"]["deviations"]
    if is_placed and drawn["close"] is not None:  # what dialogue alone places does not come close
        assert min(place["likeness_after"] for place in drawn["places"]) > 0.9
        assert max(drawn["close"]["deviations"]) > drawn["close"]["needed"]
        assert max(drawn["whole"]["deviations"]) > drawn["whole"]["needed"]
        assert all(drawn["windows"]["agrees"])
    if case.name == "unrelated":
        assert max(drawn["whole"]["deviations"]) < drawn["whole"]["needed"]


def test_the_folders_index_lists_every_pair(sidecars: dict[str, Path]) -> None:
    folder = next(iter(sidecars.values())).parent
    text = (folder / INDEX_NAME).read_text(encoding="utf-8")
    assert set(re.findall(r'<a href="\./([^"]*)">', text)) == {
        sidecar.with_suffix(".html").name for sidecar in sidecars.values()
    }


@every_pair
def test_what_is_kept_is_true_of_its_pair(case: Case) -> None:
    truth, report = case.truth(), kept_report(case.name)
    found = report["consensus_offset"]
    if case.expects in {"refusal", "ambiguous"}:
        assert found is None
        return
    assert truth.offset_s is not None
    assert found["offset_seconds"] == pytest.approx(truth.offset_s, abs=case.limit_ms / 1_000.0)
    assert report["rate"]["ratio"] == pytest.approx(truth.rate, rel=case.rate_limit_ppm / 1e6)
    matches = [segment for segment in report["timeline"] if segment["kind"] == "match"]
    assert len(matches) == len(truth.segments)
    for match, true in zip(matches, truth.segments, strict=True):
        assert match["offset_seconds"] == pytest.approx(true.offset_s, abs=case.limit_ms / 1_000.0)
        assert match["dub_start"] == pytest.approx(true.dub_start_s, abs=0.1)
        assert match["dub_end"] == pytest.approx(true.dub_end_s, abs=0.1)


def test_nothing_is_kept_of_pairs_that_are_gone() -> None:
    folder = kept_path("any").parent
    assert {path.name for path in folder.glob("*.sync.json")} == {kept_path(case.name).name for case in CASES}
