"""Hostile files from whole ones, and from nothing; all from seeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HEADER_BYTES: Final = 512
"""Where containers say what they hold: half of all damage is done there."""


@dataclass(frozen=True)
class Mutant:
    """One hostile file."""

    name: str
    data: bytes
    told: str
    """What was done to it."""
    may_be_measured: bool = True
    """False: whoever gets sound out of it went somewhere else for it."""


Mutation = Callable[[random.Random, bytearray, bytes], bytearray]


def flip_bits(chance: random.Random, data: bytearray, _other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 8, 64, 512))):
        data[_place(chance, data)] ^= 1 << chance.randrange(8)
    return data


def cut_off(chance: random.Random, data: bytearray, _other: bytes) -> bytearray:
    return data[: _place(chance, data)]


def splice_header(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    return bytearray(other[: chance.randrange(16, HEADER_BYTES)]) + data[chance.randrange(HEADER_BYTES) :]


def splice_middle(chance: random.Random, data: bytearray, other: bytes) -> bytearray:
    at = chance.randrange(len(data))
    return data[:at] + bytearray(other[chance.randrange(len(other)) :])


def extreme_numbers(chance: random.Random, data: bytearray, _other: bytes) -> bytearray:
    for _ in range(chance.choice((1, 3, 10))):
        at = _place(chance, data)
        number = chance.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, chance.getrandbits(32)))
        data[at : at + 4] = number.to_bytes(4, chance.choice(("little", "big")))
    return data


def repeat_a_part(chance: random.Random, data: bytearray, _other: bytes) -> bytearray:
    first, second = sorted((chance.randrange(len(data)), chance.randrange(len(data))))
    return data[:second] + data[first:second] * chance.choice((1, 2, 20)) + data[second:]


def blank_a_part(chance: random.Random, data: bytearray, _other: bytes) -> bytearray:
    first = _place(chance, data)
    last = min(len(data), first + chance.choice((4, 100, 10_000, 1_000_000)))
    data[first:last] = bytes([chance.choice((0, 0xFF))]) * (last - first)
    return data


MUTATIONS: Final[tuple[Mutation, ...]] = (
    flip_bits,
    cut_off,
    splice_header,
    splice_middle,
    extreme_numbers,
    repeat_a_part,
    blank_a_part,
)


def mutants(whole: Sequence[Path], seed: int, count: int) -> Iterator[Mutant]:
    """So many files, each one or two mutations away from one of the whole ones."""
    files = [(path, path.read_bytes()) for path in whole]
    for number in range(count):
        chance = random.Random(f"{seed} {number}")  # noqa: S311 - damage that can be had again
        path, data = chance.choice(files)
        other = chance.choice(files)[1]
        done = [chance.choice(MUTATIONS) for _ in range(chance.choice((1, 1, 2)))]
        damaged = bytearray(data)
        for mutation in done:
            damaged = mutation(chance, damaged or bytearray(b"\0"), other)
        told = f"{number}: {path.suffix} after {' and '.join(mutation.__name__ for mutation in done)}"
        yield Mutant(f"mutant{number}_dub{chance.choice(files)[0].suffix}", bytes(damaged), told)


def scripts(secret: Path, port: int) -> Iterator[Mutant]:
    """Texts that libavformat could take for orders to read other files, or to call somebody."""
    url, file = f"http://127.0.0.1:{port}/a.wav", f"file://{secret}"
    texts = {
        "a playlist of a file": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{file}\n#EXT-X-ENDLIST\n",
        "a playlist of a place": f"#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
        "a concat script": f"ffconcat version 1.0\nfile '{secret}'\n",
        "a concat script of a place": f"ffconcat version 1.0\nfile '{url}'\n",
        "a session description": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
        f"m=audio {port} RTP/AVP 0\n",
        "a manifest": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period>'
        f"<AdaptationSet><Representation><BaseURL>{url}</BaseURL></Representation></AdaptationSet></Period></MPD>",
        "a place in a shortcut": f"[InternetShortcut]\nURL={url}\n",
        "a QuickTime reference": f"RTSPtextrtsp://127.0.0.1:{port}/a\n",
    }
    for told, text in texts.items():
        for ending in (".wav", ".mp4", ".mkv", ".mov"):
            name = f"{told.replace(' ', '_')}_dub{ending}"
            yield Mutant(name, text.encode(), f"{told}, named {ending}", may_be_measured=False)


def _place(chance: random.Random, data: bytearray) -> int:
    """Half of the time in the header."""
    return chance.randrange(min(HEADER_BYTES, len(data)) if chance.random() < 0.5 else len(data))
