"""How syncctl asks for something: a row that the daemon answers, at once or when it next runs."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Engine, insert

from syncd.clock import utc_now
from syncd.ledger.columns import to_json
from syncd.ledger.engine import durable, transaction, writing_engine
from syncd.ledger.models import requests
from syncd.ledger.records import RequestKind
from syncd.ledger.schema import require_current


class RequestBox:
    """Adds requests, and writes nothing else."""

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
