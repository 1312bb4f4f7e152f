"""Where one lag ends and the next begins, and which stretches of a piece are foreign: from agreement, moment by moment.

Pure functions over `Agreement` values: sums of what speaks for a lag, less what a stretch must bear to count as shared.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

FOREIGN_SHARE: Final = 0.25
"""Of a piece's usual agreement: what a stretch must bear on average to count as shared. Loud dialogue takes away more
than half of it for a moment, hardly ever three quarters of it for seconds."""
RESIDUE_SHARE: Final = 0.1
"""A foreign stretch bears no more than this share of the usual agreement…"""
RESIDUE_DEVIATIONS: Final = 5.0
"""…nor more than chance gives, as a whole; either sign: a scene may be upside down."""
MEAN_S: Final = 2.0
USUAL_QUANTILE: Final = 0.8
TITLE_S: Final = 4.0
TITLE_SHARE: Final = 0.25
"""Of the usual agreement, and beyond what counts as shared: what a title bears."""
LEAST_TITLE: Final = 4.0
"""Where hardly a fifth agrees but something does so well for so long (a title that two programmes share), that is what
is usual: the rest is measured by it."""
STRONG: Final = 8.0
"""Usual agreement (deviations a frame) from which short foreign stretches can be told from dialogue."""
STRONG_SECONDS: Final = 24.0
"""Agreement times duration that a foreign stretch must lack where agreement is strong: 3 s at 8 deviations."""
SHORTEST_S: Final = 1.0
SHORTEST_WEAK_S: Final = 20.0
BED_SECONDS: Final = 5.0
"""A channel without centred dialogue that sounds and does not agree for so long is another bed; what a room and a wide
voice leave in it lasts as long as a line."""
SHARED_SHARE: Final = 0.5
"""Of the usual agreement: frames in which the shared bed is heard."""
PAUSES_QUANTILE: Final = 0.2
PAUSES_POWER: Final = 0.05
"""Of the shared bed's. What a room leaves between words, where nothing but dialogue is, lies 15 to 20 dB below it."""
WORDS_QUANTILE: Final = 0.9
SUSTAINED_SHARE: Final = 0.1
FAINT_POWER: Final = 0.003
"""A fainter bed, down to 25 dB below the shared one, is one where it does not fall by 10 dB between the words."""
LEAST_SHARED_SHARE: Final = 0.5
"""Of the seconds, in which something agrees: below it a while without is nothing unusual."""
LONGEST_TALK_S: Final = 30.0
"""Dialogue alone lasts no longer than this in a programme that has a bed elsewhere."""
LONGEST_LINE_S: Final = 20.0
LINES_RATIO: Final = 4.0
"""Where no channel is free of dialogue: so many times the next longest stretch without agreement is not a line."""
BESIDE_CUT: Final = 0.1
WEAKEST: Final = 1.0
"""Below it agreement is too faint to say that anything is foreign."""
SHARED_SUPPORT: Final = 0.75
"""How often a window of a shared stretch agrees with the lag…"""
CHANCE_SUPPORT: Final = 0.12
"""…and one of a foreign stretch."""
FOREIGN_END_LOG: Final = 8.0
"""Log-likelihood ratio that an end must show to be called foreign: seven windows without agreement."""
NOISE_FACTOR: Final = 6.0
NUMBERS_AT_ONCE: Final = 4096


