"""A ledger that cannot be asked for a while is no end of the service."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

from tests.acceptance.service import Service, wait_for
from tests.material import PairTruth

REFUSES = """
from itertools import count
from syncd import daemon
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.ledger import Ledger
from syncd.ledger.reader import LedgerReader
asked, turn = {of}.{question}, count()
def refusing(ledger):
    if next(turn) in range({first}, {last}):
        raise SyncdError(ErrorCode.DISK_FAULT, "The disk of the ledger reports an error.")
    return asked(ledger)
{of}.{question} = refusing
daemon.main()
"""


@pytest.mark.parametrize("limits", ["", "[limits]\nmax_queued = 5\n"])
def test_a_ledger_that_cannot_be_asked_is_asked_again(service: Service, short_pair: PairTruth, limits: str) -> None:
    """Without a limit only the end of --once asks how many jobs wait, with one the intake does."""
    service.extra = limits
    service.write_config()
    service.program = ("-c", REFUSES.format(of="Ledger", question="queued_count", first=0, last=12))
    shutil.copy(short_pair.master_path, service.drop / "alpha_master.wav")
    shutil.copy(short_pair.dub_path, service.drop / "alpha_dub_fr.wav")
    assert service.run_once() == 0
    assert troubles(service) == ["DISK_FAULT"]


def troubles(service: Service) -> list[str]:
    """Their codes, and that they were told in sentences."""
    assert "Traceback" not in service.log()
    return [json.loads(line)["code"] for line in service.log().splitlines() if '"event": "ledger_trouble"' in line]


def test_a_changed_configuration_is_taken_over_when_the_ledger_can_be_asked_again(
    service: Service, short_pair: PairTruth
) -> None:
    service.program = ("-c", REFUSES.format(of="LedgerReader", question="known_files", first=1, last=6))
    process = service.start()
    wait_for(lambda: '"event": "started"' in service.log(), what="the start")
    other = service.home / "other"
    other.mkdir()
    service.write_config(watch=f"[[watch]]\npath = {json.dumps(str(other))}\nsettle_seconds = 0.3\n")
    process.send_signal(signal.SIGHUP)
    wait_for(lambda: '"event": "reloaded"' in service.log(), what="the reload")
    shutil.copy(short_pair.master_path, other / "alpha_master.wav")
    shutil.copy(short_pair.dub_path, other / "alpha_dub_fr.wav")
    service.wait_for_jobs(1)
    assert troubles(service) == ["DISK_FAULT"]
    assert service.stop() == 0
