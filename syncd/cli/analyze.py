"""`syncctl analyze`."""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn

from syncd import __version__
from syncd.cli.options import ConfigOption, DubLanguage, DubTrack, JsonOption, MasterTrack, ProfileOption
from syncd.cli.output import plain, print_json, print_whole, printable
from syncd.cli.report_view import report_view
from syncd.clock import utc_now
from syncd.config import Config, find_config_path, load_config
from syncd.domain import Failure
from syncd.errors import ErrorCode, SyncdError, error_exit_code
from syncd.protocol import CacheOrder, Progressed
from syncd.reports.facts import ProcessingFacts, ReportSubject, new_analysis_id
from syncd.reports.sidecar import build_report
from syncd.supervisor.model_choice import order_for_cpu
from syncd.supervisor.pool import Pool
from syncd.supervisor.solo import SoloAnswer, SoloRequest, analyze_one
from syncd.watch.examine import identify_side


def analyze(
    master: Annotated[Path, typer.Argument(metavar="MASTER", help="The reference programme.", show_default=False)],
    dub: Annotated[Path, typer.Argument(metavar="DUB", help="The dub.", show_default=False)],
    profile: ProfileOption = None,
    language: DubLanguage = None,
    master_track: MasterTrack = None,
    dub_track: DubTrack = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure one pair here and now, without daemon and ledger; writes nothing, prints the report.

    It works without a configuration too. A model that the profile asks for hears both sides on the CPU.
    """
    settings = _configuration(config)
    profile = profile or "default"
    if profile not in settings.profiles:
        raise SyncdError(ErrorCode.USAGE, f"There is no profile named {profile}.")
    request = SoloRequest(
        master=identify_side(master.absolute()),
        dub=identify_side(dub.absolute()),
        settings=settings.profiles[profile].to_settings(),
        language=language,
        master_track=master_track,
        dub_track=dub_track,
        max_duration_s=settings.limits.max_duration_seconds,
        cache=_cache_order(settings),
        ai=order_for_cpu(settings.profiles[profile].ai, settings.ai),
    )
    with (
        tempfile.TemporaryDirectory(prefix="syncctl-", dir=_scratch_home(settings)) as scratch,
        _progress_bar(quiet=as_json) as bar,
    ):
        answer = analyze_one(
            request,
            Pool(Path(scratch)),
            stall_s=settings.workers.stall_seconds,
            job_s=settings.workers.job_seconds,
            on_progress=bar,
        )
    report = build_report(
        _subject(request, profile, answer), answer.outcome, _processing(answer), syncd_version=__version__
    )
    if as_json:
        print_json(report)
    else:
        print_whole(report_view(json.loads(json.dumps(report))))
    if isinstance(answer.outcome, Failure):
        raise typer.Exit(error_exit_code(answer.outcome.code))


def _configuration(given: Path | None) -> Config:
    """The configuration if there is one; this command works without."""
    path = find_config_path(given)
    return load_config(path) if given is not None or path.exists() else Config()


def _scratch_home(config: Config) -> Path | None:
    """The cache folder, where there is one that may be written to: the system's own is often in memory."""
    return config.cache_folder if os.access(config.cache_folder, os.W_OK) else None


def _cache_order(config: Config) -> CacheOrder | None:
    """The cache that the configuration names, where it is this user's own: the service could not read our entries."""
    if config.cache.path is None or config.cache.max_bytes == 0:
        return None
    folder = config.features_folder
    # `os.path.exists` answers False where a folder above may not be entered.
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))  # noqa: PTH110 - as said
    is_ours = nearest.stat().st_uid == os.geteuid() and os.access(nearest, os.W_OK | os.X_OK)
    return CacheOrder(bytes(folder), config.cache.max_bytes) if is_ours else None


def _subject(request: SoloRequest, profile: str, answer: SoloAnswer) -> ReportSubject:
    now = utc_now()
    return ReportSubject(
        job_id=None,
        analysis_id=new_analysis_id(now, secrets.token_hex(4)),
        profile=profile,
        language=request.language,
        created_at=now,
        settings=request.settings,
        master=request.master,
        dub=request.dub,
        master_info=answer.infos[0] if answer.infos else None,
        dub_info=answer.infos[1] if answer.infos else None,
        master_track=request.master_track,
        dub_track=request.dub_track,
        title=printable(request.master.path.stem),
    )


def _processing(answer: SoloAnswer) -> ProcessingFacts:
    return ProcessingFacts(
        seconds=answer.seconds,
        peak_rss_bytes=answer.peak_rss_bytes,
        scratch_bytes=answer.scratch_bytes,
        cache=answer.cache,
        degraded=answer.degraded,
    )


class _Bar:
    """A line of progress on standard error."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, int] = {}

    def __call__(self, message: Progressed) -> None:
        if message.stage not in self._tasks:
            self._tasks[message.stage] = self._progress.add_task("", total=max(1, message.total))
        self._progress.update(
            self._tasks[message.stage],  # type: ignore[arg-type] # rich's TaskID is an int of its own name
            completed=message.done,
            total=max(1, message.total),
            description=plain(message.text).plain,
        )


@contextmanager
def _progress_bar(*, quiet: bool) -> Iterator[_Bar]:
    from rich.console import Console  # noqa: PLC0415

    stderr = Console(stderr=True, quiet=quiet, highlight=False, markup=False)
    with Progress(BarColumn(30), TextColumn("{task.description}", markup=False), console=stderr, transient=True) as bar:
        yield _Bar(bar)