def place_cut(first: NDArray[np.float64], second: NDArray[np.float64]) -> int:
    """How many frames the first piece keeps, so that the most agreement is kept.

    `first`: agreement at the first lag, `second`: at the second, later by what the dub has more; shape (frames,) both.
    Rounding may have left one of them a frame longer: what only one has does not count.
    """
    frames = min(first.size, second.size)
    first, second = first[:frames], second[:frames]
    before = np.concatenate(([0.0], np.cumsum(first)))
    after = np.concatenate((np.cumsum(second[::-1])[::-1], [0.0]))
    totals = before + after
    best = float(totals.max())
    # Where several places are as good (silence), the middle one.
    equal = np.flatnonzero(totals >= best - 1e-9 * max(1.0, abs(best)))
    return int(equal[equal.size // 2])


def foreign_stretches(
    values: NDArray[np.float64],
    sounding: NDArray[np.bool_],
    step_s: float,
    frame_s: float,
    *,
    cut_before: bool = False,
    cut_after: bool = False,
) -> tuple[tuple[int, int], ...]:
    """Stretches of a piece (frames, end exclusive) that share nothing with the master, in order of time.

    `values`: agreement at the piece's lag; frames of `frame_s` overlap where `step_s` is less. Only what a piece's own
    usual agreement can tell from dialogue counts; beside a cut, where something was done to the sound, a tenth of it.
    """
    if not sounding.any():
        return ()
    usual = usual_agreement(values[sounding], step_s)
    if usual < WEAKEST:
        return ()
    shortest_s = max(SHORTEST_S, STRONG_SECONDS / usual) if usual >= STRONG else SHORTEST_WEAK_S
    overlap = max(1.0, frame_s / step_s)
    lacking = np.where(sounding, FOREIGN_SHARE * usual - values, 0.0)
    found = []
    left = _heaviest(lacking)
    while left:
        begin, end = left.pop()
        heard = sounding[begin:end]
        count = int(np.count_nonzero(heard))
        beside_cut = (begin == 0 and cut_before) or (end == values.size and cut_after)
        if count * step_s < shortest_s * (BESIDE_CUT if beside_cut else 1.0):
            continue
        inside = values[begin:end][heard]
        residue = abs(float(inside.mean()))
        noise = float(np.sqrt(overlap / count))
        gain = float(lacking[begin:end].sum())
        if gain < NOISE_FACTOR * noise * count:
            continue
        if residue <= min(RESIDUE_SHARE * usual, RESIDUE_DEVIATIONS * noise):
            found.append((begin, end))
        else:
            left += _beside_a_title(lacking, begin, end, usual, step_s)
    return tuple(sorted(found))


def _beside_a_title(
    lacking: NDArray[np.float64], begin: int, end: int, usual: float, step_s: float
) -> list[tuple[int, int]]:
    """What lies before and after the part of a stretch that is shared beyond doubt; nothing if no part is.

    Two long foreign stretches outweigh a short title between them, and would be taken for one.
    """
    shared = max(
        ((a + begin, b + begin) for a, b in _heaviest(-lacking[begin:end])),
        key=lambda span: -float(lacking[span[0] : span[1]].sum()),
        default=(begin, begin),
    )
    length = shared[1] - shared[0]
    if length * step_s < TITLE_S / 2 or -float(lacking[shared[0] : shared[1]].mean()) < TITLE_SHARE * usual:
        return []
    return [(begin, shared[0]), (shared[1], end)]


def is_another_bed(
    values: NDArray[np.float64],
    sounding: NDArray[np.bool_],
    power: NDArray[np.float64],
    begin: int,
    end: int,
    step_s: float,
) -> bool | None:
    """Whether a stretch has a bed of its own, by channels that centred dialogue is not in; None where they cannot say.

    Dialogue hides the bed that both sides share, in a quiet scene for as long as somebody speaks: that nothing agrees
    proves nothing. Another bed is heard, on both sides, between the words too: a room and a wide voice leave something
    in those channels, but fall silent with the voice. `power`: mean squares of the channels, (2, frames).
    """
    usual = usual_agreement(values[sounding], step_s)
    if usual < WEAKEST:
        return None
    heard = sounding[begin:end]
    count = int(np.count_nonzero(heard))
    if count * step_s < max(BED_SECONDS, STRONG_SECONDS / usual):
        return False
    shared = sounding & (values >= SHARED_SHARE * usual)
    if not shared.any():
        return None
    bed = np.median(power[:, shared], axis=1)
    pauses, words = np.quantile(power[:, begin:end][:, heard], (PAUSES_QUANTILE, WORDS_QUANTILE), axis=1)
    goes_on = (pauses >= PAUSES_POWER * bed) | ((pauses >= SUSTAINED_SHARE * words) & (pauses >= FAINT_POWER * bed))
    if not goes_on.all():
        return False
    residue = abs(float(values[begin:end][heard].mean()))
    return residue <= max(RESIDUE_SHARE * usual, RESIDUE_DEVIATIONS / float(np.sqrt(count)))


def shared_share(
    values: NDArray[np.float64],
    sounding: NDArray[np.bool_],
    step_s: float,
    foreign: Sequence[tuple[int, int]],
) -> float:
    """Of the seconds outside the stretches named, the share (0 to 1) in which something agrees.

    Where only effects are shared and all music is another, hardly any do; then a while without is nothing unusual.
    """
    outside = sounding.copy()
    for begin, end in foreign:
        outside[begin:end] = False
    means = _means(values[outside], step_s, 1.0)
    least = FOREIGN_SHARE * usual_agreement(values[sounding], step_s)
    return float(np.mean(means >= least)) if means.size else 0.0


def outlasts_dialogue(duration_s: float, others_s: Sequence[float], *, bed_is_heard: bool) -> bool:
    """Whether a stretch without agreement is too long to be somebody speaking, next to the others of its kind.

    `bed_is_heard`: whether another channel could have told a bed.
    """
    if duration_s >= LONGEST_TALK_S or bed_is_heard:
        return duration_s >= LONGEST_TALK_S
    return duration_s >= max(LONGEST_LINE_S, LINES_RATIO * max(others_s, default=0.0))


def supported_span(supports: NDArray[np.bool_]) -> tuple[int, int]:
    """The windows (first, end exclusive) between which a lag holds; what lies outside shares nothing with it.

    `supports`: whether each window agrees with the lag, shape (windows,). An end is cut off only where it is much
    likelier to be foreign than to be shared.
    """
    worth = np.where(
        supports, np.log(SHARED_SUPPORT / CHANCE_SUPPORT), np.log((1 - SHARED_SUPPORT) / (1 - CHANCE_SUPPORT))
    )
    first, end = 0, int(supports.size)
    sums = np.concatenate(([0.0], np.cumsum(worth)))
    lowest = np.minimum.accumulate(sums)
    gains = sums - lowest
    end_at = int(np.argmax(gains))
    first_at = int(np.argmin(sums[: end_at + 1])) if end_at else 0
    if -float(sums[first_at]) >= FOREIGN_END_LOG:
        first = first_at
    if float(sums[end_at] - sums[-1]) >= FOREIGN_END_LOG:
        end = end_at
    return (first, end) if first < end else (0, int(supports.size))


def bearing_s(values: NDArray[np.float64], step_s: float) -> float:
    """How many seconds bear the agreement: as many as would bear it if each bore the same (participation ratio).

    One loud second among many that share nothing counts as one.
    """
    means = np.maximum(_means(values, step_s, 1.0), 0.0)
    energy = np.maximum(np.square(means) - step_s, 0.0)  # Chance gives a mean of a second the variance `step_s`.
    spread = float(np.square(energy).sum())
    return float(energy.sum()) ** 2 / spread if spread > 0.0 else 0.0


def usual_agreement(values: NDArray[np.float64], step_s: float) -> float:
    """What the shared stretches bear: a high quantile of means of two seconds, since much may be foreign."""
    means = _means(values, step_s, MEAN_S)
    if means.size < 2:
        return float(values.mean()) if values.size else 0.0
    usual = float(np.quantile(means, USUAL_QUANTILE))
    if usual >= WEAKEST:
        return usual
    strongest = float(_means(values, step_s, TITLE_S).max(initial=0.0))
    return strongest if strongest >= LEAST_TITLE else usual


def _means(values: NDArray[np.float64], step_s: float, of_s: float) -> NDArray[np.float64]:
    width = max(1, round(of_s / step_s))
    return np.asarray(values[: values.size // width * width].reshape(-1, width).mean(axis=1))


def _numbers(values: NDArray[np.float64]) -> Iterator[float]:
    """One after the other; all at once they would take four times the room of the array."""
    for first in range(0, values.size, NUMBERS_AT_ONCE):
        yield from values[first : first + NUMBERS_AT_ONCE].tolist()


def _heaviest(values: NDArray[np.float64]) -> list[tuple[int, int]]:
    """All maximal stretches of positive sum that cannot be extended or cut to gain (Ruzzo and Tompa, 1999)."""
    # Each entry: left sum, right sum, begin, end, and the last entry before it that starts lower.
    kept: list[tuple[float, float, int, int, int]] = []
    total = 0.0
    for i, value in enumerate(_numbers(values)):
        if value <= 0.0:
            total += value
            continue
        left, right, begin = total, total + value, i
        total = right
        while True:
            j = len(kept) - 1
            while j >= 0 and kept[j][0] >= left:
                j = kept[j][4]
            if j < 0 or kept[j][1] >= right:
                kept.append((left, right, begin, i + 1, j))
                break
            left, begin = kept[j][0], kept[j][2]
            del kept[j:]
    return [(begin, end) for _, _, begin, end, _ in kept]
