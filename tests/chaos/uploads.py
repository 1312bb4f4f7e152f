"""``python -m tests.chaos.uploads [--uploads N] [--daemon N] [--seed N]``: files arrive in every way, many at once.

Whatever the way, no pair may be told of before both its files are complete, none twice, and none never. First a watcher
alone hears of many uploads, then the daemon of some. `TMPDIR` says where.
"""

from __future__ import annotations

import argparse
import os
import random
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from syncd.watch.examine import identify
from tests.acceptance.service import Service, wait_for
from tests.chaos.listener import Listener, Told
from tests.chaos.ways import WAYS, Upload
from tests.integration.watching import wav_bytes

SETTLE_S = 0.5
AT_ONCE = 64
REPLACED_SHARE = 0.15
"""Of the files: those that a second version takes the place of."""
MOST_BYTES = 300_000
PATIENCE_S = 60.0


@dataclass
class File:
    """One file of a pair, and the versions of it that were uploaded."""

    target: Path
    seed: int
    versions: int
    uploads: list[Upload] = field(default_factory=list)
    identities: list[tuple[int, str]] = field(default_factory=list)
    """Size and fingerprint of each version."""

    def arrive(self, workshop: Path, quiet_s: float) -> None:
        """All versions, one after the other."""
        chance = random.Random(self.seed)  # noqa: S311 - uploads that can be had again
        for version in range(self.versions):
            made = workshop / f"{self.target.name}.{version}"
            content = some_content(chance, says_length=self.target.suffix == ".wav")
            made.write_bytes(content)
            identity = identify(made).identity
            upload = Upload(content, made, self.target, quiet_s, chance, says_length=self.target.suffix == ".wav")
            way = chance.choice(WAYS)
            upload.way = way.__name__
            upload.pause(1.0)
            self.identities.append((identity.size_bytes, identity.fingerprint))
            self.uploads.append(upload)
            way(upload)
            made.unlink(missing_ok=True)
            upload.content = b""

    def version_of(self, identity: tuple[int, str]) -> Upload | None:
        """The upload that made it so; None: it never was, when it was complete."""
        return self.uploads[self.identities.index(identity)] if identity in self.identities else None

    @property
    def is_fair(self) -> bool:
        return all(upload.is_fair for upload in self.uploads)


