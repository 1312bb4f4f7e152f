"""The files of a side that came as one mono file a channel, as the ledger keeps them: JSON in one column of `media`."""

from __future__ import annotations

import json
from typing import Any

from sqlalchemy import Text
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

from syncd.domain import FileStamp, Identity, Stem
from syncd.ledger.records import path_from_json, path_to_json


class StemsText(TypeDecorator[tuple[Stem, ...]]):
    """The stems, NULL for an ordinary file."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: tuple[Stem, ...] | None, dialect: Dialect) -> str | None:  # noqa: ARG002 - SQLAlchemy's form
        """Write them as JSON in ASCII."""
        return json.dumps([_to_json(stem) for stem in value], separators=(",", ":")) if value else None

    def process_result_value(self, value: Any, dialect: Dialect) -> tuple[Stem, ...]:  # noqa: ARG002 - as above
        """Read them back."""
        return () if value is None else tuple(_from_json(stem) for stem in json.loads(value))


def _to_json(stem: Stem) -> dict[str, Any]:
    identity, stamp = stem.identity, stem.stamp
    return {
        "channel": stem.channel,
        "file": path_to_json(stem.path),
        "identity": [identity.size_bytes, identity.mtime_ns, identity.fingerprint],
        "stamp": [
            stamp.device,
            stamp.inode,
            stamp.size_bytes,
            stamp.mtime_ns,
            stamp.ctime_ns,
            stamp.blocks,
        ],
    }


def _from_json(stem: dict[str, Any]) -> Stem:
    identity, stamp = Identity(*stem["identity"]), FileStamp(*stem["stamp"])
    return Stem(stem["channel"], path_from_json(stem["file"]), identity, stamp)
