"""Metrics and health of the real daemon, as a scraper meets them."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from syncd.metrics.server import CONNECTIONS
from syncd.metrics.table import METRICS
from tests.acceptance.service import Service, wait_for
from tests.material import PairTruth
from tests.standin.world import World

SCRAPERS = 20


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        return int(taken.getsockname()[1])


class Scraped:
    """A service that serves metrics, and one who asks."""

    def __init__(self, home: Path) -> None:
        self.port = free_port()
        self.service = Service(home)
        self.listen(f"127.0.0.1:{self.port}")

    def listen(self, address: str, workers: str = 'devices = "cpu"') -> None:
        self.service.extra = f'[workers]\ncpu_slots = 1\n{workers}\n[metrics]\nlisten = "{address}"\n'
        self.service.write_config()

    def start(self) -> None:
        self.service.start()
        wait_for(lambda: self.get("/healthz")[0] == 200, what="the daemon's health")
        wait_for(lambda: self.get("/metrics")[0] == 200, what="the first metrics")

    def get(self, path: str, *, port: int | None = None, timeout_s: float = 10.0) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout_s)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 0, b""
        finally:
            connection.close()

    def samples(self) -> dict[tuple[str, str], float]:
        """By name, and the values of the labels; without samples of buckets."""
        status, text = self.get("/metrics")
        assert status == 200
        return {
            (
                sample.name,
                ",".join(value for label, value in sorted(sample.labels.items()) if label != "le"),
            ): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    def turns_longer_than(self, bound_s: str) -> float:
        """Of the main loop, since the start; `bound_s`: of a bucket, as it is written."""
        text = self.get("/metrics")[1].decode()
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        turns = {s.labels["le"]: s.value for s in samples if s.name == "syncd_loop_turn_duration_seconds_bucket"}
        assert turns["+Inf"] > 0.0
        return turns["+Inf"] - turns[bound_s]

    def threads(self) -> int:
        """The daemon's."""
        assert self.service.process is not None
        return len(list(Path(f"/proc/{self.service.process.pid}/task").iterdir()))

    def health(self) -> tuple[int, dict[str, Any]]:
        status, text = self.get("/healthz")
        return status, json.loads(text) if text else {}

    def drop(self, pair: PairTruth, title: str) -> None:
        shutil.copy(pair.master_path, self.service.drop / f"{title}_master.wav")
        shutil.copy(pair.dub_path, self.service.drop / f"{title}_dub_fr.wav")


@pytest.fixture
def scraped(tmp_path: Path) -> Iterator[Scraped]:
    scraped = Scraped(tmp_path)
    yield scraped
    scraped.service.close()


def test_a_dropped_pair_moves_the_counters(scraped: Scraped, short_pair: PairTruth) -> None:
    scraped.start()
    before = scraped.samples()
    assert before["syncd_results_total", "offset"] == 0.0
    scraped.drop(short_pair, "show")
    (scraped.service.drop / "bad_master.wav").write_bytes(b"no sound at all" * 100)
    shutil.copy(short_pair.dub_path, scraped.service.drop / "bad_dub_fr.wav")
    scraped.service.wait_for_jobs(2)
    after = wait_for(
        lambda: (
            (seen := scraped.samples())["syncd_results_total", "offset"] == 1.0
            and seen.get(("syncd_jobs", "completed")) == seen.get(("syncd_jobs", "failed")) == 1.0
            and seen
        ),
        what="the counters",
    )
    assert after
    assert after["syncd_failures_total", "MEDIA_UNREADABLE"] == 1.0
    assert after["syncd_enqueued_total", ""] == 2.0
    assert after["syncd_admissions_total", "cpu"] == 2.0
    assert after["syncd_attempts_total", ""] == 2.0
    assert after["syncd_jobs", "queued"] == after["syncd_oldest_job_age_seconds", "queued"] == 0.0
    assert after["syncd_job_duration_seconds_count", ""] == 1.0
    assert after["syncd_job_latency_seconds_count", ""] == 2.0
    assert after["syncd_stage_duration_seconds_count", "decode"] == 1.0
    assert after["syncd_worker_starts_total", ""] >= 1.0
    assert after["syncd_device_memory_total_bytes", "cpu"] > 1e8
    assert after["syncd_ledger_bytes", ""] > 0.0
    assert after["syncd_loop_turn_duration_seconds_count", ""] > before["syncd_loop_turn_duration_seconds_count", ""]


def test_every_metric_of_the_table_is_served_under_its_type(scraped: Scraped) -> None:
    scraped.start()
    families = text_string_to_metric_families(scraped.get("/metrics")[1].decode())
    served = {(f"{family.name}_total" if family.type == "counter" else family.name, family.type) for family in families}
    assert served == {(metric.name, metric.kind.value) for metric in METRICS}


def test_a_job_that_runs_is_seen_in_its_slot(scraped: Scraped, long_pair: PairTruth) -> None:
    scraped.start()
    scraped.drop(long_pair, "long")
    seen = wait_for(
        lambda: (now := scraped.samples()).get(("syncd_worker_resident_bytes", "0"), 0.0) > 1e7 and now,
        what="its worker",
    )
    assert seen
    assert seen["syncd_workers", "busy"] == 1.0
    assert seen["syncd_slot_progress_age_seconds", "0"] < 60.0
    assert seen["syncd_device_memory_promised_bytes", "cpu"] > 1e7


