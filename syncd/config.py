"""The configuration: one TOML file, checked whole before anything starts.

Unknown keys are refused, and every fault is reported at once with its key.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from syncd.config_faults import faults_of
from syncd.domain import TOLERANCES, AnalysisSettings, Priority, Tolerance
from syncd.errors import ErrorCode, SyncdError

DEFAULT_CONFIG_PATH: Final = Path("/etc/syncd/syncd.toml")
CONFIG_VARIABLE: Final = "SYNCD_CONFIG"
_HIDDEN: Final = (Path("/home"), Path("/root"), Path("/run/user"), Path("/tmp"), Path("/var/tmp"))  # noqa: S108

MethodName = Literal["correlation", "mfcc", "onset", "spectral", "chunked", "speech", "chroma"]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("must be an absolute path")
    if "\0" in str(path):
        raise ValueError("must not contain a NUL character")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class LedgerSection(_Section):
    """[ledger]: where jobs are recorded."""

    path: AbsolutePath = Path("/var/lib/syncd/ledger.db")
    """The SQLite file, on a local disk; backups lie beside it. Changes with a restart only."""
    keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Ended jobs older than this leave the ledger, once a day; 0: they stay for ever. Jobs whose files still lie in
    their folder always stay."""
    keep_jobs: Annotated[int, Field(ge=0, le=2**31)] = 0
    """Of these, the newest so many stay however old. Alone (`keep_days` 0): all others go at any age; 0: all stay."""


