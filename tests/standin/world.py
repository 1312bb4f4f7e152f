"""A machine with GPUs, where there are none: the library of `nvml.c`, and the folder that is its world.

The real pynvml loads the library in every process that is started with `World.environment`; what a test changes here
holds at that process's next call. Each change is atomic.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

SOURCES: Final = tuple(Path(__file__).with_name(name) for name in ("nvml.c", "world.c"))
LIBRARY: Final = "libnvidia-ml.so.1"
MIB: Final = 1 << 20
OUT_OF_MEMORY: Final = 2
"""CUDA's number for it."""


@dataclass(frozen=True)
class Slice:
    """A part of a card (MIG)."""

    uuid: str
    total_mib: int
    name: str = "NVIDIA A100-SXM4-40GB MIG 1g.5gb"


@dataclass(frozen=True)
class Card:
    """A card, as the driver would tell of it."""

    uuid: str
    total_mib: int = 11_264
    reserved_mib: int = 0
    name: str = "NVIDIA GeForce RTX 2080 Ti"
    health: str = "ok"
    """ok, lost, reset, or hang: calls come back when it says something else."""
    compute_mode: int = 0
    """0 anybody, 2 nobody, 3 one process."""
    ecc: int | None = None
    """Uncorrected errors; None: it does not count."""
    utilization: int = 0
    capability: int = 75
    is_cut: bool = False
    """MIG is on: the slices count, and not the card."""
    slices: tuple[Slice, ...] = ()


def three_cards() -> tuple[Card, ...]:
    """Three 2080 Ti of 11,264 MiB."""
    return tuple(Card(f"GPU-{index}{index}{index}{index}aaaa-0000-4000-8000-00000000000{index}") for index in range(3))


class World:
    """The cards of a machine, for processes started with its environment."""

    def __init__(self, folder: Path, cards: Sequence[Card] | None = None) -> None:
        """Skips the test where the library cannot be compiled."""
        self._folder = folder
        self._library = library_folder()
        (folder / "held").mkdir(parents=True)
        self.cards: tuple[Card, ...] = ()
        self.set_cards(three_cards() if cards is None else cards)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process live in this world."""
        searched = [str(self._library), os.environ.get("LD_LIBRARY_PATH", "")]
        return {"LD_LIBRARY_PATH": ":".join(filter(None, searched)), "FAKE_NVML_DIR": str(self._folder)}

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whatever this process starts from now on lives in this world."""
        for name, value in self.environment.items():
            monkeypatch.setenv(name, value)

    def set_cards(self, cards: Sequence[Card]) -> None:
        """These are the cards now."""
        self.cards = tuple(cards)
        self._put("cards", "".join(_lines(card) for card in cards))

    def change(self, index: int, **fields: Any) -> None:
        """One card is otherwise now: ``change(1, health="hang")``."""
        changed = replace(self.cards[index], **fields)
        self.set_cards([*self.cards[:index], changed, *self.cards[index + 1 :]])

    def change_all(self, **fields: Any) -> None:
        """Every card is otherwise now, at once."""
        self.set_cards([replace(card, **fields) for card in self.cards])

    def tell_xid(self, index: int, xid: int) -> None:
        """The driver tells of an error."""
        with (self._folder / "xids").open("a", encoding="ascii") as stream:
            stream.write(f"{index} {xid}\n")

    def hold(self, uuid: str, pid: int, held_mib: int, *, stuck: bool = False) -> None:
        """A process holds so much of a card (0: nothing any more); `stuck`: even when it is dead."""
        self._put(f"held/{uuid}.{pid}", f"{held_mib * MIB}{' stuck' if stuck else ''}\n")

    def held_mib(self, uuid: str, pid: int) -> int:
        """What a process holds of a card."""
        try:
            return int((self._folder / "held" / f"{uuid}.{pid}").read_text(encoding="ascii").split()[0]) // MIB
        except FileNotFoundError:
            return 0

    def take_driver_away(self) -> None:
        """The library is there, and no driver answers it."""
        (self._folder / "cards").unlink()

    def make_driver_hang(self) -> None:
        """Not even the first call comes back, in any process, until it is killed."""
        draft = self._folder / "draft.pipe"
        os.mkfifo(draft)  # Whoever opens it waits for a writer.
        draft.rename(self._folder / "cards")

    def _put(self, name: str, text: str) -> None:
        draft = self._folder / f"draft.{name.replace('/', '.')}"
        draft.write_text(text, encoding="utf-8")
        draft.rename(self._folder / name)


def allocate(uuid: str, size_bytes: int) -> int:
    """Take memory of a card, in a process that lives in a world; 0, or CUDA's number of what went wrong."""
    allocating = ctypes.CDLL(LIBRARY).standin_allocate
    allocating.argtypes = [ctypes.c_char_p, ctypes.c_ulonglong]
    return int(allocating(uuid.encode(), size_bytes))


@functools.cache
def library_folder() -> Path:
    """Where the compiled library lies, made once; it goes with this process."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc) to make a stand-in for the driver with")
    folder = Path(tempfile.mkdtemp(prefix="standin-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [compiler, "-shared", "-fPIC", "-O1", "-fvisibility=hidden", f"-Wl,-soname,{LIBRARY}"]
    subprocess.run([*command, "-o", folder / LIBRARY, *SOURCES], check=True)
    return folder


def _lines(card: Card) -> str:
    slices = "".join(f"slice uuid={part.uuid} total_mib={part.total_mib} name={part.name}\n" for part in card.slices)
    return (
        f"card uuid={card.uuid} total_mib={card.total_mib} reserved_mib={card.reserved_mib} health={card.health} "
        f"compute_mode={card.compute_mode} ecc={-1 if card.ecc is None else card.ecc} mig={int(card.is_cut)} "
        f"utilization={card.utilization} capability={card.capability} name={card.name}\n{slices}"
    )
