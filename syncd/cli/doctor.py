"""`syncctl doctor`."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import shutil
import tempfile
import time
import wave
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import typer

from syncd.cli import doctor_machine as machine
from syncd.cli.access import ANSWER_WAIT_S
from syncd.cli.devices import ask, daemons_view
from syncd.cli.finding import Check, Finding
from syncd.cli.options import ConfigOption, JsonOption
from syncd.cli.output import console, plain, print_json
from syncd.clock import utc_now
from syncd.config import Address, Config, find_config_path, ledger_path_despite_faults, load_config
from syncd.devices.card_history import Cause
from syncd.devices.inventory import DeviceKind
from syncd.errors import SyncdError
from syncd.handover.command import program_fault
from syncd.ledger.reader import LedgerReader
from syncd.ledger.records import JobFilter
from syncd.protocol import Failed, Probed, ProbeRequest
from syncd.supervisor.pool import Worker, WorkerGone, exit_text
from syncd.watch.names import is_ignored

MIN_FREE_BYTES: Final = 2_000_000_000
WORKER_WAIT_S: Final = 10.0
METRICS_WAIT_S: Final = 2.0
INOTIFY: Final = Path("/proc/sys/fs/inotify")
LEAST_WATCHES: Final = 8192
SPARE_INSTANCES: Final = 16
"""Beside one for each watched folder: of other programs of the same user."""
SUBFOLDERS_LOOKED_AT: Final = 1000
SUBFOLDERS_NAMED: Final = 3
REFUSED_NAMED: Final = 5


def doctor(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Check the installation, with the rights of whoever asks, and say what to do about what is wrong."""
    checks = list(examine(find_config_path(config)))
    wrong = any(check.finding is Finding.WRONG for check in checks)
    if as_json:
        print_json({"ok": not wrong, "checks": checks})
    else:
        marks = {Finding.OK: ("ok   ", "green"), Finding.WARNING: ("warn ", "yellow"), Finding.WRONG: ("WRONG", "red")}
        for check in checks:
            mark, style = marks[check.finding]
            line = plain(mark, style).append(f" {check.name}: ").append_text(plain(check.message))
            console().print(line)
            if check.advice:
                console().print(plain(f"      {check.advice}"))
    if wrong:
        raise typer.Exit(1)


def examine(config_path: Path) -> Iterator[Check]:
    """All checks, in the order in which things build on each other."""
    try:
        config = load_config(config_path)
    except SyncdError as error:
        advice = "Mend it; 'syncd --check' tries it."
        if not os.path.lexists(config_path):
            advice = "'syncctl install-service' places one to begin with; or name yours with --config."
        yield Check("configuration", Finding.WRONG, error.message, advice)
        if (path := ledger_path_despite_faults(config_path)) is not None:
            yield from _ledger(path)
        return
    yield Check("configuration", Finding.OK, f"{config_path} is valid.")
    yield from _ledger(config.ledger.path)
    if (address := config.metrics.address) is not None:
        yield _metrics(address)
    yield from folder_checks(config)
    yield from _handover(config)
    yield _cache(config)
    yield machine.codecs()
    yield from machine.programs()
    yield _worker()
    yield from _gpus(config)
    yield from machine.models(config)
    yield from machine.service(config)


def _refused(reader: LedgerReader) -> Iterator[Check]:
    """What was asked while the daemon did not run, and was refused when nobody waited for the answer any more."""
    refused = reader.refused_unseen(utc_now() - timedelta(days=1), ANSWER_WAIT_S)
    for request in refused[:REFUSED_NAMED]:
        why = request.error.message if request.error is not None else ""
        message = f"Request {request.request_id} ({request.kind.value}) was refused when the daemon came to it: {why}"
        yield Check("requests", Finding.WARNING, message, "Ask anew; it is named for a day.")


def _ledger(path: Path) -> Iterator[Check]:
    try:
        reader = LedgerReader.open(path)
    except SyncdError as error:
        yield Check("ledger", Finding.WRONG, error.message, str(error).removeprefix(error.message).strip())
        return
    try:
        counts = ", ".join(f"{count} {state.value}" for state, count in reader.counts().items() if count) or "no jobs"
        yield Check("ledger", Finding.OK, f"{path}: {counts}.")
        if reader.is_paused():
            yield Check("ledger", Finding.WARNING, "It is paused: no job is begun.", "'syncctl resume' goes on.")
        if reader.daemon_is_running():
            yield Check("daemon", Finding.OK, "It runs.")
        else:
            yield Check("daemon", Finding.WRONG, "It does not run.", "Start it: 'systemctl start syncd'.")
        yield from _refused(reader)
        newest = [job.finished_at or job.enqueued_at for job in reader.jobs(JobFilter(), limit=1).jobs]
        yield from machine.clock(max(newest, default=None), utc_now())
    finally:
        reader.close()