class WatchSection(_Section):
    """[[watch]]: one folder into which people drop files."""

    path: Annotated[AbsolutePath, Field(examples=["/srv/drop"])]
    """The folder. The service must be able to write there, or have `reports.fallback`."""
    recursive: bool = True
    """Whether folders below it count too."""
    settle_seconds: Annotated[float, Field(ge=0.0, le=3600.0)] = 5.0
    """A file counts as complete after lying unchanged for this long; 30 on a network."""
    orphan_after_seconds: Annotated[float, Field(ge=0.0)] = 3600.0
    """After so long the log tells of a file without a partner; `syncctl list --orphans` lists it half a minute after
    it came."""
    rescan_seconds: Annotated[float, Field(ge=1.0, le=3600.0)] = 60.0
    """How often the whole folder is read again, for what events missed; large ones less often, so that it takes no
    more than some 2 % of a core."""
    incomplete_after_seconds: Annotated[float, Field(ge=0.0)] = 300.0
    """An empty file, or one shorter than its header says, fails by name after lying so long."""
    polling: Literal["auto", "always", "never"] = "auto"
    """Whether to poll instead of listening for events; auto: on network and FUSE file systems."""
    patterns: tuple[str, ...] = ()
    """Extra naming rules, tried before the usual ones on the path below the folder: regular expressions with the named
    groups `title`, `role` and, if you like, `lang`. What `role` matches must be one of master, original, orig, source,
    reference, ref, ov, vo, m, or dub, dubbed, dubbing, vf, d."""
    profile: str = "default"
    """The profile of the jobs found here."""
    priority: Priority = Priority.NORMAL
    """The priority of the jobs found here."""

    @field_validator("patterns")
    @classmethod
    def _compilable(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                groups = re.compile(pattern).groupindex
            except re.error as error:
                raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
            if not {"title", "role"} <= set(groups):
                raise ValueError(f"{pattern!r} needs the named groups title and role")
        return patterns


class CustomTolerance(_Section):
    """A tolerance of the user's own."""

    early_ms: Annotated[float, Field(gt=0.0)]
    """How early the sound may be."""
    late_ms: Annotated[float, Field(gt=0.0)]
    """How late the sound may be."""


class ProfileSection(_Section):
    """[profiles.NAME]: how jobs are analysed."""

    methods: Annotated[tuple[MethodName, ...], Field(min_length=1)] = (
        "correlation",
        "mfcc",
        "onset",
        "spectral",
        "speech",
    )
    """Which methods are run; docs/how-syncd-decides.md says what each compares."""
    ai: Literal["off", "auto", "wav2vec2", "yamnet", "spectral-embedding"] = "off"
    """Which model confirms them; `auto`: the best of those that are there."""
    tolerance: Literal["ebu-r37", "itu-bt1359", "atsc-is191"] | CustomTolerance = "ebu-r37"
    """What still counts as in sync, early/late in ms: `ebu-r37` 40/60, `itu-bt1359` 45/125, `atsc-is191` 15/45, or your
    own."""
    confidence_threshold: Annotated[float, Field(ge=0.0, le=1.0)] = 0.8
    """Below it the report asks for a person's look (`review`)."""
    html: bool = True
    """Whether a page is written beside the JSON report."""

    def to_settings(self) -> AnalysisSettings:
        """The values as a job keeps them."""
        tolerance = (
            Tolerance("custom", self.tolerance.early_ms, self.tolerance.late_ms)
            if isinstance(self.tolerance, CustomTolerance)
            else TOLERANCES[self.tolerance]
        )
        return AnalysisSettings(self.methods, tolerance, self.confidence_threshold, self.ai, self.html)


class AiSection(_Section):
    """[ai]: where models lie."""

    wav2vec2: str = "/var/lib/syncd/models/wav2vec2-base"
    """A folder with config.json and safetensors, or a hub's name."""
    yamnet: AbsolutePath = Path("/var/lib/syncd/models/yamnet.safetensors")
    """The file that `syncctl models convert` makes of the published weights."""
    allow_download: bool = False
    """Whether a hub's name may be fetched; the unit has no network unless a drop-in gives it one (docs/systemd.md)."""


class WorkersSection(_Section):
    """[workers]: what measures, and within which limits."""

    devices: Literal["auto", "cpu"] | tuple[int | str, ...] = "auto"
    """Which GPUs may be used: `auto` all, `cpu` none, or a list of indices, UUIDs or beginnings of UUIDs."""
    gpu_memory_fraction: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """What syncd's workers may hold of each card together."""
    cpu_slots: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Jobs at once, as memory admits; `auto`: half the cores."""
    stall_seconds: Annotated[float, Field(ge=1.0)] = 120.0
    """A worker that makes no progress for this long counts as hung; stages that are slow here learn to wait longer."""
    job_seconds: Annotated[float, Field(ge=1.0)] = 7200.0
    """A job that takes longer is ended; for media beyond two hours longer in proportion."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 3
    """How often a job is tried when the machinery fails; after crashes and stalls docs/what-can-go-wrong.md decides."""


class LimitsSection(_Section):
    """[limits]: what is refused."""

    max_queued: Annotated[int, Field(ge=1, examples=[10_000])] | None = None
    """Jobs waiting at most: further pairs wait in their folder until there is room, and submits are refused."""
    max_file_bytes: Annotated[int, Field(ge=1, examples=[500_000_000_000])] | None = None
    """A larger file fails its job."""
    max_duration_seconds: Annotated[float, Field(gt=0.0, examples=[36_000])] | None = None
    """A longer programme fails its job."""


class CacheSection(_Section):
    """[cache]: where workers keep scratch files and features."""

    path: Annotated[AbsolutePath | None, Field(examples=["/var/cache/syncd"])] = None
    """The folder, on a disk with room and not in memory; unset: `cache` beside the ledger. Changes with a restart
    only."""
    max_bytes: Annotated[int, Field(ge=0)] = 8 << 30
    """What masters' features may take, so that each of their dubs need not decode them again: some 270 MB an hour of
    stereo; 0: none are kept. Scratch files are not counted."""


class ReportsSection(_Section):
    """[reports]: where reports go besides their media's folder."""

    fallback: Annotated[AbsolutePath | None, Field(examples=["/var/lib/syncd/reports"])] = None
    """Where reports go when the media's folder cannot be written to; unset: then the job fails."""
    done: Annotated[AbsolutePath | None, Field(examples=["/srv/done"])] = None
    """Where the files of completed jobs are moved, below the same folders; outside every watched folder. Unset: they
    stay (docs/hand-over.md)."""
    failed: Annotated[AbsolutePath | None, Field(examples=["/srv/failed"])] = None
    """The same for failed and quarantined jobs."""
    index: bool = True
    """Whether every watched folder has a page that lists its reports, `index.sync.html`; `done` and `failed` too."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of loopback, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class MetricsSection(_Section):
    """[metrics]: Prometheus."""

    listen: Annotated[str, Field(examples=["127.0.0.1:9419"])] = ""
    """Address and port on loopback for /metrics and /healthz; empty: nothing listens (docs/metrics.md)."""

    @field_validator("listen")
    @classmethod
    def _on_loopback(cls, listen: str) -> str:
        parse_address(listen)
        return listen

    @property
    def address(self) -> Address | None:
        """Where metrics are served; None: nowhere."""
        return parse_address(self.listen)


def parse_address(listen: str) -> Address | None:
    """``127.0.0.1:9419``, ``[::1]:9419`` or ``localhost:9419``; None where it is empty. Raises `ValueError`."""
    if not listen:
        return None
    host, colon, port = listen.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not (colon and is_loopback):
        raise ValueError(f"{listen!r} is no address of this machine alone, such as 127.0.0.1:9419 or [::1]:9419")
    if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
        raise ValueError(f"{listen!r} needs a port from 1 to 65535 behind the colon")
    return Address(host, int(port))


class LogSection(_Section):
    """[log]: what is told."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """From which level on events are told."""


class HandoverSection(_Section):
    """[handover]: what is run for a job that has ended."""

    on_complete: Annotated[tuple[str, ...], Field(examples=[["/usr/local/bin/notify-dub", "--mail"]])] = ()
    """A command for each job that has ended, with its arguments and without a shell; what there is to know is in its
    environment (docs/hand-over.md). Empty: none."""
    on_complete_seconds: Annotated[float, Field(gt=0.0, le=86_400.0)] = 30.0
    """How long it may take; then it is ended."""

    @field_validator("on_complete")
    @classmethod
    def _runnable(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if argv and not argv[0].startswith("/"):
            raise ValueError("the program must be an absolute path")
        if any("\0" in argument for argument in argv):
            raise ValueError("must not contain a NUL character")
        return argv


class Config(_Section):
    """The whole file."""

    ledger: LedgerSection = LedgerSection()
    watch: tuple[WatchSection, ...] = ()
    profiles: dict[str, ProfileSection] = Field(default_factory=lambda: {"default": ProfileSection()})
    ai: AiSection = AiSection()
    workers: WorkersSection = WorkersSection()
    limits: LimitsSection = LimitsSection()
    cache: CacheSection = CacheSection()
    reports: ReportsSection = ReportsSection()
    metrics: MetricsSection = MetricsSection()
    log: LogSection = LogSection()
    handover: HandoverSection = HandoverSection()

    @model_validator(mode="before")
    @classmethod
    def _default_profile_always_exists(cls, raw: Any) -> Any:
        if isinstance(raw, dict) and isinstance(profiles := raw.get("profiles"), dict) and "default" not in profiles:
            return {**raw, "profiles": {**profiles, "default": {}}}
        return raw

    def profile(self, name: str) -> ProfileSection:
        """The profile of that name; the default one if it is no longer there."""
        return self.profiles.get(name) or self.profiles["default"]

    @property
    def cache_folder(self) -> Path:
        """Where scratch files and features lie."""
        return self.cache.path or self.ledger.path.parent / "cache"

    @property
    def features_folder(self) -> Path:
        """Where the features of masters are kept."""
        return self.cache_folder / "features"


def parse_config(text: str, origin: str) -> Config:
    """Read a configuration; raises `SyncdError` CONFIG_INVALID with every fault in `details["faults"]`."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        twice = "Cannot declare" in str(error)  # tomllib's words; the path there is a tuple.
        advice = "; a section is begun once: change the line in the one that is there already" if twice else ""
        raise _invalid(origin, [f"not TOML: {error}{advice}"]) from error
    config, faults = None, []
    try:
        config = Config.model_validate(raw)
    except ValidationError as error:
        faults = faults_of(error, Config)
    faults += _faults_between_sections(raw)
    if config is None or faults:
        raise _invalid(origin, faults)
    return config


def load_config(path: Path) -> Config:
    """Read and check the file; raises `SyncdError` CONFIG_INVALID."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise SyncdError(ErrorCode.CONFIG_INVALID, f"There is no configuration at {path}.") from error
    except UnicodeDecodeError as error:
        raise _invalid(str(path), [f"not UTF-8: {error}"]) from error
    except OSError as error:
        raise SyncdError(ErrorCode.CONFIG_INVALID, f"{path} cannot be read: {error.strerror}.") from error
    return parse_config(text, str(path))


def ledger_path_despite_faults(path: Path) -> Path | None:
    """Where the ledger lies, by a file whose faults lie elsewhere; None: it does not say so for certain."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raw = _ledger_table_alone(text)
    table = raw.get("ledger", {})
    if not isinstance(table, dict) or ("ledger" not in raw and raw.keys() - Config.model_fields.keys()):
        return None  # The name of an unknown section may be this one's, misspelled.
    try:
        return LedgerSection.model_validate({"path": table["path"]} if "path" in table else table).path
    except ValidationError:
        return None


def _ledger_table_alone(text: str) -> dict[str, Any]:
    """[ledger] of a file that as a whole is not TOML; an unknown key where it cannot be told what belongs to it."""
    tables = re.split(r"^(?=[ \t]*\[)", text, flags=re.MULTILINE)
    naming = [table for table in tables if re.search(r"^[ \t]*\[?[ \t]*[\"']?ledger\b", table, re.MULTILINE)]
    try:
        return tomllib.loads(naming[0]) if len(naming) == 1 else {"?": naming} if naming else {}
    except tomllib.TOMLDecodeError:
        return {"?": naming}


def hidden_folder(path: Path) -> Path | None:
    """The folder above `path` that ProtectHome= or PrivateTmp= of the unit keeps from the service; None: none."""
    return next((above for above in _HIDDEN if path.is_relative_to(above)), None)


def find_config_path(given: Path | None) -> Path:
    """The file that holds: --config, then $SYNCD_CONFIG, then /etc/syncd/syncd.toml."""
    if given is not None:
        return given
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG_PATH)


