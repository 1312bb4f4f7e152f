"""The methods: one module each, all of one shape, known by name.

A method looks at the evidence and answers with an `Estimate` or with reasons why it vouches for nothing. It may raise:
the façade then records it as failed and goes on with the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Protocol

from syncd.analysis.align import Alignment
from syncd.analysis.correlate import CoarseResult
from syncd.analysis.evidence import Beat, ChannelPair
from syncd.analysis.speech import Lines
from syncd.domain import Estimate, Inconclusive, Metadata, Rate


@dataclass(frozen=True)
class SegmentHint:
    """A piece of the dub that the survey placed: about where it lies, to be looked at closely."""

    dub_start_s: float
    dub_end_s: float
    offset_s: float
    """Intercept of ``t_master = rate * t_dub + offset_s``."""


@dataclass(frozen=True)
class Evidence:
    """Everything a method may look at."""

    pairs: tuple[ChannelPair, ...]
    crossed: tuple[ChannelPair, ...] = ()
    """Tried where the channels of the same name do not agree: see `evidence.crossed_channels`."""
    coarse: tuple[CoarseResult, ...] = ()
    """Lags of the whole programme that stand out, one result a channel, strongest first."""
    starts: tuple[Alignment, ...] = ()
    """Where to look closely, most promising first."""
    survey_deviations: float = 0.0
    """How far the survey's best stands over chance."""
    lags_compared: int = 0
    rate: float = 1.0
    """The speed that is known so far: ``t_master = rate * t_dub + offset_s``; answers are its intercept."""
    segments: tuple[SegmentHint, ...] = ()
    """Where the dub lies, piece by piece in order of time; empty where nothing has placed it."""

    @property
    def channel(self) -> str | None:
        """With the most evidence."""
        return self.coarse[0].channel if self.coarse else None

    @property
    def speed_is_known(self) -> bool:
        """Whether something placed the dub, and so told its speed; else `rate` is what is usual."""
        return bool(self.segments)

    def pair(self, channel: str) -> ChannelPair:
        """The channel of both sides by name; raises KeyError."""
        for pair in (*self.pairs, *self.crossed):
            if pair.name == channel:
                return pair
        raise KeyError(channel)


@dataclass(frozen=True)
class MethodAnswer:
    """What a method says, before it is timed and named."""

    outcome: Estimate | Inconclusive
    quality_score: float
    metadata: Metadata = field(default_factory=dict)
    channel: str | None = None
    skipped: bool = False
    """It could not run at all, for want of something that is not installed."""
    alignment: Alignment | None = None
    """All pieces as the method measured them, where it looks at pieces."""
    lines: tuple[Lines, Lines] | None = None
    """The dialogue of master and dub, where the method listens for it."""
    rate: Rate | None = None
    """The speed that the offset belongs to, where the method had to find it by itself."""


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
    from syncd.analysis.methods.chroma import Chroma  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.chunked import Chunked  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.correlation import Correlation  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.mfcc import Mfcc  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.onset import Onset  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.spectral import Spectral  # noqa: PLC0415 - a cycle otherwise
    from syncd.analysis.methods.speech import Speech  # noqa: PLC0415 - a cycle otherwise

    methods: tuple[Method, ...] = (Correlation(), Mfcc(), Onset(), Spectral(), Chunked(), Chroma(), Speech())
    return MappingProxyType({method.name: method for method in methods})
