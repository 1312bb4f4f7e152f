"""What the process that asks the driver tells the daemon, framed as in `syncd.protocol`; it is never answered::

nvml_child                          daemon
    │  Found ────────────────────────►│   once at first, and whenever the number of cards changes
    │  Read  ────────────────────────►│   a card, every interval; each card for itself
    │  Erred ────────────────────────►│   the card's driver told of an error (Xid)
    │  Absent ───────────────────────►│   instead of all that: there is nothing to ask; then it ends
"""

from __future__ import annotations

from typing import Final

import msgspec

from syncd.devices.readings import GpuReading
from syncd.protocol import Message, ProtocolError


class Found(Message, frozen=True):
    """The driver is there."""

    driver_version: str
    card_count: int


class Read(Message, frozen=True):
    """What one card says."""

    index: int
    at_s: float
    """Monotonic, when it was asked: the same clock in every process of the machine."""
    readings: tuple[GpuReading, ...]
    """One; of a card that is cut into slices, one a slice; none in `trouble`."""
    trouble: str | None = None
    """Why the card does not answer, in the driver's words."""


class Erred(Message, frozen=True):
    """The driver told of an error of a card."""

    index: int
    xid: int


class Absent(Message, frozen=True):
    """There are no cards to ask about."""

    reason: str
    """One sentence."""
    for_good: bool
    """As long as nobody installs a driver; else it may come yet (a module that is loaded late)."""


FromChild = Found | Read | Erred | Absent

_decoder: Final[msgspec.msgpack.Decoder[FromChild]] = msgspec.msgpack.Decoder(FromChild)


def decode_from_child(body: bytes) -> FromChild:
    """A frame of the child's; raises `ProtocolError`."""
    try:
        return _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise ProtocolError(str(error)) from error