def some_content(chance: random.Random, *, says_length: bool) -> bytes:
    """A file that says how long it is, or one that does not; no two are the same."""
    noise = chance.randbytes(2 * chance.randint(100, MOST_BYTES // 2))
    if not says_length:
        return b"fLaC" + noise
    header = bytearray(wav_bytes(0.0))
    header[4:8] = (len(header) - 8 + len(noise)).to_bytes(4, "little")
    header[40:44] = len(noise).to_bytes(4, "little")
    return bytes(header) + noise


@dataclass
class Uploads:
    """So many files, by pairs, from a seed."""

    folder: Path
    workshop: Path
    count: int
    seed: int
    quiet_s: float = SETTLE_S
    files: list[File] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance = random.Random(self.seed)  # noqa: S311 - uploads that can be had again
        left = self.count
        while left > 0:
            title, kind = f"film{len(self.files) // 2:05d}", chance.choice(("wav", "flac"))
            for name in (f"{title}_master.{kind}", f"{title}_dub_fr.{kind}"):
                versions = 2 if chance.random() < REPLACED_SHARE else 1
                left -= versions
                self.files.append(File(self.folder / name, chance.getrandbits(32), versions))

    def arrive(self) -> None:
        """All of them, many at once, in an order of their own."""
        self.workshop.mkdir(exist_ok=True)
        order = random.Random(self.seed).sample(self.files, len(self.files))  # noqa: S311 - as above
        with ThreadPoolExecutor(AT_ONCE) as uploaders:
            for done in [uploaders.submit(file.arrive, self.workshop, self.quiet_s) for file in order]:
                done.result()

    def pairs(self) -> Iterator[tuple[File, File]]:
        """Masters with their dubs."""
        yield from zip(self.files[::2], self.files[1::2], strict=True)

    @property
    def ways(self) -> Counter[str]:
        """How many came in which way."""
        return Counter(upload.way for file in self.files for upload in file.uploads)


@dataclass
class Judgement:
    """What a watcher told, held against the truth."""

    premature: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)
    unfair: int = 0
    """Files whose uploader was held up by the machine for a quiet time: nobody could have known better."""
    latest_s: float = 0.0
    """From the completion of a pair's last version to its being told of, beyond the quiet time."""

    @property
    def faults(self) -> list[str]:
        """Nothing, if the watcher holds."""
        return self.premature + self.twice + self.never


def judge(uploads: Uploads, told: Sequence[Told]) -> Judgement:
    """No pair before both its files were complete, none twice for the same versions, none never."""
    judged = Judgement(unfair=sum(not file.is_fair for file in uploads.files))
    by_path = {os.fspath(file.target): file for file in uploads.files}
    for each in told:
        judged.premature += [
            f"{side[0]} was told of too early"
            for side in (each.master, each.dub)
            if (file := by_path[side[0]]).is_fair and not _was_complete(file, side[1:], each.at_s)
        ]
    counts = Counter((each.master, each.dub) for each in told)
    judged.twice += [f"{dub[0]} was told of {count} times" for (_, dub), count in counts.items() if count > 1]
    first_s = {(each.master, each.dub): each.at_s for each in reversed(told)}
    for master, dub in uploads.pairs():
        at_s = first_s.get((_last(master), _last(dub)))
        if at_s is None:
            judged.never.append(f"{dub.target} was never told of as it is now")
        else:
            complete_s = max(master.uploads[-1].complete_s, dub.uploads[-1].complete_s)
            judged.latest_s = max(judged.latest_s, at_s - complete_s - uploads.quiet_s)
    return judged


def _last(file: File) -> tuple[str, int, str]:
    return (os.fspath(file.target), *file.identities[-1])


def _was_complete(file: File, identity: tuple[int, str], at_s: float) -> bool:
    upload = file.version_of(identity)
    return upload is not None and upload.complete_s <= at_s


def heard_by_a_watcher(home: Path, count: int, seed: int) -> tuple[Uploads, Judgement]:
    """So many uploads into a folder that a watcher alone listens to."""
    (home / "drop").mkdir()
    uploads = Uploads(home / "drop", home / "made", count, seed)
    listener = Listener(uploads.folder, SETTLE_S)
    try:
        listener.wait_for(lambda heard: heard.settled_s is not None, "an empty folder")
        uploads.arrive()
        wanted = {(_last(master), _last(dub)) for master, dub in uploads.pairs()}
        listener.wait_for_all(wanted, PATIENCE_S)
        listener.rescan()  # Whoever told of a pair twice has had every reason to.
    finally:
        listener.close()
    return uploads, judge(uploads, listener.heard.told)


def recorded_by_the_daemon(service: Service, count: int, seed: int) -> tuple[Uploads, Judgement]:
    """So many uploads into a service's folder; its queue is held, so that nothing is measured."""
    uploads = Uploads(service.drop, service.home / "made", count, seed, service.settle_s)
    service.start()
    wait_for(lambda: "started" in service.log(), what="the daemon")
    service.syncctl("pause")
    uploads.arrive()
    wanted = {(_last(master), _last(dub)) for master, dub in uploads.pairs()}
    wait_for(
        lambda: wanted <= {(each.master, each.dub) for each in _recorded(service)},
        deadline_s=PATIENCE_S,
        what="a job for every pair",
    )
    told = _recorded(service)
    service.stop()
    judged = judge(uploads, told)
    with closing(sqlite3.connect(service.ledger)) as connection:
        live = connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
    if live != len(uploads.files) // 2:
        judged.twice.append(f"{live} jobs wait for {len(uploads.files) // 2} pairs")
    return uploads, judged


def _recorded(service: Service) -> list[Told]:
    """Every job ever made, with the versions it is about; its moment on this process's clock."""
    question = (
        "SELECT (julianday(jobs.enqueued_at) - 2440587.5) * 86400.0,"
        " master.path, master.size_bytes, master.fingerprint, dub.path, dub.size_bytes, dub.fingerprint FROM jobs"
        " JOIN media AS master ON master.id = jobs.master_id JOIN media AS dub ON dub.id = jobs.dub_id"
    )
    clocks_apart_s = time.monotonic() - time.time()
    with closing(sqlite3.connect(service.ledger)) as connection:
        rows = connection.execute(question).fetchall()
    return [Told(row[0] + clocks_apart_s, _side(*row[1:4]), _side(*row[4:])) for row in rows]


def _side(path: bytes, size_bytes: int, fingerprint: str) -> tuple[str, int, str]:
    return os.fsdecode(path), size_bytes, fingerprint


def main() -> int:
    """1 where something was told of too early, twice or never."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip())
    parser.add_argument("--uploads", type=int, default=10_000, help="that a watcher alone hears of")
    parser.add_argument("--daemon", type=int, default=500, help="that the daemon records")
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    table = Table("what", "a watcher", "the daemon", "aim")
    with tempfile.TemporaryDirectory(prefix="syncd-uploads-") as home:
        alone, heard = heard_by_a_watcher(Path(home), asked.uploads, asked.seed)
    with tempfile.TemporaryDirectory(prefix="syncd-uploads-") as home:
        service = Service(Path(home), settle_s=SETTLE_S)
        try:
            served, recorded = recorded_by_the_daemon(service, asked.daemon, asked.seed)
        finally:
            service.close()
    for way in sorted(alone.ways):
        table.add_row(f"uploads by {way}", str(alone.ways[way]), str(served.ways[way]), "")
    for what, count in (("too early", "premature"), ("twice", "twice"), ("never", "never")):
        table.add_row(what, str(len(getattr(heard, count))), str(len(getattr(recorded, count))), "0")
    table.add_row("files held up by the machine, not judged", str(heard.unfair), str(recorded.unfair), "")
    table.add_row("the last, beyond the quiet time", f"{heard.latest_s:.2f} s", f"{recorded.latest_s:.2f} s", "")
    Console(width=110).print(table)
    for fault in heard.faults + recorded.faults:
        sys.stdout.write(f"{fault}\n")
    return 1 if heard.faults + recorded.faults else 0


if __name__ == "__main__":
    sys.exit(main())
