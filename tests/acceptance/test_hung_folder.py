"""A watched folder that hangs is told of, and stops nothing else."""

from __future__ import annotations

import json
import shutil
from contextlib import closing

from tests.acceptance.service import Service, wait_for
from tests.chaos.site import StatusLine
from tests.material import PairTruth

HANGS = """
import time
from syncd import daemon, intake
from syncd.watch import watcher
ask = watcher.needs_polling
def hanging(root, mounts):
    while root.endswith("hung"):
        time.sleep(1.0)
    return ask(root, mounts)
watcher.needs_polling, intake.SILENT_S = hanging, 3.0
daemon.main()
"""


def test_the_service_goes_on_beside_a_folder_that_hangs(service: Service, short_pair: PairTruth) -> None:
    hung = service.home / "hung"
    hung.mkdir()
    service.write_config(watch=f"[[watch]]\npath = {json.dumps(str(hung))}\n")
    service.program = ("-c", HANGS)
    service.environment["WATCHDOG_USEC"] = "1000000"
    with closing(StatusLine(service)) as status:
        service.start()
        wait_for(lambda: '"code": "FOLDER_STALLED"' in service.log(), what="a word in the log")
        wait_for(lambda: status.says("hung does not answer"), what="a word in the status")
        wait_for(status.beats, what="a sign of life")
        shutil.copy(short_pair.master_path, service.drop / "alpha_master.wav")
        shutil.copy(short_pair.dub_path, service.drop / "alpha_dub_fr.wav")
        service.wait_for_jobs(1)
        assert service.log().count("FOLDER_STALLED") == 1
        assert service.stop() == 0
