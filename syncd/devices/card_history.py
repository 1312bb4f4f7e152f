"""What is remembered of one card, and for how long that keeps it from being used. Pure.

Errors that the driver tells of (Xid), memory errors that become more, and jobs that failed on it: after each a card is
left alone for a while, or until it has been well for some minutes, and then comes back by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from syncd.devices.readings import Heard

STALE_S: Final = 5.0
"""A reading this old says nothing of the card any more."""
APPLICATION_XIDS: Final = frozenset({13, 31, 43, 45, 68, 109})
"""Errors that end the job that made them; the card is well."""
CONTAINED_XIDS: Final = frozenset({63, 92, 94})
"""Memory that was put aside, corrected, or whose error ended the one job that met it."""
GRAVE_XIDS: Final[Mapping[int, str]] = {
    48: "an uncorrectable memory error",
    62: "its controller halted",
    64: "faulty memory could not be put aside",
    74: "its link failed",
    79: "it fell off the bus",
    95: "a memory error that reached beyond one job",
    119: "its firmware does not answer",
    120: "its firmware failed",
    140: "a memory error that it did not recover from",
    143: "it could not be initialised",
}
"""After these it must be seen well for `WELL_S`; after any other it rests for `XID_REST_S`."""
WELL_S: Final = 300.0
XID_REST_S: Final = 600.0
ECC_REST_S: Final = 1800.0
FAULTS: Final = 2
"""So many jobs that fail on a card within `FAULT_WINDOW_S` quarantine it."""
FAULT_WINDOW_S: Final = 600.0
FIRST_QUARANTINE_S: Final = 600.0
LONGEST_QUARANTINE_S: Final = 7200.0
CALM_S: Final = 86_400.0
"""After so long without a fault, earlier quarantines are forgotten."""


class Cause(StrEnum):
    """Why a card is not used."""

    NOT_NAMED = "not_named"
    """The configuration leaves it out."""
    SILENT = "silent"
    """The driver does not answer for it."""
    TROUBLE = "trouble"
    """The driver says that it cannot be used."""
    FORBIDDEN = "forbidden"
    """Nobody may compute on it (compute mode)."""
    ERROR = "error"
    """The driver told of an error of it (Xid)."""
    MEMORY_ERRORS = "memory_errors"
    """Its uncorrected memory errors became more."""
    FAULTS = "faults"
    """Jobs failed on it."""
    TAKEN = "taken"
    """It admits one process, and another has it."""
    FULL = "full"
    """Too little of its memory is left."""


@dataclass(frozen=True, slots=True)
class Rest:
    """A card is left alone for a while."""

    cause: Cause
    reason: str
    """One sentence, with figures."""
    until_s: float
    """Monotonic."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of a card."""

    ecc_errors: int | None = None
    well_since_s: float | None = None
    """It answers and has no trouble; None: it does not, or has."""
    grave: str | None = None
    """The sentence of a grave error after which it has not been well for long enough yet."""
    rests: tuple[Rest, ...] = ()
    faults_s: tuple[float, ...] = ()
    """When jobs failed on it, of late."""
    last_fault_s: float | None = None
    quarantines: int = 0
    """Since it was calm for long."""

    def rest(self, now_s: float) -> Rest | None:
        """What keeps it from being used now, longest."""
        running = [rest for rest in self.rests if rest.until_s > now_s]
        if self.grave is not None:
            back_at_s = (now_s if self.well_since_s is None else self.well_since_s) + WELL_S
            running.append(Rest(Cause.ERROR, self.grave, back_at_s))
        return max(running, key=lambda rest: rest.until_s, default=None)

    def seen(self, heard: Heard, now_s: float) -> History:
        """After another look at the card."""
        reading = heard.reading
        is_well = reading.trouble is None and heard.age_s <= STALE_S
        after = replace(self, rests=tuple(rest for rest in self.rests if rest.until_s > now_s))
        for xid in reading.xids:
            after = after.erred(xid, now_s)
        if reading.ecc_errors is not None:
            after = after.counted(reading.ecc_errors, now_s)
        if not is_well:
            return replace(after, well_since_s=None)
        since_s = now_s if after.well_since_s is None else after.well_since_s
        return replace(after, well_since_s=since_s, grave=None if now_s - since_s >= WELL_S else after.grave)

    def erred(self, xid: int, now_s: float) -> History:
        """The driver told of an error."""
        if xid in APPLICATION_XIDS | CONTAINED_XIDS:
            return self
        if xid in GRAVE_XIDS:
            reason = f"The driver told of error {xid} ({GRAVE_XIDS[xid]}); it must be well for {_span(WELL_S)} first."
            return replace(self, grave=reason, well_since_s=None)
        reason = f"The driver told of error {xid}; it rests for {_span(XID_REST_S)}."
        return self.resting(Rest(Cause.ERROR, reason, now_s + XID_REST_S))

    def counted(self, ecc_errors: int, now_s: float) -> History:
        """The card's count of uncorrected memory errors; what was there at first is no news, nor a count set back."""
        after = replace(self, ecc_errors=ecc_errors)
        if self.ecc_errors is None or ecc_errors <= self.ecc_errors:
            return after
        news = ecc_errors - self.ecc_errors
        reason = f"Uncorrected memory errors: {news} more, {ecc_errors} in all; it rests for {_span(ECC_REST_S)}."
        return after.resting(Rest(Cause.MEMORY_ERRORS, reason, now_s + ECC_REST_S))

    def faulted(self, now_s: float, what: str) -> History:
        """A job failed there, and the card may be why; jobs that were under way in a quarantine prolong nothing."""
        is_calm = self.last_fault_s is not None and now_s - self.last_fault_s > CALM_S
        after = replace(self, last_fault_s=now_s, quarantines=0 if is_calm else self.quarantines)
        if any(rest.cause is Cause.FAULTS and rest.until_s > now_s for rest in self.rests):
            return after
        recent_s = (*(at_s for at_s in self.faults_s if now_s - at_s <= FAULT_WINDOW_S), now_s)
        if len(recent_s) < FAULTS:
            return replace(after, faults_s=recent_s)
        span_s = min(LONGEST_QUARANTINE_S, FIRST_QUARANTINE_S * 2.0**after.quarantines)
        reason = (
            f"{len(recent_s)} jobs failed on it within {_span(FAULT_WINDOW_S)}, the last with: {what.rstrip('.')}; "
            f"it rests for {_span(span_s)}."
        )
        after = replace(after, faults_s=(), quarantines=after.quarantines + 1)
        return after.resting(Rest(Cause.FAULTS, reason, now_s + span_s))

    def resting(self, rest: Rest) -> History:
        """Left alone for a while; an earlier rest for the same cause ends with it."""
        return replace(self, rests=(*(other for other in self.rests if other.cause is not rest.cause), rest))


def _span(span_s: float) -> str:
    return f"{span_s / 60.0:.0f} min" if span_s < 3600.0 else f"{span_s / 3600.0:.2g} h"
