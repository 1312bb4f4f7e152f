"""A snapshot becomes metrics, and what is written about them names those that exist."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from syncd.delivery import Handed
from syncd.devices.card_history import Cause
from syncd.devices.inventory import DeviceKind
from syncd.devices.views import IDLE, DevicesView, DeviceView, Holder
from syncd.domain import Failure, JobState, Verdict
from syncd.errors import ErrorCode
from syncd.intake import Counted, FolderCounts
from syncd.metrics.families import snapshot_to_text
from syncd.metrics.health import LATE_S, Turn, why_unhealthy
from syncd.metrics.snapshot import LedgerSeen, Snapshot
from syncd.metrics.table import METRICS, Kind
from syncd.supervisor.counted import OTHER_STAGE, STAGES_KEPT, JobsCounted, WorkerEnd, WorkersCounted
from syncd.supervisor.glance import Glance, SlotSeen
from syncd.tally import TURN_S, Spread

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "config" / "alerts.yml"
ALERT_TESTS = ROOT / "config" / "alerts.test.yml"
DASHBOARD = ROOT / "config" / "grafana-dashboard.json"
PAGE = ROOT / "docs" / "metrics.md"
NAMES = {metric.name for metric in METRICS}
LABELS = {metric.name: set(metric.labels) for metric in METRICS}


def spread(*values: float) -> Spread:
    made = Spread(TURN_S)
    for value in values:
        made.add(value)
    return made


def a_card(uuid: str, cause: Cause | None = None, *held_by: Holder) -> DeviceView:
    return DeviceView(
        kind=DeviceKind.GPU,
        index=0,
        name='H "200"\n\udcff',
        uuid=uuid,
        total_bytes=1000,
        free_bytes=400,
        allowed_bytes=750,
        promised_bytes=300,
        held_by=held_by,
        is_usable=cause is None,
        cause=cause,
    )


def a_snapshot() -> Snapshot:
    jobs = JobsCounted()
    jobs.admit(1, DeviceKind.GPU.value)
    jobs.stall("ai")
    jobs.fail(Failure(ErrorCode.NO_AUDIO, "There is none."), 12.0, quarantine=True)
    jobs.stage_s["decode"] = spread(0.5)
    workers = WorkersCounted(started=3)
    workers.ended[WorkerEnd.STALLED] += 1
    ours, idle, stranger = Holder(1, 100, job_id=7), Holder(2, 50, process=IDLE), Holder(3, 450, process="game")
    devices = DevicesView(
        datetime.now(UTC), (a_card("GPU-1", None, ours, idle, stranger), a_card("GPU-2", Cause.ERROR))
    )
    return Snapshot(
        ledger=LedgerSeen(
            jobs={state: number for number, state in enumerate(JobState)},
            oldest_queued_s=30.0,
            oldest_running_s=0.0,
            orphans=4,
            is_paused=True,
            file_bytes=4096,
            log_bytes=0,
        ),
        jobs=jobs,
        workers=workers,
        now=Glance((SlotSeen(1, 5_000_000, 2.5),), 2, 9_000_000, 1, 7.0, is_resting=False, devices=devices),
        intake=Counted(queued=5, missed=2, overflows=1, troubles=Counter({ErrorCode.WATCH_LIMIT: 1})),
        intake_backlog=3,
        folders=FolderCounts(watched=2, missing=1, hung=0),
        handed={Handed.COMMAND_FAILED: 2},
        turns=spread(0.002, 0.2, 100.0),
    )


def samples_of(snapshot: Snapshot) -> dict[tuple[str, ...], float]:
    """By the name and the values of the labels, in the order of their names."""
    families = text_string_to_metric_families(snapshot_to_text(snapshot).decode())
    return {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}


# --- the table ------------------------------------------------------------------------------------------------------


def test_a_snapshot_becomes_samples() -> None:
    samples = samples_of(a_snapshot())
    assert samples["syncd_jobs", "running"] == list(JobState).index(JobState.RUNNING)
    assert samples["syncd_oldest_job_age_seconds", "queued"] == 30.0
    assert samples["syncd_failures_total", "NO_AUDIO"] == samples["syncd_quarantines_total",] == 1.0
    assert samples["syncd_admissions_total", "gpu"] == 1.0
    assert samples["syncd_stalls_total", "ai"] == samples["syncd_worker_ends_total", "stalled"] == 1.0
    assert samples["syncd_watch_troubles_total", "WATCH_LIMIT"] == 1.0
    assert samples["syncd_slot_progress_age_seconds", "1"] == 2.5
    assert samples["syncd_cards", "in_use"] == samples["syncd_cards", "error"] == 1.0
    assert samples["syncd_device_info", "GPU-1", "0", "gpu", 'H "200"\n\\udcff'] == 1.0
    assert samples["syncd_device_memory_used_bytes", "GPU-1"] == 600.0
    assert samples["syncd_paused",] == 1.0
    assert samples["syncd_handover_total", "command_failed"] == 2.0
    assert samples["syncd_handover_total", "not_moved"] == 0.0


def test_what_others_hold_of_a_card_is_not_counted_as_syncds() -> None:
    assert samples_of(a_snapshot())["syncd_device_memory_held_bytes", "GPU-1"] == 150.0


def test_buckets_count_what_lies_below_them_too() -> None:
    samples = samples_of(a_snapshot())
    assert samples["syncd_loop_turn_duration_seconds_bucket", "0.001"] == 0.0
    assert samples["syncd_loop_turn_duration_seconds_bucket", "0.003"] == 1.0
    assert samples["syncd_loop_turn_duration_seconds_bucket", "10.0"] == 2.0
    assert samples["syncd_loop_turn_duration_seconds_bucket", "+Inf"] == 3.0
    assert samples["syncd_loop_turn_duration_seconds_count",] == 3.0
    assert samples["syncd_loop_turn_duration_seconds_sum",] == pytest.approx(100.202)


def test_what_never_happened_is_there_as_zero() -> None:
    samples = samples_of(a_snapshot())
    assert all(samples["syncd_results_total", verdict.value] == 0.0 for verdict in Verdict)
    assert samples["syncd_failures_total", "DISK_FULL"] == samples["syncd_retries_total", "DISK_FULL"] == 0.0
    assert samples["syncd_cards", "silent"] == 0.0


def test_names_follow_the_rules_of_prometheus() -> None:
    assert len(NAMES) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"syncd_[a-z_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind is Kind.COUNTER), metric.name
        assert not metric.name.endswith(("_ms", "_mib", "_minutes")), metric.name
        assert metric.help.endswith("."), metric.name
        assert "job" not in metric.labels, metric.name


@given(st.lists(st.floats()))
def test_a_spread_counts_every_figure_once_and_nothing_else(values: list[float]) -> None:
    counted = [value for value in values if 0.0 <= value < float("inf")]
    assert sum(spread(*values).counts) == len(counted)


# --- what is counted ------------------------------------------------------------------------------------------------


def test_a_job_is_counted_once_for_each_obstacle_that_it_meets_anew() -> None:
    jobs = JobsCounted()
    for obstacle in ("memory", "memory", "slots", "memory"):
        jobs.refuse(1, obstacle)
    jobs.refuse(2, "memory")
    jobs.admit(1, "cpu")
    jobs.refuse(1, "memory")
    assert jobs.refused == {"memory": 4, "slots": 1}


def test_a_worker_that_makes_names_up_makes_no_more_than_so_many_series() -> None:
    jobs = JobsCounted()
    for number in range(1000):
        jobs.stall(f"stage {number}")
    assert len(jobs.stalls) == STAGES_KEPT + 1
    assert jobs.stalls[OTHER_STAGE] == 1000 - STAGES_KEPT


# --- health ---------------------------------------------------------------------------------------------------------


def test_a_loop_that_came_round_a_moment_ago_is_well() -> None:
    assert why_unhealthy(Turn(100.0), 100.0 + LATE_S) is None


def test_health_says_what_is_wrong() -> None:
    assert why_unhealthy(None, 0.0) == "The daemon is starting."
    assert why_unhealthy(Turn(100.0), 112.0) == "The main loop has not come round for 12 s."
    assert why_unhealthy(Turn(100.0, "DISK_FULL: There is no room."), 100.5) == "DISK_FULL: There is no room."


# --- what is written about them -------------------------------------------------------------------------------------


def names_in(query: str) -> set[str]:
    return {re.sub(r"_(bucket|count|sum)$", "", name) for name in re.findall(r"\bsyncd_\w+", query)}


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def queries() -> Iterator[str]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            yield target["expr"]


def selectors(query: str) -> Iterator[tuple[str, set[str]]]:
    """Each metric of a query, with the labels that it is chosen by."""
    for name, chosen in re.findall(r"\b(syncd_\w+)\{([^}]*)\}", query):
        yield re.sub(r"_(bucket|count|sum)$", "", name), set(re.findall(r"(\w+)\s*[=!]", chosen))


def test_every_alert_is_about_metrics_that_exist_and_says_what_to_do() -> None:
    for rule in rules():
        assert names_in(rule["expr"]) <= NAMES, rule["alert"]
        assert names_in(rule["expr"]) or rule["alert"] == "SyncdDown"
        for name, labels in selectors(rule["expr"]):
            assert labels <= LABELS[name] | {"instance"}, rule["alert"]
        assert rule["labels"]["severity"] in {"info", "warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "description"}


def test_every_alert_is_tried_both_ways() -> None:
    tests = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))["tests"]
    tried: dict[str, set[float]] = {}
    for case in (case for test in tests for case in test["promql_expr_test"]):
        alert = re.search(r'alertname="(\w+)"', case["expr"])
        assert alert
        tried.setdefault(alert[1], set()).update(sample["value"] for sample in case["exp_samples"])
    assert tried == {rule["alert"]: {0, 1} for rule in rules()}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
@pytest.mark.parametrize("arguments", [("check", "rules", ALERTS), ("test", "rules", ALERT_TESTS)], ids=lambda a: a[0])
def test_promtool_finds_the_alerts_in_order(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
def test_promtool_finds_nothing_to_say_against_the_metrics() -> None:
    done = subprocess.run(
        ["promtool", "check", "metrics"],
        input=snapshot_to_text(a_snapshot()),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_query_of_the_dashboard_is_about_metrics_that_exist() -> None:
    for query in queries():
        assert names_in(query), query
        assert names_in(query) <= NAMES, query
        for name, labels in selectors(query):
            assert labels <= LABELS[name] | {"instance"}, query


def test_the_dashboard_can_be_imported_and_shows_every_metric() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    asked = {entry["name"] for entry in dashboard["__inputs"]}
    used = set(re.findall(r'"uid": "\$\{(\w+)\}"', DASHBOARD.read_text(encoding="utf-8")))
    assert used == asked
    assert all({"h", "w", "x", "y"} == set(panel["gridPos"]) for panel in dashboard["panels"])
    assert set().union(*(names_in(query) for query in queries())) == NAMES


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian's package prometheus)")
def test_promtool_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    recorded = [
        {"record": f"query_{number}", "expr": query.replace("$__rate_interval", "5m").replace("$instance", ".*")}
        for number, query in enumerate(queries())
    ]
    path = tmp_path / "queries.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": recorded}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", path], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_page_lists_every_metric_as_it_is() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for metric in METRICS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        assert f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} |" in text
    assert names_in(text) <= NAMES


def test_the_page_lists_every_alert() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(Syncd\w+)` \|", text, flags=re.MULTILINE)) == {rule["alert"] for rule in rules()}
