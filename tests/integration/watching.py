"""A watcher on a scratch folder, and an ear for what it says."""

from __future__ import annotations

import io
import threading
import time
import wave
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TypeVar

from syncd.config import WatchSection
from syncd.domain import MediaFile, Orphan, Pair
from syncd.watch.events import FilesSettled, OrphanFound, PairFound, RescanDone, WatchEvent, WatchTrouble
from syncd.watch.known import KnownFiles
from syncd.watch.watcher import Watcher

SETTLE_S = 0.3
DEADLINE_S = 15.0

T = TypeVar("T")


def wav_bytes(seconds: float = 0.05, *, value: int = 1) -> bytes:
    """A WAV of constant samples."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48000)
        file.writeframes(value.to_bytes(2, "little") * round(seconds * 48000))
    return buffer.getvalue()


class Watching:
    """Collects events from the watcher's thread; waits for conditions, never for time."""

    def __init__(
        self,
        folder: Path,
        *,
        known: Mapping[Path, MediaFile] | None = None,
        excluded: Collection[Path] = (),
        disturb: Callable[[WatchEvent], None] | None = None,
        **settings: object,
    ) -> None:
        plain: dict[str, object] = {"path": folder, "settle_seconds": SETTLE_S, "rescan_seconds": 3600.0}
        self.folder = folder
        self.events: list[WatchEvent] = []
        self._changed = threading.Condition()
        self._disturb = disturb
        section = WatchSection.model_validate({**plain, **settings})
        self.watcher = Watcher(
            section, index=3, known=KnownFiles((known or {}).values()), emit=self._hear, excluded=excluded
        )

    def __enter__(self) -> Watching:
        self.watcher.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.watcher.stop()
        assert not self.watcher.is_alive()

    def _hear(self, event: WatchEvent) -> None:
        with self._changed:
            self.events.append(event)
            self._changed.notify_all()
        if self._disturb is not None:
            self._disturb(event)

    def wait_for(self, condition: Callable[[], T], what: str = "the condition") -> T:
        deadline_s = time.monotonic() + DEADLINE_S
        with self._changed:
            while not (answer := condition()):
                left_s = deadline_s - time.monotonic()
                assert left_s > 0, f"waited in vain for {what}; heard {self.events}"
                self._changed.wait(left_s)
            return answer

    def of(self, kind: type[T]) -> list[T]:
        return [event for event in tuple(self.events) if isinstance(event, kind)]

    @property
    def pairs(self) -> list[Pair]:
        return [event.pair for event in self.of(PairFound)]

    @property
    def orphans(self) -> list[Orphan]:
        return [event.orphan for event in self.of(OrphanFound)]

    def dubs(self) -> list[str]:
        return [pair.dub.path.name for pair in self.pairs]

    def wait_for_pairs(self, count: int) -> list[Pair]:
        self.wait_for(lambda: len(self.pairs) >= count, f"{count} pairs")
        return self.pairs

    def wait_for_dub(self, name: str) -> Pair:
        self.wait_for(lambda: name in self.dubs(), f"a pair with {name!r}")
        return next(pair for pair in self.pairs if pair.dub.path.name == name)

    def wait_for_orphan(self, name: str) -> Orphan:
        self.wait_for(lambda: any(orphan.file.path.name == name for orphan in self.orphans), f"the orphan {name!r}")
        return next(orphan for orphan in self.orphans if orphan.file.path.name == name)

    def wait_until_settled(self) -> None:
        self.wait_for(lambda: self.of(FilesSettled), "settled files")

    def wait_for_trouble(self) -> WatchTrouble:
        self.wait_for(lambda: self.of(WatchTrouble), "trouble")
        return self.of(WatchTrouble)[0]

    def wait_for_turn(self, *, after_s: float) -> None:
        """Until the watcher's thread has come round again."""
        deadline_s = time.monotonic() + DEADLINE_S
        while self.watcher.last_tick_s() <= after_s:
            assert time.monotonic() < deadline_s
            time.sleep(0.01)

    def rescan(self) -> RescanDone:
        """Have the whole folder read again, and wait for it."""
        before = len(self.of(RescanDone))
        self.watcher.rescan_now()
        self.wait_for(lambda: len(self.of(RescanDone)) > before, "a rescan")
        return self.of(RescanDone)[-1]

    def let_a_whole_life_pass(self, name: str = "clock") -> None:
        """Drop another pair and wait until it is found: by then what was ready before it would have been found too."""
        (self.folder / f"{name}_master.wav").write_bytes(wav_bytes())
        (self.folder / f"{name}_dub_fr.wav").write_bytes(wav_bytes())
        self.wait_for_dub(f"{name}_dub_fr.wav")
