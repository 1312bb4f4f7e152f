"""``python -m tests.chaos.listener FOLDER SETTLE_S``: a watcher alone in a process, writing down what it tells.

One line an event: the monotonic second, a word, and what there is to say. SIGUSR1 asks for a rescan, the end of its
input ends it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Set
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from syncd.config import WatchSection
from syncd.domain import MediaFile
from syncd.watch.events import FilesSettled, PairFound, RescanDone, WatchEvent
from syncd.watch.examine import ignore_lease_signals
from syncd.watch.known import NOTHING_KNOWN
from syncd.watch.watcher import Watcher

DEADLINE_S = 600.0


Side = tuple[str, int, str]
"""Path, size and fingerprint of a file: which version of it was told of."""


@dataclass(frozen=True, slots=True)
class Told:
    """A pair, as the watcher told of it."""

    at_s: float
    master: Side
    dub: Side


@dataclass
class Heard:
    """What a listener has written so far."""

    told: list[Told] = field(default_factory=list)
    pairs_s: dict[str, float] = field(default_factory=dict)
    """When each pair was told of first, by its dub's name."""
    rescans_s: list[float] = field(default_factory=list)
    """How long each took."""
    settled_s: float | None = None


class Listener:
    """Such a process, and what it says."""

    def __init__(self, folder: Path, settle_s: float) -> None:
        self.heard = Heard()
        self.began_s = time.monotonic()
        command = [sys.executable, "-m", "tests.chaos.listener", os.fspath(folder), str(settle_s)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.looked_at = psutil.Process(self._process.pid)
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, condition: Callable[[Heard], bool], what: str, deadline_s: float = DEADLINE_S) -> None:
        """Until what was heard fulfils the condition."""
        with self._changed:
            came_true = self._changed.wait_for(lambda: condition(self.heard), deadline_s)
        assert came_true, f"waited in vain for {what}"

    def wait_for_all(self, wanted: Set[tuple[Side, Side]], deadline_s: float) -> bool:
        """Until each of these pairs was told of; whether they all were in time."""
        with self._changed:
            return self._changed.wait_for(
                lambda: wanted <= {(told.master, told.dub) for told in self.heard.told}, deadline_s
            )

    def send(self, number: signal.Signals) -> None:
        """A signal to the process."""
        self._process.send_signal(number)

    def rescan(self) -> float:
        """How long a reading of the whole folder takes, asked for now."""
        before = len(self.heard.rescans_s)
        self.send(signal.SIGUSR1)
        self.wait_for(lambda heard: len(heard.rescans_s) > before, "a rescan")
        return self.heard.rescans_s[-1]

    def close(self) -> str:
        """End it; returns what it complained of."""
        assert self._process.stdin is not None
        assert self._process.stderr is not None
        self._process.send_signal(signal.SIGCONT)
        self._process.stdin.close()
        errors = self._process.stderr.read()
        self._process.wait(timeout=30.0)
        self._reader.join(30.0)
        self._process.stderr.close()
        return errors

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                at_s, word, rest = line.rstrip("\n").split(" ", 2)
                with self._changed:
                    self._note(float(at_s), word, rest)
                    self._changed.notify_all()

    def _note(self, at_s: float, word: str, rest: str) -> None:
        heard = self.heard
        match word:
            case "pair":
                master, dub = json.loads(rest)
                heard.told.append(Told(at_s, tuple(master), tuple(dub)))
                heard.pairs_s.setdefault(dub[0].rpartition("/")[2], at_s)
            case "rescan":
                heard.rescans_s.append(float(rest))
            case "settled":
                heard.settled_s = at_s


def write_down(event: WatchEvent) -> None:
    """One line, at once."""
    match event:
        case PairFound():
            said = f"pair {json.dumps([_side(event.pair.master), _side(event.pair.dub)])}"
        case RescanDone():
            said = f"rescan {event.seconds}"
        case FilesSettled():
            said = "settled all"
        case _:
            return
    sys.stdout.write(f"{time.monotonic()} {said}\n")
    sys.stdout.flush()


def _side(file: MediaFile) -> Side:
    return os.fspath(file.path), file.identity.size_bytes, file.identity.fingerprint


def main() -> None:
    """Until the input ends."""
    ignore_lease_signals()
    section = WatchSection(path=Path(sys.argv[1]), settle_seconds=float(sys.argv[2]))
    watcher = Watcher(section, index=0, known=NOTHING_KNOWN, emit=write_down)
    signal.signal(signal.SIGUSR1, lambda *_: watcher.rescan_now())
    watcher.start()
    sys.stdin.read()
    watcher.stop()


if __name__ == "__main__":
    main()
