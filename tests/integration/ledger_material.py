"""Pairs and answers for the ledger's tests; nothing here touches a file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from syncd.domain import (
    TOLERANCES,
    AnalysisSettings,
    AudioTrack,
    Estimate,
    Failure,
    FileStamp,
    Identity,
    Lease,
    MediaFile,
    MediaInfo,
    MemoryObservation,
    MethodResult,
    MethodStatus,
    Orphan,
    OrphanReason,
    Pair,
    Priority,
    Stem,
)
from syncd.errors import ErrorCode
from syncd.ledger.ledger import Ledger
from syncd.ledger.records import Enqueued

SETTINGS = AnalysisSettings(("correlation", "spectral"), TOLERANCES["ebu-r37"])
CRASH = Failure(ErrorCode.WORKER_CRASHED, "The worker died of signal 11.", {"signal": 11})
TRUNCATED = Failure(ErrorCode.MEDIA_TRUNCATED, "The file ends after 3 of 10 s.")
INFO = MediaInfo("wav", 12.5, (AudioTrack(0, "pcm_s16le", 48000, 2, "stereo", "fr"),), "01:00:00:00", "25")
METHOD = MethodResult("correlation", MethodStatus.OK, Estimate(-0.5, 0.98, 0.05), 40.0, 0.25, {"windows": 12})
OBSERVATION = MemoryObservation("cpu", "measure", 200_000_000, 150_000_000, 60.0, 2, ("correlation",))


def a_file(path: str | Path, version: int = 1) -> MediaFile:
    """A file whose content follows from its name and version."""
    digest = hashlib.blake2b(f"{path!s} {version}".encode("utf-8", "surrogateescape"), digest_size=16)
    inode = int.from_bytes(digest.digest()[:6], "big")
    mtime_ns = 1_700_000_000_000_000_000 + version
    stamp = FileStamp(66, inode, 1000 + version, mtime_ns, mtime_ns + 5, 8)
    return MediaFile(Path(path), Identity(1000 + version, mtime_ns, digest.hexdigest()), stamp)


def a_pair(title: str = "Heist", language: str = "fr", *, master_version: int = 1, dub_version: int = 1) -> Pair:
    """A pair as the folder rules would name it."""
    return Pair(
        title,
        a_file(f"/drop/{title}_master.wav", master_version),
        a_file(f"/drop/{title}_dub_{language}.wav", dub_version),
        language,
    )


def stems_of(side: str, version: int = 1) -> MediaFile:
    """A side that came as three mono files."""
    files = [(channel, a_file(f"/drop/{side}.{channel}.wav", version)) for channel in ("L", "R", "C")]
    stems = tuple(Stem(channel, file.path, file.identity, file.stamp) for channel, file in files)
    left = files[0][1]
    return replace(left, identity=replace(left.identity, size_bytes=3003, fingerprint="5" * 32), stems=stems)


def renamed(pair: Pair, folder: Path) -> Pair:
    """The same contents under other names."""
    return replace(
        pair,
        master=replace(pair.master, path=folder / pair.master.path.name),
        dub=replace(pair.dub, path=folder / pair.dub.path.name),
    )


def an_orphan(name: str = "Alone_dub_de.wav", message: str = "No master for Alone.") -> Orphan:
    """A dub without master."""
    return Orphan(a_file(f"/drop/{name}"), OrphanReason.NO_MASTER, message)


def enqueue(
    ledger: Ledger,
    pair: Pair,
    *,
    force: bool = False,
    priority: Priority = Priority.NORMAL,
    deserted_job_id: int | None = None,
) -> Enqueued:
    """With the default profile."""
    return ledger.enqueue(
        pair,
        profile="default",
        settings=SETTINGS,
        priority=priority,
        force=force,
        deserted_job_id=deserted_job_id,
    )


def claim(ledger: Ledger, job_id: int) -> Lease:
    """It must be there to be had."""
    lease = ledger.claim(job_id, device="cpu", predicted_ram_bytes=100_000_000)
    assert lease is not None
    return lease


def start(ledger: Ledger, pair: Pair | None = None) -> Lease:
    """Enqueued and claimed."""
    return claim(ledger, enqueue(ledger, pair or a_pair()).job_id)


def complete(ledger: Ledger, lease: Lease) -> None:
    """Half a second late, and sure of it."""
    ledger.complete(
        lease,
        report_json='{"schema":"sync_report.v1"}',
        sidecar_path=Path("/drop/Heist_dub_fr.wav.sync.json"),
        verdict="offset",
        review=False,
        offset_s=-0.5,
        confidence=0.98,
        observation=OBSERVATION,
    )


def fail(ledger: Ledger, lease: Lease, failure: Failure = TRUNCATED, *, quarantine: bool = False) -> None:
    """With a sidecar that says why."""
    ledger.fail(
        lease,
        failure,
        report_json='{"status":"failed"}',
        sidecar_path=Path("/drop/Heist_dub_fr.wav.sync.json"),
        quarantine=quarantine,
    )