def _faults_between_sections(raw: dict[str, Any]) -> list[str]:
    """What no section can see alone (unknown profiles, folders named twice), told even if a section is at fault."""
    watches, profiles = raw.get("watch"), raw.get("profiles")
    known = {"default", *(profiles if isinstance(profiles, dict) else ())}
    faults: list[str] = []
    seen: set[str] = set()
    for i, watch in enumerate(watches if isinstance(watches, list) else ()):
        if not isinstance(watch, dict):
            continue
        profile, path = watch.get("profile"), watch.get("path")
        if isinstance(profile, str) and profile not in known:
            faults.append(f"watch.{i}.profile: there is no [profiles.{profile}]")
        if isinstance(path, str):
            if os.path.normpath(path) in seen:
                faults.append(f"watch.{i}.path: {path} is named twice")
            seen.add(os.path.normpath(path))
    return faults + _faults_of_moving(raw.get("reports"), seen)


def _faults_of_moving(reports: Any, watched: set[str]) -> list[str]:
    """A pair that is moved must leave every watched folder, and must not arrive in another."""
    faults: list[str] = []
    for key in ("done", "failed"):
        told = reports.get(key) if isinstance(reports, dict) else None
        if not isinstance(told, str):
            continue
        folder = Path(os.path.normpath(told))
        faults += [
            f"reports.{key}: {told} and the watched folder {path} lie one in the other"
            for path in map(Path, sorted(watched))
            if folder == path or folder in path.parents or path in folder.parents
        ]
    return faults


def _invalid(origin: str, faults: list[str]) -> SyncdError:
    listed = "; ".join(faults)
    return SyncdError(ErrorCode.CONFIG_INVALID, f"{origin} is not valid: {listed}.", {"faults": faults})
