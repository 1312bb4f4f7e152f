"""The methods: one module each, all of one shape, known by name.

A method looks at the evidence and answers with an `Estimate` or with reasons why it vouches for nothing. It may raise:
the façade then records it as failed and goes on with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Protocol

from syncd.analysis.correlate import CoarseResult
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.tracks import FineResult
from syncd.domain import Estimate, Inconclusive, Metadata


@dataclass(frozen=True)
class Evidence:
    """Everything a method may look at."""

    pairs: tuple[ChannelPair, ...]
    coarse: tuple[CoarseResult, ...]
    """One a channel, strongest first."""
    rate: float = 1.0
    """The dub's speed that is taken as known: t_master = rate * t_dub + offset_s."""

    def pair(self, channel: str) -> ChannelPair:
        """The channel of both sides by name; raises KeyError."""
        for pair in self.pairs:
            if pair.name == channel:
                return pair
        raise KeyError(channel)


@dataclass(frozen=True)
class MethodAnswer:
    """What a method says, before it is timed and named."""

    outcome: Estimate | Inconclusive
    quality_score: float
    metadata: Metadata = field(default_factory=dict)
    findings: tuple[FineResult, ...] = ()
    """Common lags with what each window says to them, best first: the verdict asks whether one holds throughout."""
    channel: str | None = None


class Method(Protocol):
    """One way of finding the offset."""

    @property
    def name(self) -> str:
        """As in the configuration and the sidecar."""

    @property
    def text(self) -> str:
        """What it does, for a progress line: «Comparing waveforms»."""

    def run(self, evidence: Evidence, beat: Beat) -> MethodAnswer:
        """Look for one offset; `beat` is called from the loop that does the work."""


def registry() -> Mapping[str, Method]:
    """The methods of this version by name, in the order in which they run."""
    # Here and not above: the methods' modules need this module's names.
    from syncd.analysis.methods.correlation import Correlation  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.spectral import Spectral  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.speech import Speech  # noqa: PLC0415 - a cycle otherwise

    methods: tuple[Method, ...] = (Correlation(), Spectral(), Speech())
    return MappingProxyType({method.name: method for method in methods})


NOT_IN_THIS_VERSION: Final = "not in this version"