def test_health_says_why_when_the_main_loop_waits_for_the_ledger(scraped: Scraped, short_pair: PairTruth) -> None:
    scraped.start()
    with closing(sqlite3.connect(scraped.service.ledger, isolation_level=None)) as somebody:
        somebody.execute("BEGIN IMMEDIATE")
        scraped.drop(short_pair, "show")
        told = wait_for(lambda: (health := scraped.health())[0] == 503 and health[1], what="bad health")
        assert told
        assert not told["healthy"]
        assert "The main loop has not come round" in told["reason"] or "LEDGER_IN_USE" in told["reason"]
        assert scraped.get("/metrics")[0] == 200
        somebody.execute("ROLLBACK")
    wait_for(lambda: scraped.health()[0] == 200, what="good health")
    scraped.service.wait_for_jobs(1)


def test_scrapers_and_such_as_never_read_hold_nobody_up(scraped: Scraped, short_pair: PairTruth) -> None:
    scraped.start()
    threads_before = scraped.threads()
    over = threading.Event()
    answered: list[int] = []

    def scrape() -> None:
        while not over.is_set():
            answered.append(scraped.get("/metrics", timeout_s=30.0)[0])

    threads = [threading.Thread(target=scrape) for _ in range(SCRAPERS)]
    with ExitStack() as stack:
        for number in range(CONNECTIONS - 1):  # Some ask and never read, others never ask; a place is left.
            silent = stack.enter_context(socket.create_connection(("127.0.0.1", scraped.port)))
            if number % 2:
                silent.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        try:
            for thread in threads:
                thread.start()
            scraped.drop(short_pair, "show")
            scraped.service.wait_for_jobs(1)
            wait_for(lambda: len(answered) > 10 * SCRAPERS, what="their answers")
            assert scraped.threads() <= threads_before + 1  # A look at a disk, at most.
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert set(answered) == {200}
    assert scraped.turns_longer_than("1.0") == 0.0


def test_a_port_in_use_is_told_and_ends_the_start(scraped: Scraped) -> None:
    with closing(socket.create_server(("127.0.0.1", scraped.port))):
        assert scraped.service.start().wait(timeout=30.0) == 2
    assert "cannot be listened on: Address already in use" in scraped.service.log()
    assert "Traceback" not in scraped.service.log()


def test_a_reload_moves_the_port_or_keeps_all_as_it_was(scraped: Scraped) -> None:
    scraped.start()
    assert scraped.service.process is not None
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        scraped.listen(f"127.0.0.1:{taken.getsockname()[1]}")
        scraped.service.process.send_signal(signal.SIGHUP)
        wait_for(lambda: "reload_refused" in scraped.service.log(), what="the refusal")
        assert scraped.health()[0] == 200
    moved = free_port()
    scraped.listen(f"127.0.0.1:{moved}")
    scraped.service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: scraped.get("/healthz", port=moved)[0] == 200, what="health at the new port")
    wait_for(lambda: scraped.get("/healthz") == (0, b""), what="silence at the old port")
    scraped.listen("")
    scraped.service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: scraped.get("/healthz", port=moved)[0] == 0, what="silence")
    assert scraped.service.stop() == 0


def test_cards_are_there_with_their_memory_and_why_one_is_not_used(scraped: Scraped) -> None:
    world = World(scraped.service.home / "world")
    world.change(2, health="lost")
    scraped.service.program = ("-m", "tests.standin.daemon")
    scraped.service.environment |= world.environment
    scraped.listen(f"127.0.0.1:{scraped.port}", workers="")
    scraped.start()
    seen = wait_for(lambda: (now := scraped.samples())["syncd_cards", "in_use"] == 2.0 and now, what="the cards")
    assert seen
    assert seen["syncd_cards", "trouble"] == 1.0
    first = world.cards[0].uuid
    assert seen["syncd_device_usable", first] == 1.0
    assert seen["syncd_device_memory_total_bytes", first] == 11_264 << 20
    used_bytes = seen["syncd_device_memory_used_bytes", first]
    assert used_bytes + seen["syncd_device_memory_free_bytes", first] == 11_264 << 20


class SomethingElse(BaseHTTPRequestHandler):
    """Another program on the port."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'["hello"]')


def test_doctor_asks_the_address(scraped: Scraped) -> None:
    def found(*, status: int) -> list[dict[str, Any]]:
        checks = json.loads(scraped.service.syncctl("doctor", "--json", expect=status))["checks"]
        return [check for check in checks if check["name"] == "metrics"]

    served = f"127.0.0.1:{scraped.port}"
    scraped.start()
    assert [(check["finding"], check["message"]) for check in found(status=0)] == [
        ("ok", f"They are served at {served}.")
    ]
    nowhere = f"127.0.0.1:{free_port()}"
    scraped.listen(nowhere)
    (check,) = found(status=1)
    assert (check["finding"], check["message"]) == ("wrong", f"Nobody answers at {nowhere}.")
    assert "systemctl restart syncd" in check["advice"]
    with HTTPServer(("127.0.0.1", 0), SomethingElse) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        scraped.listen(f"127.0.0.1:{other.server_port}")
        assert [check["message"] for check in found(status=1)] == [
            f"Another program answers at 127.0.0.1:{other.server_port}."
        ]
        other.shutdown()
    scraped.listen("")
    assert found(status=0) == []