def _metrics(address: Address) -> Check:
    """Ask as a scraper would."""
    name = "metrics"
    connection = http.client.HTTPConnection(address.host, address.port, timeout=METRICS_WAIT_S)
    try:
        connection.request("GET", "/healthz")
        told = json.loads(connection.getresponse().read(65_536))
    except OSError:
        advice = (
            "Start syncd. Under the unit call 'syncctl install-service' first, which allows the address, then "
            "'systemctl daemon-reload && systemctl restart syncd'."
        )
        return Check(name, Finding.WRONG, f"Nobody answers at {address}.", advice)
    except (http.client.HTTPException, ValueError):
        told = None
    finally:
        connection.close()
    if not isinstance(told, dict) or told.get("service") != "syncd":
        return Check(name, Finding.WRONG, f"Another program answers at {address}.", "Name another port.")
    if not told.get("healthy"):
        reason = str(told.get("reason", "it does not say why"))
        return Check(name, Finding.WRONG, f"The daemon is not at work: {reason}", "See 'journalctl -u syncd'.")
    return Check(name, Finding.OK, f"They are served at {address}.")


def folder_checks(config: Config) -> Iterator[Check]:
    """The watched folders, and what people made right in them."""
    if not config.watch:
        yield Check("folders", Finding.WARNING, "No folder is watched.", "Add a [[watch]] with a path.")
    watched = {section.path for section in config.watch}
    for section in config.watch:
        found = _folder(section.path, config.reports.fallback)
        yield found
        if section.recursive and found.finding is Finding.OK:
            below = [path for path in _subfolders(section.path) if path not in watched]
            yield from _below(section.path, below, config.reports.fallback)
    yield from inotify_checks(len(config.watch), INOTIFY)


def inotify_checks(watched: int, limits: Path) -> Iterator[Check]:
    """Whether the kernel lets so many folders, and what is below them, be watched; `limits`: where it says so."""
    for name, least, what in (
        ("max_user_watches", LEAST_WATCHES, "folders can be watched at once"),
        ("max_user_instances", watched + SPARE_INSTANCES, "programs' queues of a user can watch at once"),
    ):
        try:
            limit = int((limits / name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue
        if watched and limit < least:
            advice = f"Raise fs.inotify.{name} with sysctl; until then folders are polled."
            yield Check("inotify", Finding.WARNING, f"Only {limit} {what}.", advice)


def _folder(path: Path, fallback: Path | None) -> Check:
    name = "folder"
    if not os.path.isdir(path):  # noqa: PTH112 - it answers False where a folder above may not be entered
        return Check(name, Finding.WRONG, f"{path} is not there.", "Make it, or mend [[watch]] path.")
    if not os.access(path, os.R_OK | os.X_OK):
        return Check(name, Finding.WRONG, f"{path} cannot be read.", "Give the service's user the right to read it.")
    if not os.access(path, os.W_OK) and fallback is not None:
        return Check(name, Finding.OK, f"{path} can be read; reports go to {fallback}.")
    if not os.access(path, os.W_OK):
        return Check(
            name,
            Finding.WRONG,
            f"Reports cannot be written to {path}.",
            "Give the service's user the right to write there, or set reports.fallback.",
        )
    return Check(name, Finding.OK, f"{path} can be read and written.")


def _subfolders(path: Path) -> list[Path]:
    """Those right in the folder that count, as far as a short look goes."""
    try:
        with os.scandir(path) as entries:
            seen = list(itertools.islice(entries, SUBFOLDERS_LOOKED_AT))
    except OSError:
        return []
    return sorted(path / e.name for e in seen if not is_ignored(e.name) and e.is_dir(follow_symlinks=False))


def _below(path: Path, subfolders: list[Path], fallback: Path | None) -> Iterator[Check]:
    """What people made in a watched folder, with their own umask and group."""
    unread = [folder for folder in subfolders if not os.access(folder, os.R_OK | os.X_OK)]
    unwritten = [folder for folder in subfolders if folder not in unread and not os.access(folder, os.W_OK)]
    if unread:
        advice = "Give the service's group the right to read what is meant to be measured ('chmod g+rx')."
        yield Check("folder", Finding.WARNING, f"In {path} nothing is found in {_names(unread)}: not readable.", advice)
    if unwritten and fallback is None:
        advice = (
            "Make them the service's group's to write to ('chgrp syncd', 'chmod g+ws'), or set reports.fallback. "
            f"'setfacl -m d:u::rwx,d:g::rwx,d:o::rx {path}' does it for those that are made from now on."
        )
        yield Check(
            "folder", Finding.WRONG, f"In {path} no report can be written beside dubs in {_names(unwritten)}.", advice
        )


def _names(folders: list[Path]) -> str:
    named = ", ".join(folder.name for folder in folders[:SUBFOLDERS_NAMED])
    more = len(folders) - SUBFOLDERS_NAMED
    return f"{named} and {more} more" if more > 0 else named


def _handover(config: Config) -> Iterator[Check]:
    if (fault := program_fault(config.handover.on_complete)) is not None:
        yield Check("hand-over", Finding.WRONG, f"{fault}.", "Put it there, or mend handover.on_complete.")
    elif config.handover.on_complete:
        yield Check("hand-over", Finding.OK, f"{config.handover.on_complete[0]} can be run.")
    for key, folder in (("done", config.reports.done), ("failed", config.reports.failed)):
        if folder is None:
            continue
        nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))  # noqa: PTH110 - as above
        if os.path.isdir(nearest) and os.access(nearest, os.W_OK | os.X_OK):  # noqa: PTH112 - as above
            yield Check("hand-over", Finding.OK, f"Files can be moved to {folder}.")
        elif nearest != folder:
            advice = f"'install -d -o syncd -g syncd -m 2775 {folder}' as root, then 'systemctl restart syncd'."
            yield Check("hand-over", Finding.WRONG, f"{folder} is not there, and cannot be made.", advice)
        else:
            advice = f"Give the service's user the right to write there, or mend reports.{key}."
            yield Check("hand-over", Finding.WRONG, f"No file can be moved to {folder}.", advice)


