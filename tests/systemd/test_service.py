"""The installed service under a real systemd."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest

from syncd.cli.service_files import Installation, service_files
from tests.acceptance.service import wait_for
from tests.material import PairTruth
from tests.systemd.conftest import boot
from tests.systemd.unit import SYNCCTL, Unit

BACKLOG = """
for title in alpha beta; do
    cp /files/master.wav /srv/drop/${title}_master.wav
    cp /files/dub.wav /srv/drop/${title}_dub_fr.wav
done
systemctl enable syncd.service
"""

HANGING = """
import threading
from pathlib import Path
from syncd import daemon
step = daemon.Dispatcher.step
def hang(self, now_s):
    if (order := Path("/var/lib/syncd/hang")).exists():
        order.unlink()
        threading.Event().wait()
    return step(self, now_s)
daemon.Dispatcher.step = hang
daemon.main()
"""

TELLS = """#!/bin/sh
echo "$SYNCD_VERDICT $SYNCD_OFFSET_SECONDS" >/srv/other/told
"""

ASKS_FOR_ALL = """
[[watch]]
path = "/srv/other"
settle_seconds = 0.3
[metrics]
listen = "127.0.0.1:9419"
[handover]
on_complete = ["/usr/local/bin/tell"]
"""

RESULT = 'syncd_results_total{verdict="offset"} 1.0'
SCRAPE = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9419/metrics').read().decode())"


def start_with_a_job_running(unit: Unit, pair: PairTruth) -> int:
    unit.start()
    unit.drop(pair)
    unit.wait_for_job("running")
    return unit.pid


def test_it_starts_and_a_dropped_pair_gets_its_report(unit: Unit, short_pair: PairTruth) -> None:
    unit.start()
    report_path = unit.drop(short_pair)
    unit.wait_for_job("completed")
    report = unit.report(report_path)
    assert report["consensus_offset"]["offset_seconds"] == pytest.approx(short_pair.offset_s, abs=0.001)
    status = unit.wait_for_status("0 queued, 0 running")
    assert f'Status: "{status}"' in unit.systemctl("status")
    for event in ("started", "enqueue", "report"):
        assert f"{event} " in unit.journal(f"SYNCD_EVENT={event}")


def test_what_it_says_is_filed_by_how_grave_it_is(unit: Unit) -> None:
    unit.configure(watch="[[watch]]\npath = '/srv/nowhere'")
    unit.start()
    unit.wait_for_journal("/srv/nowhere")
    grave = unit.journal("--priority=warning")
    assert "/srv/nowhere" in grave
    assert "started version=" not in grave


def test_a_reload_takes_a_good_configuration_over(unit: Unit, short_pair: PairTruth) -> None:
    unit.machine.shell("install -d -o syncd -g syncd -m 2775 /srv/drop/second")
    unit.configure()
    unit.start()
    pid = unit.pid
    unit.configure(watch='recursive = false\n[[watch]]\npath = "/srv/drop/second"\nsettle_seconds = 0.3')
    unit.systemctl("reload")
    unit.wait_for_journal("reloaded folders=")
    unit.drop(short_pair, folder="/srv/drop/second")
    unit.wait_for_job("completed")
    assert unit.pid == pid


def test_a_reload_with_a_broken_configuration_fails_and_changes_nothing(unit: Unit, short_pair: PairTruth) -> None:
    unit.start()
    pid = unit.pid
    unit.machine.write("/etc/syncd/syncd.toml", "[workers]\ncpu_slots = 0\n")
    unit.systemctl("reload", expect=1)
    assert "workers.cpu_slots" in unit.journal()
    unit.wait_for_status("workers.cpu_slots")
    unit.wait_for_shown("ActiveState", "active")
    unit.configure()  # Of which the commands read where the ledger is.
    unit.drop(short_pair)
    unit.wait_for_job("completed")
    assert "workers.cpu_slots" in unit.wait_for_status("0 queued, 0 running")
    unit.systemctl("reload")
    wait_for(lambda: "cpu_slots" not in unit.shown("StatusText"), what="a status without it")
    assert unit.pid == pid


def test_a_stop_hands_the_running_job_back_within_five_seconds(unit: Unit, long_pair: PairTruth) -> None:
    start_with_a_job_running(unit, long_pair)
    began_s = time.monotonic()
    unit.stop()
    took_s = time.monotonic() - began_s
    assert took_s < 5.0
    assert unit.shown("Result") == "success"
    job = unit.wait_for_job("queued")
    assert job["interruptions"] == 0
    unit.start()
    unit.wait_for_job("completed")


def test_when_killed_it_is_started_again_and_goes_on(unit: Unit, long_pair: PairTruth) -> None:
    pid = start_with_a_job_running(unit, long_pair)
    unit.machine.run("kill", "-KILL", str(pid))
    unit.wait_for_new_pid(pid)
    assert int(unit.shown("NRestarts")) == 1
    job = unit.wait_for_job("completed")
    assert job["interruptions"] == 1


def test_when_its_main_loop_stands_still_the_watchdog_starts_it_again(unit: Unit, short_pair: PairTruth) -> None:
    unit.drop_in("91-watchdog", "[Service]\nWatchdogSec=2\n")
    unit.start()
    pid = unit.pid
    unit.machine.run("kill", "-STOP", str(pid))
    unit.wait_for_new_pid(pid)
    assert "Watchdog timeout" in unit.journal()
    unit.drop(short_pair)
    unit.wait_for_job("completed")


def test_when_only_its_main_loop_hangs_the_journal_gets_the_stack(unit: Unit) -> None:
    """All its other threads go on: none of them may speak for the loop."""
    unit.machine.write("/opt/syncd/hanging.py", HANGING)
    program = "[Service]\nWatchdogSec=2\nExecStart=\nExecStart=/opt/syncd/bin/python /opt/syncd/hanging.py\n"
    unit.drop_in("91-watchdog", program)
    unit.start()
    pid = unit.pid
    unit.machine.shell("touch /var/lib/syncd/hang")
    unit.wait_for_new_pid(pid)
    told = unit.journal()
    assert "Watchdog timeout" in told
    assert "Fatal Python error: Aborted" in told
    assert "in hang" in told


def test_a_busy_main_loop_keeps_the_watchdog_content(unit: Unit, long_pair: PairTruth) -> None:
    unit.drop_in("91-watchdog", "[Service]\nWatchdogSec=2\n")
    pid = start_with_a_job_running(unit, long_pair)
    unit.wait_for_job("completed")
    assert unit.pid == pid


def test_a_wrong_configuration_is_not_tried_again(unit: Unit) -> None:
    unit.machine.write("/etc/syncd/syncd.toml", "colour = 1\n")
    unit.systemctl("start", expect=1)
    assert (unit.shown("SubState"), unit.shown("ExecMainStatus"), unit.shown("NRestarts")) == ("failed", "2", "0")
    assert "colour" in unit.journal()
    unit.configure()
    unit.start()


def test_another_daemon_on_the_ledger_is_not_fought(unit: Unit) -> None:
    unit.machine.shell("install -d -o syncd -g syncd -m 2770 /var/lib/syncd /var/cache/syncd")
    unit.machine.run("systemd-run", "--unit=other", "--uid=syncd", "--gid=syncd", "/opt/syncd/bin/syncd")
    try:
        wait_for(lambda: "started version=" in unit.machine.run("journalctl", "--unit=other").stdout, what="the other")
        unit.systemctl("start", expect=1)
        assert (unit.shown("SubState"), unit.shown("ExecMainStatus"), unit.shown("NRestarts")) == ("failed", "11", "0")
    finally:
        unit.machine.run("systemctl", "stop", "other.service")
    unit.start()


def test_people_of_the_group_read_and_steer_it_and_others_do_not(unit: Unit, short_pair: PairTruth) -> None:
    unit.start()
    unit.bring(short_pair)
    unit.machine.shell("umask 022; cp /files/master.wav /srv/drop/a.wav; cp /files/dub.wav /srv/drop/b.wav", user="ann")
    unit.syncctl("pause", user="ann")
    submitted = unit.syncctl("submit", "/srv/drop/a.wav", "/srv/drop/b.wav", user="ann")
    assert submitted
    unit.wait_for_job("queued")
    unit.wait_for_status("paused")
    unit.syncctl("resume", user="ann")
    unit.wait_for_job("completed")
    assert unit.syncctl("list", user="ann")["jobs"][0]["state"] == "completed"
    refused = unit.syncctl("list", user="bob", expect=1)
    assert refused["error"]["code"] == "PERMISSION_DENIED"


def test_people_of_the_group_leave_requests_while_it_is_stopped(unit: Unit, short_pair: PairTruth) -> None:
    unit.start()
    unit.stop()
    unit.bring(short_pair)
    unit.machine.shell("cp /files/master.wav /srv/drop/a.wav; cp /files/dub.wav /srv/drop/b.wav", user="ann")
    unit.syncctl("submit", "/srv/drop/a.wav", "/srv/drop/b.wav", user="ann")
    unit.start()
    unit.wait_for_job("completed")


@pytest.mark.parametrize("who", ["root", "ann"])
def test_a_ledger_that_somebody_made_anew_is_the_services_to_write(unit: Unit, who: str, short_pair: PairTruth) -> None:
    unit.start()
    unit.drop(short_pair)
    unit.wait_for_job("completed")
    unit.stop()
    unit.machine.shell("rm /var/lib/syncd/ledger.db*")
    unit.syncctl("rebuild", user=who)
    unit.start()
    assert unit.wait_for_job("completed")["title"] == "film"
    unit.syncctl("pause", user="ann")
    unit.wait_for_status("paused")


def test_with_the_drop_in_for_gpus_it_runs_without_one_too(unit: Unit, short_pair: PairTruth) -> None:
    files = service_files(Installation(Path("/opt/syncd/bin"), has_gpu=True))
    (text,) = [file.text for file in files if file.path.name == "50-gpu.conf"]
    unit.drop_in("50-gpu", text or "")
    assert (unit.shown("PrivateDevices"), unit.shown("MemoryDenyWriteExecute")) == ("no", "no")
    unit.start()
    unit.drop(short_pair)
    unit.wait_for_job("completed")


def test_only_root_places_the_service(unit: Unit) -> None:
    refused = unit.syncctl("install-service", user="ann", expect=2)
    assert "Only root" in refused["error"]["message"]
    answer = unit.syncctl("install-service", "--cpu")
    kept = {file["path"] for file in answer["files"] if file["fate"] == "kept"}
    assert kept == {"/etc/syncd/syncd.toml"}  # The test's own.
    unit.machine.run("rm", "/etc/systemd/system/syncd.service.d/50-models.conf")


def test_the_doctor_is_content_with_what_was_installed(unit: Unit) -> None:
    unit.start()
    assert unit.syncctl("doctor", user="ann")["ok"]


def test_a_folder_outside_is_added_by_a_drop_in(unit: Unit, short_pair: PairTruth) -> None:
    unit.machine.shell("install -d -o syncd -g syncd -m 2775 /srv/other")
    unit.configure(watch='[[watch]]\npath = "/srv/other"\nsettle_seconds = 0.3')
    unit.start()
    unit.drop(short_pair, folder="/srv/other")
    unit.wait_for_journal("PERMISSION_DENIED")
    unit.drop_in("50-folders", "[Service]\nReadWritePaths=/srv/other\n")
    unit.systemctl("restart")
    report = "/srv/other/film_dub_fr.wav.sync.json"
    wait_for(lambda: unit.machine.run("test", "-s", report, check=False).returncode == 0, what="the report")
    assert unit.report(report)["verdict"] == "offset"


def test_a_pair_beside_which_no_report_could_be_written_is_refused_before_it_is_measured(
    unit: Unit, short_pair: PairTruth
) -> None:
    unit.machine.shell("install -d -o syncd -g syncd -m 2775 /srv/other; install -d -m 755 /srv/drop/closed")
    unit.start()
    unit.bring(short_pair)
    unit.machine.shell("for to in /srv/other /srv/drop/closed; do cp /files/master.wav /files/dub.wav $to; done")
    outside, closed = (
        unit.syncctl("submit", f"{folder}/master.wav", f"{folder}/dub.wav", user="ann", expect=1)["requests"][0][
            "error"
        ]
        for folder in ("/srv/other", "/srv/drop/closed")
    )
    assert (outside["code"], closed["code"]) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    assert "/srv/other is read-only for the service" in outside["message"]
    assert "ReadWritePaths=" in outside["message"]
    assert "runs as the user syncd, may not write to /srv/drop/closed" in closed["message"]


def test_what_its_configuration_asks_for_is_allowed_once_install_service_was_called(
    unit: Unit, short_pair: PairTruth
) -> None:
    """A folder elsewhere, metrics on loopback, and a command for what has ended."""
    unit.machine.shell("install -d -o syncd -g syncd -m 2775 /srv/other")
    unit.machine.write("/usr/local/bin/tell", TELLS)
    unit.machine.run("chmod", "755", "/usr/local/bin/tell")
    unit.configure(watch=ASKS_FOR_ALL)
    try:
        unit.syncctl("install-service", "--cpu")
        unit.machine.run("systemctl", "daemon-reload")
        unit.start()
        unit.drop(short_pair, folder="/srv/other")
        wait_for(lambda: unit.machine.run("test", "-s", "/srv/other/told", check=False).returncode == 0, what="word")
        verdict, offset_s = unit.machine.run("cat", "/srv/other/told").stdout.split()
        assert verdict == "offset"
        assert float(offset_s) == pytest.approx(short_pair.offset_s, abs=0.001)
        wait_for(
            lambda: RESULT in unit.machine.run("/opt/syncd/bin/python", "-c", SCRAPE).stdout,
            what="the job in the metrics",
        )
    finally:
        unit.stop()
        unit.machine.shell("rm -r /etc/systemd/system/syncd.service.d /usr/local/bin/tell; systemctl daemon-reload")


def test_an_address_that_the_unit_does_not_allow_is_refused_by_a_reload_and_ends_no_daemon(unit: Unit) -> None:
    unit.start()
    pid = unit.pid
    unit.configure(watch='[metrics]\nlisten = "127.0.0.1:9419"')
    unit.systemctl("reload")
    assert "install-service" in unit.wait_for_status("old configuration kept: metrics.listen")
    assert unit.pid == pid
    unit.stop()
    unit.systemctl("start", expect=1)
    assert unit.shown("ExecMainStatus") == "2"


def test_it_sees_that_somebody_else_still_writes_a_file(unit: Unit, short_pair: PairTruth) -> None:
    """With the capability for leases, and nothing beside it."""
    unit.start()
    effective = unit.machine.shell(f"grep -E '^(CapEff|NoNewPrivs|Seccomp):' /proc/{unit.pid}/status").split()
    assert effective == ["CapEff:", f"{1 << 28:016x}", "NoNewPrivs:", "1", "Seccomp:", "2"]
    unit.bring(short_pair)
    unit.machine.shell(
        "systemd-run --unit=writer bash -c 'exec 3>/srv/drop/film_dub_fr.wav; cat /files/dub.wav >&3; sleep infinity'"
    )
    try:
        unit.machine.run("cp", "/files/master.wav", "/srv/drop/film_master.wav")
        unit.machine.shell(
            "cp /files/master.wav /srv/drop/tell_master.wav; cp /files/dub.wav /srv/drop/tell_dub_fr.wav"
        )
        assert unit.wait_for_job("completed")["title"] == "tell"
    finally:
        unit.machine.run("systemctl", "stop", "writer.service")
    wait_for(lambda: {job["state"] for job in unit.jobs()} == {"completed"} and len(unit.jobs()) == 2, what="both")


def test_at_boot_it_works_off_what_lies_there(wheel: Path, short_pair: PairTruth, tmp_path: Path) -> None:
    for path, name in ((short_pair.master_path, "master.wav"), (short_pair.dub_path, "dub.wav")):
        shutil.copy(path, tmp_path / name)
    machine = boot(wheel, tmp_path, prepare=BACKLOG)
    try:
        done = wait_for(
            lambda: (
                machine.run("bash", "-c", "ls /srv/drop/*.sync.json", check=False).stdout.splitlines()
                == ["/srv/drop/alpha_dub_fr.wav.sync.json", "/srv/drop/beta_dub_fr.wav.sync.json"]
            ),
            what="both reports",
        )
        assert done
        jobs = machine.run(SYNCCTL, "list", "--state", "completed", "--json").stdout
        assert jobs.count('"job_id"') == 2
    finally:
        machine.shut_down()
