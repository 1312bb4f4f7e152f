"""What of a track's channels is listened to: few rows, each a weighted sum, chosen so that dialogue can be left out.

``mid`` is the usual fold-down to mono (ITU-R BS.775: centre and surrounds at -3 dB, LFE left out), ``side`` its left
half minus its right half (centred dialogue is not in it), and where there is a centre, ``no_centre`` is all but centre
and LFE (dialogue sits in the centre; the music and effects remain). The weights of each row add up to one, so none
exceeds full scale; of a stereo file, ``mid`` and ``side`` are the halved sum and the halved difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import av

MID: Final = "mid"
SIDE: Final = "side"
NO_CENTRE: Final = "no_centre"

Row = tuple[float, ...]
"""One weight a channel."""

_CENTRE: Final = "FC"
_MINUS_3_DB: Final = 0.5**0.5
_LEFT: Final = frozenset({"FL", "FLC", "BL", "SL", "TFL", "TBL", "TSL", "DL", "WL", "SDL", "BFL", "SSL", "TTL", "BIL"})
_RIGHT: Final = frozenset({"FR", "FRC", "BR", "SR", "TFR", "TBR", "TSR", "DR", "WR", "SDR", "BFR", "SSR", "TTR", "BIR"})
_MIDDLE: Final = frozenset({"BC", "TC", "TFC", "TBC", "BFC"})
_FULL: Final = frozenset({"FL", "FR", "DL", "DR", "BIL", "BIR"})
"""What stands in front at either side; all else comes in at -3 dB."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The rows that a layout gives, by name: `MID` first."""

    rows: dict[str, Row]

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they leave the decoder."""
        return tuple(self.rows)

    def like(self, names: tuple[str, ...]) -> tuple[Row, ...]:
        """The rows of those names, of a track whose layout changes on the way: a difference that this layout does not
        have is silence, a centre that cannot be left out stays in."""
        mid = self.rows[MID]
        instead = {SIDE: (0.0,) * len(mid)}
        return tuple(self.rows.get(name) or instead.get(name, mid) for name in names)


def evidence_channels(channels: int, layout: str) -> tuple[str, ...]:
    """The names of the rows that `decode_blocks` yields for a track of this layout (ffmpeg's name of it).

    >>> evidence_channels(6, "5.1")
    ('mid', 'side', 'no_centre')
    """
    return fold_of(channels, layout).names


def fold_of(channels: int, layout: str) -> Fold:
    """How `channels` become rows; without known names the first two count as left and right."""
    names = _channel_names(channels, layout)
    left = tuple(_weight(name) if name in _LEFT else 0.0 for name in names)
    right = tuple(_weight(name) if name in _RIGHT else 0.0 for name in names)
    middle = tuple(_weight(name) if name in _MIDDLE else 0.0 for name in names)
    centre = tuple(float(name == _CENTRE) * 2 * _MINUS_3_DB for name in names)
    bed = tuple(sum(each) for each in zip(left, right, middle, strict=True))
    rows = {MID: _scaled(tuple(a + b for a, b in zip(bed, centre, strict=True)))}
    if any(left) and any(right):
        rows[SIDE] = _scaled(tuple(a - b for a, b in zip(left, right, strict=True)))
    if any(bed) and any(centre):
        rows[NO_CENTRE] = _scaled(bed)
    return Fold(rows)


def is_known(layout: str) -> bool:
    """Whether the name says which channel is which."""
    try:
        return bool(layout) and not layout.endswith("channels") and av.AudioLayout(layout).nb_channels > 0
    except ValueError:
        return False


def _channel_names(channels: int, layout: str) -> tuple[str, ...]:
    """ffmpeg's abbreviations, one a channel; those that stand in no table here (LFE) take no part."""
    if channels == 1:
        return (_CENTRE,)
    names = tuple(channel.name for channel in av.AudioLayout(layout).channels) if is_known(layout) else ()
    heard = _LEFT | _RIGHT | _MIDDLE | {_CENTRE}
    if len(names) == channels and heard.intersection(names):
        return names
    return ("FL", "FR", *[""] * (channels - 2))


def _weight(name: str) -> float:
    return 1.0 if name in _FULL else _MINUS_3_DB


def _scaled(row: Row) -> Row:
    total = sum(abs(weight) for weight in row)
    return tuple(weight / total for weight in row)