def _cache(config: Config) -> Check:
    path = config.cache_folder
    nearest = next(parent for parent in (path, *path.parents) if os.path.exists(parent))  # noqa: PTH110 - as above
    if not os.access(nearest, os.W_OK):
        return Check("cache", Finding.WRONG, f"{path} cannot be written to.", "Mend its rights, or set cache.path.")
    free_bytes = shutil.disk_usage(nearest).free
    if free_bytes < MIN_FREE_BYTES:
        return Check(
            "cache",
            Finding.WARNING,
            f"{free_bytes / 1e9:.1f} GB are free at {path}.",
            f"Free some: below {MIN_FREE_BYTES / 1e9:.0f} GB this warns.",
        )
    return Check("cache", Finding.OK, f"{free_bytes / 1e9:.0f} GB are free at {path}.")


def _worker() -> Check:
    """Start a real worker and let it look into a real file, so that everything it needs is loaded."""
    advice = "Install syncd again, whole, where the service's user may run it."
    try:
        worker = Worker("cpu", time.monotonic())
    except OSError as error:
        return Check("worker", Finding.WRONG, f"No worker starts: {error.strerror}.", advice)
    with tempfile.TemporaryDirectory(prefix="syncctl-") as folder:
        sample = Path(folder) / "second.wav"
        _write_second_of_silence(sample)
        try:
            worker.send(ProbeRequest(1, (bytes(sample),)))
            answer = _answer(worker)
        except WorkerGone:
            answer = None
    # One that ended by itself says how; one that hangs is ended.
    status, last_words = worker.reap(WORKER_WAIT_S)
    if isinstance(answer, Probed):
        return Check("worker", Finding.OK, "A worker process starts and reads a file.")
    if isinstance(answer, Failed):
        reason = answer.failure.message
    else:
        reason = last_words.splitlines()[-1] if last_words else f"it ended ({exit_text(status)})"
    return Check("worker", Finding.WRONG, f"No worker reads a file: {reason}", advice)


def _gpus(config: Config) -> Iterator[Check]:
    """Those that the configuration admits; a machine without any is in order."""
    if config.workers.devices == "cpu":
        return
    view = daemons_view(config.ledger.path) or ask(config)
    for sentence in view.warnings:
        yield Check("gpu", Finding.WARNING, sentence, "Mend it; 'syncctl devices' lists what there is.")
    if view.why_no_gpu is not None:
        yield Check("gpu", Finding.OK, f"None is used: {view.why_no_gpu}")
    for device in view.devices:
        name = f"GPU {device.index} ({device.name}, {device.uuid})"
        if device.kind is DeviceKind.GPU and device.is_usable:
            yield Check("gpu", Finding.OK, f"{name} can be used.")
        elif device.kind is DeviceKind.GPU and device.cause is not Cause.NOT_NAMED:
            advice = "Jobs run elsewhere meanwhile; it comes back by itself once that is over."
            yield Check("gpu", Finding.WARNING, f"{name} is not used. {device.reason}", advice)


def _write_second_of_silence(path: Path) -> None:
    with wave.open(os.fspath(path), "wb") as stream:
        stream.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        stream.writeframes(bytes(16000))


def _answer(worker: Worker) -> Probed | Failed | None:
    deadline_s = time.monotonic() + WORKER_WAIT_S
    while time.monotonic() < deadline_s:
        for message in worker.receive():
            if isinstance(message, Probed | Failed):
                return message
        time.sleep(0.02)
    return None
