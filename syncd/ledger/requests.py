"""How syncctl asks for something: a row that the daemon answers, at once or when it next runs."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Engine, insert, update

from syncd.clock import utc_now
from syncd.domain import Failure
from syncd.ledger.columns import to_json
from syncd.ledger.engine import durable, transaction, writing_engine
from syncd.ledger.file import LedgerFile
from syncd.ledger.models import requests
from syncd.ledger.records import Request, RequestKind
from syncd.ledger.rows import select_requests, to_request
from syncd.ledger.schema import require_current
from syncd.ledger.transitions import NO_FAILURE, failure_values

_PENDING: Final = select_requests().where(requests.c.finished_at.is_(None))
"""Asked for many times a second: built once."""


class RequestBox:
    """syncctl's side: adds requests, and writes nothing else."""

    def __init__(self, path: Path, engine: Engine) -> None:
        self._path = path
        self._engine = engine

    @classmethod
    def open(cls, path: Path) -> RequestBox:
        """Raises `SyncdError` NO_LEDGER, LEDGER_NEWER, LEDGER_DAMAGED, PERMISSION_DENIED."""
        require_current(path)
        return cls(path, durable(writing_engine(path)))

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    def add(self, kind: RequestKind, payload: dict[str, object]) -> int:
        """Kept on the disk when this returns; returns the request's id. Paths by `path_to_json`."""
        with transaction(self._engine, self._path) as connection:
            added = connection.execute(
                insert(requests)
                .values(kind=kind.value, payload=to_json(payload), created_at=utc_now())
                .returning(requests.c.id)
            )
            return int(added.scalar_one())


class RequestTray:
    """`Ledger.requests`: the daemon's side of it."""

    def __init__(self, file: LedgerFile) -> None:
        self._file = file

    def pending(self) -> list[Request]:
        """What was asked and nobody answered yet, in order."""
        with self._file.reading() as connection:
            return [to_request(row) for row in connection.execute(_PENDING)]

    def finish(
        self, request_id: int, *, outcome: dict[str, object] | None = None, error: Failure | None = None
    ) -> None:
        """The answer to a request."""
        values = NO_FAILURE if error is None else failure_values(error)
        with self._file.writing() as connection:
            connection.execute(
                update(requests)
                .where(requests.c.id == request_id, requests.c.finished_at.is_(None))
                .values(finished_at=utc_now(), outcome=None if outcome is None else to_json(outcome), **values)
            )
