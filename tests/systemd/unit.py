"""syncd.service in a machine: what systemd, the journal and syncctl say of it."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import Any, Final

from tests.acceptance.service import wait_for
from tests.material import PairTruth
from tests.systemd.machine import Machine

CONFIG: Final = """
[cache]
path = "/var/cache/syncd"
[[watch]]
path = "/srv/drop"
settle_seconds = 0.3
{watch}
[profiles.default]
methods = ["correlation", "spectral"]
"""
QUICK: Final = "[Service]\nRestartSec=200ms\nTimeoutAbortSec=1\n"
"""What a test need not wait for."""
SYNCCTL: Final = "/opt/syncd/bin/syncctl"


@dataclass
class Unit:
    """The service."""

    machine: Machine
    began: str = "@0"
    """When this test did, as journalctl takes it."""

    def reset(self) -> None:
        """Stopped, with an empty ledger, an empty folder and no drop-ins but what makes tests quick."""
        self.stop()
        self.machine.shell(
            "systemctl reset-failed syncd 2>/dev/null || true\n"
            "rm -rf /run/systemd/system/syncd.service.d /var/lib/syncd /var/cache/syncd /srv/other\n"
            "find /srv/drop -mindepth 1 -delete"
        )
        self.drop_in("90-quick", QUICK)
        self.configure()
        self.began = self.machine.run("date", "+@%s.%6N").stdout.strip()

    def configure(self, watch: str = "") -> None:
        self.machine.write("/etc/syncd/syncd.toml", CONFIG.format(watch=watch))

    def drop_in(self, name: str, text: str) -> None:
        self.machine.write(f"/run/systemd/system/syncd.service.d/{name}.conf", text)
        self.machine.run("systemctl", "daemon-reload")

    # --- systemd -----------------------------------------------------------------------------------------------------

    def systemctl(self, *arguments: str, expect: int = 0) -> str:
        done = self.machine.run("systemctl", *arguments, "syncd.service", check=False)
        assert done.returncode == expect, (
            f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}\n{self.journal()}"
        )
        return done.stdout + done.stderr

    def start(self) -> None:
        self.systemctl("start")

    def stop(self) -> None:
        self.machine.run("systemctl", "stop", "syncd.service")

    def shown(self, property_name: str) -> str:
        return self.machine.run("systemctl", "show", "-P", property_name, "syncd.service").stdout.strip()

    @property
    def pid(self) -> int:
        return int(self.shown("MainPID"))

    def wait_for_shown(self, property_name: str, value: str) -> None:
        wait_for(lambda: self.shown(property_name) == value, what=f"{property_name}={value}")

    def wait_for_status(self, part: str) -> str:
        return (
            wait_for(lambda: part in (text := self.shown("StatusText")) and text, what=f"a status with «{part}»") or ""
        )

    def wait_for_new_pid(self, former: int) -> int:
        return wait_for(lambda: self.shown("ActiveState") == "active" and self.pid not in {0, former} and self.pid)

    # --- the journal -------------------------------------------------------------------------------------------------

    def journal(self, *arguments: str) -> str:
        """What it and systemd have written since the test began."""
        return self.machine.run(
            "journalctl", "--unit=syncd", "--output=cat", f"--since={self.began}", *arguments
        ).stdout

    def wait_for_journal(self, part: str) -> None:
        wait_for(lambda: part in self.journal(), what=f"«{part}» in the journal")

    # --- files and jobs ----------------------------------------------------------------------------------------------

    def bring(self, pair: PairTruth) -> None:
        """Both files to /files, from where the machine takes them."""
        shutil.copy(pair.master_path, self.machine.files / "master.wav")
        shutil.copy(pair.dub_path, self.machine.files / "dub.wav")

    def drop(self, pair: PairTruth, title: str = "film", folder: str = "/srv/drop") -> str:
        """The pair, as root's files; returns where the report will lie."""
        self.bring(pair)
        self.machine.shell(
            f"cp /files/master.wav {folder}/{title}_master.wav; cp /files/dub.wav {folder}/{title}_dub_fr.wav"
        )
        return f"{folder}/{title}_dub_fr.wav.sync.json"

    def syncctl(self, *arguments: str, user: str | None = None, expect: int = 0) -> Any:
        done = self.machine.run(SYNCCTL, *arguments, "--json", user=user, check=False)
        assert done.returncode == expect, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return json.loads(done.stdout)

    def jobs(self) -> list[dict[str, Any]]:
        return list(self.syncctl("list")["jobs"])

    def wait_for_job(self, state: str) -> dict[str, Any]:
        """The one job that there is."""

        def reached() -> dict[str, Any] | None:
            jobs = self.jobs()
            return jobs[0] if len(jobs) == 1 and jobs[0]["state"] == state else None

        try:
            found = wait_for(reached, what=f"a job that is {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.jobs()}\n{self.journal()}") from error
        assert found is not None
        return found

    def report(self, path: str) -> dict[str, Any]:
        return dict(json.loads(self.machine.run("cat", path).stdout))
