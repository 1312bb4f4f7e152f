"""How a dub's speed is undone: as ffmpeg filters, and by which of two means. Pure.

A dub whose pitch moved with its speed was simply played faster or slower: it is resampled, which is exact and brings
the pitch back too. One whose pitch was kept was stretched already, and is stretched again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from syncd.domain import MeasuredSide, Rate

PITCH_FOLLOWS_SEMITONES: Final = 0.1
"""A pitch this near to what the speed alone makes of it has moved with the speed."""
UNHEARD_SPEED: Final = 0.002
"""Where no pitch is known, a speed this near to one (0.035 semitones) is a clock's, not a stretcher's."""
RATE_ERROR: Final = 1e-9
"""Of the speed that whole sample rates make: 7 µs over two hours, less than a sample."""
LOWEST_HZ: Final = 44_100
HIGHEST_HZ: Final = 200_000
"""For the rates between, at least; for a dub at more than 100 kHz up to twice its own."""
MOST_CLAIMED_HZ: Final = 100
"""How far above its own a dub's rate is claimed to be; in practice one or two."""

_ATEMPO_WINDOWS_A_SECOND: Final = 24
"""ffmpeg's atempo works in blocks of the next power of two samples above a 24th of a second."""
_ATEMPO_LATENESS: Final = ((0.94, -0.228), (0.98, -0.215), (0.995, -0.19), (1.005, 0.145), (1.02, 0.205), (1.06, 0.212))
"""By tempo: how late (negative: early) the sound comes out of atempo on average, in its blocks.

Its search for a block that fits reaches farther to one side than to the other, and nothing in it takes that off.
Measured in ffmpeg 9.0 on music with dialogue over it, at 16, 44.1, 48 and 96 kHz. Single blocks scatter by 3 to 5 ms
about it, and programmes by 1 to 2 ms, by more where speeds differ by less than a percent. It does not grow: over an
hour the speed was right to 0.1 ppm.
"""


class SpeedMeans(StrEnum):
    """What undoes a speed."""

    RESAMPLE = "resample"
    STRETCH = "stretch"


@dataclass(frozen=True, slots=True)
class ExactRates:
    """Whole sample rates that lengthen sound by ``native * converted / (claimed * replayed)``.

    It is claimed to be at `claimed_hz`, converted to `converted_hz`, claimed to be at `replayed_hz`, and converted to
    the native rate again.
    """

    native_hz: int
    claimed_hz: int
    converted_hz: int
    replayed_hz: int

    @property
    def ratio(self) -> float:
        """How many times as long."""
        return self.native_hz * self.converted_hz / (self.claimed_hz * self.replayed_hz)


def speed_to_undo(rate: Rate | None, dub: MeasuredSide) -> float:
    """How many times as long the dub has to become; exactly 1.0 where that would not move its end by a sample."""
    if rate is None or not math.isfinite(rate.ratio):
        return 1.0
    return rate.ratio if abs(rate.ratio - 1.0) * dub.duration_s * dub.sample_rate_hz >= 1.0 else 1.0


def speed_means(rate: Rate) -> SpeedMeans:
    """By what has become of the pitch."""
    if rate.pitch_semitones is None:
        return SpeedMeans.RESAMPLE if abs(rate.ratio - 1.0) < UNHEARD_SPEED else SpeedMeans.STRETCH
    follows = abs(rate.pitch_semitones - semitones_of(rate.ratio)) < PITCH_FOLLOWS_SEMITONES
    return SpeedMeans.RESAMPLE if follows else SpeedMeans.STRETCH


def semitones_of(ratio: float) -> float:
    """How much higher sound is that is merely played `ratio` times as fast."""
    return 12.0 * math.log2(ratio)


def speed_filters(rate: Rate | None, dub: MeasuredSide) -> tuple[str, ...]:
    """ffmpeg's filters that put the dub on the master's clock but for the offset; none where it runs there already."""
    ratio = speed_to_undo(rate, dub)
    if rate is None or ratio == 1.0:
        return ()
    if speed_means(rate) is SpeedMeans.RESAMPLE:
        return _resampling(exact_rates(ratio, dub.sample_rate_hz))
    return (f"atempo={1.0 / ratio!r}", *shift_filters(-atempo_lateness_samples(1.0 / ratio, dub.sample_rate_hz)))


def shift_filters(shift_samples: int) -> tuple[str, ...]:
    """Later by so many samples of silence; earlier, where negative, by cutting the head."""
    if shift_samples < 0:
        return (f"atrim=start_sample={-shift_samples}", "asetpts=PTS-STARTPTS")
    return (f"adelay=delays={shift_samples}S:all=1",) if shift_samples else ()


def exact_rates(ratio: float, native_hz: int) -> ExactRates:
    """The first whole rates, from the lowest on, that make `ratio` (0.8 to 1.25) to `RATE_ERROR`.

    Close to one (a few ppm) no two rates below 200 kHz lie as near to each other as that; then the dub is claimed to be
    a few Hz faster than it is, and the two have more to make up for.
    """
    lowest_hz, highest_hz = max(native_hz, LOWEST_HZ), max(2 * native_hz, HIGHEST_HZ)
    for claimed_hz in range(native_hz, native_hz + MOST_CLAIMED_HZ):
        wanted = ratio * claimed_hz / native_hz
        # Converted to no fewer than the native rate, so that nothing of the highest sound is lost on the way.
        for replayed_hz in range(
            math.ceil(lowest_hz / min(wanted, 1.0)), math.floor(highest_hz / max(wanted, 1.0)) + 1
        ):
            converted_hz = round(wanted * replayed_hz)
            if abs(converted_hz / (wanted * replayed_hz) - 1.0) < RATE_ERROR:
                return ExactRates(native_hz, claimed_hz, converted_hz, replayed_hz)
    raise ValueError(f"no whole sample rates make a dub {ratio} times as long")


def atempo_lateness_samples(tempo: float, sample_rate_hz: int) -> int:
    """How late the sound comes out of ffmpeg's atempo on average; negative: early."""
    block_samples: int = 1 << math.ceil(math.log2(sample_rate_hz / _ATEMPO_WINDOWS_A_SECOND))
    return round(_between(_ATEMPO_LATENESS, tempo) * block_samples)


def _between(points: tuple[tuple[float, float], ...], x: float) -> float:
    """On the straight lines through the points; the first's and the last's value beyond them."""
    x = min(max(x, points[0][0]), points[-1][0])
    after = next(i for i, (at, _) in enumerate(points) if i and x <= at)
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _resampling(rates: ExactRates) -> tuple[str, ...]:
    claimed = () if rates.claimed_hz == rates.native_hz else (f"asetrate={rates.claimed_hz}",)
    # In floating point from here on: sound of 16 bits would be rounded twice, and louder peaks clipped in between. The
    # longer filter keeps what it adds below -90 dB up to 21 kHz (at 48 kHz); the usual one only up to 18.
    return (
        *claimed,
        f"aresample=osr={rates.converted_hz}:osf=fltp:filter_size=64",
        f"asetrate={rates.replayed_hz}",
        f"aresample=osr={rates.native_hz}:osf=fltp:filter_size=64",
    )
