"""Makes the kept ledger of the current revision: ``python -m tests.upgrade.make_ledger``.

Run once for each new revision, before it is released, and the file committed; a kept file is never made again.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from syncd.domain import Progress
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import RequestKind
from syncd.ledger.requests import RequestBox
from syncd.ledger.schema import REVISION, back_up
from tests.integration.ledger_material import (
    CRASH,
    INFO,
    METHOD,
    a_pair,
    an_orphan,
    claim,
    complete,
    enqueue,
    fail,
    start,
    stems_of,
)

KEPT = Path(__file__).parent


def kept_path(revision: str) -> Path:
    """Where the ledger of that revision lies."""
    return KEPT / f"ledger-{revision}.db"


def fill(path: Path) -> None:
    """One row of every kind, in every state, as a daemon killed at work leaves them."""
    ledger = Ledger.open(path)
    complete(ledger, start(ledger, a_pair("Completed")))
    fail(ledger, start(ledger, a_pair("Failed")))
    fail(ledger, start(ledger, a_pair("Quarantined")), CRASH, quarantine=True)
    ledger.cancel(enqueue(ledger, a_pair("Canceled")).job_id)
    enqueue(ledger, a_pair("Superseded"))
    enqueue(ledger, a_pair("Superseded", dub_version=2))
    retried = start(ledger, a_pair("Retried"))
    ledger.retry_later(retried, CRASH, not_before=datetime(2026, 1, 1, tzinfo=UTC))
    probed = a_pair("Running")
    running = claim(ledger, enqueue(ledger, probed).job_id)
    ledger.record_media_info(probed.master.path, probed.master.identity, INFO)
    ledger.record_progress(running, Progress("decode", 1, 2, "decoding master"), eta_s=3.0)
    ledger.record_method(running, METHOD)
    complete(ledger, start(ledger, replace(a_pair("Stems"), dub=stems_of("Stems_dub_fr"))))
    ledger.record_orphan(an_orphan())
    ledger.set_paused(True)
    box = RequestBox.open(path)
    box.add(RequestKind.CANCEL, {"job_ids": [1]})
    box.close()
    ledger.close()


def main() -> int:
    """Make it, unless it is kept already."""
    kept = kept_path(REVISION)
    if kept.exists():
        sys.stderr.write(f"{kept.name} is kept already and stays as it is.\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        fill(path)
        kept.write_bytes(back_up(path, REVISION).read_bytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
