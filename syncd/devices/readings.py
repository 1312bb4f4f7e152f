"""What the driver says of each card at a moment: plain values, as the process that asks it sends them."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Sharing(StrEnum):
    """Who may compute on a card (NVML: compute mode)."""

    ANYBODY = "anybody"
    ONE_PROCESS = "one_process"
    NOBODY = "nobody"


class GpuProcess(msgspec.Struct, frozen=True):
    """Somebody's memory on a card."""

    pid: int
    """The host's, even where syncd lives in a container."""
    held_bytes: int | None
    """None: the driver does not tell."""


class GpuReading(msgspec.Struct, frozen=True):
    """One card, or one slice (MIG) of a card, at one moment."""

    uuid: str
    """``GPU-…`` or ``MIG-…``: how workers are bound to it, and what reports say."""
    index: int
    """Of the card, in PCI order."""
    name: str
    total_bytes: int
    """What can be had at all: the driver's own reserve is not in it."""
    free_bytes: int
    """Others' use counted."""
    processes: tuple[GpuProcess, ...] = ()
    utilization_percent: int | None = None
    compute_capability: tuple[int, int] | None = None
    sharing: Sharing = Sharing.ANYBODY
    trouble: str | None = None
    """Why nothing can be computed on it, in the driver's words (lost, requires reset); then the figures are 0."""
    ecc_errors: int | None = None
    """Uncorrected, since the driver was loaded; None: the card does not count."""
    xids: tuple[int, ...] = ()
    """Errors that the driver told of since the reading before."""


class Heard(msgspec.Struct, frozen=True):
    """The latest reading of a card, and how old it is; its `xids` are those told since the question before."""

    reading: GpuReading
    age_s: float
