"""How commands reach the ledger: reading directly, changing by request."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from syncd.cli.output import printable
from syncd.config import Config, find_config_path, ledger_path_despite_faults, load_config
from syncd.errors import ErrorCode, SyncdError
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import Request, RequestKind
from syncd.ledger.requests import RequestBox

ANSWER_WAIT_S: Final = 5.0
POLL_S: Final = 0.05


def configuration(given: Path | None) -> Config:
    """The configuration that holds for this command."""
    return load_config(find_config_path(given))


def ledger_path(given: Path | None) -> Path:
    """Where the ledger lies; faults elsewhere in the configuration, with which a running daemon has not been
    bothered yet, are warned of."""
    config_path = find_config_path(given)
    try:
        return load_config(config_path).ledger.path
    except SyncdError as error:
        path = ledger_path_despite_faults(config_path)
        if path is None:
            raise
        _warn(f"{error} Until then this ledger is used: {path}")
        return path


@cache
def _warn(message: str) -> None:
    """Once, however often a command asks."""
    sys.stderr.write(f"syncctl: warning: {printable(message)}\n")


@contextmanager
def ledger(given: Path | None) -> Iterator[LedgerReader]:
    """The ledger, for reading."""
    reader = LedgerReader.open(ledger_path(given))
    try:
        yield reader
    finally:
        reader.close()


def ask(given: Path | None, kind: RequestKind, payload: dict[str, object]) -> Request:
    """Leave a request, and wait a moment for its answer if the daemon runs; raises the error that it gets."""
    (request,) = ask_all(given, kind, [payload])
    if request.error is not None:
        raise SyncdError(request.error.code, request.error.message, request.error.details)
    return request


def ask_all(given: Path | None, kind: RequestKind, payloads: Sequence[dict[str, object]]) -> list[Request]:
    """The same for many: all are left before the first answer is waited for, and errors are in the answers."""
    path = ledger_path(given)
    box = RequestBox.open(path)
    try:
        request_ids = [box.add(kind, payload) for payload in payloads]
    finally:
        box.close()
    deadline_s = time.monotonic() + ANSWER_WAIT_S
    with ledger(given) as reader:
        return [_await_answer(reader, request_id, deadline_s) for request_id in request_ids]


def _await_answer(reader: LedgerReader, request_id: int, deadline_s: float) -> Request:
    while True:
        request = reader.request(request_id)
        if request is None:
            raise SyncdError(ErrorCode.INTERNAL, f"Request {request_id} is gone from the ledger.")
        if request.finished_at is not None or time.monotonic() > deadline_s or not reader.daemon_is_running():
            return request
        time.sleep(POLL_S)


def kept_note(request: Request) -> str:
    """What to tell when there is no answer yet."""
    return (
        f"Recorded as request {request.request_id}; syncd carries it out as soon as it runs. "
        "Should it be refused then, 'syncctl doctor' says so."
    )
